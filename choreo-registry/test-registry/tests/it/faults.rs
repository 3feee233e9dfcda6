use std::time::{Duration, Instant};

use choreo_test_registry::{Fault, Image, TestRegistry};
use http::{Method, StatusCode};

use crate::client::{Answer, OCI_MANIFEST, ask, try_ask};

const PATH: &str = "/v2/app/manifests/";

/// Returns a registry with an image and a fault for pulls of it.
async fn with(fault: impl Fn(Fault) -> Fault) -> TestRegistry {
    let registry = TestRegistry::builder().start().await.unwrap();
    registry
        .push("app", "v1", &Image::builder().build())
        .unwrap();
    registry.inject(fault(Fault::on(Method::GET, PATH)));
    registry
}

async fn try_pull(registry: &TestRegistry) -> hyper::Result<Answer> {
    let accept = [("accept", OCI_MANIFEST)];
    try_ask(registry.address(), "GET /v2/app/manifests/v1", &accept, "").await
}

async fn pull(registry: &TestRegistry) -> Answer {
    try_pull(registry).await.unwrap()
}

/// The control of each test: the next request succeeds.
async fn well(registry: &TestRegistry) {
    let answer = pull(registry).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, Image::builder().build().manifest().bytes());
    assert_eq!(
        answer.header("docker-content-digest"),
        Some(&*Image::builder().build().digest())
    );
}

#[tokio::test]
async fn a_status_with_headers_and_body() {
    let fault = |fault: Fault| {
        let refused = fault.answer(StatusCode::TOO_MANY_REQUESTS).times(2);
        refused.header("retry-after", "7").body("slow down")
    };
    let registry = with(fault).await;
    for _ in 0..2 {
        let answer = pull(&registry).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert_eq!(answer.body, "slow down");
    }
    well(&registry).await;
}

#[tokio::test]
async fn a_fault_that_lasts_is_cleared() {
    let registry = with(|fault| fault.answer(StatusCode::BAD_GATEWAY).always()).await;
    for _ in 0..3 {
        assert_eq!(pull(&registry).await.status, 502);
    }
    registry.clear_faults();
    well(&registry).await;
}

#[tokio::test]
async fn a_redirect() {
    let registry = with(|fault| fault.redirect("http://elsewhere.example/x")).await;
    let answer = pull(&registry).await;
    assert_eq!(answer.status, 307);
    assert_eq!(
        answer.header("location"),
        Some("http://elsewhere.example/x")
    );
    well(&registry).await;
}

#[tokio::test]
async fn a_delay() {
    let registry = with(|fault| fault.delay(Duration::from_millis(200))).await;
    let start = Instant::now();
    well(&registry).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    let start = Instant::now();
    well(&registry).await;
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn a_connection_that_is_hung_up() {
    let registry = with(Fault::hang_up).await;
    assert!(try_pull(&registry).await.is_err());
    assert_eq!(registry.requests()[0].status(), None);
    well(&registry).await;
}

#[tokio::test]
async fn a_body_that_is_cut() {
    for chunked in [false, true] {
        let fault = |fault: Fault| fault.cut_after(10);
        let registry = with(|f| {
            if chunked {
                fault(f).chunked()
            } else {
                fault(f)
            }
        })
        .await;
        assert!(try_pull(&registry).await.is_err());
        assert_eq!(registry.requests()[0].status(), Some(StatusCode::OK));
        well(&registry).await;
    }
}

/// Guards that the bytes before the cut arrive, and that the headers announce the full length.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test's own registry, on loopback"
)]
async fn a_cut_comes_after_its_bytes() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let registry = with(|fault| fault.body("0123456789").cut_after(4)).await;
    let address = registry.address();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {PATH}v1 HTTP/1.1\r\nhost: x\r\naccept: {OCI_MANIFEST}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("content-length: 10\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n0123"), "{answer}");
}

#[tokio::test]
async fn a_body_that_stalls() {
    let registry = with(|fault| fault.stall_after(10)).await;
    let wait = Duration::from_millis(200);
    assert!(
        tokio::time::timeout(wait, try_pull(&registry))
            .await
            .is_err()
    );
    well(&registry).await;
}

#[tokio::test]
async fn a_digest_that_is_missing_or_a_lie() {
    let registry = with(Fault::without_digest).await;
    assert_eq!(pull(&registry).await.header("docker-content-digest"), None);
    well(&registry).await;

    let registry = with(|fault| fault.digest("sha256:lie")).await;
    let answer = pull(&registry).await;
    assert_eq!(answer.header("docker-content-digest"), Some("sha256:lie"));
    well(&registry).await;
}

#[tokio::test]
async fn a_body_that_is_not_what_the_digest_says() {
    let registry = with(|fault| fault.body("other")).await;
    let answer = pull(&registry).await;
    assert_eq!(answer.body, "other");
    assert_eq!(answer.header("content-length"), Some("5"));
    let digest = Image::builder().build().digest();
    assert_eq!(answer.header("docker-content-digest"), Some(&*digest));
    well(&registry).await;
}

#[tokio::test]
async fn a_body_without_its_length() {
    let registry = with(Fault::chunked).await;
    let answer = pull(&registry).await;
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.body, Image::builder().build().manifest().bytes());
    well(&registry).await;
}

#[tokio::test]
async fn a_head_without_its_length() {
    let registry = with(|_| Fault::on(Method::HEAD, PATH).without_header("content-length")).await;
    let line = "HEAD /v2/app/manifests/v1";
    let accept = [("accept", OCI_MANIFEST)];
    let head = ask(&registry, line, &accept, "").await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, None)
    );
    assert!(
        ask(&registry, line, &accept, "")
            .await
            .header("content-length")
            .is_some()
    );
}

#[tokio::test]
async fn a_header_that_http_forbids_is_said_in_the_answer() {
    let registry = with(|fault| fault.header("a b", "c")).await;
    let answer = pull(&registry).await;
    assert_eq!(answer.status, 500);
    let text = "the fault's header \"a b\": \"c\" is not valid in HTTP";
    assert_eq!(answer.body, text);
    well(&registry).await;
}

#[tokio::test]
async fn the_log_counts_and_forgets() {
    let registry = with(|fault| fault.answer(StatusCode::GONE)).await;
    let _ = pull(&registry).await;
    let _ = ask(&registry, "GET /v2/app/tags/list?n=1", &[], "").await;
    let requests = registry.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|r| {
            (
                r.method().as_str(),
                r.path(),
                r.query(),
                r.status().unwrap().as_u16(),
            )
        })
        .collect();
    let expected = [
        ("GET", "/v2/app/manifests/v1", None, 410),
        ("GET", "/v2/app/tags/list", Some("n=1"), 200),
    ];
    assert_eq!(seen, expected);
    assert_eq!(requests[0].server(), registry.address());
    registry.clear_requests();
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn nothing_listens_after_the_end() {
    let registry = TestRegistry::builder().start().await.unwrap();
    let address = registry.address();
    registry.shutdown().await;
    // The port is free again, which it is not while a process listens.
    let again = TestRegistry::builder().port(address.port()).start().await;
    let again = again.unwrap();
    assert_eq!(again.address(), address);
    assert!(
        TestRegistry::builder()
            .port(address.port())
            .start()
            .await
            .is_err()
    );
}
