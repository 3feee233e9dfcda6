-- Schema 1.
-- Moments are integers: nanoseconds since 1970-01-01T00:00:00Z.
-- A document is JSON in the format that its row's `format` names; it is written once. What changes
-- about a record, and what queries look for, has columns of its own, and the columns win.

CREATE TABLE meta (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    -- The epoch of the generations that are given out from now on.
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO meta (one, epoch) VALUES (1, 0);

-- One row of desired state per target, and who works on it.
CREATE TABLE targets (
    id                          INTEGER PRIMARY KEY,
    component                   TEXT NOT NULL,
    environment                 TEXT NOT NULL,
    project                     TEXT NOT NULL,
    organization                TEXT NOT NULL,
    -- The newest deployment.
    deployment                  TEXT NOT NULL
        REFERENCES deployments (id) DEFERRABLE INITIALLY DEFERRED,
    epoch                       INTEGER NOT NULL,
    number                      INTEGER NOT NULL,
    data_plane                  TEXT NOT NULL,
    applied                     INTEGER NOT NULL DEFAULT 0,
    attempt                     INTEGER NOT NULL DEFAULT 0,
    -- When there is something to do: the next attempt, or the end of the lease. NULL: never.
    due_at                      INTEGER,
    -- Who works on it. NULL: nobody.
    lease_owner                 TEXT,
    fence                       INTEGER NOT NULL DEFAULT 0,
    -- 1 when work on it met a row that cannot be read. Set back when the database is opened.
    unreadable                  INTEGER NOT NULL DEFAULT 0,
    -- What was ready last: all or none.
    ready_deployment            TEXT,
    ready_epoch                 INTEGER,
    ready_number                INTEGER,
    ready_release               INTEGER,
    ready_settings_version      INTEGER,
    -- Why machines may not deploy: both or none.
    hold_by                     TEXT,
    hold_since                  INTEGER,
    -- Kept for credential refresh and resync; nothing reads them yet.
    desired_credential_version  INTEGER,
    observed_credential_version INTEGER,
    refresh_at                  INTEGER,
    resync_at                   INTEGER,
    UNIQUE (component, environment, project, organization)
) STRICT;
-- Claims look at targets with work alone, however many others there are.
CREATE INDEX targets_due ON targets (due_at, data_plane)
    WHERE due_at IS NOT NULL AND unreadable = 0;

CREATE TABLE deployments (
    -- The order of acceptance.
    seq              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    target           INTEGER NOT NULL REFERENCES targets (id),
    component        TEXT NOT NULL,
    organization     TEXT NOT NULL,
    epoch            INTEGER NOT NULL,
    number           INTEGER NOT NULL,
    settings_version INTEGER NOT NULL,
    -- What changes.
    phase            TEXT NOT NULL,
    reasons          TEXT NOT NULL,
    release          INTEGER,
    changed_at       INTEGER NOT NULL,
    revision         INTEGER NOT NULL,
    -- As it was accepted.
    format           INTEGER NOT NULL,
    document         TEXT NOT NULL,
    workload         TEXT,
    UNIQUE (target, epoch, number)
) STRICT;
CREATE INDEX deployments_target ON deployments (target, seq);
CREATE INDEX deployments_component ON deployments (component, seq);
CREATE INDEX deployments_organization ON deployments (organization, seq);

CREATE TABLE settings (
    target   INTEGER NOT NULL REFERENCES targets (id),
    version  INTEGER NOT NULL,
    format   INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (target, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE releases (
    component TEXT NOT NULL,
    number    INTEGER NOT NULL,
    -- The digest it is pinned to and how it came to be known, once it is.
    pin       TEXT,
    -- `format` of the release itself.
    format    INTEGER NOT NULL,
    document  TEXT NOT NULL,
    PRIMARY KEY (component, number)
) STRICT;

CREATE TABLE idempotency (
    component   TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    deployment  TEXT NOT NULL REFERENCES deployments (id),
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (component, key)
) STRICT;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE runs (
    seq              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    target           INTEGER NOT NULL REFERENCES targets (id),
    data_plane       TEXT NOT NULL,
    -- What changes.
    phase            TEXT NOT NULL,
    exit_code        INTEGER,
    reasons          TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    changed_at       INTEGER NOT NULL,
    revision         INTEGER NOT NULL,
    started          INTEGER NOT NULL DEFAULT 0,
    attempt          INTEGER NOT NULL DEFAULT 0,
    due_at           INTEGER,
    lease_owner      TEXT,
    fence            INTEGER NOT NULL DEFAULT 0,
    -- 1 when somebody asked to stop it after it was claimed last.
    cancel_unseen    INTEGER NOT NULL DEFAULT 0,
    unreadable       INTEGER NOT NULL DEFAULT 0,
    -- As it was accepted.
    format           INTEGER NOT NULL,
    document         TEXT NOT NULL
) STRICT;
CREATE INDEX runs_due ON runs (due_at, data_plane) WHERE due_at IS NOT NULL AND unreadable = 0;
CREATE INDEX runs_target ON runs (target, seq);

CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    component    TEXT NOT NULL,
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT;
CREATE INDEX tokens_component ON tokens (component, created_at, id);

CREATE TABLE registries (
    id                 TEXT PRIMARY KEY,
    organization       TEXT NOT NULL,
    credential_version INTEGER NOT NULL,
    format             INTEGER NOT NULL,
    document           TEXT NOT NULL
) STRICT;
CREATE INDEX registries_organization ON registries (organization, id);

-- Who did what, when. Written with what it tells of, never changed, without secrets.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    action  TEXT NOT NULL,
    -- A token, a worker, or the cause of a deployment; NULL when the store was not told.
    actor   TEXT,
    -- What it was done to, such as `deployment d-1`.
    subject TEXT NOT NULL,
    detail  TEXT
) STRICT;
