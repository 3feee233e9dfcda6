//! The threads that read, each with its own connection, so that no read waits for a write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{fmt, thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::Failure;
use crate::log::Gate;
use crate::{OpenError, schema};

/// The number of threads of a lane: while one is busy, the other responds.
const THREADS: usize = 2;
/// The maximum number of queued queries in a lane. Further callers wait.
const QUEUE: usize = 1024;

type Query = Box<dyn FnOnce(&Connection) + Send>;
type Queries = Arc<Mutex<mpsc::Receiver<Query>>>;

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
            points: Lane::start(path, gate)?,
            lists: Lane::start(path, gate)?,
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
    queue: Option<mpsc::Sender<Query>>,
    threads: Vec<JoinHandle<()>>,
}

impl Lane {
    fn start(path: &Path, gate: &Gate) -> Result<Self, OpenError> {
        let (queue, queries) = mpsc::channel(QUEUE);
        let queries = Arc::new(Mutex::new(queries));
        let mut lane = Self {
            queue: Some(queue),
            threads: Vec::new(),
        };
        for _ in 0..THREADS {
            let (connection, queries) = (schema::open_reader(path)?, Arc::clone(&queries));
            let gate = gate.clone();
            let thread = thread::Builder::new().name("choreo-sqlite-reader".to_owned());
            let thread = thread.spawn(move || run(&connection, &queries, &gate));
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
        let query: Query = Box::new(move |connection| {
            let result = catch_unwind(AssertUnwindSafe(|| snapshot(connection, ask)));
            let _ = reply.send(result.unwrap_or_else(|_| Err(panicked())));
        });
        let queue = self.queue.as_ref().ok_or_else(Failure::stopped)?;
        queue.send(query).await.map_err(|_| Failure::stopped())?;
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
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, queries: &Queries, gate: &Gate) {
    loop {
        // The other threads wait for the lock instead of the queue. It is released when a query
        // arrives.
        let query = queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(query) = query else { break };
        let _in = gate.enter();
        query(connection);
    }
}

/// A transaction makes all statements of one query see the same state.
fn snapshot<T>(
    connection: &Connection,
    ask: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let snapshot = Snapshot::begin(connection)?;
    ask(snapshot.0)
}

/// A read transaction. Its statements are prepared once, unlike those of rusqlite's transaction.
struct Snapshot<'c>(&'c Connection);

impl<'c> Snapshot<'c> {
    fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        Ok(Self(connection))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let end = self.0.prepare_cached("ROLLBACK");
        // This fails if SQLite has already rolled the transaction back.
        let _ = end.and_then(|mut end| end.execute([]));
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
}
