"""Tables of the billing loop in schema ``hat_etl`` of the tenant database."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from hat_etl.billing.states import State
from hat_etl.target.schema import TECHNICAL_SCHEMA

_MOMENT = sa.DateTime(timezone=True)
metadata = sa.MetaData(schema=TECHNICAL_SCHEMA)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, _MOMENT, nullable=False, server_default=sa.func.now())


def _one_of(column: str, values: list[str]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})")


lots = sa.Table(
    "billing_lots",
    metadata,
    sa.Column("lot", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("batch_number", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("batch_date", sa.Text),
    sa.Column("auth_type", sa.Text),
    sa.Column("state", sa.Text, _one_of("state", list(State)), nullable=False),
    _now("state_since"),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("lot_number", sa.Text),
    sa.Column("origin_kind", sa.Text),
    sa.Column("origin_code", sa.Text),
    sa.Column("version", sa.Text),
    sa.Column("hash", sa.Text),
    sa.Column("guide_type", sa.Text),
    sa.Column("guides", sa.Integer),
    sa.Column("hold", sa.Text),
    sa.Column("first_protocol", sa.Text),
    sa.Column("protocol", sa.Text),
    sa.Column("tiss_status", sa.SmallInteger),
    sa.Column("causes", postgresql.JSONB, nullable=False, server_default=sa.text("'[]'")),
    *(sa.Column(name, sa.Numeric(14, 2)) for name in ("processed", "denied", "released")),
    sa.Column("stated_status", sa.SmallInteger),
    sa.Column("next_poll", _MOMENT),
    _now("pulled_at"),
    sa.UniqueConstraint("provider", "batch_number"),
    sa.Index("billing_lots_state", "state", "next_poll"),
    sa.Index("billing_lots_number", "provider", "lot_number"),
    comment="Lots of TISS guides. sha256 = the content in force; hold = why the lot waits for a person;"
    " origin_kind, origin_code = how the file names its provider;"
    " first_protocol = as the operator gave it, protocol = as it stands now; stated_status = the tiss_status for which"
    " the statement with the denials was read; causes = as they are shown in HAT.",
)

contents = sa.Table(
    "billing_contents",
    metadata,
    sa.Column("lot", sa.BigInteger, sa.ForeignKey(lots.c.lot), primary_key=True),
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary),
    _now("pulled_at"),
    sa.Column("place", sa.Text),
    sa.Column("bytes", sa.Integer),
    comment="The bytes of each lot as HAT gave them, never changed; a lot has several when HAT's file was replaced."
    " place = the object that holds them, where it is not content; bytes = their number.",
)

history = sa.Table(
    "billing_history",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("lot", sa.BigInteger, sa.ForeignKey(lots.c.lot), nullable=False),
    _now("at"),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("from_state", sa.Text),
    sa.Column("to_state", sa.Text),
    sa.Column("detail", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Index("billing_history_lot", "lot"),
    comment="All that happened to each lot. Holds codes and numbers, no data of beneficiaries.",
)

outbox = sa.Table(
    "billing_outbox",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("lot", sa.BigInteger, sa.ForeignKey(lots.c.lot), nullable=False),
    sa.Column("kind", sa.Text, _one_of("kind", ["deliver", "status", "delete"]), nullable=False),
    sa.Column("body", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("state", sa.Text, _one_of("state", ["waiting", "done", "dropped"]), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    _now("not_before"),
    sa.Column("error", sa.Text),
    _now("created_at"),
    sa.Column("done_at", _MOMENT),
    sa.Index("billing_outbox_waiting", "lot", "kind", unique=True, postgresql_where=sa.text("state = 'waiting'")),
    sa.Index("billing_outbox_lot", "lot", "kind", "id"),
    comment="What leaves: deliveries to the operator, status and deletions to HAT. Written before anything is sent;"
    " of each kind, one message per lot waits. dropped = a later message has taken its place, or it is not wanted.",
)

missing = sa.Table(
    "billing_missing_files",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("batch_number", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("told", sa.Boolean, nullable=False, server_default=sa.false()),
    _now("first_at"),
    _now("last_at"),
    comment="Lots that HAT lists and whose file could not be had yet. told = HAT was told so.",
)

versions = sa.Table(
    "authorization_versions",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("id_on_health_insurer", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("document", postgresql.JSONB, nullable=False),
    _now("received_at"),
    sa.Index("authorization_versions_of", "id_on_health_insurer", "id"),
    comment="Every version of every authorization, in the order in which they came from HAT.",
)

authorizations = sa.Table(
    "authorizations",
    metadata,
    sa.Column("id_on_health_insurer", sa.Text, primary_key=True),
    *(
        sa.Column(name, sa.Text)
        for name in (
            "authorization_id", "authorization_type", "authorization_date", "authorization_status",
            "health_provider_id",
        )
    ),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("document", postgresql.JSONB, nullable=False),
    _now("received_at"),
    _now("changed_at"),
    sa.Column("marked_at", _MOMENT),
    sa.Index("authorizations_changed", "changed_at"),
    comment="The inbox of authorizations (senhas): each as HAT has given it last. document = all of it; changed_at ="
    " when this version came; marked_at = when HAT was told that it is imported.",
)  # fmt: skip
