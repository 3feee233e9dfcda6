//! Outages: data planes that hang, panic or cannot be reached, and lost answers.

use crate::layer::{self, Layer};
use crate::orphans::Counting;
use crate::world::{VirtualClock, World, codes, id, key, service, submission};
use async_trait::async_trait;
use choreo_deploy::backend::{BackendError, BackendErrorKind, DeploymentBackend, Intent};
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, StaticCatalog};
use choreo_deploy::deployer::DeployerParts;
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::intake::IntakeErrorKind;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::target::DataPlane;
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A catalog that never answers.
#[derive(Debug)]
struct HangingCatalog;

#[async_trait]
impl Catalog for HangingCatalog {
    async fn plan(&self, _component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        std::future::pending().await
    }
}

/// A data plane with a fault.
#[derive(Debug)]
struct BrokenBackend {
    how: How,
    calls: AtomicUsize,
    inner: InMemoryBackend,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Hangs,
    PanicsOnce,
    IsUnreachable,
}

impl BrokenBackend {
    fn new(how: How) -> Arc<Self> {
        Arc::new(Self {
            how,
            calls: AtomicUsize::new(0),
            inner: InMemoryBackend::new(),
        })
    }
}

#[async_trait]
impl Layer for BrokenBackend {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.how {
            How::Hangs => std::future::pending().await,
            How::PanicsOnce if calls == 0 => panic!("a backend may have a bug"),
            How::PanicsOnce => self.inner.apply(intent).await,
            How::IsUnreachable => {
                let kind = BackendErrorKind::Unreachable;
                Err(BackendError::new(kind, "apply", "connection refused"))
            }
        }
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        if matches!(self.how, How::IsUnreachable) {
            let kind = BackendErrorKind::Unreachable;
            return Err(BackendError::new(kind, "take back", "connection refused"));
        }
        self.inner.take_back(target, generation, before).await
    }
}

/// `orders` goes to a broken data plane, `billing` to a good one.
async fn beside(broken: Arc<BrokenBackend>) -> (World, Deployment, Deployment) {
    let good = Arc::new(InMemoryBackend::new());
    let planes: [(_, Arc<dyn DeploymentBackend>); 2] = [
        (id("eu-1"), layer::backend(&broken)),
        (id("us-1"), good.clone()),
    ];
    let mut billing = service("billing");
    billing.stages[0].data_plane = DataPlane::new(id("us-1"));
    let world = World::of(good, HashMap::from(planes), [service("orders"), billing]).await;
    let orders = world.submit("orders", "orders:1").await;
    let billing = world.submit("billing", "billing:1").await;
    (world, orders, billing)
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_hangs_holds_up_no_other() {
    let (world, orders, billing) = beside(BrokenBackend::new(How::Hangs)).await;
    // More than the limit of one data plane.
    for _ in 0..3 {
        world.submit("orders", "orders:2").await;
    }
    let run = world.deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(2), run).await;
    assert_eq!(world.read(&billing).await.phase, Phase::Ready);
    assert!(!world.read(&orders).await.phase.eq(&Phase::Ready));
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_stays_away_times_the_deployment_out() {
    let (world, orders, _) = beside(BrokenBackend::new(How::IsUnreachable)).await;
    world.deployer.work_until_idle().await.unwrap();
    let orders = world.read(&orders).await;
    assert_eq!(orders.phase, Phase::TimedOut);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::BackendUnreachable,
        ReasonCode::NotTakenBack,
    ];
    assert_eq!(codes(&orders), expected);
    assert_eq!(
        orders.reasons[1].message,
        "apply failed: connection refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_is_counted_as_a_try() {
    let (world, orders, billing) = beside(BrokenBackend::new(How::PanicsOnce)).await;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&billing).await.phase, Phase::Ready);
    let orders = world.read(&orders).await;
    assert_eq!(orders.phase, Phase::Ready);
    let took = orders.changed_at.duration_since(orders.accepted_at);
    assert!(took.as_secs() < 30, "it does not wait for the lease");
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_steps_that_are_under_way() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    let shutdown = tokio::time::sleep(Duration::from_secs(3));
    world.deployer.run(shutdown).await;
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_deployment_or_with_the_time() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    let component = &deployment.target.component_key();
    let wait = |seconds| {
        world
            .deployer
            .wait(component, &deployment.id, Duration::from_secs(seconds))
    };
    assert_eq!(
        wait(5).await.unwrap().unwrap().phase,
        Phase::Accepted,
        "nobody works"
    );
    let (waited, ()) = tokio::join!(wait(60), async {
        world.deployer.work_until_idle().await.unwrap();
    });
    assert_eq!(waited.unwrap().unwrap().phase, Phase::Ready);
    let others = world
        .deployer
        .get(&key("billing"), &deployment.id)
        .await
        .unwrap();
    assert_eq!(
        others, None,
        "a deployment of another component is not shown"
    );
}

/// Guards that lost answers to claims, as in an outage of the store, do not fail a deployment.
#[tokio::test(start_paused = true)]
async fn a_store_whose_answers_are_lost_fails_nothing() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    world.lose_claims(12).await;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

/// Guards that a ready deployment ends as ready although all claims are lost until its deadline.
#[tokio::test(start_paused = true)]
async fn what_got_ready_while_its_workers_died_is_ready() {
    let (world, plane) = crate::plane::world().await;
    plane.hang();
    let deployment = world.submit("orders", "orders:1").await;
    let work = world.deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(3), work).await;
    world.lose_claims(30).await;
    world.deployer.work_until_idle().await.unwrap();
    let deployment = world.read(&deployment).await;
    assert!(deployment.changed_at > deployment.deadline_at);
    assert_eq!(deployment.phase, Phase::Ready, "{:?}", deployment.reasons);
    assert_eq!(
        plane.called("apply"),
        1,
        "nothing is applied after the deadline"
    );
}

/// Guards that the last look does not repeat the reason of the deadline.
#[tokio::test(start_paused = true)]
async fn a_deployment_whose_workers_died_before_its_apply_times_out() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    world.lose_claims(30).await;
    world.deployer.work_until_idle().await.unwrap();
    let deployment = world.read(&deployment).await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::InternalError,
    ];
    assert_eq!(codes(&deployment), expected);
}

#[tokio::test(start_paused = true)]
async fn a_catalog_that_hangs_ends_steps_and_requests_with_its_reason() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    let plane: Arc<dyn DeploymentBackend> = world.backend.clone();
    let hanging = Deployer::new(DeployerParts {
        store: world.store.clone(),
        catalog: Arc::new(HangingCatalog),
        backends: Arc::new(HashMap::from([(id("eu-1"), plane)])),
        resolver: world.registry.clone(),
        sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
    })
    .with_clock(VirtualClock::new());
    let working = hanging.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(61), working).await;
    let said = "the catalog did not answer within 60s";
    let waits = world.read(&deployment).await;
    assert_eq!(codes(&waits), [ReasonCode::Waiting]);
    assert_eq!(waits.reasons[0].message, said);
    let submitted = submission("orders", "orders:2", Cause::Manual);
    let refused = hanging.accept(submitted).await.unwrap_err();
    assert_eq!(refused.kind(), IntakeErrorKind::Unavailable);
    assert_eq!(refused.to_string(), said);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

/// Guards that a step opens a credential only once, because each further call can fail or leak.
#[tokio::test(start_paused = true)]
async fn a_step_calls_the_catalog_once() {
    let world = World::new().await;
    let plane: Arc<dyn DeploymentBackend> = world.backend.clone();
    let asked = Arc::new(AtomicUsize::new(0));
    let catalog = Counting {
        plans: StaticCatalog::new([service("orders")]),
        asked: asked.clone(),
    };
    let deployer = Deployer::new(DeployerParts {
        store: world.store.clone(),
        catalog: Arc::new(catalog),
        backends: Arc::new(HashMap::from([(id("eu-1"), plane)])),
        resolver: world.registry.clone(),
        sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
    })
    .with_clock(world.clock);
    let image = submission("orders", "orders:1", Cause::Manual);
    let deployment = deployer.accept(image).await.unwrap().deployment;
    asked.store(0, Ordering::SeqCst);
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
