"""One server for these tests, with a soiled PLS, its views, and a HAT database that a load has filled."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from hat_etl.sandbox import command
from hat_etl.sandbox.server import HAT, LOADER, PLS, READER, Sandbox
from hat_etl_tests.servers import place

from . import changes
from .ground import CHANGED, LOADED, Ground, Server
from .proxy import Proxy
from .syncing import MOVED, Shown

BENEFICIARIES = 3_000

FIRST_KEY = "CREATE UNIQUE INDEX"
"""In the first statement to HAT after all rows are staged."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="fail", dir=place()) as name:
        folder = Path(name)
        sandbox = Sandbox.up(folder)
        with psycopg.connect(sandbox.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
        command.down(folder)
        try:
            sandbox, manifest = command.up(
                folder, beneficiaries=BENEFICIARIES, dirt=True, tenants=tmp_path_factory.mktemp("tenants")
            )
            made = Server(sandbox, manifest)
            ground = Ground(made, tmp_path_factory.mktemp("first"), hat=made.copy(HAT))
            installed = ground.run("views", "install", ground.name)
            assert installed.exit_code == 0, installed.err
            ground.load()
            with made.admin() as admin:
                admin.execute(f"ALTER DATABASE {ground.hat} RENAME TO {LOADED}")
            yield made
        finally:
            command.down(folder)


@pytest.fixture
def make_ground(server: Server, tmp_path: Path) -> Iterator[Callable[..., Ground]]:
    """Makes grounds, each in a folder of its own; the copies of databases they use are dropped at the end."""
    made: list[Ground] = []

    def make(*, pls: str | None = None, hat: str | None = None, **settings: object) -> Ground:
        ground = Ground(
            server, tmp_path / f"tenants{len(made)}", pls=pls or PLS, hat=hat or server.copy(LOADED), **settings
        )  # type: ignore[arg-type]
        made.append(ground)
        return ground

    yield make
    for ground in made:
        for database in {ground.pls, ground.hat} - {PLS, HAT, LOADED, CHANGED, MOVED}:
            server.drop(database)


@pytest.fixture
def ground(make_ground: Callable[..., Ground]) -> Ground:
    """A loaded HAT database, and the PLS it came from, which the test must leave as it is."""
    return make_ground()


@pytest.fixture
def proxies(server: Server) -> Iterator[tuple[Proxy, Proxy]]:
    """A proxy before the ERP and one before HAT."""
    erp, hat = Proxy(server.sandbox.socket), Proxy(server.sandbox.socket)
    yield erp, hat
    erp.close()
    hat.close()


@pytest.fixture
def small_disk(server: Server) -> Iterator[Callable[[str], None]]:
    """A file system of its own, mounted as a tablespace; gives a function that sets its size."""
    folder = server.sandbox.folder / "small"
    folder.mkdir()
    owner = os.stat(server.sandbox.folder / "postgres")

    def mount(options: str) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True, text=True
        )

    if shutil.which("mount") is None:
        pytest.skip("the command mount is not there")
    try:
        mount("size=4m")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a file system cannot be mounted here: {error.stderr.strip()}")
    try:
        os.chown(folder, owner.st_uid, owner.st_gid)
        with server.admin() as admin:
            admin.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        yield lambda size: mount(f"remount,size={size}")
        with server.admin() as admin:
            admin.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture(scope="session")
def changed_pls(server: Server) -> str:
    """Makes the database ``CHANGED``, which tests leave as it is."""
    with server.admin() as admin:
        admin.execute(f"ALTER DATABASE {server.copy(PLS)} RENAME TO {CHANGED}")
    with server.admin(CHANGED) as connection:
        changes.everywhere(connection, seed=1)
    return CHANGED


@pytest.fixture(scope="session")
def moved(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Makes the database ``MOVED``, which tests leave as it is; gives what HAT shows after a load of it."""
    with server.admin() as admin:
        admin.execute(f"ALTER DATABASE {server.copy(PLS)} RENAME TO {MOVED}")
    with server.admin(MOVED) as connection:
        changes.some(connection, seed=1)
    ground = Ground(server, tmp_path_factory.mktemp("moved"), pls=MOVED, hat=server.copy(LOADED))
    before = Shown.by(ground)
    ground.load()
    after = Shown.by(ground)
    assert after.rows != before.rows
    assert after.reported != before.reported
    server.drop(ground.hat)
    return after


@dataclass(frozen=True)
class Measured:
    """What passes the proxies in a load that nobody disturbs, in bytes."""

    from_erp: int
    to_hat: int
    to_hat_staged: int
    """Until all rows are staged; keys and swap are the rest."""


@pytest.fixture(scope="session")
def measured(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    erp, hat = Proxy(server.sandbox.socket), Proxy(server.sandbox.socket)
    ground = Ground(server, tmp_path_factory.mktemp("measured"), hat=server.copy(LOADED))
    behind(ground, erp, hat)
    keys = hat.hold_at(FIRST_KEY)
    load = ground.start("load", ground.name)
    keys.await_closed()
    staged = hat.passed["to_server"]
    keys.open()
    assert load.wait().exit_code == 0
    server.drop(ground.hat)
    erp.close()
    hat.close()
    return Measured(erp.passed["from_server"], hat.passed["to_server"], staged)


def behind(ground: Ground, erp: Proxy, hat: Proxy) -> None:
    """Let the loads of ``ground`` go through the proxies."""
    ground.erp_url = erp.url(ground.pls, READER)
    ground.hat_url = hat.url(ground.hat, LOADER)
