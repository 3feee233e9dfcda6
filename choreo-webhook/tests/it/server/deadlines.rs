//! Guards the deadline of each action of a client.

use std::time::{Duration, Instant};

use choreo_webhook::server::ServerLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{connect, hangs_up, read_answer, serve_bytes, with};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

/// The limits of a test that sets its own deadline and does not reach the others.
fn limits() -> ServerLimits {
    let mut limits = ServerLimits::default();
    (limits.head, limits.keep_alive) = (LONG, LONG);
    (limits.body, limits.write) = (LONG, LONG);
    limits
}

#[track_caller]
fn is_about(took: Duration, expected: Duration) {
    let range = expected.mul_f32(0.8)..expected + Duration::from_secs(2);
    assert!(range.contains(&took), "{took:?} instead of {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.head = SHORT;
    }));
    is_about(hangs_up(&mut connect(address).await).await, SHORT);

    // Guards that sending it byte by byte does not extend the deadline.
    let mut stream = connect(address).await;
    let start = Instant::now();
    while stream.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < LONG, "a head without end goes on");
    }
    is_about(start.elapsed(), SHORT);
}

/// Guards that the deadline of the first head starts with the connection, so that a client cannot
/// double it by waiting first.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_head_that_begins_late() {
    let head = Duration::from_secs(3);
    let address = serve_bytes(with(limits(), |limits| {
        limits.head = head;
    }));
    let mut stream = connect(address).await;
    tokio::time::sleep(head * 5 / 6).await;
    stream.write_all(b"GET").await.unwrap();
    assert!(hangs_up(&mut stream).await < head * 5 / 6);
}

/// Guards the same for later requests: the client has the deadline of the head, not that of idle
/// connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_head_that_does_not_come() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.head = SHORT;
    }));
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_answer(&mut stream).await;
    tokio::time::sleep(SHORT * 2).await;
    stream.write_all(b"GET").await.unwrap();
    is_about(hangs_up(&mut stream).await, SHORT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_between_requests() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.keep_alive = SHORT;
    }));
    let mut stream = connect(address).await;
    for _ in 0..3 {
        stream
            .write_all(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        read_answer(&mut stream).await;
        tokio::time::sleep(SHORT / 2).await;
    }
    is_about(hangs_up(&mut stream).await, SHORT / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.body = SHORT;
    }));
    let mut stream = connect(address).await;
    stream
        .write_all(b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx")
        .await
        .unwrap();
    let start = Instant::now();
    let answer = read_answer(&mut stream).await;
    is_about(start.elapsed(), SHORT);
    assert!(answer.ends_with("body did not arrive in time"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_read() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.write = SHORT;
    }));
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET /33554432 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(SHORT * 4).await;
    // Bytes in transit still arrive. Then the connection is reset, and the rest is dropped.
    let mut read = Vec::new();
    assert!(stream.read_to_end(&mut read).await.is_err());
    assert!(read.len() < 33_554_432);
}

/// Guards against requests whose responses are never read, which no timeout of hyper stops.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_whose_answers_are_not_read() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.write = SHORT;
        limits.requests = u32::MAX;
    }));
    let mut stream = connect(address).await;
    let requests = b"GET /1000 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let start = Instant::now();
    while stream.write_all(&requests).await.is_ok() {
        assert!(start.elapsed() < LONG, "it goes on for ever");
    }
}

/// Guards that a client that reads slowly gets the whole response, and that one below the minimum
/// rate does not.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_read_slowly() {
    const LENGTH: usize = 16 << 20;
    let address = serve_bytes(with(limits(), |limits| {
        limits.write = SHORT;
        limits.write_rate = 2 << 20;
    }));
    for (pause, is_served) in [(5, true), (250, false)] {
        let mut stream = connect(address).await;
        let request = format!("GET /{LENGTH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut length, mut buffer) = (0, vec![0; 128 << 10]);
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            length += read;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        assert_eq!(length > LENGTH, is_served, "{length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long() {
    let address = serve_bytes(limits());
    let mut stream = connect(address).await;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(64 << 10));
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// Guards against a panic: hyper requires a buffer of at least 8 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_heads_below_8_kib_counts_as_8_kib() {
    let address = serve_bytes(with(limits(), |limits| {
        limits.head_bytes = 1;
    }));
    for (length, status) in [(7_000, "200"), (9_000, "431")] {
        let mut stream = connect(address).await;
        let head = format!(
            "GET /1 HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
            "x".repeat(length)
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let answer = read_answer(&mut stream).await;
        assert_eq!(&answer[9..12], status, "{length} bytes");
    }
}
