"""The errors that any ERP reader may have to raise, in the same words whatever the database."""

from __future__ import annotations

from hat_etl.entities.model import Entity
from hat_etl.errors import SourceError
from hat_etl.tenants.config import Tenant


class SnapshotExpired(SourceError):
    """The ERP can no longer show the moment that a run reads: what it has read must be set against a new one."""


def view_missing(tenant: Tenant, entity: Entity, where: str) -> SourceError:
    """``where`` says which schemas were looked through."""
    return SourceError(
        f"The view {entity.view} is not in the ERP ({where}).",
        f"Create it: {_created_by(tenant)}",
        tenant=tenant.name,
        table=entity.table,
    )


def view_forbidden(tenant: Tenant, entity: Entity) -> SourceError:
    return SourceError(
        f"The ERP login may not read the view {entity.view}.",
        f"Let the DBA run the GRANT lines of: hat-etl views render {tenant.name}",
        tenant=tenant.name,
        table=entity.table,
    )


def view_without_tables(tenant: Tenant, entity: Entity, grants: str) -> SourceError:
    """``grants`` are the statements that give the view's owner what the view reads."""
    return SourceError(
        f"The view {entity.view} cannot be read: its owner may not read a table below it.",
        f"Let the DBA run: {grants}",
        tenant=tenant.name,
        table=entity.table,
    )


def view_broken(tenant: Tenant, entity: Entity, code: str) -> SourceError:
    """``code`` is the server's own for what is wrong with the view."""
    return SourceError(
        f"The view {entity.view} cannot be read ({code}).",
        f"Make the view anew: {_created_by(tenant)}",
        tenant=tenant.name,
        table=entity.table,
    )


def read_failed(tenant: str, table: str | None, what: str, again: str) -> SourceError:
    """``what`` is the kind and code of the failure only, for a driver's text may quote values.

    ``again`` is the command that goes on.
    """
    return SourceError(
        f"Reading the ERP failed ({what}).",
        f"See that the ERP database is up and the views are readable (hat-etl doctor {tenant}), then go on with:"
        f" {again}",
        tenant=tenant,
        table=table,
    )


def locked(tenant: str, table: str | None, again: str) -> SourceError:
    """Somebody changes what is to be read, or waits to, for longer than a read waits."""
    return SourceError(
        "Another session of the ERP's database holds or wants a lock on the view or on a table that it reads: its"
        " structure is being changed, perhaps by an update of Protheus or by views made anew.",
        f"When that is over (the DBA sees the session in pg_locks), go on with: {again}",
        tenant=tenant,
        table=table,
    )


def _created_by(tenant: Tenant) -> str:
    render = f"hat-etl views render {tenant.name}"
    if tenant.erp.dialect == "postgresql":
        return f"hat-etl views install {tenant.name}, or give the DBA the output of {render}"
    return f"give the DBA the output of {render}"
