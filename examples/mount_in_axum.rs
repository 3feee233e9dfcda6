//! The deploy webhook in an existing axum router.
//!
//! ```sh
//! cargo run --example mount_in_axum
//! ```
//!
//! `DeployWebhook` is a tower service, so the router can nest it under any prefix, beside its other
//! routes and behind its layers.

use std::collections::HashMap;
use std::io::{Write as _, stdout};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use choreo_deploy::catalog::StaticCatalog;
use choreo_deploy::deployer::{Deployer, DeployerParts};
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::InMemoryStore;
use choreo_webhook::DeployWebhook;
use tower::ServiceExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = platform(webhook()?);

    for (request, expected) in [
        (Request::get("/").body(Body::empty())?, StatusCode::OK),
        (
            Request::get("/deploy/v1/deployments/d-1").body(Body::empty())?,
            StatusCode::UNAUTHORIZED,
        ),
        (
            Request::post("/deploy/v1/deployments").body(Body::empty())?,
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let line = format!("{} {}", request.method(), request.uri());
        let response = router.clone().oneshot(request).await?;
        writeln!(stdout(), "{line}: {}", response.status())?;
        assert_eq!(response.status(), expected);
    }
    writeln!(stdout(), "mount_in_axum: ok")?;
    Ok(())
}

/// Returns the existing router, with the webhook at `/deploy`.
fn platform(webhook: DeployWebhook) -> Router {
    Router::new()
        .route("/", get(async || "the platform's own pages"))
        .nest_service("/deploy", webhook)
}

fn webhook() -> Result<DeployWebhook, Box<dyn std::error::Error>> {
    let store = Arc::new(InMemoryStore::new());
    let deployer = Deployer::new(DeployerParts {
        store: Arc::<InMemoryStore>::clone(&store),
        catalog: Arc::new(StaticCatalog::default()),
        backends: Arc::new(HashMap::<_, _>::new()),
        resolver: Arc::new(NeverResolver),
        sealer: Arc::new(Sealer::new(SealingKey::new("example", [7; 32])?)),
    });
    Ok(DeployWebhook::new(Arc::new(deployer), store))
}
