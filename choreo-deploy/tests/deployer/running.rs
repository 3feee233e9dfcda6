//! Claims that are renewed or lost, pauses between attempts, and ends of deployments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, RunIntent, TaskRunner,
};
use choreo_deploy::clock::{Entropy, SystemEntropy};
use choreo_deploy::deployer::{DeployerOptions, RunRequest};
use choreo_deploy::deployment::{Cause, Generation, Phase};
use choreo_deploy::id::{DeploymentId, RunId};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::rollout::{Rollout, RolloutPhase, RunStatus};
use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::{InMemoryBackend, Intake as _, Target};
use choreo_registry::Digest;
use tokio::time::Instant;

use crate::layer::{self, Layer};
use crate::world::{World, codes, id, key, reason, service, submission, task};

/// A data plane that records the times of its calls, with settings for a test.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    pub(crate) inner: Arc<InMemoryBackend>,
    pub(crate) calls: Mutex<Vec<(&'static str, Instant)>>,
    pub(crate) failing: Mutex<Vec<(&'static str, BackendErrorKind)>>,
    /// The call that always panics.
    pub(crate) panics: Mutex<Option<&'static str>>,
    /// The duration of the start of a run.
    pub(crate) start_takes: Mutex<Duration>,
    /// The duration of an apply.
    pub(crate) apply_takes: Mutex<Duration>,
    /// The times at which applies were dropped or ended.
    pub(crate) apply_ended: Mutex<Vec<Instant>>,
    /// The time until which rollouts progress.
    ready_at: Mutex<Option<Instant>>,
    /// The status of a run until it is cancelled.
    pub(crate) run: Mutex<Option<RunStatus>>,
}

struct Ends<'a>(&'a Plane);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.apply_ended.lock().unwrap().push(Instant::now());
    }
}

impl Plane {
    pub(crate) fn fail(&self, call: &'static str, kind: BackendErrorKind, times: usize) {
        let failures = std::iter::repeat_n((call, kind), times);
        self.failing.lock().unwrap().extend(failures);
    }

    pub(crate) fn called(&self, call: &str) -> Vec<Instant> {
        let calls = self.calls.lock().unwrap();
        let calls = calls.iter().filter(|(name, _)| *name == call);
        calls.map(|(_, at)| *at).collect()
    }

    fn note(&self, call: &'static str) -> Result<(), BackendError> {
        self.calls.lock().unwrap().push((call, Instant::now()));
        let panics = *self.panics.lock().unwrap();
        assert_ne!(panics, Some(call), "as the test says");
        let mut failing = self.failing.lock().unwrap();
        match failing.iter().position(|(name, _)| *name == call) {
            Some(at) => {
                let (_, kind) = failing.remove(at);
                Err(BackendError::new(kind, call, "as the test says"))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Layer for Plane {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.note("apply")?;
        let _ends = Ends(self);
        let takes = *self.apply_takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        self.inner.apply(intent).await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.note("observe")?;
        let mut rollout = self.inner.observe(target).await?;
        let ready_at = *self.ready_at.lock().unwrap();
        if ready_at.is_some_and(|at| Instant::now() < at) {
            rollout.phase = RolloutPhase::Progressing;
        }
        Ok(rollout)
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.note("settle")?;
        self.inner.settle(target, generation).await
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.note("take back")?;
        self.inner.take_back(target, generation, before).await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.note("remove")?;
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }
}

#[async_trait]
impl TaskRunner for Plane {
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        self.note("start")?;
        let takes = *self.start_takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        self.inner.start(run).await
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        self.note("observe run")?;
        if let Some(said) = &*self.run.lock().unwrap() {
            return Ok(said.clone());
        }
        self.inner.observe_run(target, run).await
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        self.note("cancel")?;
        if let Some(said) = &mut *self.run.lock().unwrap() {
            *said = RunStatus::new(RunPhase::Cancelled);
            return Ok(());
        }
        self.inner.cancel_run(target, run).await
    }
}

/// The longest jitter, recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Longest(Arc<Mutex<Vec<Duration>>>);

impl Entropy for Longest {
    fn deployment_id(&self) -> DeploymentId {
        SystemEntropy.deployment_id()
    }

    fn run_id(&self) -> RunId {
        SystemEntropy.run_id()
    }

    fn jitter(&self, longest: Duration) -> Duration {
        self.0.lock().unwrap().push(longest);
        longest
    }
}

/// No jitter.
#[derive(Debug)]
struct NoPause;

impl Entropy for NoPause {
    fn deployment_id(&self) -> DeploymentId {
        SystemEntropy.deployment_id()
    }

    fn run_id(&self) -> RunId {
        SystemEntropy.run_id()
    }

    fn jitter(&self, _: Duration) -> Duration {
        Duration::ZERO
    }
}

async fn world() -> (World, Arc<Plane>) {
    let plane = Arc::new(Plane::default());
    let backend = layer::backend(&plane);
    let world = World::of(
        plane.inner.clone(),
        HashMap::from([(id("eu-1"), backend)]),
        [service("orders"), task()],
    )
    .await;
    (world, plane)
}

/// Returns a world in which the task is ready, and an accepted run of it.
pub(crate) async fn running(entropy: impl Entropy) -> (World, Arc<Plane>, Run) {
    let (mut world, plane) = world().await;
    world.deployer = world.deployer.clone().with_entropy(entropy);
    world.deploy("report", "report:1").await;
    let request = RunRequest::new(key("report"));
    let run = world.deployer.run_task(request).await.unwrap();
    (world, plane, run)
}

pub(crate) async fn ended(world: &World, run: &Run) -> Run {
    let working = world.deployer.work_until_idle();
    let day = Duration::from_secs(24 * 60 * 60);
    let worked = tokio::time::timeout(day, working).await;
    worked.expect("it ends").unwrap();
    let (deployer, owner) = (&world.deployer, key("report"));
    let run = deployer.wait_run(&owner, &run.id, Duration::ZERO).await;
    run.unwrap().unwrap()
}

fn down() -> ResolveError {
    ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryUnreachable),
        retry_after: None,
    }
}

/// Guards that the claim of an apply that outlasts the lease is renewed.
#[tokio::test(start_paused = true)]
async fn a_claim_holds_for_as_long_as_its_step_takes() {
    let (world, plane) = world().await;
    let options = DeployerOptions::default();
    *plane.apply_takes.lock().unwrap() = options.lease * 2 - Duration::from_secs(5);
    let deployment = world.submit("orders", "orders:1").await;
    let mut other = options;
    other.worker = "another".to_owned();
    let other = world.deployer.clone().with_options(other);
    let (one, two) = tokio::join!(world.deployer.work_until_idle(), other.work_until_idle());
    one.and(two).unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
    assert_eq!(plane.called("apply").len(), 1);
}

/// Guards that the step of a superseded deployment is dropped when its claim cannot be renewed.
#[tokio::test(start_paused = true)]
async fn a_step_whose_claim_is_lost_is_dropped() {
    let (world, plane) = world().await;
    *plane.apply_takes.lock().unwrap() = Duration::from_secs(55);
    world.submit("orders", "orders:1").await;
    let began = Instant::now();
    let working = world.deployer.run(std::future::pending());
    let newer = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        *plane.apply_takes.lock().unwrap() = Duration::ZERO;
        let newer = world.submit("orders", "orders:2").await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(world.read(&newer).await.phase, Phase::Ready);
    };
    tokio::select! {
        () = working => {}
        () = newer => {}
    }
    let ended = plane.apply_ended.lock().unwrap().clone();
    let last = ended.last().unwrap().duration_since(began).as_secs();
    assert_eq!((ended.len(), last), (2, 10), "a third of the lease");
}

/// Guards that a worker finishes its steps before it stops.
#[tokio::test(start_paused = true)]
async fn a_step_that_has_begun_ends_before_the_worker_stops() {
    let (world, plane) = world().await;
    *plane.apply_takes.lock().unwrap() = Duration::from_secs(8);
    let deployment = world.submit("orders", "orders:1").await;
    let stop = tokio::time::sleep(Duration::from_secs(3));
    world.deployer.run(stop).await;
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

/// Guards that a deployment is ready at the deadline without time to apply its digest.
#[tokio::test(start_paused = true)]
async fn what_is_ready_by_its_tag_at_the_deadline_is_ready_and_not_pinned() {
    let (world, plane) = world().await;
    let here = reason(ReasonCode::RegistryUnreachable);
    world.registry.will_say(ResolveError::NotCheckable(here), 1);
    let asked = "registry.example.com/shop/orders:1".parse().unwrap();
    let running = Digest::sha256_of(b"what the data plane pulled");
    world.backend.report_digest(asked, running);
    let deployment = world.submit("orders", "orders:1").await;
    let allowed = DeployerOptions::default().deployment_deadline;
    *plane.ready_at.lock().unwrap() = Some(Instant::now() + allowed);
    world.deployer.work_until_idle().await.unwrap();
    let deployment = world.read(&deployment).await;
    assert_eq!(deployment.phase, Phase::Ready, "{deployment:?}");
    assert_eq!(world.release(&deployment).await.image.pin, None);
    assert_eq!(plane.called("take back"), []);
}

/// Guards that many waiters do not retry at the same time.
#[tokio::test(start_paused = true)]
async fn pauses_are_by_chance_and_bounded() {
    let (mut world, _) = world().await;
    let (plain, options) = (world.deployer.clone(), DeployerOptions::default());
    world.deployer = plain.clone().with_entropy(NoPause);
    world.registry.will_say(down(), 8);
    let began = Instant::now();
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert!(began.elapsed() < Duration::from_secs(1));

    let longest = Longest::default();
    world.deployer = plain.with_entropy(longest.clone());
    world.registry.will_say(down(), 10);
    world.deploy("orders", "orders:2").await;
    let asked: Vec<u64> = longest
        .0
        .lock()
        .unwrap()
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(asked, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    assert_eq!(options.retry_longest.as_secs(), 60);
}

/// Guards that a registry that requests a pause of a day gets a few calls, which keep the reason.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_asked_for_is_honoured_within_reason() {
    let (world, _) = world().await;
    let tomorrow = ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryRateLimited),
        retry_after: Some(Duration::from_secs(24 * 60 * 60)),
    };
    world.registry.will_say(tomorrow, 2);
    let began = Instant::now();
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    let asked_for = DeployerOptions::default().retry_after_longest * 2;
    let took = began.elapsed();
    assert!(took >= asked_for && took < asked_for + Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_takes_long_is_looked_at_less_often() {
    let (world, plane) = world().await;
    let began = Instant::now();
    *plane.ready_at.lock().unwrap() = Some(began + Duration::from_secs(600));
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    let looks = plane.called("observe");
    let until = |seconds| {
        let before = |at: &&Instant| at.duration_since(began).as_secs() < seconds;
        looks.iter().filter(before).count()
    };
    assert!((25..=31).contains(&until(30)), "{} in 30 s", until(30));
    assert!(until(600) < 31 + 46 + 100, "{} in all", until(600));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_looked_at_again_soon_however_often_its_apply_failed() {
    let (mut world, plane) = world().await;
    world.deployer = world.deployer.clone().with_entropy(Longest::default());
    plane.fail("apply", BackendErrorKind::Unreachable, 5);
    plane.fail("observe", BackendErrorKind::Unreachable, 1);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    let looks = plane.called("observe");
    assert_eq!((looks[1] - looks[0]).as_secs(), 1);
}

/// Guards that a deployment is not ready if a newer generation runs.
#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_data_plane_when_it_settles_has_failed() {
    let (world, plane) = world().await;
    plane.fail("settle", BackendErrorKind::Stale, 1);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Failed);
    assert_eq!(codes(&deployment), [ReasonCode::NewerDeployment]);
}

/// Guards that a failed removal from the old data plane is reported and retried by the next deployment.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_from_the_old_data_plane_is_said() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    let mut moved = service("orders");
    for stage in &mut moved.stages {
        stage.data_plane.id = id("eu-2");
    }
    let new: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
    let old = layer::backend(&plane);
    let backends = HashMap::from([(id("eu-1"), old), (id("eu-2"), new)]);
    let deployer = world.over(backends, [moved]);
    plane.fail("remove", BackendErrorKind::PermissionDenied, 1);
    for (tag, is_left, said) in [
        (
            "2",
            true,
            "it is ready, but the previous workload is still on data plane eu-1: ",
        ),
        (
            "3",
            false,
            "the previous workload on data plane eu-1 was removed",
        ),
    ] {
        let image = submission("orders", &format!("orders:{tag}"), Cause::Manual);
        let accepted = deployer.accept(image).await.unwrap().deployment;
        deployer.work_until_idle().await.unwrap();
        let deployment = world.read(&accepted).await;
        assert_eq!(deployment.phase, Phase::Ready);
        let [reason] = deployment.reasons.as_slice() else {
            panic!("{:?}", deployment.reasons);
        };
        assert!(reason.message.starts_with(said), "{reason}");
        let left = plane.inner.shown(&deployment.target).is_some();
        assert_eq!(left, is_left);
    }
}
