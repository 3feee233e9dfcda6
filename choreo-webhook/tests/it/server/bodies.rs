//! Guards the information that a service has about the body of a request, and a client about the
//! body of a response.

use std::convert::Infallible;
use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use choreo_webhook::server::{RequestBody, Server, ServerLimits};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{connect, get, loopback, read_answer};

/// Serves the information that the service has about a body before it reads it, and the end of the
/// body.
fn describe(limits: ServerLimits) -> SocketAddr {
    let service = tower::service_fn(|request: Request<RequestBody>| async move {
        let body = request.into_body();
        let before = format!("{} {:?}", body.is_end_stream(), body.size_hint().exact());
        let after = match body.collect().await {
            Ok(whole) => format!("{} bytes", whole.to_bytes().len()),
            Err(error) => format!("{error}, with source: {}", error.source().is_some()),
        };
        Ok::<_, Infallible>(Response::new(format!("{before}, {after}")))
    });
    let server = Server::bind(loopback(), service).unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.with_limits(limits).run(std::future::pending()));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_knows_length_and_end() {
    let mut limits = ServerLimits::default();
    limits.body = Duration::from_millis(100);
    let address = describe(limits);
    for (request, described) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "true Some(0), 0 bytes"),
        (
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
            "false Some(3), 3 bytes",
        ),
        (
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "false None, 3 bytes",
        ),
        (
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "false None, body is incomplete, with source: true",
        ),
        (
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n",
            "false Some(3), body did not arrive in time, with source: false",
        ),
    ] {
        let mut stream = connect(address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(
            answer.ends_with(&format!("\r\n\r\n{described}")),
            "{answer}"
        );
    }
}

/// A body that has ended, without a known length.
struct Ended;

impl Body for Ended {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// Guards that an empty response is not sent in chunks, which proxies do not cache.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_body_says_so() {
    let service = tower::service_fn(|_: Request<RequestBody>| async {
        Ok::<_, Infallible>(Response::new(Ended))
    });
    let server = Server::bind(loopback(), service).unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(std::future::pending()));
    let answer = get(address, "/", "").await.unwrap();
    assert!(answer.contains("content-length: 0\r\n"), "{answer}");
}
