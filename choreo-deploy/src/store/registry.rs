use std::fmt;

use async_trait::async_trait;
use choreo_registry::RegistryHost;
use choreo_registry::authentication::AuthenticationType;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::{OrganizationId, RegistryId};
use crate::sealer::SealedCredential;

/// A store for registered container registries.
#[async_trait]
pub trait RegistryStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a registry and replaces the one with the same id, unless that one has changed in the
    /// meantime.
    ///
    /// `expected` is the [revision](RegisteredRegistry::revision) that the caller has read, or
    /// `None` for a new registry.
    ///
    /// # Contract
    /// - Returns [`Conflict`](super::StoreErrorKind::Conflict) unless the stored revision is
    ///   `expected`.
    /// - The revision is greater than every revision that a registry of the organization ever had,
    ///   including removed registries, and than all revisions before the store was
    ///   [restored](super::DeploymentStore::raise_epoch).
    /// - The [credential version](RegisteredRegistry::credential_version) becomes the revision if
    ///   the host, the authentication type or the credential changes, and otherwise stays the same.
    ///   To wrap a sealed credential with another key is not a change.
    /// - Ids are unique within an organization. Registries of another organization neither conflict
    ///   nor change.
    ///
    /// # Errors
    ///
    /// Returns the errors above and those of the database.
    async fn put_registry(
        &self,
        registry: NewRegistry,
        expected: Option<u64>,
    ) -> Result<RegisteredRegistry, StoreError>;

    /// Returns a registry of an organization.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<Option<RegisteredRegistry>, StoreError>;

    /// Returns all registries of an organization, ordered by id.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn registries(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<RegisteredRegistry>, StoreError>;

    /// Removes a registry and its credential. Returns `true` if it existed.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn remove_registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<bool, StoreError>;
}

/// A registration to store. The store assigns its revision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewRegistry {
    /// The organization.
    pub organization: OrganizationId,
    /// The id, unique within the organization.
    pub id: RegistryId,
    /// The display name.
    pub display_name: String,
    /// The host.
    pub host: RegistryHost,
    /// The authentication type.
    pub authentication_type: AuthenticationType,
    /// The stored credential.
    pub credential: StoredCredential,
}

impl NewRegistry {
    /// Creates a registration without a credential.
    #[must_use]
    pub fn new(
        (organization, id): (OrganizationId, RegistryId),
        display_name: impl Into<String>,
        host: RegistryHost,
        authentication_type: AuthenticationType,
    ) -> Self {
        Self {
            organization,
            id,
            display_name: display_name.into(),
            host,
            authentication_type,
            credential: StoredCredential::None,
        }
    }

    /// Sets the credential.
    ///
    /// A sealed credential opens only with the organization, id and host that are stored with it:
    /// seal it for a [`SealingContext`](crate::sealer::SealingContext) with the same values.
    #[must_use]
    pub fn with_credential(self, credential: StoredCredential) -> Self {
        Self { credential, ..self }
    }

    /// Returns the registry that a store keeps with a new revision, in place of `before`.
    #[must_use]
    pub fn registered(
        self,
        revision: u64,
        before: Option<&RegisteredRegistry>,
    ) -> RegisteredRegistry {
        let unchanged = before.filter(|before| {
            before.host == self.host
                && before.authentication_type == self.authentication_type
                && before.credential.is_same(&self.credential)
        });
        RegisteredRegistry {
            id: self.id,
            organization: self.organization,
            display_name: self.display_name,
            host: self.host,
            authentication_type: self.authentication_type,
            credential: self.credential,
            credential_version: unchanged.map_or(revision, |before| before.credential_version),
            revision,
        }
    }
}

/// A container registry that an organization has registered, with a sealed credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegisteredRegistry {
    /// The id, unique within the organization.
    pub id: RegistryId,
    /// The organization.
    pub organization: OrganizationId,
    /// The display name.
    pub display_name: String,
    /// The host.
    pub host: RegistryHost,
    /// The authentication type.
    pub authentication_type: AuthenticationType,
    /// The stored credential.
    pub credential: StoredCredential,
    /// The revision that introduced the current login. Together with the organization it identifies
    /// the login permanently: no other login gets the same version, even after the registry is
    /// removed and registered again.
    pub credential_version: u64,
    /// The revision, which increases with every change of the registration. The store assigns it,
    /// and no revision occurs twice within an organization.
    pub revision: u64,
}

/// The stored credential of a registry, never in plain text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StoredCredential {
    /// No credential: the registry is public, or the nodes have their own access.
    None,
    /// A sealed credential. A [`Sealer`](crate::sealer::Sealer) opens it.
    Sealed(SealedCredential),
    /// The name of a Secret that exists on every data plane.
    ExistingSecret(String),
    /// The key of a secret from which External Secrets creates a Secret on the data plane. Not
    /// every backend supports it: choreo-deploy-kubernetes rejects it.
    ExternalSecret(String),
}

impl StoredCredential {
    /// Returns `true` if both are the same login. Two sealings of one login count as different,
    /// because only a [`Sealer`](crate::sealer::Sealer) can compare them.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Sealed(one), Self::Sealed(other)) => one.is_same_sealing(other),
            (Self::ExistingSecret(one), Self::ExistingSecret(other))
            | (Self::ExternalSecret(one), Self::ExternalSecret(other)) => one == other,
            _ => false,
        }
    }
}
