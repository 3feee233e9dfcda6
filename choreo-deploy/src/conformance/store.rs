use std::time::Duration;

use choreo_registry::authentication::AuthenticationType;
use choreo_registry::{Digest, ImageReference};
use jiff::{SignedDuration, Timestamp};

use super::fixture::{example_image, example_target};
use crate::deployment::{Cause, Deployment, Phase, RequestedImage, Subject};
use crate::id::{ComponentId, DataPlaneId, DeploymentId, TokenId};
use crate::reason::{Reason, ReasonCode};
use crate::release::{Pin, Pinning, ReleaseDraft, ReleaseImage, ReleaseNumber};
use crate::run::RunPhase;
use crate::settings::Settings;
use crate::store::{
    AcceptError, Accepted, Claim, ClaimRequest, ClaimedDeployment, DeploymentQuery, Idempotency,
    NewDeployment, NewRun, Outcome, Progress, RegisteredRegistry, RunOutcome, RunProgress,
    SettingsChoice, Store, StoreError, StoreErrorKind,
};
use crate::token::{TokenDigest, TokenRecord};
use crate::workload::{ManualTask, Scaling, Workload};

/// The clauses for stores, one for each sentence of the contracts.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreClause {}

impl StoreClause {
    /// What was accepted is stored, and due.
    pub async fn accepted_is_stored_and_due(store: &dyn Store) {
        let accepted = accept(store, "orders", 1, at(0)).await;
        assert!(!accepted.replayed && accepted.superseded.is_none());
        let stored = deployment(store, "d-1").await;
        assert_eq!(
            stored, accepted.deployment,
            "what was answered is what is stored"
        );
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
            "the claim brings what runs"
        );
        assert!(claimed.release.is_none() && !claimed.applied && claimed.attempt == 0);
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

    /// A newer deployment supersedes the one before, unless that has ended.
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
            "what has ended stays"
        );
    }

    /// The same idempotency key for the same request is the same deployment.
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
            store.deployment(&id("d-2")).await.expect("reads"),
            None,
            "nothing was stored"
        );
        let other = store
            .accept(keyed("billing", 3, at(1), [1; 32]))
            .await
            .expect("accepts");
        assert!(!other.replayed, "keys of another component are apart");
    }

    /// The same idempotency key for another request is refused.
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

    /// After its time an idempotency key is forgotten.
    pub async fn expired_key_is_forgotten(store: &dyn Store) {
        store
            .accept(keyed("orders", 1, at(0), [1; 32]))
            .await
            .expect("accepts");
        let late = store
            .accept(keyed("orders", 2, at(601), [2; 32]))
            .await
            .expect("accepts");
        assert!(!late.replayed);
    }

    /// Many requests with one key at once are one deployment.
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

    /// A token is checked again where the deployment is accepted.
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
            .expect("a live token is accepted");
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
            .revoke_token(&id_of("t-1"), at(2))
            .await
            .expect("revokes");
        let result = store.accept(with("orders", 5, at(3), "t-1")).await;
        assert!(
            matches!(result, Err(AcceptError::TokenRefused)),
            "a revoked token is refused"
        );
        assert_eq!(
            deployment(store, "d-1").await.phase,
            Phase::Accepted,
            "nothing was changed"
        );
    }

    /// A held target refuses machines, not people, until its hold is released.
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
            "not any more"
        );
        store.accept(automatic(5)).await.expect("accepts again");
    }

    /// Settings that stay the same keep their version; a version can be named.
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
            "the claim brings them"
        );
    }

    /// A release that is named exists and is pinned.
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
            claimed.release.expect("the claim brings it").image.pin,
            Some(pin(1))
        );
    }

    /// A target is claimed only when it is due and nobody has it.
    pub async fn claimed_only_when_due(store: &dyn Store) {
        accept(store, "orders", 1, at(10)).await;
        assert!(claim(store, at(9)).await.is_none(), "not before it is due");
        assert!(claim(store, at(10)).await.is_some());
        assert!(claim(store, at(11)).await.is_none(), "somebody has it");
        accept(store, "billing", 2, at(12)).await;
        accept(store, "catalog", 3, at(11)).await;
        let first = claim(store, at(13)).await.expect("claims");
        assert_eq!(
            first.deployment.id,
            id("d-3"),
            "what is due the longest comes first"
        );
    }

    /// Targets on a busy data plane are passed over.
    pub async fn busy_data_planes_are_passed_over(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let elsewhere = NewDeployment {
            data_plane: plane("us-1"),
            ..new("billing", 2, at(1))
        };
        store.accept(elsewhere).await.expect("accepts");
        let request = ClaimRequest::new("w", at(2), at(32)).without(vec![plane("eu-1")]);
        let claimed = store
            .claim(&request)
            .await
            .expect("reads")
            .expect("claims the other");
        assert_eq!(claimed.deployment.id, id("d-2"));
        assert!(store.claim(&request).await.expect("reads").is_none());
    }

    /// Each claim has a greater fence, and writing with an older one is stale.
    pub async fn fences_grow_and_old_claims_are_stale(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let old = claim(store, at(0)).await.expect("claims").claim;
        let new = claim(store, at(31)).await.expect("the lease is over").claim;
        assert!(new.fence > old.fence);
        assert_all_stale(store, &old).await;
        store
            .renew(&new, at(90))
            .await
            .expect("the new claim holds");
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

    /// A lease that has run out frees the target.
    pub async fn expired_lease_is_claimed_again(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        claim(store, at(0)).await.expect("claims");
        assert!(
            claim(store, at(29)).await.is_none(),
            "the lease holds for 30 s"
        );
        assert!(claim(store, at(30)).await.is_some(), "then it is over");
    }

    /// A lease that was renewed holds.
    pub async fn renewed_lease_holds(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let claimed = claim(store, at(0)).await.expect("claims");
        store.renew(&claimed.claim, at(60)).await.expect("renews");
        assert!(claim(store, at(59)).await.is_none());
        assert_eq!(store.next_due().await.expect("reads"), Some(at(60)));
        assert!(claim(store, at(60)).await.is_some());
    }

    /// Numbers of releases count from 1 without a gap, and a deployment keeps its release.
    pub async fn releases_count_without_a_gap(store: &dyn Store) {
        for number in 1..=3 {
            accept(store, "orders", number, at(number)).await;
            let claimed = claim(store, at(number)).await.expect("claims");
            let first = record_release(store, &claimed, number).await;
            let again = record_release(store, &claimed, 99).await;
            assert_eq!(first, again, "a deployment keeps its release");
            assert_eq!(first.number.get(), number);
        }
        let component = ComponentId::clone(&example_target("orders").component);
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
        let other = "billing".parse().expect("an id");
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
    }

    /// What was put back is claimed when it said, with what it said.
    pub async fn put_back_is_claimed_later(store: &dyn Store) {
        accept(store, "orders", 1, at(0)).await;
        let claimed = claim(store, at(0)).await.expect("claims");
        let reason = Reason::new(ReasonCode::Waiting, "the rollout is on its way");
        let progress = Progress {
            reasons: vec![reason.clone()],
            applied: true,
            attempt: 2,
            ..Progress::new(Phase::Progressing, at(1), at(5))
        };
        store
            .put_back(&claimed.claim, progress)
            .await
            .expect("puts back");
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
        assert!(again.applied && again.attempt == 2);
        assert_all_stale(store, &claimed.claim).await;
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

    /// An absence that is ready clears what was ready.
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

    /// A reader who waits for a change is told of the next one, and one who is late at once.
    pub async fn change_is_waited_for(store: &dyn Store) {
        let first = accept(store, "orders", 1, at(0)).await.deployment;
        let waiting = store.changed(&first.id, first.revision);
        let changing = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            finish(store, at(1), Phase::Failed).await;
        };
        let both = async { tokio::join!(waiting, changing).0 };
        let changed = within(both).await.expect("reads").expect("is there");
        assert!(changed.revision > first.revision);
        let late = within(store.changed(&first.id, 0))
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(late.phase, Phase::Failed);
        let nobody = within(store.changed(&id("d-9"), 0)).await.expect("reads");
        assert_eq!(nobody, None);
    }

    /// Lists begin with the newest and keep to what was asked for.
    pub async fn lists_are_newest_first(store: &dyn Store) {
        for number in 1..=3 {
            accept(store, "orders", number, at(number)).await;
        }
        accept(store, "billing", 4, at(4)).await;
        let list = async |query: DeploymentQuery| {
            let all = store.deployments(&query).await.expect("reads");
            all.into_iter()
                .map(|one| one.id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            list(DeploymentQuery::default()).await,
            ["d-4", "d-3", "d-2", "d-1"]
        );
        let orders = example_target("orders");
        let of_target = DeploymentQuery::of_target(orders.clone());
        assert_eq!(list(of_target.limit(2)).await, ["d-3", "d-2"]);
        let of_component = DeploymentQuery::of_component(orders.component);
        assert_eq!(list(of_component).await, ["d-3", "d-2", "d-1"]);
        let organization = Some("other".parse().expect("an id"));
        let of_others = DeploymentQuery {
            organization,
            ..DeploymentQuery::default()
        };
        assert_eq!(list(of_others).await, [""; 0]);
    }

    /// The earliest work of any kind is what is due next.
    pub async fn next_due_is_the_earliest(store: &dyn Store) {
        assert_eq!(store.next_due().await.expect("reads"), None);
        accept(store, "orders", 1, at(5)).await;
        accept(store, "billing", 2, at(3)).await;
        assert_eq!(store.next_due().await.expect("reads"), Some(at(3)));
        claim(store, at(3)).await.expect("claims");
        assert_eq!(store.next_due().await.expect("reads"), Some(at(5)));
        let waiting = store.new_work();
        let telling = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            accept(store, "catalog", 3, at(1)).await;
        };
        within(async { tokio::join!(waiting, telling) }).await;
        assert_eq!(store.next_due().await.expect("reads"), Some(at(1)));
    }

    /// A run needs something ready, and runs what was ready when it was asked for.
    pub async fn runs_need_something_ready(store: &dyn Store) {
        let result = store.accept_run(new_run("r-1", at(0))).await;
        assert!(matches!(result, Err(AcceptError::NothingReady)));
        accept(store, "orders", 1, at(0)).await;
        let result = store.accept_run(new_run("r-2", at(0))).await;
        assert!(
            matches!(result, Err(AcceptError::NothingReady)),
            "accepted is not ready"
        );
        finish(store, at(1), Phase::Ready).await;
        let run = store
            .accept_run(new_run("r-3", at(2)))
            .await
            .expect("accepts");
        assert_eq!(run.release, ReleaseNumber::FIRST);
        accept(store, "orders", 2, at(3)).await;
        finish(store, at(4), Phase::Ready).await;
        let stored = store.run(&run.id).await.expect("reads").expect("is there");
        assert_eq!(
            stored, run,
            "a deployment that comes later does not change it"
        );
        assert_eq!(
            store.run(&id_of("r-1")).await.expect("reads"),
            None,
            "nothing was stored"
        );
    }

    /// One worker at a time works on a run, and it ends once.
    pub async fn runs_are_worked_on_once(store: &dyn Store) {
        let run = ready_run(store).await;
        let claimed = claim_run(store, at(3)).await.expect("claims");
        assert_eq!((&claimed.run, claimed.started), (&run, false));
        assert_eq!(
            claimed.release.number, run.release,
            "the claim brings what runs"
        );
        assert!(claim_run(store, at(4)).await.is_none(), "somebody has it");
        let progress = RunProgress {
            started: true,
            ..RunProgress::new(RunPhase::Running, at(4), at(6))
        };
        store
            .put_back_run(&claimed.claim, progress.clone())
            .await
            .expect("puts back");
        assert_eq!(store.next_due().await.expect("reads"), Some(at(6)));
        assert!(claim_run(store, at(5)).await.is_none());
        let again = claim_run(store, at(6)).await.expect("claims");
        assert!(again.started && again.claim.fence > claimed.claim.fence);
        assert_stale(store.put_back_run(&claimed.claim, progress.clone()).await);

        let outcome = RunOutcome::new(RunPhase::Failed, Some(3), vec![], at(7));
        assert_stale(store.finish_run(&claimed.claim, outcome.clone()).await);
        let ended = store
            .finish_run(&again.claim, outcome.clone())
            .await
            .expect("ends");
        assert_eq!((ended.phase, ended.exit_code), (RunPhase::Failed, Some(3)));
        assert_stale(store.finish_run(&again.claim, outcome).await);
        assert_stale(store.put_back_run(&again.claim, progress).await);
        assert!(claim_run(store, at(1000)).await.is_none());
        let waited = within(store.run_changed(&run.id, run.revision))
            .await
            .expect("reads");
        assert_eq!(waited.as_ref(), Some(&ended));
        assert_eq!(store.runs(&run.target, 9).await.expect("reads"), [ended]);
    }

    /// Somebody may ask to stop a run; it is due at once. One that has ended stays as it is.
    pub async fn run_can_be_cancelled(store: &dyn Store) {
        let run = ready_run(store).await;
        let claimed = claim_run(store, at(3)).await.expect("claims");
        let progress = RunProgress::new(RunPhase::Running, at(4), at(600));
        store
            .put_back_run(&claimed.claim, progress)
            .await
            .expect("puts back");
        let cancelled = store.request_cancel(&run.id, at(5)).await.expect("asks");
        assert!(cancelled.cancel_requested);
        let claimed = claim_run(store, at(5)).await.expect("it is due at once");
        assert!(claimed.run.cancel_requested);
        let outcome = RunOutcome::new(RunPhase::Cancelled, None, vec![], at(6));
        let ended = store
            .finish_run(&claimed.claim, outcome)
            .await
            .expect("ends");
        assert_eq!(
            store
                .request_cancel(&run.id, at(7))
                .await
                .expect("changes nothing"),
            ended
        );
        let error = store
            .request_cancel(&id_of("r-9"), at(7))
            .await
            .expect_err("no such run");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }

    /// A run that is cancelled while somebody works on it is due again at once, but only then.
    pub async fn cancel_while_claimed_is_due_at_once(store: &dyn Store) {
        let run = ready_run(store).await;
        let claimed = claim_run(store, at(3)).await.expect("claims");
        store.request_cancel(&run.id, at(4)).await.expect("asks");
        let progress = |now| RunProgress::new(RunPhase::Running, at(now), at(600));
        store
            .put_back_run(&claimed.claim, progress(5))
            .await
            .expect("puts back");
        let again = claim_run(store, at(5)).await.expect("it is due at once");
        assert!(again.run.cancel_requested);
        store
            .put_back_run(&again.claim, progress(6))
            .await
            .expect("puts back");
        assert!(
            claim_run(store, at(599)).await.is_none(),
            "the worker knows by now"
        );
        assert!(claim_run(store, at(600)).await.is_some());
    }

    /// An id is given once, and an end is an end.
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

        accept(store, "orders", 2, at(3)).await;
        let claim = claim(store, at(3)).await.expect("claims").claim;
        let final_progress = Progress::new(Phase::Ready, at(4), at(5));
        let error = store
            .put_back(&claim, final_progress)
            .await
            .expect_err("it is no end");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let open = Outcome::new(Phase::Progressing, vec![], at(4));
        let error = store.finish(&claim, open).await.expect_err("it is an end");
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
            .expect_err("it is no end");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let open = RunOutcome::new(RunPhase::Running, None, vec![], at(4));
        let error = store
            .finish_run(&claim, open)
            .await
            .expect_err("it is an end");
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let stored = store.run(&run.id).await.expect("reads").expect("is there");
        assert_eq!(stored.phase, RunPhase::Pending, "nothing was changed");
    }

    /// A component has at most two live tokens, and an id is given once.
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
            .revoke_token(&id_of("t-1"), at(3))
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
        let component = "orders".parse().expect("an id");
        let all = store.tokens(&component).await.expect("reads");
        let ids: Vec<_> = all.iter().map(|token| token.id.as_str()).collect();
        assert_eq!(
            ids,
            ["t-6", "t-5", "t-2", "t-1"],
            "newest first, live or not"
        );
    }

    /// A token that was revoked stays revoked, since the first time.
    pub async fn revoked_token_stays_revoked(store: &dyn Store) {
        store
            .issue_token(token("t-1", "orders", at(0)))
            .await
            .expect("issues");
        assert!(
            store
                .revoke_token(&id_of("t-1"), at(5))
                .await
                .expect("revokes"),
            "it was live"
        );
        assert!(
            !store
                .revoke_token(&id_of("t-1"), at(6))
                .await
                .expect("revokes"),
            "not any more"
        );
        let stored = store
            .token(&id_of("t-1"))
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(stored.revoked_at, Some(at(5)));
        let error = store
            .revoke_token(&id_of("t-9"), at(7))
            .await
            .expect_err("no such token");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }

    /// The use of a token is noted at most once a minute.
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
            .expect("an unknown token is no error");
    }

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

/// So many seconds after the beginning of time.
fn at(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).expect("the suite's times are small");
    Timestamp::from_second(1_700_000_000 + seconds).expect("the suite's times exist")
}

fn id(text: &str) -> DeploymentId {
    id_of(text)
}

fn id_of<T: std::str::FromStr<Err = crate::id::ParseIdError>>(text: &str) -> T {
    text.parse().expect("the suite's ids are valid")
}

fn plane(text: &str) -> DataPlaneId {
    id_of(text)
}

fn workload() -> Workload {
    ManualTask::new().into()
}

fn pin(number: u64) -> Pin {
    let digest: Digest = example_image(number)
        .digest()
        .cloned()
        .expect("it has a digest");
    Pin::new(digest, Pinning::Resolved)
}

/// A deployment of an image, on the data plane `eu-1`, with an hour to be ready.
fn new(component: &str, number: u64, accepted_at: Timestamp) -> NewDeployment {
    let image: ImageReference = example_image(number);
    let subject = Subject::Image(Box::new(RequestedImage::new(image)));
    let place = (example_target(component), plane("eu-1"));
    let deadline_at = accepted_at + SignedDuration::from_hours(1);
    let new = NewDeployment::new(
        id(&format!("d-{number}")),
        place,
        subject,
        (accepted_at, deadline_at),
    );
    NewDeployment {
        workload: Some(workload()),
        ..new
    }
}

/// The same with the key `key`, remembered for 600 s.
fn keyed(component: &str, number: u64, accepted_at: Timestamp, print: [u8; 32]) -> NewDeployment {
    let expires_at = accepted_at + SignedDuration::from_secs(600);
    let idempotency = Some(Idempotency::new("key", print, expires_at));
    NewDeployment {
        idempotency,
        ..new(component, number, accepted_at)
    }
}

/// A token that lives for 50,000 s.
fn token(id: &str, component: &str, created_at: Timestamp) -> TokenRecord {
    let expires_at = created_at + SignedDuration::from_secs(50_000);
    let digest = TokenDigest::new([7; 32]);
    let owner = (id_of("acme"), id_of(component));
    TokenRecord::new(
        id_of::<TokenId>(id),
        owner,
        digest,
        (created_at, expires_at),
    )
}

fn new_run(id: &str, accepted_at: Timestamp) -> NewRun {
    let place = (example_target("orders"), plane("eu-1"));
    let deadline_at = accepted_at + SignedDuration::from_hours(1);
    NewRun::new(id_of(id), place, (accepted_at, deadline_at))
}

/// A run, accepted at 2 s, of a release that is ready.
async fn ready_run(store: &dyn Store) -> crate::run::Run {
    accept(store, "orders", 1, at(0)).await;
    finish(store, at(1), Phase::Ready).await;
    store
        .accept_run(new_run("r-1", at(2)))
        .await
        .expect("accepts")
}

async fn accept(store: &dyn Store, component: &str, number: u64, at: Timestamp) -> Accepted {
    store
        .accept(new(component, number, at))
        .await
        .expect("accepts")
}

async fn deployment(store: &dyn Store, text: &str) -> Deployment {
    store
        .deployment(&id(text))
        .await
        .expect("reads")
        .expect("the deployment is stored")
}

/// Claims for 30 s.
async fn claim(store: &dyn Store, now: Timestamp) -> Option<ClaimedDeployment> {
    let request = ClaimRequest::new("worker", now, now + SignedDuration::from_secs(30));
    store.claim(&request).await.expect("claims")
}

async fn claim_run(store: &dyn Store, now: Timestamp) -> Option<crate::store::ClaimedRun> {
    let request = ClaimRequest::new("worker", now, now + SignedDuration::from_secs(30));
    store.claim_run(&request).await.expect("claims")
}

async fn record_release(
    store: &dyn Store,
    claimed: &ClaimedDeployment,
    number: u64,
) -> crate::release::Release {
    let image = ReleaseImage::unpinned(example_image(number)).pinned(pin(number));
    let draft = ReleaseDraft::new(workload(), image);
    store
        .record_release(&claimed.claim, draft, at(number))
        .await
        .expect("records")
}

/// Claims what is due, makes its release and ends it.
async fn finish(store: &dyn Store, now: Timestamp, phase: Phase) -> Claim {
    let claimed = claim(store, now).await.expect("something is due");
    record_release(store, &claimed, 1).await;
    let ended = store
        .finish(&claimed.claim, Outcome::new(phase, vec![], now))
        .await;
    assert_eq!(ended.expect("ends").phase, phase);
    claimed.claim
}

async fn assert_all_stale(store: &dyn Store, claim: &Claim) {
    assert_stale(store.renew(claim, at(9000)).await);
    let draft = ReleaseDraft::new(workload(), ReleaseImage::unpinned(example_image(9)));
    assert_stale(store.record_release(claim, draft, at(9)).await);
    assert_stale(store.record_pin(claim, pin(9)).await);
    let progress = Progress::new(Phase::Progressing, at(9), at(9));
    assert_stale(store.put_back(claim, progress).await);
    assert_stale(
        store
            .finish(claim, Outcome::new(Phase::Ready, vec![], at(9)))
            .await,
    );
}

#[track_caller]
fn assert_stale<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.expect_err("an old claim is refused");
    assert_eq!(error.kind(), StoreErrorKind::Stale, "{error}");
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("it does not wait for ever")
}

/// Runs futures at once on one task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(context) {
                *done = Some(output);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}
