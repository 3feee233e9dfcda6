//! Clauses about runs of tasks.

use super::StoreClause;
use super::steps::{
    accept, acme, assert_stale, at, claim_run, finish, id_of, new_run, ready_run, within,
};
use crate::deployment::Phase;
use crate::release::ReleaseNumber;
use crate::run::RunPhase;
use crate::store::{AcceptError, RunOutcome, RunProgress, Store, StoreErrorKind};

impl StoreClause {
    /// A run requires a ready release, and runs the one that was ready at its request.
    pub async fn runs_need_something_ready(store: &dyn Store) {
        let result = store.accept_run(new_run("r-1", at(0))).await;
        assert!(matches!(result, Err(AcceptError::NothingReady)));
        accept(store, "orders", 1, at(0)).await;
        let result = store.accept_run(new_run("r-2", at(0))).await;
        assert!(
            matches!(result, Err(AcceptError::NothingReady)),
            "an accepted deployment is not ready"
        );
        finish(store, at(1), Phase::Ready).await;
        let run = store
            .accept_run(new_run("r-3", at(2)))
            .await
            .expect("accepts");
        assert_eq!(run.release, ReleaseNumber::FIRST);
        // It is due before the run.
        accept(store, "orders", 2, at(1)).await;
        finish(store, at(4), Phase::Ready).await;
        let stored = store
            .run(&acme(), &run.id)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(stored, run, "a later deployment does not change the run");
        assert_eq!(
            store.run(&acme(), &id_of("r-1")).await.expect("reads"),
            None,
            "nothing was stored"
        );
    }

    /// A run has one worker at a time, and ends once.
    pub async fn runs_are_worked_on_once(store: &dyn Store) {
        let run = ready_run(store).await;
        let claimed = claim_run(store, at(3)).await.expect("claims");
        assert_eq!((&claimed.run, claimed.started), (&run, false));
        assert_eq!(
            claimed.release.number, run.release,
            "the claim contains the release"
        );
        assert!(claim_run(store, at(4)).await.is_none(), "it is claimed");
        let progress = RunProgress {
            started: true,
            ..RunProgress::new(RunPhase::Running, at(4), at(6))
        };
        store
            .put_back_run(&claimed.claim, progress.clone())
            .await
            .expect("puts back");
        assert_stale(store.put_back_run(&claimed.claim, progress.clone()).await);
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
        let waited = within(store.run_changed(&acme(), &run.id, run.revision))
            .await
            .expect("reads");
        assert_eq!(waited.as_ref(), Some(&ended));
        assert_eq!(store.runs(&run.target, 9).await.expect("reads"), [ended]);
    }

    /// A run that is requested to stop is due at once. A run that ended is unchanged.
    pub async fn run_can_be_cancelled(store: &dyn Store) {
        let run = ready_run(store).await;
        let claimed = claim_run(store, at(3)).await.expect("claims");
        let progress = RunProgress::new(RunPhase::Running, at(4), at(600));
        store
            .put_back_run(&claimed.claim, progress)
            .await
            .expect("puts back");
        let cancelled = store
            .request_cancel(&acme(), &run.id, at(5))
            .await
            .expect("asks");
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
                .request_cancel(&acme(), &run.id, at(7))
                .await
                .expect("changes nothing"),
            ended
        );
        let error = store
            .request_cancel(&acme(), &id_of("r-9"), at(7))
            .await
            .expect_err("no such run");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }

    /// A run that is cancelled during a claim is due again after the claim.
    pub async fn cancel_while_claimed_is_due_at_once(store: &dyn Store) {
        let run = ready_run(store).await;
        let claimed = claim_run(store, at(3)).await.expect("claims");
        store
            .request_cancel(&acme(), &run.id, at(4))
            .await
            .expect("asks");
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
            "the worker has read the request"
        );
        assert!(claim_run(store, at(600)).await.is_some());
    }
}
