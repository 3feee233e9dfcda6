//! Deployments: the records of attempts to change a target.

use std::fmt;

use choreo_registry::digest::DigestRef;
use choreo_registry::{Digest, ImageReference};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Target;
use crate::code::codes;
use crate::id::{DataPlaneId, DeploymentId, TokenId};
use crate::reason::Reason;
use crate::release::ReleaseNumber;

/// The record of an attempt to bring a target to a state. It is not the Kubernetes object of that name.
///
/// It is immutable except for its phase and the fields that depend on it. `revision` grows with every
/// change, so that a reader can wait for the next one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deployment {
    /// The id.
    pub id: DeploymentId,
    /// The target.
    pub target: Target,
    /// The data plane of the target's environment at the time of the request.
    pub data_plane: DataPlaneId,
    /// The position in the order of all deployments of the target.
    pub generation: Generation,
    /// The cause.
    pub cause: Cause,
    /// The requested state.
    pub subject: Subject,
    /// The version of the target's settings.
    pub settings_version: u64,
    /// The release that it created or names, or `None` while the image is not resolved.
    pub release: Option<ReleaseNumber>,
    /// The phase.
    pub phase: Phase,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// The build of the image, according to CI.
    pub provenance: Provenance,
    /// The time of acceptance.
    pub accepted_at: Timestamp,
    /// The deadline.
    pub deadline_at: Timestamp,
    /// The time of the last change.
    pub changed_at: Timestamp,
    /// The revision, which grows with every change.
    pub revision: u64,
}

/// The position of a deployment in the order of all deployments of its target.
///
/// A backend rejects an older generation after a newer one, so that a worker that was paused cannot
/// undo later changes. The epoch is raised if a store is restored from a backup, so that duplicate
/// numbers still have an order.
///
/// ```
/// use choreo_deploy::deployment::Generation;
///
/// let before = Generation::new(0, 7);
/// assert!(before < before.next());
/// assert!(Generation::new(0, 900) < Generation::new(1, 1));
/// assert_eq!(before.to_string().parse(), Ok(before));
/// ```
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
#[non_exhaustive]
pub struct Generation {
    /// The epoch, which is raised if a store is restored.
    pub epoch: u64,
    /// The number, which grows with every deployment of the target.
    pub number: u64,
}

impl Generation {
    /// Creates a generation.
    #[must_use]
    pub fn new(epoch: u64, number: u64) -> Self {
        Self { epoch, number }
    }

    /// Returns the next generation.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            number: self.number.saturating_add(1),
            ..self
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl std::str::FromStr for Generation {
    type Err = ParseGenerationError;

    fn from_str(text: &str) -> Result<Self, ParseGenerationError> {
        let error = || ParseGenerationError(text.chars().take(64).collect());
        let number = |text: &str| {
            (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .then(|| text.parse().ok())
                .flatten()
        };
        let (epoch, count) = text.split_once('.').ok_or_else(error)?;
        let (epoch, number) = number(epoch).zip(number(count)).ok_or_else(error)?;
        Ok(Self { epoch, number })
    }
}

/// An error for a text that is not a valid generation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("generation {0:?} is not valid: it is written epoch.number, such as 0.7")]
pub struct ParseGenerationError(String);

/// The cause of a deployment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// CI sent an image with this token.
    Ci(TokenId),
    /// A person requested it.
    Manual,
    /// The release of another environment was promoted.
    Promotion,
    /// A registry announced a new image.
    PushEvent,
    /// An older release was deployed again.
    Rollback,
}

impl Cause {
    /// Returns `true` if a program requested the deployment. A held target rejects these.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        matches!(self, Self::Ci(_) | Self::PushEvent)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ci(_) => "ci",
            Self::Manual => "manual",
            Self::Promotion => "promotion",
            Self::PushEvent => "push-event",
            Self::Rollback => "rollback",
        })
    }
}

/// The state that a deployment requests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Subject {
    /// An image, in a new release.
    Image(Box<RequestedImage>),
    /// An existing release.
    Release(ReleaseNumber),
    /// The absence of the component from the target.
    Absence,
}

/// A requested image.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestedImage {
    /// The parsed reference.
    pub reference: ImageReference,
    /// The reference as it was written, at most 1,024 bytes.
    pub as_written: String,
    /// The digest according to CI, or the one in the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Digest>,
}

impl RequestedImage {
    /// Creates a request for a reference. Its digest, if any, is the claimed one.
    #[must_use]
    pub fn new(reference: ImageReference) -> Self {
        Self {
            as_written: reference.to_string(),
            claimed: reference.digest().map(DigestRef::to_owned),
            reference,
        }
    }

    /// Sets the reference as it was written.
    #[must_use]
    pub fn written(self, as_written: impl Into<String>) -> Self {
        Self {
            as_written: as_written.into(),
            ..self
        }
    }
}

/// The phase of a deployment. The last four are final: a stored final phase never changes. The webhook
/// reports a ready deployment that was replaced as superseded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Accepted and stored, but not yet applied.
    Accepted,
    /// Applied to the data plane, and the rollout is in progress.
    Progressing,
    /// The target has the requested state.
    Ready,
    /// The deployment cannot succeed. The reasons say why.
    Failed,
    /// A newer deployment of the target replaced it.
    Superseded,
    /// The deployment was not ready at its deadline.
    TimedOut,
}

codes!(Phase, "phase", {
    Accepted = "accepted",
    Progressing = "progressing",
    Ready = "ready",
    Failed = "failed",
    Superseded = "superseded",
    TimedOut = "timed-out",
});

impl Phase {
    /// Returns `true` if the phase never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::Progressing)
    }
}

/// The build of an image, according to CI. It is shown to people and never trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Provenance {
    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The page of the CI run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
}

impl Provenance {
    /// Creates a provenance from a commit and the page of a CI run.
    #[must_use]
    pub fn new(commit: Option<String>, run_url: Option<String>) -> Self {
        Self { commit, run_url }
    }
}

/// A hold, by which a target rejects automatic deployments.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// The rollback that holds the target.
    pub by: DeploymentId,
    /// The time since which the target is held.
    pub since: Timestamp,
}

impl Hold {
    /// Creates the hold of a rollback.
    #[must_use]
    pub fn new(by: DeploymentId, since: Timestamp) -> Self {
        Self { by, since }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_how_a_generation_is_written() {
        assert_eq!(
            "7".parse::<Generation>().unwrap_err().to_string(),
            "generation \"7\" is not valid: it is written epoch.number, such as 0.7"
        );
        for bad in [
            "",
            ".",
            "1.",
            ".1",
            "+1.2",
            "1.2.3",
            "99999999999999999999.1",
        ] {
            assert!(bad.parse::<Generation>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn generations_parse_back(epoch: u64, number: u64) {
            let generation = Generation::new(epoch, number);
            prop_assert_eq!(generation.to_string().parse::<Generation>().unwrap(), generation);
        }
    }
}
