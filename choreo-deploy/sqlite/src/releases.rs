//! Releases: immutable but for the pin, which is set once.

use choreo_deploy::id::ComponentId;
use choreo_deploy::release::{Pin, Release, ReleaseDraft, ReleaseNumber};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use serde_json::{Map, Value};

use crate::error::Failure;
use crate::row::{Entry, count, json, readable, stored};
use crate::workloads;
use crate::writer::Session;

pub(crate) const TABLE: &str = "releases";

/// The member of the document that is stored in a table of its own.
const WORKLOAD: &str = "workload";

fn select() -> String {
    format!("SELECT *, {} FROM releases", workloads::DOCUMENT)
}

/// Makes the next release of a component.
pub(crate) fn make(
    session: &Session<'_>,
    component: &ComponentId,
    draft: ReleaseDraft,
    at: Timestamp,
) -> Result<Release, Failure> {
    let newest: Option<i64> = session
        .prepare("SELECT max(number) FROM releases WHERE component = ?1")?
        .query_row([component.as_str()], |row| row.get(0))?;
    let newest = newest.and_then(|newest| ReleaseNumber::new(count(newest)));
    let number = newest.map_or(ReleaseNumber::FIRST, ReleaseNumber::next);
    let release = Release::new(component.clone(), number, draft, at);
    let mut document = serde_json::to_value(&release).map_err(|_| unwritable())?;
    let members = document.as_object_mut().ok_or_else(unwritable)?;
    members.remove(WORKLOAD);
    session.execute(
        "INSERT INTO releases (component, number, pin, format, document, workload)
         VALUES (:component, :number, :pin, :format, :document, :workload)",
        named_params! {
            ":component": component.as_str(),
            ":number": stored(number.get()),
            ":pin": release.image.pin.as_ref().map(json).transpose()?,
            ":format": release.format,
            ":document": json(&document)?,
            ":workload": workloads::store(session, &release.workload)?,
        },
    )?;
    Ok(release)
}

fn unwritable() -> Failure {
    Failure::conflict("release cannot be written as JSON")
}

/// Pins a release that is not pinned.
pub(crate) fn pin(
    session: &Session<'_>,
    component: &ComponentId,
    number: ReleaseNumber,
    pin: &Pin,
) -> Result<Release, Failure> {
    session.execute(
        "UPDATE releases SET pin = ?3 WHERE component = ?1 AND number = ?2 AND pin IS NULL",
        (component.as_str(), stored(number.get()), json(pin)?),
    )?;
    one(session.connection(), component, number)?
        .ok_or_else(|| Failure::not_found(format!("release {number} does not exist")))
}

pub(crate) fn one(
    connection: &Connection,
    component: &ComponentId,
    number: ReleaseNumber,
) -> Result<Option<Release>, Failure> {
    let sql = format!("{} WHERE component = ?1 AND number = ?2", select());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((component.as_str(), stored(number.get())))?;
    rows.next()?.map(read).transpose()
}

/// The newest of a component, newest first.
pub(crate) fn newest(
    connection: &Connection,
    component: &ComponentId,
    limit: usize,
) -> Result<Vec<Release>, Failure> {
    let sql = format!("{} WHERE component = ?1 ORDER BY number DESC", select());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([component.as_str()])?;
    let mut releases = Vec::new();
    while releases.len() < limit
        && let Some(row) = rows.next()?
    {
        releases.extend(readable(read(row))?);
    }
    Ok(releases)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Release, Failure> {
    let (component, number): (String, i64) = (row.get("component")?, row.get("number")?);
    let entry = Entry::new(TABLE, format!("{component}/{number}"), row);
    let entry = entry.in_format(Release::FORMAT.into())?;
    let mut document: Map<String, Value> = entry.json("document")?;
    document.insert(WORKLOAD.to_owned(), entry.json("workload_document")?);
    let release = serde_json::from_value(document.into());
    // The error would quote the document.
    let mut release: Release = release.map_err(|_| entry.unreadable("document is not valid"))?;
    release.image.pin = entry.optional_json("pin")?;
    Ok(release)
}
