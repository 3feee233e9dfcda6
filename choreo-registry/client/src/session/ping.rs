//! `/v2/`, where most registries name the login that they require.
//!
//! Nodes never request `/v2/`, and registries behind gateways that forward `/v2/<name>/` only do not
//! serve it. So an unusual response is not final: the resource is requested, and its challenge is
//! answered.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{
    super::{ClientError, ErrorKind, challenge, disguise, request::Resource},
    Answer, Authorization, Plan, Session,
};

/// A response of `/v2/` that does not name a login. The client stores it, so its body is removed unless it
/// contains an error code.
pub(crate) enum Odd {
    Answer(Answer),
    /// A response over the limit, which must be a page.
    Page {
        host: String,
    },
}

/// Shows no text of the server.
impl fmt::Debug for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Odd").finish_non_exhaustive()
    }
}

impl Odd {
    fn new(mut answer: Answer) -> Self {
        if super::error::error_code(answer.response.body()).is_none() {
            *answer.response.body_mut() = Bytes::new();
        }
        Self::Answer(answer)
    }
}

impl Plan {
    /// Returns `true` if later calls may rely on it. Server errors are transient.
    pub(super) fn lasts(&self) -> bool {
        match self {
            Self::Silent(odd) => match &**odd {
                Odd::Answer(answer) => !answer.response.status().is_server_error(),
                Odd::Page { .. } => true,
            },
            Self::Basic | Self::Bearer { .. } | Self::Open => true,
        }
    }
}

impl Answer {
    fn announces_page(&self) -> bool {
        disguise::is_page(self.response.headers())
    }

    /// Returns `true` if a registry sent it: if it has a registry's header or error code, or succeeds.
    pub(super) fn is_from_registry(&self, resource: &Resource<'_>) -> bool {
        let headers = self.response.headers();
        let is_success = self.response.status() == StatusCode::OK && !self.announces_page();
        // A response to HEAD has no body to check.
        is_success
            || resource.method == http::Method::HEAD
            || self.response.status() == StatusCode::TOO_MANY_REQUESTS
            || headers.contains_key("docker-distribution-api-version")
            || super::error::error_code(self.response.body()).is_some()
    }
}

impl Session {
    pub(super) async fn ping(&self, deadline: Instant) -> Result<Plan, ClientError> {
        let ping = Resource::api();
        let answer = match self.request(&ping, &Authorization::Nothing, deadline).await {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                let host = error.evidence().host().to_owned();
                return Ok(Plan::Silent(Arc::new(Odd::Page { host })));
            }
            answer => answer?,
        };
        match answer.response.status() {
            StatusCode::OK if !answer.announces_page() => return Ok(Plan::Open),
            StatusCode::UNAUTHORIZED if !answer.foreign => {
                match self.offer(answer.response.headers()) {
                    Ok(Some((plan, _))) => {
                        self.is_guarded.store(true, Ordering::Relaxed);
                        return Ok(plan);
                    }
                    // A login of another kind may be a known one at the resource. A Bearer challenge
                    // that cannot be used ends it: see `offer`.
                    Err(error) if !only_unknown_logins(answer.response.headers()) => {
                        return Err(error);
                    }
                    Ok(None) | Err(_) => {}
                }
            }
            // Another request would count against the rate limit.
            StatusCode::TOO_MANY_REQUESTS => return Err(self.failure(&answer)),
            _ => {}
        }
        Ok(Plan::Silent(Arc::new(Odd::new(answer))))
    }

    /// Returns the error if neither `/v2/` nor the resource responds like a registry.
    pub(crate) fn silence(&self, odd: &Odd) -> ClientError {
        let answer = match odd {
            Odd::Page { host } => return self.error(ErrorKind::NotARegistry).with_host(host),
            Odd::Answer(answer) => answer,
        };
        if answer.response.status() == StatusCode::UNAUTHORIZED
            && !answer.foreign
            && let Err(error) = self.offer(answer.response.headers())
        {
            return error;
        }
        let is_registry_like = match answer.response.status() {
            StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => false,
            // It offers no login, so it cannot have denied the credential.
            StatusCode::FORBIDDEN => !self.has_credential() || answer.page.is_some(),
            _ => true,
        };
        if is_registry_like {
            self.failure(answer)
        } else {
            self.error(ErrorKind::NotARegistry)
                .with_evidence(answer.evidence())
        }
    }

    /// Sends the credential to `/v2/`, if that requires one, to distinguish a missing permission from a
    /// wrong login. If the request fails, the response remains ambiguous.
    pub(super) async fn prove_at_root(&self, deadline: Instant) {
        let Some(held) = self.credential.clone() else {
            return;
        };
        if !self.is_guarded.load(Ordering::Relaxed) {
            return;
        }
        let basic = Authorization::Basic(held);
        let answer = self.request(&Resource::api(), &basic, deadline).await;
        match answer.map(|answer| answer.response.status()) {
            Ok(StatusCode::OK) => self.is_proven.store(true, Ordering::Relaxed),
            Ok(StatusCode::UNAUTHORIZED) => self.is_refused.store(true, Ordering::Relaxed),
            Ok(_) | Err(_) => {}
        }
    }
}

fn only_unknown_logins(headers: &HeaderMap) -> bool {
    challenge::parse_all(headers).is_ok_and(|challenges| {
        challenges
            .iter()
            .all(|challenge| !matches!(challenge.scheme(), "basic" | "bearer"))
    })
}
