//! Authenticates a request from its headers alone.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::id::{ComponentKey, TokenId};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use super::gate::{Gate, Pass};
use super::problem::Problem;
use super::{DeployWebhook, Shared};
use crate::DeployToken;
use crate::problem::ProblemType;

/// A client with a live token.
pub(super) struct Caller {
    pub(super) component: ComponentKey,
    pub(super) token: TokenId,
    expires_at: Timestamp,
    now: Timestamp,
}

impl Caller {
    /// Takes a place behind a gate, on the caller's account.
    pub(super) fn enter(&self, gate: &Arc<Gate>) -> Result<Pass, Problem> {
        gate.enter(&self.component.organization, &self.component.component)
    }

    /// Returns a header with the token's expiry if it is near.
    pub(super) fn expiry_notice(&self) -> Option<(HeaderName, HeaderValue)> {
        let left = self.expires_at.duration_since(self.now);
        let near = Duration::try_from(left).is_ok_and(|left| left <= DeployWebhook::EXPIRY_NOTICE);
        let value = near
            .then(|| HeaderValue::try_from(self.expires_at.to_string()).ok())
            .flatten();
        value.map(|value| (HeaderName::from_static("choreo-token-expires"), value))
    }
}

impl Shared {
    /// Returns the caller, or the same problem for every token that is not accepted.
    pub(super) async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        // No look-up without a correct checksum. The shorter time reveals nothing: a client can
        // compute the checksum of every token that it sends.
        let token = bearer(headers)?
            .parse::<DeployToken>()
            .map_err(|_| invalid_token())?;
        let record = self.tokens.token(token.id()).await.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "token store failed"
            );
            if error.is_retryable() {
                let detail = "tokens cannot be checked at the moment: retry";
                return Problem::new(ProblemType::Unavailable, detail);
            }
            let detail = "tokens cannot be checked: contact the operator of the platform";
            Problem::new(ProblemType::Internal, detail)
        })?;
        let now = self.clock.now();
        let Some(record) = record else {
            // The same work as for a known token, so that the time reveals nothing.
            black_box(token.has_digest(&TokenDigest::new([0; 32])));
            return Err(invalid_token());
        };
        if !token.verify(&record, now) {
            return Err(invalid_token());
        }
        self.remember_use(&record, now).await;
        let TokenRecord {
            id,
            organization,
            component,
            expires_at,
            ..
        } = record;
        Ok(Caller {
            component: ComponentKey::new(organization, component),
            token: id,
            expires_at,
            now,
        })
    }

    /// Stores the time of use, at most once a minute, so that most requests write nothing. A
    /// failure is only logged, because it must not fail the deployment.
    async fn remember_use(&self, record: &TokenRecord, now: Timestamp) {
        let is_fresh = |last: Timestamp| now.duration_since(last) < SignedDuration::from_mins(1);
        if record.last_used_at.is_some_and(is_fresh) {
            return;
        }
        if let Err(error) = self.tokens.touch_token(&record.id, now).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(token = %record.id, error, "last use of the token was not stored");
        }
    }
}

/// Returns the token of the only `Authorization` header if its scheme is `Bearer`
/// (<https://www.rfc-editor.org/rfc/rfc6750#section-2.1>).
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || {
        Problem::new(ProblemType::MissingToken, "request has no deploy token")
            .help("send the component's deploy token in the header 'Authorization: Bearer'")
    };
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or_else(missing)?;
    if all.next().is_some() {
        return Err(invalid_token());
    }
    let text = value.to_str().map_err(|_| invalid_token())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing()),
    }
}

/// Returns the problem of every token that is not accepted, whatever the cause.
pub(super) fn invalid_token() -> Problem {
    Problem::new(
        ProblemType::InvalidToken,
        "deploy token is not accepted: it is wrong, expired or revoked",
    )
    .help("check that the token is complete, or create a new one for the component")
}
