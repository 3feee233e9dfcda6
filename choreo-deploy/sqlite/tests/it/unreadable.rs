//! Guards that rows that this version cannot read are skipped, reported and unchanged.

use std::time::Duration;

use choreo_deploy::Intake as _;
use choreo_deploy::conformance::example_target;
use choreo_deploy::deployer::RunRequest;
use choreo_deploy::deployment::{Cause, Phase, RequestedImage};
use choreo_deploy::intake::{IntakeErrorKind, Submission};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::store::{
    ClaimRequest, DeploymentQuery, DeploymentStore, RunStore, StoreErrorKind, TargetQuery,
};
use choreo_deploy_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::common::{acme, at, claim, deployment_id, finish, new};
use crate::silence::{Place, World};

/// Creates a store with a deployment for each change of its row, and one without a change.
async fn changed(changes: &[&str]) -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    for number in 1..=changes.len() as u64 + 1 {
        store
            .accept(new(&format!("component-{number}"), number, at(0)))
            .await
            .unwrap();
    }
    drop(store);
    let connection = Connection::open(&file).unwrap();
    let daemon = "INSERT INTO workloads VALUES (7, zeroblob(32), '{\"type\":\"daemon\"}')";
    connection.execute(daemon, []).unwrap();
    for (number, change) in (1..).zip(changes) {
        let sql = format!("UPDATE deployments SET {change} WHERE id = 'd-{number}'");
        assert_eq!(connection.execute(&sql, []).unwrap(), 1);
    }
    drop(connection);
    (SqliteStore::open(&file).await.unwrap(), directory)
}

const CHANGES: [&str; 5] = [
    "format = 2",
    "document = substr(document, 1, 40)",
    "phase = 'paused'",
    "reasons = '[{\"code\":\"hunter2\",\"message\":\"\"}]'",
    "workload = 7",
];

fn rows(directory: &TempDir) -> Vec<String> {
    let connection = Connection::open(directory.path().join("choreo.db")).unwrap();
    let sql = "SELECT concat(id, phase, reasons, release, changed_at, revision, format, document,
        workload) FROM deployments WHERE seq <= 4 ORDER BY seq";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn work_goes_on_past_them() {
    let (store, directory) = changed(&CHANGES).await;
    let before = rows(&directory);
    let claimed = claim(&store, at(1))
        .await
        .expect("the one that can be read");
    assert_eq!(claimed.deployment.id, deployment_id(6));
    assert!(claim(&store, at(1)).await.is_none());
    assert_eq!(
        store.next_due().await.unwrap(),
        Some(at(31)),
        "they are not due all the time"
    );
    // Later calls of people and machines do not change them either.
    for number in 1..=5 {
        let next = new(&format!("component-{number}"), 10 + number, at(2));
        let accepted = store
            .accept(next)
            .await
            .expect("a newer deployment is accepted");
        assert_eq!(accepted.deployment.generation.number, 2);
    }
    for _ in 1..=5 {
        finish(&store, at(3)).await;
    }
    assert_eq!(rows(&directory), before);
    // Only the workload of the fifth deployment is unreadable, so its readers still see its end.
    let fifth = store
        .deployment(&acme(), &deployment_id(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fifth.phase, Phase::Superseded);
}

#[tokio::test]
async fn they_are_reported_without_their_content() {
    let (store, _directory) = changed(&CHANGES).await;
    let reported = store.unreadable().await.unwrap();
    let reported: Vec<_> = reported
        .iter()
        .map(|row| format!("{} {}: {}", row.table, row.key, row.why))
        .collect();
    assert_eq!(
        reported,
        [
            "deployments d-1: format 2 is not known to this version",
            "deployments d-2: document is not valid at line 1 column 40",
            "deployments d-3: phase is not known",
            "deployments d-4: reasons is not valid at line 1 column 18",
            "deployments d-5: workload_document is not valid",
        ]
    );
}

/// Guards that all pages are read: there are more rows of each kind than one read takes.
#[tokio::test]
async fn they_are_found_among_many() {
    let (store, directory) = changed(&[]).await;
    let file = directory.path().join("choreo.db");
    for number in 2..=600 {
        let new = new(&format!("component-{number}"), number, at(0));
        store.accept(new).await.unwrap();
    }
    let connection = Connection::open(&file).unwrap();
    for (table, key) in [
        ("deployments", "seq"),
        ("settings", "target"),
        ("targets", "id"),
    ] {
        let sql = match table {
            "targets" => {
                "UPDATE targets SET deployment = '' WHERE id IN (256, 257, 600)".to_owned()
            }
            _ => format!("UPDATE {table} SET format = 2 WHERE {key} IN (256, 257, 600)"),
        };
        connection
            .pragma_update(None, "foreign_keys", false)
            .unwrap();
        assert_eq!(connection.execute(&sql, []).unwrap(), 3);
    }
    let found = store.unreadable().await.unwrap();
    let mut tables: Vec<_> = found.iter().map(|row| row.table).collect();
    tables.dedup_by_key(|table| *table);
    assert_eq!(tables, ["deployments", "settings", "targets"]);
    assert_eq!(found.len(), 9);
}

#[tokio::test]
async fn reading_one_says_what_is_wrong_and_lists_leave_it_out() {
    let (store, _directory) = changed(&CHANGES[..1]).await;
    let error = store
        .deployment(&acme(), &deployment_id(1))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(
        error.to_string(),
        "row \"d-1\" of deployments cannot be read: format 2 is not known to this version"
    );
    let listed = store
        .deployments(&DeploymentQuery::default().limit(1))
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, deployment_id(2));
}

#[tokio::test]
async fn what_can_be_read_again_is_worked_on_after_opening() {
    let (store, directory) = changed(&CHANGES[..1]).await;
    assert_eq!(finish(&store, at(1)).await.id, deployment_id(2));
    assert!(claim(&store, at(1)).await.is_none());
    drop(store);
    let file = directory.path().join("choreo.db");
    Connection::open(&file)
        .unwrap()
        .execute("UPDATE deployments SET format = 1 WHERE id = 'd-1'", [])
        .unwrap();
    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(
        claim(&store, at(1)).await.unwrap().deployment.id,
        deployment_id(1)
    );
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    assert_eq!(finish(&store, at(0)).await.phase, Phase::Ready);
    let place = || (example_target("orders"), "eu-1".parse().unwrap());
    for id in ["r-1", "r-2"] {
        let run = choreo_deploy::store::NewRun::new(id.parse().unwrap(), place(), (at(1), at(600)));
        store.accept_run(run).await.unwrap();
    }
    Connection::open(&file)
        .unwrap()
        .execute("UPDATE runs SET document = '{}' WHERE id = 'r-1'", [])
        .unwrap();
    let request = ClaimRequest::new("worker", at(2), at(32));
    let claimed = store
        .claim(&request)
        .await
        .unwrap()
        .into_run()
        .expect("the other one");
    assert_eq!(claimed.run.id.as_str(), "r-2");
    assert!(store.claim(&request).await.unwrap().work.is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(at(32)));
}

/// Guards that a permanent error is not reported as "try again", and that a run with such an error
/// ends with a reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_cannot_be_read_is_no_passing_failure() {
    let place = Place::healthy();
    let world = World::new(std::slice::from_ref(&place)).await;
    let ready = world.submit(&place).await;
    world.deployer.work_until_idle().await.unwrap();
    let run = world.deployer.run_task(RunRequest::new(place.key())).await;
    let run = run.unwrap();
    let connection = Connection::open(world.directory.path().join("choreo.db")).unwrap();
    let sql = "UPDATE registries SET format = 9";
    assert_eq!(connection.execute(sql, []).unwrap(), 1);
    drop(connection);

    let image = RequestedImage::new("registry.example.com/app:2".parse().unwrap());
    let submission = Submission::new(place.key(), image, Cause::Manual);
    let error = world.deployer.accept(submission).await.unwrap_err();
    assert_eq!(error.kind(), IntakeErrorKind::Internal);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        cause,
        "row \"registry-example-com\" of registries cannot be read: format 9 is not known to this \
         version"
    );

    let work = world.deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(2), work).await;
    let key = place.key();
    let waited = world.deployer.wait_run(&key, &run.id, Duration::ZERO);
    let found = waited.await.unwrap().unwrap();
    assert_eq!(
        found.reasons[0].code,
        ReasonCode::InternalError,
        "{found:?}"
    );
    let before = world.deployer.get(&place.key(), &ready.id).await.unwrap();
    assert_eq!(before.unwrap().phase, Phase::Ready);
}

/// Guards that an unreadable row hides no other target of the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_are_looked_at_past_a_release_that_cannot_be_read() {
    let place = Place::healthy();
    let world = World::new(std::slice::from_ref(&place)).await;
    world.submit(&place).await;
    world.deployer.work_until_idle().await.unwrap();
    let connection = Connection::open(world.directory.path().join("choreo.db")).unwrap();
    let sql = "UPDATE releases SET format = 9";
    assert_eq!(connection.execute(sql, []).unwrap(), 1);
    drop(connection);
    let page = world.deployer.orphans(&TargetQuery::default()).await;
    assert_eq!(page.unwrap().found, [], "it is as the catalog says");
}
