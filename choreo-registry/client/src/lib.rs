//! Asking registries: does this login work, may it pull this image, and which digest is it?
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use choreo_registry_client::{AccessClass, RegistryClient, transport::ScriptedTransport};
//!
//! // A registry in a script, so that this runs anywhere. For real ones, share one
//! // `ReqwestTransport::new(Egress::tenant())?` between all clients.
//! let index = r#"{"schemaVersion": 2, "manifests": [{
//!     "digest": "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
//!     "platform": {"os": "linux", "architecture": "amd64"}}]}"#;
//! let transport = ScriptedTransport::new()
//!     .answer("GET https://registry.example.com/v2/", http::Response::new(""))
//!     .answer(
//!         "GET https://registry.example.com/v2/team/app/manifests/1.4",
//!         http::Response::builder()
//!             .header("content-type", "application/vnd.oci.image.index.v1+json")
//!             .body(index)?,
//!     );
//! let client = RegistryClient::new("registry.example.com".parse()?, None, Arc::new(transport));
//!
//! let image = "registry.example.com/team/app:1.4".parse()?;
//! let access = client.verify(Some(&image)).await;
//! assert_eq!(access.class(), AccessClass::PullAllowed);
//!
//! let resolved = client.resolve(&image).await?;
//! assert!(resolved.digest().matches(index.as_bytes()));
//! assert_eq!(resolved.platforms()[0].as_str(), "linux/amd64");
//!
//! // Another tag: an error that says what to do.
//! let error = client.resolve(&"registry.example.com/team/app:1.5".parse()?).await.unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "image \"registry.example.com/team/app:1.5\" was not found; check the spelling, and that the \
//!      push has finished; a registry may also hide what this login may not see",
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # From a registered registry
//!
//! [`RegistryClient::for_registry`] takes the host and the credential of a
//! [`ContainerRegistry`](choreo_registry::ContainerRegistry). A vendor registry has no credential of its own:
//! [`credential_source`] gets one from the vendor, or nothing can be told from here.
//!
//! ```
//! use std::sync::Arc;
//! use choreo_registry_client::{Access, RegistryClient, transport::HttpTransport};
//! use choreo_registry::{ContainerRegistry, ImageReference};
//!
//! /// What to show below the form in which a registry is entered.
//! async fn check(
//!     registry: &ContainerRegistry,
//!     image: Option<&ImageReference>,
//!     transport: Arc<dyn HttpTransport>,
//! ) -> Access {
//!     match RegistryClient::for_registry(registry, transport) {
//!         Some(client) => client.verify(image).await,
//!         None => Access::not_checkable("the nodes log in to this registry as themselves"),
//!     }
//! }
//! ```
//!
//! # What it needs
//!
//! - A Tokio runtime with time enabled, and with I/O enabled for `ReqwestTransport`: one built with
//!   `enable_all`, as `#[tokio::main]` builds it.
//! - The feature `tls`, which is a default, or a transport of your own: without it `ReqwestTransport`
//!   speaks plain HTTP to the hosts of [`Egress::allow_plain_http`] and refuses all others.
//!
//! # The parts
//!
//! - [`RegistryClient`] asks one registry with one credential. [`verify`](RegistryClient::verify)
//!   explains, [`resolve`](RegistryClient::resolve) pins, [`inspect`](RegistryClient::inspect)
//!   reads more; [`tags`](RegistryClient::tags) lists, and [`compare`](RegistryClient::compare)
//!   tells cheaply whether a tag has moved.
//! - [`Access`] and [`ClientError`] say what came of it, with a class to decide by, plain words,
//!   and the evidence.
//! - [`HttpTransport`] carries the requests. [`Egress`] is the operator's policy for where they may
//!   go. [`conformance`] checks a transport of your own.
//!
//! # What reaches whom
//!
//! - A credential goes to the registry's own origin (scheme, host and port), to the token server
//!   that the registry names if that has the same origin, is the one of the vendor's row or was
//!   trusted by the operator, and to nobody else. Redirects are followed without it.
//! - Every hop is judged by the egress policy, redirects and token servers included.
//! - Logs (`tracing`, level debug) have a span for each call and one for each request
//!   (`registry_request`: method, host, attempt, status or error, duration); never a header, a query
//!   or a body.
//! - Whatever a challenge asks for, tokens are asked for to read, never to push.
//!
//! # Bounds
//!
//! | what | bound |
//! |---|---|
//! | one call of any kind, all its requests together | 30 s, [`with_timeout`](RegistryClient::with_timeout) |
//! | redirects of one request | 5 |
//! | repetitions of one request that failed in passing | 2, [`with_retries`](RegistryClient::with_retries) |
//! | a wait before a repetition | 2 s |
//! | a manifest, an index, an image's configuration, a page of tags | 4 MiB each |
//! | a list of tags | 100 pages, 100,000 tags |
//! | a token server's answer | 64 KiB |
//! | the part of an error's body that is read | 16 KiB |
//! | `WWW-Authenticate` | 8 challenges, 8 KiB |
//! | a token's life in memory | 60 s to 1 h, as its server says |
//! | tokens kept by one client | 256 |
//!
//! # What it does not do
//!
//! It pulls no layers, pushes nothing and lists no catalogues. It rides out a moment, not an outage:
//! [`is_retryable`](ClientError::is_retryable) and [`retry_after`](ClientError::retry_after) tell
//! the caller what may work later. It overwrites its own copies of secrets, and cannot reach those
//! in the buffers of HTTP and TLS.

pub mod conformance;
pub mod credential_source;
pub mod egress;
pub mod rate_limit;
pub mod tags;
pub mod transport;

mod access;
mod address;
mod challenge;
mod compare;
mod describe;
mod disguise;
mod error;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gzip;
mod link;
mod manifest;
mod meaning;
mod registry_client;
mod request;
mod resolve_cache;
mod retry;
mod scope;
mod session;
mod token;
mod urlencoded;

pub use self::access::{Access, AccessClass};
pub use self::compare::Comparison;
pub use self::error::{ClientError, ErrorKind, Evidence};
pub use self::registry_client::RegistryClient;
