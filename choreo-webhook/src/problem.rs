//! The types of the problems that the webhook responds with when it rejects a request:
//! `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
//!
//! ```json
//! {"type":"urn:choreo:problem:held","title":"Target is held","status":409,
//!  "detail":"target is held since a rollback: release the hold to deploy automatically again"}
//! ```
//!
//! `type` is stable and meant for programs. `detail` is one sentence for people and may change.
//! `help`, if present, says what to do. `type` is always the first member.

use std::fmt;

use choreo_deploy::intake::IntakeErrorKind;
use http::StatusCode;

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = ($status:ident, $urn:literal, $title:literal),)*) => {
        /// The type of a problem, which is stable and meant for programs.
        ///
        /// ```
        /// use choreo_webhook::problem::ProblemType;
        ///
        /// assert_eq!(ProblemType::Held.as_str(), "urn:choreo:problem:held");
        /// assert_eq!(ProblemType::Held.status(), http::StatusCode::CONFLICT);
        /// ```
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum ProblemType {
            $($(#[$doc])* $name,)*
        }

        impl ProblemType {
            /// Every type, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the type as a response contains it.
            ///
            /// ```
            /// use choreo_webhook::problem::ProblemType;
            ///
            /// assert_eq!(ProblemType::Busy.as_str(), "urn:choreo:problem:busy");
            /// ```
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:choreo:problem:", $urn),)* }
            }

            /// Returns the status of the response.
            ///
            /// ```
            /// use choreo_webhook::problem::ProblemType;
            ///
            /// assert_eq!(ProblemType::Busy.status(), http::StatusCode::SERVICE_UNAVAILABLE);
            /// ```
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Returns the title, which is the same for every problem of this type.
            ///
            /// ```
            /// use choreo_webhook::problem::ProblemType;
            ///
            /// assert_eq!(ProblemType::Busy.title(), "Server is busy");
            /// ```
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

problem_types! {
    /// The body is longer than 16 KiB.
    BodyTooLarge = (PAYLOAD_TOO_LARGE, "body-too-large", "Body is too large"),
    /// The body did not arrive within 10 seconds.
    BodyTooSlow = (REQUEST_TIMEOUT, "body-too-slow", "Body is too slow"),
    /// The body is incomplete because its transfer failed.
    BodyUnreadable = (BAD_REQUEST, "body-unreadable", "Body cannot be read"),
    /// The server has reached its limit of concurrent requests. A retry can succeed.
    Busy = (SERVICE_UNAVAILABLE, "busy", "Server is busy"),
    /// The target does not accept deployments from CI until its hold is released.
    Held = (CONFLICT, "held", "Target is held"),
    /// The idempotency key belongs to a different request.
    IdempotencyKeyReused = (UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key is already used"),
    /// The image is not in the component's registry.
    ImageNotInRegistry = (UNPROCESSABLE_ENTITY, "image-not-in-registry", "Image is not in the component's registry"),
    /// The intake or the token store failed, and only its operator can repair it.
    Internal = (INTERNAL_SERVER_ERROR, "internal", "Internal error"),
    /// A member of the body is missing, unknown, duplicate or has an invalid value.
    InvalidField = (UNPROCESSABLE_ENTITY, "invalid-field", "Field is not valid"),
    /// The `Idempotency-Key` header is not 1 to 255 visible ASCII characters.
    InvalidIdempotencyKey = (BAD_REQUEST, "invalid-idempotency-key", "Idempotency key is not valid"),
    /// The image is not a valid image reference.
    InvalidImage = (UNPROCESSABLE_ENTITY, "invalid-image", "Image reference is not valid"),
    /// The body is not JSON.
    InvalidJson = (BAD_REQUEST, "invalid-json", "Body is not JSON"),
    /// The query is not a single `wait` with a number of seconds.
    InvalidQuery = (BAD_REQUEST, "invalid-query", "Query is not valid"),
    /// The token is malformed, unknown, expired or revoked. The response is the same in all cases.
    InvalidToken = (UNAUTHORIZED, "invalid-token", "Token is not accepted"),
    /// The path does not support the method.
    MethodNotAllowed = (METHOD_NOT_ALLOWED, "method-not-allowed", "Method is not allowed"),
    /// The request has no `Authorization: Bearer` header.
    MissingToken = (UNAUTHORIZED, "missing-token", "Token is missing"),
    /// The path does not exist.
    NotFound = (NOT_FOUND, "not-found", "Not found"),
    /// The deployment conflicts with the component's configuration.
    NotPossible = (UNPROCESSABLE_ENTITY, "not-possible", "Deployment is not possible"),
    /// The URL contains a token, so proxies may have logged it.
    TokenInUrl = (BAD_REQUEST, "token-in-url", "Token is in the URL"),
    /// The component or its organization has reached its limit of concurrent requests. A retry can
    /// succeed.
    TooManyRequests = (TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
    /// The intake or the token store does not respond. A retry can succeed.
    Unavailable = (SERVICE_UNAVAILABLE, "unavailable", "Service is unavailable"),
    /// The token's component no longer exists.
    UnknownComponent = (NOT_FOUND, "unknown-component", "Component does not exist"),
    /// The component has no deployment with this id.
    UnknownDeployment = (NOT_FOUND, "unknown-deployment", "Deployment does not exist"),
    /// The component has no environment to deploy to.
    UnknownEnvironment = (CONFLICT, "unknown-environment", "Environment does not exist"),
    /// The body is compressed.
    UnsupportedEncoding = (UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Content encoding is not supported"),
    /// The body's `Content-Type` is not `application/json`.
    UnsupportedMediaType = (UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Content type is not supported"),
}

/// Maps an error of the intake to the problem that a client sees. The messages of
/// [`Unavailable`](IntakeErrorKind::Unavailable) and [`Internal`](IntakeErrorKind::Internal) belong
/// in the log, not in a response.
impl From<IntakeErrorKind> for ProblemType {
    fn from(kind: IntakeErrorKind) -> Self {
        match kind {
            IntakeErrorKind::Held => Self::Held,
            IntakeErrorKind::ImageNotInRegistry => Self::ImageNotInRegistry,
            IntakeErrorKind::Internal => Self::Internal,
            IntakeErrorKind::KeyReused => Self::IdempotencyKeyReused,
            IntakeErrorKind::TokenRefused => Self::InvalidToken,
            IntakeErrorKind::Unavailable => Self::Unavailable,
            IntakeErrorKind::UnknownComponent => Self::UnknownComponent,
            IntakeErrorKind::UnknownEnvironment => Self::UnknownEnvironment,
            // `NotPossible`, and kinds that a newer intake adds: the request conflicts with something.
            _ => Self::NotPossible,
        }
    }
}

impl fmt::Display for ProblemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_unique_and_in_order() {
        for pair in ProblemType::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str(), "{pair:?}");
        }
        for kind in ProblemType::ALL {
            assert_eq!(kind.to_string(), kind.as_str());
            let status = kind.status();
            let is_ours = [
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            assert!(status.is_client_error() || is_ours.contains(&status));
        }
    }

    #[test]
    fn the_front_page_lists_every_type_with_its_status() {
        let guide = include_str!("lib.rs");
        for kind in ProblemType::ALL {
            let code = kind.as_str().trim_start_matches("urn:choreo:problem:");
            let row = format!("//! | {} | `{code}` |", kind.status().as_u16());
            assert!(guide.contains(&row), "the guide has no row {row:?}");
        }
    }
}
