//! The interface between the client and HTTP.

#[cfg(feature = "reqwest")]
mod reqwest_transport;
mod scripted;

use std::{error::Error, fmt, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
#[cfg(any(test, feature = "reqwest"))]
use url::Url;

#[cfg(feature = "reqwest")]
pub use self::reqwest_transport::{BuildTransportError, ReqwestTransport};
pub use self::scripted::ScriptedTransport;
use crate::{address::Address, egress::Egress};

/// Sends one HTTP request and returns one bounded response.
///
/// The client creates the requests and interprets the responses; a transport only transfers them.
/// Use `ReqwestTransport` (feature `reqwest`), and [`ScriptedTransport`] in tests. Implement the trait
/// for another HTTP library, or wrap a transport, for example to count requests.
///
/// **Contract**. Each sentence is a clause of [`conformance`](crate::conformance):
/// - The method, the path, the query, the headers and the body are sent unchanged. Nothing is added
///   except what HTTP requires: no credential, cookie, referer or accepted encoding.
/// - The status, the headers and the body are returned unchanged and not decompressed. A response to
///   `HEAD` has no body, even if it names a length.
/// - One call is one exchange: redirects are returned, not followed; requests are not retried; cookies
///   are not stored.
/// - A body that ends early is [`TransportErrorKind::Connect`], never a shorter body.
/// - A body of more than `body_limit` bytes is [`TransportErrorKind::TooLarge`], and the rest of it is
///   not read.
/// - The call ends at `deadline`, also while it reads the body, with [`TransportErrorKind::Timeout`].
/// - Cancelling the future closes the exchange. Calls do not wait for each other.
/// - Connections are made to addresses that [`egress`](Self::egress) allows:
///   [`Egress::check_uri`] is called before the name is resolved, [`Egress::check_addresses_of`] is
///   called with the addresses, and only those are dialled. A forbidden connection is
///   [`TransportErrorKind::Blocked`] and is not made. **Your own transport must keep this promise**:
///   the client checks schemes and literal addresses before it sends, but does not resolve names.
/// - Requests contain credentials in their queries, headers and bodies. Errors and logs never
///   contain these. (A clause cannot test logs.)
///
/// # Example
///
/// A wrapper that counts requests. It uses types of three more crates, in these versions:
///
/// ```toml
/// async-trait = "0.1"
/// bytes = "1"
/// http = "1"
/// ```
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use bytes::Bytes;
/// use choreo_registry_client::{egress::Egress, transport::{HttpTransport, Outbound, TransportError}};
///
/// #[derive(Debug)]
/// struct Counting<T> { inner: T, requests: AtomicUsize }
///
/// #[async_trait::async_trait]
/// impl<T: HttpTransport> HttpTransport for Counting<T> {
///     async fn send(&self, outbound: Outbound) -> Result<http::Response<Bytes>, TransportError> {
///         self.requests.fetch_add(1, Ordering::Relaxed);
///         self.inner.send(outbound).await
///     }
///
///     fn egress(&self) -> Egress {
///         self.inner.egress()
///     }
/// }
/// ```
#[async_trait]
pub trait HttpTransport: fmt::Debug + Send + Sync {
    /// Sends one request and reads its response.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no complete response within the limits; see
    /// [`TransportErrorKind`]. A response with any status is not an error.
    async fn send(&self, outbound: Outbound) -> Result<http::Response<Bytes>, TransportError>;

    /// Returns the current policy: the [same](Egress::is_same) one until it changes.
    fn egress(&self) -> Egress;
}

/// A request with its limits.
///
/// ```
/// use std::time::{Duration, Instant};
/// use choreo_registry_client::transport::Outbound;
///
/// let request = http::Request::get("https://registry.example.com/v2/").body(Default::default())?;
/// let outbound = Outbound::new(request, 64 * 1024, Instant::now() + Duration::from_secs(30));
/// assert_eq!(outbound.body_limit, 65536);
/// # Ok::<(), http::Error>(())
/// ```
#[non_exhaustive]
pub struct Outbound {
    /// The request, with an absolute URI. Its headers and body may contain a credential.
    pub request: http::Request<Bytes>,
    /// The limit of the response's body, in bytes.
    pub body_limit: usize,
    /// The time at which the exchange ends, even if it is not complete.
    pub deadline: Instant,
    /// The parsed URI, as a cache. It is ignored if the request has changed since.
    #[cfg_attr(
        not(any(test, feature = "reqwest")),
        expect(dead_code, reason = "only the transport on reqwest reads it")
    )]
    address: Option<Arc<Address>>,
}

impl Outbound {
    /// Creates a request with its limits.
    #[must_use]
    pub fn new(request: http::Request<Bytes>, body_limit: usize, deadline: Instant) -> Self {
        Self {
            request,
            body_limit,
            deadline,
            address: None,
        }
    }

    /// Adds the parsed URI, so that a transport does not parse it again.
    pub(super) fn to(self, address: Arc<Address>) -> Self {
        Self {
            address: Some(address),
            ..self
        }
    }

    /// Returns the URL of the request.
    #[cfg(any(test, feature = "reqwest"))]
    pub(super) fn url(&self) -> Result<Url, url::ParseError> {
        let uri = self.request.uri();
        match &self.address {
            Some(address) if is_written(uri, address.url()) => Ok(address.url().clone()),
            _ => Url::parse(&uri.to_string()),
        }
    }
}

/// Returns `true` if both are the same text.
#[cfg(any(test, feature = "reqwest"))]
fn is_written(uri: &http::Uri, url: &Url) -> bool {
    let rest = || {
        let text = url.as_str().strip_prefix(uri.scheme_str()?)?;
        text.strip_prefix("://")?
            .strip_prefix(uri.authority()?.as_str())
    };
    let path_and_query = uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    path_and_query.is_some() && rest() == path_and_query
}

impl fmt::Debug for Outbound {
    /// Shows the method, the host and the limits. Headers, queries and bodies may contain a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("method", self.request.method())
            .field("host", &self.request.uri().host().unwrap_or_default())
            .field("body_limit", &self.body_limit)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The error of an exchange without a response.
///
/// `Display` is a short phrase without addresses: it may be shown to the user who chose the host, and
/// must not reveal the internal network. The cause, for operators, is the
/// [`source`](Error::source).
///
/// ```
/// use choreo_registry_client::transport::{TransportError, TransportErrorKind};
///
/// let error = TransportError::new(TransportErrorKind::Resolve);
/// assert_eq!(error.to_string(), "the host name does not resolve");
/// ```
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TransportError {
    /// Creates an error of this kind.
    #[must_use]
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Adds the cause, which must not contain a URL with a query, or a header.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Returns the kind, for programs.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    pub(super) fn lacks_tls(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.is::<NoTls>())
    }
}

/// The cause if a transport without TLS gets a request with `https`.
#[derive(Debug)]
pub(crate) struct NoTls;

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https needs the feature \"tls\" of choreo-registry")
    }
}

impl Error for NoTls {}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Blocked => "the address is blocked by the egress policy",
            TransportErrorKind::Connect => "no connection",
            TransportErrorKind::Protocol => "the answer is not valid HTTP",
            TransportErrorKind::Resolve => "the host name does not resolve",
            TransportErrorKind::Timeout => "no answer in time",
            TransportErrorKind::Tls => "no secure connection",
            TransportErrorKind::TooLarge => "the answer is too large",
        })
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The kinds of [`TransportError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The egress policy forbids the address.
    Blocked,
    /// The connection was refused, reset or closed, possibly within a response.
    Connect,
    /// The response is not HTTP.
    Protocol,
    /// The name of the host has no address.
    Resolve,
    /// The deadline passed.
    Timeout,
    /// TLS failed: the certificate is not trusted, there is no common version, or the feature `tls`
    /// is disabled.
    Tls,
    /// The body exceeds its limit.
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_headers_nor_query_nor_body() {
        let request = http::Request::post("https://auth.example.com/token?secret=canary")
            .header("authorization", "Basic canary")
            .body(Bytes::from("password=canary"))
            .unwrap();
        let shown = format!("{:?}", Outbound::new(request, 7, Instant::now()));
        assert!(!shown.contains("canary"), "{shown}");
        assert!(
            shown.contains("POST") && shown.contains("auth.example.com"),
            "{shown}"
        );
    }

    #[test]
    fn the_url_is_the_one_of_the_request_whoever_changed_it() {
        let url = Url::parse("https://registry.example.com:5000/v2/?n=1").unwrap();
        let outbound = |uri: &str| {
            let request = http::Request::get(uri).body(Bytes::new()).unwrap();
            Outbound::new(request, 7, Instant::now()).to(Arc::new(Address::new(url.clone())))
        };
        assert_eq!(outbound(url.as_str()).url(), Ok(url.clone()));
        for other in [
            "http://registry.example.com:5000/v2/?n=1",
            "https://registry.example.com:5001/v2/?n=1",
            "https://registry.example.com:50/v2/?n=1",
            "https://registry.example.com/v2/?n=1",
            "https://registry.example.co/v2/?n=1",
            "https://registry.example.com:5000/v2/?n=12",
            "https://registry.example.com:5000/v2/?n=",
            "https://registry.example.com:5000/v2/",
            "https://registry.example.com:5000",
        ] {
            let url = outbound(other).url().unwrap();
            assert_eq!(url, Url::parse(other).unwrap());
        }
    }

    #[test]
    fn the_cause_is_in_source_and_not_in_display() {
        let error = TransportError::new(TransportErrorKind::Connect)
            .with_source("connection refused (10.0.0.7:443)");
        assert_eq!(error.to_string(), "no connection");
        assert_eq!(
            error.source().unwrap().to_string(),
            "connection refused (10.0.0.7:443)"
        );
    }
}
