//! A server for HTTP/1.1 that withstands slow, idle and numerous clients; feature `server`.
//!
//! `axum::serve` and hyper by default do not protect against clients that send a head byte by byte,
//! send nothing, do not read responses, or open every possible connection. [`Server`] does:
//!
//! - Every action of a client has a deadline: sending heads and bodies, pausing between requests, and
//!   reading responses ([`ServerLimits`]).
//! - The server always accepts a new connection. At its limit, it closes the oldest connection
//!   without a request in progress, or whose client does not read as fast as the server writes. So a
//!   client that sends its request at once is served, and a long poll (`?wait=25`) is never cut.
//! - Each address has a limit of connections. If a client sends many requests without waiting for
//!   responses, they are processed one at a time, in turn with those of other clients.
//! - A request with an ambiguous head gets `400`: without exactly one `Host` in HTTP/1.1, or with a
//!   transfer coding other than `chunked`. Health checks need no `Host`.
//! - `/healthz` and `/readyz` take precedence over the service, are served from memory, and can have
//!   a separate listener ([`Health`]).
//!
//! It serves any [`tower_service::Service`], such as a webhook or an axum router that contains one.
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
//! When a client closes its connection, or only its sending side, the server drops the request. So
//! a client that no longer waits for a deployment frees its place. The server supports neither TLS
//! nor HTTP/2; use a proxy for them. Behind a proxy, set [`ServerLimits::connections_per_address`].

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

/// A server that is already listening. The [module's documentation](self) lists its protections.
#[derive(Debug)]
pub struct Server<S> {
    listener: TcpListener,
    health_listener: Option<TcpListener>,
    health: Option<Health>,
    limits: ServerLimits,
    service: S,
}

impl<S> Server<S> {
    /// Creates a server that listens on an address; port 0 selects a free port. Up to 4,096
    /// connections can wait to be accepted, unless the system's limit is lower.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the process cannot listen on the address.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with I/O enabled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::Server;
    ///
    /// let router: axum::Router = axum::Router::new(); // … with a webhook and other routes
    /// let server = Server::bind(([127, 0, 0, 1], 0).into(), router)?;
    /// assert!(server.local_addr()?.ip().is_loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(address: SocketAddr, service: S) -> io::Result<Self> {
        Ok(Self {
            listener: listen(address)?,
            health_listener: None,
            health: None,
            limits: ServerLimits::default(),
            service,
        })
    }

    /// Creates a server from a socket that is already listening, such as one from a service manager.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it rejects the socket.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with I/O enabled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::Server;
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let server = Server::from_listener(listener, axum::Router::<()>::new())?;
    /// assert_eq!(server.local_addr()?, address);
    /// # Ok(())
    /// # }
    /// ```
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

    /// Sets the limits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::{Server, ServerLimits};
    ///
    /// let mut limits = ServerLimits::default();
    /// limits.connections = 10_000;
    /// let address = ([127, 0, 0, 1], 0).into();
    /// let server = Server::bind(address, axum::Router::<()>::new())?.with_limits(limits);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_limits(self, limits: ServerLimits) -> Self {
        Self { limits, ..self }
    }

    /// Serves `/healthz` and `/readyz`. The service never receives requests for these paths.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::{Health, Server};
    ///
    /// let health = Health::new();
    /// let address = ([127, 0, 0, 1], 0).into();
    /// let server = Server::bind(address, axum::Router::<()>::new())?.with_health(health.clone());
    /// health.set(Ok(())); // once the application has started
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self {
            health: Some(health),
            ..self
        }
    }

    /// Serves `/healthz` and `/readyz`, and nothing else, on another address as well. Its connections
    /// are counted separately, so clients of the first address cannot exhaust them. Do not expose this
    /// address to the public.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the process cannot listen on the address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::{Health, Server};
    ///
    /// let address = ([127, 0, 0, 1], 0).into();
    /// let server = Server::bind(address, axum::Router::<()>::new())?
    ///     .with_health(Health::new())
    ///     .with_health_at(address)?;
    /// assert_ne!(server.health_addr()?, Some(server.local_addr()?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_health_at(self, address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            health_listener: Some(listen(address)?),
            ..self
        })
    }

    /// Returns the address, with the port that the system selected for port 0.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot determine the address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::Server;
    ///
    /// let server = Server::bind(([127, 0, 0, 1], 0).into(), axum::Router::<()>::new())?;
    /// assert_ne!(server.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the address of [`with_health_at`](Self::with_health_at), if it was called.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot determine the address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::Server;
    ///
    /// let address = ([127, 0, 0, 1], 0).into();
    /// let server = Server::bind(address, axum::Router::<()>::new())?;
    /// assert_eq!(server.health_addr()?, None);
    /// assert!(server.with_health_at(address)?.health_addr()?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn health_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.health_listener
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()
    }

    /// Serves until `shutdown` completes. Then the server accepts no more connections, is not ready,
    /// closes idle connections, and waits for the requests in progress, for at most
    /// [`ServerLimits::drain`].
    ///
    /// Returns the number of connections that it then cut off. If the future is dropped, all
    /// connections are closed at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use choreo_webhook::server::Server;
    ///
    /// let server = Server::bind(([127, 0, 0, 1], 0).into(), axum::Router::new())?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let serving = tokio::spawn(server.run(async { _ = stopped.await }));
    ///
    /// drop(stop); // on SIGTERM
    /// assert_eq!(serving.await?, 0);
    /// # Ok(())
    /// # }
    /// ```
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

/// Enough for all orchestrators and monitors together.
const HEALTH_CONNECTIONS: usize = 64;
/// The pause after a connection could not be accepted, most likely for want of a file descriptor.
const PAUSE: Duration = Duration::from_millis(10);

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Outside Unix, this option would let other processes listen on the same address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // A flood fills a short queue faster than a server can accept. Then other clients wait for one
    // second, until their system retries.
    socket.listen(4096)
}

/// A listener with its connections.
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
    /// Serves until told to stop, and returns the number of connections that were cut off.
    async fn serve(mut self, mut stopping: watch::Receiver<bool>) -> usize {
        let mut connections = JoinSet::new();
        let told = stopping.clone();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = self.accept(&mut connections, &told) => {}
        }
        // Frees the port.
        let Self { listener, site, .. } = self;
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(site.limits.drain, drained).await;
        connections.len()
    }

    /// Accepts connections until the future is dropped.
    async fn accept(&mut self, connections: &mut JoinSet<()>, stopping: &watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "connection ended with a panic");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((socket, peer)) => {
                    let address = self.site.limits.counted(peer.ip());
                    // Otherwise every connection is busy, and the socket is dropped and so closed.
                    if let Some(guest) = self.crowd.admit(address) {
                        let site = self.site.clone();
                        connections.spawn(site.serve(socket, guest, stopping.clone()));
                    }
                    // Existing connections run before the next one is accepted. Otherwise a flood
                    // would shed connections whose requests have arrived but have not been polled.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Most likely the process has no free file descriptor.
                    tracing::warn!(%error, "connection was not accepted");
                    self.crowd.shed(8);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
