//! A transport of your own on plain hyper, tested with the conformance suite.
//!
//! It opens a connection for each request and does not support TLS. The order is essential: check the
//! URI, resolve the name, check the addresses, and connect only to those.
//!
//! ```sh
//! cargo run --example custom_transport
//! ```

use std::io::{self, Write as _, stdout};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use choreo_registry_client::conformance::{self, TransportFixture};
use choreo_registry_client::egress::Egress;
use choreo_registry_client::transport::{
    HttpTransport, Outbound, TransportError as Error, TransportErrorKind as Kind,
};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

#[derive(Debug)]
struct Plain(Egress);

#[async_trait]
impl HttpTransport for Plain {
    async fn send(&self, outbound: Outbound) -> Result<Response<Bytes>, Error> {
        let left = outbound.deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(left, self.exchange(outbound.request, outbound.body_limit))
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Timeout)))
    }

    fn egress(&self) -> Egress {
        self.0.clone()
    }
}

impl Plain {
    async fn exchange(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, Error> {
        let stream = self.connect(request.uri()).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(classify)?;
        // Dropping the set at the end of this call closes the connection.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let request = in_origin_form(request)?;
        let (parts, mut body) = sender
            .send_request(request)
            .await
            .map_err(classify)?
            .into_parts();
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(classify)?.into_data().unwrap_or_default();
            if whole.len() + data.len() > limit {
                return Err(Error::new(Kind::TooLarge));
            }
            whole.extend_from_slice(&data);
        }
        Ok(Response::from_parts(parts, whole.into()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a transport connects, behind the egress policy"
    )]
    async fn connect(&self, uri: &Uri) -> Result<TcpStream, Error> {
        let blocked = |blocked| Error::new(Kind::Blocked).with_source(blocked);
        self.0.check_uri(uri).map_err(blocked)?;
        if uri.scheme_str() != Some("http") || self.0.proxy().is_some() {
            return Err(Error::new(Kind::Tls)
                .with_source("this transport supports neither TLS nor proxies"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(80)));
        let resolve = |error: io::Error| Error::new(Kind::Resolve).with_source(error);
        let found: Vec<SocketAddr> = found.await.map_err(resolve)?.collect();
        let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
        self.0
            .check_addresses_of(uri, &addresses)
            .map_err(blocked)?;
        TcpStream::connect(found.as_slice())
            .await
            .map_err(|error| Error::new(Kind::Connect).with_source(error))
    }
}

/// Converts a request for hyper, which sends it unchanged: the URI becomes the path and query, and
/// the host moves to its header.
fn in_origin_form(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Error> {
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.authority().map_or("", |it| it.as_str());
    let host = HeaderValue::from_str(host).map_err(|_| Error::new(Kind::Protocol))?;
    parts.headers.insert(header::HOST, host);
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    parts.uri = path.parse().map_err(|_| Error::new(Kind::Protocol))?;
    Ok(Request::from_parts(parts, Full::new(body)))
}

fn classify(error: hyper::Error) -> Error {
    let kind = if error.is_parse() {
        Kind::Protocol
    } else {
        Kind::Connect
    };
    Error::new(kind).with_source(error)
}

fn main() -> io::Result<()> {
    let fixture = TransportFixture::new(Plain);
    for (name, clause) in conformance::all() {
        clause(&fixture);
        writeln!(stdout(), "{name}: kept")?;
    }
    writeln!(stdout(), "custom_transport: ok")
}

#[cfg(test)]
choreo_registry_client::transport_conformance!(TransportFixture::new(Plain));
