//! A data plane in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use choreo_registry::digest::DigestRef;
use choreo_registry::{Digest, ImageReference};

use crate::Target;
use crate::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogLine, LogQuery, LogReader, Pull,
    RunIntent, TaskRunner,
};
use crate::deployment::Generation;
use crate::id::RunId;
use crate::reason::{Reason, ReasonCode};
use crate::rollout::{Rollout, RolloutPhase, RunStatus};
use crate::run::RunPhase;
use crate::workload::Workload;

/// A data plane in memory: the promise of [`DeploymentBackend`] in plain lines.
///
/// Rollouts are ready at once and runs succeed at once, unless [`fail_image`](Self::fail_image) or
/// [`fail_run`](Self::fail_run) says otherwise. For tests, for examples, and for reading.
///
/// ```
/// use choreo_deploy::backend::{DeploymentBackend, Intent};
/// use choreo_deploy::rollout::RolloutPhase;
/// use choreo_deploy::{InMemoryBackend, conformance};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let (target, release) = (conformance::example_target("orders"), conformance::example_release(1));
/// let backend = InMemoryBackend::new();
/// backend.apply(&Intent::new(&target, Default::default(), &release)).await?;
/// assert_eq!(backend.observe(&target).await?.phase, RolloutPhase::Ready);
/// # Ok::<(), choreo_deploy::backend::BackendError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct InMemoryBackend {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    targets: HashMap<Target, Applied>,
    runs: HashMap<(Target, RunId), RunStatus>,
    failing_images: HashMap<ImageReference, Reason>,
    failing_runs: Option<i32>,
    reported: HashMap<ImageReference, Digest>,
}

/// What a target remembers: the newest generation, and what of it is there.
#[derive(Debug)]
struct Applied {
    generation: Generation,
    is_taken_back: bool,
    shown: Option<Shown>,
    is_lost: bool,
}

/// What is on the data plane of a target. For people and for tests.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shown {
    /// The reference that is pulled.
    pub image: ImageReference,
    /// The workload, with the settings applied.
    pub workload: Workload,
    /// How it is pulled: for a pull secret its key and username, never the password.
    pub pull: String,
}

impl Shown {
    fn of(intent: &Intent<'_>) -> Self {
        let workload = intent.settings.applied_to(&intent.release.workload);
        Self {
            image: intent.release.image.deployed(),
            workload: workload.into_owned(),
            pull: describe(&intent.pull),
        }
    }
}

impl InMemoryBackend {
    /// A data plane with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is on the data plane of a target; `None` when there is nothing.
    #[must_use]
    pub fn shown(&self, target: &Target) -> Option<Shown> {
        self.lock()
            .targets
            .get(target)
            .and_then(|applied| applied.shown.clone())
    }

    /// Makes every rollout of this deployed image fail for a reason.
    pub fn fail_image(&self, deployed: ImageReference, reason: Reason) {
        self.lock().failing_images.insert(deployed, reason);
    }

    /// Makes every run that starts from now on end with this exit code.
    pub fn fail_run(&self, exit_code: i32) {
        self.lock().failing_runs = Some(exit_code);
    }

    /// Makes containers of an image that was deployed by tag report this digest.
    pub fn report_digest(&self, deployed: ImageReference, digest: Digest) {
        self.lock().reported.insert(deployed, digest);
    }

    /// Takes away what runs on a target, as somebody would who deletes it by hand.
    pub fn lose(&self, target: &Target) {
        if let Some(applied) = self.lock().targets.get_mut(target) {
            applied.is_lost = true;
        }
    }

    /// A panic under the lock leaves whole values behind, so a poisoned one is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn guard(
        &self,
        target: &Target,
        generation: Generation,
        operation: &'static str,
    ) -> Result<(), BackendError> {
        self.guard_at(target, (generation, true), operation)
    }

    /// Refuses what comes before what is there: a generation that was taken back comes after itself.
    fn guard_at(
        &self,
        target: &Target,
        (generation, takes_back): (Generation, bool),
        operation: &'static str,
    ) -> Result<(), BackendError> {
        match self.targets.get(target) {
            Some(applied)
                if (generation, takes_back) < (applied.generation, applied.is_taken_back) =>
            {
                Err(BackendError::new(
                    BackendErrorKind::Stale,
                    operation,
                    format!(
                        "generation {generation} is older than {}",
                        applied.generation
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl DeploymentBackend for InMemoryBackend {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let mut state = self.lock();
        state.guard_at(intent.target, (intent.generation, false), "apply")?;
        let applied = Applied {
            generation: intent.generation,
            is_taken_back: false,
            shown: Some(Shown::of(intent)),
            is_lost: false,
        };
        state.targets.insert(intent.target.clone(), applied);
        Ok(())
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        let state = self.lock();
        let Some(applied) = state.targets.get(target) else {
            return Ok(Rollout::absent());
        };
        let Some(shown) = &applied.shown else {
            return Ok(Rollout::new(applied.generation, RolloutPhase::Absent));
        };
        if applied.is_lost {
            return Ok(Rollout::new(applied.generation, RolloutPhase::Missing));
        }
        if let Some(reason) = state.failing_images.get(&shown.image) {
            return Ok(
                Rollout::new(applied.generation, RolloutPhase::Failed).with_reason(reason.clone())
            );
        }
        let rollout = Rollout::new(applied.generation, RolloutPhase::Ready);
        Ok(
            match shown
                .image
                .digest()
                .map(DigestRef::to_owned)
                .or_else(|| state.reported.get(&shown.image).copied())
            {
                Some(digest) => rollout.running(digest),
                None => rollout,
            },
        )
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        // Applying replaces everything, so nothing old is ever left.
        self.lock().guard_at(target, (generation, false), "settle")
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        let mut state = self.lock();
        state.guard(target, generation, "take back")?;
        let applied = Applied {
            generation,
            is_taken_back: true,
            shown: before.map(Shown::of),
            is_lost: false,
        };
        state.targets.insert(target.clone(), applied);
        Ok(())
    }

    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        let mut state = self.lock();
        state.guard(target, generation, "update pull secret")?;
        let shown = state
            .targets
            .get_mut(target)
            .and_then(|applied| applied.shown.as_mut());
        let shown = shown.ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::NotFound,
                "update pull secret",
                "nothing is deployed to the target",
            )
        })?;
        shown.pull = describe(pull);
        Ok(())
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        let mut state = self.lock();
        state.guard(target, generation, "remove")?;
        state.targets.insert(
            target.clone(),
            Applied {
                generation,
                is_taken_back: false,
                shown: None,
                is_lost: false,
            },
        );
        state.runs.retain(|(of, _), _| of != target);
        Ok(())
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        Some(self)
    }
}

#[async_trait]
impl TaskRunner for InMemoryBackend {
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        let mut state = self.lock();
        let status = match state.failing_runs {
            None => RunStatus::new(RunPhase::Succeeded).with_exit_code(0),
            Some(code) => RunStatus::new(RunPhase::Failed)
                .with_exit_code(code)
                .with_reason(Reason::new(
                    ReasonCode::RunFailed,
                    format!("the run ended with exit code {code}"),
                )),
        };
        state
            .runs
            .entry((run.intent.target.clone(), run.run.clone()))
            .or_insert(status);
        Ok(())
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        let state = self.lock();
        let status = state.runs.get(&(target.clone(), run.clone()));
        Ok(status.cloned().unwrap_or_else(RunStatus::unknown))
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        if let Some(status) = self.lock().runs.get_mut(&(target.clone(), run.clone()))
            && status.phase.is_some_and(|phase| !phase.is_final())
        {
            *status = RunStatus::new(RunPhase::Cancelled);
        }
        Ok(())
    }
}

#[async_trait]
impl LogReader for InMemoryBackend {
    async fn tail(&self, target: &Target, query: &LogQuery) -> Result<Vec<LogLine>, BackendError> {
        let shown = self.shown(target).filter(|_| query.lines > 0);
        Ok(shown
            .map(|shown| LogLine::new("memory", format!("{} runs", shown.image)))
            .into_iter()
            .collect())
    }
}

fn describe(pull: &Pull<'_>) -> String {
    match pull {
        Pull::Anonymous => "anonymous".to_owned(),
        Pull::NodeIdentity => "node identity".to_owned(),
        Pull::Secret(secret) => format!("pull secret for {}", secret.auths_key()),
        Pull::Existing(name) => format!("existing secret {name}"),
        Pull::External(reference) => format!("external secret {reference}"),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} as a {}, pulled with {}",
            self.image,
            self.workload.component_type(),
            self.pull
        )
    }
}
