use std::fmt;

use async_trait::async_trait;
use choreo_registry::RegistryHost;
use choreo_registry::authentication::AuthenticationType;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::{OrganizationId, RegistryId};
use crate::sealer::SealedCredential;

/// Stores registered container registries.
#[async_trait]
pub trait RegistryStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a registry, in the place of the one with its id.
    ///
    /// # Contract
    /// - [`RegisteredRegistry::credential_version`] never goes down: a lower one than is stored is a
    ///   [`Conflict`](super::StoreErrorKind::Conflict).
    /// - A registry of another organization is never replaced: that is a
    ///   [`Conflict`](super::StoreErrorKind::Conflict).
    ///
    /// # Errors
    /// As above, and those of the database.
    async fn put_registry(&self, registry: RegisteredRegistry) -> Result<(), StoreError>;

    /// A registry of an organization.
    ///
    /// # Errors
    /// Those of the database.
    async fn registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<Option<RegisteredRegistry>, StoreError>;

    /// All registries of an organization, by id.
    ///
    /// # Errors
    /// Those of the database.
    async fn registries(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<RegisteredRegistry>, StoreError>;

    /// Forgets a registry and its credential. Says whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    async fn remove_registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<bool, StoreError>;
}

/// A container registry that an organization has registered, with its credential sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegisteredRegistry {
    /// Its identity.
    pub id: RegistryId,
    /// The tenant.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
    /// Where it is.
    pub host: RegistryHost,
    /// How its users chose to authenticate.
    pub authentication_type: AuthenticationType,
    /// The credential, as it is stored.
    pub credential: StoredCredential,
    /// Grows with every change of the credential.
    pub credential_version: u64,
}

impl RegisteredRegistry {
    /// A registry without a credential.
    #[must_use]
    pub fn new(
        (organization, id): (OrganizationId, RegistryId),
        display_name: impl Into<String>,
        host: RegistryHost,
        authentication_type: AuthenticationType,
    ) -> Self {
        Self {
            id,
            organization,
            display_name: display_name.into(),
            host,
            authentication_type,
            credential: StoredCredential::None,
            credential_version: 0,
        }
    }

    /// Sets the credential, of a version.
    ///
    /// A sealed one opens only with the organization, id, host and version that are stored beside it:
    /// seal it for a [`SealingContext`](crate::sealer::SealingContext) of the same.
    #[must_use]
    pub fn with_credential(self, credential: StoredCredential, version: u64) -> Self {
        Self {
            credential,
            credential_version: version,
            ..self
        }
    }
}

/// A registry's credential as it is stored: never in clear.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StoredCredential {
    /// There is none: the registry is public, or the nodes have access by themselves.
    None,
    /// Sealed; a [`Sealer`](crate::sealer::Sealer) opens it.
    Sealed(SealedCredential),
    /// A Secret of this name is on every data plane already.
    ExistingSecret(String),
    /// External Secrets makes one on the data plane, of this key. Not every backend can:
    /// choreo-deploy-kubernetes refuses it so far.
    ExternalSecret(String),
}
