//! The kinds of client errors.

use std::fmt;

/// The kind of a [`ClientError`](crate::ClientError), for programs.
///
/// ```
/// use choreo_registry_client::ErrorKind;
///
/// assert_eq!(ErrorKind::RealmNotTrusted.to_string(), "realm-not-trusted");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The egress policy forbids a host, an address or a scheme.
    Blocked,
    /// The registry rejects the user name or the password.
    CredentialRefused,
    /// The registry denies pulling, with an accepted login or without one.
    Denied,
    /// The content does not match its digest.
    DigestMismatch,
    /// The response violates the protocol.
    InvalidResponse,
    /// The host does not respond like a container registry.
    NotARegistry,
    /// The repository or the tag does not exist, or this credential may not see it.
    NotFound,
    /// The registry limits the rate of requests.
    RateLimited,
    /// The registry names a token server that may not receive its credential.
    RealmNotTrusted,
    /// The registry does not respond before the deadline.
    Timeout,
    /// TLS failed, in most cases because the certificate is not trusted.
    Tls,
    /// The response exceeds its limit.
    TooLarge,
    /// The registry requires a login, and the client has none.
    Unauthorized,
    /// The registry responds with a server error.
    Unavailable,
    /// The connection failed.
    Unreachable,
    /// The reference is not one of an image that nodes can run.
    UnsupportedImage,
    /// The image belongs to another registry than that of the client.
    WrongRegistry,
}

impl ErrorKind {
    /// Returns the kind as a stable code, for metrics and logs: `not-found`, `credential-refused`.
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
