"""What was read knows by which text of its view."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(_STEPS)


_STEPS = """
ALTER TABLE hat_etl.checkpoints ADD COLUMN definition TEXT NOT NULL DEFAULT '';
COMMENT ON TABLE hat_etl.checkpoints IS
    'Ranges of Recno that an unfinished load has staged, with their fingerprint; empty once it is done.'
    ' definition = digest of the text of the view that they were read through; empty when the ERP did not tell it.';
ALTER TABLE hat_etl.shapes ADD COLUMN definition TEXT NOT NULL DEFAULT '';
COMMENT ON TABLE hat_etl.shapes IS
    'Columns of each view, with type and width, as the last run that read it found them.'
    ' definition = digest of the text of the view when the table was last read whole; empty when it is not known.';
"""
