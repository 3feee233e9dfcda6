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
    /// Stores a registry, in the place of the one with its id, unless somebody else was faster.
    ///
    /// `expected` is the [revision](RegisteredRegistry::revision) that the caller has read: `None` for
    /// a registry that is not there yet.
    ///
    /// # Contract
    /// - It is a [`Conflict`](super::StoreErrorKind::Conflict) unless the stored revision is
    ///   `expected`.
    /// - The revision is greater than every one that a registry of the organization ever had, also
    ///   one that was removed, and than all before the store was
    ///   [restored](super::DeploymentStore::raise_epoch).
    /// - The [credential version](RegisteredRegistry::credential_version) becomes the revision when
    ///   the host, the authentication type or the credential changes, and stays otherwise. Wrapping a
    ///   sealed credential with another key does not change it.
    /// - Ids are unique within their organization: what another one has registered neither stands in
    ///   the way nor is changed.
    ///
    /// # Errors
    /// As above, and those of the database.
    async fn put_registry(
        &self,
        registry: NewRegistry,
        expected: Option<u64>,
    ) -> Result<RegisteredRegistry, StoreError>;

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

/// A registration that is to be stored. The store gives it a revision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewRegistry {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its identity, unique within the organization.
    pub id: RegistryId,
    /// What people call it.
    pub display_name: String,
    /// Where it is.
    pub host: RegistryHost,
    /// How its users chose to authenticate.
    pub authentication_type: AuthenticationType,
    /// The credential, as it is stored.
    pub credential: StoredCredential,
}

impl NewRegistry {
    /// A registry without a credential.
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
    /// A sealed one opens only with the organization, id and host that are stored beside it: seal it
    /// for a [`SealingContext`](crate::sealer::SealingContext) of the same.
    #[must_use]
    pub fn with_credential(self, credential: StoredCredential) -> Self {
        Self { credential, ..self }
    }

    /// The registration as a store keeps it under a new revision, in the place of the one before.
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

/// A container registry that an organization has registered, with its credential sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegisteredRegistry {
    /// Its identity, unique within the organization.
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
    /// The revision that brought the present login. With the organization it names the login for
    /// ever: no other one has the same version, whatever is removed and registered again.
    pub credential_version: u64,
    /// Grows with every change of the registration. Given by the store, never twice within an
    /// organization.
    pub revision: u64,
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

impl StoredCredential {
    /// Whether both are one login. Two sealings of the same login are not: only a
    /// [`Sealer`](crate::sealer::Sealer) could tell.
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
