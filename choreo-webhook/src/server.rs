//! A server over HTTP/1.1 that slow, idle and many clients do not stop; feature `server`.
//!
//! `axum::serve` and hyper as it comes have no answer to clients that send a head byte by byte, send
//! nothing, do not read what is answered, or open all the connections there are. [`Server`] has:
//!
//! - Everything that a client does has a deadline: heads, bodies, pauses between requests, and
//!   reading what is answered ([`ServerLimits`]).
//! - A new connection is always accepted. When there is no place left, the oldest connection on which
//!   no request is being answered is closed. So whoever sends a request at once is served, and a long
//!   poll (`?wait=25`) is never cut.
//! - One address has only its share of the connections, and a client that sends many requests without
//!   waiting for answers has one answered at a time, in turn with the others.
//! - `/healthz` and `/readyz` are answered before everything else, from memory, and on a listener of
//!   their own if you like ([`Health`]).
//!
//! It serves any [`tower_service::Service`], a webhook alone or an axum router with more in it.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use choreo_deploy::{Intake, store::TokenStore};
//! # async fn run(intake: Arc<dyn Intake>, tokens: Arc<dyn TokenStore>) -> std::io::Result<()> {
//! use choreo_webhook::DeployWebhook;
//! use choreo_webhook::server::{Health, Server};
//!
//! let health = Health::new();
//! let server = Server::bind(([0, 0, 0, 0], 8080).into(), DeployWebhook::new(intake, tokens))?
//!     .with_health(health.clone());
//! health.set(Ok(()));
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! // … drop `stop` on SIGTERM
//! let cut = server.run(async { _ = stopped.await }).await;
//! # drop(stop);
//! # Ok(())
//! # }
//! ```
//!
//! A request is dropped when its client hangs up, also when it only says that it will send no more:
//! who waits for a deployment and goes away leaves its place. It speaks neither TLS nor HTTP/2: a proxy
//! in front of it does. Behind a proxy, say so in
//! [`ServerLimits::connections_per_address`].

mod body;
mod connection;
mod crowd;
mod health;
mod limits;
mod pace;
mod stream;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

pub use self::body::{BodyError, RequestBody};
use self::connection::Site;
use self::crowd::Crowd;
pub use self::health::Health;
pub use self::limits::ServerLimits;

/// A server that listens already. The [module's page](self) says what it stands up to.
#[derive(Debug)]
pub struct Server<S> {
    listener: TcpListener,
    health_listener: Option<TcpListener>,
    health: Option<Health>,
    limits: ServerLimits,
    service: S,
}

impl<S> Server<S> {
    /// Listens on an address; on any free port for port 0. Up to 4,096 connections wait to be
    /// accepted, if the system lets them.
    ///
    /// # Errors
    /// The system's, when it does not let the process listen there.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn bind(address: SocketAddr, service: S) -> io::Result<Self> {
        Ok(Self {
            listener: listen(address)?,
            health_listener: None,
            health: None,
            limits: ServerLimits::default(),
            service,
        })
    }

    /// On a socket that listens already: of a service manager, for example.
    ///
    /// # Errors
    /// The system's, when it is no socket that listens.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn from_listener(listener: std::net::TcpListener, service: S) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            health_listener: None,
            health: None,
            limits: ServerLimits::default(),
            service,
        })
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(self, limits: ServerLimits) -> Self {
        Self { limits, ..self }
    }

    /// Answers `/healthz` and `/readyz` itself. The service never sees requests for these paths.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self {
            health: Some(health),
            ..self
        }
    }

    /// Answers `/healthz` and `/readyz` on another address as well, and nothing else there. What
    /// happens on the first address takes none of its connections. Keep it from strangers.
    ///
    /// # Errors
    /// The system's, when it does not let the process listen there.
    pub fn with_health_at(self, address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            health_listener: Some(listen(address)?),
            ..self
        })
    }

    /// The address, with the port that was given for port 0.
    ///
    /// # Errors
    /// The system's, when it does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of [`with_health_at`](Self::with_health_at).
    ///
    /// # Errors
    /// The system's, when it does not know.
    pub fn health_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.health_listener
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()
    }

    /// Serves until told to stop. Then it accepts nothing more, is not ready, ends what is idle, and
    /// waits for the requests under way for [`ServerLimits::drain`] at most.
    ///
    /// Returns how many connections it cut off in the end. When the future is dropped, all
    /// connections end at once.
    pub async fn run<B>(self, shutdown: impl Future<Output = ()> + Send) -> usize
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let limits = self.limits;
        let (stop, stopping) = watch::channel(false);
        let site = Site {
            limits: Arc::new(limits),
            health: self.health.clone(),
            service: Some(self.service),
        };
        let front = Door {
            listener: self.listener,
            crowd: Arc::new(Crowd::new(
                limits.affordable(),
                limits.connections_per_address,
            )),
            site: site.clone(),
        };
        let side = self.health_listener.map(|listener| Door {
            listener,
            crowd: Arc::new(Crowd::new(HEALTH_CONNECTIONS, HEALTH_CONNECTIONS)),
            site: Site {
                health: Some(self.health.clone().unwrap_or_default()),
                service: None,
                ..site
            },
        });
        let side = async {
            match side {
                Some(side) => side.serve(stopping.clone()).await,
                None => 0,
            }
        };
        let told = async {
            shutdown.await;
            if let Some(health) = &self.health {
                health.stop();
            }
            stop.send_replace(true);
        };
        let (front, side, ()) = tokio::join!(front.serve(stopping.clone()), side, told);
        front + side
    }
}

/// Enough for every orchestrator and monitor that looks at once.
const HEALTH_CONNECTIONS: usize = 64;
/// How long to wait when the process has no file descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(10);

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // On other systems than Unix this would let others listen there as well.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // A flood fills a short queue faster than anybody accepts, and then clients wait for a second
    // until their system tries again.
    socket.listen(4096)
}

/// A listener, with who came in by it.
struct Door<S> {
    listener: TcpListener,
    crowd: Arc<Crowd>,
    site: Site<S>,
}

impl<S, B> Door<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// How many connections were cut off in the end.
    async fn serve(mut self, mut stopping: watch::Receiver<bool>) -> usize {
        let mut connections = JoinSet::new();
        let told = stopping.clone();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = self.accept(&mut connections, &told) => {}
        }
        // The port is free from now on.
        let Self { listener, site, .. } = self;
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(site.limits.drain, drained).await;
        connections.len()
    }

    /// Accepts connections for ever.
    async fn accept(&mut self, connections: &mut JoinSet<()>, stopping: &watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "connection ended by a panic");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((socket, peer)) => {
                    let address = self.site.limits.counted(peer.ip());
                    // Dropped, and so closed, when everybody is busy.
                    if let Some(guest) = self.crowd.admit(address) {
                        let site = self.site.clone();
                        connections.spawn(site.serve(socket, guest, stopping.clone()));
                    }
                    // Whoever is in is served before the next one comes in: a flood of connections
                    // would otherwise shed those whose requests are there and wait for their turn.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Of the process's file descriptors there are too few, most likely.
                    tracing::warn!(%error, "connection was not accepted");
                    self.crowd.shed(8);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
