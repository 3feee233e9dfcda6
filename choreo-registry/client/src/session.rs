//! The exchanges of one credential with one registry: logs in as the registry requires, sends the
//! credential to the registry only, and follows redirects without it.
//!
//! The sequence is that of docker and containerd: request `/v2/` once to learn which login the
//! registry requires, send each request with that login, and respond to one more challenge if the
//! registry insists ([token
//! authentication](https://distribution.github.io/distribution/spec/auth/token/)).
//!
//! The state of a session (the login that the registry requires, tokens) is written as a whole and
//! between two exchanges: a call that is dropped at any point leaves no partial state.

mod login;
mod ping;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tracing::{Instrument as _, Span, field};
use url::Url;
use zeroize::Zeroizing;

use self::login::Authorization;
pub(super) use self::login::Plan;
use choreo_registry::{Credential, RegistryHost, quote::Quoted};

use crate::{
    ClientError, ErrorKind, Evidence,
    address::{Address, Addresses, Authority},
    disguise::Page,
    error, gzip,
    meaning::{Meaning, Place, Sent, Situation},
    request::{self, Headers, Resource},
    retry::{DEFAULT_RETRIES, Outcome, Retries},
    token::TokenCache,
    transport::{HttpTransport, Outbound, TransportError, TransportErrorKind},
};

/// The state that lives as long as a client does.
#[derive(Debug)]
pub(super) struct Session {
    registry: RegistryHost,
    base: Option<Url>,
    addresses: Addresses,
    credential: Option<Held>,
    transport: Arc<dyn HttpTransport>,
    retries: Retries,
    plan: Mutex<Option<Plan>>,
    /// Locked by the call that learns which login the registry requires.
    asking: tokio::sync::Mutex<()>,
    tokens: TokenCache,
    /// The token server has accepted a POST after it had rejected the GET.
    posts: AtomicBool,
    /// `/v2/` requires a login, so its success proves the credential.
    is_guarded: AtomicBool,
    /// The registry or its token server has accepted the credential.
    is_proven: AtomicBool,
    /// `/v2/`, which has no repository to deny, has refused the credential.
    is_refused: AtomicBool,
}

/// A credential and its number within the client: a token of an earlier credential is not used for
/// a later one.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) version: u64,
    pub(super) credential: Arc<Credential>,
}

/// A response, its origin, and the login that was sent for it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: http::Response<Bytes>,
    /// The kind of page, if the response does not come from a registry.
    page: Option<Page>,
    address: Arc<Address>,
    place: Place,
    sent: Sent,
    /// A redirect left the registry; the response says nothing about the credential.
    foreign: bool,
}

impl Answer {
    /// The host that sent the response.
    pub(super) fn host(&self) -> String {
        self.address.authority().to_string()
    }

    /// Returns its host and status.
    pub(super) fn evidence(&self) -> Evidence {
        Evidence::of(&self.host(), self.response.status())
    }

    /// Marks this as the answer to a request for this resource with this login.
    fn to(self, resource: &Resource<'_>, sent: Sent) -> Self {
        Self {
            sent,
            place: resource.place(),
            ..self
        }
    }
}

/// The request to one URL, with its limits.
#[derive(Debug)]
struct Ask {
    method: Method,
    headers: Headers,
    body: Bytes,
    limit: usize,
    deadline: Instant,
    may_leave: bool,
}

impl Session {
    pub(super) fn new(
        registry: RegistryHost,
        credential: Option<Credential>,
        transport: Arc<dyn HttpTransport>,
    ) -> Self {
        let base = transport.egress().base_url(&registry);
        let held = |credential| Held {
            version: 0,
            credential: Arc::new(credential),
        };
        Self {
            registry,
            base,
            addresses: Addresses::default(),
            credential: credential.map(held),
            transport,
            retries: Retries::new(DEFAULT_RETRIES),
            plan: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            tokens: TokenCache::default(),
            posts: AtomicBool::default(),
            is_guarded: AtomicBool::default(),
            is_proven: AtomicBool::default(),
            is_refused: AtomicBool::default(),
        }
    }

    pub(super) fn with_retries(self, limit: u8) -> Self {
        Self {
            retries: Retries::new(limit),
            ..self
        }
    }

    pub(super) fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    pub(super) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// Gets a resource of the registry, with a login if that is required. Any status is an answer.
    ///
    /// If a refusal may mean a wrong login as well as a missing permission, a further request
    /// checks the login alone, so that [`failure`](Self::failure) can distinguish them.
    pub(super) async fn get(
        &self,
        resource: &Resource<'_>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let plan = self.plan(deadline).await?;
        let scope = || resource.scope();
        let authorization = self.authorize(plan.clone(), scope, deadline).await?;
        let mut answer = self.request(resource, &authorization, deadline).await?;
        if let Some((plan, scope)) = self.next_login(&answer, &authorization, resource)? {
            let authorization = self.authorize(plan.clone(), || scope, deadline).await?;
            answer = self.request(resource, &authorization, deadline).await?;
            if answer.response.status() != StatusCode::UNAUTHORIZED {
                self.learn(plan);
            }
        } else if let Plan::Silent(odd) = plan
            && !answer.is_from_registry(resource)
        {
            return Err(self.silence(&odd));
        }
        if answer.foreign && answer.response.status() == StatusCode::UNAUTHORIZED {
            answer = self.as_anyone(answer, resource, deadline).await?;
        }
        if self.meaning(&answer).is_ambiguous {
            self.prove_at_root(deadline).await;
        }
        Ok(answer)
    }

    /// Returns the login that the registry requires. Concurrent callers share one request.
    pub(super) async fn plan(&self, deadline: Instant) -> Result<Plan, ClientError> {
        if let Some(plan) = self.known_plan() {
            return Ok(plan);
        }
        let _asking = self.turn(self.asking.lock(), deadline).await?;
        if let Some(plan) = self.known_plan() {
            return Ok(plan);
        }
        let plan = self.ping(deadline).await?;
        if plan.lasts() {
            self.learn(plan.clone());
        }
        Ok(plan)
    }

    /// Returns whether the registry or its token server has accepted the credential.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// Returns whether the registry has required a login.
    pub(super) fn logs_in(&self) -> bool {
        matches!(self.known_plan(), Some(Plan::Basic | Plan::Bearer { .. }))
    }

    fn known_plan(&self) -> Option<Plan> {
        self.plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn learn(&self, plan: Plan) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
    }

    /// Waits for a lock, but not beyond the deadline.
    async fn turn<T>(
        &self,
        lock: impl Future<Output = T>,
        deadline: Instant,
    ) -> Result<T, ClientError> {
        tokio::time::timeout_at(deadline.into(), lock)
            .await
            .map_err(|_| {
                let host = self.base.as_ref().map(|base| Authority(base).to_string());
                let host = host.unwrap_or_default();
                let timeout = TransportError::new(TransportErrorKind::Timeout);
                ClientError::transport(self.registry.as_str(), &host, timeout)
            })
    }

    async fn request(
        &self,
        resource: &Resource<'_>,
        authorization: &Authorization,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let base = self.base()?;
        let address = self
            .addresses
            .of(&resource.path, || resource.url(base))
            .ok_or_else(|| self.error(ErrorKind::NotARegistry))?;
        let (ask, sent) = ask(resource, authorization, deadline);
        let answer = self.follow(address, ask).await?;
        Ok(answer.to(resource, sent))
    }

    /// Sends a request and follows redirects; the egress policy checks each hop. `Authorization`
    /// is sent to the first origin only, and is not sent again after a redirect elsewhere. A
    /// request with a body stays at its origin, with its method.
    async fn follow(&self, mut address: Arc<Address>, mut ask: Ask) -> Result<Answer, ClientError> {
        let mut foreign = false;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&address, &ask).await?;
            let Some(next) = self.redirected(&address, &ask, &response)? else {
                return Ok(Answer {
                    page: Page::of(&response),
                    response,
                    address,
                    place: Place::Api,
                    sent: Sent::Nothing,
                    foreign,
                });
            };
            if next.origin() != address.url().origin() {
                if !ask.may_leave {
                    return Err(self.untrusted(&next));
                }
                ask.headers.authorization = None;
                foreign = true;
            }
            address = Arc::new(Address::new(next));
        }
        let error = self
            .error(ErrorKind::InvalidResponse)
            .with_host(&address.authority().to_string());
        Err(error.with_detail(format_args!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Returns the target of a redirect; `None` if the response is not a redirect.
    fn redirected(
        &self,
        address: &Address,
        ask: &Ask,
        response: &http::Response<Bytes>,
    ) -> Result<Option<Url>, ClientError> {
        let status = response.status();
        let Some(location) = response
            .headers()
            .get(header::LOCATION)
            .filter(|_| is_redirect(status))
        else {
            return Ok(None);
        };
        let invalid = |detail: &str| {
            let error = self.error(ErrorKind::InvalidResponse);
            error
                .with_host(&address.authority().to_string())
                .with_detail(detail)
        };
        let url = address.url();
        let next = location
            .to_str()
            .ok()
            .and_then(|location| url.join(location).ok())
            .ok_or_else(|| invalid("it redirects to an unreadable address"))?;
        if url.scheme() == "https" && next.scheme() != "https" {
            let error = self
                .error(ErrorKind::Blocked)
                .with_host(&Authority(&next).to_string());
            return Err(error.with_detail("it redirects away from https"));
        }
        // RFC 9110, section 15.4: only these two keep the method and the body.
        let keeps = matches!(
            status,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        if ask.method == Method::POST && !keeps {
            return Err(invalid("its token server redirects a login elsewhere"));
        }
        Ok(Some(next))
    }

    /// Performs one exchange, and retries transient failures.
    async fn send(
        &self,
        address: &Arc<Address>,
        ask: &Ask,
    ) -> Result<http::Response<Bytes>, ClientError> {
        let egress = self.transport.egress();
        egress.check_url(address.url()).map_err(|blocked| {
            self.error(ErrorKind::Blocked)
                .with_detail(blocked)
                .with_host(&address.authority().to_string())
        })?;
        let mut attempt = 1;
        loop {
            let result = self.attempt(address, ask, attempt).await?;
            let outcome = Outcome::of(&result, error::retry_after);
            let left = ask.deadline.saturating_duration_since(now());
            let Some(wait) = self.retries.wait(attempt, outcome, left) else {
                return result.map_err(|error| {
                    let host = address.authority().to_string();
                    ClientError::transport(self.registry.as_str(), &host, error)
                });
            };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Performs one exchange in a separate span.
    async fn attempt(
        &self,
        address: &Arc<Address>,
        ask: &Ask,
        attempt: u8,
    ) -> Result<Result<http::Response<Bytes>, TransportError>, ClientError> {
        let (method, body) = (ask.method.clone(), ask.body.clone());
        let request = request::build(method, address, &ask.headers, body).ok_or_else(|| {
            self.error(ErrorKind::InvalidResponse)
                .with_detail("it leads to an unreadable address")
        })?;
        let span = span(&ask.method, address, attempt);
        let started = now();
        let exchange = self
            .transport
            .send(Outbound::new(request, ask.limit, ask.deadline).to(Arc::clone(address)))
            .instrument(span.clone());
        let result = tokio::time::timeout_at(ask.deadline.into(), exchange)
            .await
            .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
            .and_then(|response| bounded(response, ask.limit))
            .and_then(|response| gzip::decoded(response, ask.limit));
        close(&span, &result, now().saturating_duration_since(started));
        Ok(result)
    }

    pub(super) fn base(&self) -> Result<&Url, ClientError> {
        self.base
            .as_ref()
            .ok_or_else(|| self.error(ErrorKind::NotARegistry))
    }

    pub(super) fn error(&self, kind: ErrorKind) -> ClientError {
        ClientError::new(kind, self.registry.as_str())
    }

    /// Returns the error for an answer without success.
    pub(super) fn failure(&self, answer: &Answer) -> ClientError {
        if answer.foreign && !answer.response.status().is_server_error() {
            let error = self
                .error(ErrorKind::InvalidResponse)
                .with_host(&answer.host());
            return error.with_detail(format_args!(
                "it redirects to {}, which refuses",
                Quoted::new(&answer.host())
            ));
        }
        let meaning = self.meaning(answer);
        let error = self
            .error(meaning.kind)
            .with_evidence(Evidence::read(&answer.host(), &answer.response));
        let error = match answer.page {
            Some(page) => error.with_page(format_args!("it answers with {}", page.name())),
            None => error,
        };
        if meaning.is_ambiguous {
            error.with_doubt()
        } else {
            error
        }
    }

    fn meaning(&self, answer: &Answer) -> Meaning {
        let code = error::error_code(answer.response.body());
        let situation = Situation {
            place: answer.place,
            sent: answer.sent,
            proven: self.is_proven(),
            refused: self.is_refused.load(Ordering::Relaxed),
            page: answer.page,
        };
        Meaning::of(answer.response.status(), code.as_deref(), situation)
    }
}

/// Returns the request for a resource, and the kind of login that it shows.
fn ask(resource: &Resource<'_>, authorization: &Authorization, deadline: Instant) -> (Ask, Sent) {
    let (authorization, sent) = authorization.header();
    let headers = Headers {
        accept: resource.accept.clone(),
        authorization,
        content_type: None,
    };
    let ask = Ask {
        method: resource.method.clone(),
        headers,
        body: Bytes::new(),
        limit: resource.limit,
        deadline,
        may_leave: true,
    };
    (ask, sent)
}

/// The most redirects that one request follows.
const MAX_REDIRECTS: usize = 5;

/// The clock of deadlines and tokens: Tokio's, so that tests can advance it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The span of an exchange: method, host, attempt, and later the outcome and the duration; never a
/// header, a query or a body.
fn span(method: &Method, address: &Address, attempt: u8) -> Span {
    tracing::debug_span!(
        "registry_request",
        %method,
        host = %address.authority(),
        attempt,
        status = field::Empty,
        error = field::Empty,
        duration_ms = field::Empty,
    )
}

fn close(span: &Span, result: &Result<http::Response<Bytes>, TransportError>, duration: Duration) {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    span.record("duration_ms", duration_ms);
    match result {
        Ok(response) => {
            span.record("status", response.status().as_u16());
            span.in_scope(|| tracing::debug!("registry answered"));
        }
        Err(error) => {
            span.record("error", field::debug(error.kind()));
            span.in_scope(|| tracing::debug!("no answer"));
        }
    }
}

/// Checks the limit again, because a custom transport may violate its contract.
fn bounded(
    response: http::Response<Bytes>,
    limit: usize,
) -> Result<http::Response<Bytes>, TransportError> {
    if response.body().len() > limit {
        return Err(TransportError::new(TransportErrorKind::TooLarge));
    }
    Ok(response)
}

/// The `Content-Type` of a response.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// A header value that HTTP libraries and `Debug` do not show.
fn secret_header(scheme: &str, secret: &str) -> Option<HeaderValue> {
    let mut text = Zeroizing::new(String::with_capacity(scheme.len() + secret.len()));
    text.extend([scheme, secret]);
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
