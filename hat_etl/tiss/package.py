"""Adding schemas from a ZIP of ANS.

Only what is needed is taken out of it, and only after it has proved to be schemas of TISS.
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from lxml import etree

from hat_etl.errors import ConfigurationError, DataError
from hat_etl.tiss.document import NS
from hat_etl.tiss.schemas import Schema, Schemas, compiled, file_suffix

MAX_MEMBERS = 2_000
MAX_FILE_BYTES = 8 * 1024 * 1024
"""The largest schema file so far has 0.2 MiB."""
MAX_TOTAL_BYTES = 64 * 1024 * 1024

_ROOT = re.compile(r"tissV(\d)_(\d\d)_(\d\d)\.xsd")
_SHARED = ("tissAssinaturaDigital_v1.01.xsd", "xmldsig-core-schema.xsd")
_OWN = ("tiss", "tissSimpleTypes", "tissComplexTypes", "tissGuias", "tissWebServices")
_GET_FRESH = "Download the package of the communication component (Componente de Comunicação) from ANS again."


@dataclass(frozen=True)
class Added:
    """One version of a ZIP: whether it is new here, and where its schemas lie now."""

    version: str
    new: bool
    folder: Path


def add(package: Path, schemas: Schemas) -> list[Added]:
    """Install every version whose schemas are in ``package``, all or none.

    A version that is there already with the same files stays as it is. Raises DataError when the ZIP is no such
    package or tries to reach beyond itself, ConfigurationError when other files of a version are installed.
    """
    contents = _contents(package)
    sets = _sets(package, contents)
    try:
        return _installed(package, sets, schemas)
    except OSError as error:
        raise ConfigurationError(
            f"{schemas.folder} cannot be written ({error.strerror}).",
            "Check its path, rights and space, or name another folder: --schemas, or HAT_ETL_TISS_SCHEMAS.",
        ) from None


def _installed(package: Path, sets: dict[str, dict[str, bytes]], schemas: Schemas) -> list[Added]:
    schemas.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".adding-", dir=schemas.folder) as stage:
        for version, files in sets.items():
            _prove(package, version, files, Path(stage) / version)
        standing = {version: _standing(version, files, schemas) for version, files in sets.items()}
        for version, there in standing.items():
            if there is None:
                os.replace(Path(stage) / version, schemas.folder / version)
    return [Added(version, there is None, there or schemas.folder / version) for version, there in standing.items()]


def _refused(package: Path, cause: str) -> DataError:
    return DataError(f"{package.name} was not added: {cause}", _GET_FRESH)


def _contents(package: Path) -> dict[PurePosixPath, bytes]:
    """The schema files in the ZIP, by their path in it."""
    try:
        with zipfile.ZipFile(package) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise _refused(package, f"it holds {len(members)} entries, more than {MAX_MEMBERS}.")
            found: dict[PurePosixPath, bytes] = {}
            for member in members:
                path = _safe(package, member)
                if member.is_dir() or path.suffix.lower() != ".xsd":
                    continue
                if path in found:
                    raise _refused(package, "it holds the same file twice.")
                found[path] = _read(package, archive, member)
                if sum(map(len, found.values())) > MAX_TOTAL_BYTES:
                    raise _refused(package, f"its schemas have more than {MAX_TOTAL_BYTES} bytes.")
            return found
    except (zipfile.BadZipFile, zlib.error, LZMAError, NotImplementedError, EOFError, ValueError) as error:
        raise _refused(package, f"it is no readable ZIP ({type(error).__name__}).") from None
    except OSError as error:
        if error.errno is None:  # bzip2 says so of damaged data
            raise _refused(package, "it is no readable ZIP (damaged bzip2 data).") from None
        raise ConfigurationError(f"{package} cannot be read: {error.strerror}.", "Check its path and rights.") from None


def _safe(package: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """The path of an entry, if it stays within the ZIP."""
    path = PurePosixPath(member.orig_filename.replace("\\", "/"))
    symlink = (member.external_attr >> 16) & 0o170000 == 0o120000
    outside = path.is_absolute() or ".." in path.parts or ":" in member.orig_filename
    if outside or symlink or "\0" in member.orig_filename:
        raise _refused(package, "an entry points outside of it.")
    if member.flag_bits & 0x1:
        raise _refused(package, "it is encrypted.")
    return path


def _read(package: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise _refused(package, f"a schema in it has more than {MAX_FILE_BYTES} bytes.")
    return content


def _sets(package: Path, contents: dict[PurePosixPath, bytes]) -> dict[str, dict[str, bytes]]:
    """The files of each version: those of its name and the two shared ones, all from one folder of the ZIP."""
    sets: dict[str, dict[str, bytes]] = {}
    for path in contents:
        match = _ROOT.fullmatch(path.name)
        if match is None:
            continue
        version = ".".join(match.groups())
        names = (*(f"{name}{file_suffix(version)}.xsd" for name in _OWN), *_SHARED)
        missing = [name for name in names if path.with_name(name) not in contents]
        if missing:
            raise _refused(package, f"version {version} lacks {', '.join(missing)}.")
        files = {name: contents[path.with_name(name)] for name in names}
        if sets.setdefault(version, files) != files:
            raise _refused(package, f"it holds version {version} twice, with different files.")
    if not sets:
        raise _refused(package, "it holds no schema named like tissV4_01_00.xsd.")
    return sets


def _prove(package: Path, version: str, files: dict[str, bytes], folder: Path) -> None:
    """Write the files of a version aside and see that they are what their names say."""
    folder.mkdir()
    for name, content in files.items():
        _refuse_references(package, name, content, set(files))
        (folder / name).write_bytes(content)
    try:
        for name in ("tiss", "tissWebServices"):
            compiled(folder / f"{name}{file_suffix(version)}.xsd")
        allowed = Schema(version, folder).versions()
    except (etree.Error, OSError) as error:
        raise _refused(package, f"the schemas of {version} do not compile ({type(error).__name__}).") from None
    if version not in allowed:
        raise _refused(package, f"the schemas named {version} do not allow that version in Padrao.")


_DTD_FILE = "xmldsig-core-schema.xsd"


def _refuse_references(package: Path, name: str, content: bytes, siblings: set[str]) -> None:
    """Refuse a file that is no schema or that names files other than those of its own version."""
    try:
        root = etree.fromstring(content, etree.XMLParser(no_network=True, load_dtd=False, resolve_entities=False))
    except etree.XMLSyntaxError:
        raise _refused(package, f"{name} is no readable XML.") from None
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and (name != _DTD_FILE or any(entity.system_url for entity in dtd.iterentities())):
        raise _refused(package, f"{name} has a DOCTYPE that it should not have.")
    if etree.QName(root).text != "{http://www.w3.org/2001/XMLSchema}schema":
        raise _refused(package, f"{name} is no XML schema.")
    if name not in _SHARED and root.get("targetNamespace") != NS:
        raise _refused(package, f"{name} is no schema of TISS.")
    for element in root.iter("{*}include", "{*}import", "{*}redefine", "{*}override"):
        place = element.get("schemaLocation")
        if place is not None and place not in siblings:
            raise _refused(package, f"{name} refers to a file outside of its version.")


def _standing(version: str, files: dict[str, bytes], schemas: Schemas) -> Path | None:
    """Where the same files are installed already; None when the version is new."""
    schema = schemas.get(version)
    own = schemas.folder / version
    if schema is None and not own.exists():
        return None
    folder = own if schema is None else schema.folder
    if all((folder / name).is_file() and (folder / name).read_bytes() == content for name, content in files.items()):
        return folder
    advice = f"Keep it, or remove {own} and add the ZIP again." if folder == own else "Keep it: it comes with hat_etl."
    raise ConfigurationError(f"Version {version} is installed already, with other files, in {folder}.", advice)
