//! Why a call to a registry failed, and what was seen of it.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};

use crate::{
    disguise::Page,
    meaning::{Meaning, Situation},
    rate_limit::RateLimit,
    transport::{TransportError, TransportErrorKind},
    words::Words,
};

/// A call to a registry that did not bring what was asked for.
///
/// `Display` is the [`message`](Self::message) and the [`help`](Self::help), fit for the developer
/// who wants the image deployed. No part of it holds a secret, an address behind a host name, or
/// text from the registry other than a checked error code.
///
/// [`source`](Error::source) is what the transport met, such as the operating system's error: for the
/// operator's log, not for the developer, because it may tell of the network inside.
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
pub struct ClientError(Box<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) kind: ErrorKind,
    pub(super) registry: String,
    pub(super) image: Option<String>,
    pub(super) detail: Option<String>,
    /// A wrong login and a missing right look alike here: both are named.
    pub(super) is_ambiguous: bool,
    /// The answer is a page: a firewall or proxy in front of the registry may refuse.
    pub(super) is_page: bool,
    /// A list of tags was asked for, and no image.
    pub(super) is_list: bool,
    pub(super) evidence: Evidence,
    pub(super) retry_after: Option<Duration>,
    pub(super) source: Option<TransportError>,
}

/// What a [`ClientError`] means for the caller: which of them help the person who registered the
/// registry, and which the operator of the platform.
///
/// ```
/// use choreo_registry_client::ErrorKind;
///
/// assert_eq!(ErrorKind::RealmNotTrusted.to_string(), "realm_not_trusted");
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
    /// The kind as a stable code, for metrics and logs: `not_found`, `credential_refused`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::CredentialRefused => "credential_refused",
            Self::Denied => "denied",
            Self::DigestMismatch => "digest_mismatch",
            Self::InvalidResponse => "invalid_response",
            Self::NotARegistry => "not_a_registry",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::RealmNotTrusted => "realm_not_trusted",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::UnsupportedImage => "unsupported_image",
            Self::WrongRegistry => "wrong_registry",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ClientError {
    /// What it means, to decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anyone changing anything. Every call of the
    /// client only reads, so repeating one is always safe.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::RateLimited
                | ErrorKind::Timeout
                | ErrorKind::Unavailable
                | ErrorKind::Unreachable
        )
    }

    /// How long the registry asks to wait before the next request, at most a day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What happened, in plain words.
    #[must_use]
    pub fn message(&self) -> String {
        Words { error: &self.0 }.message()
    }

    /// What to do about it, in plain words.
    #[must_use]
    pub fn help(&self) -> String {
        Words { error: &self.0 }.help()
    }

    /// What was seen on the wire.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.0.evidence
    }

    pub(super) fn new(kind: ErrorKind, registry: &str) -> Self {
        Self(Box::new(Inner {
            kind,
            registry: registry.to_owned(),
            image: None,
            detail: None,
            is_ambiguous: false,
            is_page: false,
            is_list: false,
            evidence: Evidence::default(),
            retry_after: None,
            source: None,
        }))
    }

    /// An exchange that brought no response.
    pub(super) fn transport(registry: &str, host: &str, error: TransportError) -> Self {
        let kind = match error.kind() {
            TransportErrorKind::Blocked => ErrorKind::Blocked,
            TransportErrorKind::Connect | TransportErrorKind::Resolve => ErrorKind::Unreachable,
            TransportErrorKind::Protocol => ErrorKind::NotARegistry,
            TransportErrorKind::Timeout => ErrorKind::Timeout,
            TransportErrorKind::Tls => ErrorKind::Tls,
            TransportErrorKind::TooLarge => ErrorKind::TooLarge,
        };
        let mut this = Self::new(kind, registry);
        this.0.evidence.host = bounded(host);
        this.0.source = Some(error);
        this
    }

    /// A response with a status that is no success.
    pub(super) fn response(
        registry: &str,
        host: &str,
        at: Situation,
        response: &http::Response<Bytes>,
    ) -> Self {
        let evidence = Evidence::read(host, response);
        let meaning = Meaning::of(response.status(), evidence.code(), at);
        let mut this = Self::new(meaning.kind, registry);
        this.0.is_ambiguous = meaning.is_ambiguous;
        this.0.is_page = at.page.is_some();
        this.0.detail = at
            .page
            .map(|page| format!("it answers with {}", page.name()));
        this.0.retry_after = evidence.retry_after;
        this.0.evidence = evidence;
        this
    }

    #[must_use]
    pub(super) fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.0.detail = Some(detail.to_string());
        self
    }

    /// Says that a token server answered with a page.
    #[must_use]
    pub(super) fn with_page(mut self, page: Page, status: StatusCode) -> Self {
        self.0.is_page = true;
        let (status, page) = (status.as_u16(), page.name());
        self.with_detail(format_args!(
            "its token server answers {status} with {page}"
        ))
    }

    #[must_use]
    pub(super) fn with_host(mut self, host: &str) -> Self {
        self.0.evidence.host = bounded(host);
        self
    }

    #[must_use]
    pub(super) fn with_evidence(mut self, host: &str, status: StatusCode) -> Self {
        self.0.evidence = Evidence::of(host, status);
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
        // The message says what kind of transport failure it was; the cause is behind that.
        self.0.source.as_ref().and_then(Error::source)
    }
}

/// What was seen on the wire: small, bounded, and free of secrets.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use choreo_registry_client::{RegistryClient, transport::ScriptedTransport};
///
/// // An empty script answers everything with 404.
/// let transport = Arc::new(ScriptedTransport::new());
/// let client = RegistryClient::new("registry.example.com".parse()?, None, transport);
///
/// let access = client.verify(None).await;
/// assert_eq!(access.evidence().host(), "registry.example.com");
/// assert_eq!(access.evidence().status(), Some(404));
/// assert_eq!(access.evidence().code(), None);
/// assert_eq!(access.evidence().retry_after(), None);
/// assert!(access.evidence().rate_limit().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Evidence {
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(
        rename = "retry_after_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds"
    )]
    retry_after: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit>,
}

fn seconds<S: serde::Serializer>(
    wait: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    wait.map(|wait| wait.as_secs()).serialize(serializer)
}

impl Evidence {
    /// Whether no host was asked.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The host that answered last, or did not. Empty where no host was asked.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The error code of the registry, such as `MANIFEST_UNKNOWN` ([OCI distribution
    /// specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes)):
    /// at most 64 letters, digits and underscores.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// How long the registry asks to wait before the next request, at most a day. Serialised in
    /// seconds, as `retry_after_seconds`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// How much the registry still answers before it refuses for a while, if it says.
    #[must_use]
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    pub(super) fn of(host: &str, status: StatusCode) -> Self {
        Self {
            host: bounded(host),
            status: Some(status.as_u16()),
            ..Self::default()
        }
    }

    /// Everything that a response tells.
    pub(super) fn read(host: &str, response: &http::Response<Bytes>) -> Self {
        Self {
            code: error_code(response.body()),
            retry_after: retry_after(response.headers()),
            rate_limit: RateLimit::read(response.headers()),
            ..Self::of(host, response.status())
        }
    }
}

/// A host as evidence keeps it: whoever redirects may name one that is longer than any host.
fn bounded(host: &str) -> String {
    host.chars().take(MAX_HOST).collect()
}

/// A DNS name of 253 characters, a colon and a port.
const MAX_HOST: usize = 253 + 6;

/// The first code of an error body, if it looks like one.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }

    #[derive(Deserialize)]
    struct Entry {
        code: String,
    }

    let body = Some(body).filter(|body| body.len() <= ERROR_LIMIT)?;
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let code = envelope.errors.into_iter().next()?.code;
    let is_code = !code.is_empty()
        && code.len() <= 64
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_code.then_some(code)
}

/// The most bytes of an error's body that are read.
const ERROR_LIMIT: usize = 16 * 1024;

/// Seconds, or a date ([RFC 9110, section
/// 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            let wait = date.duration_since(jiff::Timestamp::now());
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(MAX))
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
            "registry \"ghcr.io\" offers no secure connection that can be trusted; check the \
             registry's certificate, its names and its time; the operator of the platform can add a \
             company's own certificate authority or the registry's self-signed certificate, or \
             allow plain HTTP if it has no TLS"
        );
        assert_eq!(
            told(Some(NoTls)),
            "registry \"ghcr.io\" needs https, for which this platform's transport was not built; \
             tell the operator of the platform to build it with the feature \"tls\""
        );
    }

    #[test]
    fn only_what_looks_like_a_code_is_taken_from_an_error_body() {
        let long = format!(r#"{{"errors":[{{"code":"{}"}}]}}"#, "A".repeat(65));
        let huge = format!(
            r#"{{"errors":[{{"code":"DENIED"}}]}}{}"#,
            " ".repeat(ERROR_LIMIT)
        );
        let table = [
            (huge.as_str(), None),
            (
                r#"{"errors":[{"code":"DENIED","message":"no","detail":{"x":1}}]}"#,
                Some("DENIED"),
            ),
            (r#"{"errors":[{"code":"A"},{"code":"B"}]}"#, Some("A")),
            (r#"{"errors":[]}"#, None),
            (r#"{"errors":[{"code":""}]}"#, None),
            (r#"{"errors":[{"code":"<b>x</b>"}]}"#, None),
            (r#"{"errors":[{"code":7}]}"#, None),
            (r#"{"details":"incorrect username or password"}"#, None),
            (&long, None),
            ("<html>", None),
            ("", None),
        ];
        for (body, expected) in table {
            assert_eq!(error_code(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read(" 0 "), Some(0));
        assert_eq!(read("99999999"), Some(86400));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(read("Mon, 21 Oct 2599 07:28:00 GMT"), Some(86400));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
