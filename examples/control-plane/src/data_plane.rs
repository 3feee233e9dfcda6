//! Connects to data planes.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use choreo_deploy::backend::Backends;
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::{DeploymentBackend, InMemoryBackend};
use choreo_deploy_kubernetes::KubernetesBackend;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{BackendEntry, ClusterAccess, Configuration, DataPlaneEntry};
use crate::failure::with_causes;

/// How long a data plane may take until it is connected: its credential plugin may ask a cloud.
const PATIENCE: Duration = Duration::from_secs(10);

/// The data planes. One that cannot be connected stops none of the others.
#[derive(Debug, Default)]
pub(crate) struct DataPlanes(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    connected: HashMap<DataPlaneId, Arc<dyn DeploymentBackend>>,
    /// What has not come to an end: nothing ends a credential plugin that hangs, so it is not
    /// started again.
    under_way: HashMap<DataPlaneId, Attempt>,
    /// Why each of the others is not.
    out: BTreeMap<DataPlaneId, String>,
}

impl DataPlanes {
    /// Those of a configuration, connected as far as they can be.
    pub(crate) async fn connected(configuration: &Configuration) -> Arc<Self> {
        let data_planes = Arc::<Self>::default();
        data_planes.connect(configuration, PATIENCE).await;
        data_planes
    }

    /// Connects those that are not connected, all at once, and logs what has changed. What takes
    /// longer than it is waited for goes on, and the next call takes what becomes of it.
    pub(crate) async fn connect(&self, configuration: &Configuration, patience: Duration) {
        let deadline = Instant::now() + patience;
        let entries = configuration.data_planes.iter();
        let out = entries.filter(|entry| self.get(&entry.data_plane.id).is_none());
        let attempts: Vec<_> = out.map(|entry| (entry, self.attempt(entry))).collect();
        for (entry, mut attempt) in attempts {
            let connected = attempt.by(deadline).await;
            self.note(&entry.data_plane.id, attempt, connected);
        }
    }

    /// The attempt that is under way, or a new one.
    fn attempt(&self, entry: &DataPlaneEntry) -> Attempt {
        let under_way = self.write().under_way.remove(&entry.data_plane.id);
        under_way.unwrap_or_else(|| Attempt::begin(entry))
    }

    fn note(
        &self,
        id: &DataPlaneId,
        attempt: Attempt,
        connected: Option<Result<Arc<dyn DeploymentBackend>, String>>,
    ) {
        let mut state = self.write();
        let why = match connected {
            Some(Ok(backend)) => {
                if state.out.remove(id).is_some() {
                    tracing::info!(data_plane = %id, "connected");
                }
                state.connected.insert(id.clone(), backend);
                return;
            }
            Some(Err(why)) => why,
            None => {
                let is_late = attempt.since.elapsed() >= PATIENCE;
                state.under_way.insert(id.clone(), attempt);
                // What went wrong before counts until this attempt is late too.
                if !is_late && state.out.contains_key(id) {
                    return;
                }
                too_long()
            }
        };
        if state.out.get(id) != Some(&why) {
            tracing::error!(data_plane = %id, why, "not connected");
        }
        state.out.insert(id.clone(), why);
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
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

/// The backend of each data plane, or why there is none, in the order of the configuration. Nothing
/// is asked of a cluster yet.
pub(crate) async fn connect_each(
    configuration: &Configuration,
) -> Vec<Result<Arc<dyn DeploymentBackend>, String>> {
    let deadline = Instant::now() + PATIENCE;
    let attempts: Vec<_> = { configuration.data_planes.iter() }
        .map(Attempt::begin)
        .collect();
    let mut connected = Vec::new();
    for mut attempt in attempts {
        let ended = attempt.by(deadline).await;
        connected.push(ended.unwrap_or_else(|| Err(too_long())));
    }
    connected
}

/// Connecting to a data plane. A kubeconfig is read on a thread of its own, which waits for the
/// credential plugin however long that takes.
#[derive(Debug)]
struct Attempt {
    since: Instant,
    connecting: JoinHandle<Result<Arc<dyn DeploymentBackend>, String>>,
}

impl Attempt {
    fn begin(entry: &DataPlaneEntry) -> Self {
        let (backend, policy) = (entry.backend.clone(), entry.policy.clone());
        let connecting = apart(async move {
            let access = match backend {
                BackendEntry::Kubernetes(access) => access,
                BackendEntry::Memory => return Ok(Arc::new(InMemoryBackend::new()) as _),
            };
            let client = open(&access).await.map_err(|error| with_causes(&*error))?;
            Ok(Arc::new(KubernetesBackend::new(client, policy)) as _)
        });
        let since = Instant::now();
        Self { since, connecting }
    }

    /// What became of it; `None` if it is still under way then.
    async fn by(
        &mut self,
        deadline: Instant,
    ) -> Option<Result<Arc<dyn DeploymentBackend>, String>> {
        let ended = tokio::time::timeout_at(deadline, &mut self.connecting).await;
        ended.ok().map(|ended| ended.unwrap_or_else(stopped))
    }
}

/// A client of a cluster, or why there is none. Nothing is asked yet.
pub(crate) async fn client(access: &ClusterAccess) -> Result<kube::Client, String> {
    let access = access.clone();
    let opening = apart(async move { open(&access).await.map_err(|error| with_causes(&*error)) });
    let opened = tokio::time::timeout(PATIENCE, opening).await;
    opened.map_or_else(|_| Err(too_long()), |opened| opened.unwrap_or_else(stopped))
}

/// Runs what blocks while it is polled, on a thread that nobody else needs.
fn apart<T: Send + 'static>(
    blocking: impl Future<Output = Result<T, String>> + Send + 'static,
) -> JoinHandle<Result<T, String>> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(blocking))
}

fn too_long() -> String {
    format!(
        "it is not connected within {} seconds: does the credential plugin of the kubeconfig hang?",
        PATIENCE.as_secs()
    )
}

fn stopped<T>(_: tokio::task::JoinError) -> Result<T, String> {
    Err("connecting was broken off".to_owned())
}

async fn open(access: &ClusterAccess) -> Result<kube::Client, Box<dyn Error + Send + Sync>> {
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
