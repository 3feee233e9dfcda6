//! The authentication types without their secrets.

use std::fmt;
use std::str::FromStr;

use crate::quote::Quoted;
use crate::string_value::string_value;

/// One of the four authentication types, without a secret: to store, send and show.
///
/// Written in kebab case. The form field's name `docker_config` is also accepted.
///
/// ```
/// use choreo_registry::authentication::AuthenticationType;
///
/// assert_eq!("docker-config".parse(), Ok(AuthenticationType::DockerConfig));
/// assert_eq!("docker_config".parse(), Ok(AuthenticationType::DockerConfig));
/// assert_eq!(AuthenticationType::Vendor.as_str(), "vendor");
/// assert!(AuthenticationType::DockerConfig.needs_secret());
/// assert!(!AuthenticationType::Vendor.needs_secret());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum AuthenticationType {
    /// No credential: anonymous pulls are allowed.
    Public,
    /// A user name and a password, token or key.
    Basic,
    /// A docker config with the credential of one registry.
    DockerConfig,
    /// The data plane's nodes have access by their own identity.
    Vendor,
}

impl AuthenticationType {
    /// All authentication types, in the order of a form.
    ///
    /// ```
    /// use choreo_registry::authentication::AuthenticationType;
    ///
    /// let names = AuthenticationType::ALL.iter().map(|choice| choice.as_str());
    /// assert_eq!(names.collect::<Vec<_>>(), ["public", "basic", "docker-config", "vendor"]);
    /// ```
    pub const ALL: &[Self] = &[Self::Public, Self::Basic, Self::DockerConfig, Self::Vendor];

    /// Returns the name, in kebab case.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Basic => "basic",
            Self::DockerConfig => "docker-config",
            Self::Vendor => "vendor",
        }
    }

    /// Returns `true` if the type needs a secret from the user.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        matches!(self, Self::Basic | Self::DockerConfig)
    }
}

impl FromStr for AuthenticationType {
    type Err = ParseAuthenticationTypeError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        if input == "docker_config" {
            return Ok(Self::DockerConfig);
        }
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == input)
            .ok_or_else(|| ParseAuthenticationTypeError {
                input: input.to_owned(),
            })
    }
}

string_value!(
    AuthenticationType,
    ParseAuthenticationTypeError,
    "\"public\", \"basic\", \"docker-config\" or \"vendor\""
);

/// The error returned if a string is not the name of an [`AuthenticationType`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseAuthenticationTypeError {
    input: String,
}

impl fmt::Display for ParseAuthenticationTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown authentication type {}: write public, basic, docker-config or vendor",
            Quoted::new(&self.input)
        )
    }
}

impl std::error::Error for ParseAuthenticationTypeError {}
