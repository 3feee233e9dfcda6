//! The limit for the size of the write-ahead log.
//!
//! SQLite copies the growing log into the database, but restarts it only at a moment without
//! readers (<https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files>). If reads
//! always overlap, there is no such moment and the log keeps growing. So once the log is large, the
//! writer blocks new reads for as long as the current reads take.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use std::{fs, io};

use rusqlite::Connection;

use crate::schema;

/// The size of the log at which the writer blocks reads to restart it.
pub(crate) const LIMIT: u64 = 64 << 20;
/// The time for which the writer waits for readers of other programs, such as a backup.
const OTHERS: Duration = Duration::from_millis(100);

/// A gate that reads pass through. To restart the log, the writer closes it and waits for the
/// current reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<RwLock<()>>);

impl Gate {
    /// Enters the gate for one query.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of a database, from the view of the writer.
#[derive(Debug)]
pub(crate) struct Log {
    file: PathBuf,
    gate: Gate,
    limit: u64,
    /// The size at which the writer restarts the log next.
    next: u64,
}

impl Log {
    pub(crate) fn of(database: &Path, gate: Gate, limit: u64) -> Self {
        let mut file = database.as_os_str().to_owned();
        file.push("-wal");
        let file = file.into();
        Self {
            file,
            gate,
            limit,
            next: limit,
        }
    }

    /// Restarts the log if it is too large. Called after each commit.
    pub(crate) fn bound(&mut self, connection: &Connection) {
        let size = match fs::metadata(&self.file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return tracing::warn!(%error, "size of the log is not known"),
        };
        if size < self.next {
            // SQLite may have restarted the log itself.
            self.next = if size < self.limit {
                self.limit
            } else {
                self.next
            };
            return;
        }
        match self.begin_anew(connection) {
            Ok(true) => self.next = self.limit,
            // Another program has a long read. To wait for it after each commit would stop the
            // writer.
            Ok(false) => {
                self.next = size + self.limit;
                tracing::warn!(
                    bytes = size,
                    "log stays large: another program reads the database"
                );
            }
            Err(error) => {
                self.next = size + self.limit;
                tracing::warn!(%error, bytes = size, "log stays large");
            }
        }
    }

    /// Restarts the log. Returns `true` if it is now empty.
    fn begin_anew(&self, connection: &Connection) -> rusqlite::Result<bool> {
        // This copies most of the log while reads continue.
        checkpoint(connection, "PASSIVE")?;
        let _everybody_is_out = self.gate.0.write().unwrap_or_else(PoisonError::into_inner);
        connection.busy_timeout(OTHERS)?;
        let done = checkpoint(connection, "TRUNCATE");
        connection.busy_timeout(schema::BUSY_TIMEOUT)?;
        done
    }
}

/// Runs a checkpoint. Returns `true` if it completed
/// (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0).map(|busy| busy == 0))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::reader::Readers;
    use crate::signals::Signals;
    use crate::writer::Writer;

    const SMALL: u64 = 1 << 20;

    /// Writes 8 MiB while reads always overlap, and returns the maximum size of the log in bytes.
    async fn grown(limit: u64) -> u64 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        let connection = schema::open_writer(&file).unwrap();
        schema::take_over(&connection, &file).unwrap();
        connection
            .execute_batch("CREATE TABLE test (value BLOB) STRICT")
            .unwrap();
        let gate = Gate::default();
        let log = Log::of(&file, gate.clone(), limit);
        let signals = Arc::new(Signals::new());
        let writer = Writer::start(move || Ok(connection), signals, log);
        let writer = writer.await.unwrap();
        let readers = Arc::new(Readers::start(&file, &gate).unwrap());
        let mut largest = 0;
        let mut before = read_until_next(&readers).await;
        for _ in 0..128 {
            let write = |session: &mut crate::writer::Session<'_>| {
                session.execute("INSERT INTO test VALUES (zeroblob(65536))", [])?;
                Ok(())
            };
            // The next read begins before the previous one ends, if the gate permits it.
            let next = read_until_next(&readers).await;
            drop(std::mem::replace(&mut before, next));
            writer.call(write).await.unwrap();
            let size = fs::metadata(directory.path().join("choreo.db-wal"));
            largest = largest.max(size.unwrap().len());
        }
        drop(before);
        largest
    }

    /// Begins a read that ends when the sender is dropped or after 50 ms.
    async fn read_until_next(readers: &Arc<Readers>) -> mpsc::Sender<()> {
        let (done, over) = mpsc::channel();
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let readers = Arc::clone(readers);
        tokio::spawn(async move {
            let ask = move |connection: &Connection| {
                connection.query_row("SELECT count(*) FROM test", [], |_| Ok(()))?;
                _ = begun.send(());
                _ = over.recv_timeout(Duration::from_millis(50));
                Ok(())
            };
            readers.scan(ask).await.unwrap();
        });
        beginning.await.unwrap();
        done
    }

    /// Guards that overlapping reads do not let the log grow: two lists without a pause made it 865
    /// MiB large in 40 s.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_is_bounded_while_somebody_always_reads() {
        let bounded = grown(SMALL).await;
        assert!(bounded < 3 * SMALL, "the log had {bounded} bytes");
        // The control: without the limit, these reads prevent a restart of the log.
        let unbounded = grown(u64::MAX).await;
        assert!(unbounded > 7 * SMALL, "the log had only {unbounded} bytes");
    }
}
