//! The search for rows that this version cannot read.

use choreo_deploy::store::Unreadable;
use rusqlite::{Connection, Row};

use crate::error::Failure;
use crate::{deployments, registries, releases, runs, settings, targets, tokens, workloads};

/// The number of keys that one read covers, so that other reads do not wait for long.
const PAGE: i64 = 256;

/// A table of records, with its key, which is the order of reading, and its reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    name: &'static str,
    key: &'static str,
    has_workload: bool,
    read: fn(&Row<'_>) -> Result<(), Failure>,
}

impl Table {
    const fn with_workload(mut self) -> Self {
        self.has_workload = true;
        self
    }

    /// Reads the rows after a key. Returns the unreadable ones and the key to continue from.
    pub(crate) fn page(
        self,
        connection: &Connection,
        after: i64,
    ) -> Result<(Vec<Unreadable>, Option<i64>), Failure> {
        let Self {
            name, key, read, ..
        } = self;
        let columns = if self.has_workload {
            &format!("*, {}", workloads::DOCUMENT)
        } else {
            "*"
        };
        let last: Option<i64> = connection
            .prepare_cached(&format!("SELECT max({key}) FROM {name}"))?
            .query_row([], |row| row.get(0))?;
        // A range of keys bounds the rows of a read even if many keys in it are not used.
        let end = after.saturating_add(PAGE);
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {columns} FROM {name} WHERE {key} > ?1 AND {key} <= ?2 ORDER BY {key}"
        ))?;
        let mut rows = statement.query((after, end))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            match read(row) {
                Err(Failure::Unreadable(row)) => found.push(row),
                other => other?,
            }
        }
        Ok((found, last.filter(|last| *last > end).map(|_| end)))
    }
}

/// All tables of records.
pub(crate) const TABLES: [Table; 7] = [
    table(deployments::TABLE, "seq", deployments::check).with_workload(),
    table(registries::TABLE, "rowid", |row| {
        registries::read(row).map(drop)
    }),
    table(releases::TABLE, "rowid", |row| {
        releases::read(row).map(drop)
    })
    .with_workload(),
    table(runs::TABLE, "seq", |row| runs::read(row).map(drop)),
    table(settings::TABLE, "target", |row| {
        settings::read(row).map(drop)
    }),
    table(targets::TABLE, "id", |row| targets::read(row).map(drop)),
    table(tokens::TABLE, "rowid", |row| tokens::read(row).map(drop)),
];

const fn table(
    name: &'static str,
    key: &'static str,
    read: fn(&Row<'_>) -> Result<(), Failure>,
) -> Table {
    let has_workload = false;
    Table {
        name,
        key,
        has_workload,
        read,
    }
}
