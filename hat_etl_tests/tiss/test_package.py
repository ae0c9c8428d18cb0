"""Schemas added from a ZIP: only whole, true sets of TISS schemas, and nothing that reaches beyond."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hat_etl.errors import ConfigurationError, DataError
from hat_etl.sandbox.lots import sealed
from hat_etl.tiss import package
from hat_etl.tiss.check import check
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.tiss.texts import SADT, VERSION

NEXT = "4.04.00"
"""A version as ANS might publish it after the packaged ones."""


def next_version() -> dict[str, bytes]:
    """The files of a version that is not packaged: made from one that is."""
    schema = Schemas().get(VERSION)
    assert schema is not None
    files = {}
    for path in schema.folder.glob("*.xsd"):
        text = path.read_text(encoding="latin-1").replace("V4_03_00", "V4_04_00")
        text = text.replace(
            '<enumeration value="4.03.00"/>', '<enumeration value="4.03.00"/><enumeration value="4.04.00"/>'
        )
        files[path.name.replace("V4_03_00", "V4_04_00")] = text.encode("latin-1")
    return files


FILES = next_version()


@pytest.fixture
def schemas(tmp_path: Path) -> Schemas:
    return Schemas(tmp_path / "schemas")


def zipped(path: Path, files: dict[str, bytes], folder: str = "Padrao TISS/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return path


def entry(name: str, content: bytes = b"x", mode: int = 0) -> Callable[[zipfile.ZipFile], None]:
    def write(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content)

    return write


def test_a_version_of_the_zip_can_be_checked_from_then_on(tmp_path: Path, schemas: Schemas) -> None:
    lot = sealed(SADT.replace(f"<ans:Padrao>{VERSION}", f"<ans:Padrao>{NEXT}"))
    assert not check(lot, schemas=schemas).accepted
    others = {"leia-me.pdf": b"%PDF", "tissLoteGuiasV4_04_00.wsdl": b"<definitions/>"}
    done = package.add(zipped(tmp_path / "a.zip", FILES | others), schemas)
    assert [(one.version, one.new) for one in done] == [(NEXT, True)]
    assert check(lot, schemas=Schemas(schemas.folder)).accepted
    assert {path.name for path in (schemas.folder / NEXT).iterdir()} == set(FILES)


@pytest.mark.parametrize("folder", ["", "Padrao/TISS/", "Padrao\\TISS\\"])
def test_the_schemas_may_lie_in_any_folder_of_the_zip(folder: str, tmp_path: Path, schemas: Schemas) -> None:
    assert [one.version for one in package.add(zipped(tmp_path / "a.zip", FILES, folder), schemas)] == [NEXT]


def test_the_same_zip_again_changes_nothing(tmp_path: Path, schemas: Schemas) -> None:
    packed = zipped(tmp_path / "a.zip", FILES)
    package.add(packed, schemas)
    assert [one.new for one in package.add(packed, schemas)] == [False]


def test_a_packaged_version_is_there_already(tmp_path: Path, schemas: Schemas) -> None:
    packaged = schemas.get(VERSION)
    assert packaged is not None
    files = {path.name: path.read_bytes() for path in packaged.folder.glob("*.xsd")}
    assert [one.new for one in package.add(zipped(tmp_path / "a.zip", files), schemas)] == [False]


def test_other_files_of_an_installed_version_are_refused(tmp_path: Path, schemas: Schemas) -> None:
    package.add(zipped(tmp_path / "a.zip", FILES), schemas)
    name = "tissGuiasV4_04_00.xsd"
    other = FILES | {name: FILES[name].replace(b'maxOccurs="100"', b'maxOccurs="999"')}
    with pytest.raises(ConfigurationError, match="installed already"):
        package.add(zipped(tmp_path / "b.zip", other), schemas)
    assert (schemas.folder / NEXT / name).read_bytes() == FILES[name]


def test_other_files_of_a_packaged_version_are_refused(tmp_path: Path, schemas: Schemas) -> None:
    packaged = schemas.get(VERSION)
    assert packaged is not None
    files = {path.name: path.read_bytes() + b"<!-- x -->" for path in packaged.folder.glob("*.xsd")}
    with pytest.raises(ConfigurationError, match="comes with hat_etl"):
        package.add(zipped(tmp_path / "a.zip", files), schemas)


def test_a_folder_that_is_in_the_way_is_left_alone(tmp_path: Path, schemas: Schemas) -> None:
    (schemas.folder / NEXT).mkdir(parents=True)
    (schemas.folder / NEXT / "notas.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="remove"):
        package.add(zipped(tmp_path / "a.zip", FILES), schemas)
    assert [path.name for path in (schemas.folder / NEXT).iterdir()] == ["notas.txt"]


EXTRA: dict[str, Callable[[zipfile.ZipFile], None]] = {
    "path upwards": entry("../../evil.xsd"),
    "path upwards in the middle": entry("a/../../evil.xsd"),
    "absolute path": entry("/tmp/evil.xsd"),
    "path of Windows": entry("..\\evil.xsd"),
    "drive of Windows": entry("C:evil.xsd"),
    "symbolic link": entry("evil.xsd", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "file twice": entry("Padrao TISS/tissV4_04_00.xsd", FILES["tissV4_04_00.xsd"]),
    "bomb": entry("bomb.xsd", b"\0" * (package.MAX_FILE_BYTES + 1)),
    "too many entries": lambda archive: [entry(f"{n}.txt")(archive) for n in range(package.MAX_MEMBERS)] and None,
    "many large schemas": lambda archive: [
        entry(f"{n}.xsd", b"\0" * package.MAX_FILE_BYTES)(archive) for n in range(9)
    ]
    and None,
}  # fmt: skip


@pytest.mark.parametrize("name", EXTRA)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_reaches_beyond_itself_is_refused(name: str, tmp_path: Path, schemas: Schemas) -> None:
    packed = zipped(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        EXTRA[name](archive)
    refused(packed, schemas)


def changed(name: str, old: bytes, new: bytes) -> dict[str, bytes]:
    assert old in FILES[name]
    return FILES | {name: FILES[name].replace(old, new)}


MAIN = "tissV4_04_00.xsd"
CONTENTS: dict[str, dict[str, bytes]] = {
    "nothing": {},
    "no schemas": {"leia-me.txt": b"x"},
    "a file missing": {name: content for name, content in FILES.items() if "Guias" not in name},
    "no XML": FILES | {MAIN: b"not XML"},
    "no schema": FILES | {MAIN: b"<html/>"},
    "schema of something else": changed(MAIN, b"http://www.ans.gov.br/padroes/tiss/schemas", b"http://example.com/x"),
    "another version under its name": changed("tissSimpleTypesV4_04_00.xsd", b'<enumeration value="4.04.00"/>', b""),
    "schema that does not compile": changed(MAIN, b"ans:prestadorOperadora", b"ans:nada"),
    "a file of this machine": changed(MAIN, b"tissSimpleTypesV4_04_00.xsd", b"/etc/passwd"),
    "a file of the network": changed(MAIN, b"tissSimpleTypesV4_04_00.xsd", b"http://127.0.0.1:9/x.xsd"),
    "entities": changed(MAIN, b"<schema", b'<!DOCTYPE schema [<!ENTITY x SYSTEM "file:///etc/passwd">]><schema'),
    "entities of this machine where a DTD is usual": changed(
        "xmldsig-core-schema.xsd", b"<!ENTITY % p ''>", b"<!ENTITY % p ''><!ENTITY z SYSTEM \"file:///etc/passwd\">"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_a_zip_without_true_schemas_is_refused(name: str, tmp_path: Path, schemas: Schemas) -> None:
    refused(zipped(tmp_path / "a.zip", CONTENTS[name]), schemas)


def test_a_schema_that_takes_in_a_file_of_this_machine_is_refused(tmp_path: Path, schemas: Schemas) -> None:
    more = b'<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.ans.gov.br/padroes/tiss/schemas"/>'
    (tmp_path / "more.xsd").write_bytes(more)
    taken_in = f'<include schemaLocation="{tmp_path}/more.xsd"/><include '.encode()
    refused(zipped(tmp_path / "a.zip", changed(MAIN, b"<include ", taken_in)), schemas)


def packed(method: int) -> bytes:
    """A ZIP of one damaged entry that is packed in this way."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("tissV4_01_00.xsd", "<a>" * 1000)
    return buffer.getvalue()[:60] + b"\xff" * 12 + buffer.getvalue()[72:]


def damaged() -> dict[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    whole = buffer.getvalue()
    middle = len(whole) // 3
    flipped = bytes(byte ^ 0xFF for byte in whole[middle : middle + 50])
    return {
        "no ZIP": b"<xml/>",
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "wrong bytes in a compressed file": whole[:60] + b"\xff" * 40 + whole[100:],
        "bytes flipped": whole[:middle] + flipped + whole[middle + 50 :],
        "wrong bytes packed by bzip2": packed(zipfile.ZIP_BZIP2),
        "wrong bytes packed by LZMA": packed(zipfile.ZIP_LZMA),
        "encrypted": whole.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"),
    }


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """It ended the command as an unexpected error."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        package.add(zipped(tmp_path / "a.zip", FILES), Schemas(tmp_path / "file" / "schemas"))


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_zip_is_refused(name: str, tmp_path: Path, schemas: Schemas) -> None:
    (tmp_path / "a.zip").write_bytes(damaged()[name])
    refused(tmp_path / "a.zip", schemas)


def refused(packed: Path, schemas: Schemas) -> None:
    """Refused as wrong data, and nothing is installed or left over."""
    before = sorted(packed.parent.rglob("*"))
    with pytest.raises(DataError):
        package.add(packed, schemas)
    left = [path for path in sorted(packed.parent.rglob("*")) if path not in before and path != schemas.folder]
    assert left == []
    assert NEXT not in Schemas(schemas.folder).installed()
