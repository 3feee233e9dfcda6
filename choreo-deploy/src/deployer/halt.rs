//! Why a step did not get to its end, and what that means to the person who deploys.

use std::time::Duration;

use jiff::Timestamp;

use super::abnormal::internal;
use crate::backend::{BackendError, BackendErrorKind};
use crate::reason::{Evidence, Reason, ReasonCode};
use crate::store::{StoreError, StoreErrorKind};

/// Why a step did not get to its end.
pub(super) enum Halt {
    /// It will not work without a change.
    Failed(Reason),
    /// Worth another try.
    Later {
        reason: Reason,
        retry_after: Option<Duration>,
    },
    /// The target has moved on: somebody else goes on with it.
    Stale,
    /// The store does not answer; the lease runs out and somebody goes on.
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Stale => Self::Stale,
            _ if error.is_retryable() => Self::Store(error),
            // No other try ends differently until somebody does something, so it is counted as one.
            _ => Self::Later {
                reason: internal(&format!("what is stored cannot be used: {error}"))
                    .with_evidence(Evidence::from_untrusted(&chain(&error))),
                retry_after: None,
            },
        }
    }
}

impl From<BackendError> for Halt {
    fn from(error: BackendError) -> Self {
        if error.kind() == BackendErrorKind::Stale {
            return Self::Failed(ahead(&error.to_string()));
        }
        let retryable = error.is_retryable();
        let reason = reason_of(&error);
        if retryable {
            Self::Later {
                reason,
                retry_after: error.retry_after(),
            }
        } else {
            Self::Failed(reason)
        }
    }
}

/// What an error of a backend means to who deploys.
fn reason_of(error: &BackendError) -> Reason {
    let (code, help) = match error.kind() {
        BackendErrorKind::Refused | BackendErrorKind::Unsupported => {
            (ReasonCode::AdmissionRefused, None)
        }
        BackendErrorKind::PermissionDenied => (
            ReasonCode::PermissionMissing,
            Some("ask the operator to grant the control plane this permission on the data plane"),
        ),
        BackendErrorKind::Unauthenticated => (
            ReasonCode::PermissionMissing,
            Some("ask the operator to renew the control plane's credential of the data plane"),
        ),
        BackendErrorKind::NotFound => (ReasonCode::EnvironmentMissing, None),
        _ => (ReasonCode::BackendUnreachable, None),
    };
    let mut reason = Reason::new(code, error.to_string());
    reason.help = help.map(str::to_owned);
    match std::error::Error::source(error) {
        Some(cause) => reason.with_evidence(Evidence::from_untrusted(&chain(cause))),
        None => reason,
    }
}

/// The data plane has seen a newer generation. Where the store gave that out, the claim is stale
/// and so is whatever is written with it; where it did not, no other try would end differently.
pub(super) fn ahead(seen: &str) -> Reason {
    let message = "the data plane has a newer generation of the target";
    Reason::new(ReasonCode::NewerDeployment, message)
        .with_help(
            "try again; if the store was restored or begun anew, raise its epoch before, and let \
             no other control plane deploy here",
        )
        .with_evidence(Evidence::from_untrusted(seen))
}

/// The causes of an error, outermost first.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The part of a help text that says when a deployment ends whose data plane does not answer.
pub(super) fn retried(until: Timestamp) -> String {
    format!("this is retried until {until:.0}, and then the deployment ends in any case")
}
