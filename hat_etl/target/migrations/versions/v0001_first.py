"""The first version. Where earlier code has made the tables without a version, they stay as they are."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(_TABLES)


_TABLES = """
CREATE TABLE IF NOT EXISTS hat_etl.api_calls (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run BIGINT NOT NULL,
    "table" TEXT NOT NULL,
    key TEXT[] NOT NULL,
    recno BIGINT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('include', 'change', 'exclude')),
    code TEXT NOT NULL,
    state TEXT DEFAULT 'sent' NOT NULL CHECK (state IN ('sent', 'accepted', 'refused', 'dropped', 'settled')),
    token TEXT,
    answer TEXT,
    contents JSONB,
    sent_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    answered_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS api_calls_run ON hat_etl.api_calls (run);
CREATE INDEX IF NOT EXISTS api_calls_open ON hat_etl.api_calls ("table", key) WHERE state IN ('sent', 'accepted');
COMMENT ON TABLE hat_etl.api_calls IS
    'Rows sent to HAT''s cadastral API. sent = written before it leaves, the outcome is not known; accepted = HAT'
    ' has it, the HAT tables here do not show it yet; settled = they do; dropped = HAT had not got it. code = the'
    ' ERP''s code of the action; contents = the row, until the call is settled.';
CREATE TABLE IF NOT EXISTS hat_etl.backing (
    "table" TEXT NOT NULL,
    key TEXT[] NOT NULL,
    recno BIGINT,
    PRIMARY KEY ("table", key)
);
CREATE INDEX IF NOT EXISTS backing_table_recno ON hat_etl.backing ("table", recno);
COMMENT ON TABLE hat_etl.backing IS
    'HAT rows whose source_recno is not the Recno of the live row behind them: that row''s Recno, or empty for'
    ' the last good version of a row that is rejected now.';
CREATE TABLE IF NOT EXISTS hat_etl.identity (
    only_row BOOLEAN DEFAULT true NOT NULL CHECK (only_row),
    tenant TEXT NOT NULL,
    ans_registry TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (only_row)
);
COMMENT ON TABLE hat_etl.identity IS
    'Which tenant this database belongs to: a load of any other is refused.';
CREATE TABLE IF NOT EXISTS hat_etl.rejects (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run BIGINT NOT NULL,
    "table" TEXT NOT NULL,
    recno BIGINT NOT NULL,
    key TEXT,
    "column" TEXT,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('reject', 'held', 'warning')),
    reason TEXT NOT NULL,
    value TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS rejects_table_recno ON hat_etl.rejects ("table", recno);
CREATE INDEX IF NOT EXISTS rejects_waiting ON hat_etl.rejects ("table", recno)
    WHERE severity <> 'warning' OR rule = 'not_future';
COMMENT ON TABLE hat_etl.rejects IS
    'The quarantine: rows that are not in HAT, and warnings on rows that are, as of the last run.';
CREATE TABLE IF NOT EXISTS hat_etl.runs (
    run BIGINT GENERATED ALWAYS AS IDENTITY,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    resumed INTEGER DEFAULT '0' NOT NULL,
    horizon TIMESTAMP WITH TIME ZONE,
    reference_day DATE NOT NULL,
    version TEXT NOT NULL,
    error TEXT,
    undoes BIGINT,
    undone_by BIGINT,
    PRIMARY KEY (run)
);
COMMENT ON TABLE hat_etl.runs IS
    'The ledger: one row per run. undoes = the run that an undo took back; undone_by = the undo that took this'
    ' run back, empty again once that undo is itself undone.';
CREATE TABLE IF NOT EXISTS hat_etl.shapes (
    "table" TEXT NOT NULL,
    columns JSONB NOT NULL,
    run BIGINT NOT NULL,
    PRIMARY KEY ("table")
);
COMMENT ON TABLE hat_etl.shapes IS
    'Columns of each view, with type and width, as the last run that read it found them.';
CREATE TABLE IF NOT EXISTS hat_etl.watermarks (
    "table" TEXT NOT NULL,
    horizon TIMESTAMP WITH TIME ZONE NOT NULL,
    run BIGINT NOT NULL,
    live_rows BIGINT,
    live_recnos NUMERIC(20),
    top_recno BIGINT,
    top_stamp TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY ("table")
);
COMMENT ON TABLE hat_etl.watermarks IS
    'Moment of the ERP, in UTC by its clock, that each table shows. live_rows, live_recnos = how many live rows'
    ' of the view are in HAT or in quarantine, and the sum of their Recnos modulo 2^64; empty when not known.'
    ' top_recno, top_stamp = the row with the latest Carimbo that a sync has seen.';
CREATE TABLE IF NOT EXISTS hat_etl.changes (
    run BIGINT NOT NULL,
    "table" TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('insert', 'update', 'delete', 'rejects', 'backing', 'watermark')),
    key TEXT[] NOT NULL,
    before JSONB,
    FOREIGN KEY(run) REFERENCES hat_etl.runs (run) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS changes_table_key ON hat_etl.changes ("table", key);
CREATE INDEX IF NOT EXISTS changes_run ON hat_etl.changes (run);
COMMENT ON TABLE hat_etl.changes IS
    'What syncs changed, as it was before: kept for some days, so that a run can be undone. key = the natural key'
    ' of a HAT row, or the Recno for rejects.';
CREATE TABLE IF NOT EXISTS hat_etl.checkpoints (
    run BIGINT NOT NULL,
    "table" TEXT NOT NULL,
    low BIGINT NOT NULL,
    high BIGINT NOT NULL,
    read BIGINT NOT NULL,
    good BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    recnos NUMERIC(20) NOT NULL,
    stamps NUMERIC(20) NOT NULL,
    live_recnos NUMERIC(20) NOT NULL,
    unstamped BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run, "table", low),
    FOREIGN KEY(run) REFERENCES hat_etl.runs (run) ON DELETE CASCADE
);
COMMENT ON TABLE hat_etl.checkpoints IS
    'Ranges of Recno that an unfinished load has staged, with their fingerprint; empty once it is done.';
CREATE TABLE IF NOT EXISTS hat_etl.reconciliations (
    run BIGINT NOT NULL,
    "table" TEXT NOT NULL,
    source_rows BIGINT NOT NULL,
    hat_rows BIGINT NOT NULL,
    compared BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    extra BIGINT NOT NULL,
    differing BIGINT NOT NULL,
    in_flight BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    kept BIGINT NOT NULL,
    buckets BIGINT NOT NULL,
    columns JSONB NOT NULL,
    keys JSONB NOT NULL,
    differing_buckets JSONB NOT NULL,
    PRIMARY KEY (run, "table"),
    FOREIGN KEY(run) REFERENCES hat_etl.runs (run) ON DELETE CASCADE
);
COMMENT ON TABLE hat_etl.reconciliations IS
    'What reconciliations found, in rows. compared = in the ERP and in HAT; columns = in how many rows each'
    ' differs; keys = the first of each kind of mismatch; buckets = ranges of Recno that were counted,'
    ' differing_buckets = those with mismatches.';
CREATE TABLE IF NOT EXISTS hat_etl.run_tables (
    run BIGINT NOT NULL,
    "table" TEXT NOT NULL,
    strategy TEXT NOT NULL,
    estimated BIGINT DEFAULT '0' NOT NULL,
    read BIGINT DEFAULT '0' NOT NULL,
    loaded BIGINT DEFAULT '0' NOT NULL,
    updated BIGINT DEFAULT '0' NOT NULL,
    deleted BIGINT DEFAULT '0' NOT NULL,
    rejected BIGINT DEFAULT '0' NOT NULL,
    held BIGINT DEFAULT '0' NOT NULL,
    warnings BIGINT DEFAULT '0' NOT NULL,
    kept BIGINT DEFAULT '0' NOT NULL,
    seconds DOUBLE PRECISION DEFAULT '0' NOT NULL,
    PRIMARY KEY (run, "table"),
    FOREIGN KEY(run) REFERENCES hat_etl.runs (run) ON DELETE CASCADE
);
COMMENT ON TABLE hat_etl.run_tables IS
    'The ledger: what a run did to each table. kept = last good versions of rejected rows, kept in HAT.';
CREATE TABLE IF NOT EXISTS hat_etl.authorization_versions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    id_on_health_insurer TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    document JSONB NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS authorization_versions_of ON hat_etl.authorization_versions (id_on_health_insurer, id);
COMMENT ON TABLE hat_etl.authorization_versions IS
    'Every version of every authorization, in the order in which they came from HAT.';
CREATE TABLE IF NOT EXISTS hat_etl.billing_lots (
    lot BIGINT GENERATED ALWAYS AS IDENTITY,
    batch_number TEXT NOT NULL,
    provider TEXT NOT NULL,
    batch_date TEXT,
    auth_type TEXT,
    state TEXT NOT NULL CHECK (state IN (
        'pulled', 'validated', 'queued', 'sent', 'unknown', 'protocolled', 'under analysis', 'final', 'refused',
        'withdrawn'
    )),
    state_since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sha256 TEXT NOT NULL,
    lot_number TEXT,
    origin_kind TEXT,
    origin_code TEXT,
    version TEXT,
    hash TEXT,
    guide_type TEXT,
    guides INTEGER,
    hold TEXT,
    first_protocol TEXT,
    protocol TEXT,
    tiss_status SMALLINT,
    causes JSONB DEFAULT '[]' NOT NULL,
    processed NUMERIC(14, 2),
    denied NUMERIC(14, 2),
    released NUMERIC(14, 2),
    stated_status SMALLINT,
    next_poll TIMESTAMP WITH TIME ZONE,
    pulled_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (lot),
    UNIQUE (provider, batch_number)
);
CREATE INDEX IF NOT EXISTS billing_lots_number ON hat_etl.billing_lots (provider, lot_number);
CREATE INDEX IF NOT EXISTS billing_lots_state ON hat_etl.billing_lots (state, next_poll);
COMMENT ON TABLE hat_etl.billing_lots IS
    'Lots of TISS guides. sha256 = the content in force; hold = why the lot waits for a person; origin_kind,'
    ' origin_code = how the file names its provider; first_protocol = as the operator gave it, protocol = as it'
    ' stands now; stated_status = the tiss_status for which the statement with the denials was read; causes = as'
    ' they are shown in HAT.';
CREATE TABLE IF NOT EXISTS hat_etl.billing_missing_files (
    provider TEXT NOT NULL,
    batch_number TEXT NOT NULL,
    code TEXT NOT NULL,
    attempts INTEGER DEFAULT '1' NOT NULL,
    told BOOLEAN DEFAULT false NOT NULL,
    first_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (provider, batch_number)
);
COMMENT ON TABLE hat_etl.billing_missing_files IS
    'Lots that HAT lists and whose file could not be had yet. told = HAT was told so.';
CREATE TABLE IF NOT EXISTS hat_etl.billing_contents (
    lot BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    content BYTEA NOT NULL,
    pulled_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (lot, sha256),
    FOREIGN KEY(lot) REFERENCES hat_etl.billing_lots (lot)
);
COMMENT ON TABLE hat_etl.billing_contents IS
    'The bytes of each lot as HAT gave them, never changed; a lot has several when HAT''s file was replaced.';
CREATE TABLE IF NOT EXISTS hat_etl.billing_history (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    lot BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    detail JSONB DEFAULT '{}' NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(lot) REFERENCES hat_etl.billing_lots (lot)
);
CREATE INDEX IF NOT EXISTS billing_history_lot ON hat_etl.billing_history (lot);
COMMENT ON TABLE hat_etl.billing_history IS
    'All that happened to each lot. Holds codes and numbers, no data of beneficiaries.';
CREATE TABLE IF NOT EXISTS hat_etl.billing_outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    lot BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('deliver', 'status', 'delete')),
    body JSONB DEFAULT '{}' NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'dropped')),
    attempts INTEGER DEFAULT '0' NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    error TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    done_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(lot) REFERENCES hat_etl.billing_lots (lot)
);
CREATE UNIQUE INDEX IF NOT EXISTS billing_outbox_waiting ON hat_etl.billing_outbox (lot, kind) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS billing_outbox_lot ON hat_etl.billing_outbox (lot, kind, id);
COMMENT ON TABLE hat_etl.billing_outbox IS
    'What leaves: deliveries to the operator, status and deletions to HAT. Written before anything is sent; of'
    ' each kind, one message per lot waits. dropped = a later message has taken its place, or it is not wanted.';
CREATE TABLE IF NOT EXISTS hat_etl.authorizations (
    id_on_health_insurer TEXT NOT NULL,
    authorization_id TEXT,
    authorization_type TEXT,
    authorization_date TEXT,
    authorization_status TEXT,
    health_provider_id TEXT,
    sha256 TEXT NOT NULL,
    document JSONB NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    marked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id_on_health_insurer)
);
CREATE INDEX IF NOT EXISTS authorizations_changed ON hat_etl.authorizations (changed_at);
COMMENT ON TABLE hat_etl.authorizations IS
    'The inbox of authorizations (senhas): each as HAT has given it last. document = all of it; changed_at = when'
    ' this version came; marked_at = when HAT was told that it is imported.';
"""
