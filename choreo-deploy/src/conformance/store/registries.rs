//! Registered registries.

use choreo_registry::authentication::AuthenticationType;

use super::StoreClause;
use super::steps::id_of;
use crate::store::{RegisteredRegistry, Store, StoreErrorKind};

impl StoreClause {
    /// A registry belongs to one organization, and its credential's version never goes down.
    pub async fn registries_belong_to_one_organization(store: &dyn Store) {
        let (acme, other) = (id_of("acme"), id_of("other"));
        let registry = |organization: &crate::id::OrganizationId, version| RegisteredRegistry {
            credential_version: version,
            ..RegisteredRegistry::new(
                (organization.clone(), id_of("ghcr")),
                "GHCR",
                "ghcr.io".parse().expect("a host"),
                AuthenticationType::Public,
            )
        };
        store
            .put_registry(registry(&acme, 2))
            .await
            .expect("stores");
        store
            .put_registry(registry(&acme, 3))
            .await
            .expect("replaces");
        let error = store
            .put_registry(registry(&acme, 2))
            .await
            .expect_err("an older credential");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let error = store
            .put_registry(registry(&other, 9))
            .await
            .expect_err("another's");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let id = id_of("ghcr");
        let stored = store
            .registry(&acme, &id)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(
            (stored.credential_version, stored.host.as_str()),
            (3, "ghcr.io")
        );
        assert!(store.registry(&other, &id).await.expect("reads").is_none());
        assert_eq!(store.registries(&acme).await.expect("reads").len(), 1);
        assert_eq!(store.registries(&other).await.expect("reads").len(), 0);
        assert!(
            !store
                .remove_registry(&other, &id)
                .await
                .expect("removes nothing")
        );
        assert!(store.remove_registry(&acme, &id).await.expect("removes"));
        assert!(store.registry(&acme, &id).await.expect("reads").is_none());
    }
}
