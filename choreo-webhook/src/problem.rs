//! What the webhook answers when it does not do what was asked: `application/problem+json`
//! ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
//!
//! ```json
//! {"type":"urn:choreo:problem:held","title":"Target is held","status":409,
//!  "detail":"target is held since a rollback: release the hold to deploy automatically again"}
//! ```
//!
//! `type` is stable and made for machines; `detail` is one sentence for people and may change.
//! `help`, where there is one, says what to do. `type` is always the first member.

use std::fmt;

use choreo_deploy::intake::IntakeErrorKind;
use http::StatusCode;

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = ($status:ident, $urn:literal, $title:literal),)*) => {
        /// What kind of problem: stable, for machines.
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

            /// The type as it is sent.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:choreo:problem:", $urn),)* }
            }

            /// The status of the response.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The same few words each time.
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
    /// The body broke off.
    BodyUnreadable = (BAD_REQUEST, "body-unreadable", "Body cannot be read"),
    /// The server has as much to do as it takes on. Worth another try.
    Busy = (SERVICE_UNAVAILABLE, "busy", "Server is busy"),
    /// The target takes no deployments from machines until its hold is released.
    Held = (CONFLICT, "held", "Target is held"),
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = (UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key is used up"),
    /// The image is not of the component's registry.
    ImageNotInRegistry = (UNPROCESSABLE_ENTITY, "image-not-in-registry", "Image is not in the component's registry"),
    /// What is behind the webhook cannot do it until its operator has looked.
    Internal = (INTERNAL_SERVER_ERROR, "internal", "Internal error"),
    /// A member of the body is missing, unknown, given twice or has a wrong value.
    InvalidField = (UNPROCESSABLE_ENTITY, "invalid-field", "Field is not valid"),
    /// The `Idempotency-Key` header is not 1 to 255 visible ASCII characters.
    InvalidIdempotencyKey = (BAD_REQUEST, "invalid-idempotency-key", "Idempotency key is not valid"),
    /// The image is no image reference.
    InvalidImage = (UNPROCESSABLE_ENTITY, "invalid-image", "Image reference is not valid"),
    /// The body is no JSON.
    InvalidJson = (BAD_REQUEST, "invalid-json", "Body is not JSON"),
    /// The query has something else in it than `wait` once, with a number of seconds.
    InvalidQuery = (BAD_REQUEST, "invalid-query", "Query is not valid"),
    /// The token is malformed, unknown, expired or revoked: the answer is the same for all.
    InvalidToken = (UNAUTHORIZED, "invalid-token", "Token is not accepted"),
    /// The path has no such method.
    MethodNotAllowed = (METHOD_NOT_ALLOWED, "method-not-allowed", "Method is not allowed"),
    /// There is no `Authorization: Bearer` header.
    MissingToken = (UNAUTHORIZED, "missing-token", "Token is missing"),
    /// There is nothing at this path.
    NotFound = (NOT_FOUND, "not-found", "Not found"),
    /// What was asked for does not fit the component as it is set up.
    NotPossible = (UNPROCESSABLE_ENTITY, "not-possible", "Deployment is not possible"),
    /// A token stands in the URL, and so in somebody's logs.
    TokenInUrl = (BAD_REQUEST, "token-in-url", "Token is in the URL"),
    /// The component or its organization has more requests under way than it may. Worth another try.
    TooManyRequests = (TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
    /// What is behind the webhook does not answer. Worth another try.
    Unavailable = (SERVICE_UNAVAILABLE, "unavailable", "Service is unavailable"),
    /// The token's component does not exist any more.
    UnknownComponent = (NOT_FOUND, "unknown-component", "Component does not exist"),
    /// The component has no such deployment.
    UnknownDeployment = (NOT_FOUND, "unknown-deployment", "Deployment does not exist"),
    /// The component has no environment to deploy to.
    UnknownEnvironment = (CONFLICT, "unknown-environment", "Environment does not exist"),
    /// The body is compressed.
    UnsupportedEncoding = (UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Content encoding is not supported"),
    /// The body is not said to be `application/json`.
    UnsupportedMediaType = (UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Content type is not supported"),
}

/// What a refusal of the intake is to whoever asked. The message of
/// [`Unavailable`](IntakeErrorKind::Unavailable) and [`Internal`](IntakeErrorKind::Internal) is for
/// the log, not for them.
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
            // `NotPossible`, and whatever a newer intake refuses: the request does not fit.
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
