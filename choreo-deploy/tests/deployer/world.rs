//! Helpers of the tests.

use async_trait::async_trait;
use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::clock::Clock;
use choreo_deploy::deployer::DeployerParts;
use choreo_deploy::deployment::{Cause, Deployment, RequestedImage};
use choreo_deploy::id::{ComponentKey, DataPlaneId};
use choreo_deploy::intake::Submission;
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::release::Release;
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::sealer::{Sealer, SealingContext, SealingKey};
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{ClaimRequest, NewRegistry, Store, StoredCredential};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, Endpoint, ManualTask, Protocol, Scaling, Service};
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::digest::DigestRef;
use choreo_registry::image::{MediaType, ResolvedImage};
use choreo_registry::{Credential, Digest, ImageReference};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::store::TestStore;

/// A deployer with two Services and one Manual Task, in development and production.
pub(crate) struct World {
    pub(crate) store: Arc<TestStore>,
    pub(crate) backend: Arc<InMemoryBackend>,
    pub(crate) registry: Arc<FakeRegistry>,
    pub(crate) deployer: Deployer,
    pub(crate) clock: VirtualClock,
}

impl World {
    pub(crate) async fn new() -> Self {
        let backend = Arc::new(InMemoryBackend::new());
        let plane: Arc<dyn DeploymentBackend> = backend.clone();
        let plans = [service("orders"), service("billing"), task()];
        Self::of(backend, HashMap::from([(id("eu-1"), plane)]), plans).await
    }

    pub(crate) async fn of(
        backend: Arc<InMemoryBackend>,
        backends: HashMap<DataPlaneId, Arc<dyn DeploymentBackend>>,
        plans: impl IntoIterator<Item = Plan>,
    ) -> Self {
        let store = crate::store::store();
        let registry = Arc::new(FakeRegistry::default());
        let sealer = Sealer::new(SealingKey::new("test", [7; 32]).unwrap());
        register(&*store, &sealer, "images").await;
        let clock = VirtualClock::new();
        let deployer = Deployer::new(DeployerParts {
            store: store.clone(),
            catalog: Arc::new(StaticCatalog::new(plans)),
            backends: Arc::new(backends),
            resolver: registry.clone(),
            sealer: Arc::new(sealer),
        })
        .with_clock(clock);
        Self {
            store,
            backend,
            registry,
            deployer,
            clock,
        }
    }

    /// Returns another deployer with the same store, other data planes and another catalog.
    pub(crate) fn with_plans(
        &self,
        planes: impl IntoIterator<Item = (&'static str, Arc<InMemoryBackend>)>,
        plans: impl IntoIterator<Item = Plan>,
    ) -> Deployer {
        let planes = planes
            .into_iter()
            .map(|(name, plane)| (id(name), plane as Arc<dyn DeploymentBackend>));
        self.over(planes.collect(), plans)
    }

    /// The same with any backends.
    pub(crate) fn over(
        &self,
        backends: HashMap<DataPlaneId, Arc<dyn DeploymentBackend>>,
        plans: impl IntoIterator<Item = Plan>,
    ) -> Deployer {
        Deployer::new(DeployerParts {
            store: self.store.clone(),
            catalog: Arc::new(StaticCatalog::new(plans)),
            backends: Arc::new(backends),
            resolver: self.registry.clone(),
            sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
        })
        .with_clock(VirtualClock::new())
    }

    /// Accepts a deployment of a person.
    pub(crate) async fn submit(&self, component: &str, image: &str) -> Deployment {
        let submission = submission(component, image, Cause::Manual);
        self.deployer
            .accept(submission)
            .await
            .expect("accepts")
            .deployment
    }

    /// Accepts a deployment and works until its end.
    pub(crate) async fn deploy(&self, component: &str, image: &str) -> Deployment {
        let deployment = self.submit(component, image).await;
        self.deployer.work_until_idle().await.expect("works");
        self.read(&deployment).await
    }

    /// Claims the due work a number of times, like workers that die at once.
    pub(crate) async fn lose_claims(&self, times: usize) {
        let store: &dyn Store = &*self.store;
        for _ in 0..times {
            tokio::time::sleep(Duration::from_secs(31)).await;
            let now = self.clock.now();
            let lost = ClaimRequest::new("worker", now, now + Duration::from_secs(30));
            assert_eq!(store.claim(&lost).await.unwrap().work.len(), 1);
        }
        tokio::time::sleep(Duration::from_secs(31)).await;
    }

    pub(crate) async fn read(&self, deployment: &Deployment) -> Deployment {
        let component = deployment.target.component_key();
        self.deployer
            .get(&component, &deployment.id)
            .await
            .expect("reads")
            .expect("is stored")
    }

    pub(crate) async fn release(&self, deployment: &Deployment) -> Release {
        let number = deployment.release.expect("it has a release");
        let store: &dyn Store = &*self.store;
        let release = store
            .release(&deployment.target.component_key(), number)
            .await;
        release.expect("reads").expect("is stored")
    }
}

/// A virtual clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VirtualClock(tokio::time::Instant);

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + self.0.elapsed()
    }
}

/// A registry that has every image, except for queued answers.
#[derive(Debug, Default)]
pub(crate) struct FakeRegistry {
    pub(crate) asked: AtomicUsize,
    pub(crate) credentials: Mutex<Vec<String>>,
    pub(crate) answers: Mutex<Vec<ResolveError>>,
    pub(crate) platforms: Mutex<Vec<String>>,
    /// The user of every image's configuration.
    pub(crate) user: Mutex<Option<String>>,
}

impl FakeRegistry {
    /// Queues answers. The last one is the next.
    pub(crate) fn will_say(&self, error: ResolveError, times: usize) {
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
            .map(DigestRef::to_owned)
            .unwrap_or_else(|| Digest::sha256_of(image.as_str().as_bytes()));
        let platforms = self.platforms.lock().unwrap();
        let platforms = platforms
            .iter()
            .map(|platform| platform.parse().unwrap())
            .collect();
        let user = self.user.lock().unwrap().clone();
        let resolved = ResolvedImage::new(digest, MediaType::OciManifest);
        Ok(resolved.with_platforms(platforms).with_user(user))
    }
}

pub(crate) fn id<T: std::str::FromStr<Err = choreo_deploy::id::ParseIdError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) async fn register(store: &dyn Store, sealer: &Sealer, name: &str) {
    let (organization, registry) = (id("acme"), id(name));
    let host = "registry.example.com".parse().unwrap();
    let context = SealingContext::new(&organization, &registry, &host);
    let credential = Credential::new("ada", "correct horse").unwrap();
    let sealed = StoredCredential::Sealed(sealer.seal(&credential, &context).unwrap());
    let registered = NewRegistry::new(
        (organization.clone(), registry.clone()),
        "Images",
        host.clone(),
        AuthenticationType::Basic,
    );
    store
        .put_registry(registered.with_credential(sealed), None)
        .await
        .unwrap();
}

pub(crate) fn stages(plan: Plan) -> Plan {
    let plane = || DataPlane::new(id("eu-1")).with_platform("linux/amd64".parse().unwrap());
    let production = Environment::new(id("prod"), id("eu-1")).production();
    plan.then(Stage::new(Environment::new(id("dev"), id("eu-1")), plane()))
        .then(
            Stage::new(production, plane())
                .with_settings(Settings::default().with_scaling(Scaling::fixed(3))),
        )
}

pub(crate) fn component(name: &str, component_type: ComponentType) -> Component {
    let project = Project::new(id("acme"), id("shop"));
    Component::new(id(name), project, component_type, id("images"))
}

pub(crate) fn service(name: &str) -> Plan {
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

pub(crate) fn task() -> Plan {
    stages(Plan::new(
        component("report", ComponentType::ManualTask),
        ManualTask::new(),
    ))
}

/// Returns the key of a component of acme.
pub(crate) fn key(component: &str) -> ComponentKey {
    ComponentKey::new(id("acme"), id(component))
}

pub(crate) fn target(component: &str, environment: &str) -> Target {
    Target::new(id("acme"), id("shop"), id(component), id(environment))
}

pub(crate) fn submission(component: &str, image: &str, cause: Cause) -> Submission {
    let reference = format!("registry.example.com/shop/{image}")
        .parse()
        .unwrap();
    Submission::new(key(component), RequestedImage::new(reference), cause)
}

pub(crate) fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, "as the test says")
}

pub(crate) fn codes(deployment: &Deployment) -> Vec<ReasonCode> {
    deployment
        .reasons
        .iter()
        .map(|reason| reason.code)
        .collect()
}
