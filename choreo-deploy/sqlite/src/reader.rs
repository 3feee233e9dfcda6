//! A few threads that read, each with a connection of its own, so that no read waits for a write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{fmt, thread};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::error::Failure;
use crate::{OpenError, schema};

/// One may be busy with a long list while the other answers.
const THREADS: usize = 2;
/// How many queries wait at most before callers wait to get in.
const QUEUE: usize = 1024;

type Query = Box<dyn FnOnce(&Connection) + Send>;
type Queries = Arc<Mutex<mpsc::Receiver<Query>>>;

/// The way to the threads that read. Dropping it ends them, after what is queued.
pub(crate) struct Readers {
    queue: Option<mpsc::Sender<Query>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Opens the connections and starts the threads. The database exists already.
    pub(crate) fn start(path: &Path) -> Result<Self, OpenError> {
        let (queue, queries) = mpsc::channel(QUEUE);
        let queries = Arc::new(Mutex::new(queries));
        let mut readers = Self {
            queue: Some(queue),
            threads: Vec::new(),
        };
        for _ in 0..THREADS {
            let (connection, queries) = (schema::open_reader(path)?, Arc::clone(&queries));
            let thread = thread::Builder::new().name("choreo-sqlite-reader".to_owned());
            let thread = thread.spawn(move || run(&connection, &queries));
            let thread = thread.map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Asks the database, which stands still for as long as one question takes.
    pub(crate) async fn call<F, T>(&self, ask: F) -> Result<T, Failure>
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

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, queries: &Queries) {
    loop {
        // The other threads wait for the lock instead of the queue; it is free once a query comes.
        let query = queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(query) = query else { break };
        query(connection);
    }
}

/// All statements of one question see the same state.
fn snapshot<T>(
    connection: &Connection,
    ask: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    ask(&transaction)
}

fn panicked() -> Failure {
    Failure::unavailable("query failed in an unexpected way")
}
