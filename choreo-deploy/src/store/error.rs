use std::error::Error;
use std::fmt;

use crate::code::codes;
use crate::deployment::{Deployment, Hold};
use crate::id::RegistryId;
use crate::release::ReleaseNumber;

/// An error of a store.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of a [`StoreError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The id is already used, the revision is another one, or a limit is reached.
    Conflict,
    /// The stored data cannot be read by this version.
    Corrupt,
    /// The subject of the call is not stored.
    NotFound,
    /// A newer deployment or another worker has replaced the claim.
    Stale,
    /// The database does not respond or is full. A retry can succeed.
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
    /// Creates an error. The message is one sentence in lower case, without a full stop and without
    /// secrets.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Creates the error for a claim that a newer deployment or another worker has replaced.
    #[must_use]
    pub fn stale() -> Self {
        Self::new(
            StoreErrorKind::Stale,
            "claim is stale: the target has moved on",
        )
    }

    /// Creates the error for a registry whose revision is not the one that
    /// [`put_registry`](super::RegistryStore::put_registry) expected.
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

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns `true` if the same call can succeed later.
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

/// The reason why a deployment or a run is rejected. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The target is held against deployments from machines.
    #[error("target is held since a rollback: release the hold to deploy automatically again")]
    Held(Hold),
    /// The idempotency key was used for another request.
    #[error(
        "idempotency key was used for another request, deployment {}: use a new key for a new request",
        .0.id
    )]
    KeyReused(Box<Deployment>),
    /// The target has no ready release to run or to promote.
    #[error("target has no ready release: deploy one first")]
    NothingReady,
    /// The release does not exist.
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
    /// The token is not live or belongs to another component.
    #[error("token is not accepted")]
    TokenRefused,
}
