//! The control plane, put together of its parts.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::deployer::{Deployer, Parts};
use choreo_deploy::id::{ComponentId, ComponentKey, EnvironmentId, RegistryId};
use choreo_deploy::resolver::ClientResolver;
use choreo_deploy::sealer::Sealer;
use choreo_deploy::store::{InMemoryStore, Store, TargetQuery, TargetState};
use choreo_deploy_sqlite::{OpenError, SqliteStore};
use choreo_registry::client::ReqwestTransport;

use crate::config::{ComponentEntry, Configuration, OpenRegistry, Secrets};
use crate::data_plane::{self, DataPlanes};
use crate::failure::Failure;
use crate::registration::{self, Registering};

/// What a control plane knows and stores, without its data planes.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) registries: std::collections::BTreeMap<RegistryId, OpenRegistry>,
    pub(crate) transport: Arc<ReqwestTransport>,
}

impl Records {
    /// Opens the store beside whoever else has it open, and makes it when there is none.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let (configuration, secrets) = opened(path)?;
        let store = SqliteStore::open_shared(&configuration.store).await?;
        Ok(Self::new(configuration, secrets, Arc::new(store)))
    }

    /// The same to read only: nothing is made or written. Without a store there is nothing in it.
    pub(crate) async fn read(path: &Path) -> Result<Self, Failure> {
        let (configuration, secrets) = opened(path)?;
        let store: Arc<dyn Store> = match SqliteStore::open_read_only(&configuration.store).await {
            Err(OpenError::Missing(_)) => Arc::new(InMemoryStore::new()),
            store => Arc::new(store?),
        };
        Ok(Self::new(configuration, secrets, store))
    }

    fn new(configuration: Configuration, secrets: Secrets, store: Arc<dyn Store>) -> Self {
        Self {
            store,
            configuration: Arc::new(configuration),
            sealer: Arc::new(secrets.sealer),
            registries: secrets.registries,
            transport: Arc::new(secrets.transport),
        }
    }

    /// A component of the one organization that the configuration is about.
    pub(crate) fn key(&self, component: &ComponentId) -> ComponentKey {
        ComponentKey::new(self.configuration.organization.clone(), component.clone())
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Result<ComponentEntry, Failure> {
        component(&self.configuration, id)
    }

    /// The targets of a component, also of one that has left the configuration; a refusal when nobody
    /// knows it.
    pub(crate) async fn targets(&self, id: &ComponentId) -> Result<Vec<TargetState>, Failure> {
        let query = TargetQuery::of_component(self.key(id));
        let targets = self.store.targets(&query).await?;
        if targets.is_empty() {
            self.component(id)?;
        }
        Ok(targets)
    }
}

fn opened(path: &Path) -> Result<(Configuration, Secrets), Failure> {
    Configuration::open(path).map_err(|problems| Failure::configuration(path, &problems))
}

/// A component of the configuration, or the refusal.
pub(crate) fn component(
    configuration: &Configuration,
    id: &ComponentId,
) -> Result<ComponentEntry, Failure> {
    let entry = configuration.component(id);
    entry.ok_or_else(|| Failure::missing(("component", id), configuration.components.ids()))
}

/// A whole control plane: records, data planes and the deployer between them.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) records: Records,
    pub(crate) data_planes: Arc<DataPlanes>,
    pub(crate) deployer: Deployer,
}

impl ControlPlane {
    /// Opens everything and brings the store's registries up to date, unless the command only reads.
    pub(crate) async fn open(path: &Path, registering: Registering) -> Result<Self, Failure> {
        let records = match registering {
            Registering::Nothing => Records::read(path).await?,
            Registering::Command | Registering::Server => Records::open(path).await?,
        };
        registration::register_all(&records, registering).await?;
        let configuration = &records.configuration;
        let data_planes = Arc::<DataPlanes>::default();
        data_planes
            .connect(configuration, data_plane::PATIENCE)
            .await;
        let deployer = Deployer::new(Parts {
            store: Arc::clone(&records.store) as _,
            catalog: Arc::clone(configuration) as _,
            backends: Arc::clone(&data_planes) as _,
            resolver: Arc::new(ClientResolver::new(Arc::clone(&records.transport) as _)),
            sealer: Arc::clone(&records.sealer),
        });
        let deployer = deployer.with_options(configuration.options.clone());
        Ok(Self {
            records,
            data_planes,
            deployer,
        })
    }

    /// An error when the data plane of a component is not connected, in an environment or the first.
    pub(crate) fn reaches(
        &self,
        component: &ComponentId,
        environment: Option<&EnvironmentId>,
    ) -> Result<(), Failure> {
        let plan = self.records.configuration.plan(component);
        let mut stages = plan.into_iter().flat_map(|plan| plan.stages);
        let stage = stages.find(|stage| environment.is_none_or(|id| stage.environment.id == *id));
        let Some(data_plane) = stage.map(|stage| stage.data_plane.id) else {
            return Ok(());
        };
        match self.data_planes.why_out(&data_plane) {
            Some(why) => Err(Failure::unavailable(format!(
                "data plane {data_plane} is not connected: {why}"
            ))),
            None => Ok(()),
        }
    }

    /// Waits for something while this process works on what is due, beside every other process
    /// that does. The steps under way are ended afterwards, within reason: what is left is gone on
    /// with by whoever works next.
    pub(crate) async fn work_until<T>(&self, done: impl Future<Output = T>) -> T {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let deployer = self.deployer.clone();
        let worker = tokio::spawn(async move {
            deployer.run(async { _ = stopped.await }).await;
        });
        let done = done.await;
        drop(stop);
        if tokio::time::timeout(LAST_STEPS, worker).await.is_err() {
            tracing::warn!("steps under way were left; they are gone on with later");
        }
        done
    }
}

const LAST_STEPS: Duration = Duration::from_secs(5);
