//! Guards against more connections than there are places.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use choreo_webhook::server::{RequestBody, Server, ServerLimits};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Either;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{connect, get, hangs_up, loopback, read_answer, read_head, serve, serve_bytes, with};
use crate::support::World;

fn limits(connections: usize) -> ServerLimits {
    let mut limits = ServerLimits::default();
    (limits.connections, limits.connections_per_address) = (connections, connections);
    limits
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_takes_the_place_of_the_oldest() {
    let address = serve_bytes(limits(8));
    let mut oldest = connect(address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(connect(address).await);
    }
    let answer = get(address, "/2", "").await.unwrap();
    assert!(answer.ends_with("xx"), "{answer}");
    // The header of the service and that of the server, which sets it while places are scarce, are
    // merged.
    assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
    assert!(hangs_up(&mut oldest).await < Duration::from_secs(1));
}

/// Linux assigns the whole of 127.0.0.0/8 to loopback.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_its_share() {
    let address = serve_bytes(with(limits(100), |limits| {
        limits.connections_per_address = 4;
    }));
    let mut mine = connect(address).await;
    let mut theirs = Vec::new();
    for _ in 0..200 {
        theirs.push(connect_from([127, 0, 0, 2], address).await);
    }
    let mut first = theirs.remove(0);
    assert!(hangs_up(&mut first).await < Duration::from_secs(1));
    mine.write_all(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let answer = read_answer(&mut mine).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("connection: close"), "places are left");
}

#[cfg(target_os = "linux")]
#[expect(
    clippy::disallowed_methods,
    reason = "a test dials the server that it started"
)]
async fn connect_from(from: [u8; 4], address: std::net::SocketAddr) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Guards that a client that waits for a response is never disconnected. If all clients wait, a new
/// one is rejected at once.
#[tokio::test(flavor = "multi_thread")]
async fn long_polls_stay() {
    let world = Arc::new(World::new().await);
    let server = serve(&world, limits(8));
    *world.intake.closed.lock().unwrap() = true;
    let authorization = format!("Bearer {}", world.token.expose());
    let address = server.address;
    let polls: Vec<_> = (0..8)
        .map(|_| {
            let authorization = authorization.clone();
            tokio::spawn(async move {
                get(address, "/v1/deployments/d-1?wait=25", &authorization).await
            })
        })
        .collect();
    while world.intake.waits.lock().unwrap().len() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        let mut refused = connect(address).await;
        assert!(hangs_up(&mut refused).await < Duration::from_secs(1));
    }
    // Health checks have separate places.
    let health = get(server.health_address.unwrap(), "/readyz", "").await;
    assert!(health.unwrap().starts_with("HTTP/1.1 200 "));
    *world.intake.closed.lock().unwrap() = false;
    for poll in polls {
        let answer = poll.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// A body that sends 64 KiB at a time and never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))))
    }
}

/// Guards against clients that keep every place by requesting a long response and not reading it.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_make_room() {
    let service = tower::service_fn(|request: Request<RequestBody>| async move {
        let body = match request.uri().path() {
            "/endless" => Either::Left(Endless),
            _ => Either::Right(String::from("x")),
        };
        Ok::<_, Infallible>(Response::new(body))
    });
    let limits = with(limits(4), |limits| {
        limits.write = Duration::from_secs(60);
    });
    let server = Server::bind(loopback(), service).unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.with_limits(limits).run(std::future::pending()));
    let mut greedy = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(address).await;
        let request = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        // Its response has begun.
        stream.read_exact(&mut [0; 9]).await.unwrap();
        greedy.push(stream);
    }
    // A place becomes free when the buffers of a connection are full.
    let served = async {
        while !get(address, "/1", "")
            .await
            .is_ok_and(|answer| answer.ends_with('x'))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(10);
    assert!(tokio::time::timeout(patience, served).await.is_ok());
}

/// Guards that a client that reads a response late is idle afterwards, and makes room like any
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_read_late_makes_room() {
    let address = serve_bytes(with(limits(8), |limits| {
        limits.write = Duration::from_secs(60);
    }));
    let mut late = connect(address).await;
    let request = b"GET /16777216 HTTP/1.1\r\nhost: x\r\n\r\n";
    late.write_all(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let head = read_head(&mut late).await;
    assert!(!head.contains("connection: close"), "{head}");
    late.read_exact(&mut vec![0; 16_777_216]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(connect(address).await);
    }
    assert!(hangs_up(&mut late).await < Duration::from_secs(1));
}

/// Guards that no connection keeps a place for longer than a request while places are scarce.
#[tokio::test(flavor = "multi_thread")]
async fn scarce_places_are_given_back() {
    let address = serve_bytes(limits(8));
    let mut mine = connect(address).await;
    let request = b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n";
    mine.write_all(request).await.unwrap();
    let answer = read_answer(&mut mine).await;
    assert!(!answer.contains("connection: close"), "{answer}");
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(connect(address).await);
    }
    // The last of them is accepted before the request is answered, because this connection comes
    // after it.
    assert!(get(address, "/1", "").await.unwrap().ends_with('x'));
    mine.write_all(request).await.unwrap();
    let answer = read_answer(&mut mine).await;
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_so_many_requests() {
    let address = serve_bytes(with(limits(100), |limits| {
        limits.requests = 3;
    }));
    let mut stream = connect(address).await;
    for number in 1..=3 {
        stream
            .write_all(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let answer = read_answer(&mut stream).await;
        assert_eq!(
            answer.contains("connection: close"),
            number == 3,
            "{answer}"
        );
    }
    hangs_up(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_own_connection_alone() {
    let address = serve_bytes(limits(4));
    for _ in 0..10 {
        assert_eq!(get(address, "/panic", "").await.unwrap_or_default(), "");
    }
    assert!(get(address, "/1", "").await.unwrap().ends_with('x'));
}

/// Guards that pipelined requests of a client are answered one at a time, in turn with those of
/// other clients.
#[tokio::test]
async fn pipelined_requests_take_turns() {
    let order = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&order);
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        log.lock().unwrap().push_str(&request.uri().path()[1..]);
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let server = Server::bind(loopback(), service).unwrap();
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        let mut stream = connect(server.local_addr().unwrap()).await;
        let requests = format!("GET /{name} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(40);
        stream.write_all(requests.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    tokio::spawn(server.run(std::future::pending()));
    while order.lock().unwrap().len() < 120 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let order = order.lock().unwrap();
    // The first request of a connection may be adjacent to the one that waited for its turn.
    for name in ["aaa", "bbb", "ccc"] {
        assert!(!order[..100].contains(name), "{order}");
    }
}
