//! Registered registries.

use choreo_deploy::id::{OrganizationId, RegistryId};
use choreo_deploy::store::RegisteredRegistry;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::audit;
use crate::error::Failure;
use crate::row::{Entry, FORMAT, count, json, readable, stored};
use crate::writer::Session;

pub(crate) const TABLE: &str = "registries";

pub(crate) fn put(
    session: &Session<'_>,
    registry: &RegisteredRegistry,
    at: Timestamp,
) -> Result<(), Failure> {
    refuse_conflict(session, registry)?;
    session.execute(
        "INSERT INTO registries (id, organization, credential_version, format, document)
         VALUES (:id, :organization, :credential_version, :format, :document)
         ON CONFLICT (id) DO UPDATE SET credential_version = excluded.credential_version,
             document = excluded.document",
        named_params! {
            ":id": registry.id.as_str(),
            ":organization": registry.organization.as_str(),
            ":credential_version": stored(registry.credential_version),
            ":format": FORMAT,
            ":document": json(registry)?,
        },
    )?;
    audit::Entry::new(
        at,
        "registry-put",
        subject(&registry.organization, &registry.id),
    )
    .with(format!(
        "credential version {}",
        registry.credential_version
    ))
    .write(session)
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

fn refuse_conflict(session: &Session<'_>, new: &RegisteredRegistry) -> Result<(), Failure> {
    let known = session
        .prepare("SELECT organization, credential_version, format FROM registries WHERE id = ?1")?
        .query_row([new.id.as_str()], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get(1).map(count)?,
                row.get::<_, i64>(2)?,
            ))
        })
        .optional()?;
    let Some((organization, version, format)) = known else {
        return Ok(());
    };
    if organization != new.organization.as_str() {
        return Err(Failure::conflict(format!(
            "registry id {} is taken",
            new.id
        )));
    }
    if version > new.credential_version {
        let message = format!(
            "registry {} has credential version {version} already",
            new.id
        );
        return Err(Failure::conflict(message));
    }
    if format != FORMAT {
        let message = format!(
            "registry {} is stored in format {format}, which this version does not know: \
             remove it first to replace it",
            new.id
        );
        return Err(Failure::conflict(message));
    }
    Ok(())
}

fn subject(organization: &OrganizationId, id: &RegistryId) -> String {
    format!("registry {id} of {organization}")
}
