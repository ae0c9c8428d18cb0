"""Status, totals and denials read in the ERP, by its views, and shown in HAT like those that a TISS service tells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from click.testing import CliRunner

from hat_etl.billing.decisions import arrived, release
from hat_etl.billing.operators.base import NoAnswer
from hat_etl.billing.operators.views import ViewsOperator
from hat_etl.cli.main import main
from hat_etl.errors import DecisionNeeded
from hat_etl.sandbox.operator.behaviour import Mishap
from hat_etl_tests.views import pls

from .conftest import PROVIDER, World

PEG = "00000077"


class Erp:
    """The PLS tables of the tenant's ERP, and its rows that concern billing."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._recno = 0

    def add(self, alias: str, **fields: object) -> None:
        self._recno += 1
        pls.insert(self._connection, "protheus", alias, self._recno, **fields)

    def account(self, batch: str, status: int, **fields: object) -> None:
        row: dict[str, object] = {
            "BCI_CODOPE": "0001", "BCI_CODLDP": "0001", "BCI_CODPEG": PEG, "BCI_LOTGUI": batch,
            "BCI_CODRDA": PROVIDER, "BCI_STTISS": str(status), "BCI_VLRGUI": 100.0, "BCI_VLRGLO": 0.0,
        }  # fmt: skip
        self.add("BCI", **{**row, **fields})

    def denial(self, number: int, code: str, value: float, peg: str = PEG) -> None:
        self.add(
            "BDX", BDX_CODOPE="0001", BDX_CODLDP="0001", BDX_CODPEG=peg, BDX_NUMERO=f"{number:08}", BDX_SEQUEN="001",
            BDX_CODPRO="10101012", BDX_CODGLO=code, BDX_DESGLO=f"MOTIVO {code}", BDX_VLRGLO=value,
        )  # fmt: skip

    def deny(self, value: float) -> None:
        self._connection.execute("UPDATE protheus.bci010 SET bci_vlrglo = %s", (value,))

    def move(self, status: int) -> None:
        self._connection.execute("UPDATE protheus.bci010 SET bci_sttiss = %s", (str(status),))


@pytest.fixture
def erp(world: World) -> Iterator[Erp]:
    """An ERP with the views of billing, which the tenant's file names and asks."""
    database = world.server.create_database("erp")
    (world.folder / "erp_url").write_text(world.server.url(database))
    ask(world)
    with world.server.connect(database) as connection:
        pls.create(connection, "protheus")
        installed = CliRunner().invoke(main, ["views", "install", world.name])
        assert installed.exit_code == 0, installed.output
        yield Erp(connection)


def ask(world: World, more: str = "", deliver: str | None = "soap") -> None:
    """``deliver`` None: as the tenant's file has it."""
    if deliver is not None:
        world.write_tenant(deliver=deliver)
    file = world.folder / f"{world.name}.toml"
    text = file.read_text()
    text = text.replace('url = "env:NOT_SET"', f'url = "file:{world.folder}/erp_url"\nschema = "protheus"\n{more}')
    file.write_text(text.replace('ask = "pls"', 'ask = "views"'))


def sent(world: World) -> str:
    batch = world.add()
    world.pull()
    world.send()
    return batch


def test_status_protocol_and_totals_of_the_account_show_in_hat(world: World, erp: Erp) -> None:
    batch = sent(world)
    erp.account(batch, 2)
    world.poll()
    world.push()
    assert (world.in_hat(batch).status, world.in_hat(batch).protocol) == (2, PEG)
    erp.move(6)
    world.poll()
    world.push()
    assert world.in_hat(batch).status == 6
    assert world.states()[batch] == "final"
    assert [float(world.column(batch, name)) for name in ("processed", "denied", "released")] == [100, 0, 100]
    assert world.column(batch, "first_protocol") != PEG, "that of the receipt stays known"


def test_denials_show_in_hat_with_their_tiss_codes(world: World, erp: Erp) -> None:
    batch = sent(world)
    erp.add("BCT", BCT_CODOPE="0001", BCT_CODGLO="001", BCT_GLTISS="1705")
    erp.account(batch, 3, BCI_VLRGLO=30.5)
    erp.denial(1, "001", 20.5)
    erp.denial(2, "009", 10.0)
    erp.denial(3, "001", 99.0, peg="00000078")
    world.poll()
    world.push()
    causes = world.in_hat(batch).causes
    assert [(cause["code"], cause["description"]) for cause in causes] == [
        ("1705", "MOTIVO 001"),
        ("1899", "MOTIVO 009"),
    ]
    assert "Guia 00000001" in causes[0]["detailedDescription"]
    assert "R$ 20,50" in causes[0]["detailedDescription"]
    assert float(world.column(batch, "denied")) == 30.5


@pytest.mark.parametrize("status", [3, 6])
def test_denials_that_come_without_a_change_of_status_show_in_hat(status: int, world: World, erp: Erp) -> None:
    """Only a new status was looked at: what was denied later was never told."""
    batch = sent(world)
    erp.account(batch, status)
    world.poll()
    erp.denial(1, "001", 30.5)
    erp.deny(30.5)
    world.poll(everything=True)
    world.push()
    assert float(world.column(batch, "denied")) == 30.5
    assert [cause["code"] for cause in world.in_hat(batch).causes] == ["1899"]
    erp.deny(0)
    world.poll(everything=True)
    world.push()
    assert world.in_hat(batch).causes == []
    events = world.events(batch)
    world.poll(everything=True)
    assert world.events(batch) == events


def test_final_lots_whose_denials_are_not_known_yet_are_asked_about_soon(
    world: World, erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were left for later, as their statements could not be read, were never asked about again."""
    world.write_tenant(more="reversal_days = 0\nworkers = 1")
    ask(world, deliver=None)
    providers = [f"{number:06d}" for number in range(1, 6)]  # more than a service that is down is tried
    batches = [world.add(provider) for provider in providers]
    world.pull()
    world.send()
    for provider, batch in zip(providers, batches, strict=True):
        erp.account(batch, 6, BCI_CODRDA=provider, BCI_CODPEG=batch.zfill(8), BCI_VLRGLO=30.5)
        erp.denial(1, "001", 30.5, peg=batch.zfill(8))
    with monkeypatch.context() as patched:
        patched.setattr(ViewsOperator, "statement", lambda *_: NoAnswer("away", down=True))
        world.poll()
    assert set(world.states().values()) == {"final"}
    world.poll()
    world.push()
    assert [len(world.in_hat(batch).causes) for batch in batches] == [1] * 5
    assert world.rows("SELECT DISTINCT next_poll FROM hat_etl.billing_lots") == [(None,)]


def test_a_payment_that_is_taken_back_goes_back_in_hat(world: World, erp: Erp) -> None:
    batch = sent(world)
    erp.account(batch, 6)
    world.poll()
    erp.move(3)
    world.poll(everything=True)
    world.push()
    assert world.in_hat(batch).status == 3
    assert world.states()[batch] == "under analysis"


def test_a_lot_without_an_account_stays_as_it_is(world: World, erp: Erp) -> None:
    batch = sent(world)
    report = world.poll()
    assert report.counts["not found"] == 1
    assert report.problems == []
    assert world.states()[batch] == "protocolled"


def test_deleted_accounts_and_those_of_other_providers_are_not_the_lots(world: World, erp: Erp) -> None:
    batch = sent(world)
    erp.account(batch, 6, D_E_L_E_T_="*")
    erp.account(batch, 6, BCI_CODRDA="000999")
    assert world.poll().counts["not found"] == 1


def lot_in_doubt(world: World) -> str:
    """A lot whose receipt was lost at the operator's web service."""
    world.operator.behaviour.plan(Mishap.LOSE_REPLY)
    batch = sent(world)
    assert world.states()[batch] == "unknown"
    return batch


def test_a_lot_in_doubt_is_found_by_its_account(world: World, erp: Erp) -> None:
    batch = lot_in_doubt(world)
    erp.account(batch, 1)
    world.send()
    assert (world.states()[batch], world.column(batch, "protocol")) == ("protocolled", PEG)
    assert list(world.at_operator().values()) == [1]


@pytest.mark.parametrize(("status", "state"), [("2", "refused"), ("3", "protocolled")])
def test_a_lot_in_doubt_is_found_by_its_file(world: World, erp: Erp, status: str, state: str) -> None:
    batch = lot_in_doubt(world)
    name = f"{batch.zfill(20)}_{batch}.xml"
    erp.add("BXX", BXX_CODINT="0001", BXX_CODRDA=PROVIDER, BXX_ARQIN=name, BXX_STATUS=status)
    world.send()
    assert world.states()[batch] == state


def test_an_erp_whose_windows_are_closed_is_asked_later_without_a_problem(world: World, erp: Erp) -> None:
    batches = [sent(world) for _ in range(4)]  # more than an operator that is down is tried
    for batch in batches:
        erp.account(batch, 6, BCI_CODPEG=batch.zfill(8))
    past = datetime.now(UTC) - timedelta(hours=12)
    ask(world, f'windows = ["{past:%H:%M}-{past + timedelta(minutes=1):%H:%M}"]\ntimezone = "UTC"\n')
    report = world.poll()
    assert report.problems == []
    assert report.counts["no answer"] == 4
    assert set(world.states().values()) == {"protocolled"}
    ask(world)
    world.poll()
    assert set(world.states().values()) == {"final"}


def test_an_erp_whose_windows_are_closed_leaves_a_lot_in_doubt_for_later(world: World, erp: Erp) -> None:
    """A person was asked to say that the lot has not arrived, and each run wrote a line into its history."""
    batch = lot_in_doubt(world)
    past = datetime.now(UTC) - timedelta(hours=12)
    ask(world, f'windows = ["{past:%H:%M}-{past + timedelta(minutes=1):%H:%M}"]\ntimezone = "UTC"\n')
    events = world.events(batch)
    report = world.send()
    assert (report.counts, report.problems) == ({"waiting": 1}, [])
    assert (world.states()[batch], world.events(batch)) == ("unknown", events)


def test_a_lot_is_found_by_its_own_number_first(world: World, erp: Erp) -> None:
    """HAT may call one lot as the provider calls another, whose account was taken for the first one's."""
    world.add(number="12", batch_number="57")
    world.add(number="57", batch_number="90")
    world.pull()
    world.send()
    erp.account("12", 2, BCI_CODPEG="00000077")
    erp.account("57", 6, BCI_CODPEG="00000078", BCI_VLRGUI=999.0)
    world.poll()
    world.push()
    assert (world.in_hat("57").status, world.in_hat("57").protocol) == (2, "00000077")
    assert (world.in_hat("90").status, world.in_hat("90").protocol) == (6, "00000078")


def test_a_lot_without_an_account_does_not_get_that_of_another_lot(world: World, erp: Erp) -> None:
    world.add(number="12", batch_number="57")
    world.add(number="57", batch_number="90")
    world.pull()
    world.send()
    erp.account("57", 6)
    assert world.poll().counts["not found"] == 1
    assert (world.states()["57"], world.column("90", "protocol")) == ("protocolled", PEG)


def test_a_lot_is_found_by_hats_number_where_nothing_has_its_own(world: World, erp: Erp) -> None:
    batch = world.add(number="12", batch_number="57")
    world.pull()
    world.send()
    erp.account(batch, 2)
    world.poll()
    assert world.column(batch, "protocol") == PEG


def test_an_account_from_before_the_lot_is_not_its_own(world: World, erp: Erp) -> None:
    """The provider had used its number in another year: the lot was final before it had arrived, and stayed so."""
    batch = sent(world)
    zone = ZoneInfo("America/Sao_Paulo")  # the ERP's
    today = world.column(batch, "pulled_at").astimezone(zone).date()
    erp.account(batch, 6, BCI_CODPEG="00000012", BCI_DATREC=f"{today - timedelta(days=1):%Y%m%d}")
    assert world.poll().counts["not found"] == 1
    erp.account(batch, 2, BCI_DATREC=f"{today:%Y%m%d}")
    world.poll()
    assert (world.states()[batch], world.column(batch, "protocol")) == ("under analysis", PEG)


def test_which_of_several_accounts_is_the_lots_is_for_a_person_to_say(world: World, erp: Erp) -> None:
    """The latest was taken, whatever lot it was of."""
    batch = sent(world)
    erp.account(batch, 2)
    erp.account(batch, 6, BCI_CODPEG="00000078")
    report = world.poll()
    assert [type(problem) for problem in report.problems] == [DecisionNeeded]
    assert f"billing release acme {batch} --protocol" in str(report.problems[0])
    assert world.states()[batch] == "protocolled"
    arrived(world.tenant, batch, PEG)
    world.poll()
    assert (world.states()[batch], world.column(batch, "protocol")) == ("under analysis", PEG)


def test_the_account_of_another_lot_is_not_the_lots(world: World, erp: Erp) -> None:
    """Two lots of one number both showed status and amounts of one account."""
    for batch in ("A1", "A2"):
        world.add(number="55", batch_number=batch)
        world.pull()
    release(world.tenant, "A2", accept=True)
    world.pull()
    world.write_tenant(deliver="folder", more=f'[billing.folder]\npath = "{world.folder}/out"')
    ask(world, deliver=None)
    world.send()
    erp.account("55", 6)
    (problem,) = world.poll().problems
    assert "lot A" in str(problem)
    assert sorted(world.states().values()) == ["final", "protocolled"]


def test_a_doubt_is_judged_by_what_was_read_after_it_was_old_enough(world: World, erp: Erp) -> None:
    """All questions of a run read one moment: an account that came later did not count, and the lot was sent twice."""
    world.operator.behaviour.plan(Mishap.FAIL, Mishap.LOSE_REPLY)
    first, second = world.add("000123"), world.add("000456")
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace("[billing]\n", "[billing]\nworkers = 1\n"))
    world.pull()
    world.send()
    soap = world.operator.service.soap

    def later(*given: Any) -> Any:
        world.rows("UPDATE hat_etl.billing_lots SET state_since = now() WHERE batch_number = %s RETURNING 1", (second,))
        erp.account(second, 1, BCI_CODRDA="000456")
        return soap(*given)

    world.operator.service.soap = later  # type: ignore[method-assign]
    world.send()
    assert set(world.states().values()) == {"protocolled"}
    assert world.at_operator() == {first: 1, second: 1}


def test_an_erp_that_is_down_is_told(world: World, erp: Erp) -> None:
    for _ in range(3):
        world.add()
    world.pull()
    world.send()
    (world.folder / "erp_url").write_text("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    (problem,) = world.poll().problems
    assert "cannot be reached" in str(problem)
