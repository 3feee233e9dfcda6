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

/// Stores runs of tasks.
#[async_trait]
pub trait RunStore: fmt::Debug + Send + Sync + 'static {
    /// Accepts a run of what is ready on the target.
    ///
    /// # Contract
    /// - When it returns `Ok`, the run is stored durably and will be worked on.
    /// - It runs the release and the settings that are ready on the target at this moment; a
    ///   deployment that comes later does not change it.
    /// - Without anything ready it is [`NothingReady`](AcceptError::NothingReady).
    ///
    /// # Errors
    /// See [`AcceptError`].
    async fn accept_run(&self, new: NewRun) -> Result<Run, AcceptError>;

    /// Gives a claim back before the run has ended, and says when to go on.
    ///
    /// # Errors
    /// [`Stale`](super::StoreErrorKind::Stale), and those of the database.
    async fn put_back_run(&self, claim: &RunClaim, progress: RunProgress)
    -> Result<(), StoreError>;

    /// Ends the run and gives the claim back.
    ///
    /// # Contract
    /// - A final run never changes again and is never claimed.
    ///
    /// # Errors
    /// [`Stale`](super::StoreErrorKind::Stale), and those of the database.
    async fn finish_run(&self, claim: &RunClaim, outcome: RunOutcome) -> Result<Run, StoreError>;

    /// Asks to stop a run of an organization. It is due at once, also when somebody is working on it just then.
    ///
    /// # Contract
    /// - Whoever claims it after that knows, and decides again when it is due.
    /// - A final run stays as it is.
    /// - A run of another organization is [`NotFound`](super::StoreErrorKind::NotFound), as one that
    ///   does not exist.
    ///
    /// # Errors
    /// As above, and those of the database.
    async fn request_cancel(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        at: Timestamp,
    ) -> Result<Run, StoreError>;

    /// A run of an organization; `None` when it has no such run.
    ///
    /// # Errors
    /// Those of the database.
    async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError>;

    /// The newest runs of a target, newest first.
    ///
    /// # Errors
    /// Those of the database.
    async fn runs(&self, target: &Target, limit: usize) -> Result<Vec<Run>, StoreError>;

    /// Waits until the run's revision is greater than `since`, and returns it. Returns at once when
    /// it is already, and `None` when the organization has no such run. Put a timeout around it.
    ///
    /// # Errors
    /// Those of the database.
    async fn run_changed(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        since: u64,
    ) -> Result<Option<Run>, StoreError>;
}

/// A run that is to be accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewRun {
    /// Its identity, never used before.
    pub id: RunId,
    /// Where it runs.
    pub target: Target,
    /// The data plane of the target's environment.
    pub data_plane: DataPlaneId,
    /// What it adds to the workload.
    pub overrides: RunOverrides,
    /// When it was asked for.
    pub accepted_at: Timestamp,
    /// When it must have ended.
    pub deadline_at: Timestamp,
}

impl NewRun {
    /// A run that adds nothing.
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

    /// Says what it adds.
    #[must_use]
    pub fn with_overrides(self, overrides: RunOverrides) -> Self {
        Self { overrides, ..self }
    }
}

impl NewRun {
    /// The run of what is ready, as a store keeps it once it is accepted.
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
    /// Greater with every claim of the run.
    pub fence: u64,
}

impl RunClaim {
    /// A claim of a run.
    #[must_use]
    pub fn new(id: RunId, fence: u64) -> Self {
        Self { id, fence }
    }
}

/// A run with all that a worker needs to go on with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimedRun {
    /// The right to write.
    pub claim: RunClaim,
    /// The run.
    pub run: Run,
    /// What it runs.
    pub release: Release,
    /// The settings it uses.
    pub settings: Settings,
    /// Whether it was started on the data plane.
    pub started: bool,
    /// How many attempts in a row have failed.
    pub attempt: u32,
    /// How often it was claimed, this time too, since something was last written about it.
    pub claims: u32,
}

impl ClaimedRun {
    /// A run that was not started yet.
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

/// How far a run is when its claim is given back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunProgress {
    /// How far it is; never final.
    pub phase: RunPhase,
    /// Why it is no further.
    pub reasons: Vec<Reason>,
    /// Whether it was started on the data plane.
    pub started: bool,
    /// How many attempts in a row have failed.
    pub attempt: u32,
    /// When to go on.
    pub next_attempt_at: Timestamp,
    /// The time now.
    pub at: Timestamp,
}

impl RunProgress {
    /// On its way after an attempt at a time, to be gone on with at another.
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

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOutcome {
    /// How; always final.
    pub phase: RunPhase,
    /// The exit code of its container.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub reasons: Vec<Reason>,
    /// When.
    pub at: Timestamp,
}

impl RunOutcome {
    /// An end at a time.
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
