//! `/healthz` and `/readyz`.

use choreo_webhook::server::ServerLimits;

use super::{get, serve};
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
        // What it warns of is no reason to send nobody to it, and none while there is one.
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
    // Nothing else is there, with a token or without.
    let authorization = format!("Bearer {}", world.token.expose());
    let path = "/v1/deployments/d-1";
    let answer = get(server.health_address.unwrap(), path, &authorization).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 404 "));
    let answer = get(server.address, path, &authorization).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
}
