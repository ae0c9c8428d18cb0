"""A user who logs in with a password of its own and acts for another one, ``proxy[target]``."""

from __future__ import annotations

import pytest

from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl_tests.failures.ground import Ground
from hat_etl_tests.failures.syncing import assert_told
from hat_etl_tests.oracle.conftest import PASSWORD, PROXY_PASSWORD, address


def test_a_proxy_reads_the_views_in_the_schema_of_whom_it_acts_for(oracle: OracleServer, ground: Ground) -> None:
    before, ground.schemas = ground.contents(), ""
    ground.erp_url = address(oracle, "proxy[hat]", PROXY_PASSWORD)
    (loaded,) = ground.load("--only", "kinships")["tables"]
    assert loaded["read"] > 0
    assert ground.contents() == before
    for user, password, schema in (
        ("proxy", PROXY_PASSWORD, "PROXY"),
        ("proxy[hat_reader]", PROXY_PASSWORD, "HAT_READER"),
    ):
        ground.erp_url = address(oracle, user, password)
        result = ground.run("load", ground.name, "--only", "kinships")
        assert result.exit_code == 4
        assert_told(result.err, f"schema {schema}, or {schema} has no right to read it")


def test_a_proxy_may_be_given_as_a_url(oracle: OracleServer, ground: Ground) -> None:
    ground.erp_url = f"oracle://proxy[hat_reader]:{PROXY_PASSWORD}@{oracle.address}"
    assert ground.run("plan", ground.name).exit_code == 0


def test_a_proxy_has_the_rights_of_whom_it_acts_for(oracle: OracleServer, ground: Ground) -> None:
    for target, may_look_back in (("present", False), ("hat_reader", True)):
        ground.erp_url = address(oracle, f"proxy[{target}]", PROXY_PASSWORD)
        told = ground.run("doctor", ground.name, "--json").out
        assert ("read-only transaction" not in told) is may_look_back
        assert_told(told, f"as {target.upper()}")


REFUSED = {
    "not allowed": (
        "proxy[simple]", PROXY_PASSWORD,
        ("PROXY may not act for SIMPLE (ORA-28150)", "ALTER USER SIMPLE GRANT CONNECT THROUGH PROXY;"),
    ),
    "the other way round": (
        "hat_reader[proxy]", PASSWORD,
        ("HAT_READER may not act for PROXY (ORA-28150)", "ALTER USER PROXY GRANT CONNECT THROUGH HAT_READER;"),
    ),
    "nobody": ("proxy[nobody]", PROXY_PASSWORD, ("PROXY may not act for NOBODY (ORA-28150)",)),
    "the target's password": ("proxy[hat_reader]", PASSWORD, ("user or password is wrong (ORA-01017)",)),
    "a locked target": (
        "proxy[locked]", PROXY_PASSWORD,
        ("account PROXY or LOCKED is locked (ORA-28000)", "ALTER USER PROXY ACCOUNT UNLOCK; ALTER USER LOCKED ACCOUNT"),
    ),
    "an expired proxy": (
        "expired[hat_reader]", PASSWORD, ("the password of EXPIRED has expired (ORA-28001)", "ALTER USER EXPIRED IDENT")
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_proxy_that_is_refused_is_told_why(case: str, oracle: OracleServer, ground: Ground) -> None:
    user, password, words = REFUSED[case]
    ground.erp_url = address(oracle, user, password)
    result = ground.run("doctor", ground.name, "--json")
    assert_told(result.out, *words)
    assert result.exit_code == 4
    assert not oracle.statements
    for secret in (PASSWORD, PROXY_PASSWORD):
        assert secret not in result.out + result.err
