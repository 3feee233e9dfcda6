//! Serves the webhook and the health checks, and works on deployments at the same time.

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

/// The time that requests and steps under way get to end after a signal to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// The time between two checks for `/readyz`.
const LOOK: Duration = Duration::from_secs(5);
/// The time that each check waits for data planes that are not connected.
const GLANCE: Duration = Duration::from_secs(1);

/// A server that already listens.
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
        // Behind a proxy that terminates TLS, every connection has the address of the proxy.
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

    /// Returns the address. It contains the actual port if port 0 was configured.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.webhook.local_addr()
    }

    /// Serves and works until a signal to stop, ends everything that is under way, and returns.
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
            _ = &mut done => return tracing::error!("stopped without a signal"),
            () = stop.asked() => {}
        }
        tracing::info!("stopping: ending requests and steps that are under way");
        tell.send_replace(true);
        tokio::select! {
            (cut, _) = done => match cut {
                0 => tracing::info!("stopped"),
                cut => tracing::warn!(cut, "stopped, with connections cut off"),
            },
            () = tokio::time::sleep(DRAIN) => tracing::warn!("stopped before everything had ended"),
            () = stop.asked() => tracing::warn!("stopped at once"),
        }
    }
}

async fn stopped(told: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, which also ends the server.
    let _ = told.wait_for(|told| *told).await;
}

/// Checks at its own pace, so that clients of `/readyz` do not determine the cost.
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

/// Updates the answer of `/readyz`. A data plane that is not connected is a warning, because the others
/// work. So is a stored registry that is not in the configuration and cannot be opened: nothing uses it.
fn say(health: &Health, ready: Result<Opened, &'static str>, data_planes: &DataPlanes) {
    health.set(ready.map(drop));
    let opened = ready.unwrap_or(Opened::All);
    health.warn(match (data_planes.is_whole(), opened) {
        (true, Opened::All) => None,
        (false, _) => Some("ok, but not every data plane is connected: see the log"),
        (true, Opened::Configured) => Some(
            "ok, but a stored registry that is not in the configuration cannot be opened: run check",
        ),
    });
}

/// The stored registries that the sealing keys open.
#[derive(Clone, Copy, Debug)]
enum Opened {
    All,
    /// All that are in the configuration, but not all of the others.
    Configured,
}

/// Returns an error if the store does not answer, or a sealing key does not open a credential that is
/// used.
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

/// The signals to stop: Ctrl-C, and SIGTERM, which service managers send.
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
