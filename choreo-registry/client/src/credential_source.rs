//! Sources of short-lived credentials, which vendors issue.
//!
//! A cloud's registry accepts passwords that expire within hours and that the cloud's identity service
//! issues. A [`CredentialSource`] requests them from that service.
//!
//! Nodes of a vendor's own cloud pull from its registry without a credential; choose
//! [`Authentication::Vendor`](choreo_registry::Authentication::Vendor) for them. The sources are for a
//! control plane that verifies and resolves images of such a registry, and for data planes elsewhere,
//! whose pull secrets must be updated before each credential expires.
//!
//! | registry | feature | source | identity | required permission | valid for |
//! |---|---|---|---|---|---|
//! | Azure Container Registry | `acr` | `AcrSource` | a managed identity, an application's secret, workload identity federation | `AcrPull` | 3 hours |
//! | Artifact Registry, gcr.io | `gar` | `GarSource` | the metadata server, a service account's key | `roles/artifactregistry.reader` | 1 hour |
//! | Amazon ECR | `ecr` | `EcrSource` | access keys, an instance's role, a role for a workload's token | `ecr:GetAuthorizationToken`, `ecr:BatchGetImage`, `ecr:GetDownloadUrlForLayer` | 12 hours |
//! | ECR Public | `ecr` | `EcrSource` | as ECR | `ecr-public:GetAuthorizationToken`, `sts:GetServiceBearerToken` | 12 hours |
//!
//! Each call of a source sends a request to its vendor's service. Wrap it in a [`Refreshing`], which
//! requests a credential once for many callers, before the last one expires. A credential is for the
//! registry of its source only:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use std::sync::Arc;
//! use choreo_registry_client::{RegistryClient, transport::{HttpTransport, ScriptedTransport}};
//! use choreo_registry_client::credential_source::Refreshing;
//! use choreo_registry_client::credential_source::{CredentialSource, SourceError, StaticCredential};
//! use choreo_registry::Credential;
//!
//! /// Creates a client with the current credential. Create another one when it has expired.
//! async fn client(
//!     source: &dyn CredentialSource,
//!     transport: Arc<dyn HttpTransport>,
//! ) -> Result<RegistryClient, SourceError> {
//!     let credential = source.credential().await?.clone_secret();
//!     Ok(RegistryClient::new(source.registry().clone(), Some(credential), transport))
//! }
//!
//! // Instead of a vendor's source:
//! let fixed = StaticCredential::new("registry.example.com".parse()?, Credential::new("a", "b")?);
//! let source = Refreshing::new(fixed);
//! let client = client(&source, Arc::new(ScriptedTransport::new())).await?;
//! assert_eq!(client.registry().as_str(), "registry.example.com");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Requests
//!
//! Sources send requests with the [`HttpTransport`](crate::transport::HttpTransport) that they are
//! created with, under its egress policy. Each source accepts only hosts of its vendor in the
//! built-in vendor table (`AcrSource` not those of `azurecr.de`, `GarSource` only those of Google's
//! public cloud), and derives the endpoints from them. Redirects are not followed. The address of a
//! metadata service is forbidden to tenants: use a separate transport with `Egress::operator()` and
//! `allow_plain_http`.
//!
//! # What it does not do
//!
//! It does not read files, environment variables or the output of commands: pass keys and tokens to
//! it. The sources are tested with scripted services and Amazon's published signatures, but not with
//! real clouds.

#[cfg(feature = "acr")]
mod acr;
#[cfg(feature = "ecr")]
mod ecr;
mod error;
#[cfg(any(feature = "acr", feature = "ecr", feature = "gar"))]
mod exchange;
#[cfg(feature = "gar")]
mod gar;
#[cfg(any(feature = "acr", feature = "ecr"))]
mod identity_token;
mod refreshing;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

#[cfg(feature = "acr")]
pub use self::acr::{AcrSource, AzureIdentity};
#[cfg(feature = "ecr")]
pub use self::ecr::{AwsCredentialSource, AwsCredentials, EcrSource, InstanceProfile, WebIdentity};
pub use self::error::{SourceError, SourceErrorKind};
#[cfg(feature = "gar")]
pub use self::gar::{GarSource, GoogleIdentity, ServiceAccountKey};
#[cfg(any(feature = "acr", feature = "ecr"))]
pub use self::identity_token::IdentityToken;
pub use self::refreshing::Refreshing;
use choreo_registry::{Credential, RegistryHost};

/// A source of valid credentials for one registry.
///
/// **Contract**
/// - The credential is for [`registry`](Self::registry), and must not be sent to another host.
/// - It is valid now, and contains its expiry ([`Credential::expires_at`]); without one, it is valid
///   until it is changed.
/// - Calls can be repeated: they change nothing.
/// - Dropping the future cancels the call.
/// - Errors contain no secret, and no text of a service except a known code.
///
/// **For callers**: each call of most sources sends a request. Wrap them in [`Refreshing`], which
/// requests a credential once for many callers, before the last one expires.
///
/// **For implementers**: send requests within the call, and limit the duration of every call.
///
/// # Example
///
/// A source that reads the current password of a vault:
///
/// ```
/// use std::sync::Arc;
/// use choreo_registry_client::credential_source::{CredentialSource, SourceError, SourceErrorKind};
/// use choreo_registry::{Credential, RegistryHost};
///
/// #[derive(Debug)]
/// struct Vault { registry: RegistryHost }
///
/// impl Vault {
///     async fn read(&self) -> Option<String> { Some("hunter2".to_owned()) }
/// }
///
/// #[async_trait::async_trait]
/// impl CredentialSource for Vault {
///     fn registry(&self) -> &RegistryHost { &self.registry }
///
///     async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
///         let sealed = || SourceError::new(SourceErrorKind::Unavailable, "the vault");
///         let password = self.read().await.ok_or_else(sealed)?;
///         let credential = Credential::new("robot", password).map_err(|reason| {
///             SourceError::new(SourceErrorKind::InvalidResponse, "the vault").with_source(reason)
///         })?;
///         Ok(Arc::new(credential))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let source = Vault { registry: "registry.example.com".parse()? };
/// assert_eq!(source.credential().await?.username(), "robot");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// The one registry that the credentials are for.
    fn registry(&self) -> &RegistryHost;

    /// Returns a credential that can be used now.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot get one: see [`SourceErrorKind`].
    async fn credential(&self) -> Result<Arc<Credential>, SourceError>;
}

#[async_trait]
impl<S: CredentialSource + ?Sized> CredentialSource for Arc<S> {
    fn registry(&self) -> &RegistryHost {
        (**self).registry()
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        (**self).credential().await
    }
}

#[async_trait]
impl<S: CredentialSource + ?Sized> CredentialSource for Box<S> {
    fn registry(&self) -> &RegistryHost {
        (**self).registry()
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        (**self).credential().await
    }
}

/// A credential that a user has entered, as a source.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use choreo_registry::Credential;
/// use choreo_registry_client::credential_source::{CredentialSource, SourceErrorKind, StaticCredential};
///
/// let registry = "registry.example.com".parse()?;
/// let source = StaticCredential::new(registry, Credential::new("alice", "hunter2")?);
/// assert_eq!(source.credential().await?.username(), "alice");
///
/// // One that has ended is not handed out.
/// let ended = Credential::new("alice", "hunter2")?.with_expiry("2020-01-01T00:00:00Z".parse()?);
/// let source = StaticCredential::new("registry.example.com".parse()?, ended);
/// assert_eq!(source.credential().await.unwrap_err().kind(), SourceErrorKind::Expired);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StaticCredential {
    registry: RegistryHost,
    credential: Arc<Credential>,
    clock: Clock,
}

impl StaticCredential {
    /// Creates a source of this credential for this registry.
    #[must_use]
    pub fn new(registry: RegistryHost, credential: Credential) -> Self {
        Self {
            registry,
            credential: Arc::new(credential),
            clock: Clock::system(),
        }
    }

    /// Sets another clock than the machine's.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// use choreo_registry::Credential;
    /// use choreo_registry_client::credential_source::{Clock, CredentialSource, StaticCredential};
    /// use jiff::Timestamp;
    ///
    /// let token = Credential::new("AWS", "hunter2")?.with_expiry("1970-01-01T12:00:00Z".parse()?);
    /// let source = StaticCredential::new("registry.example.com".parse()?, token)
    ///     .with_clock(Clock::new(|| Timestamp::UNIX_EPOCH));
    /// assert_eq!(source.credential().await?.username(), "AWS");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

#[async_trait]
impl CredentialSource for StaticCredential {
    fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        match self.credential.expires_at() {
            Some(end) if end <= self.clock.now() => Err(SourceError::new(
                SourceErrorKind::Expired,
                "the credential that was entered",
            )),
            _ => Ok(Arc::clone(&self.credential)),
        }
    }
}

/// The clock of a source: the machine's, or one that a test advances.
///
/// ```
/// use choreo_registry_client::credential_source::Clock;
/// use jiff::Timestamp;
///
/// assert!(Clock::system().now() > Timestamp::UNIX_EPOCH);
/// assert_eq!(Clock::new(|| Timestamp::UNIX_EPOCH).now(), Timestamp::UNIX_EPOCH);
/// ```
#[derive(Clone)]
pub struct Clock(Option<Arc<dyn Fn() -> Timestamp + Send + Sync>>);

impl Clock {
    /// Returns the machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// Creates a clock that calls this function.
    #[must_use]
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.as_ref().map_or_else(Timestamp::now, |now| now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Clock(given)"
        } else {
            "Clock(system)"
        })
    }
}
