"""A view that is made anew with another text shows other values for rows whose stamps have not moved."""

from __future__ import annotations

import pytest

from hat_etl_tests.conformance.model import RECNO, STAMP, Pls
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.world import widths

PEOPLE = 12
ONLY = ("--only", "persons", "--only", "user_types")


@pytest.fixture
def site(plain_site: Site) -> Site:
    """Some people and a user type in HAT."""
    plain_site.renew_hat()
    fill(plain_site, PEOPLE)
    remake(plain_site, "nome")
    plain_site.load(*ONLY)
    return plain_site


def fill(site: Site, people: int) -> None:
    pls, moment = Pls(widths()), site_moment(site)
    for recno in range(1, people + 1):
        row = {RECNO: recno, "BTS_MATVID": f"{recno:08}", "BTS_NOMUSR": f"pessoa {recno}", STAMP: moment}
        pls.rows("BTS").append(row)
    pls.rows("BIH").append({RECNO: 1, "BIH_CODTIP": "T", "BIH_DESCRI": "TITULAR", STAMP: moment})
    site.fill_tables(pls)


def site_moment(site: Site) -> object:
    with site.server.connect(site.erp) as connection:
        ((moment,),) = connection.execute("SELECT localtimestamp - interval '3 days'").fetchall()
    return moment


def remake(site: Site, name: str) -> None:
    """Make the view of people anew, over one of the same columns, with this expression as their name."""
    view, schema = "hat_bts_vida", site.views_schema
    with site.server.connect(site.erp) as connection:
        if connection.execute("SELECT to_regclass(%s)", (f"{schema}.{view}_was",)).fetchone() == (None,):
            connection.execute(f"ALTER VIEW {schema}.{view} RENAME TO {view}_was".encode())
        columns = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f"{schema}.{view}_was",),
        ).fetchall()
        listed = ", ".join(f"({name if c == 'nome' else c})::{kind} AS {c}" for c, kind in columns)
        connection.execute(
            f"CREATE OR REPLACE VIEW {schema}.{view} AS SELECT {listed} FROM {schema}.{view}_was".encode()
        )


def names(site: Site) -> set[str]:
    return {str(row.values["name"]) for row in site.rows()["persons"].values()}


def strategies(site: Site, *options: str) -> dict[str, str]:
    answer = site.run("sync", TENANT, "--json", *options)
    assert answer.code == 0, answer.err
    return {table["table"]: table["strategy"] for table in answer.json["tables"]}


def test_the_next_sync_reads_it_whole_and_no_other(site: Site) -> None:
    """Rows whose stamps had not moved kept the values of the text before, until somebody thought of --full."""
    assert strategies(site) == {"persons": "window", "user_types": "window"}
    remake(site, "upper(nome)")
    planned = {t["table"]: t for t in site.run("plan", TENANT, "--sync", "--json").json}
    assert {table: plan["strategy"] for table, plan in planned.items()} == {"persons": "full", "user_types": "window"}
    assert "every row, for its view was made anew with another text" in " ".join(planned["persons"]["remarks"])
    assert strategies(site) == {"persons": "full", "user_types": "window"}
    assert names(site) == {f"PESSOA {recno}" for recno in range(1, PEOPLE + 1)}
    assert strategies(site) == {"persons": "window", "user_types": "window"}


def test_the_report_says_so(site: Site) -> None:
    remake(site, "upper(nome)")
    report = site.run("sync", TENANT, "--json").json
    assert any("HAT_BTS_Vida" in remark and "Made anew" in remark for remark in report["remarks"]), report["remarks"]


def test_a_reconciliation_says_so_and_a_repair_does_not_take_its_place(site: Site) -> None:
    """A repair reads some rows only: the others are still by the text before."""
    remake(site, "CASE WHEN recno < 3 THEN upper(nome) ELSE nome END")
    answer = site.run("reconcile", TENANT, "--table", "persons", "--repair", "--json")
    assert "Made anew" in " ".join(answer.json["remarks"])
    remake(site, "CASE WHEN recno > 9 THEN upper(nome) ELSE nome END")
    assert strategies(site)["persons"] == "full"


def test_a_sync_of_other_tables_does_not_take_its_place(site: Site) -> None:
    remake(site, "upper(nome)")
    assert strategies(site, "--only", "user_types") == {"user_types": "window"}
    assert strategies(site)["persons"] == "full"


def test_the_brake_names_it_as_the_cause(site: Site) -> None:
    with site.tenant_lines("[sync]\nbrake_rows = 1\n"):
        remake(site, "upper(nome)")
        answer = site.run("sync", TENANT)
        assert answer.code == 7
        assert "its view was made anew with another text" in " ".join(answer.err.split())
        assert names(site) == {f"pessoa {recno}" for recno in range(1, PEOPLE + 1)}
        assert strategies(site, "--accept")["persons"] == "full"
    assert names(site) == {f"PESSOA {recno}" for recno in range(1, PEOPLE + 1)}


def test_a_load_that_is_resumed_reads_again_what_it_staged_by_the_text_before(site: Site) -> None:
    """Rows of both texts stood side by side, and nothing told."""
    fill(site, 4)
    assert site.run("load", TENANT, *ONLY).code == 7  # less than half
    remake(site, "upper(nome)")
    site.load("--resume", "--accept-shrink")
    assert names(site) == {f"PESSOA {recno}" for recno in range(1, 5)}
    assert strategies(site)["persons"] == "window"
