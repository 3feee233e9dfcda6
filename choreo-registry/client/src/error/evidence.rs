//! The evidence of an answer: its host, its status and what else helps to explain it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};

use crate::rate_limit::RateLimit;

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
    pub(crate) fn is_empty(&self) -> bool {
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

    pub(crate) fn of(host: &str, status: StatusCode) -> Self {
        Self {
            host: bounded(host),
            status: Some(status.as_u16()),
            ..Self::default()
        }
    }

    pub(super) fn set_host(&mut self, host: &str) {
        self.host = bounded(host);
    }

    /// Everything that a response tells.
    pub(crate) fn read(host: &str, response: &http::Response<Bytes>) -> Self {
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
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
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
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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
