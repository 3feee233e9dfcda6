//! Tests the hardened server over real sockets.

mod bodies;
mod crowds;
mod deadlines;
mod flood;
mod framing;
mod health;
mod stopping;
mod whatever;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use choreo_webhook::server::{Health, RequestBody, Server, ServerLimits};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Either, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::support::World;

/// A running server.
struct Running {
    address: SocketAddr,
    health_address: Option<SocketAddr>,
    health: Health,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<usize>,
}

/// Serves the webhook of a world with the hardened server, and a long page at `/page`.
fn serve(world: &World, limits: ServerLimits) -> Running {
    let webhook = world.webhook.clone();
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        let webhook = webhook.clone();
        async move {
            if request.uri().path() == "/page" {
                let page = Full::new(Bytes::from_static(&[b'x'; 1 << 20]));
                return Ok::<_, Infallible>(Response::new(Either::Right(page)));
            }
            Ok(webhook.oneshot(request).await?.map(Either::Left))
        }
    });
    let server = Server::bind(loopback(), service).unwrap();
    let health = Health::new();
    health.set(Ok(()));
    let server = server
        .with_limits(limits)
        .with_health(health.clone())
        .with_health_at(loopback())
        .unwrap();
    let (stop, stopped) = oneshot::channel();
    Running {
        address: server.local_addr().unwrap(),
        health_address: server.health_addr().unwrap(),
        health,
        stop,
        ended: tokio::spawn(server.run(async { _ = stopped.await })),
    }
}

/// Serves a service that reads the body and responds with the number of bytes in the path. `/panic`
/// panics.
fn serve_bytes(limits: ServerLimits) -> SocketAddr {
    let service = tower::service_fn(|request: Request<RequestBody>| async move {
        let length = request.uri().path()[1..].to_owned();
        assert_ne!(length, "panic");
        let body = request.into_body().collect().await;
        let text = match body {
            Ok(_) => vec![b'x'; length.parse().unwrap_or_default()],
            Err(error) => error.to_string().into_bytes(),
        };
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    });
    let server = Server::bind(loopback(), service).unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.with_limits(limits).run(std::future::pending()));
    address
}

/// Returns these limits with a change.
fn with(mut limits: ServerLimits, change: impl FnOnce(&mut ServerLimits)) -> ServerLimits {
    change(&mut limits);
    limits
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test dials the server that it started"
)]
async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends a GET on a new connection. Returns the complete response, or an empty text if the server
/// closes the connection.
async fn get(address: SocketAddr, path: &str, authorization: &str) -> std::io::Result<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test dials the server that it started"
    )]
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Reads a response with a length to its end.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text.into_owned();
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the server hung up after {text:?}");
        answer.extend_from_slice(&buffer[..read]);
    }
}

/// Reads the head of a response, byte by byte.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Waits until the server closes the connection, and returns the elapsed time.
async fn hangs_up(stream: &mut TcpStream) -> Duration {
    let start = std::time::Instant::now();
    let mut buffer = [0; 4096];
    let patience = Duration::from_secs(10);
    let read = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(patience, read)
        .await
        .expect("the server hangs up");
    start.elapsed()
}
