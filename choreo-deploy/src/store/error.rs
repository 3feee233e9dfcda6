use std::error::Error;
use std::fmt;

use crate::code::codes;
use crate::deployment::{Deployment, Hold};
use crate::id::RegistryId;
use crate::release::ReleaseNumber;

/// Why a store could not do something.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of error a store met.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is such a thing already, or too many of them.
    Conflict,
    /// What is stored cannot be read by this version.
    Corrupt,
    /// What the call is about is not stored.
    NotFound,
    /// The claim has moved on: a newer deployment, or another worker.
    Stale,
    /// The database does not answer, or is full. Worth another try.
    Unavailable,
}

codes!(StoreErrorKind, "kind of a store's error", {
    Conflict = "conflict",
    Corrupt = "corrupt",
    NotFound = "not-found",
    Stale = "stale",
    Unavailable = "unavailable",
});

impl StoreError {
    /// An error of a kind. The message is one sentence, lower case, without a full stop and without
    /// any secret.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The claim has moved on.
    #[must_use]
    pub fn stale() -> Self {
        Self::new(
            StoreErrorKind::Stale,
            "claim is stale: the target has moved on",
        )
    }

    /// A registry is not at the revision that [`put_registry`](super::RegistryStore::put_registry)
    /// expected.
    #[must_use]
    pub fn registry_changed(id: &RegistryId, expected: Option<u64>) -> Self {
        let message = match expected {
            None => {
                format!("registry id {id} is taken: choose another one, or change that registry")
            }
            Some(revision) => {
                format!("registry {id} is not at revision {revision} any more: read it again")
            }
        };
        Self::new(StoreErrorKind::Conflict, message)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// What kind of error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why a deployment or a run is not accepted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The target takes no deployments from machines.
    #[error("target is held since a rollback: release the hold to deploy automatically again")]
    Held(Hold),
    /// The idempotency key was used for another request.
    #[error(
        "idempotency key was used for another request, deployment {}: use a new key for a new request",
        .0.id
    )]
    KeyReused(Box<Deployment>),
    /// The target has no release to run or to take.
    #[error("target has no ready release: deploy one first")]
    NothingReady,
    /// There is no release of this number.
    #[error("release {0} does not exist: choose one of the component's releases")]
    ReleaseMissing(ReleaseNumber),
    /// The release is not pinned to a digest.
    #[error(
        "release {0} is not pinned to a digest: deploy its image by digest, as name@sha256:…, and choose that release"
    )]
    ReleaseNotPinned(ReleaseNumber),
    /// The settings version does not exist.
    #[error("settings version {0} of the target does not exist")]
    SettingsMissing(u64),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token may not be used, or not for this component.
    #[error("token is not accepted")]
    TokenRefused,
}
