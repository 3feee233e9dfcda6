//! Many components of several organizations, data planes and registries, some of them dead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{BackendError, DeploymentBackend as _, Intent, RunIntent, TaskRunner};
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::clock::Clock;
use choreo_deploy::deployer::{DeployerOptions, DeployerParts};
use choreo_deploy::deployment::{Cause, Deployment, Generation, RequestedImage};
use choreo_deploy::id::{ComponentKey, RunId};
use choreo_deploy::intake::Submission;
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::rollout::{Rollout, RolloutPhase, RunStatus};
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

/// A data plane that can be dead or slow, or panic.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    pub(crate) inner: InMemoryBackend,
    pub(crate) dead: AtomicBool,
    pub(crate) never_ready: AtomicBool,
    pub(crate) panics_when_looked_at: AtomicBool,
    pub(crate) calls: AtomicUsize,
    pub(crate) latency: Mutex<Duration>,
}

impl Plane {
    pub(crate) async fn pass(&self) {
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

/// Registries. Those whose name begins with `dead` never answer.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    pub(crate) asked: AtomicUsize,
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

/// A virtual clock that can be set.
#[derive(Clone, Debug)]
pub(crate) struct Jumping(Arc<AtomicI64>, tokio::time::Instant);

impl Jumping {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), tokio::time::Instant::now())
    }

    pub(crate) fn jump(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let jumped = SignedDuration::from_secs(self.0.load(Ordering::SeqCst));
        Timestamp::from_second(1_700_000_000).unwrap() + self.1.elapsed() + jumped
    }
}

/// A deployer with several data planes and registries.
pub(crate) struct World {
    pub(crate) store: Arc<TestStore>,
    pub(crate) planes: HashMap<String, Arc<Plane>>,
    pub(crate) registries: Arc<Registries>,
    pub(crate) clock: Jumping,
    pub(crate) deployer: Deployer,
}

/// A component with its organization, data plane and registry.
pub(crate) struct Place<'a> {
    pub(crate) component: String,
    pub(crate) organization: &'a str,
    pub(crate) plane: String,
    pub(crate) host: String,
}

impl Place<'_> {
    pub(crate) fn key(&self) -> ComponentKey {
        ComponentKey::new(id(self.organization), id(&self.component))
    }

    pub(crate) fn plan(&self) -> Plan {
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
    pub(crate) async fn new(places: &[Place<'_>], options: DeployerOptions) -> Self {
        let store = crate::store::store();
        let mut planes = HashMap::new();
        for place in places {
            let plane: &mut Arc<Plane> = planes.entry(place.plane.clone()).or_default();
            let dead = place.plane.starts_with("dead");
            plane.dead.store(dead, Ordering::SeqCst);
            let key = (id(place.organization), id(&place.host.replace('.', "-")));
            let host = place.host.parse().unwrap();
            let registry = NewRegistry::new(key, "Images", host, AuthenticationType::Public);
            // It exists for the second component of an organization.
            let _ = store.put_registry(registry, None).await;
        }
        let backends = planes.iter().map(|(name, plane)| {
            let plane = layer::backend(plane);
            (id(name), plane)
        });
        let backends: HashMap<choreo_deploy::id::DataPlaneId, _> = backends.collect();
        let (clock, registries) = (Jumping::new(), Arc::new(Registries::default()));
        let deployer = Deployer::new(DeployerParts {
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

    pub(crate) async fn submit(&self, place: &Place<'_>) -> Deployment {
        let image = format!("{}/app:1", place.host).parse().unwrap();
        let image = RequestedImage::new(image);
        let submission = Submission::new(place.key(), image, Cause::Manual);
        self.deployer.accept(submission).await.unwrap().deployment
    }

    pub(crate) async fn work_for(&self, time: Duration) {
        let working = self.deployer.run(std::future::pending());
        let _ = tokio::time::timeout(time, working).await;
    }

    pub(crate) async fn read(&self, deployment: &Deployment) -> Deployment {
        let store: &dyn Store = &*self.store;
        let organization = &deployment.target.organization;
        let found = store.deployment(organization, &deployment.id).await;
        found.unwrap().unwrap()
    }
}
