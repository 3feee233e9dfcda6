-- Schema 4: components, too, are unique within their organization.

ALTER TABLE releases RENAME TO releases_3;
CREATE TABLE releases (
    organization TEXT NOT NULL,
    component    TEXT NOT NULL,
    number       INTEGER NOT NULL,
    -- The digest it is pinned to and how it came to be known, once it is.
    pin          TEXT,
    -- `format` of the release itself.
    format       INTEGER NOT NULL,
    document     TEXT NOT NULL,
    workload     INTEGER REFERENCES workloads (id),
    PRIMARY KEY (organization, component, number)
) STRICT;
-- Ids were unique over all organizations until now, so a component's deployments name its own.
INSERT INTO releases (organization, component, number, pin, format, document, workload)
    SELECT owner.organization, owner.component, number, pin, format,
        iif(json_valid(document),
            json_set(document, '$.organization', owner.organization), document),
        workload
    FROM releases_3
    JOIN (SELECT DISTINCT organization, component FROM targets) AS owner
        ON owner.component = releases_3.component;
DROP TABLE releases_3;

ALTER TABLE idempotency RENAME TO idempotency_3;
DROP INDEX idempotency_expiry;
CREATE TABLE idempotency (
    organization TEXT NOT NULL,
    component    TEXT NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    deployment   TEXT NOT NULL REFERENCES deployments (id),
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (organization, component, key)
) STRICT;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
INSERT INTO idempotency (organization, component, key, fingerprint, deployment, expires_at)
    SELECT deployments.organization, idempotency_3.component, key, fingerprint, deployment,
        expires_at
    FROM idempotency_3 JOIN deployments ON deployments.id = idempotency_3.deployment;
DROP TABLE idempotency_3;

DROP INDEX deployments_component;
CREATE INDEX deployments_component ON deployments (organization, component, seq);
DROP INDEX tokens_component;
CREATE INDEX tokens_component ON tokens (organization, component, created_at, id);
