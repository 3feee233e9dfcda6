//! Errors of calls to registries, with their evidence.

mod evidence;
mod kind;
mod message;

use std::{error::Error, fmt, time::Duration};

pub use self::evidence::Evidence;
pub(super) use self::evidence::{error_code, retry_after};
pub use self::kind::ErrorKind;
use self::message::Facts;
use crate::transport::{TransportError, TransportErrorKind};

/// The error of a call to a registry.
///
/// `Display` shows the [`message`](Self::message) and the [`help`](Self::help) to the developer
/// who deploys the image. They never contain a secret, an IP address, or text of the registry
/// except a checked error code.
///
/// [`source`](Error::source) is the error of the transport, such as one of the operating system. Log it
/// for the operator, but do not show it to developers, because it may reveal the internal network.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use choreo_registry_client::{ErrorKind, RegistryClient, transport::ScriptedTransport};
///
/// let transport = ScriptedTransport::new()
///     .answer("GET https://registry.example.com/v2/", http::Response::new(""));
/// let client = RegistryClient::new("registry.example.com".parse()?, None, Arc::new(transport));
///
/// let error = client.resolve(&"registry.example.com/team/app:1".parse()?).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(!error.is_retryable());
/// assert_eq!(error.message(), r#"image "registry.example.com/team/app:1" was not found"#);
/// # Ok(())
/// # }
/// ```
pub struct ClientError(Box<Facts>);

impl ClientError {
    /// Returns the kind, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns `true` if the same call may succeed later without any change. Retries are safe,
    /// because the client only reads.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// Returns the time to wait before the next request, if the registry names one; at most a day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.evidence.retry_after()
    }

    /// Returns the message, with the registry or the image as its subject.
    #[must_use]
    pub fn message(&self) -> String {
        self.0.message()
    }

    /// Returns the next step for the developer.
    #[must_use]
    pub fn help(&self) -> String {
        self.0.help()
    }

    /// Returns the evidence of the last response.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.0.evidence
    }

    pub(super) fn new(kind: ErrorKind, registry: &str) -> Self {
        Self(Box::new(Facts {
            kind,
            registry: registry.to_owned(),
            image: None,
            detail: None,
            is_ambiguous: false,
            is_page: false,
            is_list: false,
            evidence: Evidence::default(),
            source: None,
        }))
    }

    /// Creates the error of a request without a response.
    pub(super) fn transport(registry: &str, host: &str, error: TransportError) -> Self {
        let kind = match error.kind() {
            TransportErrorKind::Blocked => ErrorKind::Blocked,
            TransportErrorKind::Connect | TransportErrorKind::Resolve => ErrorKind::Unreachable,
            TransportErrorKind::Protocol => ErrorKind::NotARegistry,
            TransportErrorKind::Timeout => ErrorKind::Timeout,
            TransportErrorKind::Tls => ErrorKind::Tls,
            TransportErrorKind::TooLarge => ErrorKind::TooLarge,
        };
        let mut this = Self::new(kind, registry).with_host(host);
        this.0.source = Some(error);
        this
    }

    #[must_use]
    pub(super) fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.0.detail = Some(detail.to_string());
        self
    }

    /// Marks the answer as a page of a firewall or proxy.
    #[must_use]
    pub(super) fn with_page(mut self, detail: impl fmt::Display) -> Self {
        self.0.is_page = true;
        self.with_detail(detail)
    }

    /// Marks the answer as one that may mean a wrong login as well as a missing permission.
    #[must_use]
    pub(super) fn with_doubt(mut self) -> Self {
        self.0.is_ambiguous = true;
        self
    }

    #[must_use]
    pub(super) fn with_host(mut self, host: &str) -> Self {
        self.0.evidence.set_host(host);
        self
    }

    #[must_use]
    pub(super) fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.0.evidence = evidence;
        self
    }

    #[must_use]
    pub(super) fn about_a_list(mut self) -> Self {
        self.0.is_list = true;
        self
    }

    #[must_use]
    pub(super) fn about(mut self, image: impl fmt::Display) -> Self {
        self.0.image = Some(image.to_string());
        self
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message(), self.help())
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientError").field(&self.0).finish()
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The message already shows the kind of the transport error; its source is the cause.
        self.0.source.as_ref().and_then(Error::source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::NoTls;

    #[test]
    fn a_missing_feature_is_no_bad_certificate() {
        let told = |source: Option<NoTls>| {
            let error = TransportError::new(TransportErrorKind::Tls);
            let error = match source {
                Some(source) => error.with_source(source),
                None => error.with_source("certificate expired"),
            };
            ClientError::transport("ghcr.io", "ghcr.io", error).to_string()
        };
        assert_eq!(
            told(None),
            "registry \"ghcr.io\" does not offer a trusted TLS connection; check the registry's \
             certificate, its names and its dates; the platform's operator can add a company's own \
             certificate authority or the registry's self-signed certificate, or allow plain HTTP if \
             the registry has no TLS"
        );
        assert_eq!(
            told(Some(NoTls)),
            "registry \"ghcr.io\" needs https, but this platform's transport was built without TLS; \
             ask the platform's operator to build it with the feature \"tls\""
        );
    }
}
