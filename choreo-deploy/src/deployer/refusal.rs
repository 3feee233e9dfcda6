//! What errors of the store are to a caller.

use crate::intake::{IntakeError, IntakeErrorKind};
use crate::store::{AcceptError, StoreError};

/// What an error of the store is to the caller, who learns nothing of what is in there.
pub(super) fn unavailable(error: StoreError) -> IntakeError {
    let (kind, message) = if error.is_retryable() {
        let message = "the store does not answer now: try again";
        (IntakeErrorKind::Unavailable, message)
    } else {
        let message = "what is stored cannot be used: the operator of the control plane finds why \
            in its log";
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
