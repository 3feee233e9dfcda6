//! The clauses about taking a generation back.

use super::BackendClause;
use super::fixture::{BackendFixture, assert_stale, example_registry, generation};
use crate::backend::{BackendErrorKind, Intent, Pull};
use crate::rollout::RolloutPhase;

impl BackendClause {
    /// After a failed generation was taken back, the release that was ready before runs, also if the
    /// generation is taken back again.
    pub async fn taken_back_is_what_was_before(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("taken-back"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        let failed = fixture.missing().unwrap_or_else(|| fixture.release(2));
        let intent = Intent::new(&target, generation(2), &failed);
        fixture.backend().apply(&intent).await.expect("applies");
        let before = Intent::new(&target, generation(2), &release);
        for _ in 0..2 {
            let taken = fixture
                .backend()
                .take_back(&target, generation(2), Some(&before));
            taken.await.expect("takes it back repeatedly");
            fixture.assert_runs(&target, generation(2), &release).await;
        }
        let rollout = fixture.settled(&target, generation(2)).await;
        if let Some(pin) = release
            .image
            .pin
            .as_ref()
            .filter(|_| rollout.running.is_some())
        {
            assert_eq!(
                rollout.running,
                Some(pin.digest),
                "the previous release runs"
            );
        }
    }

    /// Without a release that was ready before, nothing runs afterwards, and a newer generation can be
    /// applied.
    pub async fn taken_back_without_anything_before_is_absent(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("stopped"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        for _ in 0..2 {
            let taken = fixture.backend().take_back(&target, generation(1), None);
            taken.await.expect("takes it back repeatedly");
        }
        let rollout = fixture.settled(&target, generation(1)).await;
        assert_eq!(
            (rollout.generation, rollout.phase),
            (Some(generation(1)), RolloutPhase::Absent),
            "the generation does not run: {rollout:?}"
        );
        fixture.deploy(&target, generation(2), &release).await;
        fixture.assert_runs(&target, generation(2), &release).await;
    }

    /// A generation that was taken back cannot be applied or settled.
    pub async fn taken_back_cannot_be_applied(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let target = fixture.target("over");
        let (release, failed) = (fixture.release(1), fixture.release(2));
        fixture.deploy(&target, generation(1), &release).await;
        fixture.deploy(&target, generation(2), &failed).await;
        let before = Intent::new(&target, generation(2), &release);
        backend
            .take_back(&target, generation(2), Some(&before))
            .await
            .expect("takes it back");
        let intent = Intent::new(&target, generation(2), &failed);
        assert_stale(backend.apply(&intent).await);
        assert_stale(backend.settle(&target, generation(2)).await);
        assert_stale(backend.take_back(&target, generation(1), None).await);
        fixture.assert_runs(&target, generation(2), &release).await;
    }

    /// An apply after its generation was taken back is stale.
    pub async fn taken_back_before_it_was_applied(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (target, release) = (fixture.target("never"), fixture.release(1));
        backend
            .take_back(&target, generation(1), None)
            .await
            .expect("takes back a generation before its apply");
        let intent = Intent::new(&target, generation(1), &release);
        assert_stale(backend.apply(&intent).await);
        let rollout = backend.observe(&target).await.expect("looks");
        assert_eq!(rollout.phase, RolloutPhase::Absent, "{rollout:?}");
    }

    /// A failed generation is taken back without the credential of the release that was ready before.
    pub async fn taken_back_pulls_as_before(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (target, release) = (fixture.target("as-before"), fixture.release(1));
        let secret = example_registry("before");
        let intent = Intent::new(&target, generation(1), &release).with_pull(Pull::Secret(&secret));
        backend.apply(&intent).await.expect("applies");
        fixture.assert_runs(&target, generation(1), &release).await;
        let settled = backend.settle(&target, generation(1)).await;
        settled.expect("settles");
        let failed = fixture.missing().unwrap_or_else(|| fixture.release(2));
        let intent = Intent::new(&target, generation(2), &failed);
        backend.apply(&intent).await.expect("applies");
        let before = Intent::new(&target, generation(2), &release).with_pull(Pull::AsBefore);
        for _ in 0..2 {
            let taken = backend.take_back(&target, generation(2), Some(&before));
            taken.await.expect("takes it back, and again");
            fixture.assert_runs(&target, generation(2), &release).await;
        }
    }

    /// A call that deploys a release needs to know how its image is pulled.
    pub async fn pulling_as_before_is_only_for_taking_back(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (target, release) = (fixture.target("not-as-before"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        let intent = Intent::new(&target, generation(2), &release).with_pull(Pull::AsBefore);
        let applied = backend.apply(&intent).await;
        let updated = backend.update_pull_secret(&target, generation(1), &Pull::AsBefore);
        for refused in [applied, updated.await] {
            let error = refused.expect_err("the call is refused");
            assert_eq!(error.kind(), BackendErrorKind::Unsupported, "{error}");
        }
        fixture.assert_runs(&target, generation(1), &release).await;
    }
}
