"""What a tenant file may say, and how it is judged.

Judging never repeats a value: a secret may have been written where a reference belongs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)

from hat_etl.tenants.billing import Billing, Folder, HatApi, Pls, Soap
from hat_etl.tenants.secrets import SecretRef
from hat_etl.tenants.section import YEAR_MINUTES, AbsolutePath, Section, WebAddress, pattern

Dialect = Literal["postgresql", "oracle"]

TENANT_NAME = r"[a-z0-9_-]+"
RESERVED_SCHEMAS = frozenset({"hat_etl", "hat_etl_stage"})
"""Schemas of the tenant database that hat_etl keeps for itself."""
_WORDS = (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation"
    " column concurrently constraint create cross current_catalog current_date current_role current_schema"
    " current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for"
    " foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral"
    " leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer"
    " overlaps placing primary references returning right select session_user similar some symmetric system_user"
    " table tablesample then to trailing true union unique user using variadic verbose when where window with"
)
POSTGRESQL_WORDS = frozenset(_WORDS.split())
"""Words that PostgreSQL takes for the name of a schema or user in quotes only."""


_Name = Annotated[str, pattern(TENANT_NAME, "made of small letters, digits, - and _")]
_AnsRegistry = Annotated[str, pattern(r"[0-9]{6}", "the 6 digits of the registration at ANS")]
_Company = Annotated[str, pattern(r"[A-Za-z0-9]{2}", "the 2 letters or digits of the Protheus company")]
_Schema = Annotated[str, pattern(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", "a plain identifier, without quotes")]
_HatSchema = Annotated[str, pattern(r"[a-z_][a-z0-9_]{0,62}", "a plain identifier in small letters, without quotes")]


def _cron(value: str) -> str:
    try:
        if len(value.split()) == 5:
            next(CronSim(value, datetime(2024, 1, 1, tzinfo=UTC)))
            return value
    except (CronSimError, StopIteration):  # StopIteration: a day that no calendar has
        pass
    raise ValueError("must be a cron expression of five fields, such as 30 2 * * *")


_Cron = Annotated[str, AfterValidator(_cron)]


def _is_postgresqls(schema: str) -> bool:
    return schema.lower() in POSTGRESQL_WORDS or schema.lower().startswith("pg_")


def _not_reserved(value: str) -> str:
    if value in RESERVED_SCHEMAS:
        raise ValueError("must be another one: hat_etl keeps its own tables in schemas hat_etl and hat_etl_stage")
    if _is_postgresqls(value):
        raise ValueError("must be another one: PostgreSQL keeps that name for itself")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):  # ZoneInfo raises all three, depending on what is wrong with the name
        raise ValueError("must be a time zone of the IANA list, such as America/Sao_Paulo") from None
    return value


class Window(BaseModel):
    """Hours in which the ERP may be read, every day; past midnight when ``end`` is before ``start``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    start: time
    end: time

    @classmethod
    def parse(cls, value: object) -> Window:
        match = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", value) if isinstance(value, str) else None
        try:
            if match and match[1] != match[2]:
                return cls(start=time.fromisoformat(match[1]), end=time.fromisoformat(match[2]))
        except ValueError:
            pass
        raise ValueError("must be two different times, such as 20:00-06:00")

    def holds(self, moment: time) -> bool:
        """Whether ``moment`` lies in the window; the end does not."""
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def _window(value: object) -> Window:
    return value if isinstance(value, Window) else Window.parse(value)


_WindowText = Annotated[Window, BeforeValidator(_window), PlainSerializer(str)]


_ORACLE_KEYS = ("tns_admin", "wallet_password", "client_library")
"""Keys of [erp] that say something of Oracle only."""


class Erp(Section):
    """``[erp]``: the Protheus database of the operator."""

    dialect: Dialect
    url: SecretRef
    tns_admin: AbsolutePath | None = None
    """Folder of the ``tnsnames.ora`` that knows the address of an Oracle database; else that of TNS_ADMIN."""
    wallet_password: SecretRef | None = None
    """Of the private key in the wallet that the address of an Oracle database names."""
    client_library: AbsolutePath | None = None
    """Folder of Oracle's own client libraries, for servers that the driver does not reach without them."""
    schema_name: _Schema | None = Field(default=None, alias="schema")
    """Owner of the PLS tables; without it, the login's own schema."""
    views_schema: _Schema | None = None
    """Where the views are; without it, where the tables are."""
    company: _Company
    connections: Annotated[StrictInt, Field(ge=1)] = 4
    """At most this many connections to the ERP, all runs together."""
    server: _Name | None = None
    """Name of the ERP server, the same for all tenants on it: few runs at a time read one server."""
    windows: tuple[_WindowText, ...] = ()
    timezone: Annotated[str, AfterValidator(_timezone)] = "America/Sao_Paulo"

    @model_validator(mode="after")
    def _only_what_the_dialect_knows(self) -> Self:
        if self.dialect != "oracle" and (said := [key for key in _ORACLE_KEYS if getattr(self, key) is not None]):
            raise ValueError(f"{said[0]} is for Oracle, and the dialect is {self.dialect}")
        return self

    @model_validator(mode="after")
    def _schemas_that_need_no_quotes(self) -> Self:
        for key, schema in (("schema", self.schema_name), ("views_schema", self.views_schema)):
            if self.dialect == "postgresql" and schema is not None and _is_postgresqls(schema):
                raise ValueError(f"{key} must be another one: PostgreSQL keeps that name for itself")
        return self

    @property
    def needs_own_process(self) -> bool:
        """Whether reading this ERP settles for the whole process how others are read; see ``oracle_client``."""
        return self.client_library is not None

    @property
    def view_owner(self) -> str | None:
        """The schema in which views are made and read; None is the login's own."""
        return self.views_schema or self.schema_name

    def is_open(self, moment: datetime) -> bool:
        """Whether the ERP may be read at ``moment`` (with a time zone); always, when no window is given."""
        local = moment.astimezone(ZoneInfo(self.timezone)).time()
        return not self.windows or any(window.holds(local) for window in self.windows)


class Hat(Section):
    """``[hat]``: the tenant's own database and the HAT API."""

    url: SecretRef
    schema_name: Annotated[_HatSchema, AfterValidator(_not_reserved)] = Field(default="hat", alias="schema")
    api_url: WebAddress | None = None
    """Host of the HAT API, without the paths of ``[hat.api]``."""
    master_token: SecretRef | None = None
    api: HatApi = HatApi()


class Schedule(Section):
    """``[schedule]``: when the tenant is synchronised by itself, in the ERP's time zone."""

    incremental: _Cron | None = None
    paused: StrictBool = False
    """Nothing starts by itself; what a person launches runs."""


class Alerts(Section):
    """``[alerts]``: when the tenant's checks turn red."""

    reject_share: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.05
    """Share of the rows of a table that may be rejected or held."""
    late_minutes: Annotated[StrictInt, Field(ge=1, le=YEAR_MINUTES)] = 60
    """How long after the moment at which a sync was due it may be missing."""


Via = Literal["database", "api"]
"""How the changes of a sync reach HAT."""


class Sync(Section):
    """``[sync]``: how incremental runs read, where their changes go, and when they stop and ask."""

    via: Via = "database"
    """Straight into the HAT tables, or to HAT's cadastral APIs: the tables are then the record of what HAT has."""

    lookback_minutes: Annotated[StrictInt, Field(ge=0, le=YEAR_MINUTES)] = 15
    """How far behind the watermark a window begins, against clocks that disagree and stamps that come late."""
    brake_share: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.1
    """Share of a table that may change or leave HAT in one run without being asked."""
    brake_rows: Annotated[StrictInt, Field(ge=0)] = 100
    """Rows that may change or leave HAT in one run whatever the share."""
    drift: Literal["stop-table", "stop-run"] = "stop-table"
    """What a changed view stops: its table with the tables that depend on it, or the run."""
    undo_days: Annotated[StrictInt, Field(ge=0, le=3_650)] = 14
    """How long before-images are kept."""
    lock_wait_seconds: Annotated[StrictInt, Field(ge=1, le=86_400)] = 60
    """How long a run waits for rows that another session of the tenant database has locked."""


class Tenant(Section):
    """One health operator: where its data comes from and where it goes."""

    name: _Name
    ans_registry: _AnsRegistry
    erp: Erp
    hat: Hat
    schedule: Schedule = Schedule()
    sync: Sync = Sync()
    alerts: Alerts = Alerts()
    billing: Billing = Billing()

    @property
    def erp_server(self) -> str:
        """Which ERP server the tenant shares with others; one of its own where its file names none."""
        return self.erp.server or self.name


def accepted_keys(location: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys of the section at ``location`` (empty: the file itself), as a tenant file spells them."""
    sections: dict[str, type[Section]] = {
        "": Tenant,
        "erp": Erp,
        "hat": Hat,
        "schedule": Schedule,
        "sync": Sync,
        "alerts": Alerts,
        "hat.api": HatApi,
        "billing": Billing,
        "billing.soap": Soap,
        "billing.pls": Pls,
        "billing.folder": Folder,
    }
    model = sections.get(".".join(map(str, location)))
    return tuple(info.alias or name for name, info in model.model_fields.items()) if model else ()
