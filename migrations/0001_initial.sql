-- The one history for SQLite and PostgreSQL. Columns are TEXT, INTEGER or BIGINT and nothing else, since
-- that is what both databases and sqlx's Any driver agree on: times are microseconds UTC, flags are 0 or 1,
-- documents are JSON text. `state`, `result`, `level` and the like hold the names that documents show.

-- One row that every writing transaction takes first: writers come one after the other on PostgreSQL as they
-- do on SQLite, so that none decides on what another one is changing.
CREATE TABLE writer (
    id INTEGER NOT NULL PRIMARY KEY,
    turn BIGINT NOT NULL
);
INSERT INTO writer (id, turn) VALUES (1, 0);

-- The batches that were committed: the same input twice changes nothing.
CREATE TABLE batch (
    id TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    read_at BIGINT NOT NULL
);
CREATE INDEX batch_read_at ON batch (read_at);

-- What was read of keys (`kind` key, `id` the ARN) and Regions (`kind` account_region, `id` ACCOUNT/REGION):
-- one row for each stretch of time in which nothing changed, without gaps, `valid_to` null for the current
-- one. `digest` is over what counts as a change, `exact` over the whole document.
CREATE TABLE snapshot (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT,
    seen_at BIGINT NOT NULL,
    digest TEXT NOT NULL,
    exact TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, id, valid_from)
);
CREATE UNIQUE INDEX snapshot_current ON snapshot (kind, id) WHERE valid_to IS NULL;
CREATE INDEX snapshot_valid_to ON snapshot (valid_to) WHERE valid_to IS NOT NULL;

-- All verdicts on one subject: `outcomes` maps a rule's name to its outcome, or to the reasons of an unknown.
CREATE TABLE verdict (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT NOT NULL,
    region TEXT,
    boundary TEXT,
    subject TEXT NOT NULL,
    judged_at BIGINT NOT NULL,
    outcomes TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE finding (
    id TEXT NOT NULL PRIMARY KEY,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    level TEXT NOT NULL,
    severity INTEGER NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    account TEXT NOT NULL,
    region TEXT,
    boundary TEXT,
    subject TEXT NOT NULL,
    controls TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    resolved_at BIGINT,
    stale INTEGER NOT NULL,
    opened_count BIGINT NOT NULL,
    event_count BIGINT NOT NULL,
    evidence TEXT NOT NULL,
    remediation TEXT NOT NULL,
    exception TEXT
);
CREATE INDEX finding_subject ON finding (subject_kind, subject_id);
CREATE INDEX finding_state ON finding (state, severity);
CREATE INDEX finding_resolved_at ON finding (resolved_at) WHERE resolved_at IS NOT NULL;

-- Every step in a finding's life but the plain refreshments.
CREATE TABLE finding_history (
    finding TEXT NOT NULL,
    at BIGINT NOT NULL,
    transition TEXT NOT NULL,
    state TEXT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    exception TEXT,
    PRIMARY KEY (finding, at, transition)
);

-- Events that were committed, for as long as look-ups may bring them again.
CREATE TABLE event_seen (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
CREATE INDEX event_seen_at ON event_seen (seen_at);

-- The latest reading of each (account, Region, API), and since when its result has been the same. `region` is
-- empty for what is global.
CREATE TABLE reading (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    api TEXT NOT NULL,
    result TEXT NOT NULL,
    at BIGINT NOT NULL,
    since BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    detail TEXT,
    PRIMARY KEY (account, region, api)
);

-- How far each source has come.
CREATE TABLE source_position (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- What has to be said. `about` is the finding, or what the message is about where there is none; messages
-- about the same go to a topic in the order of `seq`.
CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    topic TEXT NOT NULL,
    about TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    done_at BIGINT,
    message_id TEXT,
    error TEXT
);
CREATE INDEX outbox_pending ON outbox (topic, about, seq) WHERE state = 'pending';
CREATE INDEX outbox_seq ON outbox (seq);
CREATE INDEX outbox_state ON outbox (state, created_at);
CREATE INDEX outbox_done_at ON outbox (done_at) WHERE done_at IS NOT NULL;

-- When each kind of thing was last said to a topic.
CREATE TABLE notification (
    topic TEXT NOT NULL,
    about TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (topic, about, reason)
);
CREATE INDEX notification_about ON notification (about);
