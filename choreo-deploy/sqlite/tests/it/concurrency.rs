//! Guards the contracts under concurrent calls.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::conformance::example_target;
use choreo_deploy::deployment::Phase;
use choreo_deploy::store::{DeploymentQuery, DeploymentStore, Idempotency};
use choreo_deploy_sqlite::SqliteStore;
use tokio::task::JoinSet;

use crate::common::{acme, at, claim, deployment_id, finish, new};

async fn store() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("choreo.db"))
        .await
        .unwrap();
    (Arc::new(store), directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_from_64_tasks_is_one_deployment() {
    let (store, _directory) = store().await;
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut new = new("orders", number, at(0));
            new.idempotency = Some(Idempotency::new("key", [1; 32], at(600)));
            store.accept(new).await.unwrap()
        });
    }
    let accepted = tasks.join_all().await;
    let ids: HashSet<_> = accepted
        .iter()
        .map(|accepted| &accepted.deployment.id)
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        accepted
            .iter()
            .filter(|accepted| !accepted.replayed)
            .count(),
        1
    );
    let stored = store
        .deployments(&DeploymentQuery::default())
        .await
        .unwrap();
    assert_eq!(stored.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_of_a_target_have_no_gap_and_the_last_one_wins() {
    let (store, _directory) = store().await;
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.accept(new("orders", number, at(0))).await.unwrap() });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|accepted| accepted.deployment.generation);
    let numbers = all
        .iter()
        .map(|accepted| accepted.deployment.generation.number);
    assert!(numbers.eq(1..=200));
    let newest = &all[199].deployment;
    let query = DeploymentQuery::of_target(example_target("orders")).limit(200);
    for deployment in store.deployments(&query).await.unwrap() {
        let expected = if deployment.id == newest.id {
            Phase::Accepted
        } else {
            Phase::Superseded
        };
        assert_eq!(deployment.phase, expected, "{}", deployment.id);
    }
    assert_eq!(claim(&store, at(0)).await.unwrap().deployment.id, newest.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_target_is_claimed_by_one() {
    let (store, _directory) = store().await;
    for number in 0..50 {
        store
            .accept(new(&format!("component-{number}"), number, at(0)))
            .await
            .unwrap();
    }
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut mine = Vec::new();
            while let Some(claimed) = claim(&store, at(1)).await {
                mine.push(claimed.deployment.id);
            }
            mine
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 50);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_waits_is_told_of_each_end() {
    let (store, _directory) = store().await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        store
            .accept(new(&format!("component-{number}"), number, at(0)))
            .await
            .unwrap();
        for _ in 0..10 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let id = deployment_id(number);
                let mut since = 0;
                loop {
                    let now = store
                        .changed(&acme(), &id, since)
                        .await
                        .unwrap()
                        .expect("it is there");
                    if now.phase.is_final() {
                        return;
                    }
                    since = now.revision;
                }
            });
        }
    }
    for _ in 0..20 {
        finish(&store, at(1)).await;
    }
    tokio::time::timeout(Duration::from_secs(20), tasks.join_all())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_whole_and_in_order() {
    let (store, _directory) = store().await;
    let mut tasks = JoinSet::new();
    for number in 0..600 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.accept(new("orders", number, at(0))).await.unwrap() });
    }
    tasks.join_all().await;
    for (limit, expected) in [(600, 600), (1000, 600), (256, 256), (257, 257), (0, 50)] {
        let query = DeploymentQuery::of_target(example_target("orders")).limit(limit);
        let listed = store.deployments(&query).await.unwrap();
        let numbers: Vec<_> = listed.iter().map(|one| one.generation.number).collect();
        let newest_first: Vec<_> = (1..=600).rev().take(expected).collect();
        assert_eq!(numbers, newest_first, "limit {limit}");
    }
}
