//! Deploy tokens, the deploy webhook as a tower service, and CI snippets.
//!
//! CI has built and pushed an image. One HTTP request with a token that is bound to one component
//! deploys it, and the CI step ends with the deployment's outcome. This crate is the edge of that:
//! what comes in over HTTP. What happens then is an [`Intake`](choreo_deploy::Intake)'s:
//! choreo-deploy's [`Deployer`](choreo_deploy::Deployer), or a team's own.
//!
//! ```
//! # use std::collections::HashMap;
//! use std::sync::Arc;
//!
//! use choreo_deploy::deployer::{Deployer, Parts};
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
//! // The control plane's side: a deployer, and a webhook over it and the tokens.
//! let store = Arc::new(InMemoryStore::new());
//! # let (id, host) = (("acme".parse()?, "images".parse()?), "registry.example.com".parse()?);
//! # let authentication = choreo_registry::authentication::AuthenticationType::Vendor;
//! # store.put_registry(NewRegistry::new(id, "Images", host, authentication), None).await?;
//! let deployer = Deployer::new(Parts {
//!     store: Arc::clone(&store) as _,
//!     // … the catalog, the data planes and how images are resolved
//! #    catalog: Arc::new(StaticCatalog::new([Plan::new(report, ManualTask::new()).then(stage)])),
//! #    backends: Arc::new(HashMap::from([("eu-1".parse()?, backend)])),
//! #    resolver: Arc::new(choreo_deploy::resolver::NeverResolver),
//! #    sealer: Arc::new(Sealer::new(SealingKey::new("2026-11", [7; 32])?)),
//! });
//! let webhook = DeployWebhook::new(Arc::new(deployer.clone()), Arc::clone(&store) as _);
//!
//! // Once, for the developer: a token of the component. Its text is shown now or never.
//! let now = jiff::Timestamp::now();
//! let report = ComponentKey::new("acme".parse()?, "report".parse()?);
//! let (token, record) = DeployToken::mint(report, Lifetime::DEFAULT, now);
//! store.issue_token(record).await?;
//! let authorization = format!("Bearer {}", token.expose());
//!
//! // CI's side: deploy, and follow.
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
//! let answer = webhook.oneshot(request).await?;
//! assert!(answer.body().as_bytes().starts_with(br#"{"phase":"ready","final":true,"#));
//! # Ok(())
//! # }
//! ```
//!
//! # The protocol
//!
//! `POST /v1/deployments` with `Authorization: Bearer TOKEN`, `Content-Type: application/json` and
//!
//! | member | |
//! |---|---|
//! | `image` | the image reference, up to 1,024 bytes; it must be of the component's registry |
//! | `digest` | optional, recommended: the digest that the push reported |
//! | `commit` | optional: up to 128 visible ASCII characters |
//! | `run_url` | optional: the page of the CI run, an `http` or `https` URL of up to 2,048 bytes |
//!
//! answers `202` once the deployment is stored durably, with `Location`. It goes to the component's
//! first environment; a token cannot choose another. Two requests are the same when they have the
//! same `Idempotency-Key` header (1 to 255 visible ASCII characters); the second is answered as the
//! first was, with `Idempotent-Replayed: true`. Without the header the intake decides.
//!
//! `GET /v1/deployments/{id}?wait=25` answers `200` once the deployment is final, or after so many
//! seconds; ask again then. Both answer with the deployment:
//!
//! ```json
//! {"phase":"failed","final":true,"id":"d-ab…","component":"orders","environment":"dev",
//!  "image":"registry.example.com/shop/orders:1.4",
//!  "reasons":[{"code":"image-not-found","message":"…","help":"…","evidence":"…"}],
//!  "accepted_at":"2026-01-01T00:00:00Z","changed_at":"2026-01-01T00:00:09Z","status_url":"d-ab…"}
//! ```
//!
//! `phase` is `accepted`, `progressing`, or one of the final `ready`, `failed`, `superseded` and
//! `timed-out`; more may come, so look at `final`. What was ready and does not run any more, because a
//! newer deployment or a removal took its place, is answered as `superseded`, and `superseded_by` says by
//! which: also to a request that is repeated. The answer to `POST` has `findings` where there is something
//! doubtful, each with `code`, `severity`, `message` and `help`. `digest`, `release`, `commit` and `run_url` are
//! there when they are known; `digest` is what the release is pinned to, so what runs. The JSON is one line, and `phase`, `final` and `id` come first. From
//! 14 days before the token's end on, every answer has `Choreo-Token-Expires`.
//!
//! # Problems
//!
//! Everything else is [`application/problem+json`](problem). The types begin with
//! `urn:choreo:problem:`.
//!
//! | status | type | when |
//! |---|---|---|
//! | 400 | `body-unreadable` | the body broke off |
//! | 400 | `invalid-idempotency-key` | the key is empty, too long, given twice or not visible ASCII |
//! | 400 | `invalid-json` | the body is not JSON |
//! | 400 | `invalid-query` | the query is something else than `wait=SECONDS` |
//! | 400 | `token-in-url` | a token stands in the URL and must be rotated, for logs have it |
//! | 401 | `invalid-token` | the token is malformed, unknown, expired or revoked; nobody learns which |
//! | 401 | `missing-token` | there is no `Authorization: Bearer` header |
//! | 404 | `not-found` | there is nothing at this path |
//! | 404 | `unknown-component` | the token's component is gone |
//! | 404 | `unknown-deployment` | the component has no such deployment |
//! | 405 | `method-not-allowed` | see `Allow` |
//! | 408 | `body-too-slow` | the body took longer than 10 seconds |
//! | 409 | `held` | a rollback holds the target until somebody releases it |
//! | 409 | `unknown-environment` | the component has no environment to deploy to |
//! | 413 | `body-too-large` | the body is longer than 16 KiB |
//! | 415 | `unsupported-encoding` | the body is compressed |
//! | 415 | `unsupported-media-type` | the body is not said to be JSON |
//! | 422 | `idempotency-key-reused` | the key was used for another request |
//! | 422 | `image-not-in-registry` | the image is not of the component's registry |
//! | 422 | `invalid-field` | a member is missing, unknown, given twice or wrong |
//! | 422 | `invalid-image` | the image is no image reference |
//! | 422 | `not-possible` | it does not fit the component as it is set up |
//! | 429 | `too-many-requests` | the component or its organization has more under way than its share; see `Retry-After` |
//! | 500 | `internal` | what is stored cannot be used until the operator has looked |
//! | 503 | `busy` | the server has as much to do as it takes on; see `Retry-After` |
//! | 503 | `unavailable` | the intake or the token store does not answer; see `Retry-After` |
//!
//! An image that does not exist is none of these: it is accepted, and the deployment fails and says why.
//!
//! # Snippets
//!
//! [`Snippet`] writes the CI step: the token from a secret, the POST, the waiting, and an exit
//! status by outcome: 0 ready, 1 failed, 2 wrong use, 3 superseded, 4 held, 5 timed out, 6 refused,
//! 7 no answer ([`ExitStatus`](snippet::ExitStatus)).
//!
//! # Mounting it
//!
//! [`DeployWebhook`] is a [`tower_service::Service`] for any request body. The feature `server` has a
//! server for it, or for a router with more in it, that slow, idle and many clients do not stop:
//! `server::Server::bind(address, webhook)?.run(shutdown)`. In axum it goes under any prefix.
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
//! | | |
//! |---|---|
//! | token lifetime | 90 days, 365 at most ([`Lifetime`](token::Lifetime)) |
//! | notice of a token's end | 14 days ([`DeployWebhook::EXPIRY_NOTICE`]) |
//! | body | 16 KiB within 10 seconds ([`DeployWebhook::BODY_LIMIT`], [`DeployWebhook::BODY_DEADLINE`]) |
//! | `wait` | none; 25 seconds at most, longer is cut ([`DeployWebhook::MAX_WAIT`]) |
//! | under way at once | 64 `POST`s, of one organization 16, of one component 8; 256, 32 and 8 whose body is still to come; 1,024, 128 and 32 `GET`s ([`Limits`](webhook::Limits)) |
//! | a snippet's patience | 15 minutes ([`Snippet::with_patience`]) |
//!
//! # What it does not do
//!
//! - **TLS.** Put it behind something that does; tokens travel with every request. Do not redirect
//!   from `http`: curl takes a redirect for success.
//! - **Clients that are slow with heads, do not read, or take all connections.** That is the
//!   server's: the one of the feature `server`. `axum::serve` has no timeout for them, and hyper has
//!   none for those who do not read.
//! - **Rate limits for strangers.** Limit by address at the proxy.
//! - **Panics.** It has none of its own on any input; one in the intake or the store is not caught.
//! - **CORS.** CI is not a browser.

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
