-- Schema 8: an acceptance writes fewer pages.

-- The deployments of a target are in the order of their generations, and the unique key has that.
DROP INDEX deployments_target;

-- One tree instead of a table and its key. Its rows are in the order of their keys.
ALTER TABLE idempotency RENAME TO idempotency_7;
DROP INDEX idempotency_expiry;
CREATE TABLE idempotency (
    organization TEXT NOT NULL,
    component    TEXT NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    deployment   TEXT NOT NULL REFERENCES deployments (id),
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (organization, component, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
INSERT INTO idempotency (organization, component, key, fingerprint, deployment, expires_at)
    SELECT organization, component, key, fingerprint, deployment, expires_at FROM idempotency_7;
DROP TABLE idempotency_7;
