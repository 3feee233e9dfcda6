//! What a deployer concludes of looks at a data plane, and what it then does there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogReader, Pull, TaskRunner,
};
use choreo_deploy::deployment::{Generation, Phase};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::rollout::Rollout;
use choreo_deploy::{InMemoryBackend, Target};

use crate::world::{World, codes, id, service};

/// The data plane in memory, which notes its calls and fails those it is told to.
#[derive(Debug, Default)]
struct Plane {
    inner: Arc<InMemoryBackend>,
    calls: Mutex<Vec<&'static str>>,
    failing: Mutex<Vec<(&'static str, BackendErrorKind)>>,
    loses: Mutex<usize>,
}

impl Plane {
    /// Fails the next calls of a name.
    fn fail(&self, call: &'static str, kind: BackendErrorKind, times: usize) {
        let failures = std::iter::repeat_n((call, kind), times);
        self.failing.lock().unwrap().extend(failures);
    }

    fn called(&self, call: &'static str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|called| **called == call).count()
    }

    fn note(&self, call: &'static str) -> Result<(), BackendError> {
        self.calls.lock().unwrap().push(call);
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
impl DeploymentBackend for Plane {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.note("apply")?;
        self.inner.apply(intent).await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.note("observe")?;
        {
            let mut loses = self.loses.lock().unwrap();
            if *loses > 0 {
                *loses -= 1;
                self.inner.lose(target);
            }
        }
        self.inner.observe(target).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.note("settle")?;
        self.inner.settle(target, generation).await
    }

    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        self.inner
            .update_pull_secret(target, generation, pull)
            .await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.note("remove")?;
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        None
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        None
    }
}

async fn world() -> (World, Arc<Plane>) {
    let plane = Arc::new(Plane::default());
    let backend: Arc<dyn DeploymentBackend> = plane.clone();
    let world = World::of(
        plane.inner.clone(),
        HashMap::from([(id("eu-1"), backend)]),
        [service("orders")],
    )
    .await;
    (world, plane)
}

#[tokio::test(start_paused = true)]
async fn a_refused_look_ends_nothing() {
    use BackendErrorKind as Kind;
    for kind in [
        Kind::PermissionDenied,
        Kind::Unauthenticated,
        Kind::NotFound,
        Kind::Internal,
        Kind::Refused,
        Kind::Unsupported,
    ] {
        let (world, plane) = world().await;
        plane.fail("observe", kind, 3);
        let deployment = world.deploy("orders", "orders:1").await;
        assert_eq!(deployment.phase, Phase::Ready, "{kind:?}: {deployment:?}");
        assert_eq!(plane.called("apply"), 1, "{kind:?}: it was applied already");
    }
}

#[tokio::test(start_paused = true)]
async fn looks_that_are_refused_to_the_deadline_time_out() {
    let (world, plane) = world().await;
    plane.fail("observe", BackendErrorKind::PermissionDenied, 10_000);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    assert_eq!(
        deployment.reasons[1].message,
        "observe failed: as the test says"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_apply_fails_and_an_unknown_credential_is_tried_again() {
    let (world, plane) = world().await;
    plane.fail("apply", BackendErrorKind::PermissionDenied, 1);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Failed);
    assert_eq!(codes(&deployment)[0], ReasonCode::PermissionMissing);
    assert!(deployment.reasons[0].help.is_some());
    assert_eq!(
        deployment.reasons[0].evidence, None,
        "the message is not said twice"
    );

    plane.fail("apply", BackendErrorKind::Unauthenticated, 2);
    let deployment = world.deploy("orders", "orders:2").await;
    assert_eq!(deployment.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_applied_again() {
    let (world, plane) = world().await;
    *plane.loses.lock().unwrap() = 2;
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(plane.called("apply"), 3, "twice more");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_for_good_times_out() {
    let (world, plane) = world().await;
    *plane.loses.lock().unwrap() = usize::MAX;
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    let took = deployment.changed_at.duration_since(deployment.accepted_at);
    assert!(took >= jiff::SignedDuration::from_mins(15), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_is_settled_once() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    assert_eq!(plane.called("settle"), 1);
    plane.fail("settle", BackendErrorKind::Unreachable, 2);
    let deployment = world.deploy("orders", "orders:2").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(plane.called("settle"), 4, "it is tried until it works");
    assert_eq!(plane.called("apply"), 2, "what was applied is remembered");
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_and_cannot_be_settled_is_ready_at_its_deadline() {
    let (world, plane) = world().await;
    plane.fail("settle", BackendErrorKind::Unreachable, 10_000);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(codes(&deployment), [ReasonCode::BackendUnreachable]);
    let took = deployment.changed_at.duration_since(deployment.accepted_at);
    assert!(took >= jiff::SignedDuration::from_secs(890), "{took:?}");
}
