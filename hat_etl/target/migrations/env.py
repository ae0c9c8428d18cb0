"""What Alembic runs: the steps are written as SQL, which goes through the connection that already holds the locks."""

from alembic import context

from hat_etl.target.schema import TECHNICAL_SCHEMA
from hat_etl.target.technical import VERSION_TABLE

context.configure(
    dialect_name="postgresql",
    version_table=VERSION_TABLE,
    version_table_schema=TECHNICAL_SCHEMA,
    transactional_ddl=False,  # whoever asked has begun a transaction
)
context.run_migrations()
