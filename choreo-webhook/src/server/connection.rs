//! A connection, from its first byte to its end.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use super::body::{AnswerBody, Content, RequestBody};
use super::crowd::Guest;
use super::pace::{Answering, Pace};
use super::stream::Stream;
use super::{Health, ServerLimits};

/// The content that a listener serves: health checks, and a service for other paths.
#[derive(Clone, Debug)]
pub(super) struct Site<S> {
    pub(super) limits: Arc<ServerLimits>,
    pub(super) health: Option<Health>,
    pub(super) service: Option<S>,
}

impl<S, B> Site<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Serves a connection until it ends, is too slow or is shed.
    pub(super) async fn serve(
        self,
        socket: TcpStream,
        guest: Guest,
        mut stopping: watch::Receiver<bool>,
    ) {
        let _ = socket.set_nodelay(true);
        let pace = Arc::new(Pace::new(Arc::clone(&self.limits), guest));
        let stream = TokioIo::new(Stream::new(socket, Arc::clone(&pace)));
        let answers = Arc::clone(&pace);
        // hyper panics below 8 KiB.
        let buffer = self.limits.head_bytes.max(8 * 1024);
        let service = service_fn(move |request| self.clone().answer(request, answers.begin()));
        let connection = http1::Builder::new()
            .max_buf_size(buffer)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);

        let shed = pace.guest().shed();
        let mut shed = pin!(shed.notified());
        let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
        let mut is_stopping = false;
        let first = pace.deadline().unwrap_or_else(Instant::now);
        let mut timer = pin!(sleep_until(first));
        let end = poll_fn(|context| {
            pace.begin_turn();
            if !is_stopping && stop.as_mut().poll(context).is_ready() {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            if shed.as_mut().poll(context).is_ready() {
                return Poll::Ready("shed for a newer connection");
            }
            if let Poll::Ready(result) = connection.as_mut().poll(context) {
                return Poll::Ready(match result {
                    Ok(()) => "ended",
                    Err(_) => "failed",
                });
            }
            // The timer may be early but never late, so most requests do not reset it.
            while let Some(deadline) = pace.deadline() {
                if timer.is_elapsed() || deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                if timer.as_mut().poll(context).is_pending() {
                    break;
                }
                if Instant::now() >= deadline {
                    return Poll::Ready("too slow");
                }
            }
            Poll::Pending
        })
        .await;
        tracing::debug!(end, "connection");
    }

    async fn answer(
        mut self,
        request: Request<Incoming>,
        answering: Option<Answering>,
    ) -> Result<Response<AnswerBody<B>>, Shed> {
        let answering = answering.ok_or(Shed)?;
        let ambiguous = ambiguous(&request);
        let is_last = answering.is_last || ambiguous.is_some();
        answering.wait_for_turn().await;
        let (method, path) = (request.method(), request.uri().path());
        let health = self.health.as_ref();
        let by_health = || health.and_then(|health| health.answer(method, path));
        // Health checks come first, because some proxies send them without a Host header.
        let mut answer = match by_health().or(ambiguous) {
            Some(answer) => text(answer, answering),
            None => match &mut self.service {
                Some(service) => {
                    let until = Instant::now() + self.limits.body;
                    let request = request.map(|body| RequestBody::new(body, until));
                    let Ok(()) = poll_fn(|context| service.poll_ready(context)).await;
                    let Ok(response) = service.call(request).await;
                    response
                        .map(|body| AnswerBody::new(Content::Service(Box::pin(body)), answering))
                }
                None => text((StatusCode::NOT_FOUND, "not found"), answering),
            },
        };
        if is_last {
            let headers = answer.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answer)
    }
}

/// Returns the response to a request that a proxy could understand in another way than the server
/// (<https://www.rfc-editor.org/rfc/rfc9112#section-3.2>,
/// <https://www.rfc-editor.org/rfc/rfc9112#section-6.1>). hyper accepts these requests.
fn ambiguous<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some((StatusCode::BAD_REQUEST, "request must have one Host header"));
    }
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    // 400 also where RFC 9112 recommends 501, because no request causes a server error.
    let is_supported = codings.next().is_none_or(is_chunked) && codings.next().is_none();
    (!is_supported).then_some((
        StatusCode::BAD_REQUEST,
        "request must not have a transfer coding except chunked",
    ))
}

fn text<B>(
    (status, text): (StatusCode, &'static str),
    answering: Answering,
) -> Response<AnswerBody<B>> {
    let mut answer = Response::new(AnswerBody::new(Content::Text(text), answering));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

/// The error of a request whose connection has lost its place to a newer one.
#[derive(Debug)]
struct Shed;

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection was shed for a newer one")
    }
}

impl StdError for Shed {}
