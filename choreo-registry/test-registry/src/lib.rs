//! A faithful OCI registry in process, for tests and examples.
//!
//! ```
//! use choreo_test_registry::{Image, TestRegistry, User};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//!
//! let registry = TestRegistry::builder()
//!     .basic()
//!     .user(User::new("robot", "correct horse"))
//!     .start()
//!     .await?;
//! let image = Image::builder().user("10001").exposed_port("8080/tcp").build();
//! registry.push("team/shop/cart", "v1", &image)?;
//!
//! // Any client works. This one sends no password.
//! let mut connection = TcpStream::connect(registry.address()).await?;
//! let request = format!(
//!     "HEAD /v2/team/shop/cart/manifests/v1 HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
//!     registry.host(),
//! );
//! connection.write_all(request.as_bytes()).await?;
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 401 Unauthorized"));
//!
//! let requests = registry.requests();
//! assert_eq!(requests.len(), 1);
//! assert_eq!(requests[0].path(), "/v2/team/shop/cart/manifests/v1");
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Overview
//!
//! - [`TestRegistry`] runs on 127.0.0.1 until it is dropped; [`Builder`] configures it.
//! - [`User`] logs in with a password or a token, and has rights to repositories.
//! - [`Image`] and [`Platform`] create small images; `push` and `push_index` store them.
//! - [`Fault`] makes some requests fail: errors, delays, wrong data, cut connections.
//! - [`Recorded`] is a received request, with which tests count round trips.
//!
//! # With the registry client
//!
//! In the tests of a program that uses `choreo_registry`, the client needs a policy that allows this
//! host without TLS:
//!
//! ```
//! use std::sync::Arc;
//! use choreo_registry_client::{RegistryClient, egress::Egress, transport::ReqwestTransport};
//! use choreo_registry::{Credential, RegistryHost};
//! use choreo_test_registry::{Image, TestRegistry, User};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//!
//! let user = User::new("robot", "correct horse");
//! let registry = TestRegistry::builder().bearer().user(user).start().await?;
//! let pushed = registry.push("team/shop/cart", "v1", &Image::builder().build())?;
//!
//! let host: RegistryHost = registry.host().parse()?;
//! let egress = Egress::tenant().allow_host(host.clone()).allow_plain_http(host.clone());
//! let transport = Arc::new(ReqwestTransport::new(egress)?);
//! let client = RegistryClient::new(host, Some(Credential::new("robot", "correct horse")?), transport);
//!
//! let image = format!("{}/team/shop/cart:v1", registry.host()).parse()?;
//! assert_eq!(client.resolve(&image).await?.digest().to_string(), pushed.to_string());
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Compatibility
//!
//! It serves every endpoint of the
//! [distribution specification 1.1](https://github.com/opencontainers/distribution-spec/blob/main/spec.md):
//! push and pull by digest and by tag, byte-exact manifests of any media type, monolithic, chunked
//! and mounted blobs, ranges of blobs, paginated tags, referrers, deletion, and the error codes.
//! Where the specification leaves a choice, the registry behaves like
//! [distribution](https://github.com/distribution/distribution): an OCI manifest or index is only
//! returned if the `Accept` header names its type (`*/*` does not), the location of an upload has a
//! query, and tokens come from a
//! [realm](https://github.com/distribution/distribution/blob/main/docs/content/spec/auth/token.md)
//! by `GET` or `POST`. It passes the
//! [conformance tests](https://github.com/opencontainers/distribution-spec/tree/main/conformance) of the
//! specification; tests also push to it and pull from it with skopeo.
//!
//! # Limits
//!
//! The registry has no TLS, HTTP/2, storage on disk, catalog of repositories or rate limit (a
//! [`Fault`] imitates one). It is not secure: it compares passwords in plain text and keeps
//! everything in memory.

mod auth;
mod body;
mod builder;
mod error;
mod fault;
mod image;
mod lock;
mod log;
mod name;
mod registry;
mod routes;
mod server;
mod store;
mod token;

pub use auth::User;
pub use builder::Builder;
pub use fault::Fault;
pub use image::{Image, Platform};
pub use log::Recorded;
pub use registry::{InvalidTarget, TestRegistry};

/// Types in signatures that few tests name.
pub mod parts {
    pub use crate::auth::Denial;
    pub use crate::image::{ImageBuilder, InvalidPlatform, Manifest};
    pub use crate::log::Scheme;
    pub use crate::token::TokenField;
}
