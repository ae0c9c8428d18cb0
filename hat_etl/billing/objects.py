"""Small files in a folder or an object store, by fsspec. A file appears there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs

from hat_etl.errors import ConfigurationError
from hat_etl.tenants.location import LOCAL, resolved, secrets

_PUT_IS_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Schemes of object stores in which nobody sees a half-written object. Elsewhere a draft takes its name when whole."""

_LONGEST_WHY = 200


class Failed(Exception):
    """The store could not be reached, or would not. ``harmless``: for certain nothing was written."""

    def __init__(self, why: str, *, harmless: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.harmless = harmless


class Refused(Failed):
    """The store was reached and does not let us."""


class Gone(Exception):
    """There is no file of this name."""

    def __str__(self) -> str:
        return "it is not there"


class ObjectStore:
    """What lies under ``url``. Threads may share it.

    Raises ConfigurationError when the URL's scheme is unknown, its library is not installed, or a secret is missing.
    """

    def __init__(self, url: str, options: Mapping[str, Any], tenant: str) -> None:
        self.url = url
        self._scheme = urlsplit(url).scheme
        self._options, self._secrets = resolved(options), tuple(secrets(options))
        self._lock = Lock()
        self._opened: tuple[Any, str] | None = None
        try:
            fsspec.get_filesystem_class(self._scheme)
        except ImportError as error:
            raise ConfigurationError(
                f"{url} needs a library that is not installed ({error}).",
                "Install it where hat-etl runs: docs/billing.md, Object stores.", tenant,
            ) from None  # fmt: skip
        except ValueError:
            raise ConfigurationError(
                f"{url}: nobody knows the scheme {self._scheme}.", "Correct the tenant's file.", tenant
            ) from None

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, in the place of one of its name. Raises Failed."""
        with self._failures(harmless=True):
            files, path = self._at(name)
        if self._scheme in LOCAL:
            self._write_here(Path(path), content)
        elif self._scheme in _PUT_IS_WHOLE:
            with self._failures():
                files.pipe_file(path, content)
        else:
            with self._failures(harmless=True):
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
                files.pipe_file(_draft(path), content)
            with self._failures(harmless=False):
                files.mv(_draft(path), path)

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises Gone and Failed."""
        with self._failures(), self._missing(name):
            files, path = self._at(name)
            return bytes(files.cat_file(path))

    def holds(self, name: str) -> bool:
        """Whether the file is there. Raises Failed, and Refused where we may write but not look."""
        try:
            with self._failures(), self._missing(name):
                files, path = self._at(name)
                files.info(path)
        except Gone:
            return False
        return True

    def remove(self, name: str) -> None:
        """Take the file away. Raises Gone and Failed."""
        with self._failures(), self._missing(name):
            files, path = self._at(name)
            files.rm_file(path)

    def look(self) -> None:
        """See that the bucket or host is there. Raises Failed."""
        with self._failures():
            files, path = self._at("")
            # A folder that is empty is not there, as far as an object store goes.
            files.info(path.strip("/").partition("/")[0] if self._scheme in _PUT_IS_WHOLE else path)

    def _at(self, name: str) -> tuple[Any, str]:
        with self._lock:
            if self._opened is None:
                # A cache of instances would keep one per thread for ever.
                self._opened = url_to_fs(self.url, skip_instance_cache=True, **self._options)
            files, root = self._opened
        return files, f"{root.rstrip('/')}/{name}"

    def _write_here(self, path: Path, content: bytes) -> None:
        """As elsewhere, and on the disk when it returns."""
        draft = Path(_draft(str(path)))
        with self._failures(harmless=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        with self._failures(harmless=False):
            _sync(path.parent)

    @contextmanager
    def _missing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise Gone(name) from None

    @contextmanager
    def _failures(self, *, harmless: bool | None = None) -> Iterator[None]:
        """Turn what the libraries raise into Failed. ``harmless`` None: only where the store itself refuses."""
        try:
            yield
        except Gone:
            raise
        except (FileNotFoundError, PermissionError) as error:
            # The store's own answer: no such bucket, not allowed.
            raise Refused(self._why(error), harmless=harmless is not False) from None
        except Exception as error:  # noqa: BLE001 - each library has errors of its own, without a common ancestor
            raise Failed(self._why(error), harmless=harmless is True) from None

    def _why(self, error: Exception) -> str:
        told = (error.strerror if isinstance(error, OSError) else None) or str(error)
        first = told.strip().split("\n")[0]
        for secret in self._secrets:
            first = first.replace(secret, "***")
        return first[:_LONGEST_WHY] or type(error).__name__


def safe_name(*parts: str) -> str:
    """A file name of these parts: numbers of HAT and of providers are not to be trusted with paths."""
    return "".join(c if c.isalnum() else "_" for c in "_".join(parts))


def _draft(path: str) -> str:
    return f"{path}.part"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
