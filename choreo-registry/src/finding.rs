//! Findings: allowed but doubtful registrations. The table of all codes is at [`Code`].

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde_core::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::quote::Quoted;
use crate::string_value::string_value;

/// Something doubtful about a registry, with a message for the person who registered it.
///
/// A registry that can never work is an error instead. A finding never contains a secret, so you
/// may show, log and store it. Its JSON is an object with the strings `code`, `severity`, `message`
/// and `help`.
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
/// assert_eq!(finding.severity().as_str(), "warning");
/// assert_eq!(finding.message(), "the user name for Docker Hub is an e-mail address");
/// assert_eq!(
///     finding.help(),
///     "enter the Docker ID, or the organisation's name with an organisation token",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    code: Code,
    message: String,
    help: String,
}

impl Finding {
    /// Returns the stable code, for programs.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns how much the finding matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Returns what is doubtful, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what to do about it.
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

/// Generates [`Code`] and everything known about a code from the one table below.
macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $meaning:literal)*) => {
        /// The code of a finding.
        ///
        /// Programs may store and compare its string, which never changes its meaning; a later
        /// version may add codes.
        ///
        /// ```
        /// use choreo_registry::finding::{Code, Severity};
        ///
        /// let code: Code = "short-lived-password".parse()?;
        /// assert_eq!(code, Code::ShortLivedPassword);
        /// assert_eq!(code.as_str(), "short-lived-password");
        /// assert_eq!(code.severity(), Severity::Warning);
        /// assert_eq!(code.meaning(), "The password is of a kind that expires within hours or days.");
        /// assert!(Code::ALL.contains(&code));
        /// # Ok::<(), choreo_registry::finding::UnknownCode>(())
        /// ```
        ///
        /// # All codes
        ///
        /// | code | severity | meaning |
        /// |---|---|---|
        $(#[doc = concat!("| `", $name, "` | ", stringify!($severity), " | ", $meaning, " |")])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Code {
            $(
                #[doc = $meaning]
                #[doc = ""]
                #[doc = concat!("`", $name, "`, [`", stringify!($severity), "`](Severity::", stringify!($severity), ").")]
                $variant,
            )*
        }

        impl Code {
            /// All codes, sorted by name.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the stable name, in kebab case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns how much findings of this code matter.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                }
            }

            /// Returns the meaning of the code, in one sentence for people; each finding has a
            /// message of its own.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

// One row per code, sorted by name: variant, name, severity, meaning.
codes! {
    AccountPassword "account-password" Info
        "The password seems to be that of a person's account; a token can be limited and revoked."
    AnonymousPullUnlikely "anonymous-pull-unlikely" Warning
        "The vendor is not known to allow pulls without a credential."
    CredentialUnneeded "credential-unneeded" Info
        "Everybody may pull from the registry, so the credential is of no use."
    DataPlaneOfAnotherCloud "data-plane-of-another-cloud" Warning
        "Nodes have access by their identity, and those of the data plane are of another cloud."
    DigestAsTag "digest-as-tag" Warning
        "A digest without a name is read as the tag of an image named `sha256`."
    DockerConfigConverted "docker-config-converted" Info
        "The docker config was a `.dockercfg` or held an identity token, and has been converted."
    DockerConfigRepaired "docker-config-repaired" Info
        "The docker config had a byte order mark or an `auth` that was no clean base64, and has been put right."
    DockerHubAlias "docker-hub-alias" Warning
        "The image names Docker Hub by a host for which nodes look for no credential of Docker Hub."
    DockerHubAnonymousLimit "docker-hub-anonymous-limit" Info
        "The registry is Docker Hub without a credential: pulls are limited by address."
    DockerHubEmailUsername "docker-hub-email-username" Warning
        "The user name for Docker Hub is an e-mail address; it wants the Docker ID."
    DockerHubWebSite "docker-hub-web-site" Warning
        "The image's host is Docker Hub's web site, which serves no images."
    EcrTokenUndecoded "ecr-token-undecoded" Warning
        "The password for Amazon ECR is the authorization token as it comes: base64 with the user name in it."
    GhcrAppToken "ghcr-app-token" Warning
        "The token for GHCR is one of a GitHub App: login succeeds, pulls are denied."
    HostAsName "host-as-name" Warning
        "The image's name looks like a host alone, and is read as an image of Docker Hub."
    HostImpossible "host-impossible" Warning
        "The image's host cannot exist: its port, its length or its address is none."
    HostNotCanonical "host-not-canonical" Warning
        "The image's host is spelt otherwise than its registry, and nodes compare byte by byte."
    HostWithUnderscore "host-with-underscore" Warning
        "The image's host contains an underscore, so it is read as a part of the repository."
    Ipv6WithoutPort "ipv6-without-port" Warning
        "The host is an IPv6 address without a port, for which kubelets find no credential."
    LatestImplied "latest-implied" Info
        "The image has neither a tag nor a digest, which means the tag `latest`."
    LoopbackHost "loopback-host" Warning
        "The host means another machine on each node."
    NameTooLong "name-too-long" Warning
        "The image's host and repository together are longer than some clients allow."
    NamespaceAsHost "namespace-as-host" Warning
        "The image's first part has upper case, so it is read as a host."
    NodeIdentityAvailable "node-identity-available" Info
        "The registry can give nodes of its cloud access without any password."
    PasswordSurroundedByBlanks "password-surrounded-by-blanks" Warning
        "The password begins or ends with a blank or a line break."
    ShortLivedPassword "short-lived-password" Warning
        "The password is of a kind that expires within hours or days."
    TagBesideDigest "tag-beside-digest" Info
        "The image has a tag beside its digest, and nodes ignore the tag."
    TokenAsUsername "token-as-username" Info
        "The user name is a token or the password itself, and user names are shown to people."
    TokenOfAnotherVendor "token-of-another-vendor" Warning
        "The password is a token for another vendor's registry."
    UnknownCredentialForm "unknown-credential-form" Warning
        "The vendor is not known to accept a user name and a password of this form."
    UsernameMangled "username-mangled" Warning
        "The user name looks like one of which a shell or a template has changed the dollar or kept the quotes."
    UsernameSurroundedByBlanks "username-surrounded-by-blanks" Warning
        "The user name begins or ends with a blank or a line break."
    WebSiteHost "web-site-host" Warning
        "The host is a vendor's web site, which serves no images."
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == input)
            .ok_or_else(|| UnknownCode {
                input: input.to_owned(),
            })
    }
}

string_value!(
    Code,
    UnknownCode,
    "the code of a finding, such as \"short-lived-password\""
);

/// The error returned if a string is not a [`Code`] of this version.
///
/// ```
/// use choreo_registry::finding::Code;
///
/// assert_eq!(
///     "no-such-code".parse::<Code>().unwrap_err().to_string(),
///     "unknown code \"no-such-code\" of a finding: it may be one of a later version",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownCode {
    input: String,
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown code {} of a finding: it may be one of a later version",
            Quoted::new(&self.input)
        )
    }
}

impl std::error::Error for UnknownCode {}

/// How much a finding matters; a later variant matters more.
///
/// There is no severity for a registry that cannot work: that is an error, and nothing is
/// registered.
///
/// ```
/// use choreo_registry::finding::Severity;
///
/// assert!(Severity::Warning > Severity::Info);
/// assert_eq!(Severity::Warning.as_str(), "warning");
/// assert_eq!("info".parse(), Ok(Severity::Info));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Info,
    /// Pulls will probably fail, now or later.
    Warning,
}

impl Severity {
    /// Returns the name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        [Self::Info, Self::Warning]
            .into_iter()
            .find(|severity| severity.as_str() == input)
            .ok_or_else(|| UnknownSeverity {
                input: input.to_owned(),
            })
    }
}

string_value!(Severity, UnknownSeverity, "\"info\" or \"warning\"");

/// The error returned if a string is not a [`Severity`].
///
/// ```
/// use choreo_registry::finding::Severity;
///
/// assert_eq!(
///     "fatal".parse::<Severity>().unwrap_err().to_string(),
///     "unknown severity \"fatal\": write info or warning",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownSeverity {
    input: String,
}

impl fmt::Display for UnknownSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown severity {}: write info or warning",
            Quoted::new(&self.input)
        )
    }
}

impl std::error::Error for UnknownSeverity {}
