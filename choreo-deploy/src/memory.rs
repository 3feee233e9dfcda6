//! A data plane in memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use choreo_registry::digest::DigestRef;
use choreo_registry::{Digest, ImageReference, PullSecret};
use tokio::time::Instant;

use crate::Target;
use crate::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogLine, LogQuery, LogReader, Pull,
    RunIntent, TaskRunner,
};
use crate::deployment::Generation;
use crate::id::{RegistryId, RunId};
use crate::reason::{Reason, ReasonCode};
use crate::rollout::{Rollout, RolloutPhase, RunStatus};
use crate::run::RunPhase;
use crate::workload::Workload;

/// A data plane in memory: a small implementation of [`DeploymentBackend`] for tests and examples.
///
/// Rollouts are ready at once and runs succeed at once, unless [`with_delay`](Self::with_delay),
/// [`fail_image`](Self::fail_image), [`fail_next`](Self::fail_next) or [`fail_run`](Self::fail_run)
/// changes that.
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
    delay: Duration,
    /// The key of the hashes of pull secrets, which are not kept.
    fingerprints: RandomState,
}

#[derive(Debug, Default)]
struct State {
    targets: HashMap<Target, Applied>,
    runs: HashMap<(Target, RunId), Started>,
    failing_images: HashMap<ImageReference, Reason>,
    failing_next: Option<Reason>,
    failing_runs: Option<i32>,
    reported: HashMap<ImageReference, Digest>,
}

/// The state of a target: the newest generation and its objects.
#[derive(Debug)]
struct Applied {
    generation: Generation,
    rank: Rank,
    shown: Option<Shown>,
    is_lost: bool,
    /// The time at which the generation was first applied.
    since: Instant,
    takes: Duration,
    failure: Option<Reason>,
    pull_secret: Option<u64>,
    /// How the generation that was ready last pulls, and the fingerprint of its pull secret.
    ready_pull: Option<(String, Option<u64>)>,
}

/// The order within one generation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    ByTag,
    ByDigest,
    TakenBack,
}

impl Rank {
    fn of(intent: &Intent<'_>) -> Self {
        match intent.release.image.deployed().digest() {
            Some(_) => Self::ByDigest,
            None => Self::ByTag,
        }
    }
}

/// A run and its end.
#[derive(Debug)]
struct Started {
    since: Instant,
    takes: Duration,
    end: RunStatus,
}

impl Started {
    fn status(&self) -> RunStatus {
        if self.since.elapsed() < self.takes {
            RunStatus::new(RunPhase::Running)
        } else {
            self.end.clone()
        }
    }
}

/// The objects of a target on the data plane, which people and tests can read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shown {
    /// The reference of the image.
    pub image: ImageReference,
    /// The workload with the applied settings.
    pub workload: Workload,
    /// The registry of the release.
    pub registry: Option<RegistryId>,
    /// The way to pull the image. A pull secret is shown by its key, never by its credential.
    pub pull: String,
}

impl Shown {
    fn of(intent: &Intent<'_>) -> Self {
        let workload = intent.settings.applied_to(&intent.release.workload);
        Self {
            image: intent.release.image.deployed(),
            workload: workload.into_owned(),
            registry: intent.release.registry.clone(),
            pull: describe(&intent.pull),
        }
    }
}

impl InMemoryBackend {
    /// Creates an empty data plane.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the objects of a target, or `None` if there are none.
    #[must_use]
    pub fn shown(&self, target: &Target) -> Option<Shown> {
        self.lock()
            .targets
            .get(target)
            .and_then(|applied| applied.shown.clone())
    }

    /// Sets the duration of rollouts and runs, so that a reader can observe their progress. It is
    /// measured by [`tokio::time`], which tests can pause.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use choreo_deploy::backend::{DeploymentBackend, Intent};
    /// use choreo_deploy::rollout::RolloutPhase;
    /// use choreo_deploy::{InMemoryBackend, conformance};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    /// # runtime.block_on(async {
    /// let (target, release) = (conformance::example_target("orders"), conformance::example_release(1));
    /// let backend = InMemoryBackend::new().with_delay(Duration::from_secs(5));
    /// backend.apply(&Intent::new(&target, Default::default(), &release)).await?;
    /// assert_eq!(backend.observe(&target).await?.phase, RolloutPhase::Progressing);
    ///
    /// tokio::time::sleep(Duration::from_secs(5)).await;
    /// assert_eq!(backend.observe(&target).await?.phase, RolloutPhase::Ready);
    /// # Ok::<(), choreo_deploy::backend::BackendError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Returns `true` if a target pulls with this secret, so that a test can detect another credential.
    /// The secret itself is not kept.
    #[must_use]
    pub fn pulls_with(&self, target: &Target, secret: &PullSecret) -> bool {
        let fingerprint = self.fingerprint(&Pull::Secret(secret));
        let state = self.lock();
        let applied = state.targets.get(target);
        applied.is_some_and(|applied| applied.pull_secret == fingerprint)
    }

    fn fingerprint(&self, pull: &Pull<'_>) -> Option<u64> {
        match pull {
            Pull::Secret(secret) => {
                let text = secret.expose_docker_config_json();
                Some(self.fingerprints.hash_one(text))
            }
            _ => None,
        }
    }

    /// Makes the next rollout fail for a reason, with any image.
    pub fn fail_next(&self, reason: Reason) {
        self.lock().failing_next = Some(reason);
    }

    /// Makes every rollout of this deployed image fail for a reason.
    pub fn fail_image(&self, deployed: ImageReference, reason: Reason) {
        self.lock().failing_images.insert(deployed, reason);
    }

    /// Makes all following runs end with this exit code.
    pub fn fail_run(&self, exit_code: i32) {
        self.lock().failing_runs = Some(exit_code);
    }

    /// Makes containers of an image that was deployed by its tag report this digest.
    pub fn report_digest(&self, deployed: ImageReference, digest: Digest) {
        self.lock().reported.insert(deployed, digest);
    }

    /// Deletes the objects of a target, as a person could do by hand.
    pub fn lose(&self, target: &Target) {
        if let Some(applied) = self.lock().targets.get_mut(target) {
            applied.is_lost = true;
        }
    }

    /// Locks the state. It is consistent after every statement, so a poisoned lock is valid.
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
        self.guard_at(target, (generation, Rank::TakenBack), operation)
    }

    /// Fails if the target has a newer generation, or a higher rank of the same generation.
    fn guard_at(
        &self,
        target: &Target,
        (generation, rank): (Generation, Rank),
        operation: &'static str,
    ) -> Result<(), BackendError> {
        let Some(newest) = self.targets.get(target) else {
            return Ok(());
        };
        if (generation, rank) >= (newest.generation, newest.rank) {
            return Ok(());
        }
        let message = if generation < newest.generation {
            format!(
                "generation {generation} is older than {}",
                newest.generation
            )
        } else if newest.rank == Rank::TakenBack {
            format!("generation {generation} was taken back")
        } else {
            format!("generation {generation} is applied by digest already")
        };
        let kind = BackendErrorKind::Stale;
        Err(BackendError::new(kind, operation, message))
    }
}

#[async_trait]
impl DeploymentBackend for InMemoryBackend {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let mut state = self.lock();
        intent.pull.unless_as_before("apply")?;
        let rank = Rank::of(intent);
        state.guard_at(intent.target, (intent.generation, rank), "apply")?;
        // The same generation again is the same rollout.
        let before = state.targets.remove(intent.target);
        let ready_pull = before.as_ref().and_then(|before| before.ready_pull.clone());
        let before = before.filter(|before| before.generation == intent.generation);
        let (since, failure) = match before {
            Some(before) if before.shown.is_some() => (before.since, before.failure),
            _ => (Instant::now(), state.failing_next.take()),
        };
        let applied = Applied {
            generation: intent.generation,
            rank,
            shown: Some(Shown::of(intent)),
            is_lost: false,
            since,
            takes: self.delay,
            failure,
            pull_secret: self.fingerprint(&intent.pull),
            ready_pull,
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
        if applied.since.elapsed() < applied.takes {
            return Ok(Rollout::new(applied.generation, RolloutPhase::Progressing));
        }
        let failure = state.failing_images.get(&shown.image);
        if let Some(reason) = failure.or(applied.failure.as_ref()) {
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
        // Applying replaces everything, so there are no leftovers.
        let mut state = self.lock();
        state.guard_at(target, (generation, Rank::ByDigest), "settle")?;
        if let Some(applied) = state.targets.get_mut(target)
            && let Some(shown) = &applied.shown
            && applied.generation == generation
        {
            applied.ready_pull = Some((shown.pull.clone(), applied.pull_secret));
        }
        Ok(())
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        let mut state = self.lock();
        state.guard(target, generation, "take back")?;
        let ready_pull = { state.targets.get(target) }.and_then(|known| known.ready_pull.clone());
        let mut shown = before.map(Shown::of);
        let mut pull_secret = before.and_then(|before| self.fingerprint(&before.pull));
        if let Some(shown) = &mut shown
            && let Some(Pull::AsBefore) = before.map(|before| before.pull)
        {
            (shown.pull, pull_secret) = ready_pull.unwrap_or_default();
        }
        let restored = { shown.as_ref() }.map(|shown| (shown.pull.clone(), pull_secret));
        let applied = Applied {
            generation,
            rank: Rank::TakenBack,
            shown,
            is_lost: false,
            since: Instant::now(),
            takes: Duration::ZERO,
            failure: None,
            pull_secret,
            // The next take-back finds what this one restored, not what it replaced.
            ready_pull: restored,
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
        pull.unless_as_before("update pull secret")?;
        let applied = state.targets.get_mut(target);
        let Some(Applied {
            shown: Some(shown),
            pull_secret,
            ..
        }) = applied
        else {
            return Err(BackendError::new(
                BackendErrorKind::NotFound,
                "update pull secret",
                "nothing is deployed to the target",
            ));
        };
        shown.pull = describe(pull);
        *pull_secret = self.fingerprint(pull);
        Ok(())
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        let mut state = self.lock();
        state.guard(target, generation, "remove")?;
        state.targets.insert(
            target.clone(),
            Applied {
                generation,
                rank: Rank::ByDigest,
                shown: None,
                is_lost: false,
                since: Instant::now(),
                takes: Duration::ZERO,
                failure: None,
                pull_secret: None,
                ready_pull: None,
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
        run.intent.pull.unless_as_before("start run")?;
        let mut state = self.lock();
        let end = match state.failing_runs {
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
            .or_insert(Started {
                since: Instant::now(),
                takes: self.delay,
                end,
            });
        Ok(())
    }

    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        let state = self.lock();
        let started = state.runs.get(&(target.clone(), run.clone()));
        Ok(started.map_or_else(RunStatus::unknown, Started::status))
    }

    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError> {
        let mut state = self.lock();
        if let Some(started) = state.runs.get_mut(&(target.clone(), run.clone()))
            && started.status().phase == Some(RunPhase::Running)
        {
            started.takes = Duration::ZERO;
            started.end = RunStatus::new(RunPhase::Cancelled);
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
        Pull::AsBefore => "as before".to_owned(),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} as a {}, pulled with {}",
            self.image,
            self.workload.component_type().title(),
            self.pull
        )
    }
}

#[cfg(test)]
mod tests {
    use choreo_registry::Credential;

    use super::*;
    use crate::conformance::{example_release, example_target};
    use crate::run::RunOverrides;

    async fn apply(backend: &InMemoryBackend, number: u64, pull: Pull<'_>) -> Rollout {
        let (target, release) = (example_target("orders"), example_release(1));
        let intent = Intent::new(&target, Generation::new(0, number), &release).with_pull(pull);
        backend.apply(&intent).await.unwrap();
        backend.observe(&target).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_shows_progress_and_begins_once() {
        let backend = InMemoryBackend::new().with_delay(Duration::from_secs(10));
        let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        let phase = async |number| apply(&backend, number, Pull::Anonymous).await.phase;
        assert_eq!(phase(1).await, RolloutPhase::Progressing);
        pass(6).await;
        assert_eq!(phase(1).await, RolloutPhase::Progressing);
        pass(6).await;
        assert_eq!(phase(1).await, RolloutPhase::Ready);
        assert_eq!(phase(2).await, RolloutPhase::Progressing);
    }

    /// Guards that a take-back pulls as the one before it, if its registry has no credential by then.
    #[tokio::test]
    async fn a_take_back_pulls_as_the_take_back_before_it() {
        let backend = InMemoryBackend::new();
        let (target, release) = (example_target("orders"), example_release(1));
        apply(&backend, 1, Pull::Anonymous).await;
        backend
            .settle(&target, Generation::new(0, 1))
            .await
            .unwrap();
        for (number, pull) in [(2, Pull::Existing("team-images")), (3, Pull::AsBefore)] {
            apply(&backend, number, Pull::Anonymous).await;
            let generation = Generation::new(0, number);
            let before = Intent::new(&target, generation, &release).with_pull(pull);
            let taken_back = backend.take_back(&target, generation, Some(&before));
            taken_back.await.unwrap();
            let expected = describe(&Pull::Existing("team-images"));
            assert_eq!(backend.shown(&target).unwrap().pull, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_under_way_can_be_cancelled() {
        let backend = InMemoryBackend::new().with_delay(Duration::from_secs(10));
        let (target, release) = (example_target("orders"), example_release(1));
        let overrides = RunOverrides::default();
        for (id, wait, end) in [
            ("r-1", 1, RunPhase::Cancelled),
            ("r-2", 11, RunPhase::Succeeded),
        ] {
            let run = id.parse().unwrap();
            let intent = Intent::new(&target, Generation::new(0, 1), &release);
            let intent = RunIntent::new(&run, intent, &overrides);
            backend.start(&intent).await.unwrap();
            let phase = async || backend.observe_run(&target, &run).await.unwrap().phase;
            assert_eq!(phase().await, Some(RunPhase::Running));
            tokio::time::advance(Duration::from_secs(wait)).await;
            backend.cancel_run(&target, &run).await.unwrap();
            assert_eq!(phase().await, Some(end));
        }
    }

    #[tokio::test]
    async fn the_next_rollout_fails_and_no_other() {
        let backend = InMemoryBackend::new();
        backend.fail_next(Reason::new(
            ReasonCode::OutOfMemory,
            "too much memory is used",
        ));
        for (number, phase) in [
            (1, RolloutPhase::Failed),
            (1, RolloutPhase::Failed),
            (2, RolloutPhase::Ready),
        ] {
            let rollout = apply(&backend, number, Pull::Anonymous).await;
            assert_eq!(rollout.phase, phase, "generation {number}");
        }
    }

    /// Guards that a test can detect a changed credential, which `pull` does not show.
    #[tokio::test]
    async fn a_rotated_credential_is_seen() {
        let secret = |password| {
            let credential = Credential::new("robot", password).unwrap();
            PullSecret::new(&"registry.example.com".parse().unwrap(), &credential)
        };
        let (old, new) = (secret("correct horse"), secret("battery staple"));
        let (backend, target) = (InMemoryBackend::new(), example_target("orders"));
        assert!(!backend.pulls_with(&target, &old));
        apply(&backend, 1, Pull::Secret(&old)).await;
        assert!(backend.pulls_with(&target, &old) && !backend.pulls_with(&target, &new));
        let generation = Generation::new(0, 1);
        let pull = Pull::Secret(&new);
        let update = backend.update_pull_secret(&target, generation, &pull);
        update.await.unwrap();
        assert!(backend.pulls_with(&target, &new) && !backend.pulls_with(&target, &old));
        assert!(!format!("{backend:?}").contains("battery"));
    }
}
