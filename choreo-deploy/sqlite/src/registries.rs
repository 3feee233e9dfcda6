//! The table of registered registries.

use choreo_deploy::id::{OrganizationId, RegistryId};
use choreo_deploy::store::{NewRegistry, RegisteredRegistry, StoreError};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::audit;
use crate::error::Failure;
use crate::row::{Entry, FORMAT, count, json, readable, stored};
use crate::writer::Session;

pub(crate) const TABLE: &str = "registries";

pub(crate) fn put(
    session: &Session<'_>,
    registry: NewRegistry,
    expected: Option<u64>,
    at: Timestamp,
) -> Result<RegisteredRegistry, Failure> {
    let before = before(session, &registry, expected)?;
    let revision = next_revision(session, &registry.organization)?;
    let registry = registry.registered(revision, before.as_ref());
    session.execute(
        "INSERT INTO registries (organization, id, revision, credential_version, format, document)
         VALUES (:organization, :id, :revision, :credential_version, :format, :document)
         ON CONFLICT (organization, id) DO UPDATE SET revision = excluded.revision,
             credential_version = excluded.credential_version, document = excluded.document",
        named_params! {
            ":organization": registry.organization.as_str(),
            ":id": registry.id.as_str(),
            ":revision": stored(registry.revision),
            ":credential_version": stored(registry.credential_version),
            ":format": FORMAT,
            ":document": json(&registry)?,
        },
    )?;
    audit::Entry::new(
        at,
        "registry-put",
        subject(&registry.organization, &registry.id),
    )
    .with(format!(
        "revision {}, credential version {}",
        registry.revision, registry.credential_version
    ))
    .write(session)?;
    Ok(registry)
}

/// Returns the registry to replace, if it has the revision that the caller expects.
fn before(
    session: &Session<'_>,
    new: &NewRegistry,
    expected: Option<u64>,
) -> Result<Option<RegisteredRegistry>, Failure> {
    let known = session
        .prepare("SELECT revision FROM registries WHERE organization = ?1 AND id = ?2")?
        .query_row([new.organization.as_str(), new.id.as_str()], |row| {
            row.get(0).map(count)
        })
        .optional()?;
    if known != expected {
        return Err(StoreError::registry_changed(&new.id, expected).into());
    }
    match one(session.connection(), &new.organization, &new.id) {
        Err(Failure::Unreadable(row)) => Err(Failure::conflict(format!(
            "registry {} cannot be read by this version ({}): remove it first to replace it",
            new.id, row.why
        ))),
        read => read,
    }
}

/// Returns the next revision of an organization's registries, including removed ones. After a
/// restore from a backup, the lost revisions are unknown, so it continues at a thousand times the
/// epoch.
fn next_revision(session: &Session<'_>, organization: &OrganizationId) -> Result<u64, Failure> {
    // `WHERE true` makes SQLite read `ON` as an upsert, not as the condition of a join.
    let revision = session
        .prepare(
            "INSERT INTO organizations (id, registry_revision)
                 SELECT ?1, max(1, epoch * 1000) FROM meta WHERE true
             ON CONFLICT (id) DO UPDATE SET
                 registry_revision = max(registry_revision + 1, excluded.registry_revision)
             RETURNING registry_revision",
        )?
        .query_row([organization.as_str()], |row| row.get(0))?;
    Ok(count(revision))
}

pub(crate) fn remove(
    session: &Session<'_>,
    organization: &OrganizationId,
    id: &RegistryId,
    at: Timestamp,
) -> Result<bool, Failure> {
    let removed = session.execute(
        "DELETE FROM registries WHERE id = ?1 AND organization = ?2",
        [id.as_str(), organization.as_str()],
    )?;
    if removed == 0 {
        return Ok(false);
    }
    audit::Entry::new(at, "registry-removed", subject(organization, id)).write(session)?;
    Ok(true)
}

pub(crate) fn one(
    connection: &Connection,
    organization: &OrganizationId,
    id: &RegistryId,
) -> Result<Option<RegisteredRegistry>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT id, format, document FROM registries WHERE id = ?1 AND organization = ?2",
    )?;
    let mut rows = statement.query([id.as_str(), organization.as_str()])?;
    rows.next()?.map(read).transpose()
}

pub(crate) fn all(
    connection: &Connection,
    organization: &OrganizationId,
) -> Result<Vec<RegisteredRegistry>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT id, format, document FROM registries WHERE organization = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([organization.as_str()])?;
    let mut registries = Vec::new();
    while let Some(row) = rows.next()? {
        registries.extend(readable(read(row))?);
    }
    Ok(registries)
}

pub(crate) fn read(row: &Row<'_>) -> Result<RegisteredRegistry, Failure> {
    Entry::new(TABLE, row.get::<_, String>("id")?, row)
        .in_format(FORMAT)?
        .json("document")
}

fn subject(organization: &OrganizationId, id: &RegistryId) -> String {
    format!("registry {id} of {organization}")
}
