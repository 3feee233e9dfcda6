//! Connects to data planes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::backend::Backends;
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::{DeploymentBackend, InMemoryBackend};
use choreo_deploy_kubernetes::KubernetesBackend;
use kube::client::{ClientBuilder, ConfigExt as _};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tower::buffer::BufferLayer;

use crate::config::{BackendEntry, ClusterAccess, Configuration, DataPlaneEntry};
use crate::failure::{Failure, with_causes};
use crate::output::Output;

/// The longest time that a command waits for a data plane that it needs. Some credential plugins
/// send requests to a cloud and take more than ten seconds.
const NEEDED: Duration = Duration::from_secs(30);
/// The longest time that a command waits for the other data planes. It works on everything that is
/// due, and a step on a data plane that is not connected fails and is retried later.
const OTHERS: Duration = Duration::from_secs(5);
/// A command that waits longer than this says so.
const SILENCE: Duration = Duration::from_secs(2);
/// The server logs a data plane that does not connect within this time.
const LATE: Duration = Duration::from_secs(10);
/// The number of requests that wait for the connection to a cluster.
const BUFFER: usize = 1024;

/// The data planes. One that cannot be connected does not affect the others.
#[derive(Debug, Default)]
pub(crate) struct DataPlanes(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    connected: HashMap<DataPlaneId, Arc<dyn DeploymentBackend>>,
    /// The start of each attempt that has not ended. Nothing ends a credential plugin that hangs, so
    /// it is not started again.
    under_way: HashMap<DataPlaneId, Instant>,
    /// The reason why each of the others is not connected.
    out: BTreeMap<DataPlaneId, String>,
}

impl DataPlanes {
    /// Connects all data planes that are not connected, waits for them at most this long, and logs
    /// changes. An attempt that takes longer continues.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        configuration: &Configuration,
        patience: Duration,
    ) {
        let entries = &configuration.data_planes;
        entries.iter().for_each(|entry| self.begin(entry));
        let ids: BTreeSet<_> = { entries.iter() }
            .map(|entry| entry.data_plane.id.clone())
            .collect();
        self.ended(&ids, patience).await;
        ids.iter().for_each(|id| self.log_late(id));
    }

    /// Connects all data planes, and waits for those that a command needs. The others get a moment.
    pub(crate) async fn connect_needed(
        self: &Arc<Self>,
        configuration: &Configuration,
        needed: &BTreeSet<DataPlaneId>,
    ) {
        let entries = &configuration.data_planes;
        entries.iter().for_each(|entry| self.begin(entry));
        let ids = entries.iter().map(|entry| entry.data_plane.id.clone());
        let others: BTreeSet<_> = ids.filter(|id| !needed.contains(id)).collect();
        tokio::join!(self.ended(&others, OTHERS), self.wait_for(needed));
    }

    /// Connects one data plane and no other.
    pub(crate) async fn connect_only(self: &Arc<Self>, entry: &DataPlaneEntry) {
        self.begin(entry);
        self.wait_for(&BTreeSet::from([entry.data_plane.id.clone()]))
            .await;
    }

    /// Waits for data planes that a command needs, and says which if that takes a while.
    async fn wait_for(&self, needed: &BTreeSet<DataPlaneId>) {
        if self.ended(needed, SILENCE).await {
            return;
        }
        let state = self.0.borrow().under_way.clone();
        let late = needed.iter().filter(|id| state.contains_key(*id));
        let late: Vec<_> = late.map(DataPlaneId::as_str).collect();
        Output::note(format_args!("waiting for data plane {}", late.join(", ")));
        self.ended(needed, NEEDED.saturating_sub(SILENCE)).await;
    }

    /// Starts to connect a data plane, unless it is connected or an attempt is under way.
    fn begin(self: &Arc<Self>, entry: &DataPlaneEntry) {
        let id = entry.data_plane.id.clone();
        let is_new = self.0.send_if_modified(|state| {
            let is_new = !state.connected.contains_key(&id) && !state.under_way.contains_key(&id);
            if is_new {
                state.under_way.insert(id.clone(), Instant::now());
            }
            is_new
        });
        if is_new {
            let (attempt, policy) = (attempt(entry), entry.policy.clone());
            let data_planes = Arc::clone(self);
            tokio::spawn(async move {
                let link = attempt.await.unwrap_or_else(stopped);
                let backend = link.map(|link| -> Arc<dyn DeploymentBackend> {
                    match link {
                        Link::Cluster(client) => Arc::new(KubernetesBackend::new(client, policy)),
                        Link::Memory => Arc::new(InMemoryBackend::new()),
                    }
                });
                data_planes.note(&id, backend);
            });
        }
    }

    /// Waits until no attempt for these is under way. Returns `false` if that takes longer.
    async fn ended(&self, ids: &BTreeSet<DataPlaneId>, patience: Duration) -> bool {
        let mut state = self.0.subscribe();
        let is_ended = |state: &State| ids.iter().all(|id| !state.under_way.contains_key(id));
        let ended = state.wait_for(is_ended);
        tokio::time::timeout(patience, ended).await.is_ok()
    }

    /// Records the end of an attempt.
    fn note(&self, id: &DataPlaneId, backend: Result<Arc<dyn DeploymentBackend>, String>) {
        self.0.send_modify(|state| {
            state.under_way.remove(id);
            match backend {
                Ok(backend) => {
                    if state.out.remove(id).is_some() {
                        tracing::info!(data_plane = %id, "connected");
                    }
                    state.connected.insert(id.clone(), backend);
                }
                Err(why) => state.exclude(id, why),
            }
        });
    }

    /// Logs an attempt that is late. An earlier failure remains the reason until then.
    fn log_late(&self, id: &DataPlaneId) {
        self.0.send_modify(|state| {
            let since = state.under_way.get(id);
            if since.is_some_and(|since| since.elapsed() >= LATE) {
                state.exclude(id, late(LATE));
            }
        });
    }

    /// Returns a failure if a data plane is not connected.
    pub(crate) fn require(&self, id: &DataPlaneId) -> Result<(), Failure> {
        match self.why_out(id) {
            Some(why) => Err(Failure::unavailable(format!(
                "data plane {id} is not connected: {why}"
            ))),
            None => Ok(()),
        }
    }

    fn why_out(&self, id: &DataPlaneId) -> Option<String> {
        let state = self.0.borrow();
        let is_late = || Some(late(state.under_way.get(id)?.elapsed()));
        state.out.get(id).cloned().or_else(is_late)
    }

    /// Returns `true` if no data plane failed to connect.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.borrow().out.is_empty()
    }
}

impl State {
    fn exclude(&mut self, id: &DataPlaneId, why: String) {
        if self.out.get(id) != Some(&why) {
            tracing::error!(data_plane = %id, why, "not connected");
        }
        self.out.insert(id.clone(), why);
    }
}

impl Backends for DataPlanes {
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>> {
        let state = self.0.borrow();
        state.connected.get(data_plane).map(Arc::clone)
    }
}

/// A connection to a data plane. No request has been sent yet.
#[derive(Clone)]
pub(crate) enum Link {
    Cluster(kube::Client),
    Memory,
}

/// Connects each data plane, in the order of the configuration. Returns the reason for each that
/// fails.
pub(crate) async fn connect_each(configuration: &Configuration) -> Vec<Result<Link, String>> {
    let deadline = Instant::now() + NEEDED;
    let entries = configuration.data_planes.iter();
    let attempts: Vec<_> = entries.map(attempt).collect();
    let mut links = Vec::new();
    for attempt in attempts {
        let ended = tokio::time::timeout_at(deadline, attempt).await;
        links.push(match ended {
            Ok(ended) => ended.unwrap_or_else(stopped),
            Err(_) => Err(late(NEEDED)),
        });
    }
    links
}

/// Starts to connect a data plane. Reading a kubeconfig blocks until its credential plugin ends, so a
/// thread does it that nothing else needs.
fn attempt(entry: &DataPlaneEntry) -> JoinHandle<Result<Link, String>> {
    let (backend, runtime) = (entry.backend.clone(), Handle::current());
    tokio::task::spawn_blocking(move || match backend {
        BackendEntry::Memory => Ok(Link::Memory),
        BackendEntry::Kubernetes(access) => {
            let client = runtime.block_on(open(&access));
            client
                .map(Link::Cluster)
                .map_err(|error| with_causes(&*error))
        }
    })
}

fn late(limit: Duration) -> String {
    format!(
        "no connection within {} seconds: check whether the credential plugin of the kubeconfig hangs",
        limit.as_secs()
    )
}

fn stopped<T>(_: JoinError) -> Result<T, String> {
    Err("the attempt to connect was aborted".to_owned())
}

async fn open(access: &ClusterAccess) -> Result<kube::Client, Box<dyn Error + Send + Sync>> {
    let (file, context) = match access {
        ClusterAccess::Kubeconfig { file, context } => (file, context),
        ClusterAccess::InCluster => {
            let config = kube::Config::incluster().map_err(|error| {
                let why = with_causes(&error);
                format!("the service account of a pod was not found: {why}")
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
    Ok(client(config)?)
}

/// Returns a client for a configuration. kube starts a credential plugin three times for a client: for
/// the certificate, for the token, and for the time when the client expires. A plugin that returns a
/// token, as those of clouds do, is started once here.
fn client(mut config: kube::Config) -> Result<kube::Client, kube::Error> {
    if !takes_header_from_plugin(&config.auth_info) {
        return kube::Client::try_from(config);
    }
    let Some(token) = config.auth_layer()? else {
        // The plugin returns a certificate, which only kube can add to its TLS configuration.
        return kube::Client::try_from(config);
    };
    config.auth_info.exec = None;
    let builder = ClientBuilder::try_from(config)?;
    let builder = builder.with_layer(&BufferLayer::new(BUFFER));
    Ok(builder.with_layer(&token).build())
}

/// Returns `true` if the `Authorization` header can only come from a credential plugin. kube prefers the
/// other credentials, and then uses only the certificate of the plugin.
fn takes_header_from_plugin(user: &AuthInfo) -> bool {
    user.exec.is_some()
        && user.auth_provider.is_none()
        && user.username.is_none()
        && user.token.is_none()
        && user.token_file.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards that a plugin beside another credential is left to kube, which prefers the other one for
    /// the header and may need the plugin's certificate.
    #[test]
    fn only_a_plugin_alone_gives_the_header() {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "login"});
        let user = |other: serde_json::Value| {
            let mut user = json!({ "exec": exec });
            let members = other.as_object().cloned().unwrap_or_default();
            user.as_object_mut()
                .expect("it is an object")
                .extend(members);
            serde_json::from_value::<AuthInfo>(user).expect("it is a user")
        };
        assert!(takes_header_from_plugin(&user(json!({}))));
        for other in [
            json!({"token": "abc"}),
            json!({"tokenFile": "token"}),
            json!({"username": "alice", "password": "abc"}),
            json!({"auth-provider": {"name": "oidc", "config": {}}}),
        ] {
            assert!(!takes_header_from_plugin(&user(other.clone())), "{other}");
        }
        assert!(!takes_header_from_plugin(&AuthInfo::default()));
    }
}
