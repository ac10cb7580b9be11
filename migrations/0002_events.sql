-- Events at scale: what was seen of events, and who used which key. See 0001 for what columns may be.

-- The fingerprints of events that were committed, in blocks of account, Region and hour (since 1970, UTC): sorted
-- runs that never change. `run` is the turn of the transaction that wrote it (see `writer`), so it only grows, even
-- when all runs of a block are removed: whoever has read a block up to a run needs only the ones after it. A merged
-- run has the turn of the merging, so it is read again by whoever has read less. BYTEA is PostgreSQL's name; SQLite
-- keeps bytes as they are under any.
CREATE TABLE seen (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    hour BIGINT NOT NULL,
    run BIGINT NOT NULL,
    count BIGINT NOT NULL,
    written_at BIGINT NOT NULL,
    prints BYTEA NOT NULL,
    PRIMARY KEY (account, region, hour, run)
);
CREATE INDEX seen_written_at ON seen (written_at);

-- Of which hours records of an account-Region were taken at all: bit N of `hours` is hour N of `day` (days since
-- 1970, UTC), `records` how many there were, each counted once. What is not in here nobody can speak for.
CREATE TABLE heard (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    day BIGINT NOT NULL,
    hours BIGINT NOT NULL,
    records BIGINT NOT NULL,
    PRIMARY KEY (account, region, day)
);
CREATE INDEX heard_day ON heard (day);

-- The usage ledger. The key is `key_set` in `region`: one index tells of all members of a set, in whatever Region.
CREATE TABLE usage (
    hour BIGINT NOT NULL,
    key_set TEXT NOT NULL,
    region TEXT NOT NULL,
    principal TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    account TEXT NOT NULL,
    network TEXT NOT NULL,
    context TEXT NOT NULL,
    count BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (hour, key_set, region, principal, operation, outcome, account, network, context)
);
CREATE INDEX usage_key_set ON usage (key_set, hour);

-- The newest use of each key with each outcome; it outlives the ledger's own lines, and tells which keys have any.
CREATE TABLE last_use (
    key_set TEXT NOT NULL,
    region TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at BIGINT NOT NULL,
    principal TEXT NOT NULL,
    operation TEXT NOT NULL,
    account TEXT NOT NULL,
    network TEXT NOT NULL,
    context TEXT NOT NULL,
    PRIMARY KEY (key_set, region, outcome)
);

-- Uses of keys that the record names by an alias or not at all.
CREATE TABLE unattributed (
    hour BIGINT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    count BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (hour, account, region, operation, outcome)
);

-- Ids of events, a row each, were what `seen` does in a few bytes. They are not carried over: SQL cannot make
-- fingerprints of them. The cursors of the look-ups and the marks of the batches stay, so that what was taken is not
-- asked for again but for the overlap of one round.
DROP TABLE event_seen;
