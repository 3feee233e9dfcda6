//! Guards the due time of a run with a requested cancellation.

use choreo_deploy::conformance::example_target;
use choreo_deploy::run::RunPhase;
use choreo_deploy::store::{
    ClaimRequest, ClaimedRun, DeploymentStore, NewRun, RunProgress, RunStore,
};
use choreo_deploy_sqlite::SqliteStore;
use jiff::{SignedDuration, Timestamp};

use crate::common::{at, finish, new};

async fn claim_run(store: &SqliteStore, now: Timestamp) -> Option<ClaimedRun> {
    let request = ClaimRequest::new("worker", now, now + SignedDuration::from_secs(30));
    store.claim(&request).await.unwrap().into_run()
}

#[tokio::test]
async fn a_worker_hears_at_once_that_its_run_is_to_stop_and_then_sets_the_pace() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("choreo.db"))
        .await
        .unwrap();
    store.accept(new("orders", 1, at(0))).await.unwrap();
    finish(&store, at(0)).await;
    let place = (example_target("orders"), "eu-1".parse().unwrap());
    let run = NewRun::new("r-1".parse().unwrap(), place, (at(1), at(600)));
    let run = store.accept_run(run).await.unwrap();

    let unaware = claim_run(&store, at(1)).await.unwrap();
    store
        .request_cancel(&run.target.organization, &run.id, at(2))
        .await
        .unwrap();
    assert!(claim_run(&store, at(2)).await.is_none(), "the lease holds");
    let progress = |now, next| RunProgress::new(RunPhase::Running, at(now), at(next));
    store
        .put_back_run(&unaware.claim, progress(3, 60))
        .await
        .unwrap();
    let aware = claim_run(&store, at(3))
        .await
        .expect("due at once, not at 60");
    assert!(aware.run.cancel_requested);

    // Cancellation takes time. The worker knows of the request, so the run is due no earlier than
    // the worker has set.
    store
        .put_back_run(&aware.claim, progress(4, 9))
        .await
        .unwrap();
    assert!(claim_run(&store, at(8)).await.is_none());
    assert!(claim_run(&store, at(9)).await.is_some());
}
