use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{AcceptError, ReadyState, StoreError};
use crate::Target;
use crate::id::{DataPlaneId, OrganizationId, RunId};
use crate::reason::Reason;
use crate::release::Release;
use crate::run::{Run, RunOverrides, RunPhase};
use crate::settings::Settings;

/// A store for runs of tasks.
#[async_trait]
pub trait RunStore: fmt::Debug + Send + Sync + 'static {
    /// Accepts a run of the release that is ready on the target.
    ///
    /// # Contract
    /// - When it returns `Ok`, the run is durable and will be processed.
    /// - The run uses the release and the settings that are ready on the target now. A later
    ///   deployment does not change it.
    /// - Returns [`NothingReady`](AcceptError::NothingReady) if no release is ready.
    ///
    /// # Errors
    ///
    /// Returns an [`AcceptError`].
    async fn accept_run(&self, new: NewRun) -> Result<Run, AcceptError>;

    /// Releases a claim before the run has ended, and sets the time of the next attempt.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](super::StoreErrorKind::Stale) and the errors of the database.
    async fn put_back_run(&self, claim: &RunClaim, progress: RunProgress)
    -> Result<(), StoreError>;

    /// Ends the run and releases the claim.
    ///
    /// # Contract
    /// - A final run never changes and is never claimed.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](super::StoreErrorKind::Stale) and the errors of the database.
    async fn finish_run(&self, claim: &RunClaim, outcome: RunOutcome) -> Result<Run, StoreError>;

    /// Requests the cancellation of a run of an organization. The run is due immediately, even if a
    /// worker has claimed it.
    ///
    /// # Contract
    /// - The next worker that claims the run sees the request, and sets the time of the next
    ///   attempt as usual.
    /// - A final run stays unchanged.
    /// - Returns [`NotFound`](super::StoreErrorKind::NotFound) for a run of another organization,
    ///   as for one that does not exist.
    ///
    /// # Errors
    ///
    /// Returns the errors above and those of the database.
    async fn request_cancel(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        at: Timestamp,
    ) -> Result<Run, StoreError>;

    /// Returns a run of an organization, or `None` if the organization has no such run.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError>;

    /// Returns the newest runs of a target, newest first.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn runs(&self, target: &Target, limit: usize) -> Result<Vec<Run>, StoreError>;

    /// Waits until the run's revision is greater than `since`, and returns the run. Returns
    /// immediately if that is already the case. Returns `None` if the organization has no such run.
    /// It has no timeout of its own; use one around it.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn run_changed(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        since: u64,
    ) -> Result<Option<Run>, StoreError>;
}

/// A run to accept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewRun {
    /// The id, never used before.
    pub id: RunId,
    /// The target.
    pub target: Target,
    /// The data plane of the target's environment.
    pub data_plane: DataPlaneId,
    /// The changes of this run to the workload.
    pub overrides: RunOverrides,
    /// The time of the request.
    pub accepted_at: Timestamp,
    /// The deadline.
    pub deadline_at: Timestamp,
}

impl NewRun {
    /// Creates a run without changes to the workload.
    #[must_use]
    pub fn new(
        id: RunId,
        (target, data_plane): (Target, DataPlaneId),
        (accepted_at, deadline_at): (Timestamp, Timestamp),
    ) -> Self {
        let overrides = RunOverrides::default();
        Self {
            id,
            target,
            data_plane,
            overrides,
            accepted_at,
            deadline_at,
        }
    }

    /// Sets the changes to the workload.
    #[must_use]
    pub fn with_overrides(self, overrides: RunOverrides) -> Self {
        Self { overrides, ..self }
    }
}

impl NewRun {
    /// Returns the run of the ready release that a store keeps once this one is accepted.
    #[must_use]
    pub fn run(&self, ready: &ReadyState) -> Run {
        Run {
            id: self.id.clone(),
            target: self.target.clone(),
            data_plane: self.data_plane.clone(),
            generation: ready.generation,
            release: ready.release,
            settings_version: ready.settings_version,
            overrides: self.overrides.clone(),
            phase: RunPhase::Pending,
            exit_code: None,
            reasons: Vec::new(),
            accepted_at: self.accepted_at,
            deadline_at: self.deadline_at,
            cancel_requested: false,
            changed_at: self.accepted_at,
            revision: 1,
        }
    }
}

/// The right to work on a run.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunClaim {
    /// The run.
    pub id: RunId,
    /// The fence, which increases with every claim of the run.
    pub fence: u64,
}

impl RunClaim {
    /// Creates a claim of a run.
    #[must_use]
    pub fn new(id: RunId, fence: u64) -> Self {
        Self { id, fence }
    }
}

/// A claimed run with everything that a worker needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimedRun {
    /// The claim.
    pub claim: RunClaim,
    /// The run.
    pub run: Run,
    /// The release.
    pub release: Release,
    /// The settings.
    pub settings: Settings,
    /// Whether the run was started on the data plane.
    pub started: bool,
    /// The number of consecutive failed attempts.
    pub attempt: u32,
    /// The number of claims, including this one, since a worker last wrote something.
    pub claims: u32,
}

impl ClaimedRun {
    /// Creates a claimed run that was not started.
    #[must_use]
    pub fn new(claim: RunClaim, run: Run, release: Release, settings: Settings) -> Self {
        Self {
            claim,
            run,
            release,
            settings,
            started: false,
            attempt: 0,
            claims: 1,
        }
    }
}

/// The progress of a run when a worker releases its claim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunProgress {
    /// The phase; never final.
    pub phase: RunPhase,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// Whether the run was started on the data plane.
    pub started: bool,
    /// The number of consecutive failed attempts.
    pub attempt: u32,
    /// The time of the next attempt.
    pub next_attempt_at: Timestamp,
    /// The current time.
    pub at: Timestamp,
}

impl RunProgress {
    /// Creates the progress after an attempt at `at`, with the next one at `next_attempt_at`.
    #[must_use]
    pub fn new(phase: RunPhase, at: Timestamp, next_attempt_at: Timestamp) -> Self {
        Self {
            phase,
            reasons: Vec::new(),
            started: false,
            attempt: 0,
            next_attempt_at,
            at,
        }
    }
}

/// The end of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOutcome {
    /// The phase; always final.
    pub phase: RunPhase,
    /// The exit code of the container.
    pub exit_code: Option<i32>,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// The time.
    pub at: Timestamp,
}

impl RunOutcome {
    /// Creates an outcome.
    #[must_use]
    pub fn new(
        phase: RunPhase,
        exit_code: Option<i32>,
        reasons: Vec<Reason>,
        at: Timestamp,
    ) -> Self {
        Self {
            phase,
            exit_code,
            reasons,
            at,
        }
    }
}
