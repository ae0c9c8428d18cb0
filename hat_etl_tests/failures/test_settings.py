"""Settings that DBAs give to databases and logins do not change what runs do."""

from __future__ import annotations

import pytest

from hat_etl.sandbox.server import PLS

from .ground import Ground, Server
from .syncing import Shown
from .test_doctor import MAKE_GROUND


@pytest.mark.parametrize("which", ["ERP", "HAT"])
def test_moments_may_be_written_otherwise_there(which: str, make_ground: MAKE_GROUND, server: Server) -> None:
    """A load, a sync and the doctor ended with a traceback, for the driver does not read such moments."""
    ground = make_ground(pls=server.copy(PLS))
    before = Shown.by(ground)
    database = ground.pls if which == "ERP" else ground.hat
    with server.admin() as admin:
        admin.execute(f"ALTER DATABASE {database} SET datestyle = 'SQL, DMY'")
        for command in (("load",), ("sync", "--full"), ("reconcile",), ("doctor",)):
            result = ground.run(*command, ground.name)
            assert result.exit_code == 0, result.err
        admin.execute(f"ALTER DATABASE {database} RESET datestyle")
    assert Shown.by(ground) == before


def test_transactions_may_last_as_long_as_hat_is_read(ground: Ground) -> None:
    """A sync that read whole and a reconciliation were broken off, and the cause was not told."""
    with ground.server.admin() as admin:
        if admin.info.server_version < 170000:
            pytest.skip("this server limits no transaction")
        admin.execute(f"ALTER DATABASE {ground.hat} SET transaction_timeout = '20ms'")
    for command in (("sync", "--full"), ("reconcile",)):
        result = ground.run(*command, ground.name)
        assert result.exit_code == 0, result.err
