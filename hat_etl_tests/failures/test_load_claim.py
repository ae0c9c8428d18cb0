"""The session that keeps other runs away from a tenant, for as long as a load's other sessions are at work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hat_etl.errors import Busy
from hat_etl.sandbox.server import LOADER, PLS, READER
from hat_etl.target.database import TenantDatabase
from hat_etl.tenants import store

from .conftest import behind
from .ground import Ground, Server
from .proxy import Proxy
from .syncing import assert_told, last_run

MAKE_GROUND = Callable[..., Ground]


def test_servers_that_end_idle_sessions_and_long_transactions_do_not_end_it(
    make_ground: MAKE_GROUND, server: Server
) -> None:
    """It was idle while rows were read: the server ended it, and a second load came beside the first."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.server.admin() as admin:
        # For the logins of hat_etl alone: what the test itself asks may take long.
        admin.execute(f"ALTER ROLE {LOADER} IN DATABASE {ground.hat} SET idle_session_timeout = '20ms'")
        admin.execute(f"ALTER ROLE {LOADER} IN DATABASE {ground.hat} SET transaction_timeout = '200ms'")
        admin.execute(f"ALTER ROLE {READER} IN DATABASE {ground.pls} SET transaction_timeout = '200ms'")
    before = ground.contents()
    ground.load()
    assert ground.contents() == before


def test_what_is_staged_after_its_end_is_not_committed(ground: Ground, proxies: tuple[Proxy, Proxy]) -> None:
    """Another run may have begun: rows of both would have been staged side by side."""
    state = ground.state()
    behind(ground, *proxies)
    gate = proxies[0].hold_at('FROM "hat"."hat_bts_vida" WHERE')
    load = ground.start("load", ground.name)
    gate.await_closed()
    with ground.server.admin(ground.hat) as admin:
        (ended,) = admin.execute(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()[0]
        assert ended == 1
        staged = "SELECT count(*) FROM hat_etl.checkpoints"
        before = admin.execute(staged).fetchone()
        gate.open()
        result = load.wait()
        assert result.exit_code == 5, result.err
        assert_told(result.err, "demo", "keeps other runs away has ended", "hat-etl load demo --resume")
        assert admin.execute(staged).fetchone() == before
    assert ground.state() == state
    ground.erp_url = ground.hat_url = None
    ground.load("--resume")
    assert last_run(ground)[:3] == (2, "load", "succeeded")
    ground.assert_clean()


def test_nobody_else_begins_while_what_was_asked_for_last_is_being_committed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder may lose its session after it was asked for, before the commit that rests on the answer."""
    ground.write()
    monkeypatch.setenv("HAT_ETL_TENANTS", str(ground.folder))
    database = TenantDatabase(store.load(ground.name))
    with database.connect() as staging:
        with staging.transaction():
            with database.claim("again") as control:
                database.assert_claimed(staging, control.info.backend_pid, "again")
            with pytest.raises(Busy), database.claim("again"):
                pass
        with database.claim("again"):
            pass
