//! Interruptions of a step, and their reasons for the person who deploys.

use std::time::Duration;

use jiff::Timestamp;

use super::abnormal::internal;
use crate::backend::{BackendError, BackendErrorKind};
use crate::reason::{Evidence, Reason, ReasonCode};
use crate::store::{StoreError, StoreErrorKind};

/// The cause that interrupts a step.
pub(super) enum Halt {
    /// A permanent failure: a retry fails too.
    Failed(Reason),
    /// A transient failure: a retry may succeed.
    Later {
        reason: Reason,
        retry_after: Option<Duration>,
    },
    /// A data plane has no room for another change: the step is repeated after a pause.
    NoRoom,
    /// The claim is stale: another worker continues.
    Stale,
    /// The store does not answer: the lease expires and a worker continues.
    Store(StoreError),
}

impl Halt {
    /// Creates a transient failure whose other side requested no pause.
    pub(super) fn later(reason: Reason) -> Self {
        Self::Later {
            reason,
            retry_after: None,
        }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Stale => Self::Stale,
            _ if error.is_retryable() => Self::Store(error),
            // A retry fails until the operator acts. It counts as an attempt, so that retries slow down.
            _ => Self::later(
                internal(&format!("the stored record cannot be used: {error}"))
                    .with_evidence(Evidence::from_untrusted(&chain(&error))),
            ),
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

/// Returns the reason for the person who deploys.
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

/// Returns the reason that the data plane has a newer generation.
///
/// If the store issued that generation, the claim is stale and every write with it fails. If it did
/// not, a retry fails too.
pub(super) fn ahead(seen: &str) -> Reason {
    let message = "the data plane has a newer generation of the target";
    Reason::new(ReasonCode::NewerDeployment, message)
        .with_help(
            "retry; if the store was restored or replaced, raise its epoch first, and let no other \
             control plane deploy here",
        )
        .with_evidence(Evidence::from_untrusted(seen))
}

/// Returns the messages of an error and its sources, outermost first.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Returns the part of a help text with the end of the retries.
pub(super) fn retried(until: Timestamp) -> String {
    format!("this is retried until {until:.0}, and then the deployment ends in any case")
}
