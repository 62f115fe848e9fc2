-- How much a key may ask, who was refused and who administered, and answers to be repeated.
-- Times are milliseconds since the Unix epoch, UTC.

-- Null: the server's default. 0: no limit.
ALTER TABLE keys ADD COLUMN rate_per_minute INTEGER;
ALTER TABLE keys ADD COLUMN max_concurrent INTEGER;
-- Written at most once a minute.
ALTER TABLE keys ADD COLUMN last_used_at INTEGER;

CREATE TABLE audit (
    -- Ordered by time.
    id            TEXT    PRIMARY KEY,
    at            INTEGER NOT NULL,
    -- Null for a caller without a valid key.
    tenant        TEXT,
    key_id        TEXT,
    key_prefix    TEXT,
    method        TEXT    NOT NULL,
    -- The template, such as /v1/collections/{name}.
    route         TEXT    NOT NULL,
    status        INTEGER NOT NULL,
    code          TEXT,
    request_id    TEXT    NOT NULL,
    -- What the path names last.
    target        TEXT
) STRICT;

CREATE INDEX audit_by_tenant ON audit (tenant, id);
CREATE INDEX audit_by_time ON audit (at);

CREATE TABLE idempotency (
    -- The API key that asked.
    key_id          TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    -- SHA-256 over the method, the path and the body.
    request_hash    BLOB    NOT NULL,
    -- One for each attempt, so that a late one does not overwrite another's outcome.
    claim           TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('running', 'done')),
    -- running: the end of the lease. done: the end of the promise to repeat.
    expires_at      INTEGER NOT NULL,
    status          INTEGER,
    -- JSON: pairs of names and values.
    headers         TEXT,
    -- Null in a row that is done: the answer is not kept.
    body            BLOB,
    PRIMARY KEY (key_id, idempotency_key)
) STRICT;

CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
