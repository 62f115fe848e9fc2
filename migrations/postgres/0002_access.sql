-- How much a key may ask, who was refused and who administered, and answers to be repeated.
-- Times are milliseconds since the Unix epoch, UTC.

-- Null: the server's default. 0: no limit.
ALTER TABLE keys ADD COLUMN rate_per_minute BIGINT ;
ALTER TABLE keys ADD COLUMN max_concurrent BIGINT ;
-- Written at most once a minute.
ALTER TABLE keys ADD COLUMN last_used_at BIGINT ;

CREATE TABLE audit (
    -- Ordered by time.
    id            TEXT    COLLATE "C" PRIMARY KEY,
    at            BIGINT  NOT NULL,
    -- Null for a caller without a valid key.
    tenant        TEXT,
    key_id        TEXT,
    key_prefix    TEXT,
    method        TEXT    NOT NULL,
    -- The template, such as /v1/collections/{name}.
    route         TEXT    NOT NULL,
    status        BIGINT  NOT NULL,
    code          TEXT,
    request_id    TEXT    NOT NULL,
    -- What the path names last.
    target        TEXT
);

CREATE INDEX audit_by_tenant ON audit (tenant, id);
CREATE INDEX audit_by_time ON audit (at);

CREATE TABLE idempotency (
    -- The API key that asked.
    key_id          TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    -- SHA-256 over the method, the path and the body.
    request_hash    BYTEA   NOT NULL,
    -- One for each attempt, so that a late one does not overwrite another's outcome.
    claim           TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('running', 'done')),
    -- running: the end of the lease. done: the end of the promise to repeat.
    expires_at      BIGINT  NOT NULL,
    status          BIGINT ,
    -- JSON: pairs of names and values.
    headers         TEXT,
    -- Null in a row that is done: the answer is not kept.
    body            BYTEA,
    PRIMARY KEY (key_id, idempotency_key)
);

CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
