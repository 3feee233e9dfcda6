//! Credentials that end: where the next one comes from.
//!
//! A cloud's registry takes passwords that hold for hours and are handed out by that cloud's own
//! identity service. A [`CredentialSource`] asks that service. With the features `acr`, `gar` and
//! `ecr` there are sources for Azure Container Registry, for Google's Artifact Registry and for
//! Amazon ECR in `client::credential_source`, and a guide for choosing one.

mod error;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

pub use self::error::{SourceError, SourceErrorKind};
use crate::{Credential, RegistryHost};

/// Gives a credential for one registry that can be used now.
///
/// **Contract**
/// - The credential is for [`registry`](Self::registry) and may be sent nowhere else.
/// - It can be used now. When it ends, it says so ([`Credential::expires_at`]); one that says
///   nothing holds until somebody changes it.
/// - A call may be repeated: asking changes nothing.
/// - Dropping the future ends the call.
/// - An error holds no secret, nor what a service said other than a known code.
///
/// **For callers**: most sources ask a service each time. Wrap them in
/// `client::credential_source::Refreshing`, which asks once for many callers and before the
/// credential ends.
///
/// **For implementers**: ask for what you need inside the call, not before; end every call by a
/// deadline of yours.
///
/// # Example
///
/// A source that reads the current password of a vault:
///
/// ```
/// use std::sync::Arc;
/// use choreo_registry::credential_source::{CredentialSource, SourceError, SourceErrorKind};
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

    /// A credential that can be used now.
    ///
    /// # Errors
    ///
    /// [`SourceError`], when there is none: see [`SourceErrorKind`].
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

/// The credential that somebody entered, as a source.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use choreo_registry::Credential;
/// use choreo_registry::credential_source::{CredentialSource, SourceErrorKind, StaticCredential};
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
    /// This credential for this registry.
    #[must_use]
    pub fn new(registry: RegistryHost, credential: Credential) -> Self {
        Self {
            registry,
            credential: Arc::new(credential),
            clock: Clock::system(),
        }
    }

    /// Tells the time by another clock than the machine's.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// use choreo_registry::Credential;
    /// use choreo_registry::credential_source::{Clock, CredentialSource, StaticCredential};
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

/// Where a source reads the time: the machine's clock, or one that a test turns.
///
/// ```
/// use choreo_registry::credential_source::Clock;
/// use jiff::Timestamp;
///
/// assert!(Clock::system().now() > Timestamp::UNIX_EPOCH);
/// assert_eq!(Clock::new(|| Timestamp::UNIX_EPOCH).now(), Timestamp::UNIX_EPOCH);
/// ```
#[derive(Clone)]
pub struct Clock(Option<Arc<dyn Fn() -> Timestamp + Send + Sync>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that this function reads.
    #[must_use]
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// The time now.
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
