//! The threads that read, each with its own connection, so that no read waits for a write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::{fmt, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::Failure;
use crate::log::Gate;
use crate::queue::{self, Queue};
use crate::transaction::Begun;
use crate::{OpenError, schema};

/// The number of threads of a lane: while one is busy, the other responds.
const THREADS: usize = 2;
/// The maximum number of look-ups that share a snapshot. After each commit a new snapshot reads its
/// pages again, whatever the number of its look-ups.
const LOOK_UPS: usize = 16;
/// A list takes so long that it has its own snapshot.
const LISTS: usize = 1;

type Query = Box<dyn FnOnce(rusqlite::Result<&Connection>) + Send>;
type Queries = Arc<Queue<Query>>;

/// A handle to the threads that read. When it is dropped, they finish their queues and end.
///
/// Lists have a separate lane, so that they do not delay the lookup of a token.
#[derive(Debug)]
pub(crate) struct Readers {
    points: Lane,
    lists: Lane,
}

impl Readers {
    /// Opens the connections and starts the threads. The database must exist.
    pub(crate) fn start(path: &Path, gate: &Gate) -> Result<Self, OpenError> {
        Ok(Self {
            points: Lane::start(path, gate, LOOK_UPS)?,
            lists: Lane::start(path, gate, LISTS)?,
        })
    }

    /// Runs a query for a few rows by their keys.
    pub(crate) async fn call<F, T>(&self, ask: F) -> Result<T, Failure>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.points.call(ask).await
    }

    /// Runs a query for many rows.
    pub(crate) async fn scan<F, T>(&self, ask: F) -> Result<T, Failure>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.lists.call(ask).await
    }
}

struct Lane {
    queries: Queries,
    threads: Vec<JoinHandle<()>>,
}

impl Lane {
    fn start(path: &Path, gate: &Gate, group: usize) -> Result<Self, OpenError> {
        let mut lane = Self {
            queries: Arc::new(Queue::new()),
            threads: Vec::new(),
        };
        for _ in 0..THREADS {
            let connection = schema::open_reader(path)?;
            let (queries, gate) = (Arc::clone(&lane.queries), gate.clone());
            let thread = thread::Builder::new().name("choreo-sqlite-reader".to_owned());
            let thread = thread.spawn(move || {
                while let Some(taken) = queries.take(group) {
                    let _in = gate.enter();
                    answer(&connection, taken);
                }
            });
            let thread = thread.map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
            lane.threads.push(thread);
        }
        Ok(lane)
    }

    /// Runs a query in a transaction, so that the database does not change during the query.
    async fn call<F, T>(&self, ask: F) -> Result<T, Failure>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |snapshot| {
            let result = catch_unwind(AssertUnwindSafe(|| ask(snapshot?)));
            let _ = reply.send(result.unwrap_or_else(|_| Err(panicked())));
        });
        if !self.queries.push(queue::Lane::Outside, query).await {
            return Err(Failure::stopped());
        }
        answer.await.map_err(|_| Failure::stopped())?
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queries.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers queries in one snapshot, so that all statements of a query see the same state. The snapshot
/// begins after all of them were queued, so it includes every commit that came before one of them.
fn answer(connection: &Connection, queries: Vec<Query>) {
    let mut snapshot = None;
    for query in queries {
        let begun = match snapshot {
            Some(_) => Ok(()),
            None => Begun::to_read(connection).map(|begun| snapshot = Some(begun)),
        };
        query(begun.map(|()| connection));
        // After some errors SQLite rolls the transaction back, and the next query needs another.
        if connection.is_autocommit() {
            snapshot = None;
        }
    }
}

fn panicked() -> Failure {
    Failure::unavailable("query failed in an unexpected way")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Guards that long lists do not delay the lookup of a token.
    #[tokio::test]
    async fn long_lists_hold_no_look_up_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        let _writer = schema::open_writer(&file).unwrap();
        let readers = Arc::new(Readers::start(&file, &Gate::default()).unwrap());
        let mut ends = Vec::new();
        for _ in 0..2 * THREADS {
            let (end, ended) = channel::<()>();
            let readers = Arc::clone(&readers);
            tokio::spawn(async move {
                readers.scan(move |_| Ok(_ = ended.recv())).await.unwrap();
            });
            ends.push(end);
        }
        tokio::task::yield_now().await;
        let look_up = readers.call(|_| Ok(7));
        let found = tokio::time::timeout(Duration::from_secs(20), look_up).await;
        assert_eq!(found.expect("nothing waits for the lists").unwrap(), 7);
        let list = readers.scan(|_| Ok(()));
        let moment = Duration::from_millis(50);
        let held = tokio::time::timeout(moment, list).await;
        held.expect_err("the control: the lists are under way");
        drop(ends);
    }

    /// A store with one row, and readers of it.
    fn counted(directory: &tempfile::TempDir) -> (Connection, Arc<Readers>) {
        let file = directory.path().join("choreo.db");
        let writer = schema::open_writer(&file).unwrap();
        let table = "CREATE TABLE test (value INTEGER) STRICT; INSERT INTO test VALUES (1)";
        writer.execute_batch(table).unwrap();
        let readers = Arc::new(Readers::start(&file, &Gate::default()).unwrap());
        (writer, readers)
    }

    fn value(connection: &Connection) -> Result<i64, Failure> {
        let mut statement = connection.prepare_cached("SELECT value FROM test")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// After each commit a snapshot costs as much as the look-up.
    #[tokio::test]
    async fn look_ups_that_wait_together_share_a_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, readers) = counted(&directory);
        let mut ends = Vec::new();
        for _ in 0..THREADS {
            let (end, ended) = channel::<()>();
            let readers = Arc::clone(&readers);
            let (begun, beginning) = oneshot::channel();
            tokio::spawn(async move {
                let busy = move |_: &Connection| {
                    begun.send(()).unwrap();
                    Ok(_ = ended.recv())
                };
                readers.call(busy).await.unwrap();
            });
            beginning.await.unwrap();
            ends.push(end);
        }
        let first = readers.call(move |connection| {
            let found = value(connection)?;
            writer.execute("UPDATE test SET value = 2", [])?;
            Ok(found)
        });
        let second = readers.call(value);
        // One look at both puts them into the queue.
        let both = async { tokio::join!(first, second) };
        let free = async { drop(ends) };
        let ((first, second), ()) = tokio::join!(both, free);
        assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
        let later = readers.call(value).await.unwrap();
        assert_eq!(
            later, 2,
            "the control: a snapshot of its own shows the commit"
        );
    }

    /// Guards that a slow look-up delays only those that share its snapshot while the other thread waits.
    #[tokio::test]
    async fn threads_that_wait_share_the_queue() {
        let directory = tempfile::tempdir().unwrap();
        let (_writer, readers) = counted(&directory);
        for round in 0..20 {
            while readers.points.queries.waiting() < THREADS {
                tokio::task::yield_now().await;
            }
            let (end, ended) = channel::<()>();
            let slow = Arc::clone(&readers);
            let slow = tokio::spawn(async move { slow.call(move |_| Ok(_ = ended.recv())).await });
            let fast = (1..LOOK_UPS).map(|_| {
                let readers = Arc::clone(&readers);
                tokio::spawn(async move { readers.call(value).await })
            });
            let mut fast: Vec<_> = fast.collect();
            let last = fast.pop().expect("there are several");
            let last = tokio::time::timeout(Duration::from_secs(20), last).await;
            let last = last.unwrap_or_else(|_| panic!("round {round}: the look-up waits"));
            assert_eq!(last.unwrap().unwrap(), 1);
            drop(end);
            slow.await.unwrap().unwrap();
            for look_up in fast {
                look_up.await.unwrap().unwrap();
            }
        }
    }

    /// One that fails or panics must not fail those that share its snapshot.
    #[tokio::test]
    async fn a_look_up_whose_snapshot_ends_harms_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let (_writer, readers) = counted(&directory);
        let ends = readers.call(|connection| Ok(connection.execute_batch("ROLLBACK")?));
        let panics = readers.call(|_| -> Result<(), Failure> { panic!("a bug in a query") });
        let (ended, panicked, found) = tokio::join!(ends, panics, readers.call(value));
        ended.unwrap();
        assert!(panicked.is_err());
        assert_eq!(found.unwrap(), 1);
    }
}
