//! Registered registries.

use async_trait::async_trait;

use super::InMemoryStore;
use crate::id::{OrganizationId, RegistryId};
use crate::store::{NewRegistry, RegisteredRegistry, RegistryStore, StoreError};

#[async_trait]
impl RegistryStore for InMemoryStore {
    async fn put_registry(
        &self,
        registry: NewRegistry,
        expected: Option<u64>,
    ) -> Result<RegisteredRegistry, StoreError> {
        let mut state = self.lock();
        let organization = registry.organization.clone();
        let key = (organization.clone(), registry.id.clone());
        let before = state.registries.get(&key);
        if before.map(|before| before.revision) != expected {
            return Err(StoreError::registry_changed(&registry.id, expected));
        }
        let newest = state.registry_revisions.get(&organization);
        let revision = newest.map_or(1, |newest| newest + 1);
        let revision = revision.max(state.epoch.saturating_mul(1000));
        let registered = registry.registered(revision, before);
        state.registry_revisions.insert(organization, revision);
        state.registries.insert(key, registered.clone());
        Ok(registered)
    }

    async fn registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<Option<RegisteredRegistry>, StoreError> {
        let key = (organization.clone(), id.clone());
        Ok(self.lock().registries.get(&key).cloned())
    }

    async fn registries(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<RegisteredRegistry>, StoreError> {
        let state = self.lock();
        let of = |registry: &&RegisteredRegistry| registry.organization == *organization;
        Ok(state.registries.values().filter(of).cloned().collect())
    }

    async fn remove_registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<bool, StoreError> {
        let key = (organization.clone(), id.clone());
        Ok(self.lock().registries.remove(&key).is_some())
    }
}
