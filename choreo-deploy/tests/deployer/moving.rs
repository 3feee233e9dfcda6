//! Moves to other data planes and projects, which leave nothing behind even after a crash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, LogReader, TaskRunner,
};
use choreo_deploy::catalog::{Plan, StaticCatalog};
use choreo_deploy::deployer::DeployerParts;
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase, Subject};
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{DeploymentQuery, DeploymentStore, TargetQuery};
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};
use tokio::sync::Notify;

use crate::layer::{self, Layer};
use crate::plane::Plane;
use crate::running::Longest;
use crate::taken_back::deployed;
use crate::world::{VirtualClock, World, codes, id, key, reason, service, submission, target};

/// A data plane that never answers the first removal of some targets.
#[derive(Debug)]
struct Hanging {
    inner: Arc<InMemoryBackend>,
    of: Mutex<Vec<Target>>,
    reached: Notify,
}

#[async_trait]
impl Layer for Hanging {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        let place = self.of.lock().unwrap().iter().position(|of| of == target);
        if let Some(place) = place {
            self.of.lock().unwrap().remove(place);
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        self.inner.tasks()
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        self.inner.logs()
    }
}

/// A data plane whose removals panic.
#[derive(Debug)]
struct Panicking(Arc<InMemoryBackend>);

#[async_trait]
impl Layer for Panicking {
    fn inner(&self) -> &InMemoryBackend {
        &self.0
    }

    async fn remove(&self, _: &Target, _: Generation) -> Result<(), BackendError> {
        panic!("as the test says")
    }
}

/// Returns the target of orders in development, in a project.
pub(crate) fn orders(project: &str) -> Target {
    let mut target = target("orders", "dev");
    target.project = id(project);
    target
}

pub(crate) fn plan(project: &str, plane: &str) -> Plan {
    let mut plan = service("orders");
    plan.component.project.id = id(project);
    for stage in &mut plan.stages {
        stage.data_plane.id = id(plane);
    }
    plan
}

/// Returns a process with the old data plane `eu-1` and the new one `eu-2`.
fn process(
    world: &World,
    plan: Plan,
    (old, new): (&Arc<Hanging>, &Arc<InMemoryBackend>),
) -> Deployer {
    let (old, new): (_, Arc<dyn DeploymentBackend>) = (layer::backend(old), new.clone());
    let planes = [(id::<DataPlaneId>("eu-1"), old), (id("eu-2"), new)];
    Deployer::new(DeployerParts {
        store: world.store.clone(),
        catalog: Arc::new(StaticCatalog::new([plan])),
        backends: Arc::new(HashMap::from(planes)),
        resolver: world.registry.clone(),
        sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
    })
    .with_clock(VirtualClock::new())
}

fn hanging(world: &World, of: impl IntoIterator<Item = Target>) -> Arc<Hanging> {
    Arc::new(Hanging {
        inner: world.backend.clone(),
        of: Mutex::new(of.into_iter().collect()),
        reached: Notify::new(),
    })
}

pub(crate) async fn accept(deployer: &Deployer, image: &str) -> Deployment {
    let image = submission("orders", image, Cause::Manual);
    deployer.accept(image).await.unwrap().deployment
}

async fn removals(world: &World, target: &Target) -> Vec<Deployment> {
    let query = DeploymentQuery::of_target(target.clone());
    let mut all = world.store.deployments(&query).await.unwrap();
    all.retain(|deployment| deployment.subject == Subject::Absence);
    all
}

async fn nothing_is_placed_but(world: &World, expected: &Target) {
    let placed = TargetQuery::default().placed();
    let placed = world.store.targets(&placed).await.unwrap();
    let placed: Vec<_> = placed.into_iter().map(|state| state.target).collect();
    assert_eq!(placed, std::slice::from_ref(expected));
}

/// Guards that no workload continues to run in the old project.
#[tokio::test(start_paused = true)]
async fn a_component_that_moves_to_another_project_leaves_the_old_one() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let planes = [("eu-1", world.backend.clone())];
    let deployer = world.with_plans(planes, [plan("web", "eu-1")]);
    let moved = accept(&deployer, "orders:2").await;
    assert!(
        world.backend.shown(&orders("shop")).is_some(),
        "it serves until then"
    );
    deployer.work_until_idle().await.unwrap();
    let moved = world.read(&moved).await;
    assert_eq!(
        (moved.phase, codes(&moved)),
        (Phase::Ready, vec![ReasonCode::Moved])
    );
    let removal = &removals(&world, &orders("shop")).await[0];
    assert_eq!(
        moved.reasons[0].message,
        format!(
            "the workload in its previous project shop is being removed by deployment {}",
            removal.id
        )
    );
    assert_eq!(removal.phase, Phase::Ready);
    assert!(world.backend.shown(&orders("web")).is_some());
    assert!(world.backend.shown(&orders("shop")).is_none());
    nothing_is_placed_but(&world, &orders("web")).await;

    let again = accept(&deployer, "orders:3").await;
    deployer.work_until_idle().await.unwrap();
    assert_eq!(
        codes(&world.read(&again).await),
        [],
        "there is nothing left to say"
    );
}

/// Guards that a deployment that was in progress during a move removes nothing from the new place.
#[tokio::test(start_paused = true)]
async fn what_was_left_removes_nothing_of_what_is_now() {
    let world = World::new().await;
    let planes = || [("eu-1", world.backend.clone())];
    let (before, after) = (
        world.with_plans(planes(), [plan("shop", "eu-1")]),
        world.with_plans(planes(), [plan("web", "eu-1")]),
    );
    accept(&after, "orders:2").await;
    after.work_until_idle().await.unwrap();
    let late = accept(&before, "orders:1").await;
    after.work_until_idle().await.unwrap();
    assert_eq!(world.read(&late).await.phase, Phase::Ready);
    assert!(
        world.backend.shown(&orders("web")).is_some(),
        "it still runs"
    );
    // The next deployment removes it.
    accept(&after, "orders:3").await;
    after.work_until_idle().await.unwrap();
    nothing_is_placed_but(&world, &orders("web")).await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_covers_what_a_component_was_in_another_project() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let planes = [("eu-1", world.backend.clone())];
    let deployer = world.with_plans(planes, [plan("web", "eu-1")]);
    deployer.remove(&key("orders"), &id("dev")).await.unwrap();
    let removal = deployer.remove(&key("orders"), &id("dev")).await.unwrap();
    let of_old = removals(&world, &orders("shop")).await;
    assert_eq!(of_old.len(), 1, "one that is under way is enough");
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&removal.deployment).await.phase, Phase::Ready);
    assert!(world.backend.shown(&orders("shop")).is_none());
    let placed = TargetQuery::default().placed();
    assert_eq!(world.store.targets(&placed).await.unwrap(), []);
}

/// A target that moved to a new data plane, whose process ended while it left the old one.
pub(crate) struct HalfMoved {
    pub(crate) world: World,
    old: Arc<Hanging>,
    pub(crate) new: Arc<InMemoryBackend>,
    pub(crate) moved: Deployment,
}

impl HalfMoved {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        world.deploy("orders", "orders:1").await;
        let old = hanging(&world, [orders("shop")]);
        let new = Arc::new(InMemoryBackend::new());
        let first = process(&world, plan("shop", "eu-2"), (&old, &new));
        let moved = accept(&first, "orders:2").await;
        let dies = tokio::spawn(async move { first.work_until_idle().await });
        old.reached.notified().await;
        dies.abort();
        let moved = world.read(&moved).await;
        Self {
            world,
            old,
            new,
            moved,
        }
    }

    /// Returns another process.
    pub(crate) fn process(&self) -> Deployer {
        process(&self.world, plan("shop", "eu-2"), (&self.old, &self.new))
    }
}

/// Guards a crash after the target is ready and before it is removed from the old data plane.
#[tokio::test(start_paused = true)]
async fn a_crash_before_the_old_data_plane_is_left_loses_nothing() {
    let half = HalfMoved::new().await;
    let (world, target) = (&half.world, orders("shop"));
    assert!(half.new.shown(&target).is_some(), "it is ready there");
    assert!(!half.moved.phase.is_final());

    half.process().work_until_idle().await.unwrap();
    let moved = world.read(&half.moved).await;
    assert_eq!(
        (moved.phase, codes(&moved)),
        (Phase::Ready, vec![ReasonCode::Moved])
    );
    assert_eq!(
        moved.reasons[0].message,
        "the previous workload on data plane eu-1 was removed"
    );
    assert!(world.backend.shown(&target).is_none());
    let state = world.store.target(&target).await.unwrap().unwrap();
    assert_eq!(state.planes, [id("eu-2")].into());
}

/// Guards that the release that was ready last runs after such a crash and a failure.
#[tokio::test(start_paused = true)]
async fn a_crash_before_the_old_data_plane_is_left_and_a_failure_lose_nothing() {
    let half = HalfMoved::new().await;
    let (world, new, target) = (&half.world, &half.new, orders("shop"));
    let process = || half.process();
    let state = world.store.target(&target).await.unwrap().unwrap();
    assert_eq!(
        state.ready.map(|ready| ready.deployment),
        Some(half.moved.id.clone()),
        "before anything is removed"
    );

    new.fail_image(
        deployed("orders:3"),
        reason(ReasonCode::ConfigurationMissing),
    );
    let failed = accept(&process(), "orders:3").await;
    process().work_until_idle().await.unwrap();
    assert_eq!(world.read(&failed).await.phase, Phase::Failed);
    let runs = || new.shown(&target).map(|shown| shown.image);
    assert_eq!(runs(), Some(deployed("orders:2")));
    let last = accept(&process(), "orders:4").await;
    process().work_until_idle().await.unwrap();
    assert_eq!(codes(&world.read(&last).await), [ReasonCode::Moved]);
    assert_eq!(runs(), Some(deployed("orders:4")));
    assert!(world.backend.shown(&target).is_none());
}

/// Guards that a superseded deployment is taken back on another data plane than the newer one's.
#[tokio::test(start_paused = true)]
async fn what_was_superseded_on_the_old_data_plane_is_taken_back_there() {
    let old = Arc::new(Plane::default());
    let planes = HashMap::from([(id("eu-1"), layer::backend(&old))]);
    let world = World::of(old.inner.clone(), planes, [plan("shop", "eu-1")]).await;
    world.deploy("orders", "orders:1").await;
    let target = orders("shop");
    old.fail("observe", BackendErrorKind::Unreachable, 10_000);
    let second = accept(&world.deployer, "orders:2").await;
    let work = world.deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(3), work).await;
    let runs = || old.inner.shown(&target).map(|shown| shown.image);
    assert_eq!(runs(), Some(deployed("orders:2")));

    let new = Arc::new(Plane::default());
    let planes = [("eu-1", &old), ("eu-2", &new)];
    let planes = planes.map(|(name, plane)| (id(name), layer::backend(plane)));
    let moved = world.over(planes.into(), [plan("shop", "eu-2")]);
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 2);
    let failed = accept(&moved, "orders:3").await;
    moved.work_until_idle().await.unwrap();
    assert_eq!(world.read(&second).await.phase, Phase::Superseded);
    let failed = world.read(&failed).await;
    assert_eq!(
        codes(&failed),
        [ReasonCode::ImageNotFound, ReasonCode::TakenBack]
    );
    assert_eq!(
        failed.reasons[1].message,
        "on data plane eu-1, release 1, which was ready before, runs"
    );
    assert_eq!(runs(), Some(deployed("orders:1")));
    assert_eq!(new.called("take back"), 0, "nothing was ever there");
    let failed = accept(&moved, "orders:4").await;
    moved.work_until_idle().await.unwrap();
    let failed = world.read(&failed).await;
    assert_eq!(codes(&failed), [ReasonCode::ImageNotFound]);
    assert_eq!(old.called("take back"), 1, "nothing is left of it");
}

/// Guards that a ready deployment ends as ready even if it cannot leave its old place.
#[tokio::test(start_paused = true)]
async fn a_step_that_panics_while_it_leaves_ends_as_ready_at_the_deadline() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let (old, new) = (
        Arc::new(Panicking(world.backend.clone())),
        Arc::new(Plane::default()),
    );
    let planes = HashMap::from([
        (id("eu-1"), layer::backend(&old)),
        (id("eu-2"), layer::backend(&new)),
    ]);
    let deployer = world.over(planes, [plan("shop", "eu-2")]);
    let moved = accept(&deployer, "orders:2").await;
    deployer.work_until_idle().await.unwrap();
    let moved = world.read(&moved).await;
    assert_eq!(
        (moved.phase, codes(&moved)),
        (Phase::Ready, vec![ReasonCode::InternalError])
    );
    assert!(
        moved.reasons[0]
            .message
            .starts_with("it is ready, but the previous workload may still run elsewhere: ")
    );
    assert_eq!(new.called("take back"), 0);
    let state = world.store.target(&orders("shop")).await.unwrap().unwrap();
    assert_eq!(state.planes, [id("eu-1"), id("eu-2")].into());
}

/// Removes a target that has moved from the first data plane to the second. Each of them fails as many
/// removals as given. Asserts that the removal ends with the refusal, and returns the data planes.
async fn a_removal_is_refused(failures: [(BackendErrorKind, usize); 2]) -> [Arc<Plane>; 2] {
    let both = [(); 2].map(|()| Arc::new(Plane::default()));
    let [first, second] = &both;
    let planes = || layer::two(first, second);
    let world = World::of(first.inner.clone(), planes(), [plan("shop", "eu-1")]).await;
    world.deploy("orders", "orders:1").await;
    let [(kind, times), of_second] = failures;
    first.fail("remove", kind, times);
    let deployer = world.over(planes(), [plan("shop", "eu-2")]);
    accept(&deployer, "orders:2").await;
    deployer.work_until_idle().await.unwrap();
    let (kind, times) = of_second;
    second.fail("remove", kind, times);
    let removal = deployer.remove(&key("orders"), &id("dev")).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    let removal = world.read(&removal.deployment).await;
    assert_eq!(
        (removal.phase, codes(&removal)),
        (Phase::Failed, vec![ReasonCode::PermissionMissing])
    );
    both
}

/// Guards that a refusal of one data plane does not end the retries on another.
#[tokio::test(start_paused = true)]
async fn a_removal_goes_on_while_one_data_plane_may_still_answer() {
    let [refuses, silent] = a_removal_is_refused([
        (BackendErrorKind::PermissionDenied, 10_000),
        (BackendErrorKind::Unreachable, 3),
    ])
    .await;
    assert!(silent.inner.shown(&orders("shop")).is_none());
    assert!(refuses.inner.shown(&orders("shop")).is_some());
}

/// Guards a crash after the removal from the old project was accepted and before the end is stored.
#[tokio::test(start_paused = true)]
async fn a_crash_after_the_old_project_is_left_removes_it_once() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let (old, new) = (
        hanging(&world, [orders("web"), orders("shop")]),
        Arc::new(InMemoryBackend::new()),
    );
    let process = |plane| process(&world, plan("web", plane), (&old, &new));
    // It may be on the old data plane, because a deployment there was accepted and superseded.
    accept(&process("eu-1"), "orders:2").await;
    let first = process("eu-2");
    let moved = accept(&first, "orders:3").await;
    let dies = tokio::spawn(async move { first.work_until_idle().await });
    old.reached.notified().await;
    assert_eq!(removals(&world, &orders("shop")).await.len(), 1);
    assert!(!world.read(&moved).await.phase.is_final());
    dies.abort();

    process("eu-2").work_until_idle().await.unwrap();
    assert_eq!(world.read(&moved).await.phase, Phase::Ready);
    assert_eq!(removals(&world, &orders("shop")).await.len(), 1);
    nothing_is_placed_but(&world, &orders("web")).await;
    assert!(new.shown(&orders("web")).is_some());
    assert!(world.backend.shown(&orders("shop")).is_none());
    assert!(world.backend.shown(&orders("web")).is_none());
}

/// Guards that a newer generation on another data plane does not hide a refusal, which can be
/// corrected.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_before_a_newer_generation_elsewhere() {
    a_removal_is_refused([
        (BackendErrorKind::Stale, 10_000),
        (BackendErrorKind::PermissionDenied, 10_000),
    ])
    .await;
}

/// Guards that the retries are spaced out if each step kills its worker.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_leaves_a_data_plane_is_retried_after_a_pause() {
    let half = HalfMoved::new().await;
    half.world.lose_claims(8).await;
    let process = half.process().with_clock(half.world.clock);
    let process = process.with_entropy(Longest::default());
    let works_for = async |millis| {
        let work = process.run(std::future::pending());
        let _ = tokio::time::timeout(Duration::from_millis(millis), work).await;
        half.world.read(&half.moved).await.phase
    };
    assert_eq!(works_for(900).await, Phase::Progressing);
    assert_eq!(works_for(200).await, Phase::Ready);
}

/// Guards that the message mentions the release that runs on another data plane.
#[tokio::test(start_paused = true)]
async fn a_failure_on_the_new_data_plane_names_the_release_on_the_old_one() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let new = Arc::new(InMemoryBackend::new());
    let why = reason(ReasonCode::ConfigurationMissing);
    new.fail_image(deployed("orders:2"), why);
    let planes = [("eu-1", world.backend.clone()), ("eu-2", new)];
    let deployer = world.with_plans(planes, [plan("shop", "eu-2")]);
    let failed = accept(&deployer, "orders:2").await;
    deployer.work_until_idle().await.unwrap();
    assert_eq!(
        world.read(&failed).await.reasons[1].message,
        "on data plane eu-2, no release was ready before, so its workload was stopped; release 1 stays on data plane eu-1"
    );
    assert!(world.backend.shown(&orders("shop")).is_some());
}

/// Guards that a data plane that no longer exists delays a verdict only until it is forgotten.
#[tokio::test(start_paused = true)]
async fn a_disconnected_data_plane_delays_a_verdict_and_can_be_forgotten() {
    let old = Arc::new(Plane::default());
    let planes = HashMap::from([(id("eu-1"), layer::backend(&old))]);
    let world = World::of(old.inner.clone(), planes, [plan("shop", "eu-1")]).await;
    old.fail("observe", BackendErrorKind::Unreachable, 10_000);
    accept(&world.deployer, "orders:1").await;
    let works_for = async |deployer: &Deployer, seconds| {
        let work = deployer.run(std::future::pending());
        let _ = tokio::time::timeout(Duration::from_secs(seconds), work).await;
    };
    works_for(&world.deployer, 3).await;

    let new = Arc::new(InMemoryBackend::new());
    let moved = world.with_plans([("eu-2", new)], [plan("shop", "eu-2")]);
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 2);
    let failed = accept(&moved, "orders:2").await;
    works_for(&moved, 90).await;
    let waits = world.read(&failed).await;
    assert_eq!(
        codes(&waits),
        [ReasonCode::ImageNotFound, ReasonCode::NotTakenBack]
    );
    let until = failed.deadline_at + Duration::from_secs(5 * 60);
    let until = jiff::Timestamp::from_second(until.as_second()).unwrap();
    assert_eq!(
        waits.reasons[1].to_string(),
        format!(
            "its changes could not be taken back: data plane eu-1 is not connected: connect \
             the data plane, or make the control plane forget it (`Deployer::forget_data_planes`) \
             if it no longer exists; this is retried until {until}, and then the deployment ends \
             in any case"
        )
    );
    let gone = [id("eu-1")].into();
    let forgotten = moved.forget_data_planes(&orders("shop"), &gone).await;
    assert!(forgotten.unwrap());
    works_for(&moved, 61).await;
    let failed = world.read(&failed).await;
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(
        codes(&failed),
        [ReasonCode::ImageNotFound, ReasonCode::TakenBack]
    );
}
