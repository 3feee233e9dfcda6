-- Schema 3: a workload is stored once, and a target names its deployment without a reference.

-- What runs, stored once however many deployments and releases refer to it. Its document is in the
-- format of the rows that do.
CREATE TABLE workloads (
    id       INTEGER PRIMARY KEY,
    -- SHA-256 of the document.
    digest   BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    document TEXT NOT NULL
) STRICT;
-- SQL cannot make the digests of what is there already: with others it is stored once more when it is
-- deployed next.
INSERT INTO workloads (digest, document)
    SELECT randomblob(32), document FROM (
        SELECT workload AS document FROM deployments WHERE workload IS NOT NULL
        UNION SELECT document ->> '$.workload' FROM releases
            WHERE json_valid(document) AND document ->> '$.workload' IS NOT NULL);
CREATE TEMPORARY TABLE known (document TEXT PRIMARY KEY, id INTEGER NOT NULL);
INSERT INTO known SELECT document, id FROM workloads;

ALTER TABLE deployments RENAME COLUMN workload TO workload_2;
ALTER TABLE deployments ADD COLUMN workload INTEGER REFERENCES workloads (id);
UPDATE deployments SET workload = (SELECT id FROM known WHERE document = workload_2)
    WHERE workload_2 IS NOT NULL;
ALTER TABLE deployments DROP COLUMN workload_2;

-- The document of a release is without its workload. One that cannot be read keeps what it has.
ALTER TABLE releases ADD COLUMN workload INTEGER REFERENCES workloads (id);
UPDATE releases SET
    workload = (SELECT id FROM known WHERE document = releases.document ->> '$.workload'),
    document = json_remove(document, '$.workload')
    WHERE json_valid(document);
DROP TABLE known;

-- The rows refer to each other, so the reference was deferred, and SQLite then looks through all
-- targets for each deployment that is inserted.
CREATE TABLE targets_3 (
    id                          INTEGER PRIMARY KEY,
    component                   TEXT NOT NULL,
    environment                 TEXT NOT NULL,
    project                     TEXT NOT NULL,
    organization                TEXT NOT NULL,
    -- The newest deployment.
    deployment                  TEXT NOT NULL,
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
INSERT INTO targets_3 SELECT * FROM targets;
DROP TABLE targets;
ALTER TABLE targets_3 RENAME TO targets;
-- Claims look at targets with work alone, however many others there are.
CREATE INDEX targets_due ON targets (due_at, data_plane)
    WHERE due_at IS NOT NULL AND unreadable = 0;

-- What is set back when the database is opened, so that nothing looks for it among all.
CREATE INDEX targets_unreadable ON targets (id) WHERE unreadable = 1;
CREATE INDEX runs_unreadable ON runs (seq) WHERE unreadable = 1;
