//! The thread that writes and commits in groups.
//!
//! A commit waits for the disk, so its cost hardly depends on its size. The commands that are
//! queued during a commit share the next one. A command that fails changes nothing and does not
//! affect the others: if it fails after a change, its group is rolled back and runs again with a
//! savepoint around each command. Without failures there are no savepoints, which would be a fifth
//! of the cost of an acceptance.
//!
//! The rate of acceptances grows with the number of callers, and a worker does several consecutive
//! writes for each of them. So commands of the worker have a separate lane: they go first, they
//! join the current group, and a group with such a command is committed soon, however many
//! acceptances wait. See [`Share`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use std::{fmt, io, thread};

use rusqlite::{CachedStatement, Connection, Params};
use tokio::sync::oneshot;

use crate::OpenError;
use crate::error::{CommitError, Failure};
use crate::log::Log;
use crate::queue::{Lane, Queue};
use crate::schema;
use crate::share::Share;
use crate::signals::{Change, Signals};
use crate::transaction::Begun;

/// The maximum number of commands in a commit.
const GROUP: usize = 256;

type Commands = Queue<Box<dyn Command>>;

/// A handle to the thread that writes. When it is dropped, the thread finishes its queue and ends.
pub(crate) struct Writer {
    queue: Arc<Commands>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread and opens the connection on it.
    pub(crate) async fn start(
        open: impl FnOnce() -> Result<Connection, OpenError> + Send + 'static,
        signals: Arc<Signals>,
        log: Log,
    ) -> Result<Self, StartError> {
        let queue = Arc::new(Queue::new());
        let commands = Arc::clone(&queue);
        let (opened, opening) = oneshot::channel();
        let commits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&commits);
        let thread = thread::Builder::new().name("choreo-sqlite-writer".to_owned());
        let work = move || match open() {
            Ok(connection) => {
                let _ = opened.send(Ok(()));
                Worker {
                    connection,
                    queue: commands,
                    signals,
                    log,
                    commits: counter,
                    share: Share::default(),
                }
                .run();
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = Some(thread.spawn(work).map_err(StartError::Thread)?);
        let writer = Self {
            queue,
            thread,
            commits,
        };
        match opening.await {
            Ok(opened) => opened.map(|()| writer).map_err(StartError::Open),
            Err(_) => Err(StartError::Thread(io::Error::other("the thread has ended"))),
        }
    }

    /// Runs the work in a transaction, and returns once it is committed to the disk.
    ///
    /// The work runs even if the caller has dropped the future. It runs twice if another command of
    /// its group fails, so it depends on the database only.
    pub(crate) async fn call<F, T>(&self, work: F) -> Result<T, Failure>
    where
        F: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.call_in(Lane::Outside, work).await
    }

    /// Runs a command of a worker, which goes before all commands from outside.
    pub(crate) async fn call_first<F, T>(&self, work: F) -> Result<T, Failure>
    where
        F: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.call_in(Lane::Work, work).await
    }

    async fn call_in<F, T>(&self, lane: Lane, work: F) -> Result<T, Failure>
    where
        F: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call: Box<dyn Command> = Box::new(Call {
            work,
            result: None,
            reply,
        });
        if !self.queue.push(lane, call).await {
            return Err(Failure::stopped());
        }
        answer.await.map_err(|_| Failure::stopped())?
    }

    /// Returns the number of committed transactions.
    #[cfg(test)]
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("commits", &self.commits)
            .finish_non_exhaustive()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The reason why the writer did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    Open(OpenError),
    Thread(io::Error),
}

/// The context of a command: the connection in its transaction, and the list of changes to
/// announce.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    connection: &'c Connection,
    changes: Vec<Change>,
}

impl Session<'_> {
    pub(crate) fn connection(&self) -> &Connection {
        self.connection
    }

    pub(crate) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    pub(crate) fn execute(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.prepare(sql)?.execute(values)
    }

    /// Announces a change to its readers after the commit.
    pub(crate) fn changes(&mut self, change: Change) {
        self.changes.push(change);
    }
}

/// A unit of work that takes effect completely or not at all.
trait Command: Send {
    /// Runs the work, possibly for the second time. Returns `true` if its changes are kept.
    fn execute(&mut self, session: &mut Session<'_>) -> bool;

    /// Sends the result to the caller. `lost` is the reason if the group was not committed.
    fn answer(self: Box<Self>, lost: Option<&str>);
}

struct Call<F, T> {
    work: F,
    result: Option<Result<T, Failure>>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<F, T> Command for Call<F, T>
where
    F: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send,
    T: Send,
{
    fn execute(&mut self, session: &mut Session<'_>) -> bool {
        // Not the result of an earlier time, should it panic now.
        self.result = None;
        self.result = Some((self.work)(session));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, lost: Option<&str>) {
        let result = match lost {
            Some(why) => Err(Failure::unavailable(why)),
            None => self.result.unwrap_or_else(|| Err(panicked())),
        };
        // The caller may have dropped the receiver.
        let _ = self.reply.send(result);
    }
}

struct Worker {
    connection: Connection,
    queue: Arc<Commands>,
    signals: Arc<Signals>,
    log: Log,
    commits: Arc<AtomicU64>,
    share: Share,
}

impl Worker {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(outside) = self.queue.wait() {
            let lost = match self.commit(&mut group, outside) {
                Ok(changes) => {
                    self.signals.tell(&changes);
                    None
                }
                Err(error) => {
                    if group.is_empty() {
                        self.take_all(&mut group);
                    }
                    tracing::error!(%error, commands = group.len(), "commands were not committed");
                    Some(error.to_string())
                }
            };
            for command in group.drain(..) {
                command.answer(lost.as_deref());
            }
            self.log.bound(&self.connection);
        }
    }

    /// Runs a group of commands in one transaction, and returns their changes.
    fn commit(
        &mut self,
        group: &mut Vec<Box<dyn Command>>,
        outside: usize,
    ) -> Result<Vec<Change>, CommitError> {
        let began = Instant::now();
        let mut transaction = begin(&self.connection)?;
        let mut changes = Vec::new();
        // The first command that is not done yet in a savepoint, once there are savepoints.
        let mut apart = None;
        self.share.begin(outside);
        while group.len() < GROUP
            && let Some((lane, mut command)) = self.next()
        {
            let since = Instant::now();
            let is_clean = apart.is_some() || self.execute(&mut *command, &mut changes);
            group.push(command);
            if !is_clean {
                drop(transaction);
                transaction = begin(&self.connection)?;
                changes.clear();
                apart = Some(0);
            }
            if let Some(first) = &mut apart {
                for command in &mut group[*first..] {
                    self.execute_apart(&mut **command, &mut changes)?;
                }
                *first = group.len();
            }
            self.share.took(lane, since.elapsed());
        }
        transaction.commit()?;
        self.share.end(began.elapsed());
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(changes)
    }

    /// Returns the next command for the group: commands of the worker first, then those from
    /// outside while they have room.
    fn next(&self) -> Option<(Lane, Box<dyn Command>)> {
        if let Some(command) = self.queue.pop(Lane::Work) {
            return Some((Lane::Work, command));
        }
        let has_room = self.share.has_room();
        let command = has_room.then(|| self.queue.pop(Lane::Outside))??;
        Some((Lane::Outside, command))
    }

    /// Takes the queued commands, whose callers then get an error.
    fn take_all(&self, group: &mut Vec<Box<dyn Command>>) {
        for lane in [Lane::Work, Lane::Outside] {
            group.extend(std::iter::from_fn(|| self.queue.pop(lane)).take(GROUP));
        }
    }

    /// Runs a command without a savepoint. Returns `false` if the command fails after a change, which
    /// the caller then has to roll back.
    fn execute(&self, command: &mut dyn Command, changes: &mut Vec<Change>) -> bool {
        let before = self.connection.total_changes();
        match self.run_command(command) {
            Some(told) => {
                changes.extend(told);
                true
            }
            // After some errors SQLite rolls the whole transaction back.
            None => self.connection.total_changes() == before && !self.connection.is_autocommit(),
        }
    }

    /// Runs a command in its savepoint. An error concerns the whole transaction.
    fn execute_apart(
        &self,
        command: &mut dyn Command,
        changes: &mut Vec<Change>,
    ) -> rusqlite::Result<()> {
        let run = |sql| self.connection.prepare_cached(sql)?.execute([]).map(drop);
        run("SAVEPOINT command")?;
        match self.run_command(command) {
            Some(told) => changes.extend(told),
            // If the disk is full, SQLite rolls back the whole transaction itself. Then the
            // savepoint no longer exists, and this fails.
            None => run("ROLLBACK TO command")?,
        }
        run("RELEASE command")
    }

    /// Runs a command. Returns its changes, or `None` if it fails.
    fn run_command(&self, command: &mut dyn Command) -> Option<Vec<Change>> {
        let mut session = Session {
            connection: &self.connection,
            changes: Vec::new(),
        };
        // A panic is a bug in one command, which counts as a failure.
        let keep = catch_unwind(AssertUnwindSafe(|| command.execute(&mut session)));
        matches!(keep, Ok(true)).then_some(session.changes)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signals.close();
        self.queue.close();
        // The callers of dropped commands get no result and return an error.
        self.take_all(&mut Vec::new());
    }
}

/// Begins a transaction that writes by this version's schema.
fn begin(connection: &Connection) -> Result<Begun<'_>, CommitError> {
    let transaction = Begun::to_write(connection)?;
    schema::require_own(connection)?;
    Ok(transaction)
}

fn panicked() -> Failure {
    Failure::unavailable("command failed in an unexpected way: nothing was changed")
}

#[cfg(test)]
mod tests {
    use choreo_deploy::store::{StoreError, StoreErrorKind};
    use tempfile::TempDir;

    use super::*;
    use crate::log::Gate;

    /// Starts a writer with a small table.
    async fn writer(setup: &'static str) -> (Arc<Writer>, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        let log = Log::of(&file, Gate::default(), u64::MAX);
        let open = move || {
            let connection = schema::open_writer(&file)?;
            schema::take_over(&connection, &file)?;
            connection
                .execute_batch("CREATE TABLE test (value ANY) STRICT")
                .unwrap();
            connection.execute_batch(setup).unwrap();
            Ok(connection)
        };
        let writer = Writer::start(open, Arc::new(Signals::new()), log)
            .await
            .unwrap();
        (Arc::new(writer), directory)
    }

    fn insert(session: &Session<'_>, value: &str) -> Result<(), Failure> {
        Ok(session
            .execute("INSERT INTO test (value) VALUES (?1)", [value])
            .map(drop)?)
    }

    async fn values(writer: &Writer) -> Vec<String> {
        let list = |session: &mut Session<'_>| {
            let mut statement = session.prepare("SELECT value FROM test ORDER BY rowid")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        };
        writer.call(list).await.unwrap()
    }

    /// Blocks the thread until the sender is dropped.
    async fn occupy(writer: &Arc<Writer>) -> std::sync::mpsc::Sender<()> {
        let (go, wait) = std::sync::mpsc::channel();
        let (started, begun) = oneshot::channel();
        let writer = Arc::clone(writer);
        tokio::spawn(async move {
            let mut started = Some(started);
            let work = move |_: &mut Session<'_>| {
                if let Some(started) = started.take() {
                    started.send(()).unwrap();
                }
                wait.recv().unwrap_err();
                Ok(())
            };
            writer.call(work).await.unwrap();
        });
        begun.await.unwrap();
        go
    }

    /// Queues commands while the thread is blocked, so that they form one group.
    async fn in_one_group<T>(writer: &Arc<Writer>, calls: impl Future<Output = T>) -> T {
        let go = occupy(writer).await;
        let mut calls = std::pin::pin!(calls);
        // The first poll queues all commands. None can finish yet.
        let first = std::future::poll_fn(|context| {
            std::task::Poll::Ready(calls.as_mut().poll(context).is_pending())
        });
        assert!(first.await, "nothing is done yet");
        drop(go);
        calls.await
    }

    #[tokio::test]
    async fn commits_what_is_queued_at_once() {
        let (writer, _directory) = writer("").await;
        let go = occupy(&writer).await;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..600 {
            let writer = Arc::clone(&writer);
            calls.spawn(async move {
                writer
                    .call(move |session| insert(session, &number.to_string()))
                    .await
                    .unwrap();
            });
        }
        while writer.queue.len(Lane::Outside) < 600 {
            tokio::task::yield_now().await;
        }
        drop(go);
        calls.join_all().await;
        // One commit for the blocking command, and the others for 600 commands in groups of at most
        // 256.
        assert_eq!(writer.commits(), 1 + 3);
        assert_eq!(values(&writer).await.len(), 600);
    }

    #[tokio::test]
    async fn a_command_that_fails_leaves_nothing_and_harms_nobody() {
        let (writer, _directory) = writer("").await;
        let failing = |session: &mut Session<'_>| {
            insert(session, "half")?;
            Err::<(), _>(Failure::conflict("no"))
        };
        let (one, two, three) = in_one_group(&writer, async {
            tokio::join!(
                writer.call(|session| insert(session, "one")),
                writer.call(failing),
                writer.call(|session| insert(session, "three")),
            )
        })
        .await;
        assert!(one.is_ok() && three.is_ok());
        assert_eq!(
            StoreError::from(two.unwrap_err()).kind(),
            StoreErrorKind::Conflict
        );
        assert_eq!(values(&writer).await, ["one", "three"]);
    }

    /// A savepoint costs more than some commands, and they rarely fail.
    #[tokio::test]
    async fn a_group_has_savepoints_once_a_command_has_failed_half_way() {
        let (writer, _directory) = writer("").await;
        let in_savepoint = |session: &mut Session<'_>| -> Result<bool, Failure> {
            // It fails if there is no savepoint.
            let has = session.connection().execute_batch("RELEASE command");
            if has.is_ok() {
                session.connection().execute_batch("SAVEPOINT command")?;
            }
            insert(session, "kept")?;
            Ok(has.is_ok())
        };
        let early = |_: &mut Session<'_>| Err::<(), _>(Failure::conflict("nothing is changed"));
        let (one, two, three) = in_one_group(&writer, async {
            tokio::join!(
                writer.call(in_savepoint),
                writer.call(early),
                writer.call(in_savepoint),
            )
        })
        .await;
        assert!(two.is_err());
        assert_eq!((one.unwrap(), three.unwrap()), (false, false));

        let late = |session: &mut Session<'_>| {
            insert(session, "half")?;
            Err::<(), _>(Failure::conflict("no"))
        };
        let (one, two, three) = in_one_group(&writer, async {
            tokio::join!(
                writer.call(in_savepoint),
                writer.call(late),
                writer.call(in_savepoint),
            )
        })
        .await;
        assert!(two.is_err());
        assert_eq!((one.unwrap(), three.unwrap()), (true, true));
        assert_eq!(values(&writer).await, ["kept"; 4], "each is done once");
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_store_goes_on() {
        let (writer, _directory) = writer("").await;
        let panicking = |session: &mut Session<'_>| -> Result<(), Failure> {
            insert(session, "half")?;
            panic!("a bug in a command");
        };
        let error = StoreError::from(writer.call(panicking).await.unwrap_err());
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!(
            error.to_string(),
            "command failed in an unexpected way: nothing was changed"
        );
        writer
            .call(|session| insert(session, "next"))
            .await
            .unwrap();
        assert_eq!(values(&writer).await, ["next"]);
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_committed_is_lost_for_everybody() {
        let orphan = "CREATE TABLE orphan (
            parent INTEGER REFERENCES targets (id) DEFERRABLE INITIALLY DEFERRED) STRICT";
        let (writer, _directory) = writer(orphan).await;
        let breaking = |session: &mut Session<'_>| {
            Ok(session
                .execute("INSERT INTO orphan VALUES (7)", [])
                .map(drop)?)
        };
        let (good, bad) = in_one_group(&writer, async {
            tokio::join!(
                writer.call(|session| insert(session, "good")),
                writer.call(breaking)
            )
        })
        .await;
        for result in [good, bad] {
            let error = StoreError::from(result.unwrap_err());
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        }
        assert_eq!(values(&writer).await, [""; 0]);
        writer
            .call(|session| insert(session, "next"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_loses_nothing_that_was_answered() {
        let (writer, _directory) = writer("PRAGMA max_page_count = 120").await;
        let big = |session: &mut Session<'_>| insert(session, &"x".repeat(4 << 20));
        let (one, two, three) = in_one_group(&writer, async {
            tokio::join!(
                writer.call(|session| insert(session, "one")),
                writer.call(big),
                writer.call(|session| insert(session, "three")),
            )
        })
        .await;
        let error = StoreError::from(two.unwrap_err());
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        let mut kept = Vec::new();
        kept.extend(one.is_ok().then_some("one"));
        kept.extend(three.is_ok().then_some("three"));
        assert_eq!(values(&writer).await, kept);
        writer
            .call(|session| insert(session, "next"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_database_that_is_locked_is_unavailable_for_now() {
        let (writer, directory) = writer("PRAGMA busy_timeout = 20").await;
        let other = Connection::open(directory.path().join("choreo.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let result = writer.call(|session| insert(session, "locked out")).await;
        assert!(StoreError::from(result.unwrap_err()).is_retryable());
        other.execute_batch("ROLLBACK").unwrap();
        writer
            .call(|session| insert(session, "next"))
            .await
            .unwrap();
        assert_eq!(values(&writer).await, ["next"]);
    }

    #[tokio::test]
    async fn a_thread_that_is_gone_is_unavailable_at_once() {
        let (writer, _directory) = writer("").await;
        writer.queue.close();
        let error = StoreError::from(writer.call(|_| Ok(())).await.unwrap_err());
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!(error.to_string(), "store has stopped: open it again");
    }
}
