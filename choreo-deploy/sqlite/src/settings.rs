//! Versions of the settings of a target.

use choreo_deploy::document::Stored;
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{AcceptError, SettingsChoice};
use rusqlite::{Connection, Row};

use crate::error::Failure;
use crate::row::{Entry, FORMAT, count, json, readable, stored};
use crate::writer::Session;

pub(crate) const TABLE: &str = "settings";

/// The newest settings of a target.
pub(crate) const NEWEST: &str = "SELECT target, version, format, document FROM settings
    WHERE target = ?1 ORDER BY version DESC LIMIT 1";

/// The settings of a deployment, serialized as far as possible before the writer thread stores them.
#[derive(Debug)]
pub(crate) enum Choice {
    /// New settings, and their document.
    Now(Box<Settings>, String),
    Version(u64),
}

impl Choice {
    pub(crate) fn of(choice: &SettingsChoice) -> Result<Self, Failure> {
        match choice {
            SettingsChoice::Now(settings) => {
                Ok(Self::Now(Box::new(settings.clone()), json(settings)?))
            }
            SettingsChoice::Version(version) => Ok(Self::Version(*version)),
            // A choice that is unknown to this version cannot select known settings.
            _ => Err(Failure::conflict(
                "choice of settings is not known to this store",
            )),
        }
    }

    /// Returns an error if the target does not have the chosen version. A new target has none. Call this
    /// before the first write: a command that fails after a write rolls its group back.
    pub(crate) fn require(
        &self,
        session: &Session<'_>,
        target: Option<i64>,
    ) -> Result<(), Failure> {
        let Self::Version(version) = self else {
            return Ok(());
        };
        let exists = target.is_some()
            && session
                .prepare("SELECT 1 FROM settings WHERE target = ?1 AND version = ?2")?
                .exists((target, stored(*version)))?;
        if exists {
            Ok(())
        } else {
            Err(AcceptError::SettingsMissing(*version).into())
        }
    }

    /// Returns the version that a deployment uses. Settings that are new to the target get the next
    /// version; a chosen version exists.
    pub(crate) fn make(&self, session: &Session<'_>, target: i64) -> Result<u64, Failure> {
        match self {
            Self::Now(settings, document) => newest(session, target, (settings, document)),
            Self::Version(version) => Ok(*version),
        }
    }
}

fn newest(
    session: &Session<'_>,
    target: i64,
    (settings, document): (&Settings, &str),
) -> Result<u64, Failure> {
    let mut version = 0;
    {
        let mut statement = session.prepare(NEWEST)?;
        let mut rows = statement.query([target])?;
        if let Some(row) = rows.next()? {
            version = count(row.get("version")?);
            // Usually the documents are equal. Another version may have written equal settings
            // differently.
            let (format, known): (i64, Option<String>) =
                (row.get("format")?, row.get("document").ok());
            let same = format == FORMAT && known.as_deref() == Some(document);
            if same || readable(read(row))?.as_ref() == Some(settings) {
                return Ok(version);
            }
        }
    }
    let next = version + 1;
    session.execute(
        "INSERT INTO settings (target, version, format, document) VALUES (?1, ?2, ?3, ?4)",
        (target, stored(next), FORMAT, document),
    )?;
    Ok(next)
}

pub(crate) fn one(
    connection: &Connection,
    target: i64,
    version: u64,
) -> Result<Option<Settings>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT target, version, format, document FROM settings
         WHERE target = ?1 AND version = ?2",
    )?;
    let mut rows = statement.query((target, stored(version)))?;
    rows.next()?.map(read).transpose()
}

pub(crate) fn read(row: &Row<'_>) -> Result<Settings, Failure> {
    let (target, version): (i64, i64) = (row.get("target")?, row.get("version")?);
    let entry = Entry::new(TABLE, format!("{target}/{version}"), row).in_format(FORMAT)?;
    entry.json("document").map(|Stored(settings)| settings)
}
