//! The evidence of a response: its host, its status, and other facts that explain it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};

use crate::rate_limit::RateLimit;

/// The facts about a response that explain a result. They are bounded and contain no secret.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use choreo_registry_client::{RegistryClient, transport::ScriptedTransport};
///
/// // An empty script responds to every request with 404.
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
    /// Returns `true` if no host was contacted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the host that was contacted last; empty if none was.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the HTTP status; `None` if there was no response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the error code of the registry, such as `MANIFEST_UNKNOWN` ([OCI distribution
    /// specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes)):
    /// at most 64 letters, digits and underscores.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the time to wait before the next request, if the registry names one; at most a day.
    /// It is serialised in seconds, as `retry_after_seconds`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the rate limit and the number of remaining requests, if the registry reports them.
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

    /// Reads all evidence of a response.
    pub(crate) fn read(host: &str, response: &http::Response<Bytes>) -> Self {
        Self {
            code: error_code(response.body()),
            retry_after: retry_after(response.headers()),
            rate_limit: RateLimit::read(response.headers()),
            ..Self::of(host, response.status())
        }
    }
}

/// Returns the host, cut to the length of a valid one: a redirect may name a longer one.
fn bounded(host: &str) -> String {
    host.chars().take(MAX_HOST).collect()
}

/// A DNS name of 253 characters, a colon and a port.
const MAX_HOST: usize = 253 + 6;

/// Returns the first code of an error body, if it has the form of one.
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

/// The limit of an error's body, in bytes. Longer bodies are not parsed.
const ERROR_LIMIT: usize = 16 * 1024;

/// Reads a number of seconds or a date ([RFC 9110, section
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
