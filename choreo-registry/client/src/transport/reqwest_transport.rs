//! The transport on reqwest: the only module that opens connections.
//!
//! reqwest has no hook on the connection itself, and skips a custom resolver if the host is an
//! address. The guard therefore has three parts: [`Egress::check_uri`] checks addresses in the
//! URL; the resolver below checks those of a name and returns only approved ones, which are then
//! dialled; and the address that answered is checked once more. All features that could connect
//! elsewhere are disabled explicitly, because Cargo unifies the reqwest features of all crates in
//! a program: redirects, proxies of the environment, retries, decompression, cookies, other
//! resolvers, other versions of HTTP.

#[cfg(feature = "tls")]
mod certificates;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::{error::Error, fmt, io, net::SocketAddr, time::Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::{HttpTransport, NoTls, Outbound, TransportError, TransportErrorKind};
use crate::egress::{Blocked, BlockedReason, Egress, Proxy, unreadable};

/// The [`HttpTransport`] on reqwest: HTTP/1.1, guarded by an [`Egress`] policy, with TLS by rustls
/// if the feature `tls` is enabled.
///
/// It keeps connections open for later requests. Build one per policy and share it: the clients of
/// all tenants may use the same one, because it stores no credentials.
///
/// ```no_run
/// use std::sync::Arc;
/// use choreo_registry_client::{RegistryClient, egress::Egress, transport::ReqwestTransport};
///
/// let transport = Arc::new(ReqwestTransport::new(Egress::tenant())?);
/// let client = RegistryClient::new("ghcr.io".parse()?, None, transport);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReqwestTransport {
    lookup: Arc<dyn Lookup>,
    ways: RwLock<Arc<Ways>>,
}

impl ReqwestTransport {
    /// Creates a transport that enforces this policy.
    ///
    /// # Errors
    ///
    /// If a root certificate of the policy is not PEM, or the system has no certificates at all.
    pub fn new(egress: Egress) -> Result<Self, BuildTransportError> {
        Self::with_lookup(egress, &(Arc::new(System) as _))
    }

    fn with_lookup(egress: Egress, lookup: &Arc<dyn Lookup>) -> Result<Self, BuildTransportError> {
        let ways = Ways::new(egress, lookup)?;
        Ok(Self {
            lookup: Arc::clone(lookup),
            ways: RwLock::new(Arc::new(ways)),
        })
    }

    /// Replaces the policy: allowed networks and hosts, plain HTTP, trusted token servers, the
    /// proxy, certificates. Use it if a registry is allowed or forbidden while a control plane
    /// runs.
    ///
    /// A request in progress finishes under the policy with which it began, and later requests do
    /// not use its connection. A [`RegistryClient`](crate::RegistryClient) keeps the scheme of its
    /// registry: create a new client if plain HTTP to its host was allowed or forbidden, or it
    /// continues to use the other scheme. Proxies and network policies outside this process are
    /// unaffected.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use choreo_registry_client::{egress::Egress, transport::{HttpTransport, ReqwestTransport}};
    ///
    /// let transport = Arc::new(ReqwestTransport::new(Egress::tenant())?);
    /// // An operator opens a registry of their own.
    /// let opened = transport.egress().allow_host("registry.corp.example".parse()?);
    /// transport.set_egress(opened)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new). After an error the previous policy remains.
    pub fn set_egress(&self, egress: Egress) -> Result<(), BuildTransportError> {
        let ways = Arc::new(Ways::new(egress, &self.lookup)?);
        *self.ways.write().unwrap_or_else(PoisonError::into_inner) = ways;
        Ok(())
    }

    /// Returns the policy and the clients that one request uses from start to end.
    fn ways(&self) -> Arc<Ways> {
        Arc::clone(&self.ways.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport")
            .field("egress", &self.ways().egress)
            .finish_non_exhaustive()
    }
}

/// A policy and the clients that enforce it.
struct Ways {
    /// Two clients, because a resolver receives a name without its port, but the operator's
    /// entries for hosts have one. They do not share connections.
    guarded: reqwest::Client,
    opened: Option<reqwest::Client>,
    egress: Egress,
}

impl Ways {
    fn new(egress: Egress, lookup: &Arc<dyn Lookup>) -> Result<Self, BuildTransportError> {
        let client = |opened| {
            let resolver = Guarded {
                egress: egress.clone(),
                opened,
                lookup: Arc::clone(lookup),
            };
            builder(&egress, resolver)?
                .build()
                .map_err(BuildTransportError::new)
        };
        let guarded = client(false)?;
        let opened = match egress.policy.hosts.as_slice() {
            [] => None,
            _ => Some(client(true)?),
        };
        Ok(Self {
            guarded,
            opened,
            egress,
        })
    }

    /// Returns the client for this host, and whether the operator has allowed the host.
    fn client(&self, url: &Url) -> (&reqwest::Client, bool) {
        match &self.opened {
            Some(client) if self.egress.opens_host(url) => (client, true),
            _ => (&self.guarded, false),
        }
    }

    async fn read(
        &self,
        response: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
        opened: bool,
        limit: usize,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let mut response = response.await.map_err(classify)?;
        self.check_peer(&response, opened)?;
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

    /// Checks the connected address as the last defense: the resolver has approved every address
    /// that could be dialled, so this fails only if reqwest bypassed it. Behind a proxy, the peer
    /// is the proxy.
    fn check_peer(&self, response: &reqwest::Response, opened: bool) -> Result<(), TransportError> {
        let stands = |peer: SocketAddr| self.egress.judges(peer.ip(), opened);
        if self.egress.policy.proxy.is_some() || response.remote_addr().is_none_or(stands) {
            return Ok(());
        }
        let host = response.url().host_str().unwrap_or_default();
        let blocked = Blocked::new(host, BlockedReason::Address);
        Err(TransportError::new(TransportErrorKind::Blocked).with_source(blocked))
    }
}

/// Returns the checked URL, which the caller must send: a second parse could give a different URL.
fn checked(egress: &Egress, outbound: &Outbound) -> Result<Url, Blocked> {
    let url = outbound.url();
    let url = url.map_err(|_| unreadable(outbound.request.uri()))?;
    egress.check_url(&url)?;
    Ok(url)
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, outbound: Outbound) -> Result<http::Response<Bytes>, TransportError> {
        let ways = self.ways();
        let url = checked(&ways.egress, &outbound).map_err(|blocked| {
            TransportError::new(TransportErrorKind::Blocked).with_source(blocked)
        })?;
        let Outbound {
            request,
            body_limit,
            deadline,
            ..
        } = outbound;
        if cfg!(not(feature = "tls")) && url.scheme() == "https" {
            return Err(TransportError::new(TransportErrorKind::Tls).with_source(NoTls));
        }
        let (parts, body) = request.into_parts();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(body.into());
        let (client, opened) = ways.client(request.url());
        let response = client.execute(request);
        tokio::time::timeout(
            deadline.saturating_duration_since(Instant::now()),
            ways.read(response, opened, body_limit),
        )
        .await
        .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
    }

    fn egress(&self) -> Egress {
        self.ways().egress.clone()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that connects, behind the egress policy"
)]
fn builder(
    egress: &Egress,
    resolver: Guarded,
) -> Result<reqwest::ClientBuilder, BuildTransportError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .no_hickory_dns()
        .referer(false)
        .http1_only()
        .dns_resolver(Arc::new(resolver));
    if let Some(proxy) = &egress.policy.proxy {
        builder = builder.proxy(forward(proxy)?);
    }
    with_certificates(builder, egress)
}

fn forward(proxy: &Proxy) -> Result<reqwest::Proxy, BuildTransportError> {
    let forward = reqwest::Proxy::all(proxy.url().clone()).map_err(BuildTransportError::new)?;
    Ok(match proxy.credential() {
        None => forward,
        Some(login) => forward.basic_auth(login.username(), login.expose_password()),
    })
}

#[cfg(feature = "tls")]
fn with_certificates(
    builder: reqwest::ClientBuilder,
    egress: &Egress,
) -> Result<reqwest::ClientBuilder, BuildTransportError> {
    if egress.policy.root_certificates.is_empty() {
        return Ok(builder);
    }
    let config = certificates::config(&egress.policy.root_certificates)?;
    Ok(builder.tls_backend_preconfigured(config))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as with TLS")]
fn with_certificates(
    builder: reqwest::ClientBuilder,
    _: &Egress,
) -> Result<reqwest::ClientBuilder, BuildTransportError> {
    Ok(builder)
}

/// A resolver that returns the addresses of a name only if all are approved.
struct Guarded {
    egress: Egress,
    opened: bool,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, opened) = (self.egress.clone(), self.opened);
        let lookup = Arc::clone(&self.lookup);
        Box::pin(async move {
            let name = name.as_str();
            let addresses = lookup.lookup(name).await?;
            match &egress.policy.proxy {
                // The operator has named the proxy.
                Some(proxy) if proxy.url().host_str() == Some(name) => {}
                Some(_) => Err(Blocked::new(name, BlockedReason::Address))?,
                None => egress.check_resolved(name, &addresses, opened)?,
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The source of addresses, which tests replace.
#[async_trait]
trait Lookup: Send + Sync {
    async fn lookup(&self, name: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
struct System;

#[expect(
    clippy::disallowed_methods,
    reason = "what comes of it is judged before it is dialled"
)]
#[async_trait]
impl Lookup for System {
    async fn lookup(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.collect())
    }
}

/// Classifies reqwest's errors; no other module depends on reqwest.
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
    // The URL may contain a query; the rest of the message does not.
    TransportError::new(kind).with_source(error.without_url())
}

/// rustls reports a failed handshake as an I/O error of this kind.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

/// hyper, which reqwest hides, has no type for it that is accessible here.
fn is_no_http(cause: &(dyn Error + 'static)) -> bool {
    let text = cause.to_string();
    // The second text is the error if a server sends data before the request.
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

/// The reason why a [`ReqwestTransport`] cannot be built.
#[derive(Debug)]
pub struct BuildTransportError {
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BuildTransportError {
    fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(error)),
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
        self.source.as_deref().map(|source| source as _)
    }
}
