//! Every accepted deployment and run ends on every data plane. In virtual time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogLine, LogQuery, LogReader,
    RunIntent, TaskRunner,
};
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::clock::Clock;
use choreo_deploy::deployer::{DeployerParts, RunRequest};
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase, Provenance, RequestedImage};
use choreo_deploy::id::{ComponentKey, RunId};
use choreo_deploy::intake::{IntakeErrorKind, Submission};
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::rollout::RunStatus;
use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{NewRegistry, RegistryStore};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};
use choreo_registry::authentication::AuthenticationType;
use jiff::Timestamp;

use crate::layer::{self, Layer};

/// The difference of a data plane from the one in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// It has no fault.
    Well,
    /// It has a newer generation than the store issues.
    IsAhead,
    /// It rejects runs because their target was removed.
    RefusesRuns,
    /// It never answers calls for runs and logs.
    Hangs,
    /// It starts runs, but its answers are lost.
    LosesStarts,
    /// It starts runs, but their image does not exist.
    NeverPulls,
    /// It starts runs, but the image cannot be pulled at the first observations.
    PullsLate,
}

#[derive(Debug)]
struct Plane {
    how: How,
    /// The number of observations of runs.
    looks: AtomicU32,
    inner: InMemoryBackend,
}

fn stale(operation: &'static str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Stale,
        operation,
        "older than what is there",
    )
}

#[async_trait]
impl Layer for Plane {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        match self.how {
            How::IsAhead => Err(stale("apply")),
            _ => self.inner.apply(intent).await,
        }
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        match self.how {
            How::IsAhead => Err(stale("remove")),
            _ => self.inner.remove(target, generation).await,
        }
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        Some(self)
    }
}

#[async_trait]
impl TaskRunner for Plane {
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        match self.how {
            How::Hangs => std::future::pending().await,
            How::RefusesRuns => Err(stale("start")),
            How::LosesStarts => {
                self.inner.start(run).await?;
                let kind = BackendErrorKind::Timeout;
                Err(BackendError::new(kind, "start", "no answer"))
            }
            _ => self.inner.start(run).await,
        }
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        let status = self.inner.observe_run(target, run).await?;
        let reason = Reason::new(ReasonCode::ImageNotFound, "the image does not exist");
        let waits = RunStatus::new(RunPhase::Pending).with_reason(reason);
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(match self.how {
            How::NeverPulls if status.phase == Some(RunPhase::Succeeded) => waits.stuck(),
            How::PullsLate if looks < 3 => waits,
            _ => status,
        })
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        self.inner.cancel_run(target, run).await
    }
}

#[async_trait]
impl LogReader for Plane {
    async fn tail(&self, target: &Target, query: &LogQuery) -> Result<Vec<LogLine>, BackendError> {
        match self.how {
            How::Hangs => std::future::pending().await,
            _ => self.inner.tail(target, query).await,
        }
    }
}

/// A virtual clock.
#[derive(Debug)]
struct VirtualClock(tokio::time::Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + self.0.elapsed()
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A Manual Task `report` on such a data plane.
async fn deployer(how: How) -> Deployer {
    let project = Project::new(id("acme"), id("shop"));
    let component = Component::new(
        id("report"),
        project,
        ComponentType::ManualTask,
        id("images"),
    );
    let stage = Stage::new(
        Environment::new(id("dev"), id("eu-1")),
        DataPlane::new(id("eu-1")),
    );
    let plan = Plan::new(component, ManualTask::new()).then(stage);
    let store = crate::store::store();
    let registry = NewRegistry::new(
        (id("acme"), id("images")),
        "Images",
        "registry.example.com".parse().unwrap(),
        AuthenticationType::Vendor,
    );
    store.put_registry(registry, None).await.unwrap();
    let inner = InMemoryBackend::new();
    let plane = layer::backend(&Arc::new(Plane {
        how,
        looks: AtomicU32::new(0),
        inner,
    }));
    Deployer::new(DeployerParts {
        store,
        catalog: Arc::new(StaticCatalog::new([plan])),
        backends: Arc::new(HashMap::from([(id("eu-1"), plane)])),
        resolver: Arc::new(NeverResolver),
        sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
    })
    .with_clock(VirtualClock(tokio::time::Instant::now()))
}

fn report() -> ComponentKey {
    ComponentKey::new(id("acme"), id("report"))
}

fn submission(digit: &str, cause: Cause) -> Submission {
    let image = format!("registry.example.com/report@sha256:{}", digit.repeat(64));
    Submission::new(report(), RequestedImage::new(id(&image)), cause)
}

async fn read(deployer: &Deployer, deployment: &Deployment) -> Deployment {
    let read = deployer.get(&report(), &deployment.id).await;
    read.unwrap().unwrap()
}

/// Works for a time. Returns `true` if all work ended within it.
async fn ends_within(deployer: &Deployer, time: Duration) -> bool {
    let nothing_left = async {
        while deployer.store().next_due().await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = deployer.run(std::future::pending()) => false,
        () = nothing_left => true,
        () = tokio::time::sleep(time) => false,
    }
}

async fn run_of(how: How) -> (bool, Run) {
    let deployer = deployer(how).await;
    let image = submission("0", Cause::Manual);
    deployer.accept(image).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    let run = deployer.run_task(RunRequest::new(report())).await;
    let run = run.unwrap();
    let ended = ends_within(&deployer, Duration::from_secs(3 * 60 * 60)).await;
    let run = deployer.wait_run(&report(), &run.id, Duration::ZERO).await;
    (ended, run.unwrap().unwrap())
}

/// Guards that a restored store with older generations ends its deployments with a reason.
#[tokio::test(start_paused = true)]
async fn a_data_plane_that_is_ahead_of_the_store_ends_the_deployment_and_says_so() {
    let deployer = deployer(How::IsAhead).await;
    let accepted = deployer.accept(submission("0", Cause::Manual)).await;
    let deployment = accepted.unwrap().deployment;
    assert!(ends_within(&deployer, Duration::from_secs(10)).await);
    let deployment = read(&deployer, &deployment).await;
    assert_eq!(deployment.phase, Phase::Failed);
    assert_eq!(deployment.reasons[0].code, ReasonCode::NewerDeployment);
    assert_eq!(
        deployment.reasons[0].to_string(),
        "the data plane has a newer generation of the target: retry; if the store was restored or \
         replaced, raise its epoch first, and let no other control plane deploy here"
    );
}

#[tokio::test(start_paused = true)]
async fn a_removal_ends_on_a_data_plane_that_is_ahead_of_the_store() {
    let deployer = deployer(How::IsAhead).await;
    let accepted = deployer.accept(submission("0", Cause::Manual)).await;
    accepted.unwrap();
    let removed = deployer.remove(&report(), &id("dev")).await;
    let removal = removed.unwrap().deployment;
    assert!(ends_within(&deployer, Duration::from_secs(60 * 60)).await);
    assert_eq!(read(&deployer, &removal).await.phase, Phase::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_target_is_gone() {
    let (ended, run) = run_of(How::RefusesRuns).await;
    assert!(ended, "{run:?}");
    assert_eq!(run.phase, RunPhase::Failed);
    assert_eq!(run.reasons[0].code, ReasonCode::NewerDeployment);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_on_a_data_plane_that_does_not_answer() {
    let (ended, run) = run_of(How::Hangs).await;
    assert!(ended, "{run:?}");
    assert_eq!(run.phase, RunPhase::Failed);
    let codes: Vec<_> = run.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(
        codes,
        [
            ReasonCode::ProgressDeadlineExceeded,
            ReasonCode::BackendUnreachable
        ]
    );
}

/// Guards that a run whose start got no answer is observed before it is called cancelled.
#[tokio::test(start_paused = true)]
async fn a_run_whose_start_got_no_answer_is_not_called_cancelled_without_a_look() {
    let deployer = deployer(How::LosesStarts).await;
    let image = submission("0", Cause::Manual);
    deployer.accept(image).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    let run = deployer.run_task(RunRequest::new(report())).await;
    let run = run.unwrap();
    assert!(!ends_within(&deployer, Duration::from_millis(100)).await);
    let cancelled = deployer.cancel_run(&report(), &run.id).await.unwrap();
    assert_eq!(cancelled.phase, RunPhase::Pending);
    assert!(ends_within(&deployer, Duration::from_secs(60)).await);
    let run = deployer.wait_run(&report(), &run.id, Duration::ZERO).await;
    assert_eq!(run.unwrap().unwrap().phase, RunPhase::Succeeded);
}

/// Guards that a run does not wait for an image that does not exist.
#[tokio::test(start_paused = true)]
async fn a_run_that_can_never_start_is_ended_at_once() {
    let (ended, run) = run_of(How::NeverPulls).await;
    assert!(ended);
    assert_eq!(run.phase, RunPhase::Failed);
    assert_eq!(run.reasons[0].code, ReasonCode::ImageNotFound);
    let took = run.changed_at.duration_since(run.accepted_at);
    assert!(took.as_secs() < 10, "it took {took:#}");
}

/// Guards that a run survives a transient failure of a pull.
#[tokio::test(start_paused = true)]
async fn a_run_whose_image_comes_late_ends_well() {
    let (ended, run) = run_of(How::PullsLate).await;
    assert!(ended);
    assert_eq!(run.phase, RunPhase::Succeeded, "{run:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_well_on_a_good_data_plane() {
    let (ended, run) = run_of(How::Well).await;
    assert!(ended);
    assert_eq!(run.phase, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn logs_do_not_wait_for_ever() {
    let deployer = deployer(How::Hangs).await;
    let (component, query) = (report(), LogQuery::last(10));
    let tail = deployer.logs(&component, None, &query);
    let tail = tokio::time::timeout(Duration::from_secs(120), tail).await;
    let error = tail.expect("it gives up").unwrap_err();
    assert_eq!(error.kind(), IntakeErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        "data plane eu-1 does not show its logs now"
    );
}

/// Guards that a late retry of a pipeline does not replace the newer image of another deployment.
#[tokio::test(start_paused = true)]
async fn a_late_retry_does_not_bring_a_superseded_image_back() {
    let deployer = deployer(How::Well).await;
    let commit = |commit: &str| Provenance::new(Some(commit.to_owned()), None);
    let old = || submission("0", Cause::PushEvent).with_provenance(commit("old"));
    let new = submission("1", Cause::PushEvent).with_provenance(commit("new"));
    let first = deployer.accept(old()).await.unwrap();
    let newer = deployer.accept(new).await.unwrap();
    assert_eq!(newer.superseded, Some(first.deployment.id.clone()));

    let retried = deployer.accept(old()).await.unwrap();
    assert!(retried.replayed);
    assert_eq!(retried.deployment.id, first.deployment.id);
    assert_eq!(retried.deployment.phase, Phase::Superseded);
    deployer.work_until_idle().await.unwrap();
    assert_eq!(read(&deployer, &newer.deployment).await.phase, Phase::Ready);
}
