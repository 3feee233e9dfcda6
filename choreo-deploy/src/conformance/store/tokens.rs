//! Clauses about deploy tokens.

use super::StoreClause;
use super::steps::{at, id_of, key_of, token};
use crate::store::{Store, StoreErrorKind};

impl StoreClause {
    /// A component has at most two valid tokens, and an id is unique.
    pub async fn two_live_tokens_at_most(store: &dyn Store) {
        store
            .issue_token(token("t-1", "orders", at(0)))
            .await
            .expect("issues");
        store
            .issue_token(token("t-2", "orders", at(1)))
            .await
            .expect("issues");
        let error = store
            .issue_token(token("t-3", "orders", at(2)))
            .await
            .expect_err("a third");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        store
            .issue_token(token("t-4", "billing", at(2)))
            .await
            .expect("another component's");
        let error = store
            .issue_token(token("t-4", "catalog", at(2)))
            .await
            .expect_err("taken");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        store
            .revoke_token(&key_of("orders"), &id_of("t-1"), at(3))
            .await
            .expect("revokes");
        store
            .issue_token(token("t-5", "orders", at(4)))
            .await
            .expect("there is room again");
        let late = at(50_000 + 100);
        store
            .issue_token(token("t-6", "orders", late))
            .await
            .expect("expired ones do not count");
        let all = store.tokens(&key_of("orders")).await.expect("reads");
        let ids: Vec<_> = all.iter().map(|token| token.id.as_str()).collect();
        assert_eq!(
            ids,
            ["t-6", "t-5", "t-2", "t-1"],
            "newest first, valid or not"
        );
    }

    /// A revoked token stays revoked since its first revocation.
    pub async fn revoked_token_stays_revoked(store: &dyn Store) {
        store
            .issue_token(token("t-1", "orders", at(0)))
            .await
            .expect("issues");
        assert!(
            store
                .revoke_token(&key_of("orders"), &id_of("t-1"), at(5))
                .await
                .expect("revokes"),
            "it was valid"
        );
        assert!(
            !store
                .revoke_token(&key_of("orders"), &id_of("t-1"), at(6))
                .await
                .expect("revokes"),
            "it was revoked before"
        );
        let stored = store
            .token(&id_of("t-1"))
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(stored.revoked_at, Some(at(5)));
        let error = store
            .revoke_token(&key_of("orders"), &id_of("t-9"), at(7))
            .await
            .expect_err("no such token");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }

    /// The use of a token is recorded at most once a minute.
    pub async fn use_is_noted_once_a_minute(store: &dyn Store) {
        store
            .issue_token(token("t-1", "orders", at(0)))
            .await
            .expect("issues");
        let used = async |seconds| {
            store
                .touch_token(&id_of("t-1"), at(seconds))
                .await
                .expect("notes");
            let stored = store.token(&id_of("t-1")).await.expect("reads");
            stored.expect("is there").last_used_at
        };
        assert_eq!(used(10).await, Some(at(10)));
        assert_eq!(used(69).await, Some(at(10)));
        assert_eq!(used(70).await, Some(at(70)));
        store
            .touch_token(&id_of("t-9"), at(1))
            .await
            .expect("an unknown token is ignored");
    }
}
