//! Logins: the authentication that a registry requires, the token servers that may receive the
//! credential, and the tokens that they issue.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use choreo_registry::quote::Quoted;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use url::Url;

use super::{Answer, Ask, Held, Session, now, ping::Odd, secret_header};
use crate::{
    ClientError, ErrorKind,
    address::{Address, Authority},
    challenge::{self, Challenge, ChallengeError},
    disguise::Page,
    meaning::{Place, Sent},
    request::{Headers, Resource},
    scope,
    token::{self, Token, TokenKey},
};

/// The login that the registry requires.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
    Open,
    /// `/v2/` does not name the login.
    Silent(Arc<Odd>),
}

/// The authorization of a request.
#[derive(Debug)]
pub(super) enum Authorization {
    Basic(Held),
    Bearer {
        token: Token,
        key: Box<TokenKey>,
        fresh: bool,
    },
    Nothing,
}

impl Authorization {
    /// Returns the header's value, and the kind of login in it.
    pub(super) fn header(&self) -> (Option<HeaderValue>, Sent) {
        match self {
            Self::Nothing => (None, Sent::Nothing),
            Self::Basic(held) => (basic(held), Sent::Credential),
            Self::Bearer { token, key, .. } => {
                let sent = match key.credential {
                    Some(_) => Sent::Token,
                    None => Sent::Nothing,
                };
                (secret_header("Bearer ", token.expose()), sent)
            }
        }
    }
}

/// The two kinds of requests to a token server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Grant {
    /// `GET` with Basic authentication, which every token server supports.
    Get,
    /// `POST` of an OAuth 2.0 form.
    Post,
}

/// A token to request, with the credential for it.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    key: &'a TokenKey,
    held: Option<&'a Held>,
    deadline: Instant,
}

impl Session {
    pub(super) async fn authorize(
        &self,
        plan: Plan,
        scope: impl FnOnce() -> Option<String>,
        deadline: Instant,
    ) -> Result<Authorization, ClientError> {
        let held = self.credential.clone();
        match (plan, held) {
            (Plan::Basic, Some(held)) => Ok(Authorization::Basic(held)),
            (Plan::Basic, None) | (Plan::Open | Plan::Silent(_), _) => Ok(Authorization::Nothing),
            (Plan::Bearer { realm, service }, held) => {
                let key = TokenKey {
                    credential: held.as_ref().map(|held| held.version),
                    origin: self.base()?.origin(),
                    realm,
                    service,
                    scope: scope(),
                };
                self.bearer(key, held, deadline).await
            }
        }
    }

    /// Returns the token of this key, from the cache or from the token server. Concurrent callers
    /// share one request.
    async fn bearer(
        &self,
        key: TokenKey,
        held: Option<Held>,
        deadline: Instant,
    ) -> Result<Authorization, ClientError> {
        let known = |fresh| {
            let token = self.tokens.get(&key, now())?;
            let key = Box::new(key.clone());
            Some(Authorization::Bearer { token, key, fresh })
        };
        if let Some(authorization) = known(false) {
            return Ok(authorization);
        }
        let lock = self.tokens.lock(&key);
        let _asking = self.turn(lock.lock(), deadline).await?;
        if let Some(authorization) = known(true) {
            return Ok(authorization);
        }
        let held = held.as_ref();
        let key = &key;
        let wish = Wish {
            key,
            held,
            deadline,
        };
        let token = self.fetch_token(wish).await?;
        let key = Box::new(key.clone());
        Ok(Authorization::Bearer {
            token,
            key,
            fresh: true,
        })
    }

    /// Returns the login to try after an answer; `None` if the answer is final, or if the login
    /// would repeat a refused one.
    ///
    /// A 401 requires another login, and so does a 403 with `insufficient_scope` ([RFC 6750,
    /// section 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)).
    pub(super) fn next_login(
        &self,
        answer: &Answer,
        tried: &Authorization,
        resource: &Resource<'_>,
    ) -> Result<Option<(Plan, Option<String>)>, ClientError> {
        let headers = answer.response.headers();
        let asks = match answer.response.status() {
            StatusCode::UNAUTHORIZED => true,
            StatusCode::FORBIDDEN => wants_more_scope(headers),
            _ => false,
        };
        if !asks || answer.foreign {
            return Ok(None);
        }
        let Some((plan, scope)) = self.offer(headers)? else {
            return Ok(None);
        };
        let scope = scope.or_else(|| resource.scope());
        match (&plan, tried) {
            (Plan::Open | Plan::Silent(_), _) | (Plan::Basic, Authorization::Basic(_)) => {
                return Ok(None);
            }
            (Plan::Basic, _) if !self.has_credential() => return Ok(None),
            (Plan::Bearer { realm, service }, Authorization::Bearer { key, fresh, .. }) => {
                let same = key.asks(realm, service.as_deref(), scope.as_deref());
                if same && *fresh {
                    return Ok(None);
                }
                if same {
                    self.tokens.remove(key);
                }
            }
            (Plan::Basic | Plan::Bearer { .. }, _) => {}
        }
        Ok(Some((plan, scope)))
    }

    /// Returns the login that a response offers and the scope it names; `None` if it offers none.
    ///
    /// Bearer is preferred to Basic. A Bearer challenge that cannot be used is an error: if the
    /// password were sent instead, anyone who can corrupt a header could obtain it.
    pub(super) fn offer(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<(Plan, Option<String>)>, ClientError> {
        let challenges = challenge::parse_all(headers).map_err(|reason| self.garbled(reason))?;
        let with = |scheme| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme() == scheme)
        };
        if let Some(challenge) = with("bearer") {
            let realm = self.realm(challenge)?;
            let service = challenge.parameter("service").map(str::to_owned);
            let scope = challenge.parameter("scope").and_then(scope::for_reading);
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
                    Quoted::new(other.scheme())
                ))),
        }
    }

    /// Requests a resource from the target of a redirect with an anonymous token of that target.
    /// If this fails, the refusal is final.
    ///
    /// Registries of projects redirect so to the registries of clouds. The credential does not
    /// belong to the target, so no answer of the target may request it. The target may not name a
    /// token server of another origin either: that server may trust the client's address, and the
    /// target would receive its token.
    pub(super) async fn as_anyone(
        &self,
        refused: Answer,
        resource: &Resource<'_>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let Some(key) = self.foreign_key(&refused) else {
            return Ok(refused);
        };
        let Ok(authorization) = self.bearer(key, None, deadline).await else {
            return Ok(refused);
        };
        let (ask, sent) = super::ask(resource, &authorization, deadline);
        let answer = self.follow(refused.address, ask).await?;
        Ok(Answer {
            foreign: true,
            ..answer.to(resource, sent)
        })
    }

    /// Returns the key of the anonymous token that this answer offers.
    fn foreign_key(&self, refused: &Answer) -> Option<TokenKey> {
        let challenges = challenge::parse_all(refused.response.headers()).ok()?;
        let challenge = challenges.iter().find(|one| one.scheme() == "bearer")?;
        let here = refused.address.url();
        let realm = here.join(challenge.parameter("realm")?).ok()?;
        let host = refused.host().parse().ok()?;
        let egress = self.transport.egress();
        let is_its_own = egress.trusts_realm(&host, here, &realm) && realm.fragment().is_none();
        is_its_own.then(|| TokenKey {
            credential: None,
            origin: here.origin(),
            realm,
            service: challenge.parameter("service").map(str::to_owned),
            scope: challenge.parameter("scope").and_then(scope::for_reading),
        })
    }

    fn garbled(&self, reason: ChallengeError) -> ClientError {
        self.error(ErrorKind::InvalidResponse)
            .with_detail(format_args!(
                "its WWW-Authenticate header is refused, {reason}"
            ))
    }

    /// Returns the token server of a Bearer challenge, if it may receive the credential.
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
        // This check also applies without a credential: a token server may trust the client's
        // address, and the registry that named it would receive the token.
        let egress = self.transport.egress();
        if egress.trusts_realm(&self.registry, base, &realm) {
            Ok(realm)
        } else {
            Err(self.untrusted(&realm))
        }
    }

    /// Returns the error that names both hosts: the registry's, and that of its token server.
    pub(super) fn untrusted(&self, url: &Url) -> ClientError {
        let host = Authority(url).to_string();
        let error = self.error(ErrorKind::RealmNotTrusted).with_host(&host);
        // Without the scheme, the host could look like a trusted one.
        if url.scheme() == "http" {
            error.with_detail(Quoted::new(&format!("http://{host}")))
        } else {
            error.with_detail(Quoted::new(&host))
        }
    }

    /// Requests a token from the token server, which was trusted when its challenge was read. If
    /// the server does not support this kind of request, the other kind follows.
    async fn fetch_token(&self, wish: Wish<'_>) -> Result<Token, ClientError> {
        let answer = self.ask_token_both_ways(wish).await?;
        let invalid = || {
            self.error(ErrorKind::InvalidResponse)
                .with_host(&answer.host())
        };
        let status = answer.response.status();
        if !status.is_success() {
            if self.meaning(&answer).is_ambiguous {
                self.prove_at_token_server(wish).await;
            }
            let error = self.failure(&answer);
            return Err(match (error.kind(), answer.page) {
                (ErrorKind::InvalidResponse, Some(page)) => error.with_page(of_page(page, status)),
                (ErrorKind::InvalidResponse, None) => {
                    error.with_detail(format_args!("its token server answers {}", status.as_u16()))
                }
                _ => error,
            });
        }
        let (token, lifetime) =
            token::read(answer.response.body(), Timestamp::now()).map_err(|reason| match answer
                .page
            {
                Some(page) => invalid().with_page(of_page(page, status)),
                None => invalid().with_detail(format_args!(
                    "its token server's answer is refused, {reason}"
                )),
            })?;
        if wish.held.is_some() {
            self.is_proven.store(true, Ordering::Relaxed);
        }
        self.tokens
            .insert(wish.key.clone(), token.clone(), now() + lifetime);
        Ok(token)
    }

    async fn ask_token_both_ways(&self, wish: Wish<'_>) -> Result<Answer, ClientError> {
        let first = self.first_grant(wish.held);
        let answer = self.ask_token(first, wish).await?;
        let Some(second) = second_grant(first, answer.response.status(), wish.held) else {
            return Ok(answer);
        };
        let answer = self.ask_token(second, wish).await?;
        let works = answer.response.status().is_success();
        self.posts
            .store(works && second == Grant::Post, Ordering::Relaxed);
        Ok(answer)
    }

    /// Requests a token without access rights after one with access rights was refused: its
    /// success distinguishes a missing permission from a wrong login. If the request fails, the
    /// refusal remains ambiguous.
    async fn prove_at_token_server(&self, wish: Wish<'_>) {
        let key = TokenKey {
            scope: None,
            ..wish.key.clone()
        };
        let alone = Wish { key: &key, ..wish };
        let answer = self.ask_token(self.first_grant(wish.held), alone).await;
        let brings_token = |answer: Answer| {
            let response = &answer.response;
            response.status().is_success() && token::read(response.body(), Timestamp::now()).is_ok()
        };
        if answer.is_ok_and(brings_token) {
            self.is_proven.store(true, Ordering::Relaxed);
        }
    }

    fn first_grant(&self, held: Option<&Held>) -> Grant {
        match held {
            Some(held)
                if token::is_refresh_token(&held.credential)
                    || self.posts.load(Ordering::Relaxed) =>
            {
                Grant::Post
            }
            _ => Grant::Get,
        }
    }

    async fn ask_token(&self, grant: Grant, wish: Wish<'_>) -> Result<Answer, ClientError> {
        let Wish {
            key,
            held,
            deadline,
        } = wish;
        let mut ask = Ask {
            method: Method::GET,
            headers: Headers::default(),
            body: Bytes::new(),
            limit: TOKEN_LIMIT,
            deadline,
            may_leave: false,
        };
        let url = match (grant, held) {
            (Grant::Post, Some(held)) => {
                ask.method = Method::POST;
                ask.body = key.form(&held.credential);
                ask.headers.content_type = Some(FORM);
                key.realm.clone()
            }
            (Grant::Get | Grant::Post, held) => {
                ask.headers.authorization = held.and_then(basic);
                key.url()
            }
        };
        let mut answer = self.follow(Arc::new(Address::new(url)), ask).await?;
        answer.sent = match held {
            Some(_) => Sent::Credential,
            None => Sent::Nothing,
        };
        answer.place = Place::TokenServer {
            for_repository: key.scope.is_some(),
        };
        Ok(answer)
    }
}

/// Returns the other kind of request, after an answer that a token server gives to an unsupported
/// kind.
///
/// Servers without OAuth 2.0 answer a POST in four ways: Azure's with 400, JFrog's with 401,
/// Google's with 404, others with 405. An unsupported GET is answered with 404 or 405 only: its
/// 400 and 401 concern the content of the request.
fn second_grant(first: Grant, status: StatusCode, held: Option<&Held>) -> Option<Grant> {
    match (first, status.as_u16()) {
        (Grant::Get, 404 | 405) => held.map(|_| Grant::Post),
        (Grant::Post, 400 | 401 | 404 | 405) => Some(Grant::Get),
        (Grant::Get | Grant::Post, _) => None,
    }
}

fn of_page(page: Page, status: StatusCode) -> String {
    let (status, page) = (status.as_u16(), page.name());
    format!("its token server answers {status} with {page}")
}

/// Returns whether a 403 requires a token with a larger scope.
fn wants_more_scope(headers: &HeaderMap) -> bool {
    challenge::parse_all(headers).is_ok_and(|challenges| {
        challenges.iter().any(|challenge| {
            challenge.scheme() == "bearer"
                && challenge.parameter("error") == Some("insufficient_scope")
                && challenge.parameter("scope").is_some()
        })
    })
}

fn basic(held: &Held) -> Option<HeaderValue> {
    secret_header("Basic ", &held.credential.expose_basic())
}

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The most bytes of a token server's answer.
const TOKEN_LIMIT: usize = 64 * 1024;
