-- The corpus and who may use it. Times are milliseconds since the Unix epoch, UTC.
-- The vector index is derived from these tables; `chunks.index_state` is its outbox.

CREATE TABLE collections (
    -- Names the index directory, so it is never used twice.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    description   TEXT,
    embedder      TEXT    NOT NULL,
    dimension     INTEGER NOT NULL CHECK (dimension > 0),
    -- Average length of a chunk in terms, for BM25. Null until the first chunk is written.
    average_terms REAL,
    state         TEXT    NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'deleting')),
    created_at    INTEGER NOT NULL
) STRICT;

-- A deleted collection frees its name before its rows and files are gone.
CREATE UNIQUE INDEX collections_by_name ON collections (tenant, name) WHERE state = 'live';

CREATE TABLE documents (
    row_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    id            TEXT    NOT NULL,
    title         TEXT,
    uri           TEXT,
    media_type    TEXT    NOT NULL,
    metadata      TEXT    NOT NULL,
    content_hash  BLOB    NOT NULL,
    -- Grows with every replacement, so that work on an older version is refused.
    revision      INTEGER NOT NULL DEFAULT 1,
    state         TEXT    NOT NULL
        CHECK (state IN ('queued', 'indexing', 'indexed', 'failed', 'deleting')),
    error         TEXT,
    task_id       TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    -- Last, so that reading the other columns never touches its pages.
    content       BLOB    NOT NULL,
    UNIQUE (collection_id, id)
) STRICT;

CREATE INDEX documents_queued ON documents (updated_at, row_id) WHERE state = 'queued';

CREATE TABLE chunks (
    -- The id of the vector point. Never used twice, so an old point is never taken for a new one.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    document_row  INTEGER NOT NULL REFERENCES documents (row_id),
    ordinal       INTEGER NOT NULL,
    span_start    INTEGER NOT NULL,
    span_end      INTEGER NOT NULL,
    heading       TEXT,
    content_hash  BLOB    NOT NULL,
    n_terms       INTEGER NOT NULL,
    -- pending: to enter the index. indexed: in it. retired: answers until its successors are
    -- indexed, then leaves. deleting: hidden, to leave.
    index_state   TEXT    NOT NULL
        CHECK (index_state IN ('pending', 'indexed', 'retired', 'deleting')),
    text          TEXT    NOT NULL,
    -- The embedding: f32, little endian.
    vector        BLOB    NOT NULL
) STRICT;

CREATE INDEX chunks_of_document ON chunks (document_row, index_state);
CREATE INDEX chunks_of_collection ON chunks (collection_id, id, index_state);
CREATE INDEX chunks_outbox ON chunks (collection_id, index_state, id)
    WHERE index_state <> 'indexed';

CREATE TABLE tasks (
    id            TEXT    PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    collection_id INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE task_documents (
    task_id       TEXT    NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL,
    -- Not a reference: the outcome outlives the document.
    document_row  INTEGER NOT NULL,
    document_id   TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed')),
    error         TEXT,
    PRIMARY KEY (task_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_documents_pending ON task_documents (document_row) WHERE state = 'pending';

CREATE TABLE glossaries (
    collection_id INTEGER PRIMARY KEY REFERENCES collections (id),
    terms         TEXT    NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    id            TEXT    PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    name          TEXT,
    -- The first characters of the secret, which are shown in lists.
    prefix        TEXT    NOT NULL,
    secret_hash   BLOB    NOT NULL UNIQUE,
    scopes        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT;

CREATE INDEX keys_by_prefix ON keys (prefix);
CREATE INDEX keys_by_tenant ON keys (tenant, id);
