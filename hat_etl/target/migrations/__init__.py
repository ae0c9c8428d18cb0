"""The history of schema ``hat_etl`` in tenant databases, as Alembic keeps it."""
