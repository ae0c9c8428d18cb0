"""Tables of the tenant database, derived from the entities, and the technical tables of schema ``hat_etl``."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, SetColumnComment, SetTableComment

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Column, Entity, Kind, Parent
from hat_etl.target import sql

TECHNICAL_SCHEMA = "hat_etl"
STAGE_SCHEMA = "hat_etl_stage"
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]

_TECHNICAL_COMMENTS = {
    "source_recno": "R_E_C_N_O_ of the row in the ERP.",
    "source_stamp": "Last change of the row in the ERP (S_T_A_M_P_), UTC; empty where the ERP keeps no stamp.",
    "loaded_run": "Run of hat_etl that last changed the row.",
}


def _sa_type(column: Column) -> sa.types.TypeEngine[Any]:
    match column.kind:
        case Kind.TEXT:
            return sa.String(column.width)
        case Kind.AMOUNT:
            return sa.Numeric(column.width, column.scale)
        case Kind.FLAG:
            return sa.Boolean()
        case Kind.DATE:
            return sa.Date()
        case Kind.SMALLINT:
            return sa.SmallInteger()
        case Kind.INTEGER:
            return sa.Integer()


def _technical_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("source_recno", sa.BigInteger, nullable=False, comment=_TECHNICAL_COMMENTS["source_recno"]),
        sa.Column("source_stamp", sa.DateTime(timezone=True), comment=_TECHNICAL_COMMENTS["source_stamp"]),
        sa.Column("loaded_run", sa.BigInteger, nullable=False, comment=_TECHNICAL_COMMENTS["loaded_run"]),
    ]


def constraint_name(entity: Entity, kind: str, number: int = 0) -> str:
    """Name of a key or index of ``entity``.

    ``pkey``, ``ak<n>`` for alternate keys, ``fk<n>`` for references and ``ref<n>`` for what finds the children of a
    parent, ``recno``.
    """
    return f"{entity.table}_{kind}{number or ''}"


_COME_AND_GO = {("beneficiaries", "persons")}
"""Soft references whose parents leave every day: each is one person, where other soft parents are catalogues."""


@cache
def hat_metadata(schema: str) -> sa.MetaData:
    """The HAT tables in ``schema``, with keys, references and comments."""
    metadata = sa.MetaData(schema=schema)
    for entity in ENTITIES:
        constraints: list[sa.schema.SchemaItem] = [
            sa.PrimaryKeyConstraint(*entity.key, name=constraint_name(entity, "pkey")),
            *(
                sa.UniqueConstraint(*key, name=constraint_name(entity, "ak", n))
                for n, key in enumerate(entity.alternate_keys, 1)
            ),
            *(
                sa.ForeignKeyConstraint(
                    parent.columns,
                    [f"{schema}.{parent.table}.{column}" for column in parent.parent_columns],
                    name=constraint_name(entity, "fk", n),
                    deferrable=True,  # a sync takes parents away before it has looked at their children
                )
                for n, parent in enumerate(entity.hard_parents, 1)
            ),
        ]
        columns = [sa.Column(c.name, _sa_type(c), nullable=not c.required, comment=c.meaning) for c in entity.columns]
        indexes = [
            # A sync finds the rows of the ERP again by their Recno, and the children of a parent that goes.
            sa.Index(constraint_name(entity, "recno"), "source_recno"),
            *(
                sa.Index(constraint_name(entity, "ref", n), *parent.columns)
                for n, parent in enumerate(entity.hard_parents, 1)
                if not _found_by_key(entity, parent)
            ),
            *(
                sa.Index(constraint_name(entity, "soft", n), *parent.columns)
                for n, parent in enumerate(entity.soft_parents, 1)
                if (entity.table, parent.table) in _COME_AND_GO
            ),
        ]
        sa.Table(
            entity.table, metadata, *columns, *_technical_columns(), *constraints, *indexes, comment=entity.meaning
        )
    return metadata


def _found_by_key(entity: Entity, parent: Parent) -> bool:
    """Whether the index of a key of ``entity`` begins with the columns that refer to ``parent``."""
    return any(set(key[: len(parent.columns)]) == set(parent.columns) for key in entity.keys)


def create_hat_table(entity: Entity, schema: str) -> str:
    """DDL of a HAT table with all its keys, for documentation and for reading."""
    return _sql(CreateTable(_table(entity, schema)))


def create_key_indexes(entity: Entity, schema: str) -> list[str]:
    """Statements that make the unique indexes of a HAT table's keys, where they are missing."""
    # As text, for an object would join the table's other indexes.
    return [
        f"CREATE UNIQUE INDEX IF NOT EXISTS {key.name} ON {schema}.{entity.table} ({sql.names(key.columns.keys())})"
        for key in _keys(entity, schema)
    ]


def add_keys(entity: Entity, schema: str) -> list[str]:
    """Statements that make primary and alternate keys of those indexes."""
    return [
        f"ALTER TABLE {schema}.{entity.table} ADD CONSTRAINT {key.name}"
        f" {'PRIMARY KEY' if isinstance(key, sa.PrimaryKeyConstraint) else 'UNIQUE'} USING INDEX {key.name}"
        for key in _keys(entity, schema)
    ]


def _keys(entity: Entity, schema: str) -> list[sa.PrimaryKeyConstraint | sa.UniqueConstraint]:
    keys = (sa.PrimaryKeyConstraint, sa.UniqueConstraint)
    return [constraint for constraint in _constraints(entity, schema) if isinstance(constraint, keys)]


def add_references(entity: Entity, schema: str) -> dict[str, str]:
    """Statements that tie a HAT table to its hard parents in the same schema, by the name of the foreign key."""
    return {
        str(constraint.name): _add(constraint)
        for constraint in _constraints(entity, schema)
        if isinstance(constraint, sa.ForeignKeyConstraint)
    }


def create_indexes(entity: Entity, schema: str) -> list[str]:
    """Statements that make the indexes of a HAT table beside its keys, where they are missing."""
    indexes = sorted(_table(entity, schema).indexes, key=lambda index: str(index.name))
    return [_sql(CreateIndex(index, if_not_exists=True)) for index in indexes]


def names_of(entity: Entity, schema: str) -> list[str]:
    """Names of all keys, references and indexes of a HAT table."""
    constraints = [constraint.name for constraint in _constraints(entity, schema)]
    return [str(name) for name in (*constraints, *(index.name for index in _table(entity, schema).indexes))]


def _table(entity: Entity, schema: str) -> sa.Table:
    return hat_metadata(schema).tables[f"{schema}.{entity.table}"]


def _constraints(entity: Entity, schema: str) -> list[sa.Constraint]:
    """The constraints of a HAT table, sorted by name but for the primary key, which comes first."""
    table = _table(entity, schema)
    return sorted(table.constraints, key=lambda c: (c is not table.primary_key, str(c.name)))


def _add(constraint: sa.Constraint) -> str:
    return _sql(AddConstraint(constraint, isolate_from_table=False))


def create_stage_table(entity: Entity, schema: str = STAGE_SCHEMA) -> str:
    """DDL of the table that takes the rows of a load: columns only, keys come after the data."""
    columns = [sa.Column(c.name, _sa_type(c), nullable=not c.required) for c in entity.columns]
    return _sql(CreateTable(sa.Table(entity.table, sa.MetaData(), *columns, *_technical_columns(), schema=schema)))


def create_rejected_table(entity: Entity, fields: pa.Schema, schema: str = STAGE_SCHEMA) -> str:
    """DDL of the table that keeps the keys of rejected rows, from their Arrow schema."""
    columns = [
        sa.Column(field.name, sa.BigInteger() if field.name == "source_recno" else _sa_type(entity[field.name]))
        for field in fields
    ]
    return _sql(CreateTable(sa.Table(rejected_table(entity), sa.MetaData(), *columns, schema=schema)))


def rejected_table(entity: Entity) -> str:
    """Name of the stage table that keeps the keys of rejected rows."""
    return f"{entity.table}__rejected"


def comments(entity: Entity, schema: str) -> list[str]:
    """Statements that put the comments on a HAT table and its columns."""
    table = _table(entity, schema)
    return [_sql(SetTableComment(table)), *(_sql(SetColumnComment(column)) for column in table.columns)]


def _sql(element: sa.schema.ExecutableDDLElement) -> str:
    return str(element.compile(dialect=_DIALECT)).strip()


technical = sa.MetaData(schema=TECHNICAL_SCHEMA)

identity = sa.Table(
    "identity",
    technical,
    sa.Column("only_row", sa.Boolean, sa.CheckConstraint("only_row"), primary_key=True, server_default=sa.true()),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("ans_registry", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    comment="Which tenant this database belongs to: a load of any other is refused.",
)

runs = sa.Table(
    "runs",
    technical,
    sa.Column("run", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("finished_at", sa.DateTime(timezone=True)),
    sa.Column("resumed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("horizon", sa.DateTime(timezone=True)),
    sa.Column("reference_day", sa.Date, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("undoes", sa.BigInteger),
    sa.Column("undone_by", sa.BigInteger),
    comment="The ledger: one row per run. undoes = the run that an undo took back; undone_by = the undo that took this"
    " run back, empty again once that undo is itself undone.",
)

run_tables = sa.Table(
    "run_tables",
    technical,
    sa.Column("run", sa.BigInteger, sa.ForeignKey(runs.c.run, ondelete="CASCADE"), primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("estimated", sa.BigInteger, nullable=False, server_default="0"),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        for name in ("read", "loaded", "updated", "deleted", "rejected", "held", "warnings")
    ),
    sa.Column("kept", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("seconds", sa.Double, nullable=False, server_default="0"),
    comment="The ledger: what a run did to each table. kept = last good versions of rejected rows, kept in HAT.",
)

checkpoints = sa.Table(
    "checkpoints",
    technical,
    sa.Column("run", sa.BigInteger, sa.ForeignKey(runs.c.run, ondelete="CASCADE"), primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("low", sa.BigInteger, primary_key=True),
    sa.Column("high", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("read", "good", "rejected", "deleted")),
    *(sa.Column(name, sa.Numeric(20), nullable=False) for name in ("recnos", "stamps", "live_recnos")),
    sa.Column("unstamped", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("definition", sa.Text, nullable=False, server_default=""),
    comment="Ranges of Recno that an unfinished load has staged, with their fingerprint; empty once it is done."
    " definition = digest of the text of the view that they were read through; empty when the ERP did not tell it.",
)

watermarks = sa.Table(
    "watermarks",
    technical,
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("horizon", sa.DateTime(timezone=True), nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("live_rows", sa.BigInteger),
    sa.Column("live_recnos", sa.Numeric(20)),
    sa.Column("top_recno", sa.BigInteger),
    sa.Column("top_stamp", sa.DateTime(timezone=True)),
    comment="Moment of the ERP, in UTC by its clock, that each table shows. live_rows, live_recnos = how many live rows"
    " of the view are in HAT or in quarantine, and the sum of their Recnos modulo 2^64; empty when not known."
    " top_recno, top_stamp = the row with the latest Carimbo that a sync has seen.",
)

backing = sa.Table(
    "backing",
    technical,
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("key", sa.ARRAY(sa.Text), primary_key=True),
    sa.Column("recno", sa.BigInteger),
    sa.Index("backing_table_recno", "table", "recno"),
    comment="HAT rows whose source_recno is not the Recno of the live row behind them: that row's Recno, or empty for"
    " the last good version of a row that is rejected now.",
)

rejects = sa.Table(
    "rejects",
    technical,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("table", sa.Text, nullable=False),
    sa.Column("recno", sa.BigInteger, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("column", sa.Text),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, sa.CheckConstraint("severity IN ('reject', 'held', 'warning')"), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("value", sa.Text),
    sa.Index("rejects_table_recno", "table", "recno"),
    # What every sync reads again: rows that are not in HAT, and what a new day may mend.
    sa.Index(
        "rejects_waiting",
        "table",
        "recno",
        postgresql_where=sa.text("severity <> 'warning' OR rule = 'not_future'"),
    ),
    comment="The quarantine: rows that are not in HAT, and warnings on rows that are, as of the last run.",
)


changes = sa.Table(
    "changes",
    technical,
    sa.Column("run", sa.BigInteger, sa.ForeignKey(runs.c.run, ondelete="CASCADE"), nullable=False),
    sa.Column("table", sa.Text, nullable=False),
    sa.Column(
        "kind",
        sa.Text,
        sa.CheckConstraint("kind IN ('insert', 'update', 'delete', 'rejects', 'backing', 'watermark')"),
        nullable=False,
    ),
    sa.Column("key", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("before", postgresql.JSONB),
    sa.Index("changes_run", "run"),
    sa.Index("changes_table_key", "table", "key"),
    comment="What syncs changed, as it was before: kept for some days, so that a run can be undone. key = the natural"
    " key of a HAT row, or the Recno for rejects.",
)

shapes = sa.Table(
    "shapes",
    technical,
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("columns", postgresql.JSONB, nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("definition", sa.Text, nullable=False, server_default=""),
    comment="Columns of each view, with type and width, as the last run that read it found them."
    " definition = digest of the text of the view when the table was last read whole; empty when it is not known.",
)


reconciliations = sa.Table(
    "reconciliations",
    technical,
    sa.Column("run", sa.BigInteger, sa.ForeignKey(runs.c.run, ondelete="CASCADE"), primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    *(
        sa.Column(name, sa.BigInteger, nullable=False)
        for name in (
            "source_rows", "hat_rows", "compared", "missing", "extra", "differing", "in_flight", "quarantined", "kept",
            "buckets",
        )
    ),
    *(sa.Column(name, postgresql.JSONB, nullable=False) for name in ("columns", "keys", "differing_buckets")),
    comment="What reconciliations found, in rows. compared = in the ERP and in HAT; columns = in how many rows each"
    " differs; keys = the first of each kind of mismatch; buckets = ranges of Recno that were counted,"
    " differing_buckets = those with mismatches.",
)  # fmt: skip


api_calls = sa.Table(
    "api_calls",
    technical,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("table", sa.Text, nullable=False),
    sa.Column("key", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("recno", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, sa.CheckConstraint("action IN ('include', 'change', 'exclude')"), nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column(
        "state",
        sa.Text,
        sa.CheckConstraint("state IN ('sent', 'accepted', 'refused', 'dropped', 'settled')"),
        nullable=False,
        server_default="sent",
    ),
    sa.Column("token", sa.Text),
    sa.Column("answer", sa.Text),
    sa.Column("contents", postgresql.JSONB),
    sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("answered_at", sa.DateTime(timezone=True)),
    sa.Index("api_calls_open", "table", "key", postgresql_where=sa.text("state IN ('sent', 'accepted')")),
    sa.Index("api_calls_run", "run"),
    comment="Rows sent to HAT's cadastral API. sent = written before it leaves, the outcome is not known; accepted ="
    " HAT has it, the HAT tables here do not show it yet; settled = they do; dropped = HAT had not got it. code = the"
    " ERP's code of the action; contents = the row, until the call is settled.",
)
