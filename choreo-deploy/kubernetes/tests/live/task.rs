//! Guards runs of tasks.

use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{DeploymentBackend, Intent, RunIntent, TaskRunner};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::RunId;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::release::Release;
use choreo_deploy::rollout::{RolloutPhase, RunStatus};
use choreo_deploy::run::{RunOverrides, RunPhase};
use choreo_deploy::workload::ManualTask;
use choreo_test_registry::TestRegistry;

use crate::cluster::{self, Backend, example, push, quick, release};

struct Task {
    backend: Backend,
    target: Target,
    release: Release,
}

impl Task {
    /// Deploys a Manual Task.
    async fn deployed(name: &str) -> Option<Self> {
        let config = cluster::config().await?;
        let registry = TestRegistry::builder()
            .start()
            .await
            .expect("a registry starts");
        let (target, release) = (
            example(name),
            release(ManualTask::new(), &push(&registry, "1", "10001")),
        );
        let backend = Backend::new(config, quick()).with_registry(registry);
        backend
            .apply(&Intent::new(&target, Generation::new(0, 1), &release))
            .await
            .unwrap();
        let rollout = backend.observe(&target).await.unwrap();
        assert_eq!(
            rollout.phase,
            RolloutPhase::Ready,
            "a Manual Task is ready when it can be run"
        );
        Some(Self {
            backend,
            target,
            release,
        })
    }

    async fn start(&self, run: &RunId, args: &[&str]) {
        let overrides = RunOverrides::args(args.iter().map(|arg| (*arg).to_owned()).collect());
        let intent = Intent::new(&self.target, Generation::new(0, 1), &self.release);
        let run = RunIntent::new(run, intent, &overrides);
        self.backend
            .inner
            .start(&run)
            .await
            .expect("the run starts");
    }

    async fn until(&self, run: &RunId, wanted: impl Fn(RunPhase) -> bool) -> RunStatus {
        for _ in 0..300 {
            let status = self
                .backend
                .inner
                .observe_run(&self.target, run)
                .await
                .unwrap();
            if status.phase.is_some_and(&wanted) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the run did not get there");
    }
}

#[tokio::test]
async fn run_ends_with_its_exit_code() {
    let Some(task) = Task::deployed("task").await else {
        return;
    };
    let (good, bad) = ("r-good".parse().unwrap(), "r-bad".parse().unwrap());
    task.start(&good, &["print", "done", "0"]).await;
    task.start(&bad, &["print", "no such account", "3"]).await;
    let ended = task.until(&good, RunPhase::is_final).await;
    assert_eq!(
        (ended.phase, ended.exit_code),
        (Some(RunPhase::Succeeded), Some(0))
    );
    let ended = task.until(&bad, RunPhase::is_final).await;
    assert_eq!(
        (ended.phase, ended.exit_code),
        (Some(RunPhase::Failed), Some(3)),
        "{ended:?}"
    );
    assert_eq!(ended.reasons[0].code, ReasonCode::RunFailed);
    assert_eq!(ended.reasons[0].message, "the run ended with exit code 3");
    assert_eq!(
        ended.reasons[0].evidence.as_ref().unwrap().as_str(),
        "no such account"
    );
}

#[tokio::test]
async fn cancelled_run_stays_cancelled_and_its_pod_goes() {
    let Some(task) = Task::deployed("cancel").await else {
        return;
    };
    let run = "r-cancel".parse().unwrap();
    task.start(&run, &["wait"]).await;
    task.until(&run, |phase| phase == RunPhase::Running).await;
    task.backend
        .inner
        .cancel_run(&task.target, &run)
        .await
        .unwrap();
    let ended = task.until(&run, RunPhase::is_final).await;
    assert_eq!(ended.phase, Some(RunPhase::Cancelled));
    for _ in 0..150 {
        if task.backend.list(&task.target, "pods").await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        task.backend.list(&task.target, "pods").await.is_empty(),
        "its pod is gone"
    );
    task.start(&run, &["wait"]).await;
    assert_eq!(
        task.backend
            .inner
            .observe_run(&task.target, &run)
            .await
            .unwrap(),
        ended
    );
}
