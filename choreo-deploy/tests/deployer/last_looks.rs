//! Deployments whose data plane gives no answer at their deadline.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{BackendError, BackendErrorKind, DeploymentBackend as _};
use choreo_deploy::deployment::{Deployment, Phase};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::rollout::Rollout;
use choreo_deploy::{Deployer, InMemoryBackend, Target};
use tokio::time::Instant;

use crate::layer::{self, Layer};
use crate::plane::{self, Plane};
use crate::world::{World, codes, id, key, service};

const MINUTE: Duration = Duration::from_secs(60);

async fn works(deployer: &Deployer, time: Duration) {
    let _ = tokio::time::timeout(time, deployer.run(std::future::pending())).await;
}

/// Returns a deployment that is applied and that no step has observed for some time.
async fn unobserved(time: Duration) -> (World, Arc<Plane>, Deployment) {
    let (world, plane) = plane::world().await;
    plane.hang();
    let deployment = world.submit("orders", "orders:1").await;
    works(&world.deployer, Duration::from_secs(3)).await;
    tokio::time::sleep(time).await;
    (world, plane, deployment)
}

/// Guards that one failed observation after a downtime of the control plane does not stop a ready
/// rollout, also if the downtime ends after the grace.
#[tokio::test(start_paused = true)]
async fn one_failed_look_after_the_deadline_times_nothing_out() {
    for (minutes, call) in [(16, "observe"), (60, "observe"), (16, "settle")] {
        let (world, plane, deployment) = unobserved(minutes * MINUTE).await;
        plane.fail(call, BackendErrorKind::Unreachable, 1);
        world.deployer.work_until_idle().await.unwrap();
        let ended = world.read(&deployment).await;
        assert_eq!(ended.phase, Phase::Ready, "{minutes} {call}: {ended:?}");
        assert_eq!(ended.reasons, []);
        let calls = ["apply", "take back"].map(|call| plane.called(call));
        assert_eq!(calls, [1, 0], "nothing is applied after the deadline");
    }
}

/// Guards that the last look ends, and that its retries last as long as the grace.
#[tokio::test(start_paused = true)]
async fn a_data_plane_without_an_answer_ends_the_last_look_with_the_grace() {
    let (world, plane, deployment) = unobserved(14 * MINUTE).await;
    plane.fail("observe", BackendErrorKind::Unreachable, 10_000);
    world.deployer.work_until_idle().await.unwrap();
    let ended = world.read(&deployment).await;
    assert_eq!(ended.phase, Phase::TimedOut);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::BackendUnreachable,
        ReasonCode::TakenBack,
    ];
    assert_eq!(codes(&ended), expected);
    let took = ended.changed_at.duration_since(ended.deadline_at).as_secs();
    assert!((300..330).contains(&took), "{took} s after the deadline");
}

/// Guards that a process without a connection to the data plane does not decide for the others.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_not_connected_times_nothing_out() {
    let (world, plane, deployment) = unobserved(16 * MINUTE).await;
    let unconnected = world.over(HashMap::new(), [service("orders")]);
    let unconnected = unconnected.with_clock(world.clock);
    works(&unconnected, MINUTE).await;
    let waits = world.read(&deployment).await;
    assert_eq!(waits.phase, Phase::Progressing);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::BackendUnreachable,
    ];
    assert_eq!(codes(&waits), expected);
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
    assert_eq!(plane.called("take back"), 0);
}

/// A data plane whose next observations panic, and that gives no answer from a time to another.
#[derive(Debug)]
struct Troubled {
    inner: Arc<InMemoryBackend>,
    panics: AtomicUsize,
    hangs: Range<Instant>,
}

impl Troubled {
    fn new(panics: usize, hangs: Range<Duration>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            inner: Arc::new(InMemoryBackend::new().with_delay(MINUTE)),
            panics: AtomicUsize::new(panics),
            hangs: now + hangs.start..now + hangs.end,
        })
    }
}

#[async_trait]
impl Layer for Troubled {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        if self.hangs.contains(&Instant::now()) {
            std::future::pending::<()>().await;
        }
        let left = |left: usize| left.checked_sub(1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        let panics = self.panics.fetch_update(set, fetch, left).is_ok();
        assert!(!panics, "a backend may have a bug");
        self.inner.observe(target).await
    }
}

/// Guards that a panic after the deadline does not stop a ready rollout.
#[tokio::test(start_paused = true)]
async fn a_panic_after_the_deadline_times_nothing_out() {
    let plane = Troubled::new(1, Duration::ZERO..15 * MINUTE);
    let planes = HashMap::from([(id("eu-1"), layer::backend(&plane))]);
    let world = World::of(plane.inner.clone(), planes, [service("orders")]).await;
    let deployment = world.submit("orders", "orders:1").await;
    works(&world.deployer, Duration::from_secs(3)).await;
    tokio::time::sleep(16 * MINUTE).await;
    world.deployer.work_until_idle().await.unwrap();
    let ended = world.read(&deployment).await;
    assert_eq!((ended.phase, ended.reasons), (Phase::Ready, Vec::new()));
}

/// Guards the deployments that get no call, because their data plane already did not answer others.
#[tokio::test(start_paused = true)]
async fn a_silent_data_plane_times_nothing_out_without_a_look() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let plane = Troubled::new(0, MINUTE / 2..18 * MINUTE);
    let planes = HashMap::from([(id("eu-1"), layer::backend(&plane))]);
    let world = World::of(plane.inner.clone(), planes, names.map(service)).await;
    let mut all = Vec::new();
    for name in names {
        all.push(world.submit(name, "app:1").await);
    }
    works(&world.deployer, MINUTE).await;
    tokio::time::sleep(15 * MINUTE).await;
    world.deployer.work_until_idle().await.unwrap();
    for deployment in &all {
        let ended = world.read(deployment).await;
        assert_eq!(ended.phase, Phase::Ready, "{:?}", ended.reasons);
    }
}

/// Guards that a removal gets one last look: a removal that kills its workers must end.
#[tokio::test(start_paused = true)]
async fn a_removal_gets_one_last_look() {
    let (world, plane) = plane::world().await;
    world.deploy("orders", "orders:1").await;
    let removal = world.deployer.remove(&key("orders"), &id("dev")).await;
    let removal = removal.unwrap().deployment;
    world.lose_claims(30).await;
    plane.hang_at_removal();
    works(&world.deployer, Duration::from_secs(3)).await;
    assert_eq!(plane.called("remove"), 1, "the last look");
    world.lose_claims(8).await;
    works(&world.deployer, Duration::from_secs(3)).await;
    let ended = world.read(&removal).await;
    assert_eq!(ended.phase, Phase::TimedOut);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::InternalError,
    ];
    assert_eq!(codes(&ended), expected);
}
