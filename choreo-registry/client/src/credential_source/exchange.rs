//! Requests to identity services: checked by the egress policy, limited, and with classified failures.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    credential_source::{Clock, SourceError, SourceErrorKind},
    session::now,
    transport::{HttpTransport, Outbound, TransportErrorKind},
    urlencoded::form,
};
use choreo_registry::{credential::Password, secret_fields::SecretFields};

/// The parts of every source in this folder: a transport, a clock, and a limit of each call.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) clock: Clock,
    pub(super) timeout: Duration,
}

impl Exchange {
    pub(super) fn new(transport: Arc<dyn HttpTransport>) -> Self {
        Self {
            transport,
            clock: Clock::system(),
            timeout: Duration::from_secs(30),
        }
    }

    /// Returns the deadline of a call that begins now, with all its requests.
    pub(super) fn deadline(&self) -> Instant {
        let now = now();
        now.checked_add(self.timeout).unwrap_or(now)
    }

    /// Sends one request and returns the response if its status is 200. Redirects are not followed,
    /// because the requests contain secrets.
    pub(super) async fn send(
        &self,
        service: &'static str,
        request: http::Request<Bytes>,
        deadline: Instant,
    ) -> Result<http::Response<Bytes>, SourceError> {
        let blocked =
            |cause| SourceError::new(SourceErrorKind::Blocked, service).with_source(cause);
        self.transport
            .egress()
            .check_uri(request.uri())
            .map_err(blocked)?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let started = now();
        let exchange = self
            .transport
            .send(Outbound::new(request, BODY_LIMIT, deadline));
        // Cancels a transport that does not keep the deadline.
        let left = deadline.saturating_duration_since(started);
        let answer = match tokio::time::timeout(left, exchange).await {
            Ok(answer) => answer.map_err(|error| {
                SourceError::new(kind_of_transport(error.kind()), service).with_source(error)
            })?,
            Err(_) => return Err(SourceError::new(SourceErrorKind::Timeout, service)),
        };
        let status = answer.status();
        tracing::debug!(
            host,
            status = status.as_u16(),
            elapsed_ms = now().saturating_duration_since(started).as_millis(),
            "identity service answered"
        );
        if status == StatusCode::OK {
            Ok(answer)
        } else {
            Err(failure(service, &answer))
        }
    }
}

/// Creates a GET with these headers, which must not be logged.
pub(super) fn get(url: &str, headers: &[(&'static str, &str)]) -> Option<http::Request<Bytes>> {
    request(Method::GET, url, headers, Bytes::new())
}

/// Creates a POST of form fields.
pub(super) fn post_form(url: &str, fields: &[(&str, &str)]) -> Option<http::Request<Bytes>> {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let headers = [kind, ("accept", "application/json")];
    request(Method::POST, url, &headers, form(fields))
}

/// Creates a request; `None` if HTTP cannot express it.
pub(super) fn request(
    method: Method,
    url: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Option<http::Request<Bytes>> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().ok()?;
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(SECRET_HEADERS.contains(name));
        request.headers_mut().insert(*name, value);
    }
    request
        .headers_mut()
        .insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    Some(request)
}

/// The error of an identity with characters that HTTP cannot express, such as a line break in a token.
pub(super) fn unsendable(service: &'static str) -> SourceError {
    SourceError::new(SourceErrorKind::Identity, service)
        .with_detail("it has characters that no request may carry")
}

pub(super) fn invalid(service: &'static str, detail: &'static str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidResponse, service).with_detail(detail)
}

/// Reads an OAuth access token and its expiry from a response of Microsoft's or Google's services
/// ([RFC 6749, section 5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).
#[cfg_attr(
    not(any(test, feature = "acr", feature = "gar")),
    expect(dead_code, reason = "Amazon hands out no access tokens of OAuth")
)]
pub(super) fn access_token(
    service: &'static str,
    body: &[u8],
    asked_at: Timestamp,
) -> Result<(Password, Timestamp), SourceError> {
    let answer = SecretFields::parse(body)
        .ok_or_else(|| invalid(service, "it is not a JSON object with an access token"))?;
    let token = secret(service, answer.text("access_token"))?;
    // Azure's metadata service writes it as text.
    let seconds = answer
        .json("expires_in")
        .and_then(|json| json.trim_matches('"').parse().ok());
    // RFC 6749 makes it optional, but these services always send it.
    let seconds = seconds.ok_or_else(|| invalid(service, "it does not say when the token ends"))?;
    let life = Duration::from_secs(seconds).min(LONGEST_LIFE);
    Ok((token, later(asked_at, life)))
}

/// Returns the secret of a response, if a header can contain it.
pub(super) fn secret(
    service: &'static str,
    text: Option<Zeroizing<String>>,
) -> Result<Password, SourceError> {
    let text = text.unwrap_or_default();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(
            service,
            "the token has characters that no header may carry",
        ));
    }
    Password::new(text.as_str())
        .map_err(|reason| invalid(service, "it has no usable token").with_source(reason))
}

pub(super) fn later(from: Timestamp, life: Duration) -> Timestamp {
    SignedDuration::try_from(life)
        .ok()
        .and_then(|life| from.checked_add(life).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The limit of a lifetime: these services issue nothing that is valid for longer.
pub(super) const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

fn kind_of_transport(kind: TransportErrorKind) -> SourceErrorKind {
    match kind {
        TransportErrorKind::Blocked => SourceErrorKind::Blocked,
        TransportErrorKind::Connect | TransportErrorKind::Resolve => SourceErrorKind::Unreachable,
        TransportErrorKind::Protocol | TransportErrorKind::TooLarge => {
            SourceErrorKind::InvalidResponse
        }
        TransportErrorKind::Timeout => SourceErrorKind::Timeout,
        TransportErrorKind::Tls => SourceErrorKind::Tls,
    }
}

fn failure(service: &'static str, answer: &http::Response<Bytes>) -> SourceError {
    let (status, headers) = (answer.status(), answer.headers());
    let code = known_code(headers, answer.body());
    let kind = match status.as_u16() {
        429 => SourceErrorKind::RateLimited,
        _ if code.is_some_and(|code| THROTTLING.contains(&code)) => SourceErrorKind::RateLimited,
        // Azure's metadata service answers 410 while it is being updated.
        408 | 410 | 500.. => SourceErrorKind::Unavailable,
        400..=499 => SourceErrorKind::Refused,
        _ => SourceErrorKind::InvalidResponse,
    };
    let mut error = SourceError::new(kind, service).with_answer(status.as_u16(), code);
    if status.is_redirection() {
        error = error.with_detail("it redirects, and what is sent to it may go nowhere else");
    }
    let wait = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    match wait {
        Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
        None => error,
    }
}

/// Returns the code of a failure, if it is one of a closed list: a server must not write its own text, or
/// the secrets of the request, into our messages.
fn known_code(headers: &HeaderMap, body: &[u8]) -> Option<&'static str> {
    let known = |text: &str| CODES.into_iter().find(|code| *code == text);
    let header = headers
        .get("x-amzn-errortype")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| known(value.split(':').next().unwrap_or(value)));
    header.or_else(|| json_code(body, known)).or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        known(text.split_once("<Code>")?.1.split_once("</Code>")?.0)
    })
}

fn json_code(body: &[u8], known: impl Fn(&str) -> Option<&'static str>) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(body).ok()?;
    // Microsoft's numbers are more specific than OAuth's codes.
    let number = body
        .get("error_codes")
        .and_then(|codes| codes.get(0)?.as_u64());
    let entra = number.and_then(|number| known(&format!("AADSTS{number}")));
    entra.or_else(|| {
        let text = |name| body.get(name).and_then(Value::as_str);
        let amazon = text("__type").map(|kind| kind.rsplit('#').next().unwrap_or(kind));
        text("error").or(amazon).and_then(known)
    })
}

const THROTTLING: [&str; 5] = [
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "slow_down",
    "temporarily_unavailable",
];

/// OAuth's codes ([RFC 6749, section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)),
/// [Microsoft's](https://learn.microsoft.com/entra/identity-platform/reference-error-codes) and
/// [Amazon's](https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html).
const CODES: [&str; 46] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_resource",
    "invalid_scope",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    // The application is not known in the tenant.
    "AADSTS700016",
    // The assertion has expired, or is not valid yet.
    "AADSTS700024",
    // No federated identity matches the assertion: issuer, subject or audience.
    "AADSTS70021",
    "AADSTS700211",
    "AADSTS700212",
    "AADSTS700213",
    // The client secret is wrong, or has expired.
    "AADSTS7000215",
    "AADSTS7000222",
    // The tenant is not known.
    "AADSTS90002",
    // The resource is not known in the tenant.
    "AADSTS500011",
    "AADSTS50027",
    "AADSTS53003",
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InternalFailure",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidParameterException",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "RegionDisabledException",
    "RequestExpired",
    "RequestLimitExceeded",
    "ServerException",
    "Throttling",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationError",
];

const SECRET_HEADERS: [&str; 3] = [
    "authorization",
    "x-amz-security-token",
    "x-aws-ec2-metadata-token",
];

const USER_AGENT: &str = concat!("choreo-registry/", env!("CARGO_PKG_VERSION"));

/// The same limit as for a registry's token server.
const BODY_LIMIT: usize = 64 * 1024;

#[cfg(test)]
#[path = "exchange/tests.rs"]
mod tests;
