//! Releases: the permanent record of what was deployed.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use choreo_registry::{Digest, ImageReference};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::stored;
use crate::id::{ComponentId, ComponentKey, OrganizationId, RegistryId};
use crate::workload::Workload;

/// A workload and an image, which are deployed, promoted and rolled back to together. A release is
/// immutable.
///
/// It contains no secret, so you can store and send it as it is. `format` identifies the format of
/// the record, so that later versions can read it; `render_version` identifies how it is rendered
/// into objects of the data plane, so that an upgrade of these crates does not restart containers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Release {
    /// The format of this record: [`Release::FORMAT`] for records of this version.
    pub format: u32,
    /// How it is rendered. New releases have [`Release::RENDER_VERSION`] and keep it.
    pub render_version: u32,
    /// The tenant.
    pub organization: OrganizationId,
    /// The component of the release.
    pub component: ComponentId,
    /// The number of the release, counting from 1 within the component.
    pub number: ReleaseNumber,
    /// The workload.
    #[serde(deserialize_with = "stored")]
    pub workload: Workload,
    /// The image.
    pub image: ReleaseImage,
    /// The registration from which the image was read. The component may have been bound to another
    /// one since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryId>,
    /// The time of creation.
    pub created_at: Timestamp,
}

impl Release {
    /// The format of releases that this version of the crate writes.
    pub const FORMAT: u32 = 1;
    /// The render version of new releases in this version of the crate.
    pub const RENDER_VERSION: u32 = 1;

    /// Creates a release in this version's format.
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

/// A release without a number; the store assigns one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReleaseDraft {
    /// The workload.
    #[serde(deserialize_with = "stored")]
    pub workload: Workload,
    /// The image.
    pub image: ReleaseImage,
    /// The registration from which the image was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryId>,
}

impl ReleaseDraft {
    /// Creates a draft of a workload and its image.
    #[must_use]
    pub fn new(workload: Workload, image: ReleaseImage) -> Self {
        Self {
            workload,
            image,
            registry: None,
        }
    }

    /// Sets the registration from which the image was read.
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
    /// The first number.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Creates a number; returns `None` for 0.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the next number.
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

/// The error returned if a value is not the number of a release.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("release {0:?} is not valid: write its number, from 1 on")]
pub struct ParseReleaseNumberError(String);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The image of a release: the requested reference, and the digest to which it is pinned.
///
/// ```
/// use choreo_deploy::release::{DigestPin, Pinning, ReleaseImage};
///
/// let asked: choreo_registry::ImageReference = "registry.example.com/shop/orders:1.4".parse()?;
/// let image = ReleaseImage::unpinned(asked);
/// assert_eq!(image.deployed().to_string(), "registry.example.com/shop/orders:1.4");
///
/// let digest = format!("sha256:{}", "0".repeat(64)).parse()?;
/// let image = image.pinned(DigestPin::new(digest, Pinning::Resolved));
/// assert_eq!(
///     image.deployed().to_string(),
///     format!("registry.example.com/shop/orders@sha256:{}", "0".repeat(64)),
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReleaseImage {
    /// The requested reference.
    pub requested: ImageReference,
    /// The digest to which the image is pinned. `None` until the data plane has reported the
    /// running digest; such a release is deployed by tag, and cannot be promoted or rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<DigestPin>,
}

impl ReleaseImage {
    /// Creates an image whose registry could not be read from the control plane.
    #[must_use]
    pub fn unpinned(requested: ImageReference) -> Self {
        Self {
            requested,
            pin: None,
        }
    }

    /// Pins the image to a digest.
    #[must_use]
    pub fn pinned(self, pin: DigestPin) -> Self {
        Self {
            pin: Some(pin),
            ..self
        }
    }

    /// Returns the reference that the data plane pulls: by digest alone if pinned, otherwise as
    /// requested.
    #[must_use]
    pub fn deployed(&self) -> ImageReference {
        match &self.pin {
            Some(pin) => self.requested.without_tag().with_digest(pin.digest),
            None => self.requested.clone(),
        }
    }
}

/// The digest to which an image is pinned, and its source.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DigestPin {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The source of the digest.
    pub by: Pinning,
}

impl DigestPin {
    /// Creates a pin from a digest and its source.
    #[must_use]
    pub fn new(digest: Digest, by: Pinning) -> Self {
        Self { digest, by }
    }
}

/// The source of the digest of a release.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pinning {
    /// The reference or the request contained it. Container runtimes verify content against it.
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
