//! Connects to data planes.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};

use choreo_deploy::backend::Backends;
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::{DeploymentBackend, InMemoryBackend};
use choreo_deploy_kubernetes::KubernetesBackend;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::{BackendEntry, ClusterAccess, Configuration, DataPlaneEntry};
use crate::failure::with_causes;

/// The data planes. One that cannot be connected stops none of the others.
#[derive(Debug, Default)]
pub(crate) struct DataPlanes(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    connected: HashMap<DataPlaneId, Arc<dyn DeploymentBackend>>,
    /// Why each of the others is not.
    out: BTreeMap<DataPlaneId, String>,
}

impl DataPlanes {
    /// Connects those that are not connected, and logs what has changed.
    pub(crate) async fn connect(&self, configuration: &Configuration) {
        for entry in &configuration.data_planes {
            let id = &entry.data_plane.id;
            if self.get(id).is_some() {
                continue;
            }
            let connected = connect(entry).await;
            let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
            match connected {
                Ok(backend) => {
                    if state.out.remove(id).is_some() {
                        tracing::info!(data_plane = %id, "connected");
                    }
                    state.connected.insert(id.clone(), backend);
                }
                Err(why) => {
                    if state.out.get(id) != Some(&why) {
                        tracing::error!(data_plane = %id, why, "not connected");
                    }
                    state.out.insert(id.clone(), why);
                }
            }
        }
    }

    /// Why a data plane is not connected; `None` when it is.
    pub(crate) fn why_out(&self, id: &DataPlaneId) -> Option<String> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.out.get(id).cloned()
    }

    /// Whether all are connected.
    pub(crate) fn is_whole(&self) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.out.is_empty()
    }
}

impl Backends for DataPlanes {
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.connected.get(data_plane).map(Arc::clone)
    }
}

/// The backend of a data plane, or why there is none. Nothing is asked of a cluster yet.
pub(crate) async fn connect(entry: &DataPlaneEntry) -> Result<Arc<dyn DeploymentBackend>, String> {
    let access = match &entry.backend {
        BackendEntry::Kubernetes(access) => access,
        BackendEntry::Memory => return Ok(Arc::new(InMemoryBackend::new())),
    };
    let client = client(access).await.map_err(|error| with_causes(&*error))?;
    let backend = KubernetesBackend::new(client, entry.policy.clone());
    Ok(Arc::new(backend))
}

/// A client of a cluster. Nothing is asked yet.
pub(crate) async fn client(
    access: &ClusterAccess,
) -> Result<kube::Client, Box<dyn Error + Send + Sync>> {
    let (file, context) = match access {
        ClusterAccess::Kubeconfig { file, context } => (file, context),
        ClusterAccess::InCluster => {
            let config = kube::Config::incluster().map_err(|error| {
                let why = with_causes(&error);
                format!("this runs in no pod with a service account: {why}")
            })?;
            return Ok(kube::Client::try_from(config)?);
        }
    };
    let kubeconfig = match file {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    let options = KubeConfigOptions {
        context: context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(kube::Client::try_from(config)?)
}
