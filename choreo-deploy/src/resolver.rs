//! The interface to registries, which resolves image references to digests.

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

/// Resolves image references to manifests.
///
/// With the feature `client`, `ClientResolver` does this with choreo-registry-client.
#[async_trait]
pub trait ImageResolver: fmt::Debug + Send + Sync + 'static {
    /// Reads and hashes the manifest of an image.
    ///
    /// # Errors
    ///
    /// Returns a [`ResolveError`].
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
    /// The organization of the registry.
    pub organization: &'a OrganizationId,
    /// The id of the registry, unique within the organization.
    pub registry: &'a RegistryId,
    /// The version of the credential within the organization, for caches.
    pub credential_version: u64,
    /// The host of the registry.
    pub host: &'a RegistryHost,
    /// The credential, or `None` if the registry is public.
    pub credential: Option<&'a Credential>,
}

impl<'a> RegistryAccess<'a> {
    /// Creates access to a registry without a credential.
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

    /// Sets the credential and its version.
    #[must_use]
    pub fn with_credential(self, credential: &'a Credential, version: u64) -> Self {
        Self {
            credential: Some(credential),
            credential_version: version,
            ..self
        }
    }
}

/// An error that prevents an image from being resolved.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A permanent failure: the deployment fails for this reason.
    #[error("{0}")]
    Failed(Reason),
    /// The registry cannot be read from here, but the data plane may be able to pull from it. The image
    /// is deployed by its tag and pinned to the digest that the data plane reports.
    #[error("{0}")]
    NotCheckable(Reason),
    /// A transient failure: a retry may succeed.
    #[error("{reason}")]
    TryLater {
        /// The reason of the failure.
        reason: Reason,
        /// The pause before a retry, if the registry requested one.
        retry_after: Option<Duration>,
    },
}

/// A resolver that reads no registry. Every image is deployed as requested, and pinned to the digest
/// that the request or the data plane reports.
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
