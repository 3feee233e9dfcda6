//! A transport that answers from a script.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use choreo_registry::quote::Quoted;

use super::{HttpTransport, Outbound, TransportError, TransportErrorKind};
use crate::egress::Egress;

/// An [`HttpTransport`] without a network, for tests: it returns the answers of its script and
/// stores the requests that it receives.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use choreo_registry_client::{ErrorKind, RegistryClient, transport::ScriptedTransport};
///
/// let busy = http::Response::builder().status(429).header("retry-after", "7").body("")?;
/// let transport = Arc::new(
///     ScriptedTransport::new().answer("GET https://registry.example.com/v2/", busy),
/// );
/// let client = RegistryClient::new("registry.example.com".parse()?, None, transport.clone());
///
/// let error = client.resolve(&"registry.example.com/app:1".parse()?).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::RateLimited);
/// assert_eq!(error.retry_after().unwrap().as_secs(), 7);
/// assert_eq!(transport.requests().len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct ScriptedTransport {
    egress: Egress,
    script: Mutex<HashMap<String, VecDeque<Step>>>,
    requests: Mutex<Vec<http::Request<Bytes>>>,
}

type Step = Result<http::Response<Bytes>, TransportErrorKind>;

impl ScriptedTransport {
    /// Creates an empty script under [`Egress::tenant`]: every request is answered with status
    /// 404.
    #[must_use]
    pub fn new() -> Self {
        Self {
            egress: Egress::tenant(),
            script: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    /// Sets another policy.
    #[must_use]
    pub fn with_egress(self, egress: Egress) -> Self {
        Self { egress, ..self }
    }

    /// Answers a request, given by its method and its whole URL as the client writes it, including
    /// the query: `GET https://registry.example.com/v2/`. Several answers for one request are
    /// given in order, and the last one is repeated. A request that is not in the script is
    /// answered with status 404; [`requests`](Self::requests) returns the requests that were sent.
    ///
    /// # Panics
    ///
    /// If `request` is not a method, a space and a URL with scheme and host, because no request
    /// could match it.
    #[must_use]
    pub fn answer(self, request: &str, response: http::Response<impl Into<Bytes>>) -> Self {
        self.step(request, Ok(response.map(Into::into)))
    }

    /// Fails a request, in the order of [`answer`](Self::answer).
    ///
    /// # Panics
    ///
    /// As for [`answer`](Self::answer).
    #[must_use]
    pub fn fail(self, request: &str, kind: TransportErrorKind) -> Self {
        self.step(request, Err(kind))
    }

    /// Returns the requests so far. Their headers contain everything that the client sent,
    /// including credentials.
    #[must_use]
    pub fn requests(&self) -> Vec<http::Request<Bytes>> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn step(self, request: &str, step: Step) -> Self {
        assert!(
            can_be_asked(request),
            "request {} is no method and URL: write it like \"GET https://registry.example.com/v2/\"",
            Quoted::new(request)
        );
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script
            .entry(request.to_owned())
            .or_default()
            .push_back(step);
        drop(script);
        self
    }

    fn next(&self, request: &str) -> Option<Step> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = script.get_mut(request)?;
        if steps.len() > 1 {
            steps.pop_front()
        } else {
            steps.front().cloned()
        }
    }
}

fn can_be_asked(request: &str) -> bool {
    let Some((method, url)) = request.split_once(' ') else {
        return false;
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let has_host = |uri: http::Uri| uri.scheme().is_some() && uri.host().is_some();
    is_method && url.parse().is_ok_and(has_host)
}

impl Default for ScriptedTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ScriptedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTransport")
            .field("egress", &self.egress)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpTransport for ScriptedTransport {
    async fn send(&self, outbound: Outbound) -> Result<http::Response<Bytes>, TransportError> {
        let key = format!("{} {}", outbound.request.method(), outbound.request.uri());
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(outbound.request);
        let response = match self.next(&key) {
            Some(Ok(response)) => response,
            Some(Err(kind)) => return Err(TransportError::new(kind)),
            None => {
                let mut missing = http::Response::new(Bytes::new());
                *missing.status_mut() = http::StatusCode::NOT_FOUND;
                missing
            }
        };
        if response.body().len() > outbound.body_limit {
            return Err(TransportError::new(TransportErrorKind::TooLarge));
        }
        Ok(response)
    }

    fn egress(&self) -> Egress {
        self.egress.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_method_and_a_url_can_be_asked() {
        for request in [
            "GET https://registry.example.com/v2/",
            "HEAD http://registry.example.com:5000/v2/a/manifests/1",
            "POST https://auth.example.com/token?service=x&scope=y",
        ] {
            assert!(can_be_asked(request), "{request}");
        }
        for request in [
            "",
            "GET",
            "/v2/",
            "https://registry.example.com/v2/",
            "GET /v2/",
            "GET registry.example.com",
            "get https://registry.example.com/v2/",
            " https://registry.example.com/v2/",
            "GET  https://registry.example.com/v2/",
            "GET https://registry.example.com/v2/ HTTP/1.1",
        ] {
            assert!(!can_be_asked(request), "{request}");
        }
    }

    #[test]
    #[should_panic(expected = r#"request "GET /v2/" is no method and URL"#)]
    fn a_request_that_nobody_can_ask_is_refused_when_it_is_written() {
        let _ = ScriptedTransport::new().fail("GET /v2/", TransportErrorKind::Connect);
    }
}
