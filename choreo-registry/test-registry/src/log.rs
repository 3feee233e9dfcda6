//! What clients have asked.

use std::fmt;
use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, Request, StatusCode};

/// One request that arrived, and the status that it was answered with.
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
/// `Debug` shows neither the `Authorization` header nor any other.
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

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path as it was sent, percent-encoding included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What followed the `?`, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The address that was asked: the registry's, or that of a token server apart.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The status of the answer; `None` while it is under way and when a fault hung up.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// A header by its name in lower case; never `authorization`, and `None` when it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            return None;
        }
        self.headers.get(name)?.to_str().ok()
    }

    /// The kind of credential that the request carried.
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

    /// The value of the `Authorization` header, for tests that compare it.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// A user name and a password: <https://www.rfc-editor.org/rfc/rfc7617>.
    Basic,
    /// A token: <https://www.rfc-editor.org/rfc/rfc6750>.
    Bearer,
    /// No such header.
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
