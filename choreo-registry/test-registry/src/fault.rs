//! Faults, with which a test makes the registry misbehave.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};

use crate::body::{Body, End};

/// A fault in the responses to the next matching requests.
///
/// A fault matches one method and every path with a prefix, including paths of the token server. It
/// ends after [`times`](Self::times) matches, by default after one. Only the first matching fault
/// applies to a request. The other methods set the effects, which combine in this order: the wait,
/// the status, the changes of headers and body, and the cut.
///
/// ```
/// use choreo_test_registry::{Fault, TestRegistry};
/// use http::{Method, StatusCode};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///
/// let registry = TestRegistry::builder().start().await?;
/// registry.inject(
///     Fault::on(Method::HEAD, "/v2/team/app/manifests/")
///         .answer(StatusCode::TOO_MANY_REQUESTS)
///         .header("retry-after", "1")
///         .times(2),
/// );
/// registry.inject(Fault::on(Method::GET, "/v2/team/app/manifests/").digest("sha256:lie"));
/// # Ok::<_, std::io::Error>(()) })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    method: Method,
    path_prefix: String,
    remaining: usize,
    delay: Duration,
    hang_up: bool,
    answer: Option<StatusCode>,
    removed: Vec<String>,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
    chunked: bool,
    broken: Option<(usize, End)>,
}

impl Fault {
    /// Creates a fault for requests with this method and a path that starts with `path_prefix`.
    pub fn on(method: Method, path_prefix: impl Into<String>) -> Self {
        Self {
            method,
            path_prefix: path_prefix.into(),
            remaining: 1,
            delay: Duration::ZERO,
            hang_up: false,
            answer: None,
            removed: Vec::new(),
            headers: Vec::new(),
            body: None,
            chunked: false,
            broken: None,
        }
    }

    /// Applies the fault to `count` requests.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.remaining = count;
        self
    }

    /// Applies the fault until the faults of the registry are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Responds with this status and an empty body, whatever the request is.
    #[must_use]
    pub fn answer(mut self, status: StatusCode) -> Self {
        self.answer = Some(status);
        self
    }

    /// Responds with `307 Temporary Redirect` to this address.
    #[must_use]
    pub fn redirect(self, url: impl Into<String>) -> Self {
        self.answer(StatusCode::TEMPORARY_REDIRECT)
            .header(LOCATION.as_str(), url)
    }

    /// Closes the connection without a response.
    #[must_use]
    pub fn hang_up(mut self) -> Self {
        self.hang_up = true;
        self
    }

    /// Waits before any other effect.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a header of the response. If HTTP does not allow the name or value, the response is a
    /// 500 with that message.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Removes a header from the response.
    #[must_use]
    pub fn without_header(mut self, name: impl Into<String>) -> Self {
        self.removed.push(name.into());
        self
    }

    /// Sets `Docker-Content-Digest`, such as to a wrong digest or to the empty string.
    #[must_use]
    pub fn digest(self, digest: impl Into<String>) -> Self {
        self.header(CONTENT_DIGEST, digest)
    }

    /// Removes `Docker-Content-Digest`.
    #[must_use]
    pub fn without_digest(self) -> Self {
        self.without_header(CONTENT_DIGEST)
    }

    /// Replaces the body. The headers, including a digest, remain those of the original body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends the body chunked, without a `Content-Length`.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Closes the connection after `count` bytes of the body. The headers announce the full length.
    #[must_use]
    pub fn cut_after(mut self, count: usize) -> Self {
        self.broken = Some((count, End::Cut));
        self
    }

    /// Sends `count` bytes of the body, and then nothing more.
    #[must_use]
    pub fn stall_after(mut self, count: usize) -> Self {
        self.broken = Some((count, End::Stalled));
        self
    }

    /// Returns the wait before any other effect.
    pub(crate) fn wait(&self) -> Duration {
        self.delay
    }

    pub(crate) fn hangs_up(&self) -> bool {
        self.hang_up
    }

    /// Returns the response that replaces the registry's own.
    pub(crate) fn substitute(&self) -> Option<Response<Body>> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = self.answer?;
        Some(response)
    }

    /// Applies the changes to the response.
    pub(crate) fn rewrite(&self, response: Response<Body>, method: &Method) -> Response<Body> {
        let (mut head, mut body) = response.into_parts();
        if let Some(replacement) = &self.body
            && method != Method::HEAD
        {
            head.headers.remove(CONTENT_LENGTH);
            body = Body::from(replacement.clone());
        }
        for name in &self.removed {
            head.headers.remove(name);
        }
        if self.chunked {
            head.headers.remove(CONTENT_LENGTH);
            body = body.chunked();
        }
        if let Some((count, end)) = self.broken {
            if !self.chunked {
                head.headers.insert(CONTENT_LENGTH, body.len().into());
            }
            body = body.break_after(count, end);
        }
        for (name, value) in &self.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => head.headers.insert(name, value),
                _ => return unusable_header(name, value),
            };
        }
        Response::from_parts(head, body)
    }

    fn matches<B>(&self, request: &Request<B>) -> bool {
        *request.method() == self.method && request.uri().path().starts_with(&self.path_prefix)
    }
}

/// The pending faults, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the fault for this request, and counts the match.
    pub(crate) fn take<B>(&mut self, request: &Request<B>) -> Option<Fault> {
        let live = |fault: &&mut Fault| fault.remaining > 0 && fault.matches(request);
        let fault = self.0.iter_mut().find(live)?;
        // `usize::MAX` means "always".
        if fault.remaining != usize::MAX {
            fault.remaining -= 1;
        }
        Some(fault.clone())
    }
}

fn unusable_header(name: &str, value: &str) -> Response<Body> {
    let text = format!("the fault's header {name:?}: {value:?} is not valid in HTTP");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

const CONTENT_DIGEST: &str = "docker-content-digest";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_order() {
        let mut faults = Faults::default();
        faults.add(
            Fault::on(Method::GET, "/v2/a")
                .answer(StatusCode::BAD_GATEWAY)
                .times(2),
        );
        faults.add(
            Fault::on(Method::GET, "/v2/")
                .answer(StatusCode::GONE)
                .always(),
        );
        let mut status = |method: &str, path: &str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(())
                .unwrap();
            let fault = faults.take(&request)?;
            Some(fault.substitute()?.status().as_u16())
        };
        assert_eq!(status("HEAD", "/v2/a"), None);
        assert_eq!(status("GET", "/v2/b"), Some(410));
        assert_eq!(status("GET", "/v2/a"), Some(502));
        assert_eq!(status("GET", "/v2/a/b"), Some(502));
        assert_eq!(status("GET", "/v2/a"), Some(410));
        assert_eq!(status("GET", "/token"), None);
    }
}
