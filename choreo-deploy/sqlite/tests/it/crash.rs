//! Guards that acknowledged deployments survive: a process that accepts deployments is killed
//! repeatedly.
//!
//! The operating system keeps the writes of a killed process, so this does not test a loss of
//! power. `synchronous=FULL` protects against that and has its own test.

use std::io::{BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use choreo_deploy::store::DeploymentStore;
use choreo_deploy_sqlite::SqliteStore;

use crate::common::{acme, at, deployment_id, new};

const FILE: &str = "CHOREO_SQLITE_CRASH_FILE";
const FIRST: &str = "CHOREO_SQLITE_CRASH_FIRST";
const ROUNDS: u64 = 25;
/// More deployments than a round can accept.
const ROUND: u64 = 1_000_000;

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut child = accept_in_child(&file, round * ROUND);
        let ledger = BufReader::new(child.stdout.take().unwrap());
        let ledger = thread::spawn(move || ids(ledger));
        // The kill happens between the opening of the file and the middle of the burst.
        thread::sleep(Duration::from_millis(20 + 9 * (round * 7 % 25)));
        child.kill().unwrap();
        child.wait().unwrap();
        let ledger = ledger.join().unwrap();
        assert_there(&file, &ledger).await;
        acknowledged.extend(ledger);
    }
    assert!(
        acknowledged.len() > 100,
        "the rounds were too short: {}",
        acknowledged.len()
    );
    assert_there(&file, &acknowledged).await;
}

async fn assert_there(file: &Path, acknowledged: &[u64]) {
    let store = SqliteStore::open(file)
        .await
        .expect("the file opens after a kill");
    for id in acknowledged {
        let found = store
            .deployment(&acme(), &deployment_id(*id))
            .await
            .expect("reads");
        assert!(
            found.is_some(),
            "deployment {id} was acknowledged and is lost"
        );
    }
}

fn accept_in_child(file: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(FILE, file)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn ids(ledger: impl std::io::BufRead) -> Vec<u64> {
    // The last line may be incomplete; a complete one ends with a full stop.
    let whole = |line: String| {
        line.strip_prefix("acknowledged ")?
            .strip_suffix('.')?
            .parse()
            .ok()
    };
    ledger
        .lines()
        .map_while(Result::ok)
        .filter_map(whole)
        .collect()
}

#[tokio::test]
#[ignore = "runs as the process that is killed"]
async fn child() {
    let (Ok(file), Ok(first)) = (std::env::var(FILE), std::env::var(FIRST)) else {
        return;
    };
    let first: u64 = first.parse().unwrap();
    let store = Arc::new(SqliteStore::open(file).await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for number in (first + task..).step_by(8) {
                store.accept(new("orders", number, at(0))).await.unwrap();
                // One write per line, so that a kill cannot mix two lines.
                let line = format!("acknowledged {number}.\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    tasks.join_all().await;
}
