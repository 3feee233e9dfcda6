use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::fixture::{BackendFixture, assert_stale, example_registry, generation};
use crate::backend::{BackendErrorKind, Intent, LogQuery, Pull, RunIntent};
use crate::rollout::{RolloutPhase, RunStatus};
use crate::run::RunOverrides;

/// The clauses for backends, one for each sentence of the contract.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackendClause {}

impl BackendClause {
    /// Runs all clauses in sequence with one backend, for programs. `told` receives the name of each
    /// clause before it runs. Tests use [`backend_conformance!`](crate::backend_conformance).
    pub async fn all(fixture: &BackendFixture, mut told: impl FnMut(&'static str)) {
        told("absent_until_applied");
        Self::absent_until_applied(fixture).await;
        told("applied_becomes_ready");
        Self::applied_becomes_ready(fixture).await;
        told("applying_again_changes_nothing");
        Self::applying_again_changes_nothing(fixture).await;
        told("older_generations_are_refused");
        Self::older_generations_are_refused(fixture).await;
        told("newer_generation_wins");
        Self::newer_generation_wins(fixture).await;
        told("digest_comes_after_tag");
        Self::digest_comes_after_tag(fixture).await;
        told("paused_apply_cannot_undo");
        Self::paused_apply_cannot_undo(fixture).await;
        told("concurrent_applies_end_with_the_newest");
        Self::concurrent_applies_end_with_the_newest(fixture).await;
        told("targets_are_apart");
        Self::targets_are_apart(fixture).await;
        told("failed_rollout_is_an_observation");
        Self::failed_rollout_is_an_observation(fixture).await;
        told("missing_until_applied_again");
        Self::missing_until_applied_again(fixture).await;
        told("taken_back_is_what_was_before");
        Self::taken_back_is_what_was_before(fixture).await;
        told("taken_back_without_anything_before_is_absent");
        Self::taken_back_without_anything_before_is_absent(fixture).await;
        told("taken_back_cannot_be_applied");
        Self::taken_back_cannot_be_applied(fixture).await;
        told("taken_back_before_it_was_applied");
        Self::taken_back_before_it_was_applied(fixture).await;
        told("taken_back_pulls_as_before");
        Self::taken_back_pulls_as_before(fixture).await;
        told("pulling_as_before_is_only_for_taking_back");
        Self::pulling_as_before_is_only_for_taking_back(fixture).await;
        told("cancelled_apply_can_be_repeated");
        Self::cancelled_apply_can_be_repeated(fixture).await;
        told("settling_keeps_what_is_needed");
        Self::settling_keeps_what_is_needed(fixture).await;
        told("pull_secret_changes_in_place");
        Self::pull_secret_changes_in_place(fixture).await;
        told("pull_secret_of_nothing_is_not_found");
        Self::pull_secret_of_nothing_is_not_found(fixture).await;
        told("removed_is_absent_and_remembered");
        Self::removed_is_absent_and_remembered(fixture).await;
        told("removing_nothing_succeeds");
        Self::removing_nothing_succeeds(fixture).await;
        told("applies_after_removal");
        Self::applies_after_removal(fixture).await;
        told("run_starts_once");
        Self::run_starts_once(fixture).await;
        told("unknown_run_is_unknown");
        Self::unknown_run_is_unknown(fixture).await;
        told("ended_run_stays_as_it_is");
        Self::ended_run_stays_as_it_is(fixture).await;
        told("logs_are_bounded");
        Self::logs_are_bounded(fixture).await;
    }

    /// A target to which nothing was applied is absent.
    pub async fn absent_until_applied(fixture: &BackendFixture) {
        let rollout = fixture
            .backend()
            .observe(&fixture.target("absent"))
            .await
            .expect("looks");
        assert_eq!(rollout.phase, RolloutPhase::Absent);
        assert_eq!(
            rollout.generation, None,
            "nothing was applied, so no generation is reported"
        );
    }

    /// An applied release becomes ready, at its generation.
    pub async fn applied_becomes_ready(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("ready"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        fixture.assert_runs(&target, generation(1), &release).await;
    }

    /// Applying the same generation again gives the same state.
    pub async fn applying_again_changes_nothing(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("again"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        let before = fixture.settled(&target, generation(1)).await;
        fixture.deploy(&target, generation(1), &release).await;
        assert_eq!(fixture.settled(&target, generation(1)).await, before);
    }

    /// Every call with an older generation is rejected as stale and changes nothing.
    pub async fn older_generations_are_refused(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (target, release) = (fixture.target("stale"), fixture.release(2));
        fixture.deploy(&target, generation(5), &release).await;

        let older = fixture.release(1);
        assert_stale(
            backend
                .apply(&Intent::new(&target, generation(4), &older))
                .await,
        );
        assert_stale(backend.settle(&target, generation(4)).await);
        let secret = example_registry("old");
        let pull = Pull::Secret(&secret);
        assert_stale(
            backend
                .update_pull_secret(&target, generation(4), &pull)
                .await,
        );
        assert_stale(backend.remove(&target, generation(4)).await);
        fixture.assert_runs(&target, generation(5), &release).await;
    }

    /// A newer generation replaces the older one.
    pub async fn newer_generation_wins(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("newer"), fixture.release(2));
        fixture
            .deploy(&target, generation(1), &fixture.release(1))
            .await;
        fixture.deploy(&target, generation(2), &release).await;
        fixture.assert_runs(&target, generation(2), &release).await;
    }

    /// A worker that was paused during an older apply cannot undo a newer one.
    ///
    /// The older apply is paused after each of its first steps in turn, the newer one runs to its end,
    /// and then the older one continues.
    pub async fn paused_apply_cannot_undo(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (old, new) = (fixture.release(1), fixture.release(2));
        for steps in 1..=12 {
            let target = fixture.target(&format!("paused-{steps}"));
            let intent = Intent::new(&target, generation(1), &old);
            let mut paused = pin!(backend.apply(&intent));
            let finished = poll_steps(paused.as_mut(), steps).await;
            fixture.deploy(&target, generation(2), &new).await;
            if finished.is_none() {
                // It may fail or have ended before, but it must not win.
                let _ = paused.await;
            }
            fixture.assert_runs(&target, generation(2), &new).await;
            backend
                .remove(&target, generation(3))
                .await
                .expect("removes");
            if finished.is_some() {
                break;
            }
        }
    }

    /// Of concurrent applies, the newest wins.
    pub async fn concurrent_applies_end_with_the_newest(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let target = fixture.target("concurrent");
        let (old, new) = (fixture.release(1), fixture.release(2));
        let apply = |number: u64| {
            let release = if number == 4 { &new } else { &old };
            let intent = Intent::new(&target, generation(number), release);
            async move {
                // A conflict is transient, and all but the newest may be stale.
                loop {
                    match backend.apply(&intent).await {
                        Err(error) if error.is_retryable() => tokio::task::yield_now().await,
                        Err(error) if number == 4 => panic!("the newest is applied: {error}"),
                        Ok(()) | Err(_) => break,
                    }
                }
            }
        };
        tokio::join!(apply(1), apply(4), apply(2), apply(3));
        fixture.assert_runs(&target, generation(4), &new).await;
    }

    /// A call for one target changes no other.
    pub async fn targets_are_apart(fixture: &BackendFixture) {
        let (one, other) = (fixture.target("one"), fixture.target("other"));
        let release = fixture.release(1);
        fixture.deploy(&one, generation(7), &release).await;
        fixture
            .deploy(&other, generation(1), &fixture.release(2))
            .await;
        fixture
            .backend()
            .remove(&other, generation(2))
            .await
            .expect("removes");
        fixture.assert_runs(&one, generation(7), &release).await;
    }

    /// A rollout that failed is an observation with a reason, not an error.
    pub async fn failed_rollout_is_an_observation(fixture: &BackendFixture) {
        let Some(release) = fixture.missing() else {
            return;
        };
        let target = fixture.target("failing");
        let rollout = fixture.deploy(&target, generation(1), &release).await;
        assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
        assert!(!rollout.reasons.is_empty(), "a failure has reasons");
    }

    /// A target whose objects were deleted is missing, and applying the same generation restores it.
    pub async fn missing_until_applied_again(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("lost"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        if !fixture.lose(&target).await {
            return;
        }
        let rollout = fixture.settled(&target, generation(1)).await;
        assert_eq!(
            (rollout.generation, rollout.phase),
            (Some(generation(1)), RolloutPhase::Missing),
            "its objects were deleted: {rollout:?}"
        );
        fixture.deploy(&target, generation(1), &release).await;
        fixture.assert_runs(&target, generation(1), &release).await;
    }

    /// After a call was cancelled at any point, the same call brings the target to its state.
    pub async fn cancelled_apply_can_be_repeated(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let release = fixture.release(1);
        for steps in [1, 2, 3, 5, 8] {
            let target = fixture.target(&format!("cancelled-{steps}"));
            let intent = Intent::new(&target, generation(1), &release);
            let finished = {
                let mut cancelled = pin!(backend.apply(&intent));
                poll_steps(cancelled.as_mut(), steps).await
            };
            fixture.deploy(&target, generation(1), &release).await;
            fixture.assert_runs(&target, generation(1), &release).await;
            if finished.is_some() {
                break;
            }
        }
    }

    /// Settling removes no object that the generation needs.
    pub async fn settling_keeps_what_is_needed(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("settled"), fixture.release(2));
        fixture
            .deploy(&target, generation(1), &fixture.release(1))
            .await;
        fixture.deploy(&target, generation(2), &release).await;
        for _ in 0..2 {
            fixture
                .backend()
                .settle(&target, generation(2))
                .await
                .expect("settles repeatedly");
        }
        fixture.assert_runs(&target, generation(2), &release).await;
    }

    /// Another credential replaces the pull secret, and the release stays.
    pub async fn pull_secret_changes_in_place(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (target, release) = (fixture.target("secret"), fixture.release(1));
        let (first, second) = (example_registry("first"), example_registry("second"));
        let intent = Intent::new(&target, generation(1), &release).with_pull(Pull::Secret(&first));
        backend.apply(&intent).await.expect("applies");
        fixture.assert_runs(&target, generation(1), &release).await;
        let pull = Pull::Secret(&second);
        backend
            .update_pull_secret(&target, generation(1), &pull)
            .await
            .expect("updates");
        fixture.assert_runs(&target, generation(1), &release).await;
    }

    /// Without an applied release, there is no pull secret to change.
    pub async fn pull_secret_of_nothing_is_not_found(fixture: &BackendFixture) {
        let secret = example_registry("any");
        let target = fixture.target("no-secret");
        let result = fixture
            .backend()
            .update_pull_secret(&target, generation(1), &Pull::Secret(&secret))
            .await;
        assert_eq!(
            result.expect_err("nothing is applied").kind(),
            BackendErrorKind::NotFound
        );
    }

    /// A removed target is absent and still rejects an older generation.
    pub async fn removed_is_absent_and_remembered(fixture: &BackendFixture) {
        let backend = fixture.backend();
        let (target, release) = (fixture.target("removed"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        for _ in 0..2 {
            backend
                .remove(&target, generation(2))
                .await
                .expect("removes repeatedly");
        }
        let rollout = fixture.settled(&target, generation(2)).await;
        assert_eq!(rollout.phase, RolloutPhase::Absent);
        assert_eq!(
            rollout.generation,
            Some(generation(2)),
            "it remembers the removal"
        );
        assert_stale(
            backend
                .apply(&Intent::new(&target, generation(1), &release))
                .await,
        );
    }

    /// Removing a target without objects succeeds.
    pub async fn removing_nothing_succeeds(fixture: &BackendFixture) {
        let target = fixture.target("nothing");
        fixture
            .backend()
            .remove(&target, generation(1))
            .await
            .expect("removes nothing");
    }

    /// A removed target accepts a newer generation.
    pub async fn applies_after_removal(fixture: &BackendFixture) {
        let (target, release) = (fixture.target("back"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        fixture
            .backend()
            .remove(&target, generation(2))
            .await
            .expect("removes");
        fixture.deploy(&target, generation(3), &release).await;
        fixture.assert_runs(&target, generation(3), &release).await;
    }

    /// A duplicate run id starts nothing.
    pub async fn run_starts_once(fixture: &BackendFixture) {
        let Some(tasks) = fixture.backend().tasks() else {
            return;
        };
        let (target, release) = (fixture.target("run"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        let (run, overrides) = ("r-once".parse().expect("an id"), RunOverrides::default());
        let intent = Intent::new(&target, generation(1), &release);
        let intent = RunIntent::new(&run, intent, &overrides);
        tasks.start(&intent).await.expect("starts");
        tasks
            .start(&intent)
            .await
            .expect("accepts a duplicate start");
        let status = tasks.observe_run(&target, &run).await.expect("looks");
        assert!(status.phase.is_some(), "the run is known");
    }

    /// A run that was never started is unknown, and cancelling it changes nothing.
    pub async fn unknown_run_is_unknown(fixture: &BackendFixture) {
        let Some(tasks) = fixture.backend().tasks() else {
            return;
        };
        let (target, run) = (fixture.target("no-run"), "r-none".parse().expect("an id"));
        tasks
            .cancel_run(&target, &run)
            .await
            .expect("cancels an unknown run");
        let status = tasks.observe_run(&target, &run).await.expect("looks");
        assert_eq!(status, RunStatus::unknown());
    }

    /// A run that ended keeps its status after every call.
    pub async fn ended_run_stays_as_it_is(fixture: &BackendFixture) {
        let Some(tasks) = fixture.backend().tasks() else {
            return;
        };
        let (target, release) = (fixture.target("ended-run"), fixture.release(1));
        fixture.deploy(&target, generation(1), &release).await;
        let (run, overrides) = ("r-ended".parse().expect("an id"), RunOverrides::default());
        let intent = Intent::new(&target, generation(1), &release);
        tasks
            .start(&RunIntent::new(&run, intent, &overrides))
            .await
            .expect("starts");
        tasks
            .cancel_run(&target, &run)
            .await
            .expect("cancels, if it still runs");
        let ended = loop {
            let status = tasks.observe_run(&target, &run).await.expect("looks");
            if status.phase.is_some_and(|phase| phase.is_final()) {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        tasks
            .cancel_run(&target, &run)
            .await
            .expect("changes nothing");
        tasks
            .start(&RunIntent::new(&run, intent, &overrides))
            .await
            .expect("starts nothing");
        assert_eq!(
            tasks.observe_run(&target, &run).await.expect("looks"),
            ended
        );
    }

    /// Without containers there are no lines, and otherwise no more than requested.
    pub async fn logs_are_bounded(fixture: &BackendFixture) {
        let Some(logs) = fixture.backend().logs() else {
            return;
        };
        let nothing = fixture.target("no-logs");
        assert_eq!(
            logs.tail(&nothing, &LogQuery::last(5))
                .await
                .expect("looks"),
            []
        );
        let target = fixture.target("logs");
        fixture
            .deploy(&target, generation(1), &fixture.release(1))
            .await;
        let lines = logs.tail(&target, &LogQuery::last(3)).await.expect("looks");
        assert!(lines.len() <= 3 && lines.iter().all(|line| line.text.len() <= 4096));
    }
}

/// Polls a future for a number of steps and then pauses it. Returns its result if it ended before.
async fn poll_steps<F: Future>(mut future: std::pin::Pin<&mut F>, steps: u32) -> Option<F::Output> {
    for _ in 0..steps {
        let polled = std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(done) = polled.await {
            return Some(done);
        }
        // Time for events that the future awaits, such as an answer from the network.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}
