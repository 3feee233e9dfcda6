//! Clauses about accepting deployments.

use super::StoreClause;
use super::steps::{
    accept, acme, at, claim, claim_run, deployment, finish, id, id_of, join_all, key_of, keyed,
    new, new_run, pin, ready_run, token, workload,
};
use crate::conformance::fixture::example_target;
use crate::deployment::{Cause, Phase, Subject};
use crate::reason::ReasonCode;
use crate::release::{ReleaseDraft, ReleaseImage, ReleaseNumber};
use crate::run::RunPhase;
use crate::settings::Settings;
use crate::store::{
    AcceptError, DeploymentQuery, NewDeployment, Outcome, Progress, RunOutcome, RunProgress,
    SettingsChoice, Store, StoreErrorKind, WorkStage,
};
use crate::workload::Scaling;

impl StoreClause {
    /// An accepted deployment is stored and due.
    pub async fn accepted_is_stored_and_due(store: &dyn Store) {
        let accepted = accept(store, "orders", 1, at(0)).await;
        assert!(!accepted.replayed && accepted.superseded.is_none());
        let stored = deployment(store, "d-1").await;
        assert_eq!(stored, accepted.deployment, "the answer is stored");
        assert_eq!(stored.phase, Phase::Accepted);
        assert_eq!(
            store.next_due().await.expect("reads"),
            Some(at(0)),
            "it is due at once"
        );
        let claimed = claim(store, at(0)).await.expect("it can be claimed");
        assert_eq!(claimed.deployment, stored);
        assert_eq!(
            claimed.workload,
            Some(workload()),
            "the claim contains the workload"
        );
        assert!(
            claimed.release.is_none()
                && claimed.stage == WorkStage::ToApply
                && claimed.attempt == 0
        );
    }

    /// The generation grows with every deployment of a target.
    pub async fn generations_grow(store: &dyn Store) {
        let mut last = None;
        for number in 1..=4 {
            let generation = accept(store, "orders", number, at(number))
                .await
                .deployment
                .generation;
            assert!(last < Some(generation), "{generation} comes after {last:?}");
            last = Some(generation);
        }
    }

    /// A newer deployment supersedes the previous one, unless that ended.
    pub async fn newer_deployment_supersedes(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let second = accept(store, "orders", 2, at(1)).await;
        assert_eq!(second.superseded, Some(id("d-1")));
        let first = deployment(store, "d-1").await;
        assert_eq!(first.phase, Phase::Superseded);
        assert_eq!(first.reasons[0].code, ReasonCode::NewerDeployment);

        finish(store, at(2), Phase::Ready).await;
        assert_eq!(accept(store, "orders", 3, at(3)).await.superseded, None);
        assert_eq!(
            deployment(store, "d-2").await.phase,
            Phase::Ready,
            "an ended deployment is unchanged"
        );
    }

    /// A request with the same idempotency key returns the same deployment.
    pub async fn same_key_is_the_same_deployment(store: &dyn Store) {
        let first = store
            .accept(keyed("orders", 1, at(0), [1; 32]))
            .await
            .expect("accepts");
        let again = store
            .accept(keyed("orders", 2, at(1), [1; 32]))
            .await
            .expect("accepts again");
        assert!(again.replayed && !first.replayed);
        assert_eq!(again.deployment.id, first.deployment.id);
        assert_eq!(
            store.deployment(&acme(), &id("d-2")).await.expect("reads"),
            None,
            "nothing was stored"
        );
        let other = store
            .accept(keyed("billing", 3, at(1), [1; 32]))
            .await
            .expect("accepts");
        assert!(!other.replayed, "keys of another component are independent");
    }

    /// The same idempotency key is rejected for another request.
    pub async fn reused_key_is_refused(store: &dyn Store) {
        store
            .accept(keyed("orders", 1, at(0), [1; 32]))
            .await
            .expect("accepts");
        let error = store
            .accept(keyed("orders", 2, at(1), [2; 32]))
            .await
            .expect_err("refuses");
        assert!(matches!(error, AcceptError::KeyReused(known) if known.id == id("d-1")));
        assert_eq!(
            deployment(store, "d-1").await.phase,
            Phase::Accepted,
            "nothing was changed"
        );
    }

    /// An expired idempotency key is forgotten.
    pub async fn expired_key_is_forgotten(store: &dyn Store) {
        store
            .accept(keyed("orders", 1, at(0), [1; 32]))
            .await
            .expect("accepts");
        let again = keyed("orders", 2, at(599), [1; 32]);
        assert!(store.accept(again).await.expect("accepts").replayed);
        let at_its_end = keyed("orders", 3, at(600), [2; 32]);
        assert!(!store.accept(at_its_end).await.expect("accepts").replayed);
    }

    /// A clock that was ahead and is corrected expires no key early.
    pub async fn key_outlives_a_clock_that_was_ahead(store: &dyn Store) {
        store
            .accept(keyed("orders", 1, at(0), [1; 32]))
            .await
            .expect("accepts");
        let days = 6 * 24 * 3600;
        for number in 2..10 {
            let ahead = keyed("billing", number, at(days + 1000 * number), [1; 32]);
            let ahead = store.accept(ahead).await.expect("accepts");
            assert!(!ahead.replayed, "its key has expired");
        }
        let again = store
            .accept(keyed("orders", 11, at(1), [1; 32]))
            .await
            .expect("accepts again");
        assert!(again.replayed, "its key has not expired");
    }

    /// Concurrent requests with one key create one deployment.
    pub async fn concurrent_same_key_is_one_deployment(store: &dyn Store) {
        let requests = (1..=16).map(|number| store.accept(keyed("orders", number, at(0), [1; 32])));
        let mut first = None;
        for accepted in join_all(requests).await {
            let accepted = accepted.expect("accepts or replays");
            let id = accepted.deployment.id;
            assert_eq!(first.get_or_insert_with(|| id.clone()), &id);
        }
        let all = store
            .deployments(&DeploymentQuery::default())
            .await
            .expect("reads");
        assert_eq!(all.len(), 1);
    }

    /// A token is checked again in the transaction that accepts the deployment.
    pub async fn token_is_checked_again(store: &dyn Store) {
        store
            .issue_token(token("t-1", "orders", at(0)))
            .await
            .expect("issues");
        let mut foreign = token("t-7", "orders", at(0));
        foreign.organization = id_of("other");
        store.issue_token(foreign).await.expect("issues");
        let with = |component: &str, number, at, token: &str| NewDeployment {
            cause: Cause::Ci(id_of(token)),
            ..new(component, number, at)
        };
        store
            .accept(with("orders", 1, at(1), "t-1"))
            .await
            .expect("a valid token is accepted");
        for (component, number, at, token, why) in [
            ("orders", 2, at(1), "t-2", "an unknown token"),
            ("billing", 3, at(1), "t-1", "the token of another component"),
            ("orders", 4, at(100_000), "t-1", "an expired token"),
            (
                "orders",
                6,
                at(1),
                "t-7",
                "the token of another organization",
            ),
        ] {
            let result = store.accept(with(component, number, at, token)).await;
            assert!(
                matches!(result, Err(AcceptError::TokenRefused)),
                "{why} is refused"
            );
        }
        store
            .revoke_token(&key_of("orders"), &id_of("t-1"), at(2))
            .await
            .expect("revokes");
        let result = store.accept(with("orders", 5, at(3), "t-1")).await;
        assert!(
            matches!(result, Err(AcceptError::TokenRefused)),
            "a revoked token is rejected"
        );
        assert_eq!(
            deployment(store, "d-1").await.phase,
            Phase::Accepted,
            "nothing was changed"
        );
    }

    /// A held target rejects automatic deployments, but not people, until its hold is released.
    pub async fn held_target_refuses_machines(store: &dyn Store) {
        let rollback = NewDeployment {
            hold: true,
            ..new("orders", 1, at(0))
        };
        store.accept(rollback).await.expect("accepts");
        let automatic = |number| NewDeployment {
            cause: Cause::PushEvent,
            ..new("orders", number, at(1))
        };
        let error = store.accept(automatic(2)).await.expect_err("held");
        assert!(matches!(error, AcceptError::Held(hold) if hold.by == id("d-1")));
        accept(store, "orders", 3, at(2)).await;
        assert!(matches!(
            store.accept(automatic(4)).await,
            Err(AcceptError::Held(_))
        ));

        let target = example_target("orders");
        assert!(
            store.release_hold(&target, at(3)).await.expect("releases"),
            "it was held"
        );
        assert!(
            !store.release_hold(&target, at(3)).await.expect("releases"),
            "it is no longer held"
        );
        store.accept(automatic(5)).await.expect("accepts again");
    }

    /// Unchanged settings keep their version, and a deployment can select a version.
    pub async fn settings_keep_their_version(store: &dyn Store) {
        let with = |number, settings| NewDeployment {
            settings,
            ..new("orders", number, at(number))
        };
        let three = Settings::default().with_scaling(Scaling::fixed(3));
        let version = async |new| {
            store
                .accept(new)
                .await
                .expect("accepts")
                .deployment
                .settings_version
        };
        assert_eq!(
            version(with(1, SettingsChoice::Now(Settings::default()))).await,
            1
        );
        assert_eq!(
            version(with(2, SettingsChoice::Now(Settings::default()))).await,
            1
        );
        assert_eq!(
            version(with(3, SettingsChoice::Now(three.clone()))).await,
            2
        );
        assert_eq!(version(with(4, SettingsChoice::Version(1))).await, 1);
        assert_eq!(
            version(with(5, SettingsChoice::Now(three.clone()))).await,
            2
        );
        let result = store.accept(with(6, SettingsChoice::Version(9))).await;
        assert!(matches!(result, Err(AcceptError::SettingsMissing(9))));
        let target = example_target("orders");
        assert_eq!(
            store.settings(&target, 2).await.expect("reads"),
            Some(three)
        );
        assert_eq!(store.settings(&target, 3).await.expect("reads"), None);
        let claimed = claim(store, at(9)).await.expect("claims");
        assert_eq!(
            claimed.settings.scaling,
            Some(Scaling::fixed(3)),
            "the claim contains the settings"
        );
    }

    /// A selected release must exist and be pinned.
    pub async fn named_release_exists_and_is_pinned(store: &dyn Store) {
        let named = |id: u64, number: u64| {
            let subject = Subject::Release(ReleaseNumber::new(number).expect("not 0"));
            NewDeployment {
                subject,
                workload: None,
                ..new("orders", id, at(id))
            }
        };
        let result = store.accept(named(1, 1)).await;
        assert!(matches!(result, Err(AcceptError::ReleaseMissing(_))));

        accept(store, "orders", 2, at(2)).await;
        let claimed = claim(store, at(2)).await.expect("claims");
        let image =
            ReleaseImage::unpinned("registry.example.com/shop/app:1".parse().expect("valid"));
        let draft = ReleaseDraft::new(workload(), image);
        store
            .record_release(&claimed.claim, draft, at(2))
            .await
            .expect("records");
        let result = store.accept(named(3, 1)).await;
        assert!(matches!(result, Err(AcceptError::ReleaseNotPinned(_))));

        store
            .record_pin(&claimed.claim, pin(1))
            .await
            .expect("pins");
        let accepted = store.accept(named(4, 1)).await.expect("accepts");
        assert_eq!(accepted.deployment.release, ReleaseNumber::new(1));
        let claimed = claim(store, at(9)).await.expect("claims");
        assert_eq!(
            claimed
                .release
                .expect("the claim contains the release")
                .image
                .pin,
            Some(pin(1))
        );
    }

    /// An id is unique, and a final phase never changes.
    pub async fn ids_and_phases_are_checked(store: &dyn Store) {
        let run = ready_run(store).await;
        let again = NewDeployment {
            accepted_at: at(9),
            ..new("billing", 1, at(9))
        };
        let error = store.accept(again).await.expect_err("the id is taken");
        assert!(
            matches!(error, AcceptError::Store(error) if error.kind() == StoreErrorKind::Conflict)
        );
        let error = store
            .accept_run(new_run("r-1", at(9)))
            .await
            .expect_err("the id is taken");
        assert!(
            matches!(error, AcceptError::Store(error) if error.kind() == StoreErrorKind::Conflict)
        );

        accept(store, "orders", 2, at(1)).await;
        let claim = claim(store, at(3)).await.expect("claims").claim;
        let final_progress = Progress::new(Phase::Ready, at(4), at(5));
        let error = store
            .put_back(&claim, final_progress)
            .await
            .expect_err("the phase is not final");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let open = Outcome::new(Phase::Progressing, vec![], at(4));
        let error = store
            .finish(&claim, open)
            .await
            .expect_err("the phase is final");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        assert_eq!(
            deployment(store, "d-2").await.phase,
            Phase::Accepted,
            "nothing was changed"
        );

        let claim = claim_run(store, at(3)).await.expect("claims").claim;
        let final_progress = RunProgress::new(RunPhase::Failed, at(4), at(5));
        let error = store
            .put_back_run(&claim, final_progress)
            .await
            .expect_err("the phase is not final");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let open = RunOutcome::new(RunPhase::Running, None, vec![], at(4));
        let error = store
            .finish_run(&claim, open)
            .await
            .expect_err("the phase is final");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let stored = store
            .run(&acme(), &run.id)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(stored.phase, RunPhase::Pending, "nothing was changed");
    }
}
