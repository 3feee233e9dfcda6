//! Serves the webhook and the health checks over HTTP/1.1, and works on deployments meanwhile.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use choreo_deploy::store::{DeploymentStore as _, RegistryStore as _, StoredCredential};
use choreo_webhook::DeployWebhook;
use choreo_webhook::webhook::ResponseBody;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::control_plane::{ControlPlane, Records};
use crate::failure::Failure;
use crate::registration;

/// The most connections at once; others wait to be accepted.
const CONNECTIONS: usize = 1024;
/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(5);
/// How long requests and steps under way may take once told to stop.
const DRAIN: Duration = Duration::from_secs(25);

/// A server that listens already.
#[derive(Debug)]
pub(crate) struct Server {
    control_plane: ControlPlane,
    listener: TcpListener,
    stop: Stop,
}

impl Server {
    pub(crate) async fn bind(control_plane: ControlPlane) -> Result<Self, Failure> {
        let address = control_plane.records.configuration.listen;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::unavailable(format!("cannot listen on {address}")).caused_by(&error)
        })?;
        Ok(Self {
            control_plane,
            listener,
            stop: Stop::new()?,
        })
    }

    /// The address, with the port that was given for port 0.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves and works until told to stop, ends what is under way, and returns.
    pub(crate) async fn run(self) {
        let Self {
            control_plane: ControlPlane { records, deployer },
            listener,
            mut stop,
        } = self;
        let webhook =
            DeployWebhook::new(Arc::new(deployer.clone()), Arc::clone(&records.store) as _);
        let webhook = TowerToHyperService::new(webhook);
        let site = Arc::new(Site {
            records,
            webhook,
            stopping: AtomicBool::new(false),
        });
        let (stop_working, stopped) = tokio::sync::oneshot::channel::<()>();
        let worker = tokio::spawn(async move {
            deployer.run(async { _ = stopped.await }).await;
        });
        let connections = GracefulShutdown::new();
        tokio::select! {
            () = accept(&site, listener, &connections) => {}
            () = stop.asked() => {}
        }
        site.stopping.store(true, Ordering::Relaxed);
        tracing::info!("stopping: ending what is under way");
        drop(stop_working);
        let drained = async { tokio::join!(connections.shutdown(), worker) };
        tokio::select! {
            _ = drained => tracing::info!("stopped"),
            () = tokio::time::sleep(DRAIN) => tracing::warn!("stopped before all was ended"),
            () = stop.asked() => tracing::warn!("stopped at once"),
        }
    }
}

/// Accepts connections for ever.
async fn accept(site: &Arc<Site>, listener: TcpListener, connections: &GracefulShutdown) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => serve_connection(site, (stream, slot), connections),
            Err(error) => {
                // Out of file descriptors, most likely: others are being closed meanwhile.
                tracing::warn!(%error, "connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn serve_connection(
    site: &Arc<Site>,
    (stream, slot): (TcpStream, OwnedSemaphorePermit),
    connections: &GracefulShutdown,
) {
    let site = Arc::clone(site);
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { site.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended early");
        }
        drop(slot);
    });
}

/// What is served.
#[derive(Debug)]
struct Site {
    records: Records,
    webhook: TowerToHyperService<DeployWebhook>,
    stopping: AtomicBool,
}

type Answer = Response<Either<ResponseBody, Full<Bytes>>>;

impl Site {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let health = match request.uri().path() {
            "/healthz" => Some(Ok(())),
            "/readyz" => Some(self.is_ready().await),
            _ => None,
        };
        Ok(match health {
            Some(_) if request.method() != Method::GET => {
                text(StatusCode::METHOD_NOT_ALLOWED, "only GET")
            }
            Some(Ok(())) => text(StatusCode::OK, "ok"),
            Some(Err(reason)) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
            None => self.webhook.call(request).await?.map(Either::Left),
        })
    }

    /// Whether the store answers, and the sealing key opens what is in it.
    async fn is_ready(&self) -> Result<(), &'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("stopping");
        }
        let Records {
            store,
            sealer,
            configuration,
            ..
        } = &self.records;
        let stored = async {
            store.ping().await?;
            store.registries(&configuration.organization).await
        };
        let registries = stored.await.map_err(|error| {
            tracing::warn!(%error, "not ready: the store does not answer");
            "the store does not answer"
        })?;
        for registry in &registries {
            if let StoredCredential::Sealed(sealed) = &registry.credential {
                let context = registration::context(registry);
                sealer.open(sealed, &context).map_err(|error| {
                    tracing::warn!(registry = %registry.id, %error, "not ready: sealing key");
                    "the sealing key does not open the stored credentials"
                })?;
            }
        }
        Ok(())
    }
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from(format!("{text}\n"))));
    *answer.status_mut() = status;
    answer
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
