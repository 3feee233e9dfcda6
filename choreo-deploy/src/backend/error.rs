use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::code::codes;
use crate::reason::plain;

/// An error of a backend.
///
/// A failed rollout is a [`Rollout`](crate::rollout::Rollout), not an error.
#[derive(Debug)]
pub struct BackendError {
    kind: BackendErrorKind,
    operation: &'static str,
    message: String,
    retry_after: Option<Duration>,
    is_about_leftovers: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of a backend's error.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// A concurrent change of the same object. A retry may succeed.
    Conflict,
    /// A fault of the backend itself.
    Internal,
    /// The object of the call does not exist.
    NotFound,
    /// The backend has no permission for the call on the data plane.
    PermissionDenied,
    /// The data plane limits the rate of calls. A later retry may succeed.
    RateLimited,
    /// The data plane rejects the request.
    Refused,
    /// The data plane has a newer generation.
    Stale,
    /// The data plane did not answer in time. The call may have taken effect, and a retry may succeed.
    Timeout,
    /// The data plane rejects the backend's own credential. A retry may succeed, because credentials are
    /// renewed and a server that just started may not know them yet.
    Unauthenticated,
    /// The data plane cannot be reached. A retry may succeed.
    Unreachable,
    /// The backend does not support the call.
    Unsupported,
}

codes!(BackendErrorKind, "kind of a data plane's error", {
    Conflict = "conflict",
    Internal = "internal",
    NotFound = "not-found",
    PermissionDenied = "permission-denied",
    RateLimited = "rate-limited",
    Refused = "refused",
    Stale = "stale",
    Timeout = "timeout",
    Unauthenticated = "unauthenticated",
    Unreachable = "unreachable",
    Unsupported = "unsupported",
});

impl BackendErrorKind {
    /// Returns `true` if a retry of the same call may succeed without another change.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::RateLimited
                | Self::Timeout
                | Self::Unauthenticated
                | Self::Unreachable
        )
    }
}

impl BackendError {
    /// Creates an error of an operation, such as `apply`.
    ///
    /// The message is one sentence in lower case, without a trailing period and without secrets. Control
    /// characters are removed from it.
    #[must_use]
    pub fn new(
        kind: BackendErrorKind,
        operation: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            operation,
            message: plain(message),
            retry_after: None,
            is_about_leftovers: false,
            source: None,
        }
    }

    /// Sets the source.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Sets the pause before a retry.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..self
        }
    }

    /// Marks the error as being about leftovers: the whole generation took effect, and only leftovers of
    /// older generations could not be removed. See [`settle`](super::DeploymentBackend::settle).
    #[must_use]
    pub fn about_leftovers(self) -> Self {
        Self {
            is_about_leftovers: true,
            ..self
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// Returns `true` if a retry of the same call may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// Returns the pause before a retry, if the data plane requested one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns `true` if the generation is complete and only leftovers of older ones remain.
    #[must_use]
    pub fn is_about_leftovers(&self) -> bool {
        self.is_about_leftovers
    }

    /// Returns the operation that failed.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, self.message)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
