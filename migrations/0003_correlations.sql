-- What correlation rules remember of events: one row for each group of a rule. `grp` is a hash of the group's
-- values and of what the rule counts, `matches` the events as JSON, `touched_at` the newest arrival among them,
-- and after `expires_at` nothing of it counts any more.
CREATE TABLE correlation (
    rule TEXT NOT NULL,
    grp TEXT NOT NULL,
    touched_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    matches TEXT NOT NULL,
    PRIMARY KEY (rule, grp)
);
CREATE INDEX correlation_touched_at ON correlation (rule, touched_at);
CREATE INDEX correlation_expires_at ON correlation (expires_at);
