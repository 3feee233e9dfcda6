//! The transport on reqwest: the one place that dials.
//!
//! reqwest has no hook on the connection itself, and skips a custom resolver when the host is an
//! address. So the guard has two halves: [`Egress::check_uri`] judges addresses in the URL, the
//! resolver below judges those that a name leads to and hands out approved ones only. Everything
//! that would connect elsewhere is off: redirects, proxies from the environment, retries.

use std::{error::Error, fmt, io, net::SocketAddr, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Blocked, Egress};
use crate::client::{HttpTransport, Outbound, TransportError, TransportErrorKind};

/// The [`HttpTransport`] on reqwest: HTTP/1.1, guarded by an [`Egress`] policy, with TLS by rustls
/// when the feature `tls` is on.
///
/// It keeps connections open for later requests. Build one per policy and share it: the clients of
/// all tenants may use the same one, because it knows no credentials.
///
/// ```no_run
/// use std::sync::Arc;
/// use choreo_registry::client::{Egress, RegistryClient, ReqwestTransport};
///
/// let transport = Arc::new(ReqwestTransport::new(Egress::tenant())?);
/// let client = RegistryClient::new("ghcr.io".parse()?, None, transport);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    egress: Egress,
}

impl ReqwestTransport {
    /// A transport that obeys this policy.
    ///
    /// # Errors
    ///
    /// When a root certificate of the policy is not PEM, or the system has no certificates at all.
    pub fn new(egress: Egress) -> Result<Self, BuildTransportError> {
        let client = builder(&egress)?
            .build()
            .map_err(BuildTransportError::new)?;
        Ok(Self { client, egress })
    }

    async fn exchange(
        &self,
        request: reqwest::Request,
        limit: usize,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let mut response = self.client.execute(request).await.map_err(classify)?;
        if response
            .content_length()
            .is_some_and(|len| len > limit as u64)
        {
            return Err(TransportError::new(TransportErrorKind::TooLarge));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(classify)? {
            if body.len() + chunk.len() > limit {
                return Err(TransportError::new(TransportErrorKind::TooLarge));
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = http::Response::new(body.freeze());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, outbound: Outbound) -> Result<http::Response<Bytes>, TransportError> {
        let Outbound {
            request,
            body_limit,
            deadline,
        } = outbound;
        self.egress.check_uri(request.uri()).map_err(|blocked| {
            TransportError::new(TransportErrorKind::Blocked).with_source(blocked)
        })?;
        if cfg!(not(feature = "tls")) && request.uri().scheme_str() == Some("https") {
            return Err(TransportError::new(TransportErrorKind::Tls)
                .with_source("https needs the feature \"tls\" of choreo-registry"));
        }
        let request = reqwest::Request::try_from(request).map_err(|error| {
            TransportError::new(TransportErrorKind::Protocol).with_source(error.without_url())
        })?;
        tokio::time::timeout(
            deadline.saturating_duration_since(Instant::now()),
            self.exchange(request, body_limit),
        )
        .await
        .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
    }

    fn egress(&self) -> &Egress {
        &self.egress
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that connects, behind the egress policy"
)]
fn builder(egress: &Egress) -> Result<reqwest::ClientBuilder, BuildTransportError> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .dns_resolver(Arc::new(Guarded {
            egress: egress.clone(),
        }));
    with_certificates(builder, egress)
}

#[cfg(feature = "tls")]
fn with_certificates(
    builder: reqwest::ClientBuilder,
    egress: &Egress,
) -> Result<reqwest::ClientBuilder, BuildTransportError> {
    let mut certificates = Vec::new();
    for pem in &egress.root_certificates {
        let bundle =
            reqwest::Certificate::from_pem_bundle(pem).map_err(BuildTransportError::new)?;
        if bundle.is_empty() {
            return Err(BuildTransportError { source: None });
        }
        certificates.extend(bundle);
    }
    Ok(if certificates.is_empty() {
        builder
    } else {
        builder.tls_certs_merge(certificates)
    })
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as with TLS")]
fn with_certificates(
    builder: reqwest::ClientBuilder,
    _: &Egress,
) -> Result<reqwest::ClientBuilder, BuildTransportError> {
    Ok(builder)
}

/// Resolves with the system's resolver and returns approved addresses or none.
struct Guarded {
    egress: Egress,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.egress.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            egress.check_addresses(name.as_str(), &addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Sorts reqwest's errors once; nothing above this file knows reqwest.
fn classify(error: reqwest::Error) -> TransportError {
    let kind = if caused_by(&error, |cause| cause.is::<Blocked>()) {
        TransportErrorKind::Blocked
    } else if error.is_timeout() {
        TransportErrorKind::Timeout
    } else if error.is_dns() {
        TransportErrorKind::Resolve
    } else if error.is_connect() && caused_by(&error, is_tls) {
        TransportErrorKind::Tls
    } else if caused_by(&error, is_no_http) {
        TransportErrorKind::Protocol
    } else {
        TransportErrorKind::Connect
    };
    // The URL may have a query; the rest of the message holds none.
    TransportError::new(kind).with_source(error.without_url())
}

/// rustls reports a failed handshake as an I/O error of this kind.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

/// hyper, which reqwest hides, has no type for it that can be named here.
fn is_no_http(cause: &(dyn Error + 'static)) -> bool {
    let text = cause.to_string();
    // The second is what a server that speaks first is told apart by.
    text.starts_with("invalid HTTP") || text.starts_with("received unexpected message")
}

fn caused_by(error: &reqwest::Error, is_it: impl Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if is_it(error) {
            return true;
        }
        // An I/O error shows its inner error's cause, not the inner error itself.
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// Why a [`ReqwestTransport`] cannot be built.
#[derive(Debug)]
pub struct BuildTransportError {
    source: Option<reqwest::Error>,
}

impl BuildTransportError {
    fn new(error: reqwest::Error) -> Self {
        Self {
            source: Some(error),
        }
    }
}

impl fmt::Display for BuildTransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "transport cannot be built: give root certificates in PEM, \
             and install the system's certificates (package ca-certificates)",
        )
    }
}

impl Error for BuildTransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
