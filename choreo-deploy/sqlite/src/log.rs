//! Keeps the write-ahead log small.
//!
//! SQLite copies the log into the database as it grows, but begins it anew only at a moment when
//! nobody reads from it (<https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files>).
//! Under reads that always overlap there is no such moment, and the log grows for as long. So once
//! it is large, the writer holds those who read up, for as long as the questions under way take.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use std::{fs, io};

use rusqlite::Connection;

use crate::schema;

/// How large the log may become before readers are held up for it.
pub(crate) const LIMIT: u64 = 64 << 20;
/// How long readers of other programs, such as a backup, are waited for.
const OTHERS: Duration = Duration::from_millis(100);

/// Those who read from the log are in, and the one who begins it anew waits until all are out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<RwLock<()>>);

impl Gate {
    /// Goes in, for one question.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of a database, as the one who writes sees it.
#[derive(Debug)]
pub(crate) struct Log {
    file: PathBuf,
    gate: Gate,
    limit: u64,
    /// The size at which something is done next.
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

    /// Begins the log anew when it has become too large. Called after a commit.
    pub(crate) fn bound(&mut self, connection: &Connection) {
        let size = match fs::metadata(&self.file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return tracing::warn!(%error, "size of the log is not known"),
        };
        if size < self.next {
            // It may have begun anew by itself.
            self.next = if size < self.limit {
                self.limit
            } else {
                self.next
            };
            return;
        }
        match self.begin_anew(connection) {
            Ok(true) => self.next = self.limit,
            // A program that reads for long: to wait for it after each commit would stop the work.
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

    /// Says whether the log is empty now.
    fn begin_anew(&self, connection: &Connection) -> rusqlite::Result<bool> {
        // Most of the copying is done while the others go on reading.
        checkpoint(connection, "PASSIVE")?;
        let _everybody_is_out = self.gate.0.write().unwrap_or_else(PoisonError::into_inner);
        connection.busy_timeout(OTHERS)?;
        let done = checkpoint(connection, "TRUNCATE");
        connection.busy_timeout(schema::BUSY_TIMEOUT)?;
        done
    }
}

/// Says whether it went through (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
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

    /// Writes 8 MiB while there is never a moment without a reader, and returns how large the log
    /// was at most, in bytes.
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
            // The next reader is in before the one before goes, if the gate lets it in.
            let next = read_until_next(&readers).await;
            drop(std::mem::replace(&mut before, next));
            writer.call(write).await.unwrap();
            let size = fs::metadata(directory.path().join("choreo.db-wal"));
            largest = largest.max(size.unwrap().len());
        }
        drop(before);
        largest
    }

    /// Begins a question that is over when the sender is dropped, or after a moment.
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

    /// Two lists without a pause made it grow to 865 MiB in 40 s.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_is_bounded_while_somebody_always_reads() {
        let bounded = grown(SMALL).await;
        assert!(bounded < 3 * SMALL, "the log had {bounded} bytes");
        // The control: the readers above do keep a log from beginning anew.
        let unbounded = grown(u64::MAX).await;
        assert!(unbounded > 7 * SMALL, "the log had only {unbounded} bytes");
    }
}
