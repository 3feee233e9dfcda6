//! Clauses about registered registries.

use choreo_registry::RegistryHost;
use choreo_registry::authentication::AuthenticationType;

use super::StoreClause;
use super::steps::{accept, at, id_of, join_all};
use crate::store::{NewRegistry, RegisteredRegistry, Store, StoreErrorKind, StoredCredential};

/// Returns the registry `ghcr` of an organization, with a Secret that exists on the data planes.
fn registry(organization: &str, secret: &str) -> NewRegistry {
    NewRegistry::new(
        (id_of(organization), id_of("ghcr")),
        "GHCR",
        "ghcr.io".parse().expect("a host"),
        AuthenticationType::DockerConfig,
    )
    .with_credential(StoredCredential::ExistingSecret(secret.to_owned()))
}

async fn put(store: &dyn Store, new: NewRegistry, expected: Option<u64>) -> RegisteredRegistry {
    let stored = store.put_registry(new, expected).await;
    stored.expect("no other writer was faster")
}

async fn assert_conflict(store: &dyn Store, new: NewRegistry, expected: Option<u64>) {
    let error = store.put_registry(new, expected).await;
    let error = error.expect_err("another revision is stored");
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{expected:?}");
}

impl StoreClause {
    /// A registry is changed only by a writer that has read its present revision.
    pub async fn registries_are_compared_and_set(store: &dyn Store) {
        assert_conflict(store, registry("acme", "a"), Some(0)).await;
        assert_conflict(store, registry("acme", "a"), Some(1)).await;
        let first = put(store, registry("acme", "a"), None).await;
        assert_conflict(store, registry("acme", "b"), None).await;
        let second = put(store, registry("acme", "b"), Some(first.revision)).await;
        assert_conflict(store, registry("acme", "c"), Some(first.revision)).await;
        let same_time = (0..8).map(|number| {
            let new = registry("acme", &format!("at-once-{number}"));
            store.put_registry(new, Some(second.revision))
        });
        let won: Vec<_> = join_all(same_time).await.into_iter().flatten().collect();
        assert_eq!(
            won.len(),
            1,
            "one of the writers with the same revision succeeds"
        );
        let stored = store.registry(&id_of("acme"), &id_of("ghcr")).await;
        let stored = stored.expect("reads").expect("is there");
        let shown = |registry: &RegisteredRegistry| format!("{registry:?}");
        assert_eq!(shown(&stored), shown(&won[0]), "its registry is stored");
    }

    /// Revisions always grow, also after a removal.
    pub async fn registry_revisions_are_never_given_twice(store: &dyn Store) {
        let (acme, ghcr) = (id_of("acme"), id_of("ghcr"));
        let mut last = 0;
        for round in 0..4 {
            let mut expected = None;
            for step in 0..3 {
                let new = registry("acme", &format!("secret-{round}-{step}"));
                let stored = put(store, new, expected).await;
                assert!(stored.revision > last, "{} > {last}", stored.revision);
                assert!(
                    stored.credential_version > last,
                    "the credential is another one"
                );
                last = stored.revision;
                expected = Some(last);
            }
            assert!(store.remove_registry(&acme, &ghcr).await.expect("removes"));
            assert_conflict(store, registry("acme", "gone"), expected).await;
        }
    }

    /// After a restored backup, no number is issued again.
    pub async fn a_raised_epoch_numbers_higher(store: &dyn Store) {
        let before = accept(store, "orders", 1, at(0)).await.deployment;
        let first = put(store, registry("acme", "a"), None).await;
        let mut last = (before.generation, first.revision);
        // The clock stopped or was set back.
        for (number, now) in [(2, at(10)), (4, at(10)), (6, at(5))] {
            let epoch = store.raise_epoch(now).await.expect("raises");
            assert!(epoch > last.0.epoch, "{epoch} is a new one");
            assert!(i64::try_from(epoch).expect("fits") >= now.as_second());
            let known = accept(store, "orders", number, now).await.deployment;
            let fresh = accept(store, &format!("fresh-{number}"), number + 1, now).await;
            assert!(
                known.generation > last.0,
                "{} > {}",
                known.generation,
                last.0
            );
            let epochs = (known.generation.epoch, fresh.deployment.generation.epoch);
            assert_eq!(epochs, (epoch, epoch), "of every target");
            let stored = put(store, registry("acme", "a"), Some(last.1)).await;
            let another = put(store, registry(&format!("of-{number}"), "a"), None).await;
            for revision in [stored.revision, another.revision] {
                assert!(
                    revision >= epoch * 1000,
                    "{revision} was never given before"
                );
            }
            assert!(stored.revision > last.1);
            assert_eq!(stored.credential_version, first.credential_version);
            assert_eq!(another.credential_version, another.revision);
            last = (known.generation, stored.revision);
        }
    }

    /// The version of the credential changes if and only if the credential changes.
    pub async fn credential_versions_follow_the_login(store: &dyn Store) {
        let first = put(store, registry("acme", "a"), None).await;
        assert_eq!(first.credential_version, first.revision);
        let mut renamed = registry("acme", "a");
        renamed.display_name = "GitHub".to_owned();
        let renamed = put(store, renamed, Some(first.revision)).await;
        assert!(renamed.revision > first.revision);
        assert_eq!(renamed.credential_version, first.credential_version);

        let mut moved = registry("acme", "a");
        let elsewhere: RegistryHost = "registry.example.com".parse().expect("a host");
        moved.host = elsewhere.clone();
        let moved = put(store, moved, Some(renamed.revision)).await;
        assert_eq!(moved.credential_version, moved.revision, "another host");
        let mut public = registry("acme", "a");
        (public.host, public.authentication_type) = (elsewhere, AuthenticationType::Public);
        let public = put(store, public, Some(moved.revision)).await;
        assert_eq!(public.credential_version, public.revision, "another type");
        let last = put(store, registry("acme", "b"), Some(public.revision)).await;
        assert_eq!(last.credential_version, last.revision, "another credential");
        let stored = store.registry(&id_of("acme"), &id_of("ghcr")).await;
        let stored = stored.expect("reads").expect("is there");
        let versions = (stored.credential_version, stored.revision);
        assert_eq!(versions, (last.credential_version, last.revision));
    }

    /// Ids are unique within their organization: another organization neither sees nor changes them.
    pub async fn registries_belong_to_one_organization(store: &dyn Store) {
        let (acme, other, id) = (id_of("acme"), id_of("other"), id_of("ghcr"));
        let ours = put(store, registry("acme", "ours"), None).await;
        assert!(store.registry(&other, &id).await.expect("reads").is_none());
        assert_eq!(store.registries(&other).await.expect("reads").len(), 0);
        let removed = store.remove_registry(&other, &id).await.expect("reads");
        assert!(!removed, "the other organization has no such registry");

        let theirs = put(store, registry("other", "theirs"), None).await;
        assert_conflict(store, registry("other", "ours"), None).await;
        let stored = store.registry(&acme, &id).await.expect("reads");
        let stored = stored.expect("is there");
        assert_eq!(format!("{stored:?}"), format!("{ours:?}"));
        assert_eq!(store.registries(&acme).await.expect("reads").len(), 1);
        assert!(store.remove_registry(&acme, &id).await.expect("removes"));
        let left = store.registry(&other, &id).await.expect("reads");
        let left = left.expect("is there");
        assert_eq!(format!("{left:?}"), format!("{theirs:?}"));
    }
}
