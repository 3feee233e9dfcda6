//! The deployer over parts in memory, in virtual time.
#![expect(
    clippy::unwrap_used,
    clippy::clone_on_ref_ptr,
    reason = "the helpers below are tests too"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogReader, Pull, TaskRunner,
};
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::clock::Clock;
use choreo_deploy::deployer::{Parts, RollbackRequest, RunRequest};
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase, Provenance, RequestedImage};
use choreo_deploy::intake::{IntakeErrorKind, Submission};
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::release::{Pin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber};
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::rollout::Rollout;
use choreo_deploy::run::{RunOverrides, RunPhase};
use choreo_deploy::sealer::{Sealer, SealingContext, SealingKey};
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    ClaimRequest, InMemoryStore, Progress, RegisteredRegistry, Store, StoredCredential, TokenStore,
};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use choreo_deploy::workload::{
    ComponentType, Endpoint, ManualTask, Protocol, Scaling, Service, Workload,
};
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::image::{MediaType, ResolvedImage};
use choreo_registry::{Credential, Digest, ImageReference};
use jiff::Timestamp;

/// Everything a test needs: one Service and one Manual Task, in development and production.
struct World {
    store: Arc<InMemoryStore>,
    backend: Arc<InMemoryBackend>,
    registry: Arc<FakeRegistry>,
    deployer: Deployer,
}

impl World {
    async fn new() -> Self {
        let backend = Arc::new(InMemoryBackend::new());
        let plane: Arc<dyn DeploymentBackend> = backend.clone();
        let plans = [service("orders"), service("billing"), task()];
        Self::of(backend, HashMap::from([(id("eu-1"), plane)]), plans).await
    }

    async fn of(
        backend: Arc<InMemoryBackend>,
        backends: HashMap<choreo_deploy::id::DataPlaneId, Arc<dyn DeploymentBackend>>,
        plans: impl IntoIterator<Item = Plan>,
    ) -> Self {
        let store = Arc::new(InMemoryStore::new());
        let registry = Arc::new(FakeRegistry::default());
        let sealer = Sealer::new(SealingKey::new("test", [7; 32]).unwrap());
        register(&*store, &sealer, "images").await;
        let deployer = Deployer::new(Parts {
            store: store.clone(),
            catalog: Arc::new(StaticCatalog::new(plans)),
            backends: Arc::new(backends),
            resolver: registry.clone(),
            sealer: Arc::new(sealer),
        })
        .with_clock(VirtualClock::new());
        Self {
            store,
            backend,
            registry,
            deployer,
        }
    }

    /// Accepts from CI, without a key and without a commit.
    async fn submit(&self, component: &str, image: &str) -> Deployment {
        let submission = submission(component, image, Cause::Manual);
        self.deployer
            .accept(submission)
            .await
            .expect("accepts")
            .deployment
    }

    /// Accepts and works until the end.
    async fn deploy(&self, component: &str, image: &str) -> Deployment {
        let deployment = self.submit(component, image).await;
        self.deployer.work_until_idle().await.expect("works");
        self.read(&deployment).await
    }

    async fn read(&self, deployment: &Deployment) -> Deployment {
        let component = &deployment.target.component;
        self.deployer
            .get(component, &deployment.id)
            .await
            .expect("reads")
            .expect("is stored")
    }

    async fn release(&self, deployment: &Deployment) -> Release {
        let number = deployment.release.expect("it has a release");
        let store: &dyn Store = &*self.store;
        let release = store.release(&deployment.target.component, number).await;
        release.expect("reads").expect("is stored")
    }
}

/// Time that passes only while everybody waits.
#[derive(Debug)]
struct VirtualClock(tokio::time::Instant);

impl VirtualClock {
    fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + self.0.elapsed()
    }
}

/// A registry whose every image exists, unless told otherwise.
#[derive(Debug, Default)]
struct FakeRegistry {
    asked: AtomicUsize,
    credentials: Mutex<Vec<String>>,
    answers: Mutex<Vec<ResolveError>>,
    platforms: Mutex<Vec<String>>,
}

impl FakeRegistry {
    /// The next answers, the last of them first.
    fn will_say(&self, error: ResolveError, times: usize) {
        self.answers
            .lock()
            .unwrap()
            .extend(std::iter::repeat_n(error, times));
    }
}

#[async_trait]
impl ImageResolver for FakeRegistry {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let username = access.credential.map_or("", Credential::username);
        self.credentials.lock().unwrap().push(username.to_owned());
        if let Some(error) = self.answers.lock().unwrap().pop() {
            return Err(error);
        }
        let digest = image
            .digest()
            .copied()
            .unwrap_or_else(|| Digest::sha256_of(image.as_str().as_bytes()));
        let platforms = self.platforms.lock().unwrap();
        let platforms = platforms
            .iter()
            .map(|platform| platform.parse().unwrap())
            .collect();
        Ok(ResolvedImage::new(digest, MediaType::OciManifest).with_platforms(platforms))
    }
}

fn id<T: std::str::FromStr<Err = choreo_deploy::id::ParseIdError>>(text: &str) -> T {
    text.parse().unwrap()
}

async fn register(store: &dyn Store, sealer: &Sealer, name: &str) {
    let (organization, registry) = (id("acme"), id(name));
    let host = "registry.example.com".parse().unwrap();
    let context = SealingContext::new(&organization, &registry, &host, 1);
    let credential = Credential::new("ada", "correct horse").unwrap();
    let sealed = StoredCredential::Sealed(sealer.seal(&credential, &context).unwrap());
    let registered = RegisteredRegistry::new(
        (organization.clone(), registry.clone()),
        "Images",
        host.clone(),
        AuthenticationType::Basic,
    );
    store
        .put_registry(registered.with_credential(sealed, 1))
        .await
        .unwrap();
}

fn stages(plan: Plan) -> Plan {
    let plane = || DataPlane::new(id("eu-1")).with_platform("linux/amd64".parse().unwrap());
    let production = Environment::new(id("prod"), id("eu-1")).production();
    plan.then(Stage::new(Environment::new(id("dev"), id("eu-1")), plane()))
        .then(
            Stage::new(production, plane())
                .with_settings(Settings::default().with_scaling(Scaling::fixed(3))),
        )
}

fn component(name: &str, component_type: ComponentType) -> Component {
    let project = Project::new(id("acme"), id("shop"));
    Component::new(id(name), project, component_type, id("images"))
}

fn service(name: &str) -> Plan {
    let endpoint = Endpoint::new(
        "http".parse().unwrap(),
        8080.try_into().unwrap(),
        Protocol::Http,
    );
    stages(Plan::new(
        component(name, ComponentType::Service),
        Service::new(endpoint.into()),
    ))
}

fn task() -> Plan {
    stages(Plan::new(
        component("report", ComponentType::ManualTask),
        ManualTask::new(),
    ))
}

fn target(component: &str, environment: &str) -> Target {
    Target::new(id("acme"), id("shop"), id(component), id(environment))
}

fn submission(component: &str, image: &str, cause: Cause) -> Submission {
    let reference = format!("registry.example.com/shop/{image}")
        .parse()
        .unwrap();
    Submission::new(id(component), RequestedImage::new(reference), cause)
}

fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, "as the test says")
}

fn codes(deployment: &Deployment) -> Vec<ReasonCode> {
    deployment
        .reasons
        .iter()
        .map(|reason| reason.code)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_image_is_resolved_pinned_and_deployed() {
    let world = World::new().await;
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    let release = world.release(&deployment).await;
    let pin = release.image.pin.as_ref().expect("it is pinned");
    assert_eq!(pin.by, Pinning::Resolved);
    let shown = world.backend.shown(&deployment.target).expect("it runs");
    assert_eq!(
        shown.image.digest(),
        Some(&pin.digest),
        "what runs is what was hashed"
    );
    assert_eq!(
        shown.image.tag().map(|tag| tag.to_string()),
        None,
        "and nothing by tag"
    );
    assert_eq!(shown.pull, "pull secret for registry.example.com");
    assert_eq!(
        *world.registry.credentials.lock().unwrap(),
        ["ada"],
        "asked with the credential"
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_a_failed_deployment_with_its_reason() {
    let world = World::new().await;
    world
        .registry
        .will_say(ResolveError::Failed(reason(ReasonCode::ImageNotFound)), 1);
    let deployment = world.deploy("orders", "orders:none").await;
    assert_eq!(
        (deployment.phase, codes(&deployment)),
        (Phase::Failed, vec![ReasonCode::ImageNotFound])
    );
    assert_eq!(
        world.backend.shown(&deployment.target),
        None,
        "nothing was applied"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_is_asked_again() {
    let world = World::new().await;
    let down = ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryUnreachable),
        retry_after: Some(Duration::from_secs(7)),
    };
    world.registry.will_say(down, 3);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.deploy("orders", "orders:1").await.phase, Phase::Ready);
    assert_eq!(world.registry.asked.load(Ordering::SeqCst), 4);
    assert!(
        begun.elapsed() >= Duration::from_secs(21),
        "Retry-After is honoured"
    );
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_ready_times_out_and_says_what_was_the_matter() {
    let world = World::new().await;
    let down = ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryUnreachable),
        retry_after: None,
    };
    world.registry.will_say(down, 10_000);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::RegistryUnreachable,
    ];
    assert_eq!(codes(&deployment), expected);
    let took = deployment
        .changed_at
        .duration_since(deployment.accepted_at)
        .as_secs();
    assert!(
        (900..=905).contains(&took),
        "it ended at its deadline, after {took} s"
    );
    let asked = world.registry.asked.load(Ordering::SeqCst);
    assert!(
        (20..200).contains(&asked),
        "asked with growing pauses, {asked} times"
    );
}

#[tokio::test(start_paused = true)]
async fn the_newest_deployment_wins() {
    let world = World::new().await;
    let first = world.submit("orders", "orders:1").await;
    let second = world.submit("orders", "orders:2").await;
    world.deployer.work_until_idle().await.unwrap();
    let (first, second) = (world.read(&first).await, world.read(&second).await);
    assert_eq!(
        (first.phase, second.phase),
        (Phase::Superseded, Phase::Ready)
    );
    assert_eq!(codes(&first), [ReasonCode::NewerDeployment]);
    let shown = world.backend.shown(&second.target).unwrap();
    let pinned = world.release(&second).await.image.deployed();
    assert_eq!(shown.image, pinned);
}

#[tokio::test(start_paused = true)]
async fn promotion_takes_the_same_release_with_other_settings() {
    let world = World::new().await;
    let nothing = world
        .deployer
        .promote(&id("orders"), &id("dev"))
        .await
        .unwrap_err();
    assert_eq!(nothing.kind(), IntakeErrorKind::NotPossible);
    assert_eq!(
        nothing.to_string(),
        "nothing is ready in acme/shop/orders in dev: deploy there first"
    );

    let development = world.deploy("orders", "orders:1").await;
    let promoted = world
        .deployer
        .promote(&id("orders"), &id("dev"))
        .await
        .unwrap()
        .deployment;
    world.deployer.work_until_idle().await.unwrap();
    let production = world.read(&promoted).await;
    assert_eq!(
        (production.phase, production.cause.clone()),
        (Phase::Ready, Cause::Promotion)
    );
    assert_eq!(production.release, development.release);
    assert_eq!(
        world.registry.asked.load(Ordering::SeqCst),
        1,
        "the image is not resolved again"
    );
    let shown = world.backend.shown(&target("orders", "prod")).unwrap();
    let Workload::Service(service) = shown.workload else {
        panic!("it is a Service")
    };
    assert_eq!(service.scaling, Scaling::fixed(3));

    let last = world
        .deployer
        .promote(&id("orders"), &id("prod"))
        .await
        .unwrap_err();
    assert_eq!(
        last.to_string(),
        "environment prod is the last: there is none to promote to"
    );
}

#[tokio::test(start_paused = true)]
async fn rollback_brings_the_release_before_back_and_holds() {
    let world = World::new().await;
    let first = world.deploy("orders", "orders:1").await;
    world.deploy("orders", "orders:2").await;
    let request = RollbackRequest::new(id("orders"), id("dev"));
    let rollback = world.deployer.rollback(request).await.unwrap().deployment;
    world.deployer.work_until_idle().await.unwrap();
    let rollback = world.read(&rollback).await;
    assert_eq!(
        (rollback.phase, rollback.release),
        (Phase::Ready, first.release)
    );

    let automatic = || submission("orders", "orders:3", Cause::PushEvent);
    let held = world.deployer.accept(automatic()).await.unwrap_err();
    assert_eq!(held.kind(), IntakeErrorKind::Held);
    assert!(
        world
            .deployer
            .release_hold(&id("orders"), &id("dev"))
            .await
            .unwrap()
    );
    world
        .deployer
        .accept(automatic())
        .await
        .expect("accepts again");

    let never =
        RollbackRequest::new(id("orders"), id("dev")).to_release(ReleaseNumber::new(9).unwrap());
    let error = world.deployer.rollback(never).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "release 9 was never ready in acme/shop/orders in dev"
    );
}

#[tokio::test(start_paused = true)]
async fn rollback_after_a_failure_goes_back_to_what_was_ready() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let second = world.deploy("orders", "orders:2").await;
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    world.deploy("orders", "orders:3").await;
    let request = RollbackRequest::new(id("orders"), id("dev"));
    let rollback = world.deployer.rollback(request).await.unwrap().deployment;
    assert_eq!(rollback.release, second.release);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_by_its_own_component_alone() {
    let world = World::new().await;
    world.deploy("report", "report:1").await;
    let run = world
        .deployer
        .run_task(RunRequest::new(id("report")))
        .await
        .unwrap();
    let error = world
        .deployer
        .cancel_run(&id("orders"), &run.id)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("component orders has no run {}", run.id)
    );
}

#[tokio::test(start_paused = true)]
async fn what_got_ready_while_nobody_looked_is_ready() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    // It is applied, and then nobody works until long after its deadline.
    let store: &dyn Store = &*world.store;
    let now = deployment.accepted_at;
    let request = ClaimRequest::new("gone", now, now);
    let claimed = store.claim(&request).await.unwrap().expect("it is due");
    let image = ReleaseImage::unpinned("registry.example.com/shop/orders:1".parse().unwrap())
        .pinned(Pin::new(Digest::sha256_of(b"1"), Pinning::Resolved));
    let workload = claimed.workload.clone().expect("an image was asked for");
    let draft = ReleaseDraft::new(workload, image);
    let release = store
        .record_release(&claimed.claim, draft, now)
        .await
        .unwrap();
    let intent = Intent::new(&deployment.target, deployment.generation, &release);
    world.backend.apply(&intent).await.unwrap();
    let mut progress = Progress::new(Phase::Progressing, now, now);
    progress.applied = true;
    store.put_back(&claimed.claim, progress).await.unwrap();
    tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_read_is_pinned_to_what_runs() {
    let world = World::new().await;
    let here = reason(ReasonCode::RegistryUnreachable);
    world.registry.will_say(ResolveError::NotCheckable(here), 1);
    let asked: ImageReference = "registry.example.com/shop/orders:1".parse().unwrap();
    let running = Digest::sha256_of(b"what the data plane pulled");
    world.backend.report_digest(asked.clone(), running);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(
        world.backend.shown(&deployment.target).unwrap().image,
        asked,
        "deployed by tag"
    );
    let pin = world
        .release(&deployment)
        .await
        .image
        .pin
        .expect("pinned afterwards");
    assert_eq!((pin.digest, pin.by), (running, Pinning::Observed));
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_ci_claims_is_what_runs() {
    let world = World::new().await;
    let digest = Digest::sha256_of(b"built by ci");
    let mut submission = submission("orders", "orders:1", Cause::Manual);
    submission.image.claimed = Some(digest);
    let accepted = world.deployer.accept(submission).await.unwrap().deployment;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&accepted).await.phase, Phase::Ready);
    let shown = world.backend.shown(&target("orders", "dev")).unwrap();
    assert_eq!(shown.image.digest(), Some(&digest));
}

#[tokio::test(start_paused = true)]
async fn an_image_for_another_processor_fails_before_anything_is_applied() {
    let world = World::new().await;
    world
        .registry
        .platforms
        .lock()
        .unwrap()
        .push("linux/arm64".to_owned());
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(codes(&deployment), [ReasonCode::ImagePlatformMismatch]);
    assert_eq!(
        deployment.reasons[0].message,
        "the image is built for linux/arm64 but data plane eu-1 runs linux/amd64"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_rollout_is_a_failed_deployment() {
    let world = World::new().await;
    let reference: ImageReference = "registry.example.com/shop/orders:1".parse().unwrap();
    let digest = Digest::sha256_of(reference.as_str().as_bytes());
    let deployed = reference.without_tag().with_digest(digest);
    world
        .backend
        .fail_image(deployed, reason(ReasonCode::ContainerCrashed));
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(
        (deployment.phase, codes(&deployment)),
        (Phase::Failed, vec![ReasonCode::ContainerCrashed])
    );
}

#[tokio::test(start_paused = true)]
async fn refusals_say_what_to_do() {
    let world = World::new().await;
    let refused = async |submission: Submission| {
        let error = world.deployer.accept(submission).await.unwrap_err();
        (error.kind(), error.to_string())
    };
    let elsewhere = RequestedImage::new("ghcr.io/shop/orders:1".parse().unwrap());
    let unknown = submission("orders", "orders:1", Cause::Manual).to_environment(id("staging"));
    let production = submission("orders", "orders:1", Cause::PushEvent).to_environment(id("prod"));
    for (submission, kind, text) in [
        (
            submission("nothing", "orders:1", Cause::Manual),
            IntakeErrorKind::UnknownComponent,
            "component nothing does not exist",
        ),
        (
            Submission::new(id("orders"), elsewhere, Cause::Manual),
            IntakeErrorKind::ImageNotInRegistry,
            "image \"ghcr.io/shop/orders:1\" is not in the component's registry registry.example.com: push it there, or register the registry \"ghcr.io\" and bind the component to it",
        ),
        (
            unknown,
            IntakeErrorKind::UnknownEnvironment,
            "component orders has no environment staging: it has dev, prod",
        ),
        (
            production,
            IntakeErrorKind::NotPossible,
            "environment prod takes promotions only: deploy to dev and promote from there",
        ),
    ] {
        assert_eq!(refused(submission).await, (kind, text.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_commit_from_ci_deploys_once_and_again_after_a_failure() {
    let world = World::new().await;
    let (now, later) = (
        Timestamp::from_second(1_700_000_000).unwrap(),
        Timestamp::from_second(1_800_000_000).unwrap(),
    );
    let record = TokenRecord::new(
        id("t-1"),
        (id("acme"), id("orders")),
        TokenDigest::new([0; 32]),
        (now, later),
    );
    world.store.issue_token(record).await.unwrap();
    let provenance = || Provenance::new(Some("abc123".to_owned()), None);
    let ci =
        || submission("orders", "orders:1", Cause::Ci(id("t-1"))).with_provenance(provenance());
    world
        .registry
        .will_say(ResolveError::Failed(reason(ReasonCode::ImageNotFound)), 1);

    let first = world.deployer.accept(ci()).await.unwrap();
    let again = world.deployer.accept(ci()).await.unwrap();
    assert!(again.replayed && again.deployment.id == first.deployment.id);
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&first.deployment).await.phase, Phase::Failed);

    let retried = world.deployer.accept(ci()).await.unwrap();
    assert!(
        !retried.replayed,
        "a pipeline that is run again wants another attempt"
    );
    let same = world.deployer.accept(ci()).await.unwrap();
    assert_eq!(same.deployment.id, retried.deployment.id);
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&retried.deployment).await.phase, Phase::Ready);
    assert!(world.deployer.accept(ci()).await.unwrap().replayed);

    let moving = || submission("orders", "orders:latest", Cause::Ci(id("t-1")));
    let one = world.deployer.accept(moving()).await.unwrap().deployment.id;
    let other = world.deployer.accept(moving()).await.unwrap().deployment.id;
    assert_ne!(one, other, "a tag without a commit may have moved");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_run_with_what_is_ready() {
    let world = World::new().await;
    let run = || RunRequest::new(id("report"));
    let error = world.deployer.run_task(run()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "target has no ready release: deploy one first"
    );
    world.deploy("report", "report:1").await;
    let overrides = RunOverrides::args(vec!["--all".to_owned()]);
    let good = world
        .deployer
        .run_task(run().with_overrides(overrides))
        .await
        .unwrap();
    world.deployer.work_until_idle().await.unwrap();
    let wait = async |run: &choreo_deploy::run::Run| {
        let waited = world
            .deployer
            .wait_run(&id("report"), &run.id, Duration::from_secs(1))
            .await;
        waited.unwrap().unwrap()
    };
    assert_eq!(
        (wait(&good).await.phase, wait(&good).await.exit_code),
        (RunPhase::Succeeded, Some(0))
    );
    world.backend.fail_run(3);
    let bad = world.deployer.run_task(run()).await.unwrap();
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(
        (wait(&bad).await.phase, wait(&bad).await.exit_code),
        (RunPhase::Failed, Some(3))
    );

    let cancelled = world.deployer.run_task(run()).await.unwrap();
    world
        .deployer
        .cancel_run(&id("report"), &cancelled.id)
        .await
        .unwrap();
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(wait(&cancelled).await.phase, RunPhase::Cancelled);

    let error = world
        .deployer
        .run_task(RunRequest::new(id("orders")))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "component orders is a Service: only tasks are run"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_runs_next_goes_on() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    // The process ends somewhere in the middle, again and again.
    for millis in 0..40 {
        let run = world.deployer.run(std::future::pending());
        let _ = tokio::time::timeout(Duration::from_millis(millis), run).await;
    }
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn removal_is_a_deployment_too() {
    let world = World::new().await;
    let deployment = world.deploy("orders", "orders:1").await;
    let removal = world
        .deployer
        .remove(&id("orders"), &id("dev"))
        .await
        .unwrap()
        .deployment;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&removal).await.phase, Phase::Ready);
    assert_eq!(world.backend.shown(&deployment.target), None);
    assert!(
        world
            .deployer
            .promote(&id("orders"), &id("dev"))
            .await
            .is_err(),
        "nothing is ready"
    );
}

/// A data plane that hangs, panics or is stale, as it is told.
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
impl DeploymentBackend for BrokenBackend {
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

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.inner.observe(target).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
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
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        None
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        None
    }
}

/// `orders` goes to a broken data plane, `billing` to a good one.
async fn beside(broken: Arc<BrokenBackend>) -> (World, Deployment, Deployment) {
    let good = Arc::new(InMemoryBackend::new());
    let planes: [(_, Arc<dyn DeploymentBackend>); 2] =
        [(id("eu-1"), broken), (id("us-1"), good.clone())];
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
    // Many more than may work on one data plane at once.
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
    ];
    assert_eq!(codes(&orders), expected);
    assert_eq!(
        orders.reasons[1].message,
        "apply failed: connection refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_is_taken_up_after_its_lease() {
    let (world, orders, billing) = beside(BrokenBackend::new(How::PanicsOnce)).await;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&billing).await.phase, Phase::Ready);
    let orders = world.read(&orders).await;
    assert_eq!(orders.phase, Phase::Ready);
    assert!(
        orders
            .changed_at
            .duration_since(orders.accepted_at)
            .as_secs()
            >= 30
    );
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
    let component = &deployment.target.component;
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
        .get(&id("billing"), &deployment.id)
        .await
        .unwrap();
    assert_eq!(
        others, None,
        "a deployment of another component is not shown"
    );
}
