"""Where files are kept or handed over: a folder, or an object store, with what its library wants to know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainSerializer, ValidationInfo

from hat_etl.tenants.secrets import SecretRef

LOCAL = ("file", "local")
"""Schemes of folders of this machine."""

_PASSING = ("memory",)
"""Schemes of what is gone when the process ends."""

_SECRET = re.compile(r"secret|token|pass|key|credential|connection_string|signature", re.IGNORECASE)
"""Names of options whose value may be a secret."""


def _location(value: str) -> str:
    url = f"file://{value}" if value.startswith("/") else value
    try:
        parts = urlsplit(url)
        known = bool(parts.scheme) and url.startswith(f"{parts.scheme}://") and parts.password is None
    except ValueError:
        known = False
    if not known or not url.isprintable() or "::" in url or parts.query or parts.fragment:
        raise ValueError("must be an absolute path or a URL such as s3://bucket/folder, without password or query")
    if parts.scheme in LOCAL and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("must name a folder by its absolute path, such as file:///srv/lots")
    if parts.scheme in _PASSING:
        raise ValueError("must be another one: what lies in memory is gone when the process ends")
    if parts.scheme not in LOCAL and not parts.netloc:
        raise ValueError("must name a bucket or host, such as s3://bucket/folder")
    return url.rstrip("/")


Location = Annotated[str, AfterValidator(_location)]
"""A URL that fsspec understands, without / at its end; a tenant file may also write an absolute path."""


def _options(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    context = info.context if isinstance(info.context, Mapping) else {}
    return {name: _option(name, option, context) for name, option in value.items()}


def _option(name: str, value: object, context: Mapping[str, Any]) -> object:
    if isinstance(value, Mapping):
        return {inner: _option(str(inner), option, context) for inner, option in value.items()}
    if isinstance(value, str) and (value.startswith(("env:", "file:")) or _SECRET.search(name)):
        return SecretRef.parse(value, **context)
    if isinstance(value, str | bool | int | float | SecretRef):
        return value
    raise ValueError("must hold texts, numbers, true or false, and tables of these")


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _shown(value) if isinstance(value, Mapping) else str(value) if isinstance(value, SecretRef) else value
        for name, value in options.items()
    }


Options = Annotated[dict[str, Any], AfterValidator(_options), PlainSerializer(_shown)]
"""Options of the library that reaches a store; whatever may be a secret is a reference."""


def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with their secrets. Raises ConfigurationError when one is not there."""
    return {name: _resolved(value) for name, value in options.items()}


def _resolved(value: object) -> object:
    if isinstance(value, Mapping):
        return resolved(value)
    return value.resolve() if isinstance(value, SecretRef) else value


def secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """The secrets among the options. Raises ConfigurationError when one is not there."""
    for value in options.values():
        if isinstance(value, Mapping):
            yield from secrets(value)
        elif isinstance(value, SecretRef):
            yield value.resolve()
