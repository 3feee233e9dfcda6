//! The conversion of errors of the API server and of the connection to a [`BackendError`].
//!
//! Texts of the server are redacted, and are never in `source()`, because third parties write the
//! messages of admission webhooks.

use std::time::Duration;

use choreo_deploy::backend::{BackendError, BackendErrorKind};
use choreo_deploy::reason::Evidence;
use kube::core::Status;

use crate::credential::credential_failure;

/// Converts an error of the Kubernetes client in an operation of the backend.
pub(crate) fn from_kube(operation: &'static str, error: &kube::Error) -> BackendError {
    match error {
        kube::Error::Api(status) => from_status(operation, status),
        kube::Error::HyperError(_)
        | kube::Error::Service(_)
        | kube::Error::ReadEvents(_)
        | kube::Error::RustlsTls(_)
        | kube::Error::Auth(_) => BackendError::new(
            BackendErrorKind::Unreachable,
            operation,
            format!("the API server cannot be reached: {}", chain(error)),
        ),
        _ => BackendError::new(
            BackendErrorKind::Internal,
            operation,
            format!("the Kubernetes client failed: {}", chain(error)),
        ),
    }
}

/// Returns the error of a call that exceeded its limit.
pub(crate) fn timeout(operation: &'static str, after: Duration) -> BackendError {
    let message = format!("the API server did not answer within {} s", after.as_secs());
    BackendError::new(BackendErrorKind::Timeout, operation, message)
}

/// Returns `true` if the object was changed, created or deleted by another writer.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn from_status(operation: &'static str, status: &Status) -> BackendError {
    use BackendErrorKind as Kind;
    let said = Evidence::from_untrusted(&status.message);
    let (kind, message) = match status.code {
        400 | 405 | 413 | 415 | 422 => (
            Kind::Refused,
            format!("the API server rejected the object: {said}"),
        ),
        401 => (
            Kind::Unauthenticated,
            "the API server does not accept the backend's own credential".to_owned(),
        ),
        403 if is_about_access(&status.message) => (
            Kind::PermissionDenied,
            format!("the backend lacks a permission: {said}"),
        ),
        403 => (
            Kind::Refused,
            format!("the data plane rejected the object: {said}"),
        ),
        404 => (
            Kind::NotFound,
            format!("the object does not exist: {said}: ask the operator to create it"),
        ),
        409 => (
            Kind::Conflict,
            format!("another writer changed the object: {said}"),
        ),
        429 => (
            Kind::RateLimited,
            "the API server limits the rate of requests".to_owned(),
        ),
        504 => (Kind::Timeout, format!("the API server timed out: {said}")),
        500..=599 if is_too_large(&status.message) => (
            Kind::Refused,
            format!(
                "the object is larger than the API server stores: keep large values out of the \
                 workload: {said}"
            ),
        ),
        500..=599 => (
            Kind::Unreachable,
            format!("the API server is not available: {said}"),
        ),
        code => (
            Kind::Internal,
            format!("the API server answered with status {code}: {said}"),
        ),
    };
    let error = BackendError::new(kind, operation, message);
    match status
        .details
        .as_ref()
        .map(|details| details.retry_after_seconds)
    {
        Some(seconds) if seconds > 0 && error.is_retryable() => {
            error.with_retry_after(Duration::from_secs(seconds.into()))
        }
        _ => error,
    }
}

/// Returns `true` if the object does not fit into the API server's store. The status is 500, and a
/// retry does not help.
fn is_too_large(message: &str) -> bool {
    message.contains("request is too large")
        || (message.contains("ResourceExhausted") && message.contains("larger than max"))
}

/// Returns `true` if a permission is missing. Rejections by admission have status 403 too; the
/// authorizer's texts are fixed: `User "x" cannot create resource "y"`.
pub(crate) fn is_about_access(message: &str) -> bool {
    message.contains(" cannot ") && message.contains(" resource \"")
}

/// Returns an error and its causes, each once, on one line. Of a missing credential it contains
/// only what is not secret.
fn chain(error: &kube::Error) -> Evidence {
    if let Some(words) = credential_failure(error) {
        return Evidence::from_untrusted(&words);
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    Evidence::from_untrusted(&text)
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::*;

    fn status(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[test]
    fn statuses_are_told_apart() {
        use BackendErrorKind as Kind;
        let denied = "configmaps is forbidden: User \"x\" cannot create resource \"configmaps\" in API group \"\"";
        let quota = "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1";
        for (code, message, kind) in [
            (400, "bad", Kind::Refused),
            (401, "Unauthorized", Kind::Unauthenticated),
            (403, denied, Kind::PermissionDenied),
            (403, quota, Kind::Refused),
            (404, "gone", Kind::NotFound),
            (409, "changed", Kind::Conflict),
            (422, "invalid", Kind::Refused),
            (429, "slow down", Kind::RateLimited),
            (500, "etcdserver: leader changed", Kind::Unreachable),
            (503, "starting", Kind::Unreachable),
            (500, "etcdserver: request is too large", Kind::Refused),
            (
                500,
                "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2500000 vs. 2097152)",
                Kind::Refused,
            ),
            (
                500,
                "rpc error: code = ResourceExhausted desc = quota",
                Kind::Unreachable,
            ),
            (504, "timed out", Kind::Timeout),
            (418, "teapot", Kind::Internal),
        ] {
            assert_eq!(
                from_kube("apply", &status(code, message)).kind(),
                kind,
                "{code}"
            );
        }
    }

    #[test]
    fn retry_after_is_kept_where_a_retry_helps() {
        let details: StatusDetails =
            serde_json::from_value(serde_json::json!({ "retryAfterSeconds": 7 })).unwrap();
        let of = |code| {
            let status = Status::failure("busy", "Busy").with_code(code);
            let error = kube::Error::Api(status.with_details(details.clone()).boxed());
            from_kube("apply", &error).retry_after()
        };
        assert_eq!(of(429), Some(Duration::from_secs(7)));
        assert_eq!(of(422), None);
    }

    #[test]
    fn what_strangers_say_is_redacted() {
        let error = status(
            403,
            "admission webhook \"p\" denied: https://h/?token=hunter2",
        );
        let error = from_kube("apply", &error);
        assert_eq!(
            error.to_string(),
            "apply failed: the data plane rejected the object: admission webhook \"p\" denied: https://h/"
        );
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn a_broken_connection_is_unreachable() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let error = from_kube("observe", &kube::Error::Service(refused.into()));
        assert_eq!(error.kind(), BackendErrorKind::Unreachable);
        assert!(error.is_retryable());
    }
}
