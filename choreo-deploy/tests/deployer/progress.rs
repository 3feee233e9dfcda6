//! Whatever does not answer, what does is worked on, and everything ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{BackendError, DeploymentBackend, Intent, RunIntent, TaskRunner};
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::clock::Clock;
use choreo_deploy::deployer::{DeployerOptions, Parts, RunRequest};
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase, RequestedImage};
use choreo_deploy::id::{ComponentKey, RunId};
use choreo_deploy::intake::Submission;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::rollout::{Rollout, RolloutPhase, RunStatus};
use choreo_deploy::run::RunPhase;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{NewRegistry, RegistryStore, Store};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::image::{MediaType, ResolvedImage};
use choreo_registry::{Digest, ImageReference};
use jiff::{SignedDuration, Timestamp};

use crate::layer::{self, Layer};
use crate::store::TestStore;
use crate::world::id;

/// A data plane that can be dead, slow, or worse.
#[derive(Debug, Default)]
struct Plane {
    inner: InMemoryBackend,
    dead: AtomicBool,
    never_ready: AtomicBool,
    panics_when_looked_at: AtomicBool,
    calls: AtomicUsize,
    latency: Mutex<Duration>,
}

impl Plane {
    async fn pass(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let latency = *self.latency.lock().unwrap();
        tokio::time::sleep(latency).await;
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Layer for Plane {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.pass().await;
        self.inner.apply(intent).await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.pass().await;
        assert!(
            !self.panics_when_looked_at.load(Ordering::SeqCst),
            "a backend may have a bug"
        );
        let mut rollout = self.inner.observe(target).await?;
        if self.never_ready.load(Ordering::SeqCst) {
            rollout.phase = RolloutPhase::Progressing;
        }
        Ok(rollout)
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.pass().await;
        self.inner.take_back(target, generation, before).await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.pass().await;
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }
}

#[async_trait]
impl TaskRunner for Plane {
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        self.pass().await;
        TaskRunner::start(&self.inner, run).await
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        self.pass().await;
        TaskRunner::observe_run(&self.inner, target, run).await
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        self.pass().await;
        TaskRunner::cancel_run(&self.inner, target, run).await
    }
}

/// Registries, of which those named so never answer.
#[derive(Debug, Default)]
struct Registries {
    asked: AtomicUsize,
}

#[async_trait]
impl ImageResolver for Registries {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if access.host.as_str().starts_with("dead") {
            std::future::pending::<()>().await;
        }
        let digest = Digest::sha256_of(image.as_str().as_bytes());
        Ok(ResolvedImage::new(digest, MediaType::OciManifest))
    }
}

/// Virtual time that can be set.
#[derive(Clone, Debug)]
struct Jumping(Arc<AtomicI64>, tokio::time::Instant);

impl Jumping {
    fn new() -> Self {
        Self(Arc::default(), tokio::time::Instant::now())
    }

    fn jump(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let jumped = SignedDuration::from_secs(self.0.load(Ordering::SeqCst));
        Timestamp::from_second(1_700_000_000).unwrap() + self.1.elapsed() + jumped
    }
}

/// Components that belong to organizations, planes and registries by their names.
struct World {
    store: Arc<TestStore>,
    planes: HashMap<String, Arc<Plane>>,
    registries: Arc<Registries>,
    clock: Jumping,
    deployer: Deployer,
}

/// A component of an organization of its own name, on a plane, from a registry.
struct Place<'a> {
    component: String,
    organization: &'a str,
    plane: String,
    host: String,
}

impl Place<'_> {
    fn key(&self) -> ComponentKey {
        ComponentKey::new(id(self.organization), id(&self.component))
    }

    fn plan(&self) -> Plan {
        let project = Project::new(id(self.organization), id("shop"));
        let registry = id(&self.host.replace('.', "-"));
        let component_type = ComponentType::ManualTask;
        let component = Component::new(id(&self.component), project, component_type, registry);
        let development = Environment::new(id("dev"), id(&self.plane));
        Plan::new(component, ManualTask::new())
            .then(Stage::new(development, DataPlane::new(id(&self.plane))))
    }
}

impl World {
    async fn new(places: &[Place<'_>], options: DeployerOptions) -> Self {
        let store = crate::store::store();
        let mut planes = HashMap::new();
        for place in places {
            let plane: &mut Arc<Plane> = planes.entry(place.plane.clone()).or_default();
            let dead = place.plane.starts_with("dead");
            plane.dead.store(dead, Ordering::SeqCst);
            let key = (id(place.organization), id(&place.host.replace('.', "-")));
            let host = place.host.parse().unwrap();
            let registry = NewRegistry::new(key, "Images", host, AuthenticationType::Public);
            // It is there already for the second component.
            let _ = store.put_registry(registry, None).await;
        }
        let backends = planes.iter().map(|(name, plane)| {
            let plane = layer::backend(plane);
            (id(name), plane)
        });
        let backends: HashMap<choreo_deploy::id::DataPlaneId, _> = backends.collect();
        let (clock, registries) = (Jumping::new(), Arc::new(Registries::default()));
        let deployer = Deployer::new(Parts {
            store: store.clone(),
            catalog: Arc::new(StaticCatalog::new(places.iter().map(Place::plan))),
            backends: Arc::new(backends),
            resolver: registries.clone(),
            sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
        })
        .with_clock(clock.clone())
        .with_options(options);
        Self {
            store,
            planes,
            registries,
            clock,
            deployer,
        }
    }

    async fn submit(&self, place: &Place<'_>) -> Deployment {
        let image = format!("{}/app:1", place.host).parse().unwrap();
        let image = RequestedImage::new(image);
        let submission = Submission::new(place.key(), image, Cause::Manual);
        self.deployer.accept(submission).await.unwrap().deployment
    }

    async fn work_for(&self, time: Duration) {
        let working = self.deployer.run(std::future::pending());
        let _ = tokio::time::timeout(time, working).await;
    }

    async fn read(&self, deployment: &Deployment) -> Deployment {
        let store: &dyn Store = &*self.store;
        let organization = &deployment.target.organization;
        let found = store.deployment(organization, &deployment.id).await;
        found.unwrap().unwrap()
    }
}

/// So many planes or registries, each with four components, and a healthy component of somebody else.
fn beside(dead: usize, plane: &str, host: &str, each_its_own: bool) -> Vec<Place<'static>> {
    let mut places = Vec::new();
    for number in 0..dead {
        for part in 0..4 {
            let organization = match (each_its_own, number % 3) {
                (false, _) | (true, 0) => "one",
                (true, 1) => "two",
                _ => "three",
            };
            places.push(Place {
                component: format!("c-{number}-{part}"),
                organization,
                plane: plane.replace("{}", &number.to_string()),
                host: host.replace("{}", &number.to_string()),
            });
        }
    }
    places.push(Place {
        component: "healthy".to_owned(),
        organization: "healthy",
        plane: "eu-1".to_owned(),
        host: "registry.example.com".to_owned(),
    });
    places
}

async fn healthy_is_ready_within_2_s(dead: usize, plane: &str, host: &str, each_its_own: bool) {
    let places = beside(dead, plane, host, each_its_own);
    let world = World::new(&places, DeployerOptions::default()).await;
    let mut submitted = Vec::new();
    for place in &places {
        submitted.push(world.submit(place).await);
    }
    world.work_for(Duration::from_secs(2)).await;
    let healthy = world.read(submitted.last().unwrap()).await;
    assert_eq!(
        healthy.phase,
        Phase::Ready,
        "beside {dead} of {plane}, {host}"
    );
    let other = world.read(&submitted[0]).await;
    assert_ne!(other.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn dead_data_planes_hold_up_nobody() {
    let steps = DeployerOptions::default().steps.get();
    for dead in 1..=steps + 1 {
        for each_its_own in [false, true] {
            healthy_is_ready_within_2_s(dead, "dead-{}", "registry.example.com", each_its_own)
                .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dead_registries_hold_up_nobody() {
    let steps = DeployerOptions::default().steps.get();
    for dead in 1..=steps + 1 {
        for each_its_own in [false, true] {
            healthy_is_ready_within_2_s(dead, "eu-1", "dead-{}.example.com", each_its_own).await;
        }
    }
}

fn many(count: usize, plane: &str) -> Vec<Place<'static>> {
    let place = |number| Place {
        component: format!("c-{number}"),
        organization: "one",
        plane: plane.to_owned(),
        host: "registry.example.com".to_owned(),
    };
    (0..count).map(place).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_data_plane_is_tried_by_one_at_a_time_and_comes_back() {
    let places = many(40, "dead-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let mut submitted = Vec::new();
    for place in &places {
        submitted.push(world.submit(place).await);
    }
    let plane = &world.planes["dead-1"];
    world.work_for(Duration::from_secs(600)).await;
    let calls = plane.calls.load(Ordering::SeqCst);
    assert!(
        calls < 4 + 12,
        "{calls} calls in ten minutes of a minute each"
    );
    let waiting = world.read(&submitted[39]).await;
    assert_eq!(waiting.reasons[0].code, ReasonCode::BackendUnreachable);
    plane.dead.store(false, Ordering::SeqCst);
    world.work_for(Duration::from_secs(130)).await;
    for deployment in &submitted {
        assert_eq!(world.read(deployment).await.phase, Phase::Ready);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_dead_data_plane_times_out_and_says_why() {
    let places = many(40, "dead-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let mut submitted = Vec::new();
    for place in &places {
        submitted.push(world.submit(place).await);
    }
    // What may have been applied is tried to be taken back for five minutes more.
    world.work_for(Duration::from_secs(23 * 60)).await;
    for deployment in &submitted {
        let found = world.read(deployment).await;
        assert_eq!(found.phase, Phase::TimedOut);
        let codes = crate::world::codes(&found);
        assert_eq!(codes[0], ReasonCode::ProgressDeadlineExceeded);
        assert!(codes.contains(&ReasonCode::BackendUnreachable), "{codes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_start_beside_rollouts_that_are_looked_at() {
    let places = many(401, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let plane = &world.planes["eu-1"];
    let ready = world.submit(&places[400]).await;
    world.work_for(Duration::from_secs(2)).await;
    assert_eq!(world.read(&ready).await.phase, Phase::Ready);
    plane.never_ready.store(true, Ordering::SeqCst);
    *plane.latency.lock().unwrap() = Duration::from_millis(200);
    for place in &places[..400] {
        world.submit(place).await;
    }
    world.work_for(Duration::from_secs(60)).await;
    let run = world
        .deployer
        .run_task(RunRequest::new(places[400].key()))
        .await;
    let run = run.unwrap();
    world.work_for(Duration::from_secs(5)).await;
    let store: &dyn Store = &*world.store;
    let run = store.run(&id("one"), &run.id).await;
    let run = run.unwrap().unwrap();
    assert_ne!(run.phase, RunPhase::Pending, "it has started");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_whenever_it_looks_ends_with_its_deadline() {
    let places = many(1, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    world.planes["eu-1"]
        .panics_when_looked_at
        .store(true, Ordering::SeqCst);
    let deployment = world.submit(&places[0]).await;
    world.work_for(Duration::from_secs(17 * 60)).await;
    let found = world.read(&deployment).await;
    assert_eq!(found.phase, Phase::TimedOut);
    let codes = crate::world::codes(&found);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::InternalError,
        ReasonCode::TakenBack,
    ];
    assert_eq!(codes, expected);
    let calls = world.planes["eu-1"].calls.load(Ordering::SeqCst);
    assert!(calls < 100, "{calls} calls: each counts, and waits longer");
}

/// Workers that die of a step, one after the other: nothing is ever written.
#[tokio::test(start_paused = true)]
async fn a_step_that_kills_its_worker_ends_with_its_deadline() {
    let places = many(1, "dead-1");
    let mut options = DeployerOptions::default();
    options.call_timeout = Duration::from_secs(3600);
    let world = World::new(&places, options).await;
    let deployment = world.submit(&places[0]).await;
    // Of steps that apply it, and then of steps that take it back.
    let mut reasons = Vec::new();
    for _ in 0..55 {
        world.work_for(Duration::from_secs(5)).await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        reasons.extend(world.read(&deployment).await.reasons);
    }
    let found = world.read(&deployment).await;
    assert_eq!(found.phase, Phase::TimedOut);
    assert_eq!(
        crate::world::codes(&found),
        [
            ReasonCode::ProgressDeadlineExceeded,
            ReasonCode::InternalError,
            ReasonCode::NotTakenBack
        ]
    );
    let said = "internal error: 8 steps began and none came to an end";
    assert_eq!(reasons[0].message, said, "it is shown before the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_stops_nothing() {
    for back in [-60, -300, -3600, -86_400] {
        let places = many(1, "eu-1");
        let world = World::new(&places, DeployerOptions::default()).await;
        let plane = &world.planes["eu-1"];
        plane.never_ready.store(true, Ordering::SeqCst);
        let deployment = world.submit(&places[0]).await;
        world.work_for(Duration::from_secs(10)).await;
        world.clock.jump(back);
        plane.never_ready.store(false, Ordering::SeqCst);
        world.work_for(Duration::from_secs(10)).await;
        let found = world.read(&deployment).await;
        assert_eq!(found.phase, Phase::Ready, "{back} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_times_nothing_out() {
    let places = many(2, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    let plane = &world.planes["eu-1"];
    plane.never_ready.store(true, Ordering::SeqCst);
    let before = world.submit(&places[0]).await;
    let jump = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.clock.jump(3600);
        let after = world.submit(&places[1]).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        (world.read(&before).await, after)
    };
    let (seen, after) = tokio::select! {
        () = world.deployer.run(std::future::pending()) => unreachable!("it runs for ever"),
        seen = jump => seen,
    };
    assert_eq!(seen.phase, Phase::Progressing);
    world.work_for(Duration::from_secs(16 * 60)).await;
    for deployment in [before, after] {
        let found = world.read(&deployment).await;
        assert_eq!(found.phase, Phase::TimedOut, "its time ends all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_data_plane_is_not_asked_about_again_and_again() {
    let places = many(9, "dead-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    for place in &places {
        world.submit(place).await;
    }
    world.work_for(Duration::from_secs(40)).await;
    let asked = world.registries.asked.load(Ordering::SeqCst);
    assert!(asked <= 9, "asked {asked} times");
}

/// However many organizations have something dead, each with a step that hangs: a step that is slow
/// gives its place up.
#[tokio::test(start_paused = true)]
async fn dead_data_planes_of_many_organizations_hold_up_nobody() {
    let options = DeployerOptions::default();
    let names: Vec<String> = (0..options.steps.get() + 4)
        .map(|number| format!("o-{number}"))
        .collect();
    let mut places = beside(0, "", "", false);
    places.extend(names.iter().map(|name| Place {
        component: "c".to_owned(),
        organization: name,
        plane: format!("dead-{name}"),
        host: "registry.example.com".to_owned(),
    }));
    let world = World::new(&places, options).await;
    for dead in &places[1..] {
        world.submit(dead).await;
    }
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let healthy = world.submit(&places[0]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.read(&healthy).await.phase
    };
    let phase = tokio::select! {
        () = world.deployer.run(std::future::pending()) => None,
        phase = later => Some(phase),
    };
    assert_eq!(phase, Some(Phase::Ready));
}

/// Finding: a removal asked a data plane that does not answer, however many had done so before.
#[tokio::test(start_paused = true)]
async fn removals_from_a_dead_data_plane_are_tried_by_one_at_a_time() {
    let places = many(40, "eu-1");
    let world = World::new(&places, DeployerOptions::default()).await;
    for place in &places {
        world.submit(place).await;
    }
    world.work_for(Duration::from_secs(60)).await;
    let plane = &world.planes["eu-1"];
    plane.dead.store(true, Ordering::SeqCst);
    plane.calls.store(0, Ordering::SeqCst);
    let mut removed = Vec::new();
    for place in &places {
        let removal = world.deployer.remove(&place.key(), &id("dev")).await;
        removed.push(removal.unwrap().deployment);
    }
    world.work_for(Duration::from_secs(600)).await;
    let calls = plane.calls.load(Ordering::SeqCst);
    assert!(calls < 16, "{calls} calls in ten minutes of a minute each");
    plane.dead.store(false, Ordering::SeqCst);
    world.work_for(Duration::from_secs(130)).await;
    for removal in &removed {
        assert_eq!(world.read(removal).await.phase, Phase::Ready);
    }
}

/// Finding: `now + Duration::MAX` panics.
#[tokio::test(start_paused = true)]
async fn options_take_whatever_a_duration_can_be() {
    let places = many(3, "eu-1");
    let most = std::num::NonZeroUsize::MAX;
    let mut options = DeployerOptions::default();
    for count in [
        &mut options.steps,
        &mut options.steps_per_data_plane,
        &mut options.steps_per_organization,
        &mut options.calls_per_registry,
    ] {
        *count = most;
    }
    for time in [
        &mut options.slow_step,
        &mut options.lease,
        &mut options.call_timeout,
        &mut options.deployment_deadline,
        &mut options.run_grace,
        &mut options.poll,
        &mut options.retry_first,
        &mut options.retry_longest,
        &mut options.retry_after_longest,
        &mut options.key_lifetime,
        &mut options.repeat_window,
        &mut options.look,
    ] {
        *time = Duration::MAX;
    }
    let world = World::new(&places, options).await;
    for place in &places {
        let image = format!("{}/app:1", place.host).parse().unwrap();
        let submission = Submission::new(place.key(), RequestedImage::new(image), Cause::Manual)
            .with_idempotency_key("one");
        let accepted = world.deployer.accept(submission).await.unwrap();
        world.work_for(Duration::from_secs(5)).await;
        assert_eq!(world.read(&accepted.deployment).await.phase, Phase::Ready);
    }
    let run = world
        .deployer
        .run_task(RunRequest::new(places[0].key()))
        .await;
    let run = run.unwrap();
    world.work_for(Duration::from_secs(5)).await;
    let store: &dyn Store = &*world.store;
    let run = store.run(&id("one"), &run.id).await.unwrap().unwrap();
    assert_eq!(run.phase, RunPhase::Succeeded);
}
