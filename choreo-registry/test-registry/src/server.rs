//! Connections, and the steps of a request: log, fault, access control, endpoint.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::auth::{Gate, Login};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::fault::Faults;
use crate::lock::lock;
use crate::log::Recorded;
use crate::routes::{Exchange, MAX_MANIFEST, Resource};
use crate::store::Store;
use crate::token::TokenRequest;

/// The state that all connections share.
pub(crate) struct Shared {
    pub(crate) gate: Gate,
    pub(crate) store: Mutex<Store>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) log: Mutex<Vec<Arc<Mutex<Recorded>>>>,
    pub(crate) blob_limit: usize,
}

/// The service at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roles {
    pub(crate) registry: bool,
    pub(crate) tokens: bool,
}

/// Accepts connections until it is dropped, which also closes them.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, roles: Roles) {
    let mut connections = JoinSet::new();
    loop {
        // The process is out of file descriptors, or the client has closed. The next attempt may
        // succeed.
        let (Ok((stream, _)), Ok(local)) = (listener.accept().await, listener.local_addr()) else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Small responses are sent at once. Without it they are only slower.
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request| exchange(&shared, (roles, local), request));
            // The client has closed the connection, or a fault has.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn exchange(
    shared: &Shared,
    (roles, local): (Roles, SocketAddr),
    request: Request<Incoming>,
) -> Result<Response<Body>, HungUp> {
    let entry = Arc::new(Mutex::new(Recorded::new(&request, local)));
    lock(&shared.log).push(Arc::clone(&entry));
    let fault = lock(&shared.faults).take(&request);
    let method = request.method().clone();

    if let Some(fault) = &fault {
        tokio::time::sleep(fault.wait()).await;
        if fault.hangs_up() {
            return Err(HungUp);
        }
    }
    let mut response = match fault.as_ref().and_then(|fault| fault.substitute()) {
        Some(response) => response,
        None => answer(shared, roles, request).await,
    };
    if method == Method::HEAD {
        response = without_body(response);
    }
    if let Some(fault) = &fault {
        response = fault.rewrite(response, &method);
    }
    lock(&entry).answered(response.status());
    Ok(response)
}

async fn answer(shared: &Shared, roles: Roles, request: Request<Incoming>) -> Response<Body> {
    let mut response = match &shared.gate.login {
        Login::Bearer(_) if roles.tokens && request.uri().path() == TOKEN_PATH => {
            issue(shared, request).await
        }
        _ if roles.registry => serve_resource(shared, request).await,
        _ => {
            let message = "this address issues tokens, at /token";
            Err(ApiError::new(Code::Unsupported, message).status(StatusCode::NOT_FOUND))
        }
    }
    .unwrap_or_else(ApiError::into_response);
    let version = HeaderValue::from_static("registry/2.0");
    response
        .headers_mut()
        .insert("docker-distribution-api-version", version);
    response
}

async fn issue(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let Login::Bearer(tokens) = &shared.gate.login else {
        return Err(ApiError::new(
            Code::Unsupported,
            "no tokens are issued here",
        ));
    };
    let (head, body) = request.into_parts();
    let body = read(body, MAX_FORM).await?;
    let request = TokenRequest {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        body: &body,
    };
    tokens.answer(&shared.gate.accounts, &request)
}

async fn serve_resource(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let (head, body) = request.into_parts();
    let resource = Resource::parse(head.uri.path())?;
    let need = resource.need(&head.method)?;
    shared.gate.admit(&head.headers, need)?;
    let limit = match resource {
        Resource::NewUpload(_) | Resource::Upload(..) => shared.blob_limit,
        _ => MAX_MANIFEST,
    };
    resource.answer(&Exchange {
        body: read(body, limit).await?,
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        gate: &shared.gate,
        store: &shared.store,
        blob_limit: shared.blob_limit,
    })
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => Err(ApiError::new(
            Code::SizeInvalid,
            format!("body is cut short or larger than {limit} bytes"),
        )),
    }
}

/// Returns the response to `HEAD`: the length without the body.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if head.status != StatusCode::NOT_MODIFIED {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Response::from_parts(head, Body::default())
}

/// The error of a connection that a fault closes without a response.
#[derive(Debug)]
struct HungUp;

impl fmt::Display for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed by a fault")
    }
}

impl std::error::Error for HungUp {}

pub(crate) const TOKEN_PATH: &str = "/token";
const MAX_FORM: usize = 64 * 1024;
