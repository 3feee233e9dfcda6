//! Serves the webhook and the health checks, and works on deployments meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::sealer::Sealer;
use choreo_deploy::store::StoredCredential;
use choreo_webhook::DeployWebhook;
use choreo_webhook::server::{Health, ServerLimits};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control_plane::{ControlPlane, Records};
use crate::data_plane::DataPlanes;
use crate::failure::Failure;
use crate::registration;

/// How long requests and steps under way may take once told to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// How often the store is looked at for `/readyz`.
const LOOK: Duration = Duration::from_secs(5);
/// How long each look waits for data planes that are not connected.
const GLANCE: Duration = Duration::from_secs(1);

/// A server that listens already.
#[derive(Debug)]
pub(crate) struct Server {
    control_plane: ControlPlane,
    webhook: choreo_webhook::server::Server<DeployWebhook>,
    health: Health,
    stop: Stop,
}

impl Server {
    pub(crate) async fn bind(control_plane: ControlPlane) -> Result<Self, Failure> {
        let ControlPlane {
            records,
            sealer,
            data_planes,
            deployer,
        } = &control_plane;
        let address = records.configuration.listen;
        let webhook =
            DeployWebhook::new(Arc::new(deployer.clone()), Arc::clone(&records.store) as _);
        let no_listener = |address, error: io::Error| {
            Failure::unavailable(format!("cannot listen on {address}")).caused_by(&error)
        };
        let mut webhook = choreo_webhook::server::Server::bind(address, webhook)
            .map_err(|error| no_listener(address, error))?;
        if let Some(address) = records.configuration.health_listen {
            webhook = webhook
                .with_health_at(address)
                .map_err(|error| no_listener(address, error))?;
        }
        let mut limits = ServerLimits::default();
        limits.drain = DRAIN;
        // Behind the proxy that does TLS, every connection has the proxy's address.
        limits.connections_per_address = limits.connections;
        let health = Health::new();
        say(&health, is_ready(records, sealer).await, data_planes);
        Ok(Self {
            webhook: webhook.with_limits(limits).with_health(health.clone()),
            health,
            stop: Stop::new()?,
            control_plane,
        })
    }

    /// The address, with the port that was given for port 0.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.webhook.local_addr()
    }

    /// Serves and works until told to stop, ends what is under way, and returns.
    pub(crate) async fn run(self) {
        let Self {
            control_plane:
                ControlPlane {
                    records,
                    sealer,
                    data_planes,
                    deployer,
                },
            webhook,
            health,
            mut stop,
        } = self;
        let (tell, told) = watch::channel(false);
        let (mut until, mut served_until) = (told.clone(), told);
        // Ends with this function.
        let mut looking = JoinSet::new();
        looking.spawn(look((records, sealer), data_planes, health));
        let worker = tokio::spawn(async move {
            deployer.run(stopped(&mut until)).await;
        });
        let mut done =
            std::pin::pin!(async { tokio::join!(webhook.run(stopped(&mut served_until)), worker) });
        tokio::select! {
            _ = &mut done => return tracing::error!("stopped by itself"),
            () = stop.asked() => {}
        }
        tracing::info!("stopping: ending what is under way");
        tell.send_replace(true);
        tokio::select! {
            (cut, _) = done => match cut {
                0 => tracing::info!("stopped"),
                cut => tracing::warn!(cut, "stopped, and cut off connections"),
            },
            () = tokio::time::sleep(DRAIN) => tracing::warn!("stopped before all was ended"),
            () = stop.asked() => tracing::warn!("stopped at once"),
        }
    }
}

async fn stopped(told: &mut watch::Receiver<bool>) {
    // An error says that whoever could tell is gone, which is as good.
    let _ = told.wait_for(|told| *told).await;
}

/// Looks in its own time: what `/readyz` costs is not for strangers to say.
async fn look(
    (records, sealer): (Records, Arc<Sealer>),
    data_planes: Arc<DataPlanes>,
    health: Health,
) {
    loop {
        tokio::time::sleep(LOOK).await;
        data_planes.connect(&records.configuration, GLANCE).await;
        say(&health, is_ready(&records, &sealer).await, &data_planes);
    }
}

/// A data plane that is not connected is told, and makes nothing unready: the others go on.
/// Nor does a stored registry that is not in the configuration and does not open: nothing uses it.
fn say(health: &Health, ready: Result<Opened, &'static str>, data_planes: &DataPlanes) {
    health.set(ready.map(drop));
    let opened = ready.unwrap_or(Opened::All);
    health.warn(match (data_planes.is_whole(), opened) {
        (true, Opened::All) => None,
        (false, _) => Some("ok, but not every data plane is connected: the log says why"),
        (true, Opened::Configured) => Some(
            "ok, but a stored registry that is not in the configuration does not open: check says which",
        ),
    });
}

/// Which of the stored registries the sealing keys open.
#[derive(Clone, Copy, Debug)]
enum Opened {
    All,
    /// All that are in the configuration, and not all others.
    Configured,
}

/// Whether the store answers, and the sealing keys open what is used of it.
async fn is_ready(records: &Records, sealer: &Sealer) -> Result<Opened, &'static str> {
    let Records {
        store,
        configuration,
    } = records;
    let stored = async {
        store.ping().await?;
        store.registries(&configuration.organization).await
    };
    let registries = stored.await.map_err(|error| {
        tracing::warn!(%error, "not ready: the store does not answer");
        "the store does not answer"
    })?;
    let mut opened = Opened::All;
    for registry in &registries {
        let StoredCredential::Sealed(sealed) = &registry.credential else {
            continue;
        };
        let Err(error) = sealer.open(sealed, &registration::context(registry)) else {
            continue;
        };
        if configuration.registry(&registry.id).is_some() {
            tracing::warn!(registry = %registry.id, %error, "not ready: sealing key");
            return Err("the sealing key does not open the stored credentials");
        }
        opened = Opened::Configured;
    }
    Ok(opened)
}

/// Being asked to stop: by Ctrl-C, or by SIGTERM as service managers do.
#[derive(Debug)]
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            #[cfg(unix)]
            terminate: {
                use tokio::signal::unix::{SignalKind, signal};
                signal(SignalKind::terminate()).map_err(|error| {
                    Failure::unavailable("signals cannot be received").caused_by(&error)
                })?
            },
        })
    }

    async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
