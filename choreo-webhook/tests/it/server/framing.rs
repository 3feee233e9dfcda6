//! Guards against requests that a proxy in front of the server could interpret differently.

use choreo_webhook::server::ServerLimits;
use tokio::io::AsyncWriteExt as _;

use super::{connect, hangs_up, read_answer, serve_bytes};

/// Sends a request to a path that responds with one byte; returns the status, and whether the
/// connection then ends.
async fn send(address: std::net::SocketAddr, head: &str, body: &str) -> (u16, bool) {
    let mut stream = connect(address).await;
    let request = format!("{head}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await;
    let status = answer[9..12].parse().unwrap();
    let ends = answer.contains("connection: close");
    if ends {
        hangs_up(&mut stream).await;
    }
    (status, ends)
}

/// Guards RFC 9112, section 3.2.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_host() {
    let address = serve_bytes(ServerLimits::default());
    for (head, expected) in [
        ("GET /1 HTTP/1.1\r\nhost: x", (200, false)),
        ("GET /1 HTTP/1.1\r\nhost:", (200, false)),
        ("GET /1 HTTP/1.1", (400, true)),
        ("GET /1 HTTP/1.1\r\nhost: x\r\nhost: x", (400, true)),
        ("GET /1 HTTP/1.0\r\nhost: x\r\nhost: y", (400, true)),
    ] {
        assert_eq!(send(address, head, "").await, expected, "{head}");
    }
    // HTTP/1.0 has no Host header, and closes by default.
    assert_eq!(send(address, "GET /1 HTTP/1.0", "").await.0, 200);
}

/// Guards RFC 9112, section 6.1: a proxy may apply another coding than the server, and then they see
/// different requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_one_transfer_coding() {
    let address = serve_bytes(ServerLimits::default());
    for (codings, expected) in [
        ("transfer-encoding: chunked", (200, false)),
        ("transfer-encoding: Chunked", (200, false)),
        ("transfer-encoding: gzip, chunked", (400, true)),
        ("transfer-encoding: chunked, chunked", (400, true)),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            (400, true),
        ),
    ] {
        let head = format!("POST /1 HTTP/1.1\r\nhost: x\r\n{codings}");
        let sent = send(address, &head, "1\r\nx\r\n0\r\n\r\n").await;
        assert_eq!(sent, expected, "{codings}");
    }
}
