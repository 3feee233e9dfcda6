//! Releases: what was deployed, for ever.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use choreo_registry::{Digest, ImageReference};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::stored;
use crate::id::{ComponentId, ComponentKey, OrganizationId, RegistryId};
use crate::workload::Workload;

/// A workload and an image, together and immutable: what is deployed, promoted and rolled back to.
///
/// It holds no secret, so it can be stored and sent as it is. `format` says how it is written, so
/// that later versions read it; `render_version` says how it becomes objects on the data plane, so
/// that an upgrade of these crates restarts nobody's containers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Release {
    /// How this record is written: [`Release::FORMAT`] for those made by this version.
    pub format: u32,
    /// How it is rendered. New releases take [`Release::RENDER_VERSION`] and keep it.
    pub render_version: u32,
    /// The tenant.
    pub organization: OrganizationId,
    /// The component it is a release of.
    pub component: ComponentId,
    /// Its number, counting from 1 within the component.
    pub number: ReleaseNumber,
    /// What runs.
    #[serde(deserialize_with = "stored")]
    pub workload: Workload,
    /// The image that runs.
    pub image: ReleaseImage,
    /// The registration that the image was read from. The component may be bound to another one
    /// since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryId>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Release {
    /// How this version of the crate writes releases.
    pub const FORMAT: u32 = 1;
    /// How this version of the crate renders new releases.
    pub const RENDER_VERSION: u32 = 1;

    /// A release in this version's format.
    #[must_use]
    pub fn new(
        component: ComponentKey,
        number: ReleaseNumber,
        draft: ReleaseDraft,
        created_at: Timestamp,
    ) -> Self {
        Self {
            format: Self::FORMAT,
            render_version: Self::RENDER_VERSION,
            organization: component.organization,
            component: component.component,
            number,
            workload: draft.workload,
            image: draft.image,
            registry: draft.registry,
            created_at,
        }
    }
}

/// A release that has no number yet; the store gives it one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReleaseDraft {
    /// What runs.
    #[serde(deserialize_with = "stored")]
    pub workload: Workload,
    /// The image that runs.
    pub image: ReleaseImage,
    /// The registration that the image was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryId>,
}

impl ReleaseDraft {
    /// A workload and its image.
    #[must_use]
    pub fn new(workload: Workload, image: ReleaseImage) -> Self {
        Self {
            workload,
            image,
            registry: None,
        }
    }

    /// Says which registration the image was read from.
    #[must_use]
    pub fn from_registry(self, registry: RegistryId) -> Self {
        Self {
            registry: Some(registry),
            ..self
        }
    }
}

/// The number of a release, counting from 1 within its component.
///
/// ```
/// use choreo_deploy::release::ReleaseNumber;
///
/// let number: ReleaseNumber = "12".parse()?;
/// assert_eq!(ReleaseNumber::try_from(12), Ok(number));
/// assert_eq!(
///     "v12".parse::<ReleaseNumber>().unwrap_err().to_string(),
///     "release \"v12\" is not valid: write its number, from 1 on"
/// );
/// # Ok::<(), choreo_deploy::release::ParseReleaseNumberError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseNumber(NonZeroU64);

impl ReleaseNumber {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The number, unless it is 0.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl TryFrom<u64> for ReleaseNumber {
    type Error = ParseReleaseNumberError;

    fn try_from(number: u64) -> Result<Self, ParseReleaseNumberError> {
        Self::new(number).ok_or_else(|| ParseReleaseNumberError(number.to_string()))
    }
}

impl FromStr for ReleaseNumber {
    type Err = ParseReleaseNumberError;

    fn from_str(text: &str) -> Result<Self, ParseReleaseNumberError> {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = is_plain.then(|| text.parse().ok()).flatten();
        number
            .map(Self)
            .ok_or_else(|| ParseReleaseNumberError(text.chars().take(64).collect()))
    }
}

/// Not the number of a release.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("release {0:?} is not valid: write its number, from 1 on")]
pub struct ParseReleaseNumberError(String);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The image of a release: as it was asked for, and the digest it is pinned to.
///
/// ```
/// use choreo_deploy::release::{Pin, Pinning, ReleaseImage};
///
/// let asked: choreo_registry::ImageReference = "registry.example.com/shop/orders:1.4".parse()?;
/// let image = ReleaseImage::unpinned(asked);
/// assert_eq!(image.deployed().to_string(), "registry.example.com/shop/orders:1.4");
///
/// let digest = format!("sha256:{}", "0".repeat(64)).parse()?;
/// let image = image.pinned(Pin::new(digest, Pinning::Resolved));
/// assert_eq!(
///     image.deployed().to_string(),
///     format!("registry.example.com/shop/orders@sha256:{}", "0".repeat(64)),
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReleaseImage {
    /// The reference as it was asked for.
    pub requested: ImageReference,
    /// What it is pinned to. `None` until the data plane has reported what it runs; such a release
    /// is deployed by tag and neither promoted nor rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

impl ReleaseImage {
    /// An image whose registry could not be read from here.
    #[must_use]
    pub fn unpinned(requested: ImageReference) -> Self {
        Self {
            requested,
            pin: None,
        }
    }

    /// Pins it.
    #[must_use]
    pub fn pinned(self, pin: Pin) -> Self {
        Self {
            pin: Some(pin),
            ..self
        }
    }

    /// The reference that the data plane pulls: by digest alone once pinned, else as asked for.
    #[must_use]
    pub fn deployed(&self) -> ImageReference {
        match &self.pin {
            Some(pin) => self.requested.without_tag().with_digest(pin.digest),
            None => self.requested.clone(),
        }
    }
}

/// The digest an image is pinned to, and how it came to be known.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pin {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// How it came to be known.
    pub by: Pinning,
}

impl Pin {
    /// A digest and how it came to be known.
    #[must_use]
    pub fn new(digest: Digest, by: Pinning) -> Self {
        Self { digest, by }
    }
}

/// How the digest of a release came to be known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pinning {
    /// The reference, or whoever asked, named it. Container runtimes verify content against it.
    Claimed,
    /// The data plane reported it from the running container.
    Observed,
    /// The manifest was read from the registry and hashed.
    Resolved,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_one() {
        for good in [1, 12, u64::MAX] {
            let number = ReleaseNumber::new(good).unwrap();
            assert_eq!(good.to_string().parse(), Ok(number));
            assert_eq!(ReleaseNumber::try_from(good), Ok(number));
            assert_eq!(number.to_string(), good.to_string());
        }
        for bad in [
            "",
            "0",
            "01",
            "+1",
            "-1",
            "1 ",
            "v1",
            "18446744073709551616",
        ] {
            assert!(bad.parse::<ReleaseNumber>().is_err(), "{bad:?}");
        }
        assert!(ReleaseNumber::try_from(0).is_err());
    }
}
