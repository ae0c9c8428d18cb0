"""The spreadsheet of rejects: texts stay texts, every entry is in it, and an earlier one is replaced whole."""

from __future__ import annotations

import errno
import gc
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from hat_etl.reports import rejects


def entry(recno: int, key: str) -> dict[str, Any]:
    return {
        "table": "persons", "recno": recno, "key": key, "column": "cpf", "rule": "cpf", "severity": "warning",
        "reason": "CPF inválido",
    }  # fmt: skip


def keys(file: Path) -> dict[str, list[Any]]:
    """The keys on each sheet of entries."""
    book = openpyxl.load_workbook(file)
    return {
        sheet.title: [row[3] for row in sheet.iter_rows(min_row=2, values_only=True)]
        for sheet in book.worksheets
        if sheet.title != "Resumo"
    }


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that takes 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("the command mount is not there")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_key_that_begins_like_a_formula_stays_a_text(tmp_path: Path) -> None:
    """Excel computed what somebody had written into the ERP."""
    file = tmp_path / "rejects.xlsx"
    rejects.write_xlsx([entry(1, "=1+1"), entry(2, "#N/A"), entry(3, "0001|2")], file)
    assert keys(file) == {"Registros": ["=1+1", "#N/A", "0001|2"]}
    sheet = openpyxl.load_workbook(file)["Registros"]
    assert [sheet.cell(row, 4).data_type for row in (2, 4)] == ["s", "s"]


def test_more_entries_than_a_sheet_takes_go_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many there was no file at all, and an error that nobody foresaw."""
    monkeypatch.setattr(rejects, "LARGEST_SHEET", 3)
    file = tmp_path / "rejects.xlsx"
    rejects.write_xlsx([entry(number, str(number)) for number in range(7)], file)
    assert keys(file) == {"Registros": ["0", "1", "2"], "Registros 2": ["3", "4", "5"], "Registros 3": ["6"]}
    rejects.write_xlsx([], file)
    assert keys(file) == {"Registros": []}


def test_a_file_that_is_there_is_replaced_whole_and_keeps_its_rights(tmp_path: Path) -> None:
    file, link = tmp_path / "rejects.xlsx", tmp_path / "latest.xlsx"
    file.write_bytes(b"earlier")
    file.chmod(0o640)
    link.symlink_to(file)
    rejects.write_xlsx([entry(1, "1")], link)
    assert keys(file) == {"Registros": ["1"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_a_disk_that_gets_full_leaves_the_earlier_report_whole(small_disk: Path) -> None:
    """The earlier one was truncated."""
    file = small_disk / "rejects.xlsx"
    rejects.write_xlsx([entry(1, "1")], file)
    dice = random.Random(1)
    with pytest.raises(OSError, match="space") as raised:
        rejects.write_xlsx([entry(number, str(dice.random())) for number in range(9_000)], file)
    assert raised.value.errno == errno.ENOSPC
    assert list(small_disk.iterdir()) == [file]
    assert keys(file) == {"Registros": ["1"]}


def test_where_there_is_no_room_for_what_comes_and_goes_is_told(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something unexpected was to be reported, with a traceback of what broke after it."""
    file, unheard = tmp_path / "rejects.xlsx", list[object]()
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr(sys, "unraisablehook", unheard.append)
    dice = random.Random(1)
    with pytest.raises(OSError, match=f"No space left on device in {small_disk}") as raised:
        rejects.write_xlsx([entry(number, str(dice.random())) for number in range(9_000)], file)
    assert raised.value.errno == errno.ENOSPC
    gc.collect()
    assert unheard == []
    assert not file.exists()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """Of /dev/stdout behind a pipe, or of what a shell makes of >(command), one read that there is no such file."""
    reader, writer = os.pipe()
    rejects.write_xlsx([entry(1, "1")], Path(f"/dev/fd/{writer}"))
    os.close(writer)
    file = tmp_path / "rejects.xlsx"
    with open(reader, "rb") as piped:
        file.write_bytes(piped.read())
    assert keys(file) == {"Registros": ["1"]}
