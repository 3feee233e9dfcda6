//! Sources of short-lived credentials: a vendor's registry from another cloud.
//!
//! Nodes of a vendor's own cloud pull from its registry by themselves; choose
//! [`Authentication::Vendor`](crate::Authentication::Vendor) there. The sources here are for the rest: a
//! control plane that verifies and resolves images of such a registry, and data planes elsewhere,
//! whose pull secrets must be written anew before each credential ends.
//!
//! | registry | feature | source | who asks | right that is needed | holds for |
//! |---|---|---|---|---|---|
//! | Azure Container Registry | `acr` | `AcrSource` | a managed identity, an application's secret, workload identity federation | `AcrPull` | 3 hours |
//! | Artifact Registry, gcr.io | `gar` | `GarSource` | the metadata server, a service account's key | `roles/artifactregistry.reader` | 1 hour |
//! | Amazon ECR | `ecr` | `EcrSource` | access keys, an instance's role, a role for a workload's token | `ecr:GetAuthorizationToken`, `ecr:BatchGetImage`, `ecr:GetDownloadUrlForLayer` | 12 hours |
//! | ECR Public | `ecr` | `EcrSource` | as ECR | `ecr-public:GetAuthorizationToken`, `sts:GetServiceBearerToken` | 12 hours |
//!
//! Each source asks its vendor's service at every call: put it into a [`Refreshing`], which asks once
//! for many callers and before the credential ends. A credential is for its source's registry alone:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use std::sync::Arc;
//! use choreo_registry::client::{HttpTransport, RegistryClient, ScriptedTransport};
//! use choreo_registry::client::credential_source::Refreshing;
//! use choreo_registry::credential_source::{CredentialSource, SourceError, StaticCredential};
//! use choreo_registry::Credential;
//!
//! /// A client with the credential that a source has now. Make another when that one has ended.
//! async fn client(
//!     source: &dyn CredentialSource,
//!     transport: Arc<dyn HttpTransport>,
//! ) -> Result<RegistryClient, SourceError> {
//!     let credential = source.credential().await?.duplicate();
//!     Ok(RegistryClient::new(source.registry().clone(), Some(credential), transport))
//! }
//!
//! // In place of a vendor's source.
//! let fixed = StaticCredential::new("registry.example.com".parse()?, Credential::new("a", "b")?);
//! let source = Refreshing::new(fixed);
//! let client = client(&source, Arc::new(ScriptedTransport::new())).await?;
//! assert_eq!(client.registry().as_str(), "registry.example.com");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where requests go
//!
//! Through the [`HttpTransport`](crate::client::HttpTransport) that a source is given, and its egress
//! policy. Each source serves the hosts of a closed list and derives its vendor's endpoints from them;
//! redirects are not followed. A metadata service stands at a forbidden address: it needs a transport
//! of the operator's own, with `Egress::operator()` and `allow_plain_http`.
//!
//! # What it does not do
//!
//! It reads no file, environment variable or command's output: keys and tokens are given to it. The
//! sources are held to scripted services and to Amazon's published signatures; no test has asked a
//! real cloud.

#[cfg(feature = "acr")]
mod acr;
#[cfg(feature = "ecr")]
mod ecr;
#[cfg(any(feature = "acr", feature = "ecr", feature = "gar"))]
mod exchange;
#[cfg(feature = "gar")]
mod gar;
#[cfg(any(feature = "acr", feature = "ecr"))]
mod identity_token;
mod refreshing;

#[cfg(feature = "acr")]
pub use self::acr::{AcrSource, AzureIdentity};
#[cfg(feature = "ecr")]
pub use self::ecr::{AwsCredentialSource, AwsCredentials, EcrSource, InstanceProfile, WebIdentity};
#[cfg(feature = "gar")]
pub use self::gar::{GarSource, GoogleIdentity, ServiceAccountKey};
#[cfg(any(feature = "acr", feature = "ecr"))]
pub use self::identity_token::IdentityToken;
pub use self::refreshing::Refreshing;
