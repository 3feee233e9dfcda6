//! One credential's conversation with one registry: log in as the registry asks, carry the proof to
//! the registry alone, follow redirects without it.
//!
//! The course is that of docker and containerd: ask `/v2/` once what the registry wants, then send
//! each request with what was learned, and answer one more challenge if the registry insists
//! ([token authentication](https://distribution.github.io/distribution/spec/auth/token/)).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;
use zeroize::Zeroizing;

use super::{
    ClientError, ErrorKind, HttpTransport, Outbound, TransportError, TransportErrorKind,
    challenge::{self, Challenge},
    error::Sent,
    request::{self, Resource},
    token::{self, Token, TokenCache, TokenKey},
};
use crate::{Credential, RegistryHost, quote::Quoted};

/// The state that lives as long as a client does.
#[derive(Debug)]
pub(super) struct Session {
    registry: RegistryHost,
    base: Option<Url>,
    credential: Option<Credential>,
    transport: Arc<dyn HttpTransport>,
    plan: Mutex<Option<Plan>>,
    tokens: TokenCache,
}

/// What the registry wants before it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Plan {
    Basic,
    Bearer { realm: Url, service: Option<String> },
    Open,
}

/// A response, the host that gave it, and what it was shown.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: http::Response<Bytes>,
    pub(super) host: String,
    pub(super) sent: Sent,
    /// A redirect led away from the registry; nothing that is said there is about the credential.
    foreign: bool,
}

/// What goes with a request.
#[derive(Debug)]
enum Authorization {
    Basic,
    Bearer {
        token: Token,
        key: TokenKey,
        fresh: bool,
    },
    Nothing,
}

impl Session {
    pub(super) fn new(
        registry: RegistryHost,
        credential: Option<Credential>,
        transport: Arc<dyn HttpTransport>,
    ) -> Self {
        let base = transport.egress().base_url(&registry);
        Self {
            registry,
            base,
            credential,
            transport,
            plan: Mutex::default(),
            tokens: TokenCache::default(),
        }
    }

    pub(super) fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    pub(super) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// Gets something from the registry, logged in if it asks for that. Any status is an answer.
    pub(super) async fn get(
        &self,
        resource: &Resource,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let plan = self.plan(deadline).await?;
        let authorization = self
            .authorize(plan, resource.scope.clone(), deadline)
            .await?;
        let answer = self.request(resource, &authorization, deadline).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED || answer.foreign {
            return Ok(answer);
        }
        let headers = answer.response.headers();
        match self.next_login(headers, &authorization, resource)? {
            Some((plan, scope)) => {
                let authorization = self.authorize(plan, scope, deadline).await?;
                self.request(resource, &authorization, deadline).await
            }
            None => Ok(answer),
        }
    }

    /// What the registry wants, asked once.
    pub(super) async fn plan(&self, deadline: Instant) -> Result<Plan, ClientError> {
        let known = self
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(plan) = known {
            return Ok(plan);
        }
        let plan = self.ping(deadline).await?;
        self.learn(plan.clone());
        Ok(plan)
    }

    async fn ping(&self, deadline: Instant) -> Result<Plan, ClientError> {
        let ping = Resource::api();
        let answer = match self.request(&ping, &Authorization::Nothing, deadline).await {
            // A page, and a long one.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                return Err(self
                    .error(ErrorKind::NotARegistry)
                    .with_host(error.evidence().host()));
            }
            answer => answer?,
        };
        let is_page = content_type(answer.response.headers())
            .is_some_and(|value| value.starts_with("text/html"));
        match answer.response.status() {
            StatusCode::OK if !is_page => Ok(Plan::Open),
            StatusCode::UNAUTHORIZED if !answer.foreign => {
                match self.offer(answer.response.headers())? {
                    Some((plan, _)) => Ok(plan),
                    None => Err(self.not_a_registry(&answer)),
                }
            }
            StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => {
                Err(self.not_a_registry(&answer))
            }
            _ => Err(self.failure(&answer)),
        }
    }

    fn learn(&self, plan: Plan) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
    }

    async fn authorize(
        &self,
        plan: Plan,
        scope: Option<String>,
        deadline: Instant,
    ) -> Result<Authorization, ClientError> {
        match plan {
            Plan::Basic if self.has_credential() => Ok(Authorization::Basic),
            Plan::Basic | Plan::Open => Ok(Authorization::Nothing),
            Plan::Bearer { realm, service } => {
                let key = TokenKey {
                    realm,
                    service,
                    scope,
                };
                let (token, fresh) = match self.tokens.get(&key, Instant::now()) {
                    Some(token) => (token, false),
                    None => (self.fetch_token(&key, deadline).await?, true),
                };
                Ok(Authorization::Bearer { token, key, fresh })
            }
        }
    }

    /// What to try after a 401; `None` when it would be what was refused already.
    fn next_login(
        &self,
        headers: &HeaderMap,
        tried: &Authorization,
        resource: &Resource,
    ) -> Result<Option<(Plan, Option<String>)>, ClientError> {
        let Some((plan, scope)) = self.offer(headers)? else {
            return Ok(None);
        };
        let scope = scope.or_else(|| resource.scope.clone());
        match (&plan, tried) {
            (Plan::Open, _) | (Plan::Basic, Authorization::Basic) => return Ok(None),
            (Plan::Basic, _) if !self.has_credential() => return Ok(None),
            (Plan::Bearer { realm, service }, Authorization::Bearer { key, fresh, .. }) => {
                let same = key.realm == *realm && key.service == *service && key.scope == scope;
                if same && *fresh {
                    return Ok(None);
                }
                if same {
                    self.tokens.remove(key);
                }
            }
            (Plan::Basic | Plan::Bearer { .. }, _) => {}
        }
        self.learn(plan.clone());
        Ok(Some((plan, scope)))
    }

    /// The login that a response offers and the scope it names; `None` when it offers none.
    ///
    /// Bearer goes before Basic. A Bearer challenge that cannot be used is an error: sending the
    /// password instead would let anyone who garbles a header ask for it.
    fn offer(&self, headers: &HeaderMap) -> Result<Option<(Plan, Option<String>)>, ClientError> {
        let challenges = challenge::parse_all(headers).map_err(|reason| {
            self.error(ErrorKind::InvalidResponse)
                .with_detail(format_args!(
                    "its WWW-Authenticate header is refused, {reason}"
                ))
        })?;
        let with = |scheme| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme() == scheme)
        };
        if let Some(challenge) = with("bearer") {
            let realm = self.realm(challenge)?;
            let service = challenge.parameter("service").map(str::to_owned);
            let scope = challenge.parameter("scope").map(str::to_owned);
            return Ok(Some((Plan::Bearer { realm, service }, scope)));
        }
        if with("basic").is_some() {
            return Ok(Some((Plan::Basic, None)));
        }
        match challenges.first() {
            None => Ok(None),
            Some(other) => Err(self
                .error(ErrorKind::InvalidResponse)
                .with_detail(format_args!(
                    "it offers the login {} and neither \"basic\" nor \"bearer\"",
                    Quoted(other.scheme())
                ))),
        }
    }

    /// The token server of a Bearer challenge, if it may have the credential.
    fn realm(&self, challenge: &Challenge) -> Result<Url, ClientError> {
        let invalid = || {
            self.error(ErrorKind::InvalidResponse)
                .with_detail("it names no readable token server")
        };
        let base = self.base()?;
        let realm = challenge.parameter("realm").ok_or_else(invalid)?;
        let realm = base.join(realm).map_err(|_| invalid())?;
        if realm.host_str().is_none() || realm.fragment().is_some() {
            return Err(invalid());
        }
        if self
            .transport
            .egress()
            .trusts_realm(&self.registry, base, &realm)
        {
            Ok(realm)
        } else {
            let host = authority(&realm);
            Err(self
                .error(ErrorKind::RealmNotTrusted)
                .with_detail(Quoted(&host))
                .with_host(&host))
        }
    }

    /// Asks the token server. It was trusted when its challenge was read.
    async fn fetch_token(&self, key: &TokenKey, deadline: Instant) -> Result<Token, ClientError> {
        let url = key.url();
        let mut headers = HeaderMap::new();
        let sent = match self.basic() {
            Some(value) => {
                headers.insert(header::AUTHORIZATION, value);
                Sent::Credential
            }
            None => Sent::Nothing,
        };
        let mut answer = self
            .follow(
                url,
                headers,
                Bounds {
                    limit: TOKEN_LIMIT,
                    deadline,
                    may_leave: false,
                },
            )
            .await?;
        answer.sent = sent;
        if answer.response.status() == StatusCode::NOT_FOUND {
            let error = self
                .error(ErrorKind::InvalidResponse)
                .with_host(&answer.host);
            return Err(error.with_detail("its token server answers 404"));
        }
        if answer.response.status() != StatusCode::OK {
            return Err(self.failure(&answer));
        }
        let (token, lifetime) = token::read(answer.response.body()).map_err(|reason| {
            let error = self
                .error(ErrorKind::InvalidResponse)
                .with_host(&answer.host);
            error.with_detail(format_args!(
                "its token server's answer is refused, {reason}"
            ))
        })?;
        self.tokens
            .insert(key.clone(), token.clone(), Instant::now() + lifetime);
        Ok(token)
    }

    async fn request(
        &self,
        resource: &Resource,
        authorization: &Authorization,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let url = resource
            .url(self.base()?)
            .ok_or_else(|| self.error(ErrorKind::NotARegistry))?;
        let mut headers = resource.headers();
        let (value, sent) = match authorization {
            Authorization::Nothing => (None, Sent::Nothing),
            Authorization::Basic => (self.basic(), Sent::Credential),
            Authorization::Bearer { token, .. } => {
                let sent = if self.has_credential() {
                    Sent::Token
                } else {
                    Sent::Nothing
                };
                (secret_header("Bearer ", token.expose()), sent)
            }
        };
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, value);
        }
        let bounds = Bounds {
            limit: resource.limit,
            deadline,
            may_leave: true,
        };
        let mut answer = self.follow(url, headers, bounds).await?;
        answer.sent = sent;
        Ok(answer)
    }

    /// Sends a GET and follows redirects, judging every hop. `Authorization` goes to the first
    /// origin only, and never comes back.
    async fn follow(
        &self,
        mut url: Url,
        mut headers: HeaderMap,
        bounds: Bounds,
    ) -> Result<Answer, ClientError> {
        let mut foreign = false;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, headers.clone(), bounds).await?;
            let location = response
                .headers()
                .get(header::LOCATION)
                .filter(|_| is_redirect(response.status()));
            let Some(location) = location else {
                return Ok(Answer {
                    response,
                    host: authority(&url),
                    sent: Sent::Nothing,
                    foreign,
                });
            };
            let next = location
                .to_str()
                .ok()
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| {
                    self.error(ErrorKind::InvalidResponse)
                        .with_detail("it redirects to an unreadable address")
                })?;
            if url.scheme() == "https" && next.scheme() != "https" {
                let error = self.error(ErrorKind::Blocked).with_host(&authority(&next));
                return Err(error.with_detail("it redirects away from https"));
            }
            if next.origin() != url.origin() {
                if !bounds.may_leave {
                    let host = authority(&next);
                    return Err(self
                        .error(ErrorKind::RealmNotTrusted)
                        .with_detail(Quoted(&host))
                        .with_host(&host));
                }
                headers.remove(header::AUTHORIZATION);
                foreign = true;
            }
            url = next;
        }
        let error = self
            .error(ErrorKind::InvalidResponse)
            .with_host(&authority(&url));
        Err(error.with_detail(format_args!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// One exchange, judged before it leaves and logged without headers, query and body.
    async fn send(
        &self,
        url: &Url,
        headers: HeaderMap,
        bounds: Bounds,
    ) -> Result<http::Response<Bytes>, ClientError> {
        let host = authority(url);
        self.transport.egress().check_url(url).map_err(|blocked| {
            self.error(ErrorKind::Blocked)
                .with_detail(blocked)
                .with_host(&host)
        })?;
        let request = request::get(url, headers).ok_or_else(|| {
            self.error(ErrorKind::InvalidResponse)
                .with_detail("it leads to an unreadable address")
        })?;
        let started = Instant::now();
        let exchange = self
            .transport
            .send(Outbound::new(request, bounds.limit, bounds.deadline));
        let result = tokio::time::timeout_at(bounds.deadline.into(), exchange)
            .await
            .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)));
        log(&host, &result, started);
        result.map_err(|error| ClientError::transport(self.registry.as_str(), &host, error))
    }

    fn basic(&self) -> Option<HeaderValue> {
        secret_header("Basic ", &self.credential.as_ref()?.expose_basic())
    }

    fn base(&self) -> Result<&Url, ClientError> {
        self.base
            .as_ref()
            .ok_or_else(|| self.error(ErrorKind::NotARegistry))
    }

    pub(super) fn error(&self, kind: ErrorKind) -> ClientError {
        ClientError::new(kind, self.registry.as_str())
    }

    /// What an answer without success means.
    pub(super) fn failure(&self, answer: &Answer) -> ClientError {
        if answer.foreign && !answer.response.status().is_server_error() {
            let error = self
                .error(ErrorKind::InvalidResponse)
                .with_host(&answer.host);
            return error.with_detail(format_args!(
                "it redirects to {}, which refuses",
                Quoted(&answer.host)
            ));
        }
        ClientError::response(
            self.registry.as_str(),
            &answer.host,
            answer.sent,
            &answer.response,
        )
    }

    fn not_a_registry(&self, answer: &Answer) -> ClientError {
        self.error(ErrorKind::NotARegistry)
            .with_evidence(&answer.host, answer.response.status())
    }
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    limit: usize,
    deadline: Instant,
    may_leave: bool,
}

/// The most redirects that one request follows.
const MAX_REDIRECTS: usize = 5;

/// The most bytes of a token server's answer.
const TOKEN_LIMIT: usize = 64 * 1024;

/// Method, host, outcome and duration; never a header, a query or a body.
fn log(host: &str, result: &Result<http::Response<Bytes>, TransportError>, started: Instant) {
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(response) => {
            let status = response.status().as_u16();
            tracing::debug!(
                method = "GET",
                host,
                status,
                duration_ms,
                "registry answered"
            );
        }
        Err(error) => {
            let error = error.kind();
            tracing::debug!(method = "GET", host, ?error, duration_ms, "no answer");
        }
    }
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

/// Host, and port unless it is the scheme's.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
