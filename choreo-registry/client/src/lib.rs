//! A client for container registries: checks logins and pull permissions, and resolves tags to digests.
//!
//! Share one `Arc::new(ReqwestTransport::new(Egress::tenant())?)` between all clients: it contains the
//! connection pool and the egress policy.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use choreo_registry_client::{AccessClass, RegistryClient, transport::ScriptedTransport};
//!
//! // A scripted registry, so that this example runs anywhere. For real registries, share one
//! // `Arc::new(ReqwestTransport::new(Egress::tenant())?)` between all clients.
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
//! // Errors contain the next step.
//! let error = client.resolve(&"registry.example.com/team/app:1.5".parse()?).await.unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "image \"registry.example.com/team/app:1.5\" was not found; check the spelling, and that the \
//!      push has finished; a registry may also hide images that this login may not pull",
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # From the registration form
//!
//! [`RegistryClient::for_registry`] takes the host and the credential of a
//! [`ContainerRegistry`](choreo_registry::ContainerRegistry). A vendor registry has no credential: get
//! one from the vendor with a [`credential_source`], or report that it cannot be checked from here.
//!
//! ```
//! use std::sync::Arc;
//! use choreo_registry_client::{Access, RegistryClient, transport::HttpTransport};
//! use choreo_registry::{ContainerRegistry, ImageReference};
//!
//! /// Returns the result to show below the form in which a registry is entered.
//! async fn check(
//!     registry: &ContainerRegistry,
//!     image: Option<&ImageReference>,
//!     transport: Arc<dyn HttpTransport>,
//! ) -> Access {
//!     match RegistryClient::for_registry(registry, transport) {
//!         Some(client) => client.verify(image).await,
//!         None => Access::not_checkable("the nodes use their own identity for this registry"),
//!     }
//! }
//! ```
//!
//! # Requirements
//!
//! - A Tokio runtime with time enabled, and with I/O enabled for `ReqwestTransport`. `#[tokio::main]`
//!   enables both.
//! - The default feature `tls`, or your own transport. Without it, `ReqwestTransport` sends plain HTTP
//!   to the hosts of [`Egress::allow_plain_http`](egress::Egress::allow_plain_http) and rejects all
//!   others.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `reqwest` | yes | `transport::ReqwestTransport`, which enforces the egress policy |
//! | `tls` | yes | TLS for that transport: rustls with aws-lc-rs |
//! | `acr` | no | short-lived credentials of Azure Container Registry |
//! | `ecr` | no | short-lived credentials of Amazon ECR and ECR Public |
//! | `gar` | no | short-lived credentials of Google's Artifact Registry |
//!
//! # Overview
//!
//! - [`RegistryClient`] accesses one registry with one credential. [`verify`](RegistryClient::verify)
//!   checks the credential, [`resolve`](RegistryClient::resolve) returns the digest of a tag,
//!   [`inspect`](RegistryClient::inspect) also reads the image's configuration,
//!   [`tags`](RegistryClient::tags) lists tags, and [`compare`](RegistryClient::compare) checks with
//!   one request whether a tag has moved.
//! - [`Access`] and [`ClientError`] are the results, with a class or kind for programs, a message for
//!   people, and the evidence.
//! - [`HttpTransport`](transport::HttpTransport) sends the requests. [`Egress`](egress::Egress) is the
//!   operator's policy for their destinations. [`conformance`] tests your own transport.
//!
//! # Security
//!
//! - A credential is sent to the registry's own origin (scheme, host and port), and to its token server
//!   if that has the same origin, is listed for the vendor in
//!   [`VendorTable`](choreo_registry::vendor_table::VendorTable), or is trusted by the operator.
//!   Redirects are followed without it.
//! - The egress policy checks every request, also those to token servers and after redirects.
//! - Logs (`tracing`, level debug) have a span for each call and one for each request
//!   (`registry_request`: method, host, attempt, status or error, duration). They contain no headers,
//!   queries or bodies.
//! - Tokens are requested for reading only, even if a challenge names other actions.
//!
//! # Limits
//!
//! | subject | limit |
//! |---|---|
//! | one call, with all its requests | 30 s, [`with_timeout`](RegistryClient::with_timeout) |
//! | redirects of one request | 5 |
//! | retries of one request after transient failures | 2, [`with_retries`](RegistryClient::with_retries) |
//! | the wait before a retry | 2 s |
//! | a manifest, an index, an image's configuration, a page of tags | 4 MiB each |
//! | a list of tags | 100 pages, 100,000 tags |
//! | the response of a token server | 64 KiB |
//! | an error's body; longer ones are not parsed | 16 KiB |
//! | `WWW-Authenticate` | 8 challenges, 8 KiB |
//! | the lifetime of a token in memory | 60 s to 1 h, chosen by its server |
//! | tokens in the cache of one client | 256 |
//!
//! # What this crate does not do
//!
//! It does not pull layers, push, or list catalogs. It retries transient failures for seconds, not
//! through an outage: [`is_retryable`](ClientError::is_retryable) and
//! [`retry_after`](ClientError::retry_after) report whether a call may succeed later. It overwrites its
//! own copies of secrets, but not those in the buffers of HTTP and TLS.

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
