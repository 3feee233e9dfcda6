//! The control plane, put together of its parts.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::deployer::{Deployer, Parts};
use choreo_deploy::id::{ComponentId, ComponentKey, RegistryId};
use choreo_deploy::resolver::ClientResolver;
use choreo_deploy::sealer::Sealer;
use choreo_deploy_sqlite::SqliteStore;
use choreo_registry::client::ReqwestTransport;

use crate::config::{ComponentEntry, Configuration, OpenRegistry};
use crate::failure::Failure;
use crate::registration::Registering;
use crate::{data_plane, registration};

/// What a control plane knows and stores, without its data planes.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) registries: std::collections::BTreeMap<RegistryId, OpenRegistry>,
    pub(crate) transport: Arc<ReqwestTransport>,
}

impl Records {
    /// Opens the store beside whoever else has it open. Nothing is written.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let (configuration, secrets) = Configuration::open(path)
            .map_err(|problems| Failure::configuration(path, &problems))?;
        Ok(Self {
            store: Arc::new(SqliteStore::open_shared(&configuration.store).await?),
            configuration: Arc::new(configuration),
            sealer: Arc::new(secrets.sealer),
            registries: secrets.registries,
            transport: Arc::new(secrets.transport),
        })
    }

    /// A component of the one organization that the configuration is about.
    pub(crate) fn key(&self, component: &ComponentId) -> ComponentKey {
        ComponentKey::new(self.configuration.organization.clone(), component.clone())
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Result<&ComponentEntry, Failure> {
        component(&self.configuration, id)
    }
}

/// A component of the configuration, or the refusal.
pub(crate) fn component<'a>(
    configuration: &'a Configuration,
    id: &ComponentId,
) -> Result<&'a ComponentEntry, Failure> {
    let entry = configuration.component(id);
    entry.ok_or_else(|| {
        let known = configuration.components.iter();
        Failure::missing(
            format_args!("component {id}"),
            known.map(|entry| &entry.component.id),
        )
    })
}

/// A whole control plane: records, data planes and the deployer between them.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) records: Records,
    pub(crate) deployer: Deployer,
}

impl ControlPlane {
    /// Opens everything and brings the store's registries up to date, unless the command only reads.
    pub(crate) async fn open(path: &Path, registering: Registering) -> Result<Self, Failure> {
        let records = Records::open(path).await?;
        registration::register_all(&records, registering).await?;
        let configuration = &records.configuration;
        let mut backends = HashMap::new();
        for entry in &configuration.data_planes {
            backends.insert(
                entry.data_plane.id.clone(),
                data_plane::connect(entry).await?,
            );
        }
        let deployer = Deployer::new(Parts {
            store: Arc::clone(&records.store) as _,
            catalog: Arc::clone(configuration) as _,
            backends: Arc::new(backends),
            resolver: Arc::new(ClientResolver::new(Arc::clone(&records.transport) as _)),
            sealer: Arc::clone(&records.sealer),
        });
        let deployer = deployer.with_options(configuration.options.clone());
        Ok(Self { records, deployer })
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
