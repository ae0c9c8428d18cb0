"""What ``hat-etl sandbox up`` and ``down`` do."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
from pydantic import BaseModel, ConfigDict

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox import billing, loading, server
from hat_etl.sandbox import dirt as planting
from hat_etl.sandbox.billing import BillingSandbox
from hat_etl.sandbox.oracle import daemon as oracle
from hat_etl.sandbox.oracle import views as oracle_views
from hat_etl.sandbox.planter import Planted
from hat_etl.sandbox.server import ERP_SCHEMA, HAT, LOADER, PLS, PROTHEUS, READER, VIEWS_SCHEMA, Sandbox
from hat_etl.source import views
from hat_etl.tenants.config import Dialect, Tenant

TENANT = "demo"
ANS_REGISTRY = "412345"

LEAST_FOR_DIRT = 2_000
"""Beneficiaries needed so that every kind of dirt finds rows of its own."""


_MARK = "# Written by hat-etl sandbox up, which writes it anew whenever it is run.\n"
"""How a tenant file of a sandbox begins."""


class Manifest(BaseModel):
    """What a sandbox holds, as written beside it."""

    model_config = ConfigDict(extra="forbid")

    beneficiaries: int
    """Live beneficiaries of the clean population."""
    dirt: bool
    seed: int
    company: str
    built_on: date
    rows: dict[str, int]
    """Physical rows per PLS alias, deleted ones included."""
    planted: list[Planted]
    """Every reject, held row and warning that a load must report, and no other."""


def up(
    folder: Path | None = None,
    *,
    beneficiaries: int = 20_000,
    dirt: bool = False,
    seed: int = 1,
    company: str = "01",
    erp: Dialect = "postgresql",
    tenants: Path | None = None,
    with_billing: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[Sandbox, Manifest]:
    """Start the sandbox and build what it does not hold yet; with the same arguments it is reused as it stands.

    Other arguments make both databases anew, but for ``erp``: what the PLS is to be in the eyes of a client. On Oracle
    the views are there already, from the script for a DBA. ``with_billing``: also start a HAT and an operator's web
    service, and let the tenant file name them; so from then on. ``tell`` is called with a line for each longer step.
    """
    least = LEAST_FOR_DIRT if dirt else 1
    if beneficiaries < least:
        raise ConfigurationError(
            f"A sandbox {'with dirt ' if dirt else ''}cannot have {beneficiaries} beneficiaries.",
            f"Ask for at least {least}.",
        )
    if seed < 0:
        raise ConfigurationError(f"A sandbox cannot be made with seed {seed}.", "Ask for seed 0 or more.")
    tenants = tenants or Path(os.environ.get("HAT_ETL_TENANTS", "tenants"))
    _refuse_to_overwrite(tenants / f"{TENANT}.toml")
    folder = (folder or server.default_folder()).resolve()
    _make(folder, "HAT_ETL_SANDBOX")
    _make(tenants, "HAT_ETL_TENANTS")
    with _alone(folder):
        sandbox = Sandbox.up(folder)
        manifest = read_manifest(folder)
        asked = (beneficiaries, dirt, seed, company)
        if manifest is None or (manifest.beneficiaries, manifest.dirt, manifest.seed, manifest.company) != asked:
            _manifest_file(folder).unlink(missing_ok=True)
            billing.forget(folder)
            oracle.stop(folder)  # it would go on with the databases that are no more
            manifest = _build(sandbox, beneficiaries, dirt, seed, company, tell)
            # Last of all: without it, a build that was cut short starts anew.
            _manifest_file(folder).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        url = sandbox.url(PLS, READER) if erp == "postgresql" else oracle.start(sandbox)
        wanted = with_billing or billing.is_there(folder)
        loop = BillingSandbox.up(folder, ANS_REGISTRY, TENANT) if wanted else None
        _write_tenant(sandbox, erp, url, company, tenants, loop)
        if erp == "oracle":
            _run_script(sandbox, company)
    return sandbox, manifest


def _make(folder: Path, variable: str) -> None:
    """Make a folder where it is not there. Raises ConfigurationError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be written to ({error.strerror}).",
            f"Point {variable} to a folder that you may write to.",
        ) from None


def _refuse_to_overwrite(file: Path) -> None:
    """Raises ConfigurationError where a tenant of that name has a file that no sandbox has written."""
    if file.exists() and not file.read_text(encoding="utf-8", errors="replace").startswith(_MARK):
        raise ConfigurationError(
            f"{file} is there already, and no sandbox of this version has written it. Nothing was changed.",
            "Point HAT_ETL_TENANTS to another folder, such as .sandbox/tenants; or move that file away, if nobody needs"
            " it.",
            tenant=TENANT,
        )


def _run_script(sandbox: Sandbox, company: str) -> None:
    """Do the DBA's part on Oracle."""
    erp = {"dialect": "oracle", "schema": ERP_SCHEMA, "views_schema": VIEWS_SCHEMA, "company": company}
    tenant = Tenant.model_validate(
        {
            "name": TENANT,
            "ans_registry": ANS_REGISTRY,
            "erp": {**erp, "url": f"file:{sandbox.folder / 'erp.url'}"},
            "hat": {"url": f"file:{sandbox.folder / 'hat.url'}"},
        }
    )
    script = views.script(tenant, "oracle", reader=views.reading_user(tenant, "oracle"))
    with psycopg.connect(sandbox.url(PLS, READER), autocommit=True) as connection:
        oracle_views.install(connection, script)


def billing_of(folder: Path) -> BillingSandbox:
    """HAT and operator of the sandbox, started where they do not run."""
    return BillingSandbox.up(folder.resolve(), ANS_REGISTRY, TENANT)


def down(folder: Path | None = None) -> bool:
    """Stop the sandbox; its data stays for the next ``up``. False when it was not running."""
    folder = (folder or server.default_folder()).resolve()
    billing.down(folder)
    if folder.exists():
        oracle.stop(folder)
    return server.down(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time: a second ``up`` waits for the first and then finds its work done."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_manifest(folder: Path) -> Manifest | None:
    """What the sandbox in ``folder`` holds; None before it was built."""
    file = _manifest_file(folder)
    return Manifest.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None


def _manifest_file(folder: Path) -> Path:
    return folder / "manifest.json"


def _build(
    sandbox: Sandbox, beneficiaries: int, dirt: bool, seed: int, company: str, tell: Callable[[str], None]
) -> Manifest:
    tell(f"Building a PLS with {beneficiaries:,} beneficiaries")
    sandbox.recreate_databases()
    today = date.today()
    with psycopg.connect(sandbox.url(PLS, PROTHEUS)) as connection:
        rows = loading.fill(connection, company, seed, beneficiaries, today)
    planted: list[Planted] = []
    if dirt:
        tell("Planting dirt")
        with psycopg.connect(sandbox.url(PLS, PROTHEUS)) as connection:
            planted = planting.plant(connection, company, seed, max(1, beneficiaries // 20_000), today)
    return Manifest(
        beneficiaries=beneficiaries, dirt=dirt, seed=seed, company=company, built_on=today, rows=rows, planted=planted
    )


def _write_tenant(
    sandbox: Sandbox, erp: Dialect, url: str, company: str, tenants: Path, loop: BillingSandbox | None
) -> None:
    """The tenant file of the sandbox, and the addresses it refers to, for the owner's eyes only."""
    urls = {"erp": url, "hat": sandbox.url(HAT, LOADER)}
    for name, url in urls.items():
        secret = sandbox.folder / f"{name}.url"
        secret.touch(mode=0o600)
        secret.chmod(0o600)
        secret.write_text(url, encoding="utf-8")
    (tenants / f"{TENANT}.toml").write_text(
        f'''{_MARK}name = "{TENANT}"
ans_registry = "{ANS_REGISTRY}"

[erp]
dialect = "{erp}"
url = "file:{sandbox.folder / "erp.url"}"
schema = "{ERP_SCHEMA}"
views_schema = "{VIEWS_SCHEMA}"
company = "{company}"
connections = 2

[hat]
url = "file:{sandbox.folder / "hat.url"}"
schema = "hat"
{loop.hat_keys() if loop else ""}{loop.sections(TENANT) if loop else ""}''',
        encoding="utf-8",
    )
