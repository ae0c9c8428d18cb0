"""Sections of a tenant file about HAT's API and the billing loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from hat_etl.tenants.location import Location, Options
from hat_etl.tenants.secrets import SecretRef
from hat_etl.tenants.section import YEAR_MINUTES, YEAR_SECONDS, AbsolutePath, Section, WebAddress, pattern

_ApiPath = Annotated[
    str, pattern(r"(/[A-Za-z0-9._-]+)+", "a path such as /api/healthcare/hat/v1, without / at its end")
]
_Header = Annotated[str, pattern(r"[!-~]{1,100}", "printable characters without blanks")]
_FileHost = Annotated[
    str,
    pattern(
        r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://(127\.0\.0\.1|localhost):[0-9]{1,5}",
        "a host such as files.example or *.files.example, or http://127.0.0.1:PORT for a server on this machine",
    ),
]


_Seconds = Annotated[StrictFloat, Field(gt=0, le=3600)]


class HatApi(Section):
    """``[hat.api]``: how HAT's API is called. Paths differ between installations of HAT."""

    tenant_name: _Header | None = None
    """Header tenantName (Protheus: MV_PHATNMT)."""
    tenant_id: _Header | None = None
    """Header idTenant (Protheus: MV_PHATIDT)."""
    previous_master_token: SecretRef | None = None
    """The Mastertoken that is being replaced: used where the new one is not accepted yet."""
    path: _ApiPath = "/api/healthcare/hat/v1"
    """Cadastral APIs and authorizations."""
    billing_path: _ApiPath = "/api/healthcare/hatfaturamento/v1"
    timeout_seconds: _Seconds = 30.0
    attempts: Annotated[StrictInt, Field(ge=1, le=20)] = 5
    """How often a call that is safe to repeat is made before it counts as failed."""
    pause_seconds: Annotated[StrictFloat, Field(ge=0, le=60)] = 0.5
    """Before the first repetition; doubled for each further one."""
    page_size: Annotated[StrictInt, Field(ge=1, le=1000)] = 100
    answer_seconds: _Seconds = 300.0
    """How long the answer of a cadastral write is waited for."""
    workers: Annotated[StrictInt, Field(ge=1, le=32)] = 4
    """Cadastral writes on their way at a time."""


class Soap(Section):
    """``[billing.soap]``: the operator's TISS web service. ``{version}`` in an address stands for a lot's version."""

    lot_url: WebAddress
    status_url: WebAddress
    statement_url: WebAddress | None = None
    """Without it, no denials are asked for."""
    user: Annotated[str, pattern(r".{1,20}", "at most 20 characters")] | None = None
    password: SecretRef | None = None
    password_mode: Literal["md5", "plain"] = "md5"
    hash_encoding: Literal["iso-8859-1", "utf-8"] = "iso-8859-1"
    charset: Literal["iso-8859-1", "utf-8"] = "utf-8"
    certificate: AbsolutePath | None = None
    """Of the client, PEM, for operators that want one."""
    certificate_key: AbsolutePath | None = None
    certificate_password: SecretRef | None = None
    authorities: AbsolutePath | None = None
    """PEM file of the certification authorities to trust instead of the usual ones."""
    connect_seconds: _Seconds = 10.0
    timeout_seconds: _Seconds = 60.0
    total_seconds: _Seconds = 120.0


class Pls(Section):
    """``[billing.pls]``: the REST services of PLS (xmlManager, protocols)."""

    url: WebAddress
    """Up to and without ``/totvshealthplans``, such as https://erp.example:8080/rest."""
    user: str | None = None
    password: SecretRef | None = None
    timeout_seconds: _Seconds = 60.0


class Folder(Section):
    """``[billing.folder]``: a folder, of a disk or of an object store, from which the operator takes lots."""

    path: Location
    options: Options = Field(default_factory=dict)
    """Options of the object store's library."""


class Billing(Section):
    """``[billing]``: the lots of the tenant, from HAT to the operator and back."""

    deliver: Literal["soap", "pls", "folder"] | None = None
    """How lots reach the operator."""
    ask: Literal["pls", "views"] | None = None
    """Whom to ask by lot number whether a lot has arrived; without it a person must say so.

    The ERP's views also tell status, totals and denials, in the place of the way that delivers.
    """
    soap: Soap | None = None
    pls: Pls | None = None
    folder: Folder | None = None
    download_hosts: tuple[_FileHost, ...] = ("*.blob.core.windows.net",)
    """Hosts from which lots may be downloaded, by https."""
    store: Location | None = None
    """Where the bytes of lots are kept; without it, in the tenant database."""
    store_options: Options = Field(default_factory=dict)
    """Options of the library of ``store``. Lots that lie in a store are read with them also when ``store`` is gone."""
    max_lot_mib: Annotated[StrictInt, Field(ge=1, le=200)] = 16
    workers: Annotated[StrictInt, Field(ge=1, le=32)] = 4
    """Lots in work at a time; those of one provider are delivered one after the other."""
    pull_minutes: Annotated[StrictInt, Field(ge=1, le=YEAR_MINUTES)] = 5
    """How often the sensor looks for lots in HAT."""
    unknown_wait_seconds: Annotated[StrictInt, Field(ge=0, le=YEAR_SECONDS)] = 300
    """How long after a delivery without an answer the operator is asked about it: it may still be at work.

    Longer than any time-out of a delivery, so that no process still waits for the answer by then.
    """
    retry_seconds: Annotated[StrictInt, Field(ge=0, le=YEAR_SECONDS)] = 60
    """Before a delivery that did not reach the operator is tried again; doubled each time, up to an hour."""
    poll_minutes: Annotated[StrictInt, Field(ge=0, le=YEAR_MINUTES)] = 15
    """How often the operator is asked about a lot that is not final, or in doubt."""
    reversal_days: Annotated[StrictInt, Field(ge=0, le=36_500)] = 90
    """How long a final lot is asked about once a day: a payment may be taken back."""
    refused_status: Annotated[StrictInt, Field(ge=1, le=6)] = 4
    """Status in HAT of a lot that was refused before it had a protocol."""
    stuck_hours: Annotated[StrictInt, Field(ge=1, le=87_600)] = 48
    """How long a lot may stay in a state that is not final before a check turns red."""
    authorizations: StrictBool = False
    """Take the authorizations that wait in HAT and mark them there as imported: nothing else may import them then."""
    paused: StrictBool = False
    """No sensor starts anything; what a person launches runs."""
