"""Every fate that a row can have is told, with its reason, its origin and its history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hat_etl_tests.conformance.model import DELETED, RECNO, STAMP
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.test_made_anew import remake
from hat_etl_tests.failures.test_windows import CLOSED, hours
from hat_etl_tests.undo.small import LONG_AGO, TABLES, Small
from hat_etl_tests.undo.state import state

SEED = "SEMENTE-SECRETA"
FIRST = "00000001"


class Enrolled(Small):
    """Also a family and its holder, whose card has a secret."""

    tables = (*TABLES, "families", "beneficiaries")

    def populate(self) -> None:
        super().populate()
        place = {"CODINT": "0001", "CODEMP": "0011", "MATRIC": "000001"}
        self.add("BA3", 31, **{f"BA3_{name}": value for name, value in place.items()})
        self.add("BA1", 41, **{f"BA1_{name}": value for name, value in place.items()}, BA1_TIPREG="00",
                 BA1_DIGITO="0", BA1_NOMUSR="TITULAR", BA1_DATNAS="19800101", BA1_DATINC="20200101",
                 BA1_TKSEED=SEED)  # fmt: skip


@pytest.fixture
def small(plain_site: Site) -> Small:
    return Small(plain_site)


def column(told: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(column for column in told["columns"] if column["column"] == name)
    return found


def why(told: dict[str, Any]) -> str:
    return " ".join(told["why"])


def test_a_row_in_hat(small: Small) -> None:
    told = small.explain("persons", FIRST)
    assert (told["state"], told["key"], told["view"]) == ("in HAT", FIRST, "HAT_BTS_Vida")
    assert told["why"] == ["HAT shows what the ERP has now."]
    assert told["erp_tables"] == ["protheus.bts010"]
    assert told["hat"]["source_recno"] == told["hat"]["recno_behind"] == 1
    assert (told["hat"]["run"]["mode"], told["hat"]["loaded_run"]) == ("load", 1)
    assert [(row["recno"], row["deleted"]) for row in told["in_view"]] == [(1, False)]
    name = column(told, "name")
    assert (name["in_view"], name["becomes"], name["in_hat"]) == ("PESSOA 1", "PESSOA 1", "PESSOA 1")
    assert (name["fields"], name["source"], name["alias"]) == (["bts010.BTS_NOMUSR"], "BTS_NOMUSR", "Nome")
    assert any("cut to 70" in step for step in name["steps"])
    assert any(rule.startswith("cpf:") for rule in column(told, "holder_cpf")["rules"])
    assert [(version["run"], version["kind"]) for version in told["versions"]] == [(1, "load")]


def test_a_row_that_the_erp_has_changed_since(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA", BTS_SEXO="7")
    small.site.fill_tables(small.pls)
    told = small.explain("persons", FIRST)
    assert told["why"] == [
        f"The ERP now has other values of name, gender. The next sync brings it: hat-etl sync {TENANT}"
    ]
    assert (column(told, "name")["becomes"], column(told, "name")["in_hat"]) == ("OUTRA", "PESSOA 1")
    small.sync()
    told = small.explain("persons", FIRST)
    assert told["why"] == ["HAT shows what the ERP has now."]
    assert [(entry["column"], entry["value"]) for entry in told["rejects"]] == [("gender", "7")]


def test_a_change_without_a_stamp_takes_a_full_sync(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.pls.rows("BTS")[0][STAMP] = LONG_AGO
    small.site.fill_tables(small.pls)
    assert "--full" in why(small.explain("persons", FIRST))


def test_a_change_that_an_undo_has_taken_back_takes_none(small: Small) -> None:
    """Whoever asked was sent to read all tables of the ERP whole, where the next sync reads this one so."""
    small.change("BTS", 1, BTS_NOMUSR="OUTRA")
    small.pls.rows("BTS")[0][STAMP] = LONG_AGO
    small.undo(small.sync("--full"))
    assert why(small.explain("persons", FIRST)) == (
        f"The ERP now has other values of name. The next sync brings it: hat-etl sync {TENANT}"
    )
    small.sync()
    assert why(small.explain("persons", FIRST)) == "HAT shows what the ERP has now."


def test_a_change_by_another_text_of_the_view_takes_none(small: Small) -> None:
    """Whoever asked was sent to read all tables of the ERP whole, where the next sync brings it."""
    small.pls.rows("BTS")[0][STAMP] = LONG_AGO
    small.site.fill_tables(small.pls)
    remake(small.site, "lower(nome)")
    try:
        assert why(small.explain("persons", FIRST)) == (
            f"The ERP now has other values of name. The next sync brings it: hat-etl sync {TENANT}"
        )
        assert small.site.run("sync", TENANT, "--accept").code == 0
        assert why(small.explain("persons", FIRST)) == "HAT shows what the ERP has now."
    finally:
        remake(small.site, "nome")


def test_a_last_good_version(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="")
    small.sync()
    told = small.explain("persons", FIRST)
    assert told["state"] == "kept"
    assert "last good version is kept" in told["why"][0]
    assert "Preencha BTS_NOMUSR no Protheus" in told["why"][1]
    assert told["hat"]["recno_behind"] is None
    assert (column(told, "name")["in_view"], column(told, "name")["in_hat"]) == ("", "PESSOA 1")
    small.change("BTS", 1, BTS_NOMUSR="MENDED")
    small.site.fill_tables(small.pls)
    assert "is good by itself" in why(small.explain("persons", FIRST))


def test_a_rejected_row(small: Small) -> None:
    small.person(9, BTS_NOMUSR="")
    small.sync()
    told = small.explain("persons", "00000009")
    assert (told["state"], told["hat"]) == ("rejected", None)
    assert "Preencha BTS_NOMUSR no Protheus" in why(told)
    assert [(row["recno"], row["would_be_rejected"]) for row in told["in_view"]] == [(9, True)]
    assert column(told, "person_id")["in_view"] == "00000009"


def test_a_held_row_and_the_run_that_took_it(small: Small) -> None:
    small.delete("BA0", 2)
    run = small.sync()
    told = small.explain("companies", "0002|0012")
    assert told["state"] == "held"
    assert "health_insurers" in why(told)
    assert [(v["run"], v["kind"]) for v in told["versions"]] == [(run, "delete"), (run, "rejects"), (1, "load")]


def test_a_duplicate_tells_who_won(small: Small) -> None:
    small.person(9, BTS_MATVID=FIRST)
    small.sync()
    told = small.explain("persons", FIRST)
    assert told["state"] == "in HAT"
    assert told["hat"]["source_recno"] == 9
    assert [entry["rule"] for entry in told["rejects"]] == ["duplicate_key"]
    assert "2 live rows with this key; the highest Recno (9) wins" in why(told)


def test_a_deleted_row(small: Small) -> None:
    small.delete("BTS", 1)
    run = small.sync()
    told = small.explain("persons", FIRST)
    assert told["state"] == "deleted"
    assert told["why"] == [f"Run {run} (sync) removed the row."]
    assert [(row["recno"], row["deleted"]) for row in told["in_view"]] == [(1, True)]


def test_a_purged_row(small: Small) -> None:
    del small.pls.rows("BTS")[0]
    small.sync()
    told = small.explain("persons", FIRST)
    assert (told["state"], told["in_view"]) == ("deleted", [])


def test_a_deletion_that_is_still_to_come(small: Small) -> None:
    small.delete("BTS", 1)
    small.site.fill_tables(small.pls)
    told = small.explain("persons", FIRST)
    assert told["state"] == "in HAT"
    assert "Recno 1 is marked as deleted. The next sync brings it" in why(told)


def test_a_row_that_no_run_has_read_yet(small: Small) -> None:
    small.person(9)
    small.site.fill_tables(small.pls)
    told = small.explain("persons", "00000009")
    assert told["state"] == "waiting"
    assert "No run has read the row" in why(told)
    assert [row["recno"] for row in told["in_view"]] == [9]


@pytest.mark.parametrize("written", ["77\x7f", " 77", "\x0177\x02 ", "\u008577"])
def test_a_key_is_found_whatever_blanks_and_control_characters_are_around_it(small: Small, written: str) -> None:
    small.person(9, BTS_MATVID=written)
    small.site.fill_tables(small.pls)
    assert [row["recno"] for row in small.explain("persons", "77")["in_view"]] == [9]


def test_a_row_deleted_before_anybody_read_it(small: Small) -> None:
    small.person(9)[DELETED] = "*"
    small.sync()
    told = small.explain("persons", "00000009")
    assert told["state"] == "deleted"
    assert "D_E_L_E_T_" in why(told)


def test_a_key_that_nobody_knows(small: Small) -> None:
    told = small.explain("persons", "x' OR true --\\")
    assert told["state"] == "never seen"
    assert "not in the view HAT_BTS_Vida" in why(told)


def test_a_row_whose_recno_has_another_key_now(small: Small) -> None:
    small.change("BTS", 1, BTS_MATVID="00000077")
    small.site.fill_tables(small.pls)
    assert "Recno 1 has another key now" in why(small.explain("persons", FIRST))
    small.sync()
    told = small.explain("persons", FIRST)
    assert told["state"] == "deleted"
    assert "Recno 1 is in HAT under another key: 00000077" in why(told)


def test_an_equal_row_under_a_new_recno(small: Small) -> None:
    fields = {name: value for name, value in small.pls.rows("BTS")[0].items() if name not in (RECNO, STAMP)}
    small.delete("BTS", 1)
    small.add("BTS", 9, **fields)
    small.sync()
    told = small.explain("persons", FIRST)
    assert told["state"] == "in HAT"
    assert (told["hat"]["source_recno"], told["hat"]["recno_behind"]) == (1, 9)
    assert "The live row behind it is Recno 9" in why(told)


def test_earlier_versions(small: Small) -> None:
    names = ("SEGUNDA", "TERCEIRA")
    runs = []
    for name in names:
        small.change("BTS", 1, BTS_NOMUSR=name)
        runs.append(small.sync())
    undo = small.undo(runs[1])["run"]
    versions = [v for v in small.explain("persons", FIRST)["versions"] if v["kind"] == "update"]
    assert [(v["run"], v["mode"], v["columns"], v["undone_by"]) for v in versions] == [
        (undo, "undo", {"name": ["TERCEIRA", "SEGUNDA"]}, None),
        (runs[1], "sync", {"name": ["SEGUNDA", "TERCEIRA"]}, undo),
        (runs[0], "sync", {"name": ["PESSOA 1", "SEGUNDA"]}, None),
    ]


def test_what_a_load_hides_is_not_guessed(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="SEGUNDA")
    small.sync()
    small.change("BTS", 1, BTS_NOMUSR="TERCEIRA")
    small.site.fill_tables(small.pls)
    small.site.load("--only", "persons")
    versions = small.explain("persons", FIRST)["versions"]
    assert [(v["kind"], v["columns"]) for v in versions] == [("load", None), ("update", None), ("load", None)]


def test_secrets_are_never_shown(plain_site: Site) -> None:
    enrolled = Enrolled(plain_site)
    key = "00010011000001000"
    enrolled.change("BA1", 41, BA1_TKSEED=f"{SEED}\x01 DOIS", BA1_NOMUSR="OUTRO")
    enrolled.sync()
    enrolled.change("BA1", 41, BA1_TKSEED=f"{SEED} TRES\x01")
    enrolled.site.fill_tables(enrolled.pls)
    told = enrolled.explain("beneficiaries", key)
    seed = column(told, "token_seed")
    assert (seed["in_view"], seed["becomes"], seed["in_hat"]) == ("***", "***", "***")
    assert told["versions"][0]["columns"]["token_seed"] == ["***", "***"]
    assert {entry["column"]: entry["value"] for entry in told["rejects"]}["token_seed"] == "***"
    assert "token_seed" in why(told), "that it differs is told"
    assert SEED not in json.dumps(told)
    answer = enrolled.told("beneficiaries", key)
    assert answer.code == 0
    assert "TITULAR" in answer.out
    assert SEED not in answer.out + answer.err


def test_the_row_is_shown_and_its_signs_mean_nothing_to_the_terminal(small: Small) -> None:
    small.change("BTS", 1, BTS_NOMUSR="[red]A[/nada]\x1b[31mB")
    small.site.fill_tables(small.pls)
    answer = small.told("persons", FIRST)
    assert answer.code == 0
    assert "\x1b" not in answer.out
    assert r"[red]A[/nada]\x1b[31mB" in "".join(answer.out.split())
    for part in ("in HAT", "run 1 (load of", "HAT_BTS_Vida over protheus.bts010", "PESSOA 1", "BTS_NOMUSR"):
        assert part in answer.out
    assert not answer.err


def test_an_erp_that_cannot_be_reached_is_a_note(small: Small) -> None:
    small.person(9, BTS_NOMUSR="")
    small.sync()
    file = small.site.folder / "erp_url"
    address = file.read_text(encoding="utf-8")
    try:
        file.write_text(f"{small.site.dialect}://nobody:nothing@localhost:1/erp", encoding="utf-8")
        present, absent = small.explain("persons", FIRST), small.explain("persons", "nada")
        rejected = small.explain("persons", "00000009")
    finally:
        file.write_text(address, encoding="utf-8")
    assert (present["state"], column(present, "name")["in_hat"]) == ("in HAT", "PESSOA 1")
    assert column(present, "name")["in_view"] is None
    assert (rejected["state"], absent["state"]) == ("rejected", "never seen")
    assert "not in the view" not in why(absent)
    for told in (present, absent, rejected):
        assert "The ERP could not be asked" in told["notes"][0]


def test_a_hat_that_refuses_is_an_error_whose_command_has_a_key(small: Small) -> None:
    """The command that it named was refused in turn, for it had none."""
    with small.site.server.connect(small.site.hat) as connection:
        connection.execute("ALTER TABLE hat_etl.watermarks RENAME TO kept")
        connection.execute('CREATE VIEW hat_etl.watermarks AS SELECT "table", to_timestamp(1 / (run - run)) AS horizon'
                           " FROM hat_etl.kept")  # fmt: skip
    answer = small.told("persons", FIRST)
    assert answer.code == 5
    assert f"go on with: hat-etl explain {TENANT} persons KEY" in answer.err
    assert FIRST not in answer.err


def test_a_view_that_lacks_a_column_is_a_note(small: Small) -> None:
    small.site.execute(
        "ALTER VIEW hat.hat_bts_vida RENAME TO kept",
        "CREATE VIEW hat.hat_bts_vida AS SELECT recno, excluido, carimbo, codigovida FROM hat.kept",
    )
    try:
        told, absent = small.explain("persons", FIRST), small.explain("persons", "nada")
    finally:
        small.site.execute("DROP VIEW hat.hat_bts_vida", "ALTER VIEW hat.kept RENAME TO hat_bts_vida")
    assert "not in the view" not in why(absent), "nobody has looked"
    assert told["state"] == "in HAT"
    assert "cannot be read as it is" in told["notes"][0]


def test_while_the_windows_are_closed_the_erp_is_read_only_when_told_to(small: Small) -> None:
    """A whole look through a view of a large operator came in the middle of its working hours."""
    file = small.site.folder / f"{TENANT}.toml"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(before.replace("[erp]\n", f"[erp]\n{hours(*CLOSED)}\n"), encoding="utf-8")
        present, absent = small.explain("persons", FIRST), small.explain("persons", "nada")
        agreed = small.site.run("explain", TENANT, "persons", FIRST, "--outside-windows", "--json").json
    finally:
        file.write_text(before, encoding="utf-8")
    assert (present["state"], column(present, "name")["in_hat"]) == ("in HAT", "PESSOA 1")
    assert (present["in_view"], absent["in_view"]) == ([], [])
    assert "not in the view" not in why(absent)
    (note,) = present["notes"]
    assert "windows are closed" in note
    assert note.endswith(f"hat-etl explain {TENANT} persons {FIRST} --outside-windows")
    assert (agreed["why"], agreed["notes"]) == (["HAT shows what the ERP has now."], [])


def test_a_key_that_holds_the_sign_between_parts_is_given_part_by_part(small: Small) -> None:
    """Such a row could not be asked about in any way."""
    small.company(19, "0001")["BG9_CODIGO"] = "A|B"
    small.sync()
    refused = small.told("companies", "0001|A|B")
    assert refused.code == 3
    assert f"hat-etl explain {TENANT} companies HEALTH_INSURER_ID COMPANY_ID" in refused.err
    told = small.site.run("explain", TENANT, "companies", "0001", "A|B", "--json").json
    assert (told["state"], told["key"], told["hat"]["source_recno"]) == ("in HAT", "0001|A|B", 19)
    assert told["why"] == ["HAT shows what the ERP has now."]


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [("nada", "1", "No such HAT table"), ("companies", "1", "has 2 parts, and 1 came"),
     ("companies", "1|2|3", "has 2 parts, and 3 came")],
)  # fmt: skip
def test_what_is_no_key(small: Small, table: str, key: str, said: str) -> None:
    answer = small.told(table, key)
    assert answer.code == 3
    assert said in answer.err


def test_before_anything_is_loaded(small: Small) -> None:
    assert small.explain("kinships", "01")["notes"][0].startswith("HAT does not have this table")
    small.site.renew_hat()
    answer = small.told("persons", FIRST)
    assert answer.code == 7
    assert "Nothing is loaded yet" in answer.err


def test_it_changes_nothing_and_waits_for_nobody(small: Small) -> None:
    small.delete("BTS", 1)
    small.sync()
    before, runs = state(small.site), small.site.run("runs", TENANT, "--json").json
    with small.site.server.connect(small.site.hat) as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", (0x484154, 1))
        small.explain("persons", FIRST)
        small.explain("persons", "00000002")
    assert (state(small.site), small.site.run("runs", TENANT, "--json").json) == (before, runs)
