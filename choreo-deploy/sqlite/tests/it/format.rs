//! Guards the documents of format 1. A change here requires a new format, because otherwise old
//! files become unreadable.

use choreo_deploy::conformance::example_target;
use choreo_deploy::run::RunOverrides;
use choreo_deploy::store::{DeploymentStore, NewRun, RunStore};
use choreo_deploy_sqlite::SqliteStore;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::common::{at, finish, new};

#[tokio::test]
async fn documents_are_written_as_they_always_were() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    finish(&store, at(1)).await;
    let place = (example_target("orders"), "eu-1".parse().unwrap());
    let run = NewRun::new("r-1".parse().unwrap(), place, (at(2), at(600)));
    let run = run.with_overrides(RunOverrides::args(vec!["--now".to_owned()]));
    store.accept_run(run).await.unwrap();

    let connection = Connection::open(&file).unwrap();
    let document = |table: &str| -> Value {
        let sql = format!("SELECT document FROM {table} WHERE format = 1");
        let text: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(document("deployments"), deployment());
    assert_eq!(document("runs"), run_document());
    assert_eq!(document("settings"), json!({}));
}

fn target() -> Value {
    json!({
        "organization": "acme", "project": "shop", "component": "orders",
        "environment": "development",
    })
}

/// Guards the document of an accepted deployment. Later changes are in columns.
fn deployment() -> Value {
    let digest = format!("sha256:{:064x}", 1);
    let image = format!("registry.example.com/shop/app@{digest}");
    json!({
        "id": "d-1", "target": target(), "data_plane": "eu-1",
        "generation": { "epoch": 0, "number": 1 },
        "cause": "manual",
        "subject": { "image": { "reference": image, "as_written": image, "claimed": digest } },
        "settings_version": 1, "release": null, "phase": "accepted", "reasons": [],
        "provenance": {},
        "accepted_at": "2027-01-15T08:00:00Z", "deadline_at": "2027-01-15T08:10:00Z",
        "changed_at": "2027-01-15T08:00:00Z", "revision": 1,
    })
}

fn run_document() -> Value {
    json!({
        "id": "r-1", "target": target(), "data_plane": "eu-1",
        "generation": { "epoch": 0, "number": 1 },
        "release": 1, "settings_version": 1,
        "overrides": { "args": ["--now"], "variables": {} },
        "phase": "pending", "exit_code": null, "reasons": [],
        "accepted_at": "2027-01-15T08:00:02Z", "deadline_at": "2027-01-15T08:10:00Z",
        "cancel_requested": false, "changed_at": "2027-01-15T08:00:02Z", "revision": 1,
    })
}

/// Guards that a workload is stored once, not with each deployment and release.
#[tokio::test]
async fn a_workload_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("choreo.db");
    let store = SqliteStore::open(&file).await.unwrap();
    for number in 1..=3 {
        store.accept(new("orders", number, at(0))).await.unwrap();
        finish(&store, at(1)).await;
    }
    let connection = Connection::open(&file).unwrap();
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("releases"), count("workloads")), (3, 1));
    let sql = "SELECT document FROM workloads";
    let text: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let workload: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(workload["type"], "manual-task");
    for table in ["deployments", "releases"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE document LIKE '%manual-task%'");
        let with: i64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(with, 0, "{table}");
    }
    let releases = store
        .releases(&example_target("orders").component_key(), 9)
        .await
        .unwrap();
    for release in releases {
        assert_eq!(release.workload.component_type().as_str(), "manual-task");
    }
}
