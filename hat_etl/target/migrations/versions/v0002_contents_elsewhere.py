"""The bytes of lots may lie in an object store."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(_STEPS)


_STEPS = """
ALTER TABLE hat_etl.billing_contents
    ALTER COLUMN content DROP NOT NULL,
    ADD COLUMN place TEXT,
    ADD COLUMN bytes INTEGER;
COMMENT ON TABLE hat_etl.billing_contents IS
    'The bytes of each lot as HAT gave them, never changed; a lot has several when HAT''s file was replaced.'
    ' place = the object that holds them, where it is not content; bytes = their number.';
"""
