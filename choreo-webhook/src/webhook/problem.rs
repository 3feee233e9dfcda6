//! Responses to requests that the webhook rejects.

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::ResponseBody;
use crate::problem::ProblemType;

impl ProblemType {
    /// Returns a response with this problem, in the webhook's format, for your own handlers beside
    /// the webhook. The detail is one sentence for people and is truncated to 512 characters.
    ///
    /// ```
    /// use choreo_deploy::intake::IntakeErrorKind;
    /// use choreo_webhook::problem::ProblemType;
    ///
    /// let kind = ProblemType::from(IntakeErrorKind::Held);
    /// let response = kind.response("target is held since a rollback");
    /// assert_eq!(response.status(), 409);
    /// assert_eq!(response.headers()["content-type"], "application/problem+json");
    /// ```
    #[must_use]
    pub fn response(self, detail: &str) -> http::Response<ResponseBody> {
        Problem::new(self, detail).into_response()
    }
}

/// The help for a request that exposes a token.
pub(super) const ROTATE: &str = "rotate the token: create a new one, revoke this one, and send the \
                                 new one only in the header 'Authorization: Bearer'";

/// A problem that becomes a response.
#[derive(Debug)]
pub(super) struct Problem {
    kind: ProblemType,
    detail: String,
    help: Option<&'static str>,
    allowed: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(kind: ProblemType, detail: impl AsRef<str>) -> Self {
        Self {
            kind,
            detail: bounded(detail.as_ref()),
            help: None,
            allowed: None,
        }
    }

    pub(super) fn help(self, help: &'static str) -> Self {
        Self {
            help: Some(help),
            ..self
        }
    }

    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("method is not allowed here: use {allowed}");
        Self {
            allowed: Some(allowed),
            ..Self::new(ProblemType::MethodNotAllowed, detail)
        }
    }

    pub(super) fn into_response(self) -> http::Response<ResponseBody> {
        let status = self.kind.status();
        let document = Document {
            r#type: self.kind.as_str(),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: &self.detail,
            help: self.help,
        };
        let mut response = ResponseBody::json(status, "application/problem+json", &document);
        response.headers_mut().extend(self.header());
        response
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self.kind {
            ProblemType::MissingToken => (WWW_AUTHENTICATE, "Bearer"),
            ProblemType::InvalidToken => (WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            ProblemType::Busy | ProblemType::TooManyRequests => (RETRY_AFTER, "2"),
            ProblemType::Unavailable => (RETRY_AFTER, "5"),
            _ => (ALLOW, self.allowed?),
        };
        Some((name, HeaderValue::from_static(value)))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

/// Returns the text, truncated to 512 characters.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(512) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_bounded() {
        let problem = Problem::new(ProblemType::NotPossible, "é".repeat(600));
        assert_eq!(problem.detail, format!("{}…", "é".repeat(512)));
    }
}
