"""The reader that fits a tenant's ERP: the one place that tells databases apart."""

from __future__ import annotations

from hat_etl.source.reader import Source
from hat_etl.tenants.config import Tenant


def open_source(tenant: Tenant, again: str) -> Source:
    """A reader for the tenant's dialect; ``again`` is the command that its errors tell to go on with.

    Raises ConfigurationError when the address is missing or none of that database.
    """
    # Only the driver that is needed: each takes a while to import.
    match tenant.erp.dialect:
        case "postgresql":
            from hat_etl.source.postgresql import PostgresSource

            return PostgresSource(tenant, again)
        case "oracle":
            from hat_etl.source.oracle import OracleSource

            return OracleSource(tenant, again)
