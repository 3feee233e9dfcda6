//! Deployments: the platform's record of each attempt.

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

/// One attempt to bring a target to a state: the platform's record, not Kubernetes' object.
///
/// Immutable but for its phase and what comes with it. `revision` grows with every change, so that a
/// reader can wait for the next one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deployment {
    /// Its identity.
    pub id: DeploymentId,
    /// Where it goes.
    pub target: Target,
    /// The data plane of the target's environment when it was asked for.
    pub data_plane: DataPlaneId,
    /// Its place in the order of all deployments of the target.
    pub generation: Generation,
    /// Why there is one.
    pub cause: Cause,
    /// What was asked for.
    pub subject: Subject,
    /// The version of the target's settings that it uses.
    pub settings_version: u64,
    /// The release it made or named. `None` while the image is not resolved.
    pub release: Option<ReleaseNumber>,
    /// How far it is.
    pub phase: Phase,
    /// Why it is no further, or why it failed.
    pub reasons: Vec<Reason>,
    /// Where the image was built, as CI says.
    pub provenance: Provenance,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it must have ended.
    pub deadline_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Grows with every change.
    pub revision: u64,
}

/// The place of a deployment in the order of all deployments of its target.
///
/// A backend refuses to apply an older one over a newer, so a worker that was paused cannot undo
/// what came after. The epoch is raised when a store is restored from a backup, so that numbers
/// given out twice still have an order.
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
    /// Raised when a store is restored.
    pub epoch: u64,
    /// Raised with every deployment of the target.
    pub number: u64,
}

impl Generation {
    /// A generation of an epoch.
    #[must_use]
    pub fn new(epoch: u64, number: u64) -> Self {
        Self { epoch, number }
    }

    /// The one after it.
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

/// Why a text is no generation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("generation {0:?} is not valid: it is written epoch.number, such as 0.7")]
pub struct ParseGenerationError(String);

/// Why there is a deployment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// CI sent an image, with this token.
    Ci(TokenId),
    /// Somebody asked.
    Manual,
    /// The release of another environment was promoted.
    Promotion,
    /// A registry said that it has a new image.
    PushEvent,
    /// An older release was brought back.
    Rollback,
}

impl Cause {
    /// Whether a machine asked. A held target takes none of these.
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

/// What a deployment was asked to bring about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Subject {
    /// This image, in a new release.
    Image(Box<RequestedImage>),
    /// A release that exists.
    Release(ReleaseNumber),
    /// Nothing of the component is left on the target.
    Absence,
}

/// An image as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestedImage {
    /// What it means.
    pub reference: ImageReference,
    /// How it was written, at most 1,024 bytes.
    pub as_written: String,
    /// The digest that CI says it has. The one in the reference, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Digest>,
}

impl RequestedImage {
    /// An image by its reference. The digest in it, if any, is what is claimed.
    #[must_use]
    pub fn new(reference: ImageReference) -> Self {
        Self {
            as_written: reference.to_string(),
            claimed: reference.digest().map(DigestRef::to_owned),
            reference,
        }
    }

    /// Keeps how it was written.
    #[must_use]
    pub fn written(self, as_written: impl Into<String>) -> Self {
        Self {
            as_written: as_written.into(),
            ..self
        }
    }
}

/// How far a deployment is. The last four are final: such a deployment never changes again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Accepted and stored; nothing is done yet.
    Accepted,
    /// Applied to the data plane; the rollout is on its way.
    Progressing,
    /// The target is as asked for.
    Ready,
    /// It cannot succeed. The reasons say why.
    Failed,
    /// Another deployment of the target took its place first.
    Superseded,
    /// It was not ready by its deadline.
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
    /// Whether it never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::Progressing)
    }
}

/// Where an image was built, as CI says. Shown to people, never trusted.
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
    /// A commit and the page of a CI run.
    #[must_use]
    pub fn new(commit: Option<String>, run_url: Option<String>) -> Self {
        Self { commit, run_url }
    }
}

/// Why a target takes no deployments from machines.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// The rollback that holds it.
    pub by: DeploymentId,
    /// Since when.
    pub since: Timestamp,
}

impl Hold {
    /// Held by a rollback.
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
