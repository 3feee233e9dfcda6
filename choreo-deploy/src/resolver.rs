//! The seam to registries: what does an image reference stand for right now?

#[cfg(feature = "client")]
mod client;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, ImageReference, RegistryHost};

use crate::id::{OrganizationId, RegistryId};
use crate::reason::{Reason, ReasonCode};

#[cfg(feature = "client")]
pub use self::client::ClientResolver;

/// Asks a registry which manifest an image reference stands for.
///
/// With the feature `client`, `ClientResolver` does so over the client of choreo-registry.
#[async_trait]
pub trait ImageResolver: fmt::Debug + Send + Sync + 'static {
    /// Reads and hashes the manifest of an image.
    ///
    /// # Errors
    /// See [`ResolveError`].
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError>;
}

/// The registered registry that an image is read from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RegistryAccess<'a> {
    /// The tenant whose registration it is.
    pub organization: &'a OrganizationId,
    /// The registration, unique within the organization.
    pub registry: &'a RegistryId,
    /// Names the credential within the organization, for caches.
    pub credential_version: u64,
    /// Where the registry is.
    pub host: &'a RegistryHost,
    /// The credential; `None` when the registry is public.
    pub credential: Option<&'a Credential>,
}

impl<'a> RegistryAccess<'a> {
    /// A registration's registry, without a credential.
    #[must_use]
    pub fn new(
        organization: &'a OrganizationId,
        registry: &'a RegistryId,
        host: &'a RegistryHost,
    ) -> Self {
        Self {
            organization,
            registry,
            credential_version: 0,
            host,
            credential: None,
        }
    }

    /// With a credential of a version.
    #[must_use]
    pub fn with_credential(self, credential: &'a Credential, version: u64) -> Self {
        Self {
            credential: Some(credential),
            credential_version: version,
            ..self
        }
    }
}

/// Why an image could not be resolved.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It will not work without a change: the deployment has failed for this reason.
    #[error("{0}")]
    Failed(Reason),
    /// The registry cannot be read from here, though the data plane may well pull from it. The image
    /// is deployed by tag and pinned to the digest that the data plane reports.
    #[error("{0}")]
    NotCheckable(Reason),
    /// Worth another try.
    #[error("{reason}")]
    TryLater {
        /// Why not now.
        reason: Reason,
        /// How long to wait, when the registry said so.
        retry_after: Option<Duration>,
    },
}

/// A resolver that reads no registry: every image is deployed as it was asked for, and pinned to the
/// digest that was claimed or that the data plane reports.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct NeverResolver;

#[async_trait]
impl ImageResolver for NeverResolver {
    async fn resolve(
        &self,
        image: &ImageReference,
        _access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        let message = format!("image {image} is not checked from here");
        Err(ResolveError::NotCheckable(Reason::new(
            ReasonCode::Waiting,
            message,
        )))
    }
}
