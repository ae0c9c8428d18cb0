"""The schemas of ANS that are installed, by version, and validation against them.

Two versions come with the package ``tiss`` from PyPI; others are added by ``hat-etl tiss add`` from a ZIP of ANS.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from hat_etl.errors import ConfigurationError
from hat_etl.tiss.document import local
from hat_etl.tiss.transactions import FILE_ROOT

FOLDER_VARIABLE = "HAT_ETL_TISS_SCHEMAS"
_XS = "{http://www.w3.org/2001/XMLSchema}"


def default_folder() -> Path:
    """Where schemas lie that a user added: ``HAT_ETL_TISS_SCHEMAS``, else below the user's data folder (XDG).

    Raises ConfigurationError where the user has no home.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    try:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError:
        raise ConfigurationError(
            "The user who runs hat-etl has no home, in which schemas that were added would lie.",
            f"Set {FOLDER_VARIABLE} to the folder that holds them, or is to hold them.",
        ) from None
    return Path(data) / "hat_etl" / "tiss"


def file_suffix(version: str) -> str:
    """How files of a version are named: ``V4_03_00`` for 4.03.00."""
    return "V" + version.replace(".", "_")


def xsd_parser() -> etree.XMLParser:
    """For schema files only: W3C's xmldsig has a DTD of its own, with an entity."""
    return etree.XMLParser(no_network=True, load_dtd=False, resolve_entities=True, huge_tree=False)


@dataclass(frozen=True)
class SchemaError:
    """One thing that a schema refuses: libxml2's kind of error, its text, and the path to the element."""

    kind: str
    message: str
    path: str
    line: int


class Schema:
    """The schemas of one version, compiled when first used. Safe to use from several threads."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version = version
        self.folder = folder
        self._lock = threading.Lock()
        self._compiled: dict[str, etree.XMLSchema] = {}
        self._versions: frozenset[str] | None = None

    def errors(self, message: etree._Element) -> list[SchemaError]:
        """What is wrong with a message, by the schema of its root. Empty: it is valid."""
        name = "tiss" if local(message) == FILE_ROOT else "tissWebServices"
        with self._lock:
            if name not in self._compiled:
                self._compiled[name] = compiled(self.folder / f"{name}{file_suffix(self.version)}.xsd")
            schema = self._compiled[name]
            return _streamed(message, schema) if _IS_LARGE(message) else _validated(message, schema)

    def versions(self) -> frozenset[str]:
        """The values of ``Padrao`` that this schema allows: its own version and earlier ones."""
        if self._versions is None:
            path = self.folder / f"tissSimpleTypes{file_suffix(self.version)}.xsd"
            root = etree.parse(str(path), xsd_parser()).getroot()
            found = root.iterfind(f"{_XS}simpleType[@name='dm_versao']/{_XS}restriction/{_XS}enumeration")
            self._versions = frozenset(str(value.get("value")) for value in found)
        return self._versions


_IS_LARGE = etree.XPath("count(.//*) > 200000 or boolean(.//*[count(*) > 2000])")
"""Whether to tell the places of all errors might take minutes: libxml2 counts siblings anew for each."""


def _validated(message: etree._Element, schema: etree.XMLSchema) -> list[SchemaError]:
    if schema.validate(message):
        return []
    return [_error(entry) for entry in schema.error_log]


def _streamed(message: etree._Element, schema: etree.XMLSchema) -> list[SchemaError]:
    """The first errors, found while the message is read once more: in time that grows with its size alone."""
    parser = etree.XMLParser(schema=schema, no_network=True, load_dtd=False, resolve_entities=False)
    try:
        etree.fromstring(etree.tostring(message, with_tail=False), parser)
    except etree.XMLSyntaxError as error:
        return [_error(entry) for entry in error.error_log]
    return []


def _error(entry: etree._LogEntry) -> SchemaError:
    return SchemaError(entry.type_name, entry.message or "", entry.path or "", entry.line)


_COMPILING = threading.Lock()


def compiled(path: Path) -> etree.XMLSchema:
    """Compile a schema and those beside it. Raises lxml's errors, and OSError when a file is missing."""
    with _COMPILING:
        try:
            return _compile(path)
        except etree.XMLSchemaParseError:
            # Once, under load, a schema that is right was refused while other threads read lots; why is not known. A
            # schema that is wrong is refused twice.
            return _compile(path)


def _compile(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(path), xsd_parser()))


class Schemas:
    """All installed versions: those of the package ``tiss`` first, then those in ``folder``."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self._known: dict[str, Schema] = {}

    def get(self, version: str) -> Schema | None:
        """The schema of exactly this version; None when it is not installed."""
        if version not in self._known:
            for root in (_packaged(), self.folder):
                folder = root / version
                if (folder / f"tiss{file_suffix(version)}.xsd").is_file():
                    # One object for all threads: its lock is what keeps them from compiling it side by side.
                    self._known.setdefault(version, Schema(version, folder))
                    break
        return self._known.get(version)

    def installed(self) -> list[str]:
        """The installed versions, oldest first."""
        return sorted({version for root in (_packaged(), self.folder) for version in _versions_in(root)})

    def newest(self) -> Schema:
        """The schema of the newest installed version."""
        schema = self.get(self.installed()[-1])
        assert schema is not None
        return schema


def _packaged() -> Path:
    """Where the package ``tiss`` has its schemas. Found without importing it, which takes long."""
    spec = importlib.util.find_spec("tiss")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "_data" / "schemas"


def packaged_versions() -> list[str]:
    """The versions that are there without adding any."""
    return sorted(_versions_in(_packaged()))


def _versions_in(root: Path) -> Iterator[str]:
    if root.is_dir():
        for folder in root.iterdir():
            if VERSION.fullmatch(folder.name) and (folder / f"tiss{file_suffix(folder.name)}.xsd").is_file():
                yield folder.name


VERSION = re.compile(r"\d\.\d\d\.\d\d")
"""The shape of a version as ``Padrao`` writes it."""
