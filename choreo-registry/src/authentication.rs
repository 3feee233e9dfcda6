//! Authentication types: the four ways in which a user gives a platform access to a registry.

#[cfg(test)]
mod tests;

use crate::Credential;
pub use crate::authentication_type::{AuthenticationType, ParseAuthenticationTypeError};
use crate::credential::CredentialError;
use crate::docker_config::DockerConfig;

/// An authentication type and the secret that it needs.
///
/// | type | the user gives | pods get |
/// |---|---|---|
/// | `Public` | nothing | no pull secret |
/// | `Basic` | user name and password or token | a pull secret |
/// | `DockerConfig` | a `config.json` with one registry's credential in it | a pull secret |
/// | `Vendor` | nothing: the nodes of the data plane have access (ACR, GAR, ECR) | no pull secret |
///
/// It is not `Serialize`, because it contains the secret; [`AuthenticationType`] is the choice
/// alone.
///
/// ```
/// use choreo_registry::Authentication;
/// use choreo_registry::authentication::AuthenticationType;
///
/// let authentication = Authentication::basic("alice", "hunter2")?;
/// assert_eq!(authentication.authentication_type(), AuthenticationType::Basic);
/// assert_eq!(authentication.credential().unwrap().username(), "alice");
/// assert!(Authentication::Public.credential().is_none());
/// assert!(!format!("{authentication:?}").contains("hunter2"));
/// # Ok::<(), choreo_registry::credential::CredentialError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// No credential: anonymous pulls are allowed.
    Public,
    /// A user name and a password, token or key.
    Basic(Credential),
    /// A docker config with the credential of one registry.
    DockerConfig(DockerConfig),
    /// The data plane's nodes have access by their own identity.
    Vendor,
}

impl Authentication {
    /// Creates the type `Basic` from a user name and a password.
    ///
    /// # Errors
    ///
    /// Returns an error if the two are not a valid [`Credential`].
    pub fn basic(
        username: impl AsRef<str>,
        password: impl Into<String>,
    ) -> Result<Self, CredentialError> {
        Credential::new(username, password).map(Self::Basic)
    }

    /// Returns the authentication type, without its secret.
    #[must_use]
    pub fn authentication_type(&self) -> AuthenticationType {
        match self {
            Self::Public => AuthenticationType::Public,
            Self::Basic(_) => AuthenticationType::Basic,
            Self::DockerConfig(_) => AuthenticationType::DockerConfig,
            Self::Vendor => AuthenticationType::Vendor,
        }
    }

    /// Returns the credential, if the type has one.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Basic(credential) => Some(credential),
            Self::DockerConfig(config) => Some(config.credential()),
            Self::Public | Self::Vendor => None,
        }
    }
}
