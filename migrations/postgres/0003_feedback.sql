-- What was asked and answered, where that is to be kept, and what people said of it.

CREATE TABLE requests (
    -- `rw_…` or `se_…`
    id            TEXT    COLLATE "C" PRIMARY KEY,
    -- Of a search, the id of the rewrite within it.
    rewrite_id    TEXT    NOT NULL,
    tenant        TEXT    NOT NULL,
    user_id       TEXT,
    collection    TEXT,
    form          TEXT    NOT NULL CHECK (form IN ('hashed', 'plain')),
    rewriter      TEXT,
    embedder      TEXT    NOT NULL,
    -- The question, both contracts and the passages shown, as JSON.
    detail        TEXT    NOT NULL,
    created_at    BIGINT NOT NULL,
    -- Null: as long as there is feedback on it.
    expires_at    BIGINT
);

CREATE INDEX requests_by_rewrite ON requests (rewrite_id);
CREATE INDEX requests_by_user ON requests (tenant, user_id);
CREATE INDEX requests_by_expiry ON requests (expires_at);

CREATE TABLE feedback (
    id            TEXT    COLLATE "C" PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    -- As it was given: `rw_…` or `se_…`
    target        TEXT    NOT NULL,
    -- Into `requests`; the row is there unless requests are not to be kept.
    request_id    TEXT    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('thumb', 'click', 'cite', 'edit', 'dwell')),
    -- Empty when it is about the whole answer.
    chunk_id      TEXT    NOT NULL,
    value         DOUBLE PRECISION,
    text          TEXT,
    user_id       TEXT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    UNIQUE (target, kind, chunk_id)
);

CREATE INDEX feedback_by_tenant ON feedback (tenant, id);
CREATE INDEX feedback_by_request ON feedback (request_id);
CREATE INDEX feedback_by_user ON feedback (tenant, user_id);

-- Random bytes that hashes of queries are made with, so that nobody can look common queries up.
CREATE TABLE salts (
    name          TEXT    COLLATE "C" PRIMARY KEY,
    value         BYTEA    NOT NULL
);
