//! Errors of credential sources.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

/// The error of a credential source.
///
/// `Display` shows the service, the failure and the next step. It contains no secret, and no text of
/// the service except a code of a closed list. Clones share one error: all callers that waited for
/// the same renewal get the same error.
///
/// ```
/// use std::time::Duration;
/// use choreo_registry_client::credential_source::{SourceError, SourceErrorKind};
///
/// let error = SourceError::new(SourceErrorKind::Refused, "the vault")
///     .with_detail("the lease was revoked")
///     .with_retry_after(Duration::from_secs(5));
/// assert_eq!(error.kind(), SourceErrorKind::Refused);
/// assert_eq!(error.service(), "the vault");
/// assert_eq!((error.status(), error.code()), (None, None));
/// assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
/// assert!(!error.is_retryable());
/// assert_eq!(
///     error.to_string(),
///     "the vault refuses this identity: the lease was revoked; check the identity, and that it \
///      has the right to read this registry",
/// );
/// ```
#[derive(Clone)]
pub struct SourceError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: SourceErrorKind,
    service: Cow<'static, str>,
    detail: Option<&'static str>,
    code: Option<&'static str>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`SourceError`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// The egress policy forbids the service's address, or plain HTTP to it.
    Blocked,
    /// The credential has expired, or could expire in transit.
    Expired,
    /// The key, token or file of the identity is not valid.
    Identity,
    /// The service's response violates its protocol, or is too large.
    InvalidResponse,
    /// The service limits the rate of requests.
    RateLimited,
    /// The service rejects the identity, or its permission is missing.
    Refused,
    /// The service does not respond before the deadline.
    Timeout,
    /// TLS failed, in most cases because the certificate is not trusted.
    Tls,
    /// The service responds with a server error.
    Unavailable,
    /// The connection failed.
    Unreachable,
    /// The registry is not one of this source's vendor. Nothing was sent.
    WrongRegistry,
}

impl SourceError {
    /// Creates an error. The service is the subject of the message: `Amazon ECR`, `the vault`.
    #[must_use]
    pub fn new(kind: SourceErrorKind, service: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            service: service.into(),
            detail: None,
            code: None,
            status: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Adds a detail, which must not contain text of a service.
    #[must_use]
    pub fn with_detail(self, detail: &'static str) -> Self {
        self.changed(|inner| inner.detail = Some(detail))
    }

    /// Adds the cause, which must not contain a secret.
    ///
    /// ```
    /// use std::error::Error as _;
    /// use std::io;
    ///
    /// use choreo_registry_client::credential_source::{SourceError, SourceErrorKind};
    ///
    /// let error = SourceError::new(SourceErrorKind::Unreachable, "the vault")
    ///     .with_source(io::Error::from(io::ErrorKind::ConnectionRefused));
    /// assert_eq!(error.source().unwrap().to_string(), "connection refused");
    /// ```
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        self.changed(|inner| inner.source = Some(source))
    }

    /// Sets the time to wait before the next request.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        self.changed(|inner| inner.retry_after = Some(wait))
    }

    /// Returns the kind, for programs.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.0.kind
    }

    /// Returns the name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// Returns the service's error code, if it is a known one: `invalid_client`, `AccessDeniedException`.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.0.code
    }

    /// Returns the status of the response; `None` if there was none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the time to wait before the next request, if the service names one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns `true` if the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            SourceErrorKind::RateLimited
                | SourceErrorKind::Timeout
                | SourceErrorKind::Unavailable
                | SourceErrorKind::Unreachable
        )
    }

    /// Adds the status and the code of the response.
    #[cfg(any(feature = "acr", feature = "ecr", feature = "gar"))]
    pub(crate) fn with_answer(self, status: u16, code: Option<&'static str>) -> Self {
        self.changed(|inner| (inner.status, inner.code) = (Some(status), code))
    }

    fn changed(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    fn what(&self) -> &'static str {
        match self.0.kind {
            SourceErrorKind::Blocked => "is out of bounds for this transport",
            SourceErrorKind::Expired => "has ended",
            SourceErrorKind::Identity => "cannot be asked with this identity",
            SourceErrorKind::InvalidResponse => "gives an answer that cannot be used",
            SourceErrorKind::RateLimited => "has answered too many requests",
            SourceErrorKind::Refused => "refuses this identity",
            SourceErrorKind::Timeout => "did not answer in time",
            SourceErrorKind::Tls => "offers no secure connection that can be trusted",
            SourceErrorKind::Unavailable => "has a failure of its own",
            SourceErrorKind::Unreachable => "cannot be reached",
            SourceErrorKind::WrongRegistry => "does not serve this registry",
        }
    }

    fn help(&self) -> &'static str {
        match self.0.kind {
            SourceErrorKind::Blocked => {
                "give the source a transport whose egress policy allows this address: a cloud's \
                 metadata service needs Egress::operator() and allow_plain_http"
            }
            SourceErrorKind::Expired => "enter a new one, and check the machine's clock",
            SourceErrorKind::Identity => "check the identity's key, token or file",
            SourceErrorKind::InvalidResponse => {
                "check that nothing stands between the platform and the service"
            }
            SourceErrorKind::RateLimited => "wait before asking again",
            SourceErrorKind::Refused => {
                "check the identity, and that it has the right to read this registry"
            }
            SourceErrorKind::Timeout | SourceErrorKind::Unavailable => "try again later",
            SourceErrorKind::Tls => {
                "check the certificate; a company's own certificate authority can be added to the \
                 egress policy"
            }
            SourceErrorKind::Unreachable => "check that the platform's network leads to it",
            SourceErrorKind::WrongRegistry => "check the registry's host",
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            service, detail, ..
        } = &*self.0;
        write!(f, "{service} {}", self.what())?;
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        match (self.0.status, self.0.code) {
            (Some(status), Some(code)) => write!(f, " (status {status}, {code})")?,
            (Some(status), None) => write!(f, " (status {status})")?,
            (None, Some(code)) => write!(f, " ({code})")?,
            (None, None) => {}
        }
        write!(f, "; {}", self.help())
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("kind", &self.0.kind)
            .field("service", &self.0.service)
            .field("detail", &self.0.detail)
            .field("code", &self.0.code)
            .field("status", &self.0.status)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_what_happened_and_what_to_do() {
        let table = [
            (
                SourceErrorKind::Blocked,
                false,
                "s is out of bounds for this transport; give the source a transport whose egress \
                 policy allows this address: a cloud's metadata service needs Egress::operator() \
                 and allow_plain_http",
            ),
            (
                SourceErrorKind::Expired,
                false,
                "s has ended; enter a new one, and check the machine's clock",
            ),
            (
                SourceErrorKind::Identity,
                false,
                "s cannot be asked with this identity; check the identity's key, token or file",
            ),
            (
                SourceErrorKind::InvalidResponse,
                false,
                "s gives an answer that cannot be used; check that nothing stands between the \
                 platform and the service",
            ),
            (
                SourceErrorKind::RateLimited,
                true,
                "s has answered too many requests; wait before asking again",
            ),
            (
                SourceErrorKind::Refused,
                false,
                "s refuses this identity; check the identity, and that it has the right to read \
                 this registry",
            ),
            (
                SourceErrorKind::Timeout,
                true,
                "s did not answer in time; try again later",
            ),
            (
                SourceErrorKind::Tls,
                false,
                "s offers no secure connection that can be trusted; check the certificate; a \
                 company's own certificate authority can be added to the egress policy",
            ),
            (
                SourceErrorKind::Unavailable,
                true,
                "s has a failure of its own; try again later",
            ),
            (
                SourceErrorKind::Unreachable,
                true,
                "s cannot be reached; check that the platform's network leads to it",
            ),
            (
                SourceErrorKind::WrongRegistry,
                false,
                "s does not serve this registry; check the registry's host",
            ),
        ];
        for (kind, retryable, expected) in table {
            let error = SourceError::new(kind, "s");
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.is_retryable(), retryable, "{kind:?}");
        }
    }

    #[test]
    fn the_cause_is_in_source_and_not_in_display() {
        let error = SourceError::new(SourceErrorKind::Unreachable, "s").with_source("cause");
        assert_eq!(error.source().unwrap().to_string(), "cause");
        assert!(!error.to_string().contains("cause"));
        assert!(format!("{error:?}").contains("cause"));
        assert!(
            SourceError::new(SourceErrorKind::Tls, "s")
                .source()
                .is_none()
        );
    }

    #[test]
    fn a_change_of_one_clone_is_not_seen_in_the_other() {
        let first = SourceError::new(SourceErrorKind::Refused, "s");
        let second = first.clone().with_detail("d");
        assert!(!first.to_string().contains(": d"));
        assert!(second.to_string().contains(": d"));
    }
}
