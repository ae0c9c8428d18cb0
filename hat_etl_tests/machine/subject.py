"""A tenant whose ERP is a small sandbox, cheap to begin anew, and what the model says its HAT must hold."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from hat_etl.entities.model import Entity, Kind
from hat_etl.protheus.dictionary import physical_name
from hat_etl.sandbox import loading, physical
from hat_etl.sandbox.churn import Activity
from hat_etl.sandbox.server import ERP_SCHEMA
from hat_etl.source import view_live
from hat_etl.sync import incremental
from hat_etl.sync import load as initial
from hat_etl.sync.request import LoadRequest, SyncRequest
from hat_etl.target.database import LOCK
from hat_etl.tenants import store
from hat_etl.tenants.config import Dialect, Tenant
from hat_etl_tests import erps
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.expected import after_sync
from hat_etl_tests.conformance.model import DELETED, RECNO, STAMP, Hat, Pls, Shown
from hat_etl_tests.conformance.site import Site
from hat_etl_tests.erps import ERPS
from hat_etl_tests.servers import Server

BENEFICIARIES, KEPT_ROWS = 40, 25
FILTERS = frozenset({"BR4_SEGMEN", "BCI_LOTGUI", "BEA_CANEDI"})
"""Fields that views look at and do not show."""
TENANT = "acme"
OTHERWISE = "#"
"""What a view shows in one column when it is made anew."""

_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(
    ["hat_etl.sync.incremental", "hat_etl.source.oracle", "hat_etl.tenants.store", __name__]
)


class Ground:
    """The databases that every example begins with: an ERP of some hundred rows, and HAT loaded from it."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.erp = server.create_database("ground_erp")
        with server.connect(self.erp, autocommit=False) as connection:
            connection.execute(f"CREATE SCHEMA {ERP_SCHEMA}".encode())
            loading.fill(connection, "01", 1, BENEFICIARIES, date.today())
            for alias in physical.aliases():
                # The catalogues are the same size for every operator: much too long for what is asked here.
                table = f"{ERP_SCHEMA}.{physical_name(alias, '01')}"
                connection.execute(f"DELETE FROM {table} WHERE {physical.RECNO} > {KEPT_ROWS}".encode())
        self.hats = {dialect: server.create_database("ground_hat") for dialect in ERPS}
        with self.tenant_of("postgresql", self.erp, self.hats["postgresql"]) as tenant:
            view_live.install(tenant)  # Oracle's views are spelled otherwise and show the same
        for dialect, hat in self.hats.items():
            with self.tenant_of(dialect, self.erp, hat) as tenant:
                initial.load(tenant, LoadRequest())
        with Activity(server.url(self.erp)):
            pass  # makes its own tables, which takes longer than most of what it does

    @contextmanager
    def tenant_of(self, dialect: Dialect, erp: str, hat: str) -> Iterator[Tenant]:
        with erps.address(dialect, self.server.url(erp)) as erp_url:
            for name, url in (("erp_url", erp_url), ("hat_url", self.server.url(hat))):
                (self.folder / name).write_text(url, encoding="utf-8")
            (self.folder / f"{TENANT}.toml").write_text(
                f'name = "{TENANT}"\nans_registry = "412345"\n[erp]\ndialect = "{dialect}"\nurl = "file:erp_url"\n'
                f'schema = "{ERP_SCHEMA}"\nviews_schema = "hat"\ncompany = "01"\nconnections = 2\n'
                '[hat]\nurl = "file:hat_url"\n[sync]\nlookback_minutes = 0\n',
                encoding="utf-8",
            )
            os.environ["HAT_ETL_TENANTS"] = str(self.folder)
            yield store.load(TENANT)

    def copies(self, dialect: Dialect) -> tuple[str, str]:
        made = []
        with self.server.connect() as connection:
            for template in (self.erp, self.hats[dialect]):
                name = f"example_{'erp' if template == self.erp else 'hat'}"
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                        sql.Identifier(name), sql.Identifier(template)
                    )
                )
                made.append(name)
        return made[0], made[1]


class Subject:
    """One example's tenant."""

    def __init__(self, ground: Ground, dialect: Dialect) -> None:
        self._ground, self._open = ground, ExitStack()
        self.erp, self.hat = ground.copies(dialect)
        self.tenant = self._open.enter_context(ground.tenant_of(dialect, self.erp, self.hat))
        self.activity = self._open.enter_context(Activity(ground.server.url(self.erp)))
        self.other_texts: dict[str, str] = {}
        """HAT table whose view is made by another text to the column that it shows otherwise."""

    def close(self) -> None:
        self._open.close()

    def connect_hat(self) -> psycopg.Connection[Any]:
        return self._ground.server.connect(self.hat)

    def connect_erp(self) -> psycopg.Connection[Any]:
        return self._ground.server.connect(self.erp)

    def sync(self, request: SyncRequest) -> int:
        return incremental.sync(self.tenant, request).run

    def sync_killed_at(self, phase: str, request: SyncRequest) -> bool:
        """Run a sync in a process that is killed when it reaches the phase; False when it never does."""
        child = _CHILDREN.Process(target=_run_until, args=(str(self._ground.folder), phase, request))
        child.start()
        child.join()
        return child.exitcode == -signal.SIGKILL

    def await_lock(self) -> None:
        """Wait until the server has noticed that a killed run is gone; its lock must be free then."""
        with self.connect_hat() as connection:
            connection.execute("SET lock_timeout = '20s'")
            connection.execute("SELECT pg_advisory_lock(%s, %s)", LOCK)

    def harm(self, entity: Entity, place: int, harm: str) -> bool:
        """Change, remove or add a row of HAT behind hat_etl's back; False where there is none that can be."""
        text = next((c.name for c in entity.columns if c.kind is Kind.TEXT and c.name not in entity.key_columns), None)
        key = ", ".join(f'"{column}"' for column in entity.key)
        chosen = f"SELECT {key} FROM hat.{entity.table} ORDER BY {key} LIMIT 1 OFFSET {place} % greatest(1, (SELECT"
        chosen += f" count(*) FROM hat.{entity.table}))"
        with self.connect_hat() as connection:
            connection.execute("SET session_replication_role = replica")
            if harm == "change":
                if text is None:
                    return False
                statement = (
                    f"UPDATE hat.{entity.table} SET \"{text}\" = CASE WHEN \"{text}\" = '?' THEN '!' ELSE '?' END"
                )
            elif harm == "remove":
                statement = f"DELETE FROM hat.{entity.table}"
            else:
                return self._add(connection, entity, chosen, key)
            # A version that is kept for a rejected row has nothing in the ERP that it could be held against.
            kept = f"(SELECT key FROM hat_etl.backing WHERE \"table\" = '{entity.table}' AND recno IS NULL)"
            parts = ", ".join(f'"{column}"::text' for column in entity.key)
            return bool(
                connection.execute(
                    f"{statement} WHERE ({key}) = ({chosen}) AND ARRAY[{parts}] NOT IN {kept}".encode()
                ).rowcount
            )

    @staticmethod
    def _add(connection: psycopg.Connection[Any], entity: Entity, chosen: str, key: str) -> bool:
        """A copy of a row under another key, as of a Recno that the ERP does not have."""
        last = entity.key[-1]
        if entity[last].kind is not Kind.TEXT or entity.alternate_keys:
            return False
        names = ", ".join(f'"{field.name}"' for field in entity.schema if field.name not in (last, "source_recno"))
        return bool(
            connection.execute(
                f"INSERT INTO hat.{entity.table} ({names}, \"{last}\", source_recno) SELECT {names}, '~', 999999"
                f" FROM hat.{entity.table} WHERE ({key}) = ({chosen})".encode()
            ).rowcount
        )

    @contextmanager
    def drifted(self, entity: Entity) -> Iterator[None]:
        """The view calls a column otherwise for as long as the block runs."""
        view, alias = f"hat.{entity.view}", entity.columns[-1].alias
        with self.connect_erp() as connection:
            connection.execute(f"ALTER VIEW {view} RENAME COLUMN {alias} TO other_name".encode())
            yield
            connection.execute(f"ALTER VIEW {view} RENAME COLUMN other_name TO {alias}".encode())

    def make_anew(self, entity: Entity) -> bool:
        """Give the view another text, which shows one column otherwise, or its own again; False where it cannot be."""
        view, referring = f"hat.{entity.view}", {name for parent in entity.parents for name in parent.columns}
        free = [c for c in entity.columns if c.kind is Kind.TEXT and not c.rules and not c.numeric_source]
        column = next((c for c in free if c.name not in {*entity.key_columns, *referring}), None)
        if column is None:
            return False
        with self.connect_erp() as connection:
            if self.other_texts.pop(entity.table, None):
                connection.execute(f"DROP VIEW {view}".encode())
                connection.execute(f"ALTER VIEW {view}_own RENAME TO {entity.view}".encode())
                return True
            connection.execute(f"ALTER VIEW {view} RENAME TO {entity.view}_own".encode())
            found = connection.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                (f"{view}_own",),
            )
            shown = ((f"'{OTHERWISE}'" if name == column.alias.lower() else name, name, kind) for name, kind in found)
            listed = ", ".join(f"({value})::{kind} AS {name}" for value, name, kind in shown)
            connection.execute(f"CREATE VIEW {view} AS SELECT {listed} FROM {view}_own".encode())
        self.other_texts[entity.table] = column.name
        return True

    def _shown(self, pls: Pls, entity: Entity) -> Iterator[Shown]:
        """The rows that the view shows by the text that it has now."""
        other = self.other_texts.get(entity.table)
        for row in model.view(pls, entity):
            yield row if other is None else replace(row, raw={**row.raw, other: OTHERWISE})

    def hat_now(self) -> Hat:
        """HAT and its list of rejects as they are."""
        rows = Site.rows_of(self._ground.server, self.hat)
        with self._ground.server.connect(self.hat, row_factory=dict_row) as connection:
            found = connection.execute('SELECT "table", recno, key, "column", rule, severity FROM hat_etl.rejects')
            entries = [
                model.Entry(e["table"], e["recno"], e["key"] or "", e["column"] or "", e["rule"], e["severity"])
                for e in found.fetchall()
            ]
            backing = connection.execute('SELECT "table", key, recno FROM hat_etl.backing').fetchall()
        others = {(b["table"], tuple(b["key"])): b["recno"] for b in backing}
        behind = {
            table: {
                key: recno
                for key, row in found_rows.items()
                if (recno := others.get((table, tuple(map(str, key))), row.source_recno)) is not None
            }
            for table, found_rows in rows.items()
        }
        return Hat(rows=rows, entries=entries, behind=behind)

    def expected(self, before: Hat, run: int, tables: tuple[str, ...] = ()) -> Hat:
        """What HAT must hold after a sync, of all tables or of some, of the ERP as it is now."""
        return after_sync(self.expected_of_load(before, run, tables), before)

    def load(self, tables: tuple[str, ...]) -> int:
        """Load some tables alone."""
        return initial.load(self.tenant, LoadRequest(tables, restart=True, accept_shrink=True)).run

    def expected_of_load(self, before: Hat, run: int, tables: tuple[str, ...]) -> Hat:
        """What HAT must hold after a load of these tables, or of all, from the ERP as it is now."""
        today = self._day_of(run)
        return model.load(self.pls(), run=run, today=today, before=before, only=tables, shown_by=self._shown)

    def _day_of(self, run: int) -> date:
        with self.connect_hat() as connection:
            row = connection.execute("SELECT reference_day FROM hat_etl.runs WHERE run = %s", (run,)).fetchone()
        assert row is not None
        day = row[0]
        assert isinstance(day, date)
        return day

    def pls(self) -> Pls:
        """The ERP's committed rows, for the model."""
        pls = Pls({f.name: f.size for alias in physical.aliases() for f in physical.fields(alias).values()})
        with self._ground.server.connect(self.erp, row_factory=dict_row) as connection:
            connection.execute("SET default_transaction_isolation = 'repeatable read'")
            with connection.transaction():
                for alias in physical.aliases():
                    names = [n for n in physical.fields(alias) if n in physical.read_fields() or n in FILTERS]
                    columns = [n.lower() for n in (*names, RECNO, DELETED, STAMP)]
                    table = f"{ERP_SCHEMA}.{physical_name(alias, '01')}"
                    found = connection.execute(f"SELECT {', '.join(columns)} FROM {table}".encode()).fetchall()
                    pls.tables[alias] = [{name.upper(): value for name, value in row.items()} for row in found]
        return pls


def _run_until(folder: str, phase: str, request: SyncRequest) -> None:
    os.environ["HAT_ETL_TENANTS"] = folder
    incremental.sync(store.load(TENANT), request, _KilledAt(phase))


@dataclass
class _KilledAt:
    """Watches a run and kills its process, which gets no chance to tidy up."""

    target: str

    def planned(self, table: str, estimated_rows: int) -> None: ...

    def advanced(self, table: str, rows: int) -> None: ...

    def phase(self, name: str) -> None:
        if name == self.target or (self.target == "merging" and name.startswith("merged ")):
            os.kill(os.getpid(), signal.SIGKILL)


def joined_aliases(entities: tuple[Entity, ...]) -> frozenset[str]:
    """PLS tables that a view joins: what leaves them moves no stamp that the view shows."""
    return frozenset(alias for entity in entities for alias in entity.reads[1:])
