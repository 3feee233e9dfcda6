//! Guards that a removal removes everything.

use choreo_deploy::backend::{DeploymentBackend, Intent, RunIntent};
use choreo_deploy::deployment::Generation;
use choreo_deploy::rollout::RolloutPhase;
use choreo_deploy::workload::ManualTask;
use choreo_deploy_kubernetes::render_run;
use choreo_test_registry::TestRegistry;
use serde_json::Value;

use crate::cluster::{self, Backend, example, push, quick, release};

/// More than one page of the API server.
const RUNS: usize = 520;

#[tokio::test]
async fn removal_takes_more_jobs_than_one_list_has() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let registry = TestRegistry::builder()
        .start()
        .await
        .expect("a registry starts");
    let backend = Backend::new(config, quick());
    let image = push(&registry, "1", "10001");
    let (target, release) = (example("many"), release(ManualTask::new(), &image));
    let intent = Intent::new(&target, Generation::new(0, 1), &release);
    backend.apply(&intent).await.expect("it is applied");
    let jobs = (0..RUNS).map(|number| {
        let run = format!("r-{number}").parse().expect("an id");
        let overrides = Default::default();
        let run = RunIntent::new(&run, intent, &overrides);
        let job = render_run(&run, backend.inner.policy()).expect("it renders");
        let mut job = job.expose_manifest();
        // These Jobs need not run.
        job["spec"]["suspend"] = true.into();
        job
    });
    for job in jobs {
        backend.create(&target, "jobs", &job).await;
    }
    assert_eq!(backend.list(&target, "jobs").await.len(), RUNS);

    let removed = Generation::new(0, 2);
    backend
        .remove(&target, removed)
        .await
        .expect("it is removed");
    let rollout = backend.observe(&target).await.expect("it can be looked at");
    assert_eq!(rollout.phase, RolloutPhase::Absent);
    assert_eq!(backend.list(&target, "jobs").await, [] as [Value; 0]);
}
