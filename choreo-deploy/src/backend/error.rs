use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::code::codes;
use crate::reason::plain;

/// Why a backend could not do or see something.
///
/// That a rollout failed is not an error but a [`Rollout`](crate::rollout::Rollout).
#[derive(Debug)]
pub struct BackendError {
    kind: BackendErrorKind,
    operation: &'static str,
    message: String,
    retry_after: Option<Duration>,
    is_about_leftovers: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of error a backend met.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// Somebody else changed the same thing meanwhile. Worth another try.
    Conflict,
    /// The backend itself is at fault.
    Internal,
    /// What the call is about is not there.
    NotFound,
    /// The backend may not do this on the data plane.
    PermissionDenied,
    /// The data plane asks to be called less often. Worth another try, later.
    RateLimited,
    /// The data plane does not accept what was asked for.
    Refused,
    /// A newer generation is in place.
    Stale,
    /// The data plane did not answer in time. Worth another try; the call may have had effect.
    Timeout,
    /// The data plane does not accept the backend's own credential. Worth another try: credentials
    /// are renewed, and a server that has just started may not know them yet.
    Unauthenticated,
    /// The data plane cannot be reached. Worth another try.
    Unreachable,
    /// This backend cannot do that.
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
    /// Whether the same call may succeed later without anything else being changed.
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
    /// An error of a kind in an operation, such as `apply`. The message is one sentence, lower case,
    /// without a full stop and without any secret. Control characters are removed from it.
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

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Adds how long to wait before another try.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..self
        }
    }

    /// Says that all of the generation has taken effect, and only what older ones left behind could
    /// not be removed. See [`settle`](super::DeploymentBackend::settle).
    #[must_use]
    pub fn about_leftovers(self) -> Self {
        Self {
            is_about_leftovers: true,
            ..self
        }
    }

    /// What kind of error.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// How long to wait before another try, when the data plane said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the generation itself is complete, and only what older ones left behind is still there.
    #[must_use]
    pub fn is_about_leftovers(&self) -> bool {
        self.is_about_leftovers
    }

    /// The call that met it.
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
