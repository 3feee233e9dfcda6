//! The rate limit of a registry, as it reports it with each response.

use http::HeaderMap;
use serde::Serialize;

/// The rate limit that a registry reports.
///
/// Docker Hub sends [`RateLimit-Limit: 100;w=21600`](https://docs.docker.com/docker-hub/usage/pulls/)
/// and `RateLimit-Remaining`; others prefix both with `X-`. Values that are not numbers are ignored.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use choreo_registry_client::{RegistryClient, transport::ScriptedTransport};
///
/// let busy = http::Response::builder()
///     .status(429)
///     .header("ratelimit-limit", "100;w=21600")
///     .header("ratelimit-remaining", "0;w=21600")
///     .body("")?;
/// let transport = ScriptedTransport::new().answer("GET https://registry.example.com/v2/", busy);
/// let client = RegistryClient::new("registry.example.com".parse()?, None, Arc::new(transport));
///
/// let error = client.resolve(&"registry.example.com/app:1".parse()?).await.unwrap_err();
/// let rate_limit = error.evidence().rate_limit().unwrap();
/// assert_eq!(rate_limit.limit(), Some(100));
/// assert_eq!(rate_limit.remaining(), Some(0));
/// assert_eq!(rate_limit.window_seconds(), Some(6 * 60 * 60));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct RateLimit {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
}

impl RateLimit {
    /// Returns the number of requests that the registry permits in one window.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Returns the number of remaining requests.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Returns the length of the window, in seconds.
    #[must_use]
    pub fn window_seconds(&self) -> Option<u64> {
        self.window_seconds
    }

    /// Reads the headers; `None` if they contain no rate limit.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let get = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| headers.get(*name))
                .and_then(|value| value.to_str().ok())
                .map(quantity)
                .unwrap_or_default()
        };
        let (limit, window) = get(["ratelimit-limit", "x-ratelimit-limit"]);
        let (remaining, other_window) = get(["ratelimit-remaining", "x-ratelimit-remaining"]);
        let this = Self {
            limit,
            remaining,
            window_seconds: window.or(other_window),
        };
        (this != Self::default()).then_some(this)
    }
}

/// Reads `100;w=21600`: a number and its window.
fn quantity(value: &str) -> (Option<u64>, Option<u64>) {
    let mut parts = value.split(';').map(str::trim);
    let number = parts.next().and_then(|number| number.parse().ok());
    let window = parts
        .find_map(|part| part.strip_prefix("w="))
        .and_then(|window| window.parse().ok());
    (number, window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_registries_write_them() {
        let read = |headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| {
                    let name = http::HeaderName::from_static(name);
                    (name, http::HeaderValue::from_static(value))
                })
                .collect();
            RateLimit::read(&headers)
                .map(|found| (found.limit, found.remaining, found.window_seconds))
        };
        let hub = [
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "98;w=21600"),
        ];
        assert_eq!(read(&hub), Some((Some(100), Some(98), Some(21600))));
        let others = [
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-remaining", " 0 "),
        ];
        assert_eq!(read(&others), Some((Some(60), Some(0), None)));
        let half = [("ratelimit-remaining", "7; w=60")];
        assert_eq!(read(&half), Some((None, Some(7), Some(60))));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("ratelimit-limit", "many")]), None);
        assert_eq!(read(&[("ratelimit-limit", "-1")]), None);
        assert_eq!(
            read(&[("ratelimit-limit", "99999999999999999999999")]),
            None
        );
    }
}
