//! Looks for rows that this version cannot read.

use choreo_deploy::store::Unreadable;
use rusqlite::{Connection, Row};

use crate::error::Failure;
use crate::{deployments, registries, releases, runs, settings, targets, tokens};

/// Tries every row of every table of records. The cost grows with all that is stored.
pub(crate) fn find(connection: &Connection) -> Result<Vec<Unreadable>, Failure> {
    let mut found = Vec::new();
    for (table, read) in READERS {
        let mut statement = connection.prepare_cached(&format!("SELECT * FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match read(row) {
                Err(Failure::Unreadable(row)) => found.push(row),
                other => other?,
            }
        }
    }
    Ok(found)
}

type Read = fn(&Row<'_>) -> Result<(), Failure>;

const READERS: [(&str, Read); 7] = [
    (deployments::TABLE, deployments::check),
    (registries::TABLE, |row| registries::read(row).map(drop)),
    (releases::TABLE, |row| releases::read(row).map(drop)),
    (runs::TABLE, |row| runs::read(row).map(drop)),
    (settings::TABLE, |row| settings::read(row).map(drop)),
    (targets::TABLE, |row| targets::read(row).map(drop)),
    (tokens::TABLE, |row| tokens::read(row).map(drop)),
];
