//! The conversion of errors of the store for callers.

use crate::intake::{IntakeError, IntakeErrorKind};
use crate::store::{AcceptError, StoreError};

/// Returns the error for the caller. It hides the content of the store, which only the log shows.
pub(super) fn unavailable(error: StoreError) -> IntakeError {
    let (kind, message) = if error.is_retryable() {
        let message = "the store does not answer: retry";
        (IntakeErrorKind::Unavailable, message)
    } else {
        let message = "a stored record cannot be used: ask the operator of the control plane, whose \
            log contains the cause";
        (IntakeErrorKind::Internal, message)
    };
    IntakeError::new(kind, message).with_source(error)
}

pub(super) fn refusal(error: AcceptError) -> IntakeError {
    let kind = match &error {
        AcceptError::Held(_) => IntakeErrorKind::Held,
        AcceptError::KeyReused(_) => IntakeErrorKind::KeyReused,
        AcceptError::NothingReady
        | AcceptError::ReleaseMissing(_)
        | AcceptError::ReleaseNotPinned(_)
        | AcceptError::SettingsMissing(_) => IntakeErrorKind::NotPossible,
        AcceptError::TokenRefused => IntakeErrorKind::TokenRefused,
        AcceptError::Store(_) => IntakeErrorKind::Internal,
    };
    match error {
        AcceptError::Store(error) => unavailable(error),
        refused => IntakeError::new(kind, refused.to_string()),
    }
}
