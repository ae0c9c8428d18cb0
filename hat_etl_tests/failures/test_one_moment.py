"""The ERP goes on changing while it is read: HAT shows one moment of it, across tables and connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hat_etl.sandbox.server import PLS

from . import changes
from .changes import table
from .conftest import Measured, behind
from .ground import Connection, Ground, Server
from .proxy import Proxy

BEFORE, AFTER = "ANTES", "DEPOIS"
NAMED = {"BTS": ("persons", "nomusr", "name"), "BR8": ("procedures", "descri", "procedure_description"),
         "BAU": ("health_providers", "nome", "name")}  # fmt: skip


def rename(connection: Connection, name: str) -> None:
    """Give one name to all rows of several tables."""
    for alias, (_, field, _) in NAMED.items():
        connection.execute(f"UPDATE {table(alias)} SET {alias.lower()}_{field} = %s", (name,))


def found_family(connection: Connection) -> None:
    """A new parent with a child."""
    pattern = connection.execute(
        f"SELECT a.r_e_c_n_o_, b.r_e_c_n_o_ FROM {table('BA1')} a JOIN {table('BA3')} b ON b.ba3_codint = a.ba1_codint"
        " AND b.ba3_codemp = a.ba1_codemp AND b.ba3_matric = a.ba1_matric"
        " WHERE a.d_e_l_e_t_ = ' ' AND b.d_e_l_e_t_ = ' ' AND a.ba1_tipreg = '00' AND a.ba1_datinc > '00000000'"
        " ORDER BY 1 LIMIT 1"
    ).fetchone()
    assert pattern is not None
    changes.insert(connection, "BA3", [pattern[1]], matric="777777")
    changes.insert(connection, "BA1", [pattern[0]], matric="777777")


def dissolve_family(connection: Connection) -> str:
    """Delete parents with their children: every family of one number, which it gives."""
    row = connection.execute(
        f"SELECT ba3_matric FROM {table('BA3')} JOIN {table('BA1')} ON ba1_matric = ba3_matric"
        f" WHERE {table('BA3')}.d_e_l_e_t_ = ' ' ORDER BY {table('BA3')}.r_e_c_n_o_ OFFSET 100 LIMIT 1"
    ).fetchone()
    assert row is not None
    for alias in ("BA3", "BA1"):
        connection.execute(f"UPDATE {table(alias)} SET d_e_l_e_t_ = '*' WHERE {alias}_matric = %s", row)
    return str(row[0])


def count(connection: Connection, hat_table: str, family: str) -> int:
    rows = connection.execute(f"SELECT count(*) FROM hat.{hat_table} WHERE family_number = %s", (family,)).fetchall()
    return int(rows[0][0])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.85])  # the new names are shorter: 0.94 of what is measured
def test_what_changes_together_is_seen_together(
    share: float, make_ground: Callable[..., Ground], server: Server, proxies: tuple[Proxy, Proxy], measured: Measured
) -> None:
    ground = make_ground(pls=server.copy(PLS), connections=4)
    with ground.in_erp() as connection:
        rename(connection, BEFORE)
    erp, hat = proxies
    behind(ground, erp, hat)
    gate = erp.hold_after("from_server", int(measured.from_erp * share))
    load = ground.start("load", ground.name)
    gate.await_closed()
    with ground.in_erp() as connection, connection.transaction():
        rename(connection, AFTER)
        found_family(connection)
        dissolved = dissolve_family(connection)
    gate.open()
    assert load.wait().exit_code == 0
    first = looks(ground, dissolved)
    assert first in (both(BEFORE), both(AFTER))
    ground.erp_url = ground.hat_url = None
    ground.load()
    assert looks(ground, dissolved) == both(AFTER)


def looks(ground: Ground, dissolved: str) -> tuple[set[str], set[bool]]:
    """The names that stand in HAT, and whether each end of the family changes is there as it was before them."""
    with ground.in_hat() as connection:
        names = {
            name
            for hat_table, _, column in NAMED.values()
            for (name,) in connection.execute(f"SELECT DISTINCT {column} FROM hat.{hat_table}")
        }
        old = {count(connection, hat_table, "777777") == 0 for hat_table in ("families", "beneficiaries")}
        old |= {count(connection, hat_table, dissolved) > 0 for hat_table in ("families", "beneficiaries")}
    return names, old


def both(name: str) -> tuple[set[str], set[bool]]:
    return {name}, {name == BEFORE}
