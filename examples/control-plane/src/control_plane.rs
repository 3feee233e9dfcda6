//! The control plane, assembled from its parts.

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::backend::Backends;
use choreo_deploy::catalog::Stage;
use choreo_deploy::deployer::{Deployer, DeployerParts};
use choreo_deploy::id::{ComponentId, ComponentKey, DataPlaneId, EnvironmentId};
use choreo_deploy::resolver::ClientResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{InMemoryStore, Store, TargetQuery, TargetState};
use choreo_deploy_sqlite::{OpenError, SqliteStore};
use choreo_registry_client::{egress::Egress, transport::ReqwestTransport};

use crate::config::{ComponentEntry, Configuration, Secrets};
use crate::data_plane::DataPlanes;
use crate::failure::Failure;
use crate::registration::{self, Registering};

/// The configuration and the store of a control plane. It contains no secret.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) store: Arc<dyn Store>,
}

impl Records {
    /// Opens the store, which other processes may have open too, and creates it if there is none.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        Self::writing(configuration(path)?).await
    }

    /// Opens the store read-only. Nothing is created: if there is no store, this one is empty.
    pub(crate) async fn read(path: &Path) -> Result<Self, Failure> {
        let configuration = configuration(path)?;
        let store: Arc<dyn Store> = match SqliteStore::open_read_only(&configuration.store).await {
            Err(OpenError::Missing(_)) => Arc::new(InMemoryStore::new()),
            store => Arc::new(store?),
        };
        Ok(Self {
            configuration: Arc::new(configuration),
            store,
        })
    }

    async fn writing(configuration: Configuration) -> Result<Self, Failure> {
        let store = SqliteStore::open_shared(&configuration.store).await?;
        Ok(Self {
            configuration: Arc::new(configuration),
            store: Arc::new(store),
        })
    }

    /// Returns a deployer for queries only: it opens no credential and connects to no registry.
    pub(crate) fn asking(&self, backends: Arc<dyn Backends>) -> Result<Deployer, Failure> {
        let unused = |error: &(dyn Error + 'static)| {
            Failure::unavailable("the deployer for queries cannot be created").caused_by(error)
        };
        // A deployer needs a key. Nothing is sealed with it, because the store is read-only.
        let key = SealingKey::new("unused", [0; 32]).map_err(|error| unused(&error))?;
        let transport = ReqwestTransport::new(Egress::tenant()).map_err(|error| unused(&error))?;
        let parts = self.parts((Sealer::new(key).into(), transport.into()), backends);
        Ok(Deployer::new(parts))
    }

    fn parts(
        &self,
        (sealer, transport): (Arc<Sealer>, Arc<ReqwestTransport>),
        backends: Arc<dyn Backends>,
    ) -> DeployerParts {
        DeployerParts {
            store: Arc::clone(&self.store) as _,
            catalog: Arc::clone(&self.configuration) as _,
            backends,
            resolver: Arc::new(ClientResolver::new(transport as _)),
            sealer,
        }
    }

    /// Returns the key of a component of the organization in the configuration.
    pub(crate) fn key(&self, component: &ComponentId) -> ComponentKey {
        ComponentKey::new(self.configuration.organization.clone(), component.clone())
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Result<ComponentEntry, Failure> {
        component(&self.configuration, id)
    }

    /// Returns the stage of a component in an environment, or the first one.
    pub(crate) fn stage_of(
        &self,
        component: &ComponentId,
        environment: Option<&EnvironmentId>,
    ) -> Option<Stage> {
        let mut stages = self.configuration.plan(component)?.stages.into_iter();
        stages.find(|stage| environment.is_none_or(|id| stage.environment.id == *id))
    }

    /// Returns the targets of a component, also of one that the configuration does not contain.
    /// Returns a failure if neither the store nor the configuration contains it.
    pub(crate) async fn targets(&self, id: &ComponentId) -> Result<Vec<TargetState>, Failure> {
        let query = TargetQuery::of_component(self.key(id));
        let targets = self.store.targets(&query).await?;
        if targets.is_empty() {
            self.component(id)?;
        }
        Ok(targets)
    }
}

/// Reads the configuration without its secrets.
pub(crate) fn configuration(path: &Path) -> Result<Configuration, Failure> {
    Configuration::read(path).map_err(|problems| Failure::configuration(path, &problems))
}

/// Reads the configuration and its secrets.
pub(crate) fn unsealed(path: &Path) -> Result<(Configuration, Secrets), Failure> {
    Configuration::open(path).map_err(|problems| Failure::configuration(path, &problems))
}

/// Returns a component of the configuration, or a failure that names the known ones.
pub(crate) fn component(
    configuration: &Configuration,
    id: &ComponentId,
) -> Result<ComponentEntry, Failure> {
    let entry = configuration.component(id);
    entry.ok_or_else(|| Failure::missing(("component", id), configuration.components.ids()))
}

/// A control plane: records, data planes and a deployer.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) records: Records,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) data_planes: Arc<DataPlanes>,
    pub(crate) deployer: Deployer,
}

impl ControlPlane {
    /// Opens everything and updates the registries in the store. No data plane is connected yet.
    pub(crate) async fn open(path: &Path, registering: Registering) -> Result<Self, Failure> {
        let (configuration, secrets) = unsealed(path)?;
        let records = Records::writing(configuration).await?;
        registration::register_all((&records, &secrets), registering).await?;
        let configuration = &records.configuration;
        let data_planes = Arc::<DataPlanes>::default();
        let Secrets {
            sealer, transport, ..
        } = secrets;
        let parts = (Arc::clone(&sealer), transport);
        let parts = records.parts(parts, Arc::clone(&data_planes) as _);
        let deployer = Deployer::new(parts).with_options(configuration.options.clone());
        Ok(Self {
            records,
            sealer,
            data_planes,
            deployer,
        })
    }

    /// Connects data planes for a command that works on a component in an environment, or in the first
    /// one. Returns a failure if the data plane there is not connected.
    pub(crate) async fn reach(
        &self,
        component: &ComponentId,
        environment: Option<&EnvironmentId>,
    ) -> Result<(), Failure> {
        let Some(stage) = self.records.stage_of(component, environment) else {
            // There is no such place, and the deployer rejects it.
            return Ok(());
        };
        let (environment, data_plane) = (stage.environment.id, stage.data_plane.id);
        let query = TargetQuery::of_component(self.records.key(component));
        let mut needed = BTreeSet::from([data_plane.clone()]);
        // A component that has moved is also removed from where it was.
        for state in self.records.store.targets(&query).await? {
            if state.target.environment == environment {
                needed.extend(state.planes);
            }
        }
        self.connect(&needed).await;
        self.data_planes.require(&data_plane)
    }

    /// Connects data planes, and waits for those that are needed.
    pub(crate) async fn connect(&self, needed: &BTreeSet<DataPlaneId>) {
        let configuration = &self.records.configuration;
        self.data_planes.connect_needed(configuration, needed).await;
    }

    /// Waits for a future while this process works on everything that is due, as other processes may do.
    /// The steps that are under way get a limited time to end afterwards. The next process that works
    /// continues with the rest.
    pub(crate) async fn work_until<T>(&self, done: impl Future<Output = T>) -> T {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let deployer = self.deployer.clone();
        let worker = tokio::spawn(async move {
            deployer.run(async { _ = stopped.await }).await;
        });
        let done = done.await;
        drop(stop);
        if tokio::time::timeout(LAST_STEPS, worker).await.is_err() {
            tracing::warn!("steps under way were abandoned; a later process continues with them");
        }
        done
    }
}

/// The time that steps under way get to end.
const LAST_STEPS: Duration = Duration::from_secs(5);
