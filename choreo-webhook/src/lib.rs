//! Deploy tokens, the deploy webhook as a tower service, and CI snippets.
//!
//! After CI has built and pushed an image, one HTTP request deploys it, and the CI step ends with the
//! deployment's outcome. The request's token is bound to one component. This crate is the HTTP side:
//! it authenticates and parses requests. An [`Intake`](choreo_deploy::Intake) stores the
//! deployments: choreo-deploy's [`Deployer`](choreo_deploy::Deployer), or your own.
//!
//! ```
//! # use std::collections::HashMap;
//! use std::sync::Arc;
//!
//! use choreo_deploy::deployer::{Deployer, DeployerParts};
//! use choreo_deploy::id::ComponentKey;
//! use choreo_deploy::store::{InMemoryStore, TokenStore as _};
//! use choreo_webhook::token::Lifetime;
//! use choreo_webhook::{DeployToken, DeployWebhook};
//! use http::Request;
//! use tower::ServiceExt as _;
//! # use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
//! # use choreo_deploy::sealer::{Sealer, SealingKey};
//! # use choreo_deploy::store::{NewRegistry, RegistryStore as _};
//! # use choreo_deploy::target::{Component, DataPlane, Environment, Project};
//! # use choreo_deploy::workload::{ComponentType, ManualTask};
//! # use choreo_deploy::{DeploymentBackend, InMemoryBackend};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let shop = Project::new("acme".parse()?, "shop".parse()?);
//! # let report = Component::new("report".parse()?, shop, ComponentType::ManualTask, "images".parse()?);
//! # let development = Environment::new("dev".parse()?, "eu-1".parse()?);
//! # let stage = Stage::new(development, DataPlane::new("eu-1".parse()?));
//! # let backend: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
//!
//! // In the control plane: a deployer, and a webhook with that deployer and the tokens.
//! let store = Arc::new(InMemoryStore::new());
//! # let (id, host) = (("acme".parse()?, "images".parse()?), "registry.example.com".parse()?);
//! # let authentication = choreo_registry::authentication::AuthenticationType::Vendor;
//! # store.put_registry(NewRegistry::new(id, "Images", host, authentication), None).await?;
//! let deployer = Deployer::new(DeployerParts {
//!     store: Arc::clone(&store) as _,
//!     // … the catalog, the data planes and how images are resolved
//! #    catalog: Arc::new(StaticCatalog::new([Plan::new(report, ManualTask::new()).then(stage)])),
//! #    backends: Arc::new(HashMap::from([("eu-1".parse()?, backend)])),
//! #    resolver: Arc::new(choreo_deploy::resolver::NeverResolver),
//! #    sealer: Arc::new(Sealer::new(SealingKey::new("2026-11", [7; 32])?)),
//! });
//! let webhook = DeployWebhook::new(Arc::new(deployer.clone()), Arc::clone(&store) as _);
//!
//! // Once, for the developer: a token of the component. Show its text now: it is not stored.
//! let now = jiff::Timestamp::now();
//! let report = ComponentKey::new("acme".parse()?, "report".parse()?);
//! let (token, record) = DeployToken::mint(report, Lifetime::DEFAULT, now);
//! store.issue_token(record).await?;
//! let authorization = format!("Bearer {}", token.expose());
//!
//! // In CI: deploy, and wait for the outcome.
//! let image = format!("registry.example.com/shop/report:1.4@sha256:{}", "0".repeat(64));
//! let request = Request::post("/v1/deployments")
//!     .header("authorization", &authorization)
//!     .header("content-type", "application/json")
//!     .body(format!(r#"{{"image": "{image}"}}"#))?;
//! let accepted = webhook.clone().oneshot(request).await?;
//! assert_eq!(accepted.status(), 202);
//!
//! # deployer.work_until_idle().await?;
//! let location = accepted.headers()["location"].to_str()?; // deployments/d-…
//! let request = Request::get(format!("/v1/{location}?wait=25"))
//!     .header("authorization", &authorization)
//!     .body(String::new())?;
//! let response = webhook.oneshot(request).await?;
//! assert!(response.body().as_bytes().starts_with(br#"{"phase":"ready","final":true,"#));
//! # Ok(())
//! # }
//! ```
//!
//! # The protocol
//!
//! `POST /v1/deployments` with `Authorization: Bearer TOKEN` and `Content-Type: application/json`:
//!
//! | member | value |
//! |---|---|
//! | `image` | the image reference, up to 1,024 bytes, in the component's registry |
//! | `digest` | optional but recommended: the digest that the push reported |
//! | `commit` | optional: up to 128 visible ASCII characters |
//! | `run_url` | optional: the page of the CI run, an `http` or `https` URL of up to 2,048 bytes |
//!
//! The response is `202` with `Location` once the deployment is stored durably. The deployment
//! always goes to the component's first environment. Requests with the same `Idempotency-Key` header
//! (1 to 255 visible ASCII characters) are the same request: the response to a retry contains the
//! same deployment and `Idempotent-Replayed: true`. Without the header, the intake finds duplicates.
//!
//! `GET /v1/deployments/{id}?wait=25` responds with `200` once the deployment is final, or after 25
//! seconds; then send it again. Both responses contain the deployment. `status_url` is relative to the
//! request, or absolute with a [base URL](DeployWebhook::with_base_url):
//!
//! ```json
//! {"phase":"failed","final":true,"id":"d-ab…","component":"orders","environment":"dev",
//!  "image":"registry.example.com/shop/orders:1.4",
//!  "reasons":[{"code":"image-not-found","message":"…","help":"…","evidence":"…"}],
//!  "accepted_at":"2026-01-01T00:00:00Z","changed_at":"2026-01-01T00:00:09Z","status_url":"d-ab…"}
//! ```
//!
//! `phase` is `accepted`, `progressing`, or one of the final phases `ready`, `failed`, `superseded` and
//! `timed-out`. Later versions may add phases, so check `final`. A ready deployment that was later
//! replaced or removed is reported as `superseded`, and `superseded_by` contains the id of its
//! successor; this also applies to a retried `POST`. The response to `POST` contains `findings` if
//! something is suspicious, each with `code`, `severity`, `message` and `help`. `digest` (the one that
//! runs), `release`, `commit` and `run_url` are present if known. The JSON is a single line that starts
//! with `phase`, `final` and `id`. In the last 14 days of a token, every response has
//! `Choreo-Token-Expires`.
//!
//! # Problems
//!
//! Every other response is [`application/problem+json`](problem). The types start with
//! `urn:choreo:problem:`.
//!
//! | status | type | cause |
//! |---|---|---|
//! | 400 | `body-unreadable` | the transfer of the body failed |
//! | 400 | `invalid-idempotency-key` | the key is empty, too long, duplicate or not visible ASCII |
//! | 400 | `invalid-json` | the body is not JSON |
//! | 400 | `invalid-query` | the query is not `wait=SECONDS` |
//! | 400 | `token-in-url` | the URL contains a token; rotate it, because proxies log URLs |
//! | 401 | `invalid-token` | the token is malformed, unknown, expired or revoked; the response does not say which |
//! | 401 | `missing-token` | the request has no `Authorization: Bearer` header |
//! | 404 | `not-found` | the path does not exist |
//! | 404 | `unknown-component` | the token's component no longer exists |
//! | 404 | `unknown-deployment` | the component has no deployment with this id |
//! | 405 | `method-not-allowed` | the path does not support the method; see `Allow` |
//! | 408 | `body-too-slow` | the body took longer than 10 seconds |
//! | 409 | `held` | a rollback holds the target until a user releases it |
//! | 409 | `unknown-environment` | the component has no environment to deploy to |
//! | 413 | `body-too-large` | the body is longer than 16 KiB |
//! | 415 | `unsupported-encoding` | the body is compressed |
//! | 415 | `unsupported-media-type` | the body's `Content-Type` is not `application/json` |
//! | 422 | `idempotency-key-reused` | the key belongs to a different request |
//! | 422 | `image-not-in-registry` | the image is not in the component's registry |
//! | 422 | `invalid-field` | a member is missing, unknown, duplicate or not valid |
//! | 422 | `invalid-image` | the image is not a valid image reference |
//! | 422 | `not-possible` | the deployment conflicts with the component's configuration |
//! | 429 | `too-many-requests` | the component or its organization has reached its limit of concurrent requests; see `Retry-After` |
//! | 500 | `internal` | the intake or the token store failed, and only its operator can repair it |
//! | 503 | `busy` | the server has reached its limit of concurrent requests; see `Retry-After` |
//! | 503 | `unavailable` | the intake or the token store does not respond; see `Retry-After` |
//!
//! An image that does not exist is not a problem: its deployment is accepted and fails with a reason.
//!
//! # Snippets
//!
//! [`Snippet`] renders the CI step. It takes the token from a secret, sends the POST, waits, and maps
//! the outcome to the exit status: 0 ready, 1 failed, 2 wrong use, 3 superseded, 4 held, 5 timed
//! out, 6 refused, 7 no answer ([`ExitStatus`](snippet::ExitStatus)).
//!
//! # Mounting it
//!
//! [`DeployWebhook`] is a [`tower_service::Service`] for any request body. The feature `server` adds
//! a server that withstands slow or idle clients and floods of connections:
//! `server::Server::bind(address, webhook)?.run(shutdown)`. In axum, nest it under any prefix.
//!
//! ```
//! # use std::sync::Arc;
//! # use choreo_deploy::{Intake, store::TokenStore};
//! # use choreo_webhook::DeployWebhook;
//! # fn mount(intake: Arc<dyn Intake>, tokens: Arc<dyn TokenStore>) -> axum::Router {
//! // Clients POST to /hooks/v1/deployments.
//! axum::Router::new().nest_service("/hooks", DeployWebhook::new(intake, tokens))
//! # }
//! ```
//!
//! # Defaults
//!
//! | setting | default |
//! |---|---|
//! | token lifetime | 90 days, 365 at most ([`Lifetime`](token::Lifetime)) |
//! | notice before a token expires | 14 days ([`DeployWebhook::EXPIRY_NOTICE`]) |
//! | body | 16 KiB within 10 seconds ([`DeployWebhook::BODY_LIMIT`], [`DeployWebhook::BODY_DEADLINE`]) |
//! | `wait` | none; a value over 25 seconds counts as 25 ([`DeployWebhook::MAX_WAIT`]) |
//! | concurrent requests | 64 `POST`s, 16 per organization, 8 per component; 256, 32 and 8 while their bodies arrive; 1,024, 128 and 32 `GET`s ([`Limits`](webhook::Limits)) |
//! | a snippet's patience | 15 minutes ([`Snippet::with_patience`]) |
//!
//! # What this crate does not do
//!
//! - **TLS.** Terminate it in front of the webhook, because every request contains a token. Do not
//!   redirect from `http`, because curl treats a redirect as success.
//! - **Protection from clients that send headers slowly, do not read, or take all connections.** The
//!   server of the feature `server` has it. `axum::serve` has no timeout for these clients.
//! - **Rate limits for unauthenticated clients, and CORS.** Limit by address in a proxy. CI is not a browser.
//! - **Catching panics.** No input makes the webhook panic; a panic of the intake is not caught.

pub mod base_url;
pub mod problem;
#[cfg(feature = "server")]
pub mod server;
pub mod snippet;
pub mod token;
pub mod webhook;

pub use self::base_url::BaseUrl;
pub use self::snippet::Snippet;
pub use self::token::DeployToken;
pub use self::webhook::DeployWebhook;
