//! The table of releases. A release is immutable except for its pin, which is set once.

use choreo_deploy::id::ComponentKey;
use choreo_deploy::release::{DigestPin, Release, ReleaseDraft, ReleaseNumber};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use serde_json::{Map, Value};

use crate::error::Failure;
use crate::row::{Entry, count, json, readable, stored};
use crate::workloads::{self, Written};
use crate::writer::Session;

pub(crate) const TABLE: &str = "releases";

/// The field of the document that is stored in a separate table.
const WORKLOAD: &str = "workload";

fn select() -> String {
    format!("SELECT *, {} FROM releases", workloads::DOCUMENT)
}

/// Creates the next release of a component.
pub(crate) fn make(
    session: &Session<'_>,
    component: &ComponentKey,
    draft: ReleaseDraft,
    at: Timestamp,
) -> Result<Release, Failure> {
    let newest: Option<i64> = session
        .prepare("SELECT max(number) FROM releases WHERE organization = ?1 AND component = ?2")?
        .query_row(key(component), |row| row.get(0))?;
    let newest = newest.and_then(|newest| ReleaseNumber::new(count(newest)));
    let number = newest.map_or(ReleaseNumber::FIRST, ReleaseNumber::next);
    let release = Release::new(component.clone(), number, draft, at);
    let mut document = serde_json::to_value(&release).map_err(|_| unwritable())?;
    let members = document.as_object_mut().ok_or_else(unwritable)?;
    members.remove(WORKLOAD);
    session.execute(
        "INSERT INTO releases (organization, component, number, pin, format, document, workload)
         VALUES (:organization, :component, :number, :pin, :format, :document, :workload)",
        named_params! {
            ":organization": component.organization.as_str(),
            ":component": component.component.as_str(),
            ":number": stored(number.get()),
            ":pin": release.image.pin.as_ref().map(json).transpose()?,
            ":format": release.format,
            ":document": json(&document)?,
            ":workload": Written::of(&release.workload)?.store(session)?,
        },
    )?;
    Ok(release)
}

fn unwritable() -> Failure {
    Failure::conflict("release cannot be written as JSON")
}

/// Pins a release unless it is pinned.
pub(crate) fn pin(
    session: &Session<'_>,
    component: &ComponentKey,
    number: ReleaseNumber,
    pin: &DigestPin,
) -> Result<Release, Failure> {
    // The condition on `pin` keeps the first pin.
    session.execute(
        "UPDATE releases SET pin = :pin WHERE organization = :organization
             AND component = :component AND number = :number AND pin IS NULL",
        named_params! {
            ":organization": component.organization.as_str(),
            ":component": component.component.as_str(),
            ":number": stored(number.get()),
            ":pin": json(pin)?,
        },
    )?;
    one(session.connection(), component, number)?
        .ok_or_else(|| Failure::not_found(format!("release {number} does not exist")))
}

pub(crate) fn one(
    connection: &Connection,
    component: &ComponentKey,
    number: ReleaseNumber,
) -> Result<Option<Release>, Failure> {
    let sql = format!(
        "{} WHERE organization = ?1 AND component = ?2 AND number = ?3",
        select()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let [organization, component] = key(component);
    let mut rows = statement.query((organization, component, stored(number.get())))?;
    rows.next()?.map(read).transpose()
}

/// Returns the newest releases of a component, newest first.
pub(crate) fn newest(
    connection: &Connection,
    component: &ComponentKey,
    limit: usize,
) -> Result<Vec<Release>, Failure> {
    let sql = format!(
        "{} WHERE organization = ?1 AND component = ?2 ORDER BY number DESC",
        select()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(key(component))?;
    let mut releases = Vec::new();
    while releases.len() < limit
        && let Some(row) = rows.next()?
    {
        releases.extend(readable(read(row))?);
    }
    Ok(releases)
}

fn key(component: &ComponentKey) -> [&str; 2] {
    [
        component.organization.as_str(),
        component.component.as_str(),
    ]
}

pub(crate) fn read(row: &Row<'_>) -> Result<Release, Failure> {
    let organization: String = row.get("organization")?;
    let (component, number): (String, i64) = (row.get("component")?, row.get("number")?);
    let entry = Entry::new(TABLE, format!("{organization}/{component}/{number}"), row);
    let entry = entry.in_format(Release::FORMAT.into())?;
    let mut document: Map<String, Value> = entry.json("document")?;
    document.insert(WORKLOAD.to_owned(), entry.json("workload_document")?);
    let release = serde_json::from_value(document.into());
    // The source error would quote the document.
    let mut release: Release = release.map_err(|_| entry.unreadable("document is not valid"))?;
    release.image.pin = entry.optional_json("pin")?;
    Ok(release)
}
