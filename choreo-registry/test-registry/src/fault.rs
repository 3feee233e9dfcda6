//! Faults: how the registry misbehaves, for the tests of its clients.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};

use crate::body::{Body, End};

/// What goes wrong for the next requests that match.
///
/// A fault matches one method and every path with a prefix, the token server's among them, and is
/// used up after [`times`](Self::times) matches (once, unless said). Each request meets the first
/// fault that matches, and no other. What goes wrong is said by the other methods, and they combine:
/// wait, then answer as said or as the registry would, then change headers and body, then break off.
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
    /// A fault for requests of this method whose path starts with `path_prefix`.
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

    /// Lasts for `count` requests.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.remaining = count;
        self
    }

    /// Lasts until the registry's faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Answers with this status and an empty body, without looking at the request.
    #[must_use]
    pub fn answer(mut self, status: StatusCode) -> Self {
        self.answer = Some(status);
        self
    }

    /// Answers `307 Temporary Redirect` to this address.
    #[must_use]
    pub fn redirect(self, url: impl Into<String>) -> Self {
        self.answer(StatusCode::TEMPORARY_REDIRECT)
            .header(LOCATION.as_str(), url)
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn hang_up(mut self) -> Self {
        self.hang_up = true;
        self
    }

    /// Waits before anything else.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a header of the answer. A name or value that HTTP forbids makes the answer a 500 that
    /// says so.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Takes a header out of the answer.
    #[must_use]
    pub fn without_header(mut self, name: impl Into<String>) -> Self {
        self.removed.push(name.into());
        self
    }

    /// Sets `Docker-Content-Digest`, to a lie or to the empty text.
    #[must_use]
    pub fn digest(self, digest: impl Into<String>) -> Self {
        self.header(CONTENT_DIGEST, digest)
    }

    /// Leaves `Docker-Content-Digest` out.
    #[must_use]
    pub fn without_digest(self) -> Self {
        self.without_header(CONTENT_DIGEST)
    }

    /// Replaces the body; the headers, a digest among them, stay those of the true one.
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

    /// Closes the connection after `count` bytes of the body, whose length is announced in full.
    #[must_use]
    pub fn cut_after(mut self, count: usize) -> Self {
        self.broken = Some((count, End::Cut));
        self
    }

    /// Sends `count` bytes of the body, and then nothing for ever.
    #[must_use]
    pub fn stall_after(mut self, count: usize) -> Self {
        self.broken = Some((count, End::Stalled));
        self
    }

    /// The wait before anything else.
    pub(crate) fn wait(&self) -> Duration {
        self.delay
    }

    pub(crate) fn hangs_up(&self) -> bool {
        self.hang_up
    }

    /// The answer that takes the place of the registry's own.
    pub(crate) fn substitute(&self) -> Option<Response<Body>> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = self.answer?;
        Some(response)
    }

    /// Changes the answer as told.
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

/// The faults to come, in the order in which they were told.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for this request, which it uses up by one.
    pub(crate) fn take<B>(&mut self, request: &Request<B>) -> Option<Fault> {
        let live = |fault: &&mut Fault| fault.remaining > 0 && fault.matches(request);
        let fault = self.0.iter_mut().find(live)?;
        // `usize::MAX` is "always".
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
