//! Guards that the cost of each call does not grow with the stored data. It is counted in
//! instructions of SQLite's virtual machine, which include every scan, even those that no query
//! plan shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use choreo_deploy::conformance::{example_image, example_target};
use choreo_deploy::deployment::{Phase, RequestedImage, Subject};
use choreo_deploy::release::{DigestPin, Pinning, ReleaseDraft, ReleaseImage};
use choreo_deploy::store::{
    AcceptError, Claim, ClaimRequest, DeploymentStore as _, Idempotency, NewDeployment, NewRun,
    Outcome, Progress, RunOutcome, RunStore as _, SettingsChoice,
};
use choreo_deploy::workload::ManualTask;
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::SqliteStore;

const FEW: u64 = 4;
const MANY: u64 = 600;
/// A time at which every accepted deployment is due.
const LATER: u64 = 1_000_000_000;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Returns timestamps in the order of their numbers.
fn at(number: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(number).unwrap())
}

fn new(component: u64, number: u64) -> NewDeployment {
    let target = example_target(&format!("component-{component}"));
    let place = (target, "eu-1".parse().unwrap());
    let subject = Subject::Image(Box::new(RequestedImage::new(example_image(1))));
    let times = (at(number), Timestamp::MAX);
    let id = format!("d-{number}").parse().unwrap();
    let mut new = NewDeployment::new(id, place, subject, times);
    new.workload = Some(ManualTask::new().into());
    // The key has expired, so the next acceptances remove it.
    let over = at(number) + SECOND - Idempotency::SPARE;
    new.idempotency = Some(Idempotency::new(format!("key-{number}"), [1; 32], over));
    new
}

fn draft() -> ReleaseDraft {
    let image = example_image(1);
    let digest = image.digest().unwrap().to_owned();
    let image = ReleaseImage::unpinned(image).pinned(DigestPin::new(digest, Pinning::Claimed));
    ReleaseDraft::new(ManualTask::new().into(), image)
}

/// Counts each instruction of a connection.
fn count(connection: &mut Connection, spent: &Arc<AtomicU64>) {
    let counter = Arc::clone(spent);
    let step = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    let _ = connection.progress_handler(1, Some(step));
}

/// A store with a history, and the count of its writer's instructions.
struct Subjected {
    store: Arc<SqliteStore>,
    spent: Arc<AtomicU64>,
    next: u64,
    _directory: TempDir,
}

impl Subjected {
    /// Creates a store in which each component was deployed twice and is ready.
    async fn with(components: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choreo.db");
        let spent = Arc::new(AtomicU64::new(0));
        let store = SqliteStore::open_changed(&file, |connection| count(connection, &spent)).await;
        let store = Arc::new(store.unwrap());
        let mut next = 0;
        for _ in 0..2 {
            let mut tasks = JoinSet::new();
            for component in 0..components {
                let (store, number) = (Arc::clone(&store), next);
                next += 1;
                tasks.spawn(async move {
                    store.accept(new(component, number)).await.unwrap();
                    end(&store, LATER).await;
                });
            }
            tasks.join_all().await;
        }
        // They take away the keys that those out of order have left.
        for _ in 0..20 {
            store.accept(new(2, next)).await.unwrap();
            next += 1;
        }
        end(&store, LATER).await;
        Self {
            store,
            spent,
            next,
            _directory: directory,
        }
    }

    /// Returns the instructions of each step of a deployment and of a run.
    async fn costs(&mut self) -> Vec<(&'static str, u64)> {
        let mut costs = Vec::new();
        let mut note = |name| costs.push((name, self.spent.swap(0, Ordering::Relaxed)));
        let number = self.next;
        note("ignored");
        let store = &self.store;
        store.accept(new(1_000_000, number)).await.unwrap();
        note("accept for a new target");
        store.accept(new(1, number + 1)).await.unwrap();
        note("accept");
        store.accept(new(1, number + 2)).await.unwrap();
        note("accept in place of another");
        let claim = claim(store, number + 3).await;
        note("claim");
        let wait = Progress::new(Phase::Progressing, at(number + 3), at(number + 4));
        store.put_back(&claim, wait).await.unwrap();
        note("put back");
        end(store, number + 4).await;
        end(store, number + 4).await;
        note("claim, release and end, twice");
        let place = (example_target("component-1"), "eu-1".parse().unwrap());
        let times = (at(number + 5), Timestamp::MAX);
        let run = NewRun::new("r-1".parse().unwrap(), place, times);
        store.accept_run(run).await.unwrap();
        note("accept a run");
        let request = ClaimRequest::new("worker", at(number + 5), Timestamp::MAX);
        let run = store
            .claim(&request)
            .await
            .unwrap()
            .into_run()
            .unwrap()
            .claim;
        note("claim a run");
        let outcome = RunOutcome::new(
            choreo_deploy::run::RunPhase::Succeeded,
            Some(0),
            vec![],
            at(number),
        );
        store.finish_run(&run, outcome).await.unwrap();
        note("end a run");
        costs.remove(0);
        costs
    }
}

async fn claim(store: &SqliteStore, now: u64) -> Claim {
    let request = ClaimRequest::new("worker", at(now), Timestamp::MAX);
    store
        .claim(&request)
        .await
        .unwrap()
        .into_deployment()
        .unwrap()
        .claim
}

/// Claims the deployment that was due first, creates its release and ends it.
async fn end(store: &SqliteStore, now: u64) {
    let claim = claim(store, now).await;
    store
        .record_release(&claim, draft(), at(now))
        .await
        .unwrap();
    let outcome = Outcome::new(Phase::Ready, vec![], at(now));
    store.finish(&claim, outcome).await.unwrap();
}

/// Guards against a scan in a call: each acceptance used to read every target.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_costs_more_with_history() {
    let few = Subjected::with(FEW).await.costs().await;
    let many = Subjected::with(MANY).await.costs().await;
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        println!("{name}: {few} instructions, and {many} with {MANY} components");
    }
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        assert!(*few > 50, "{name} did nothing");
        assert!(*many <= few + few / 4, "{name}: {few} became {many}");
    }
}

/// Returns the number of pages in the log: a header of 32 bytes, and 24 bytes and 4,096 of each page
/// (<https://www.sqlite.org/fileformat.html#the_write_ahead_log>).
fn pages(directory: &TempDir) -> u64 {
    let log = std::fs::metadata(directory.path().join("choreo.db-wal")).unwrap();
    (log.len() - 32) / (24 + 4096)
}

/// Accepts all deployments in one commit. The writer is busy until all are queued.
async fn accept_together(store: &Arc<SqliteStore>, all: Vec<NewDeployment>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let busy = Arc::clone(store);
    let busy = tokio::spawn(async move {
        let mut began = Some(began);
        let work = move |_: &mut crate::writer::Session<'_>| {
            if let Some(began) = began.take() {
                began.send(()).unwrap();
            }
            Ok(wait.recv().unwrap_err())
        };
        busy.writer.call(work).await.unwrap();
    });
    begun.await.unwrap();
    let commits = store.writer.commits();
    let mut calls: Vec<_> = all.into_iter().map(|new| store.accept(new)).collect();
    // Without the budget of a task, which ends before all are queued.
    let queue = std::future::poll_fn(|context| {
        for call in &mut calls {
            assert!(call.as_mut().poll(context).is_pending());
        }
        std::task::Poll::Ready(())
    });
    tokio::task::unconstrained(queue).await;
    drop(go);
    for call in calls {
        call.await.unwrap();
    }
    busy.await.unwrap();
    assert_eq!(store.writer.commits(), commits + 2);
}

/// Guards the cost of a commit: each page in the log is two writes and a part of a checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn acceptances_write_few_pages() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let keep = |connection: &mut Connection| {
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .unwrap();
    };
    let store = Arc::new(SqliteStore::open_changed(&file, keep).await.unwrap());
    let mut next = 0;
    let mut some = |count| -> Vec<NewDeployment> {
        let numbers = next..next + count;
        next += count;
        // Neighbours in time are of components that are far from each other.
        numbers.map(|n| new(n * 37 % MANY, n)).collect()
    };
    for _ in 0..MANY / 100 {
        accept_together(&store, some(100)).await;
    }
    for _ in 0..MANY {
        end(&store, LATER).await;
    }
    for (count, at_most) in [(1, 14), (16, 26), (64, 44)] {
        let before = pages(&directory);
        accept_together(&store, some(count)).await;
        let pages = pages(&directory) - before;
        println!("{count} acceptances in one commit: {pages} pages");
        assert!(pages <= at_most, "{count}: {pages} pages");
    }
}

/// Guards that an acceptance that is refused for its settings writes nothing: a command that fails after a
/// write rolls its group back, and all commands of the group run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_choice_of_settings_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("choreo.db")).await;
    let store = store.unwrap();
    store.accept(new(1, 1)).await.unwrap();
    let written = async || {
        let written =
            |session: &mut crate::writer::Session<'_>| Ok(session.connection().total_changes());
        store.writer.call(written).await.unwrap()
    };
    for component in [1, 2] {
        let before = written().await;
        let mut refused = new(component, 2);
        refused.settings = SettingsChoice::Version(9);
        let error = store.accept(refused).await.unwrap_err();
        assert!(matches!(error, AcceptError::SettingsMissing(9)), "{error}");
        assert_eq!(written().await, before, "component {component}");
    }
    let before = written().await;
    store.accept(new(1, 3)).await.unwrap();
    assert!(
        written().await > before,
        "the control: an acceptance writes"
    );
}

/// The control: the count includes the scan of a foreign key, which no query plan shows.
#[test]
fn a_deferred_reference_without_an_index_is_a_scan() {
    let spent = |children: u64| {
        let mut connection = Connection::open_in_memory().unwrap();
        let schema = "CREATE TABLE parent (id TEXT PRIMARY KEY);
            CREATE TABLE child (parent TEXT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
            PRAGMA foreign_keys = ON";
        connection.execute_batch(schema).unwrap();
        for _ in 0..children {
            connection
                .execute("INSERT INTO child VALUES (NULL)", [])
                .unwrap();
        }
        let spent = Arc::new(AtomicU64::new(0));
        count(&mut connection, &spent);
        let both = "BEGIN; INSERT INTO child VALUES ('a'); INSERT INTO parent VALUES ('a'); COMMIT";
        connection.execute_batch(both).unwrap();
        spent.load(Ordering::Relaxed)
    };
    assert!(spent(1_000) > 10 * spent(10));
}
