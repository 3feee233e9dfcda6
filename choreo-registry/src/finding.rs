//! Findings: what is allowed and yet doubtful.

use std::fmt;

use serde_core::ser::{Serialize, SerializeStruct as _, Serializer};

/// Something doubtful about a registry, in words for the person who registered it.
///
/// What can never work is an error instead. A finding never holds a secret, so it may be shown,
/// logged and stored; as JSON it is an object of its four fields.
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry, Credential, finding::Code};
///
/// let credential = Credential::new("alice@example.com", "hunter2")?;
/// let registry = ContainerRegistry::new(
///     "Our images",
///     "docker.io".parse()?,
///     Authentication::Basic(credential),
/// )?;
/// let finding = &registry.findings()[0];
/// assert_eq!(finding.code(), Code::DockerHubEmailUsername);
/// assert_eq!(finding.code().as_str(), "docker-hub-email-username");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    code: Code,
    message: String,
    help: String,
}

impl Finding {
    /// Which finding this is; stable, for programs.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// What is doubtful, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    pub(crate) fn new(code: Code, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {} ({})",
            self.severity(),
            self.message,
            self.help,
            self.code
        )
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Finding", 4)?;
        fields.serialize_field("code", self.code.as_str())?;
        fields.serialize_field("severity", self.severity().as_str())?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("help", &self.help)?;
        fields.end()
    }
}

/// The name of a finding. The string of [`Code::as_str`] never changes its meaning.
///
/// ```
/// use choreo_registry::finding::{Code, Severity};
///
/// assert_eq!(Code::ShortLivedPassword.as_str(), "short-lived-password");
/// assert_eq!(Code::ShortLivedPassword.severity(), Severity::Warning);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `auth` of the docker config was no clean base64, and has been put right.
    DockerConfigRepaired,
    /// The registry is Docker Hub without a credential: pulls are limited by address.
    DockerHubAnonymousLimit,
    /// The user name for Docker Hub is an e-mail address; it wants the Docker ID.
    DockerHubEmailUsername,
    /// The token for GHCR is one of a GitHub App: login succeeds, pulls are denied.
    GhcrAppToken,
    /// The host is an IPv6 address without a port, for which kubelets find no credential.
    Ipv6WithoutPort,
    /// The host means another machine on each node.
    LoopbackHost,
    /// The password begins or ends with a blank or a line break.
    PasswordSurroundedByBlanks,
    /// The password is a token that expires within hours.
    ShortLivedPassword,
}

impl Code {
    /// The stable name, in kebab case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DockerConfigRepaired => "docker-config-repaired",
            Self::DockerHubAnonymousLimit => "docker-hub-anonymous-limit",
            Self::DockerHubEmailUsername => "docker-hub-email-username",
            Self::GhcrAppToken => "ghcr-app-token",
            Self::Ipv6WithoutPort => "ipv6-without-port",
            Self::LoopbackHost => "loopback-host",
            Self::PasswordSurroundedByBlanks => "password-surrounded-by-blanks",
            Self::ShortLivedPassword => "short-lived-password",
        }
    }

    /// How much findings of this code matter.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::DockerConfigRepaired | Self::DockerHubAnonymousLimit => Severity::Info,
            Self::DockerHubEmailUsername
            | Self::GhcrAppToken
            | Self::Ipv6WithoutPort
            | Self::LoopbackHost
            | Self::PasswordSurroundedByBlanks
            | Self::ShortLivedPassword => Severity::Warning,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How much a finding matters; a later variant matters more.
///
/// ```
/// use choreo_registry::finding::Severity;
///
/// assert!(Severity::Warning > Severity::Info);
/// assert_eq!(Severity::Warning.as_str(), "warning");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Info,
    /// Pulls will probably fail, now or later.
    Warning,
}

impl Severity {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
