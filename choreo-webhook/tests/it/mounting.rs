//! Mounts the webhook in axum and in hyper, and sends requests over real sockets.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{IMAGE, World};

#[tokio::test]
async fn mounts_in_axum_under_any_prefix() {
    let world = World::new().await;
    let router = axum::Router::new()
        .route("/healthz", axum::routing::get(|| async { "ok" }))
        .nest_service("/teams/shop/hooks", world.webhook.clone());
    let body = axum::body::Body::from(json!({ "image": IMAGE }).to_string());
    let request = world
        .post()
        .uri("/teams/shop/hooks/v1/deployments")
        .body(body)
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 202);
    // Relative to the request, which is /teams/shop/hooks/v1/deployments/d-1.
    assert_eq!(response.headers()["location"], "deployments/d-1");

    let request = world.get("/teams/shop/hooks/v1/deployments/d-1");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes.starts_with(b"{\"phase\":\"accepted\",\"final\":false,\"id\":\"d-1\""));
}

#[tokio::test]
async fn mounts_in_axum_as_routes() {
    let world = World::new().await;
    let router = axum::Router::new()
        .route_service("/v1/deployments", world.webhook.clone())
        .route_service("/v1/deployments/{id}", world.webhook.clone());
    let body = axum::body::Body::from(json!({ "image": IMAGE }).to_string());
    let response = router
        .oneshot(world.post().body(body).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn runs_on_hyper() {
    let world = World::new().await;
    let (client, server) = tokio::io::duplex(4096);
    let service = TowerToHyperService::new(world.webhook.clone());
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);

    let request = world.post().header("host", "cd.example.com");
    let body = Full::<bytes::Bytes>::from(json!({ "image": IMAGE }).to_string());
    let response = sender
        .send_request(request.body(body).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["location"], "deployments/d-1");
}

#[test]
fn is_what_servers_ask_for() {
    fn assert_service<T: Clone + Send + Sync + 'static>(_: &T) {}
    let world = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(World::new());
    assert_service(&world.webhook);
    assert_service(&Arc::new(world.webhook));
}
