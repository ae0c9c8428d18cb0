"""Samples with known verdicts: those of a folder when there is one, else the project's own.

The folder is named by HAT_ETL_TISS_SAMPLES, or lies beside the checkout. It holds messages and ``expected.json``, which
says of each file ``versao``, ``xsd_valido``, ``hash_iso`` and ``hash_utf8`` (None where the message has no hash).
Schemas of versions that are not packaged are taken from the folder ``schemas`` next to it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from hat_etl.sandbox.lots import sealed
from hat_etl.tiss.check import check
from hat_etl.tiss.schemas import Schemas, packaged_versions
from hat_etl_tests.tiss.texts import CONSULTATION, SADT, VERSION, changed, consultations

FOLDER = Path(
    os.environ.get("HAT_ETL_TISS_SAMPLES") or Path(__file__).parents[2].parent / "shared" / "tiss" / "samples"
)
NAMED = "HAT_ETL_TISS_SAMPLES" in os.environ


@dataclass(frozen=True)
class Sample:
    content: bytes
    version: str
    xsd_valid: bool
    hash: str


def _hash(iso: bool | None, utf8: bool | None) -> str:
    return {(True, True): "both", (True, False): "iso-8859-1", (False, True): "utf-8"}.get(
        (bool(iso), bool(utf8)), "none"
    )


def _of_folder() -> dict[str, Sample]:
    expected = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
    return {
        name: Sample(
            (FOLDER / name).read_bytes(), of["versao"], of["xsd_valido"], _hash(of["hash_iso"], of["hash_utf8"])
        )
        for name, of in expected.items()
    }


def _own() -> dict[str, Sample]:
    samples = {}
    for version in packaged_versions():
        sadt, consultation, too_many = (
            text.replace(f"<ans:Padrao>{VERSION}", f"<ans:Padrao>{version}")
            for text in (SADT, CONSULTATION, consultations(101))
        )
        plain = sadt.encode("ascii", "ignore").decode()
        other = changed(sadt, "tipoAtendimento>23", "tipoAtendimento>05")
        samples |= {
            f"{version} SP/SADT": Sample(sealed(sadt), version, True, "iso-8859-1"),
            f"{version} consultations": Sample(sealed(consultation), version, True, "iso-8859-1"),
            f"{version} without accents": Sample(sealed(plain), version, True, "both"),
            f"{version} hash over UTF-8": Sample(sealed(sadt, "utf-8", "utf-8"), version, True, "utf-8"),
            f"{version} wrong hash": Sample(sealed(sadt).replace(b">10.50<", b">10.5<"), version, True, "none"),
            f"{version} 101 guides": Sample(sealed(too_many), version, False, "iso-8859-1"),
            f"{version} other domain": Sample(sealed(other), version, False, "iso-8859-1"),
        }
    return samples


SAMPLES = _of_folder() if NAMED or (FOLDER / "expected.json").is_file() else _own()
BESIDE = FOLDER.parent / "schemas"
SCHEMAS = Schemas(BESIDE if BESIDE.is_dir() else None)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_gets_its_verdict(name: str) -> None:
    sample = SAMPLES[name]
    if SCHEMAS.get(sample.version) is None:
        pytest.skip(f"the schema of {sample.version} is not installed")
    report = check(sample.content, schemas=SCHEMAS)
    assert report.xsd_valid == sample.xsd_valid
    assert report.hash == sample.hash
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert report.accepted == (not errors)
    if name.split("_")[1:2] == ["NEG"] or not sample.xsd_valid:
        assert not report.accepted
