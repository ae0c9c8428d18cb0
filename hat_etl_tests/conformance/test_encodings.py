"""ERP databases that say nothing, or something else, of the CP1252 that Protheus writes into them."""

from __future__ import annotations

from datetime import date

import pytest

from hat_etl.entities import BY_TABLE
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.compare import assert_same_entries, assert_same_rows
from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.model import RECNO, Pls
from hat_etl_tests.conformance.site import TENANT, Site, only
from hat_etl_tests.conformance.world import World, widths

ENCODINGS = ("SQL_ASCII", "LATIN1", "WIN1252")


@pytest.fixture(scope="module", params=ENCODINGS)
def site(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    site = make_site(encoding=request.param)
    site.create_tables(Pls(widths()))
    site.install_views()
    return site


def test_every_character_of_cp1252_arrives_and_undefined_bytes_become_blanks(site: Site) -> None:
    text = bytes(range(0x80, 0x100)).decode("cp1252", errors="ignore")
    undefined = "\x81\x8d\x8f\x90\x9d"
    pls = Pls(widths())
    names = [text[start : start + 60] for start in range(0, len(text), 60)]
    names += ["“João” — 10 €…", f"A{undefined}B", "a\x01b\x7f"]
    for recno, name in enumerate(names, start=1):
        pls.rows("BTS").append({RECNO: recno, "BTS_MATVID": f"{recno:08}", "BTS_NOMUSR": name})
    site.fill_tables(pls)
    site.renew_hat()
    site.load("--only", "persons")
    stored = {row.source_recno: row.values["name"] for row in site.rows()["persons"].values()}
    assert list(dict(sorted(stored.items())).values()) == [*names[:-3], "“João” — 10 €…", "A     B", "a b"]
    assert [(entry.recno, entry.rule) for entry in site.rejects()] == [
        (len(names) - 1, "control_character"),
        (len(names), "control_character"),
    ]


def test_a_view_whose_text_is_no_utf8_is_read_and_another_text_is_noticed(site: Site) -> None:
    """Loads and syncs ended with SQLSTATE 22021, as if the tenant database had refused something."""
    pls, view, name = Pls(widths()), f"{site.views_schema}.hat_bts_vida", b"N\xc3O"
    pls.rows("BTS").append({RECNO: 1, "BTS_MATVID": "00000001", "BTS_NOMUSR": "N\xc3O"})
    site.fill_tables(pls)
    site.renew_hat()
    with site.server.connect(site.erp) as connection:
        text = connection.execute("SELECT convert_to(pg_get_viewdef(%s::regclass), 'SQL_ASCII')", (view,)).fetchall()
        before = text[0][0].rstrip(b";\n ")
    make = f"CREATE OR REPLACE VIEW {view} AS ".encode()
    try:
        site.execute(make + b"SELECT * FROM (" + before + b") v WHERE nome = '" + name + b"'")
        site.load("--only", "persons")
        assert [row.values["name"] for row in site.rows()["persons"].values()] == ["N\xc3O"]
        site.execute(make + b"SELECT * FROM (" + before + b") v WHERE nome = '" + name.replace(b"\xc3", b"\xc2") + b"'")
        report = site.run("sync", TENANT, "--accept", "--json").json
        assert [(table["strategy"], table["deleted"]) for table in report["tables"]] == [("full", 1)]
    finally:
        site.execute(make + before)


@pytest.fixture(scope="module")
def soiled(today: date) -> Pls:
    pls = World(3, today).pls
    pls.stampless = ()
    for rows in pls.tables.values():
        for row in rows:
            # U+0085 has no byte in CP1252; U+0081 is a control character that has one.
            row.update({name: text.replace("\x85", "\x81") for name, text in row.items() if isinstance(text, str)})
    return pls


def test_a_soiled_erp_is_loaded_as_the_model_says(site: Site, soiled: Pls) -> None:
    tables = ("persons", "professionals", "health_providers", "attendance_locations", "clinical_staff")
    site.fill_tables(soiled)
    site.renew_hat()
    report = site.load(*only(tables))
    expected = model.load(soiled, run=report["run"], today=site.day_of(report["run"]), only=tables)
    found = site.rows()
    for table in tables:
        assert_same_rows(BY_TABLE[table], found[table], expected.rows[table])
    assert_same_entries(site.rejects(), expected.entries)
