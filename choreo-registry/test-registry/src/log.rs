//! The log of requests.

use std::fmt;
use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, Request, StatusCode};

/// A received request and the status of its response.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let registry = choreo_test_registry::TestRegistry::builder().start().await?;
/// // … a client does its work, then the test counts its round trips:
/// let heads = registry.requests().iter().filter(|r| r.method() == "HEAD").count();
/// assert_eq!(heads, 0);
/// # Ok::<_, std::io::Error>(()) })?;
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// `Debug` does not show any headers.
#[derive(Clone)]
pub struct Recorded {
    method: Method,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    server: SocketAddr,
    status: Option<StatusCode>,
}

impl Recorded {
    pub(crate) fn new<B>(request: &Request<B>, server: SocketAddr) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers: request.headers().clone(),
            server,
            status: None,
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path as it was sent, with its percent-encoding.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the query after the `?`, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Returns the address that received the request: the registry's, or that of a separate token
    /// server.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Returns the status of the response. Returns `None` before the response, or if a fault closed
    /// the connection.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns a header by its name in lower case. Returns `None` for `authorization` and for a
    /// value that is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            return None;
        }
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the kind of credential in the request.
    pub fn authorization(&self) -> Scheme {
        let Some(value) = self.expose_authorization() else {
            return Scheme::None;
        };
        let scheme = value.split(' ').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("basic") {
            Scheme::Basic
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Scheme::Bearer
        } else {
            Scheme::Other
        }
    }

    /// Returns the value of the `Authorization` header, for comparisons in tests.
    pub fn expose_authorization(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("server", &self.server)
            .field("authorization", &self.authorization())
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The kind of credential in an `Authorization` header.
///
/// ```
/// use choreo_test_registry::parts::Scheme;
///
/// assert_ne!(Scheme::None, Scheme::Bearer);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scheme {
    /// A user name and a password (<https://www.rfc-editor.org/rfc/rfc7617>).
    Basic,
    /// A token (<https://www.rfc-editor.org/rfc/rfc6750>).
    Bearer,
    /// The request has no such header.
    None,
    /// Another scheme.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(authorization: Option<&str>) -> Recorded {
        let mut request = Request::get("/v2/?a=b").header("accept", "*/*");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(()).unwrap();
        Recorded::new(&request, SocketAddr::from(([127, 0, 0, 1], 5000)))
    }

    #[test]
    fn the_scheme_is_told_and_the_value_only_exposed() {
        assert_eq!(recorded(None).authorization(), Scheme::None);
        assert_eq!(recorded(Some("basic eA==")).authorization(), Scheme::Basic);
        assert_eq!(recorded(Some("Negotiate x")).authorization(), Scheme::Other);
        let entry = recorded(Some("Bearer canary"));
        assert_eq!(entry.authorization(), Scheme::Bearer);
        assert_eq!(entry.expose_authorization(), Some("Bearer canary"));
        assert_eq!(entry.header("Authorization"), None);
        assert_eq!(entry.header("accept"), Some("*/*"));
        assert!(!format!("{entry:?}").contains("canary"));
    }
}
