//! The result of a check: the permissions of a credential, explained to a person.

use std::fmt;

use choreo_registry::{ImageReference, RegistryHost, image::ResolvedImage, quote::Quoted};
use http::StatusCode;
use serde::Serialize;

use crate::{ClientError, ErrorKind, Evidence};

/// The permissions that a registry gives a credential.
///
/// It serialises to an object with `class`, `message`, `help`, `evidence` and `image`; the last
/// three only if they are not empty. `Display` shows the message and the help.
///
/// ```
/// use choreo_registry_client::{Access, AccessClass};
///
/// // For a registry that only the nodes of the cluster have access to.
/// let access = Access::not_checkable("the nodes log in to \"acme.azurecr.io\" as themselves");
/// assert_eq!(access.class(), AccessClass::NotCheckable);
/// assert!(access.class().may_work());
/// # let json = serde_json::to_value(&access).unwrap();
/// # assert!(json.get("evidence").is_none());
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Access {
    class: AccessClass,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Evidence::is_empty")]
    evidence: Evidence,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ResolvedImage>,
}

/// The classes of [`Access`], the best first.
///
/// ```
/// use choreo_registry_client::AccessClass;
///
/// assert_eq!(AccessClass::PullAllowed.to_string(), "pull-allowed");
/// assert!(AccessClass::PullAllowed.may_work());
/// assert!(!AccessClass::CredentialRefused.may_work());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AccessClass {
    /// The image can be pulled, or the repository if the reference has no tag.
    PullAllowed,
    /// The registry accepts the login. Which images it may pull is not known.
    LoginAccepted,
    /// The credential cannot be checked from here. It may work.
    NotCheckable,
    /// The repository or the tag does not exist, or this login may not see it.
    MissingOrHidden,
    /// The registry accepts the login, which may not pull.
    PullDenied,
    /// The registry requires a login, and there is none.
    LoginRequired,
    /// The registry rejects the user name or the password.
    CredentialRefused,
    /// The reference is not one of an image that nodes can run.
    UnsupportedImage,
    /// The registry limits the rate of requests. Retry later.
    RateLimited,
    /// The registry does not respond, or responds with a server error.
    Unreachable,
    /// The host does not respond like a container registry.
    NotARegistry,
    /// The platform's egress policy forbids the registry. The data plane's may allow it.
    Blocked,
}

impl AccessClass {
    /// Returns the class as a stable code: `pull-allowed`, `credential-refused`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::CredentialRefused => "credential-refused",
            Self::LoginAccepted => "login-accepted",
            Self::LoginRequired => "login-required",
            Self::MissingOrHidden => "missing-or-hidden",
            Self::NotARegistry => "not-a-registry",
            Self::NotCheckable => "not-checkable",
            Self::PullAllowed => "pull-allowed",
            Self::PullDenied => "pull-denied",
            Self::RateLimited => "rate-limited",
            Self::Unreachable => "unreachable",
            Self::UnsupportedImage => "unsupported-image",
        }
    }

    /// Returns `true` if a deployment may work.
    #[must_use]
    pub fn may_work(self) -> bool {
        matches!(
            self,
            Self::PullAllowed | Self::LoginAccepted | Self::NotCheckable
        )
    }
}

impl fmt::Display for AccessClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Access {
    /// Creates a result for a registry that this client cannot check, because only a data plane
    /// reaches it, or because only the nodes have access. `reason` is the message.
    #[must_use]
    pub fn not_checkable(reason: impl Into<String>) -> Self {
        Self::new(AccessClass::NotCheckable, reason)
            .advise("the first deployment shows whether it works")
    }

    /// Returns the class, for programs.
    #[must_use]
    pub fn class(&self) -> AccessClass {
        self.class
    }

    /// Returns the message for the person who entered the credential.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the next step; `None` if there is none.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns the evidence of the last response.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Returns the image; `None` if it cannot be pulled, or if the reference has no tag or digest.
    #[must_use]
    pub fn image(&self) -> Option<&ResolvedImage> {
        self.image.as_ref()
    }

    pub(super) fn login_accepted(registry: &RegistryHost) -> Self {
        let message = format!(
            "registry {} accepts the login",
            Quoted::new(registry.as_str())
        );
        Self::new(AccessClass::LoginAccepted, message)
            .advise("name an image as well to see whether it may be pulled")
    }

    pub(super) fn login_not_asked(registry: &RegistryHost) -> Self {
        let message = format!(
            "registry {} answers without asking for a login, so the credential was not checked",
            Quoted::new(registry.as_str())
        );
        Self::new(AccessClass::NotCheckable, message)
            .advise("name an image in a private repository to see whether it may be pulled")
    }

    pub(super) fn open(registry: &RegistryHost) -> Self {
        let message = format!(
            "registry {} answers without a login",
            Quoted::new(registry.as_str())
        );
        Self::new(AccessClass::LoginAccepted, message)
            .advise("name an image as well to see whether it may be pulled")
    }

    pub(super) fn pull_allowed(
        image: &ImageReference,
        resolved: Option<ResolvedImage>,
        login_used: bool,
    ) -> Self {
        let what = if resolved.is_some() {
            "image"
        } else {
            "repository"
        };
        let how = if login_used {
            "with this login"
        } else {
            "without a login"
        };
        let message = format!("{what} {} can be pulled {how}", Quoted::new(image.as_str()));
        Self {
            image: resolved,
            ..Self::new(AccessClass::PullAllowed, message)
        }
    }

    /// The result for a reference without a tag whose tags may not be listed.
    pub(super) fn not_listed(error: ClientError, is_proven: bool) -> Self {
        let class = if is_proven {
            AccessClass::LoginAccepted
        } else {
            AccessClass::NotCheckable
        };
        Self {
            class,
            ..Self::from(error)
        }
    }

    pub(super) fn seen(self, host: &str, status: StatusCode) -> Self {
        Self {
            evidence: Evidence::of(host, status),
            ..self
        }
    }

    fn new(class: AccessClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            help: None,
            evidence: Evidence::default(),
            image: None,
        }
    }

    fn advise(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

/// Converts an error to the result for the person who registered the registry:
///
/// | [`ErrorKind`] | [`AccessClass`] |
/// |---|---|
/// | `Blocked` | `Blocked` |
/// | `CredentialRefused` | `CredentialRefused` |
/// | `Denied` | `PullDenied` |
/// | `InvalidResponse`, `NotARegistry` | `NotARegistry` |
/// | `NotFound`, `WrongRegistry` | `MissingOrHidden` |
/// | `RateLimited` | `RateLimited` |
/// | `RealmNotTrusted` | `NotCheckable` |
/// | `Timeout`, `Tls`, `Unavailable`, `Unreachable` | `Unreachable` |
/// | `Unauthorized` | `LoginRequired` |
/// | `DigestMismatch`, `TooLarge`, `UnsupportedImage` | `UnsupportedImage` |
impl From<ClientError> for Access {
    fn from(error: ClientError) -> Self {
        let class = match error.kind() {
            ErrorKind::Blocked => AccessClass::Blocked,
            // Nodes request tokens themselves, and may trust the server.
            ErrorKind::RealmNotTrusted => AccessClass::NotCheckable,
            ErrorKind::CredentialRefused => AccessClass::CredentialRefused,
            ErrorKind::Denied => AccessClass::PullDenied,
            ErrorKind::InvalidResponse | ErrorKind::NotARegistry => AccessClass::NotARegistry,
            ErrorKind::NotFound | ErrorKind::WrongRegistry => AccessClass::MissingOrHidden,
            ErrorKind::RateLimited => AccessClass::RateLimited,
            ErrorKind::Timeout
            | ErrorKind::Tls
            | ErrorKind::Unavailable
            | ErrorKind::Unreachable => AccessClass::Unreachable,
            ErrorKind::Unauthorized => AccessClass::LoginRequired,
            ErrorKind::DigestMismatch | ErrorKind::TooLarge | ErrorKind::UnsupportedImage => {
                AccessClass::UnsupportedImage
            }
        };
        let access = Self::new(class, error.message()).advise(error.help());
        Self {
            evidence: error.evidence().clone(),
            ..access
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}
