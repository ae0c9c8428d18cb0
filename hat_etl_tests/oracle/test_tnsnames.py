"""Names of tnsnames.ora: of each tenant's own, or of one for all; address lists; and what is wrong with either."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import READER
from hat_etl_tests.failures.ground import Ground
from hat_etl_tests.failures.syncing import assert_told
from hat_etl_tests.oracle.conftest import PASSWORD
from hat_etl_tests.oracle.test_faults import opened

NOBODY = "(ADDRESS=(PROTOCOL=TCP)(HOST=127.0.0.1)(PORT=1))"


def at(oracle: OracleServer) -> str:
    return f"(ADDRESS=(PROTOCOL=TCP)(HOST=127.0.0.1)(PORT={oracle.port}))"


def descriptor(addresses: str, service: str = "PLSPDB") -> str:
    return f"(DESCRIPTION={addresses}(CONNECT_DATA=(SERVICE_NAME={service})))"


def tnsnames(folder: Path, **entries: str) -> Path:
    """A folder whose ``tnsnames.ora`` has these entries."""
    folder.mkdir()
    lines = [f"{name} =\n  {value}\n" for name, value in entries.items()]
    (folder / "tnsnames.ora").write_text("# nomes\n" + "".join(lines), encoding="ascii")
    return folder


@pytest.fixture
def by_name(ground: Ground) -> Ground:
    """A tenant whose address is a name."""
    ground.erp_url = f"{READER}/{PASSWORD}@PLS"
    return ground


def test_each_tenant_may_have_a_tnsnames_of_its_own(
    start_oracle: Callable[..., OracleServer], make_ground: Callable[..., Ground], server: object, tmp_path: Path
) -> None:
    for number, oracle in enumerate((start_oracle(), start_oracle())):
        folder = tnsnames(tmp_path / f"tns{number}", PLS=descriptor(at(oracle)))
        tenant = make_ground(dialect="oracle", erp_url=f"{READER}/{PASSWORD}@pls", erp_extra=f'tns_admin = "{folder}"')
        with closing(opened(tenant)) as source:
            assert source.health().login == READER.upper()
        assert oracle.statements


def test_one_tnsnames_may_serve_all_tenants(oracle: OracleServer, by_name: Ground, tmp_path: Path) -> None:
    by_name.environment = {"TNS_ADMIN": str(tnsnames(tmp_path / "all", OTHER=NOBODY, PLS=descriptor(at(oracle))))}
    assert by_name.run("plan", by_name.name).exit_code == 0
    own = tnsnames(tmp_path / "own", PLS=descriptor(NOBODY))
    by_name.erp_extra = f'tns_admin = "{own}"'
    told = by_name.run("plan", by_name.name)
    assert told.exit_code == 4
    assert_told(told.err, "nothing answers at PLS")


def test_the_folder_for_all_tenants_may_be_named_after_the_driver_was_imported(
    oracle: OracleServer, by_name: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver reads TNS_ADMIN when it is imported: whether the name was found hung on what had run before."""
    monkeypatch.setenv("TNS_ADMIN", str(tnsnames(tmp_path / "all", PLS=descriptor(at(oracle)))))
    with closing(opened(by_name)) as source:
        assert source.health().login == READER.upper()


@pytest.mark.parametrize("listed", ["(ADDRESS_LIST=(FAILOVER=ON){})", "(FAILOVER=ON){}", "(LOAD_BALANCE=ON){}"])
def test_where_the_first_address_of_a_list_does_not_answer_the_second_is_taken(
    listed: str, oracle: OracleServer, by_name: Ground, tmp_path: Path
) -> None:
    folder = tnsnames(tmp_path / "tns", PLS=descriptor(listed.format(NOBODY + at(oracle))))
    by_name.erp_extra, before = f'tns_admin = "{folder}"', by_name.contents()
    (loaded,) = by_name.load("--only", "kinships")["tables"]
    assert loaded["read"] > 0
    assert by_name.contents() == before


WRONG = {
    "unknown name": ({"OTHER": NOBODY}, ("PLS is not in tnsnames.ora (DPY-4000)", "tns_admin in [erp]")),
    "no file": (None, ("no tnsnames.ora in the folder, or it may not be read (DPY-4026)", "tns_admin in [erp]")),
    "no address": ({"PLS": "(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME=PLSPDB)))"}, ("cannot be understood", "ADDRESS")),
    "parenthesis": ({"PLS": f"(DESCRIPTION={NOBODY}(CONNECT_DATA=x)"}, ("the descriptor of PLS cannot be understood",)),
    "protocol": (
        {"PLS": descriptor(NOBODY.replace("TCP", "HTTP"))},
        ("cannot be understood (DPY-4021)", "TCP or TCPS"),
    ),
    "all silent": ({"PLS": descriptor(NOBODY * 2)}, ("nothing answers at PLS", "lsnrctl status")),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_name_is_told(case: str, by_name: Ground, tmp_path: Path) -> None:
    entries, words = WRONG[case]
    folder = tmp_path / "tns"
    by_name.erp_extra = f'tns_admin = "{folder}"'
    if entries is not None:
        tnsnames(folder, **entries)
    result = by_name.run("doctor", by_name.name, "--json")
    assert_told(result.out, *words)
    assert result.exit_code == 4
    assert PASSWORD not in result.out + result.err


def test_a_descriptor_may_stand_in_the_address(oracle: OracleServer, ground: Ground) -> None:
    ground.erp_url = f"{READER}/{PASSWORD}@{descriptor(NOBODY + at(oracle))}"
    assert ground.run("plan", ground.name).exit_code == 0
    ground.erp_url = f"{READER}/{PASSWORD}@{descriptor(at(oracle), 'NOWHERE')}"
    assert_told(ground.run("plan", ground.name).err, "the listener at the descriptor knows no such service")
