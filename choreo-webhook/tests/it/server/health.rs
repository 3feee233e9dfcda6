//! `/healthz` and `/readyz`.

use choreo_webhook::server::{Server, ServerLimits};

use tokio::io::AsyncWriteExt as _;

use super::{connect, get, hangs_up, loopback, read_answer, read_head, serve};
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn are_answered_on_both_listeners() {
    let world = World::new().await;
    let server = serve(&world, ServerLimits::default());
    for address in [server.address, server.health_address.unwrap()] {
        let get = |path| get(address, path, "");
        let answer = get("/readyz").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        server.health.set(Err("the store does not answer"));
        let answer = get("/readyz").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("the store does not answer"), "{answer}");
        let answer = get("/healthz").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "it is alive: {answer}");
        // A warning does not affect readiness, and is not shown while there is a failure.
        server.health.warn(Some("ok, but slow"));
        let answer = get("/readyz").await.unwrap();
        assert!(answer.ends_with("the store does not answer"), "{answer}");
        server.health.set(Ok(()));
        let answer = get("/readyz").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("ok, but slow"), "{answer}");
        server.health.warn(None);
        let answer = get("/readyz").await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    // The address serves nothing else, with or without a token.
    let authorization = format!("Bearer {}", world.token.expose());
    let path = "/v1/deployments/d-1";
    let answer = get(server.health_address.unwrap(), path, &authorization).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 404 "));
    let answer = get(server.address, path, &authorization).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
}

/// Guards that a listener for health checks works without a health, and then never becomes ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_health_is_alive_and_not_ready() {
    let server = Server::bind(loopback(), axum::Router::new()).unwrap();
    let server = server.with_health_at(loopback()).unwrap();
    let (address, health_address) = (server.local_addr().unwrap(), server.health_addr().unwrap());
    tokio::spawn(server.run(std::future::pending()));
    let answer = get(health_address.unwrap(), "/healthz", "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = get(health_address.unwrap(), "/readyz", "").await.unwrap();
    assert!(answer.ends_with("starting"), "{answer}");
    // On the first address, these paths belong to the service.
    let answer = get(address, "/healthz", "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_get_and_head_are_allowed() {
    let world = World::new().await;
    let server = serve(&world, ServerLimits::default());
    for path in ["/healthz", "/readyz"] {
        for (method, status, allow) in [
            ("GET", "200", false),
            ("HEAD", "200", false),
            ("POST", "405", true),
            ("OPTIONS", "405", true),
        ] {
            let mut stream = connect(server.address).await;
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await;
            assert_eq!(&head[9..12], status, "{method} {path}");
            assert_eq!(head.contains("allow: GET, HEAD\r\n"), allow, "{head}");
        }
    }
}

/// Guards the health checks of proxies that send no Host header, such as HAProxy's `option httpchk GET
/// /healthz HTTP/1.1`. The connection ends, because other requests without Host are ambiguous.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_needs_no_host() {
    let world = World::new().await;
    let server = serve(&world, ServerLimits::default());
    for address in [server.address, server.health_address.unwrap()] {
        for (path, status) in [("/healthz", "200"), ("/readyz", "200"), ("/page", "400")] {
            let mut stream = connect(address).await;
            let request = format!("GET {path} HTTP/1.1\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_answer(&mut stream).await;
            assert_eq!(&answer[9..12], status, "{path}: {answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            hangs_up(&mut stream).await;
        }
    }
}
