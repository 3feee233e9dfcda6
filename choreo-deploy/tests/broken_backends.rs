//! Guards that the conformance suite fails on backends that break a promise, so that each clause
//! can fail.
#![expect(clippy::unwrap_used, reason = "the helpers below are tests too")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogLine, LogQuery, LogReader, Pull,
    RunIntent, TaskRunner,
};
use choreo_deploy::conformance::{BackendClause, BackendFixture, block_on};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::RunId;
use choreo_deploy::rollout::{Rollout, RolloutPhase, RunStatus};
use choreo_deploy::run::RunPhase;
use choreo_deploy::{InMemoryBackend, Target};

/// The broken promise.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Breaks {
    /// `apply` accepts any generation.
    Fence,
    /// `apply` checks the generation, waits, and then writes without another check.
    FenceAcrossWaiting,
    /// `apply` accepts a tag after the digest of the same generation.
    TagAfterDigest,
    /// All targets are the same.
    Apartness,
    /// `remove` forgets the generation.
    Memory,
    /// `observe` returns ready if nothing was applied.
    Absence,
    /// `settle` removes objects that are needed.
    Settling,
    /// `update_pull_secret` succeeds if there is nothing.
    NotFound,
    /// `remove` fails if there is nothing.
    RemovingNothing,
    /// `observe` returns ready if the applied objects were deleted.
    Loss,
    /// `take_back` does nothing.
    TakingBack,
    /// A generation that was taken back can be applied again.
    TakenBackForGood,
    /// `apply` pulls without a credential instead of with the earlier one.
    AsBefore,
    /// `apply` stops halfway, and does not continue when it is called again.
    Repetition,
    /// The same run id starts a second run.
    RunOnce,
    /// A run that was never started has succeeded.
    UnknownRun,
    /// `logs` returns more lines than requested.
    Logs,
}

#[derive(Debug)]
struct Broken {
    breaks: Breaks,
    inner: Arc<InMemoryBackend>,
    half: Mutex<HashMap<Target, u32>>,
    starts: Mutex<i32>,
}

fn broken(breaks: Breaks) -> BackendFixture {
    let inner = Arc::new(InMemoryBackend::new());
    let backend = Broken {
        breaks,
        inner: Arc::clone(&inner),
        half: Mutex::default(),
        starts: Mutex::default(),
    };
    with_loss(BackendFixture::new(backend), inner).with_patience(Duration::from_millis(300))
}

fn with_loss(fixture: BackendFixture, plane: Arc<InMemoryBackend>) -> BackendFixture {
    fixture.with_loss(move |target| {
        plane.lose(&target);
        std::future::ready(())
    })
}

impl Broken {
    fn is(&self, breaks: Breaks) -> bool {
        self.breaks == breaks
    }

    fn target(&self, target: &Target) -> Target {
        let mut target = target.clone();
        if self.is(Breaks::Apartness) {
            target.component = "same".parse().unwrap();
        }
        target
    }

    /// Replaces any release of any generation.
    async fn force(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let present = self
            .inner
            .observe(intent.target)
            .await?
            .generation
            .unwrap_or_default();
        let mut forced = *intent;
        forced.generation = present.max(intent.generation);
        self.inner.apply(&forced).await
    }
}

#[async_trait]
impl DeploymentBackend for Broken {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let target = self.target(intent.target);
        let mut intent = *intent;
        intent.target = &target;
        if self.is(Breaks::AsBefore) && matches!(intent.pull, Pull::AsBefore) {
            intent.pull = Pull::Anonymous;
        }
        let intent = &intent;
        match self.breaks {
            Breaks::Fence => self.force(intent).await,
            Breaks::TagAfterDigest => match self.inner.apply(intent).await {
                Err(error) if intent.release.image.deployed().digest().is_none() => {
                    let present = self.inner.observe(&target).await?.generation;
                    let is_same = present == Some(intent.generation);
                    if is_same { Ok(()) } else { Err(error) }
                }
                applied => applied,
            },
            Breaks::FenceAcrossWaiting => {
                let present = self.inner.observe(&target).await?.generation;
                if present > Some(intent.generation) {
                    return Err(BackendError::new(BackendErrorKind::Stale, "apply", "old"));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.force(intent).await
            }
            Breaks::Repetition => {
                let calls = {
                    let mut half = self.half.lock().unwrap();
                    let calls = half.entry(target.clone()).or_default();
                    *calls += 1;
                    *calls
                };
                if calls == 1 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    self.inner.apply(intent).await?;
                }
                Ok(())
            }
            _ => self.inner.apply(intent).await,
        }
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        let rollout = self.inner.observe(&self.target(target)).await?;
        if self.is(Breaks::Absence) && rollout.generation.is_none() {
            return Ok(Rollout::new(Generation::default(), RolloutPhase::Ready));
        }
        if self.is(Breaks::Loss) && rollout.phase == RolloutPhase::Missing {
            let mut rollout = rollout;
            rollout.phase = RolloutPhase::Ready;
            return Ok(rollout);
        }
        Ok(rollout)
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        if self.is(Breaks::Settling) {
            return self.inner.remove(target, generation).await;
        }
        self.inner.settle(&self.target(target), generation).await
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        let target = &self.target(target);
        if self.is(Breaks::TakingBack) {
            return Ok(());
        }
        if self.is(Breaks::TakenBackForGood) {
            // The wrapped backend stores only the generation.
            return match before {
                Some(before) => self.inner.apply(before).await,
                None => self.inner.remove(target, generation).await,
            };
        }
        self.inner.take_back(target, generation, before).await
    }

    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        let updated = self
            .inner
            .update_pull_secret(target, generation, pull)
            .await;
        if self.is(Breaks::NotFound) {
            Ok(())
        } else {
            updated
        }
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        let target = &self.target(target);
        let known = self.inner.observe(target).await?.generation;
        if self.is(Breaks::RemovingNothing) && known.is_none() {
            return Err(BackendError::new(
                BackendErrorKind::NotFound,
                "remove",
                "nothing",
            ));
        }
        if self.is(Breaks::Memory) {
            // The wrapped backend stores an older generation than the requested one.
            return self.inner.remove(target, known.unwrap_or_default()).await;
        }
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        Some(self)
    }
}

#[async_trait]
impl TaskRunner for Broken {
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        *self.starts.lock().unwrap() += 1;
        self.inner.start(run).await
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        if self.is(Breaks::UnknownRun) {
            return Ok(RunStatus::new(RunPhase::Succeeded));
        }
        let status = self.inner.observe_run(target, run).await?;
        let starts = *self.starts.lock().unwrap();
        Ok(if self.is(Breaks::RunOnce) {
            status.with_exit_code(starts)
        } else {
            status
        })
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        self.inner.cancel_run(target, run).await
    }
}

#[async_trait]
impl LogReader for Broken {
    async fn tail(&self, target: &Target, query: &LogQuery) -> Result<Vec<LogLine>, BackendError> {
        if self.is(Breaks::Logs) {
            return Ok(vec![LogLine::new("x", "y"); 100]);
        }
        self.inner.tail(target, query).await
    }
}

/// Asserts that a clause fails on the backend that breaks it, and passes on the others.
macro_rules! fails {
    ($($clause:ident: $breaks:ident,)*) => {$(
        #[test]
        fn $clause() {
            let run = |fixture: BackendFixture| {
                let clause = move || block_on(BackendClause::$clause(&fixture));
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(clause))
            };
            assert!(run(broken(Breaks::$breaks)).is_err(), "the clause sees a broken promise");
            let plane = Arc::new(InMemoryBackend::new());
            let good = with_loss(BackendFixture::new(Arc::clone(&plane)), plane);
            assert!(run(good).is_ok(), "and a kept one");
        }
    )*};
}

fails! {
    absent_until_applied: Absence,
    older_generations_are_refused: Fence,
    digest_comes_after_tag: TagAfterDigest,
    paused_apply_cannot_undo: FenceAcrossWaiting,
    concurrent_applies_end_with_the_newest: Fence,
    targets_are_apart: Apartness,
    missing_until_applied_again: Loss,
    taken_back_is_what_was_before: TakingBack,
    taken_back_without_anything_before_is_absent: TakingBack,
    taken_back_cannot_be_applied: TakenBackForGood,
    taken_back_before_it_was_applied: TakenBackForGood,
    taken_back_pulls_as_before: TakingBack,
    pulling_as_before_is_only_for_taking_back: AsBefore,
    cancelled_apply_can_be_repeated: Repetition,
    settling_keeps_what_is_needed: Settling,
    pull_secret_of_nothing_is_not_found: NotFound,
    removed_is_absent_and_remembered: Memory,
    removing_nothing_succeeds: RemovingNothing,
    ended_run_stays_as_it_is: RunOnce,
    unknown_run_is_unknown: UnknownRun,
    logs_are_bounded: Logs,
}
