-- Schema 2: ids are unique within their organization.

CREATE TABLE organizations (
    id                TEXT PRIMARY KEY,
    -- The newest revision of a registry that was given out, also to one that was removed.
    registry_revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO organizations (id, registry_revision)
    SELECT organization, max(credential_version) FROM registries GROUP BY organization;

ALTER TABLE registries RENAME TO registries_1;
DROP INDEX registries_organization;
CREATE TABLE registries (
    organization       TEXT NOT NULL,
    id                 TEXT NOT NULL,
    revision           INTEGER NOT NULL,
    credential_version INTEGER NOT NULL,
    format             INTEGER NOT NULL,
    document           TEXT NOT NULL,
    PRIMARY KEY (organization, id)
) STRICT;
INSERT INTO registries (organization, id, revision, credential_version, format, document)
    SELECT organization, id, credential_version, credential_version, format,
        iif(json_valid(document), json_set(document, '$.revision', credential_version), document)
    FROM registries_1;
DROP TABLE registries_1;
