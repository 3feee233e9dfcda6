use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::Target;
use crate::deployment::{Cause, Deployment, Generation, Hold, Phase, Provenance, Subject};
use crate::finding::Finding;
use crate::id::{ComponentKey, DataPlaneId, DeploymentId, OrganizationId};
use crate::reason::{Reason, ReasonCode};
use crate::release::{Release, ReleaseNumber};
use crate::settings::Settings;
use crate::workload::Workload;

/// A deployment to accept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewDeployment {
    /// The id, never used before.
    pub id: DeploymentId,
    /// The target.
    pub target: Target,
    /// The data plane of the target's environment.
    pub data_plane: DataPlaneId,
    /// The cause. [`Cause::Ci`] names the token, which the store checks again.
    pub cause: Cause,
    /// The requested image, release or absence.
    pub subject: Subject,
    /// The workload, if an image is requested. A release has its own workload.
    pub workload: Option<Workload>,
    /// The settings.
    pub settings: SettingsChoice,
    /// The origin of the image.
    pub provenance: Provenance,
    /// The idempotency key of the request.
    pub idempotency: Option<Idempotency>,
    /// Whether the deployment holds the target against deployments from machines.
    pub hold: bool,
    /// The time of the request.
    pub accepted_at: Timestamp,
    /// The deadline.
    pub deadline_at: Timestamp,
}

impl NewDeployment {
    /// Creates a manual deployment with default settings.
    #[must_use]
    pub fn new(
        id: DeploymentId,
        (target, data_plane): (Target, DataPlaneId),
        subject: Subject,
        (accepted_at, deadline_at): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            id,
            target,
            data_plane,
            cause: Cause::Manual,
            subject,
            workload: None,
            settings: SettingsChoice::Now(Settings::default()),
            provenance: Provenance::default(),
            idempotency: None,
            hold: false,
            accepted_at,
            deadline_at,
        }
    }
}

impl NewDeployment {
    /// Returns the deployment that a store keeps once this one is accepted.
    #[must_use]
    pub fn deployment(
        &self,
        generation: Generation,
        settings_version: u64,
        release: Option<ReleaseNumber>,
    ) -> Deployment {
        Deployment {
            id: self.id.clone(),
            target: self.target.clone(),
            data_plane: self.data_plane.clone(),
            generation,
            cause: self.cause.clone(),
            subject: self.subject.clone(),
            settings_version,
            release,
            phase: Phase::Accepted,
            reasons: Vec::new(),
            provenance: self.provenance.clone(),
            accepted_at: self.accepted_at,
            deadline_at: self.deadline_at,
            changed_at: self.accepted_at,
            revision: 1,
        }
    }

    /// Returns how the target's previous deployment `before` ends once this one is accepted.
    /// `ready` is the deployment of the target's [ready state](TargetState::ready).
    ///
    /// A deployment in the ready state took effect. So it ends as ready although it has not left
    /// its old places. Any other deployment is superseded.
    #[must_use]
    pub fn outcome_of(&self, before: &Deployment, ready: Option<&DeploymentId>) -> Outcome {
        let code = ReasonCode::NewerDeployment;
        if ready != Some(&before.id) {
            let reason = Reason::new(code, format!("deployment {} took its place", self.id));
            return Outcome::new(Phase::Superseded, vec![reason], self.accepted_at);
        }
        let message = format!(
            "it is ready, and deployment {} arrived before what ran elsewhere was removed",
            self.id
        );
        let help = "if that deployment fails, deploy again to remove it there";
        let mut reasons = before.reasons.clone();
        reasons.push(Reason::new(code, message).with_help(help));
        Outcome::new(Phase::Ready, reasons, self.accepted_at)
    }
}

/// The settings that a deployment uses.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SettingsChoice {
    /// These settings, which become the newest version of the target's settings.
    Now(Settings),
    /// An earlier version, for a rollback.
    Version(u64),
}

/// A key that identifies repeated requests for a component.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Idempotency {
    /// The key, unique within the component.
    pub key: String,
    /// A digest of the request. The same key with another fingerprint is rejected.
    pub fingerprint: [u8; 32],
    /// The time at which the key expires.
    pub expires_at: Timestamp,
}

impl Idempotency {
    /// The minimum time for which a store keeps an expired key: a week. So if a clock was ahead by
    /// less than that and is corrected, no key has expired early.
    pub const SPARE: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// Creates a key for a request.
    #[must_use]
    pub fn new(key: impl Into<String>, fingerprint: [u8; 32], expires_at: Timestamp) -> Self {
        Self {
            key: key.into(),
            fingerprint,
            expires_at,
        }
    }
}

/// An accepted deployment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The deployment.
    pub deployment: Deployment,
    /// Whether an earlier request was the same. If so, nothing new was stored.
    pub replayed: bool,
    /// The superseded deployment. `None` if the previous one had ended or was ready.
    pub superseded: Option<DeploymentId>,
    /// Doubts about the deployment. A store adds none.
    pub findings: Vec<Finding>,
}

impl Accepted {
    /// Creates the result for a new deployment.
    #[must_use]
    pub fn new(deployment: Deployment, superseded: Option<DeploymentId>) -> Self {
        Self {
            deployment,
            replayed: false,
            superseded,
            findings: Vec::new(),
        }
    }

    /// Creates the result for a deployment that an earlier request stored.
    #[must_use]
    pub fn replayed(deployment: Deployment) -> Self {
        Self {
            deployment,
            replayed: true,
            superseded: None,
            findings: Vec::new(),
        }
    }

    /// Sets the findings.
    #[must_use]
    pub fn with_findings(self, findings: Vec<Finding>) -> Self {
        Self { findings, ..self }
    }
}

/// The right to work on a target's deployment, until a newer deployment or claim replaces it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// The target.
    pub target: Target,
    /// The generation of the deployment.
    pub generation: Generation,
    /// The fence, which increases with every claim of the target.
    pub fence: u64,
}

impl Claim {
    /// Creates a claim of a generation of a target.
    #[must_use]
    pub fn new(target: Target, generation: Generation, fence: u64) -> Self {
        Self {
            target,
            generation,
            fence,
        }
    }
}

/// A claimed deployment with everything that a worker needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimedDeployment {
    /// The claim.
    pub claim: Claim,
    /// The deployment.
    pub deployment: Deployment,
    /// The workload, if an image was requested.
    pub workload: Option<Workload>,
    /// The settings.
    pub settings: Settings,
    /// The release, once it exists.
    pub release: Option<Release>,
    /// The progress on the data plane.
    pub stage: WorkStage,
    /// The number of consecutive failed attempts.
    pub attempt: u32,
    /// The data planes that may run the target. See [`TargetState::planes`].
    pub planes: BTreeSet<DataPlaneId>,
    /// The number of claims, including this one, since a worker last wrote something. More than a
    /// few can mean that the work kills its worker.
    pub claims: u32,
}

/// The progress of a deployment on its data plane.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum WorkStage {
    /// It has to be applied.
    #[default]
    ToApply,
    /// It is applied and observed.
    Applied,
    /// It has failed and is taken back before it ends.
    Failed,
    /// It has timed out and is taken back before it ends.
    TimedOut,
    /// It is ready and is being removed from its old places; or it is an absence and is being
    /// removed from everywhere. The [ready state](TargetState::ready) of the target is already the
    /// new one.
    Leaving,
}

impl WorkStage {
    const ALL: [Self; 5] = [
        Self::ToApply,
        Self::Applied,
        Self::Failed,
        Self::TimedOut,
        Self::Leaving,
    ];

    /// Returns the stage as the number that a store keeps. 0 means not applied and 1 means applied.
    #[must_use]
    pub fn as_number(self) -> u8 {
        match self {
            Self::ToApply => 0,
            Self::Applied => 1,
            Self::Failed => 2,
            Self::TimedOut => 3,
            Self::Leaving => 4,
        }
    }

    /// Returns the stage of a number, or `None` if the number is unknown.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_number() == number)
    }

    /// Returns the final phase of the deployment once it is taken back, or `None` if it can still
    /// succeed.
    #[must_use]
    pub fn verdict(self) -> Option<Phase> {
        match self {
            Self::ToApply | Self::Applied | Self::Leaving => None,
            Self::Failed => Some(Phase::Failed),
            Self::TimedOut => Some(Phase::TimedOut),
        }
    }
}

impl ClaimedDeployment {
    /// Creates a claimed deployment without any progress.
    #[must_use]
    pub fn new(claim: Claim, deployment: Deployment, settings: Settings) -> Self {
        Self {
            claim,
            deployment,
            workload: None,
            settings,
            release: None,
            stage: WorkStage::ToApply,
            attempt: 0,
            planes: BTreeSet::new(),
            claims: 1,
        }
    }
}

/// The progress of a deployment when a worker releases its claim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The phase; never final.
    pub phase: Phase,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// The progress on the data plane.
    pub stage: WorkStage,
    /// The number of consecutive failed attempts.
    pub attempt: u32,
    /// The time of the next attempt.
    pub next_attempt_at: Timestamp,
    /// The current time.
    pub at: Timestamp,
}

impl Progress {
    /// Creates the progress after an attempt at `at`, with the next one at `next_attempt_at`.
    #[must_use]
    pub fn new(phase: Phase, at: Timestamp, next_attempt_at: Timestamp) -> Self {
        Self {
            phase,
            reasons: Vec::new(),
            stage: WorkStage::ToApply,
            attempt: 0,
            next_attempt_at,
            at,
        }
    }
}

/// The end of a deployment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The phase; always final.
    pub phase: Phase,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// The time.
    pub at: Timestamp,
    /// The data planes that the deployment removed the target from.
    pub left: BTreeSet<DataPlaneId>,
}

impl Outcome {
    /// Creates an outcome that has left no data plane.
    #[must_use]
    pub fn new(phase: Phase, reasons: Vec<Reason>, at: Timestamp) -> Self {
        Self {
            phase,
            reasons,
            at,
            left: BTreeSet::new(),
        }
    }

    /// Sets the data planes that the deployment removed the target from.
    #[must_use]
    pub fn with_left(self, left: BTreeSet<DataPlaneId>) -> Self {
        Self { left, ..self }
    }
}

/// The state of a target.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TargetState {
    /// The target.
    pub target: Target,
    /// The newest generation.
    pub generation: Generation,
    /// The newest deployment.
    pub deployment: DeploymentId,
    /// The latest deployment that was ready.
    pub ready: Option<ReadyState>,
    /// The hold that rejects deployments from machines.
    pub hold: Option<Hold>,
    /// The data planes that may run the target: those of every accepted deployment until the target
    /// was removed there. It has several after its environment has moved.
    pub planes: BTreeSet<DataPlaneId>,
}

impl TargetState {
    /// Creates the state of a target with its newest deployment.
    #[must_use]
    pub fn new(target: Target, generation: Generation, deployment: DeploymentId) -> Self {
        Self {
            target,
            generation,
            deployment,
            ready: None,
            hold: None,
            planes: BTreeSet::new(),
        }
    }
}

/// The latest deployment that was ready on a target: the source of promotions and runs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReadyState {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The generation of the deployment.
    pub generation: Generation,
    /// The release of the deployment.
    pub release: ReleaseNumber,
    /// The version of the settings.
    pub settings_version: u64,
}

impl ReadyState {
    /// Creates a ready state from its parts.
    #[must_use]
    pub fn new(
        deployment: DeploymentId,
        generation: Generation,
        release: ReleaseNumber,
        settings_version: u64,
    ) -> Self {
        Self {
            deployment,
            generation,
            release,
            settings_version,
        }
    }

    /// Returns the ready state of a target after a deployment is ready: `None` after an absence,
    /// which has no release.
    #[must_use]
    pub fn after(deployment: &Deployment) -> Option<Self> {
        let (id, version) = (deployment.id.clone(), deployment.settings_version);
        let release = deployment.release?;
        Some(Self::new(id, deployment.generation, release, version))
    }
}

/// A query for targets. By default it matches the targets of all organizations, for operators.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TargetQuery {
    /// Matches only this organization.
    pub organization: Option<OrganizationId>,
    /// Matches only this component.
    pub component: Option<ComponentKey>,
    /// Matches only targets that may run on a data plane. `false` by default.
    pub placed: bool,
    /// Matches only targets after this one, in the order of the list.
    pub after: Option<Target>,
    /// The maximum number of targets; 0 means all.
    pub limit: usize,
}

impl TargetQuery {
    /// Creates a query for the targets of an organization.
    #[must_use]
    pub fn of_organization(organization: OrganizationId) -> Self {
        Self {
            organization: Some(organization),
            ..Self::default()
        }
    }

    /// Creates a query for the targets of a component in every project that it has belonged to.
    #[must_use]
    pub fn of_component(component: ComponentKey) -> Self {
        Self {
            component: Some(component),
            ..Self::default()
        }
    }

    /// Matches only targets that may run on a data plane.
    #[must_use]
    pub fn placed(self) -> Self {
        Self {
            placed: true,
            ..self
        }
    }

    /// Matches only targets after this one, the last target of the previous page.
    #[must_use]
    pub fn after(self, target: Target) -> Self {
        Self {
            after: Some(target),
            ..self
        }
    }

    /// Sets the maximum number of results.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

/// A query for deployments. By default it matches the deployments of all organizations, for
/// operators.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeploymentQuery {
    /// Matches only this organization.
    pub organization: Option<OrganizationId>,
    /// Matches only this component.
    pub component: Option<ComponentKey>,
    /// Matches only this target.
    pub target: Option<Target>,
    /// The maximum number of deployments; 0 means 50.
    pub limit: usize,
}

impl DeploymentQuery {
    /// Creates a query for the deployments of a target.
    #[must_use]
    pub fn of_target(target: Target) -> Self {
        Self {
            target: Some(target),
            ..Self::default()
        }
    }

    /// Creates a query for the deployments of an organization.
    #[must_use]
    pub fn of_organization(organization: OrganizationId) -> Self {
        Self {
            organization: Some(organization),
            ..Self::default()
        }
    }

    /// Creates a query for the deployments of a component.
    #[must_use]
    pub fn of_component(component: ComponentKey) -> Self {
        Self {
            component: Some(component),
            ..Self::default()
        }
    }

    /// Sets the maximum number of results.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

/// A row that this version cannot read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The table.
    pub table: &'static str,
    /// The key of the row.
    pub key: String,
    /// Why the row cannot be read; never its content.
    pub why: String,
}

impl Unreadable {
    /// Creates the report of a row.
    #[must_use]
    pub fn new(table: &'static str, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            table,
            key: key.into(),
            why: why.into(),
        }
    }
}
