use rusqlite::Connection;

/// A transaction, taken back when it is dropped without a commit. Its statements are compiled once,
/// unlike those of rusqlite's own.
pub(crate) struct Begun<'c>(&'c Connection);

impl<'c> Begun<'c> {
    /// A state of the database that no commit changes, from the first statement on.
    pub(crate) fn to_read(connection: &'c Connection) -> rusqlite::Result<Self> {
        run(connection, "BEGIN DEFERRED")?;
        Ok(Self(connection))
    }

    /// The one transaction that writes.
    pub(crate) fn to_write(connection: &'c Connection) -> rusqlite::Result<Self> {
        run(connection, "BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }

    pub(crate) fn commit(self) -> rusqlite::Result<()> {
        run(self.0, "COMMIT")
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // It is over after a commit, and where SQLite has taken it back by itself.
        if !self.0.is_autocommit() {
            let _ = run(self.0, "ROLLBACK");
        }
    }
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
