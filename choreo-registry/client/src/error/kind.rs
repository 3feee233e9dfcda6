//! The kinds of client errors.

use std::fmt;

/// What a [`ClientError`] means for the caller: which of them help the person who registered the
/// registry, and which the operator of the platform.
///
/// ```
/// use choreo_registry_client::ErrorKind;
///
/// assert_eq!(ErrorKind::RealmNotTrusted.to_string(), "realm-not-trusted");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The egress policy forbids a host, an address or a scheme on the way.
    Blocked,
    /// The registry refuses the user name or the password.
    CredentialRefused,
    /// The login works, or none was asked for, and pulling is not allowed.
    Denied,
    /// The content is not the one of its digest.
    DigestMismatch,
    /// The answer breaks the protocol.
    InvalidResponse,
    /// The host answers, but not as a container registry.
    NotARegistry,
    /// The repository or the tag does not exist, or is hidden from this credential.
    NotFound,
    /// Too many requests.
    RateLimited,
    /// The registry names a token server that is not trusted with its credential.
    RealmNotTrusted,
    /// No answer within the deadline.
    Timeout,
    /// TLS failed, most often for a certificate that is not trusted.
    Tls,
    /// The answer exceeds its limit.
    TooLarge,
    /// The registry asks for a login and the client has none.
    Unauthorized,
    /// The registry answers with a failure of its own.
    Unavailable,
    /// No connection.
    Unreachable,
    /// What stands under the name is no image that nodes can run.
    UnsupportedImage,
    /// The image belongs to another registry than the client's.
    WrongRegistry,
}

impl ErrorKind {
    /// The kind as a stable code, for metrics and logs: `not-found`, `credential-refused`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::CredentialRefused => "credential-refused",
            Self::Denied => "denied",
            Self::DigestMismatch => "digest-mismatch",
            Self::InvalidResponse => "invalid-response",
            Self::NotARegistry => "not-a-registry",
            Self::NotFound => "not-found",
            Self::RateLimited => "rate-limited",
            Self::RealmNotTrusted => "realm-not-trusted",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::TooLarge => "too-large",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::UnsupportedImage => "unsupported-image",
            Self::WrongRegistry => "wrong-registry",
        }
    }

    /// Returns `true` if the same call may succeed later without any change.
    pub(crate) fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Timeout | Self::Unavailable | Self::Unreachable
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
