//! Clauses about claims and the writes with them.

use super::StoreClause;
use super::steps::{
    accept, assert_all_stale, at, claim, deployment, finish, id, leave, new, pin, plane,
    record_release, workload,
};
use crate::conformance::fixture::{example_image, example_target};
use crate::deployment::{Phase, Subject};
use crate::reason::{Reason, ReasonCode};
use crate::release::{ReleaseDraft, ReleaseImage, ReleaseNumber};
use crate::store::{NewDeployment, Outcome, Progress, Store, StoreErrorKind, WorkStage};

impl StoreClause {
    /// A target is claimed only if it is due and not claimed.
    pub async fn claimed_only_when_due(store: &dyn Store) {
        accept(store, "orders", 1, at(10)).await;
        assert!(claim(store, at(9)).await.is_none(), "not before it is due");
        assert!(claim(store, at(10)).await.is_some());
        assert!(claim(store, at(11)).await.is_none(), "it is claimed");
        accept(store, "billing", 2, at(12)).await;
        accept(store, "catalog", 3, at(11)).await;
        let first = claim(store, at(13)).await.expect("claims");
        assert_eq!(
            first.deployment.id,
            id("d-3"),
            "the earliest work comes first"
        );
    }

    /// Each claim has a greater fence, and a write with an older one is stale.
    pub async fn fences_grow_and_old_claims_are_stale(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let old = claim(store, at(0)).await.expect("claims").claim;
        let new = claim(store, at(31))
            .await
            .expect("the lease has expired")
            .claim;
        assert!(new.fence > old.fence);
        assert_all_stale(store, &old).await;
        store
            .renew(&new, at(90))
            .await
            .expect("the new claim is valid");
    }

    /// A claim on a deployment that was superseded is stale.
    pub async fn superseded_claims_are_stale(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let old = claim(store, at(0)).await.expect("claims").claim;
        accept(store, "orders", 2, at(1)).await;
        assert_all_stale(store, &old).await;
        let new = claim(store, at(1))
            .await
            .expect("the new deployment is due at once");
        assert_eq!(new.deployment.id, id("d-2"));
        assert_all_stale(store, &old).await;
        assert_eq!(deployment(store, "d-2").await.phase, Phase::Accepted);
    }

    /// An expired lease frees the target.
    pub async fn expired_lease_is_claimed_again(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        claim(store, at(0)).await.expect("claims");
        assert!(
            claim(store, at(29)).await.is_none(),
            "the lease is valid for 30 s"
        );
        assert!(claim(store, at(30)).await.is_some(), "then it has expired");
    }

    /// A renewed lease is valid.
    pub async fn renewed_lease_holds(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let claimed = claim(store, at(0)).await.expect("claims");
        store.renew(&claimed.claim, at(60)).await.expect("renews");
        assert!(claim(store, at(59)).await.is_none());
        assert_eq!(store.next_due().await.expect("reads"), Some(at(60)));
        assert!(claim(store, at(60)).await.is_some());
    }

    /// The numbers of releases begin at 1 without gaps, and a deployment keeps its release.
    pub async fn releases_count_without_a_gap(store: &dyn Store) {
        for number in 1..=3 {
            accept(store, "orders", number, at(number)).await;
            let claimed = claim(store, at(number)).await.expect("claims");
            let first = record_release(store, &claimed, number).await;
            let again = record_release(store, &claimed, 99).await;
            assert_eq!(first, again, "a deployment keeps its release");
            assert_eq!(first.number.get(), number);
        }
        let component = example_target("orders").component_key();
        let newest = store.releases(&component, 2).await.expect("reads");
        assert_eq!(
            newest
                .iter()
                .map(|release| release.number.get())
                .collect::<Vec<_>>(),
            [3, 2]
        );
        let one = store
            .release(&component, ReleaseNumber::FIRST)
            .await
            .expect("reads");
        assert_eq!(one.expect("is there").image.requested, example_image(1));
        let other = example_target("billing").component_key();
        assert_eq!(store.releases(&other, 9).await.expect("reads"), []);
    }

    /// A pin is set once.
    pub async fn pin_is_set_once(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let claimed = claim(store, at(0)).await.expect("claims");
        let error = store
            .record_pin(&claimed.claim, pin(1))
            .await
            .expect_err("no release yet");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
        let image =
            ReleaseImage::unpinned("registry.example.com/shop/app:1".parse().expect("valid"));
        let draft = ReleaseDraft::new(workload(), image);
        store
            .record_release(&claimed.claim, draft, at(0))
            .await
            .expect("records");
        let progress = Progress {
            stage: WorkStage::Applied,
            ..Progress::new(Phase::Progressing, at(0), at(0))
        };
        store
            .put_back(&claimed.claim, progress)
            .await
            .expect("puts back");
        let claimed = claim(store, at(0)).await.expect("claims");
        let first = store
            .record_pin(&claimed.claim, pin(1))
            .await
            .expect("pins");
        assert_eq!(first.image.pin, Some(pin(1)));
        let second = store
            .record_pin(&claimed.claim, pin(2))
            .await
            .expect("keeps the pin");
        assert_eq!(second.image.pin, Some(pin(1)));
        // Its claim is dropped without a write, as by a worker that ended.
        let again = claim(store, at(100_000)).await.expect("claims");
        assert_eq!(
            again.stage,
            WorkStage::ToApply,
            "the running image is not the pinned one"
        );
    }

    /// Work that was put back is claimed at its time, with its progress.
    pub async fn put_back_is_claimed_later(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let claimed = claim(store, at(0)).await.expect("claims");
        let reason = Reason::new(ReasonCode::Waiting, "the rollout is in progress");
        let progress = Progress {
            reasons: vec![reason.clone()],
            stage: WorkStage::Applied,
            attempt: 2,
            ..Progress::new(Phase::Progressing, at(1), at(5))
        };
        store
            .put_back(&claimed.claim, progress)
            .await
            .expect("puts back");
        // A claim that was given back is invalid, also before the next claim.
        assert_all_stale(store, &claimed.claim).await;
        let stored = deployment(store, "d-1").await;
        assert_eq!(
            (stored.phase, &stored.reasons),
            (Phase::Progressing, &vec![reason])
        );
        assert!(
            stored.revision > claimed.deployment.revision,
            "readers see a change"
        );
        assert_eq!(store.next_due().await.expect("reads"), Some(at(5)));
        assert!(claim(store, at(4)).await.is_none());
        let again = claim(store, at(5)).await.expect("claims");
        assert!(again.stage == WorkStage::Applied && again.attempt == 2);
        assert_all_stale(store, &claimed.claim).await;
        let mut claimed = again;
        for stage in [
            WorkStage::ToApply,
            WorkStage::Failed,
            WorkStage::TimedOut,
            WorkStage::Leaving,
        ] {
            let progress = Progress {
                stage,
                ..Progress::new(Phase::Progressing, at(6), at(6))
            };
            store
                .put_back(&claimed.claim, progress)
                .await
                .expect("puts back");
            claimed = claim(store, at(6)).await.expect("claims");
            assert_eq!(claimed.stage, stage);
        }

        accept(store, "orders", 2, at(6)).await;
        let newer = claim(store, at(6)).await.expect("claims");
        assert!(
            newer.stage == WorkStage::ToApply && newer.attempt == 0,
            "a newer deployment has its own count"
        );
    }

    /// A deployment that is ready becomes the state of its target.
    pub async fn ready_becomes_the_targets_state(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let target = example_target("orders");
        let state = store
            .target(&target)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!((state.deployment, state.ready), (id("d-1"), None));
        finish(store, at(1), Phase::Ready).await;
        accept(store, "orders", 2, at(2)).await;
        finish(store, at(3), Phase::Failed).await;
        let state = store
            .target(&target)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(state.deployment, id("d-2"));
        let ready = state.ready.expect("the first stays ready");
        assert_eq!(
            (ready.deployment, ready.release),
            (id("d-1"), ReleaseNumber::FIRST)
        );
        assert_eq!(
            store.target(&example_target("other")).await.expect("reads"),
            None
        );
    }

    /// A deployment that begins to leave other places is stored as ready first, and a later failure does
    /// not change that.
    pub async fn what_leaves_is_the_targets_state(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        finish(store, at(1), Phase::Ready).await;
        accept(store, "orders", 2, at(2)).await;
        let leaving = leave(store, 2).await;
        let ready = leaving.ready.clone().expect("it is ready");
        assert_eq!(ready.deployment, id("d-2"));
        assert_eq!(leaving.planes, [plane("eu-1")].into());
        accept(store, "orders", 3, at(3)).await;
        finish(store, at(3), Phase::Failed).await;
        let target = example_target("orders");
        let state = store.target(&target).await.expect("reads");
        assert_eq!(state.expect("is there").ready, leaving.ready);
        let removal = NewDeployment {
            subject: Subject::Absence,
            workload: None,
            ..new("orders", 4, at(4))
        };
        store.accept(removal).await.expect("accepts");
        let removed = leave(store, 4).await;
        assert_eq!(removed.ready, None, "it is removed from now on");
        assert_eq!(removed.planes, [plane("eu-1")].into(), "it may be there");
    }

    /// A deployment that is ready and leaves its old places ends as ready if a newer one arrives. A
    /// removal in the same stage is superseded.
    pub async fn newer_deployment_ends_what_leaves(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        leave(store, 1).await;
        let newer = accept(store, "orders", 2, at(2)).await;
        assert_eq!(newer.superseded, None, "it was ready before");
        let ended = deployment(store, "d-1").await;
        assert_eq!(ended.phase, Phase::Ready);
        let codes: Vec<_> = ended.reasons.iter().map(|reason| reason.code).collect();
        assert_eq!(
            codes,
            [ReasonCode::Waiting, ReasonCode::NewerDeployment],
            "its own reasons stay, and the newer deployment is added"
        );
        assert_eq!(ended.changed_at, at(2));
        let state = store.target(&example_target("orders")).await;
        let state = state.expect("reads").expect("is there");
        assert_eq!(state.ready.expect("it is ready").deployment, id("d-1"));
        assert_eq!(state.planes, [plane("eu-1")].into(), "it left no place");

        finish(store, at(3), Phase::Failed).await;
        let removal = NewDeployment {
            subject: Subject::Absence,
            workload: None,
            ..new("orders", 3, at(4))
        };
        store.accept(removal).await.expect("accepts");
        leave(store, 4).await;
        let newer = accept(store, "orders", 4, at(5)).await;
        assert_eq!(newer.superseded, Some(id("d-3")), "it removed nothing yet");
        assert_eq!(deployment(store, "d-3").await.phase, Phase::Superseded);
    }

    /// A final deployment never changes again and is never claimed.
    pub async fn final_deployments_never_change(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let claimed = finish(store, at(1), Phase::Failed).await;
        assert!(claim(store, at(1000)).await.is_none());
        assert_eq!(store.next_due().await.expect("reads"), None);
        let before = deployment(store, "d-1").await;
        assert_all_stale(store, &claimed).await;
        assert_eq!(deployment(store, "d-1").await, before);
    }

    /// A removal that is ready clears the ready release.
    pub async fn absence_clears_the_ready_state(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        finish(store, at(1), Phase::Ready).await;
        let removal = NewDeployment {
            subject: Subject::Absence,
            workload: None,
            ..new("orders", 2, at(2))
        };
        store.accept(removal).await.expect("accepts");
        let claimed = claim(store, at(2)).await.expect("claims");
        let outcome = Outcome::new(Phase::Ready, vec![], at(3));
        store
            .finish(&claimed.claim, outcome)
            .await
            .expect("finishes");
        let state = store
            .target(&example_target("orders"))
            .await
            .expect("reads");
        assert_eq!(state.expect("is there").ready, None);
    }
}
