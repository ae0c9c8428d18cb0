"""The tenant database: schema, staging, integrity, swap, ledger, rejects."""
