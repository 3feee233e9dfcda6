//! Guards the restart after a killed process, and which process migrates the schema.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use choreo_deploy::conformance::example_target;
use choreo_deploy::store::{
    ClaimRequest, DeploymentStore as _, NewRun, RunStore as _, StoreErrorKind,
};
use choreo_deploy_sqlite::{OpenError, SqliteStore};
use rusqlite::Connection;

use crate::common::{acme, at, claim, deployment_id, finish, new};

const FILE: &str = "CHOREO_SQLITE_CLAIM_FILE";

/// Starts a process that has claimed a deployment and a run for an hour and stays alive.
fn claim_in_child(file: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "restart::child", "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("claimed.")));
    child
}

#[tokio::test]
#[ignore = "runs as the process that is killed"]
async fn child() {
    let Ok(file) = std::env::var(FILE) else {
        return;
    };
    let store = SqliteStore::open_shared(file).await.unwrap();
    store.accept(new("report", 1, at(0))).await.unwrap();
    finish(&store, at(0)).await;
    let place = (example_target("report"), "eu-1".parse().unwrap());
    let run = NewRun::new("r-1".parse().unwrap(), place, (at(1), at(7200)));
    store.accept_run(run).await.unwrap();
    store.accept(new("orders", 2, at(1))).await.unwrap();
    let request = ClaimRequest::new("dead", at(2), at(3600));
    let request = request.with_limit(2);
    assert_eq!(store.claim(&request).await.unwrap().work.len(), 2);
    std::io::stdout().lock().write_all(b"claimed.\n").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

async fn claimed(store: &SqliteStore) -> (bool, bool) {
    let request = ClaimRequest::new("next", at(3), at(33)).with_limit(2);
    let claimed = store.claim(&request).await.unwrap();
    let run = claimed.clone().into_run();
    let deployment = claimed.into_deployment();
    let expected = |claimed: &choreo_deploy::store::ClaimedDeployment| {
        claimed.deployment.id == deployment_id(2)
    };
    assert!(deployment.as_ref().is_none_or(expected));
    (deployment.is_some(), run.is_some())
}

/// Guards that work continues immediately after a crash, without waiting for the lease of 30 s.
#[tokio::test]
async fn claims_of_a_process_that_is_dead_end_when_the_file_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    for (name, shared) in [("alone.db", false), ("shared.db", true)] {
        let file = directory.path().join(name);
        let mut child = claim_in_child(&file);
        if shared {
            // The control: the claims of the other process are valid while it lives.
            let beside = SqliteStore::open_shared(&file).await.unwrap();
            assert_eq!(claimed(&beside).await, (false, false), "{name}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = if shared {
            SqliteStore::open_shared(&file).await.unwrap()
        } else {
            SqliteStore::open(&file).await.unwrap()
        };
        assert_eq!(claimed(&store).await, (true, true), "{name}");
    }
}

#[tokio::test]
async fn a_claim_of_a_store_before_is_stale() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    let before = claim(&store, at(1)).await.unwrap().claim;
    drop(store);
    let store = SqliteStore::open(&file).await.unwrap();
    let error = store.renew(&before, at(90)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stale);
    let now = claim(&store, at(1)).await.unwrap().claim;
    assert!(now.fence > before.fence);
}

fn schema(file: &Path) -> i64 {
    let connection = Connection::open(file).unwrap();
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    version.unwrap()
}

fn set_schema(file: &Path, version: i64) {
    Connection::open(file)
        .unwrap()
        .pragma_update(None, "user_version", version)
        .unwrap();
}

/// Guards a running server against a newer program that migrates the schema.
#[tokio::test]
async fn a_newer_schema_stops_the_writing_of_a_store_that_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open_shared(&file).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    let known = schema(&file);
    set_schema(&file, 77);
    let error = store.accept(new("orders", 2, at(1))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "database has schema 77 now, and this version writes {known}: restart with the newer \
             version"
        )
    );
    assert!(store.ping().await.is_err());
    let second = store.deployment(&acme(), &deployment_id(2)).await;
    assert_eq!(second.unwrap(), None);
    set_schema(&file, known);
    store.accept(new("orders", 2, at(1))).await.unwrap();
}

#[tokio::test]
async fn an_older_schema_is_brought_forward_only_by_who_is_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().canonicalize().unwrap().join("choreo.db");
    let older = SqliteStore::open_shared(&file).await.unwrap();
    let known = schema(&file);
    // The file of a server of an older version.
    set_schema(&file, 0);
    let error = SqliteStore::open_shared(&file).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Older { found: 0, .. }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        format!(
            "database {file:?} has schema 0 and is open elsewhere: stop what has it open, so that \
             this version can bring it to schema {known}"
        )
    );
    drop(older);
    let error = SqliteStore::open_shared(&file).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Sqlite { .. }),
        "the tables of schema 1 are there, so the migration to it was tried: {error}"
    );
}

/// Guards that a read-only store creates no lock file next to an unused copy: a lock file of root
/// would exclude the server.
#[tokio::test]
async fn who_opens_to_read_only_makes_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let (file, copy) = (
        directory.path().join("choreo.db"),
        directory.path().join("copy.db"),
    );
    let store = SqliteStore::open(&file).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    store.close().await;
    std::fs::copy(&file, &copy).unwrap();

    let lock = directory.path().join("copy.db-lock");
    let reader = SqliteStore::open_read_only(&copy).await.unwrap();
    let read = async || {
        let read = reader.deployment(&acme(), &deployment_id(1)).await;
        assert!(read.unwrap().is_some());
    };
    read().await;
    assert!(!lock.exists());
    // A process that opens the file for writing creates the lock file, even beside a reader.
    let store = SqliteStore::open_shared(&copy).await.unwrap();
    read().await;
    assert!(lock.exists());
    drop(store);
    drop(reader);
    // The control: an existing lock file excludes readers while a process has exclusive access.
    let alone = SqliteStore::open(&copy).await.unwrap();
    let error = SqliteStore::open_read_only(&copy).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    drop(alone);
}

/// Guards that a read-only store changes nothing: it creates no file, ends no claim and migrates no
/// schema.
#[tokio::test]
async fn who_opens_to_read_only_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let error = SqliteStore::open_read_only(&file).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing(_)), "{error}");
    let made = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(made, 0, "no file is made");

    let mut child = claim_in_child(&file);
    let beside = SqliteStore::open_read_only(&file).await.unwrap();
    let seen = beside.deployment(&acme(), &deployment_id(2)).await.unwrap();
    assert!(seen.is_some(), "it sees what another process has open");
    drop(beside);
    child.kill().unwrap();
    child.wait().unwrap();

    let wal = directory.path().join("choreo.db-wal");
    let content = || (std::fs::read(&file).unwrap(), std::fs::read(&wal).unwrap());
    let before = content();
    let reader = SqliteStore::open_read_only(&file).await.unwrap();
    let error = reader.accept(new("orders", 3, at(2))).await.unwrap_err();
    assert!(
        matches!(&error, choreo_deploy::store::AcceptError::Store(error) if error.kind() == StoreErrorKind::Unavailable),
        "{error:?}"
    );
    drop(reader);
    assert_eq!(content(), before);
    // The control: a process that opens the file for writing ends the claims.
    let store = SqliteStore::open_shared(&file).await.unwrap();
    assert_eq!(claimed(&store).await, (true, true));
    drop(store);

    set_schema(&file, 1);
    let error = SqliteStore::open_read_only(&file).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Outdated { found: 1, .. }),
        "{error}"
    );
    assert_eq!(schema(&file), 1, "the schema stays as it is");
}
