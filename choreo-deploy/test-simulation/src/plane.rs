//! A data plane that rolls out slowly, keeps the previous release until it is settled, and loses
//! objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use choreo_deploy::backend::{BackendError, BackendErrorKind};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::RunId;
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase, RunStatus};
use choreo_deploy::run::RunPhase;
use choreo_deploy::{Target, Workload};
use choreo_registry::{Digest, ImageReference};
use tokio::time::Instant;

use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) platform: &'static str,
    /// The data plane never answers.
    pub(crate) is_silent: AtomicBool,
    dice: Dice,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    targets: BTreeMap<Target, Placed>,
    runs: BTreeMap<RunId, PlacedRun>,
    was_ready: BTreeSet<(Target, Generation)>,
    foreign: BTreeSet<Target>,
}

/// The objects of a target.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) generation: Generation,
    pub(crate) shown: Option<Shown>,
    pub(crate) is_lost: bool,
    /// The generation has failed, and `shown` is the earlier release.
    pub(crate) is_taken_back: bool,
    /// The generations with leftovers.
    pub(crate) left: BTreeSet<Generation>,
    pub(crate) fate: Fate,
    since: Instant,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    pub(crate) image: ImageReference,
    pub(crate) workload: Workload,
    /// The credential of the nodes.
    pub(crate) password: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    ReadyAfter(Duration),
    FailsAfter(Duration),
    NeverReady,
}

#[derive(Clone, Debug)]
pub(crate) struct PlacedRun {
    target: Target,
    pub(crate) image: ImageReference,
    pub(crate) since: Instant,
    /// The time and the exit code of its end. `None` if it runs until it is cancelled.
    ends: Option<(Duration, i32)>,
    is_stuck: bool,
    cancelled: bool,
}

impl PlacedRun {
    pub(crate) fn status(&self) -> RunStatus {
        match self.ends {
            _ if self.cancelled => RunStatus::new(RunPhase::Cancelled),
            Some((after, code)) if self.since.elapsed() >= after => {
                let phase = if code == 0 {
                    RunPhase::Succeeded
                } else {
                    RunPhase::Failed
                };
                RunStatus::new(phase).with_exit_code(code)
            }
            _ if self.is_stuck => RunStatus::new(RunPhase::Pending)
                .with_reason(Reason::new(ReasonCode::ImageNotFound, "no such image"))
                .stuck(),
            _ => RunStatus::new(RunPhase::Running),
        }
    }
}

impl Plane {
    pub(crate) fn new(platform: &'static str, dice: Dice) -> Self {
        Self {
            platform,
            is_silent: AtomicBool::new(false),
            dice,
            state: Mutex::default(),
        }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::SeqCst)
    }

    pub(crate) fn apply(
        &self,
        (target, generation): (&Target, Generation),
        shown: Shown,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        state.guard_at(target, (generation, false), "apply")?;
        let before = state.targets.get(target).cloned();
        let mut left = BTreeSet::new();
        if let Some(before) = before {
            if before.generation == generation && !before.is_lost && before.shown.is_some() {
                // A repeated apply changes only the credential.
                if let Some(placed) = state.targets.get_mut(target) {
                    placed.shown = Some(shown);
                }
                return Ok(());
            }
            left.clone_from(&before.left);
            if before.shown.is_some() && before.generation != generation {
                left.insert(before.generation);
            }
        }
        let after = self.dice.millis(15_000);
        let fate = match self.dice.below(100) {
            0..8 => Fate::NeverReady,
            8..16 => Fate::FailsAfter(after),
            _ => Fate::ReadyAfter(after),
        };
        let placed = Placed {
            generation,
            shown: Some(shown),
            is_lost: false,
            is_taken_back: false,
            left,
            fate,
            since: Instant::now(),
        };
        state.targets.insert(target.clone(), placed);
        Ok(())
    }

    pub(crate) fn observe(&self, target: &Target) -> Rollout {
        let mut state = self.state();
        let Some(placed) = state.targets.get(target).cloned() else {
            return Rollout::absent();
        };
        let generation = placed.generation;
        let Some(shown) = &placed.shown else {
            return Rollout::new(generation, RolloutPhase::Absent);
        };
        if placed.is_lost {
            return Rollout::new(generation, RolloutPhase::Missing);
        }
        let age = placed.since.elapsed();
        match placed.fate {
            _ if placed.is_taken_back => Rollout::new(generation, RolloutPhase::Ready),
            Fate::ReadyAfter(after) if age >= after => {
                state.was_ready.insert((target.clone(), generation));
                let digest = match shown.image.digest() {
                    Some(digest) => digest.to_owned(),
                    None => Digest::sha256_of(shown.image.as_str().as_bytes()),
                };
                Rollout::new(generation, RolloutPhase::Ready).running(digest)
            }
            Fate::FailsAfter(after) if age >= after => {
                let reason = Reason::new(ReasonCode::ContainerCrashed, "it ends at once");
                Rollout::new(generation, RolloutPhase::Failed).with_reason(reason)
            }
            _ => Rollout::new(generation, RolloutPhase::Progressing),
        }
    }

    pub(crate) fn settle(
        &self,
        target: &Target,
        generation: Generation,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        state.guard_at(target, (generation, false), "settle")?;
        if let Some(placed) = state.targets.get_mut(target) {
            placed.left.retain(|left| *left >= generation);
        }
        Ok(())
    }

    pub(crate) fn take_back(
        &self,
        (target, generation): (&Target, Generation),
        before: Option<Shown>,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        state.guard_at(target, (generation, true), "take back")?;
        let known = state.targets.get(target);
        let known = known.filter(|known| known.generation == generation);
        let placed = Placed {
            generation,
            shown: before,
            is_lost: false,
            is_taken_back: true,
            left: BTreeSet::new(),
            fate: known.map_or(Fate::ReadyAfter(Duration::ZERO), |known| known.fate),
            since: Instant::now(),
        };
        state.targets.insert(target.clone(), placed);
        Ok(())
    }

    pub(crate) fn remove(
        &self,
        target: &Target,
        generation: Generation,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        state.guard_at(target, (generation, true), "remove")?;
        let removed = Placed {
            generation,
            shown: None,
            is_lost: false,
            is_taken_back: false,
            left: BTreeSet::new(),
            fate: Fate::NeverReady,
            since: Instant::now(),
        };
        state.targets.insert(target.clone(), removed);
        state.runs.retain(|_, run| run.target != *target);
        Ok(())
    }

    pub(crate) fn start(
        &self,
        run: &RunId,
        (target, generation): (&Target, Generation),
        image: ImageReference,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        match state.targets.get(target) {
            Some(placed) if placed.shown.is_none() && placed.generation > generation => {
                let kind = BackendErrorKind::Stale;
                return Err(BackendError::new(kind, "start", "the target was removed"));
            }
            _ => {}
        }
        let after = self.dice.millis(20_000);
        let (ends, is_stuck) = match self.dice.below(100) {
            0..10 => (None, false),
            10..15 => (None, true),
            15..30 => (Some((after, 1)), false),
            _ => (Some((after, 0)), false),
        };
        state.runs.entry(run.clone()).or_insert_with(|| PlacedRun {
            target: target.clone(),
            image,
            since: Instant::now(),
            ends,
            is_stuck,
            cancelled: false,
        });
        Ok(())
    }

    pub(crate) fn run(&self, run: &RunId) -> Option<PlacedRun> {
        self.state().runs.get(run).cloned()
    }

    pub(crate) fn cancel(&self, run: &RunId) {
        if let Some(run) = self.state().runs.get_mut(run)
            && run.status().phase.is_some_and(|phase| !phase.is_final())
        {
            run.cancelled = true;
        }
    }

    /// Deletes the applied objects.
    pub(crate) fn lose(&self, target: &Target) -> bool {
        let mut state = self.state();
        let placed = state.targets.get_mut(target);
        let placed = placed.filter(|placed| placed.shown.is_some() && !placed.is_lost);
        placed.map(|placed| placed.is_lost = true).is_some()
    }

    /// Deploys to the target as another or a restored control plane.
    pub(crate) fn intrude(&self, target: &Target, by: u64) -> bool {
        let mut state = self.state();
        let Some(placed) = state.targets.get_mut(target) else {
            return false;
        };
        let Generation { epoch, number, .. } = placed.generation;
        placed.generation = Generation::new(epoch, number + by);
        state.foreign.insert(target.clone());
        true
    }

    pub(crate) fn placed(&self, target: &Target) -> Option<Placed> {
        self.state().targets.get(target).cloned()
    }

    pub(crate) fn was_ready(&self, target: &Target, generation: Generation) -> bool {
        let known = (target.clone(), generation);
        self.state().was_ready.contains(&known)
    }

    /// Returns `true` if another control plane has deployed to the target.
    pub(crate) fn is_foreign(&self, target: &Target) -> bool {
        self.state().foreign.contains(target)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Rejects generations before the current one. A generation that was taken back is after itself.
    fn guard_at(
        &self,
        target: &Target,
        (generation, takes_back): (Generation, bool),
        operation: &'static str,
    ) -> Result<(), BackendError> {
        match self.targets.get(target) {
            Some(placed)
                if (generation, takes_back) < (placed.generation, placed.is_taken_back) =>
            {
                let message = format!("generation {} is there", placed.generation);
                let kind = BackendErrorKind::Stale;
                Err(BackendError::new(kind, operation, message))
            }
            _ => Ok(()),
        }
    }
}
