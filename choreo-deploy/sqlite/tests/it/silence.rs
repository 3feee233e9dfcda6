//! Guards a worker against data planes that never respond and registries that are dead or slow.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, DeploymentBackend, Intent, LogReader, Pull, TaskRunner,
};
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::{Deployer, DeployerOptions, DeployerParts};
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase, RequestedImage};
use choreo_deploy::id::{ComponentKey, DataPlaneId};
use choreo_deploy::intake::Submission;
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::rollout::Rollout;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{NewRegistry, RegistryStore as _};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{InMemoryBackend, Intake as _, Target};
use choreo_deploy_sqlite::SqliteStore;
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::image::{MediaType, ResolvedImage};
use choreo_registry::{Digest, ImageReference};
use tempfile::TempDir;

/// The time in which a healthy target becomes ready.
const SOON: Duration = Duration::from_secs(2);

/// A data plane that accepts every call and never responds.
#[derive(Debug)]
struct Dead;

#[async_trait]
impl DeploymentBackend for Dead {
    async fn apply(&self, _: &Intent<'_>) -> Result<(), BackendError> {
        std::future::pending().await
    }

    async fn observe(&self, _: &Target) -> Result<Rollout, BackendError> {
        std::future::pending().await
    }

    async fn settle(&self, _: &Target, _: Generation) -> Result<(), BackendError> {
        std::future::pending().await
    }

    async fn take_back(
        &self,
        _: &Target,
        _: Generation,
        _: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        std::future::pending().await
    }

    async fn update_pull_secret(
        &self,
        _: &Target,
        _: Generation,
        _: &Pull<'_>,
    ) -> Result<(), BackendError> {
        std::future::pending().await
    }

    async fn remove(&self, _: &Target, _: Generation) -> Result<(), BackendError> {
        std::future::pending().await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        None
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        None
    }
}

/// Registries that never respond, or respond late, depending on their names.
#[derive(Debug)]
struct Registries;

#[async_trait]
impl ImageResolver for Registries {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        match access.host.as_str().split('-').next() {
            Some("dead") => std::future::pending().await,
            Some("slow") => tokio::time::sleep(3 * SOON).await,
            _ => {}
        }
        let digest = Digest::sha256_of(image.as_str().as_bytes());
        Ok(ResolvedImage::new(digest, MediaType::OciManifest))
    }
}

/// A component and its dependencies.
pub(crate) struct Place {
    component: String,
    organization: String,
    plane: String,
    host: String,
}

impl Place {
    /// Creates a component of another organization whose dependencies all respond.
    pub(crate) fn healthy() -> Self {
        Self {
            component: "healthy".to_owned(),
            organization: "healthy".to_owned(),
            plane: "eu-1".to_owned(),
            host: "registry.example.com".to_owned(),
        }
    }

    /// Creates a component on a data plane that never responds, one of many.
    pub(crate) fn dead(number: usize) -> Self {
        Self {
            component: format!("waiting-{number}"),
            organization: "other".to_owned(),
            plane: "dead-1".to_owned(),
            ..Self::healthy()
        }
    }

    pub(crate) fn key(&self) -> ComponentKey {
        let organization = self.organization.parse().unwrap();
        ComponentKey::new(organization, self.component.parse().unwrap())
    }

    fn registry(&self) -> NewRegistry {
        let id = self.host.replace('.', "-").parse().unwrap();
        let id = (self.organization.parse().unwrap(), id);
        let host = self.host.parse().unwrap();
        NewRegistry::new(id, "Images", host, AuthenticationType::Public)
    }

    fn plan(&self) -> Plan {
        let project = Project::new(self.organization.parse().unwrap(), "shop".parse().unwrap());
        let id = self.component.parse().unwrap();
        let registry = self.registry().id;
        let component = Component::new(id, project, ComponentType::ManualTask, registry);
        let plane = || self.plane.parse().unwrap();
        let development = Environment::new("dev".parse().unwrap(), plane());
        Plan::new(component, ManualTask::new())
            .then(Stage::new(development, DataPlane::new(plane())))
    }
}

/// Creates components for many data planes or registries, four on each.
fn beside(silent: usize, what: impl Fn(usize, Place) -> Place) -> Vec<Place> {
    let mut places = Vec::new();
    for number in 0..silent {
        for part in 0..4 {
            // One organization has all even ones.
            let organization = match number % 2 {
                0 => "one".to_owned(),
                _ => format!("other-{number}"),
            };
            let place = Place {
                component: format!("c-{number}-{part}"),
                organization,
                ..Place::healthy()
            };
            places.push(what(number, place));
        }
    }
    places.push(Place::healthy());
    places
}

pub(crate) struct World {
    pub(crate) deployer: Deployer,
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) async fn new(places: &[Place]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("choreo.db"))
            .await
            .unwrap();
        let mut backends: HashMap<DataPlaneId, Arc<dyn DeploymentBackend>> = HashMap::new();
        let mut registries = BTreeSet::new();
        for place in places {
            let plane: Arc<dyn DeploymentBackend> = match place.plane.starts_with("dead") {
                true => Arc::new(Dead),
                false => Arc::new(InMemoryBackend::new()),
            };
            backends.insert(place.plane.parse().unwrap(), plane);
            if registries.insert((&place.organization, &place.host)) {
                store.put_registry(place.registry(), None).await.unwrap();
            }
        }
        let deployer = Deployer::new(DeployerParts {
            store: Arc::new(store),
            catalog: Arc::new(StaticCatalog::new(places.iter().map(Place::plan))),
            backends: Arc::new(backends),
            resolver: Arc::new(Registries),
            sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
        });
        Self {
            deployer,
            directory,
        }
    }

    pub(crate) async fn submit(&self, place: &Place) -> Deployment {
        let image = format!("{}/app:1", place.host).parse().unwrap();
        let image = RequestedImage::new(image);
        let submission = Submission::new(place.key(), image, Cause::Manual);
        self.deployer.accept(submission).await.unwrap().deployment
    }
}

/// The healthy component arrives when the worker has reached its limits.
async fn healthy_is_ready_soon(what: impl Fn(usize, Place) -> Place) {
    let steps = DeployerOptions::default().steps.get();
    for silent in 1..=steps + 1 {
        let places = beside(silent, &what);
        let world = World::new(&places).await;
        let (healthy, others) = places.split_last().unwrap();
        let mut submitted = Vec::new();
        for place in others {
            submitted.push(world.submit(place).await);
        }
        let ready = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let last = world.submit(healthy).await;
            world.deployer.wait(&healthy.key(), &last.id, SOON).await
        };
        let found = tokio::select! {
            () = world.deployer.run(std::future::pending()) => unreachable!("it works for ever"),
            found = ready => found.unwrap().unwrap(),
        };
        let beside = &others[0];
        assert_eq!(
            found.phase,
            Phase::Ready,
            "beside {silent} of {}, {}",
            beside.plane,
            beside.host
        );
        let other = world.deployer.get(&beside.key(), &submitted[0].id).await;
        assert!(!other.unwrap().unwrap().phase.is_final(), "it is silent");
    }
}

/// Guards that dead data planes delay no other deployment: four of them used to delay everything
/// for two minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_data_planes_hold_up_nobody() {
    healthy_is_ready_soon(|number, place| Place {
        plane: format!("dead-{number}"),
        ..place
    })
    .await;
}

/// Guards that a dead registry delays no other deployment: four deployments from one used to delay
/// others for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_registries_hold_up_nobody() {
    healthy_is_ready_soon(|number, place| Place {
        host: format!("dead-{number}.example.com"),
        ..place
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_registries_hold_up_nobody() {
    healthy_is_ready_soon(|number, place| Place {
        host: format!("slow-{number}.example.com"),
        ..place
    })
    .await;
}

/// Guards both at the same time, with every deployment from one registry of one organization.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_data_planes_behind_one_slow_registry_hold_up_nobody() {
    healthy_is_ready_soon(|number, place| Place {
        plane: format!("dead-{number}"),
        host: "slow-0.example.com".to_owned(),
        organization: "one".to_owned(),
        ..place
    })
    .await;
}
