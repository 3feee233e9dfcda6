//! Registered registries.

use async_trait::async_trait;

use super::InMemoryStore;
use crate::id::{OrganizationId, RegistryId};
use crate::store::{RegisteredRegistry, RegistryStore, StoreError, StoreErrorKind};

#[async_trait]
impl RegistryStore for InMemoryStore {
    async fn put_registry(&self, registry: RegisteredRegistry) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(known) = state.registries.get(&registry.id) {
            if known.organization != registry.organization {
                let message = format!("registry id {} is taken", registry.id);
                return Err(StoreError::new(StoreErrorKind::Conflict, message));
            }
            if known.credential_version > registry.credential_version {
                let message = format!(
                    "registry {} has credential version {} already",
                    registry.id, known.credential_version
                );
                return Err(StoreError::new(StoreErrorKind::Conflict, message));
            }
        }
        state.registries.insert(registry.id.clone(), registry);
        Ok(())
    }

    async fn registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<Option<RegisteredRegistry>, StoreError> {
        let state = self.lock();
        let registry = state.registries.get(id);
        Ok(registry
            .filter(|registry| registry.organization == *organization)
            .cloned())
    }

    async fn registries(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<RegisteredRegistry>, StoreError> {
        let state = self.lock();
        let of = |registry: &&RegisteredRegistry| registry.organization == *organization;
        let mut registries: Vec<_> = state.registries.values().filter(of).cloned().collect();
        registries.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(registries)
    }

    async fn remove_registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let ours = state
            .registries
            .get(id)
            .is_some_and(|known| known.organization == *organization);
        Ok(ours && state.registries.remove(id).is_some())
    }
}
