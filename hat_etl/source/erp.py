"""The reader that fits a tenant's ERP."""

from __future__ import annotations

from hat_etl.errors import ConfigurationError
from hat_etl.source.postgresql import PostgresSource
from hat_etl.source.reader import Source
from hat_etl.tenants.config import Tenant


def open_source(tenant: Tenant, command: str = "load") -> Source:
    """A reader for the tenant's dialect; ``command`` is what its errors tell to start again.

    Raises ConfigurationError for a dialect that this version cannot read.
    """
    if tenant.erp.dialect == "postgresql":
        return PostgresSource(tenant, command)
    raise ConfigurationError(
        f"This version reads PLS on PostgreSQL only, and [erp] dialect is {tenant.erp.dialect}.",
        "Views can be rendered for Oracle already (hat-etl views render); loading from Oracle needs a later version.",
        tenant=tenant.name,
    )
