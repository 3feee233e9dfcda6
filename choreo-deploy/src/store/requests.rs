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

/// A deployment that is to be accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewDeployment {
    /// Its identity, never used before.
    pub id: DeploymentId,
    /// Where it goes.
    pub target: Target,
    /// The data plane of the target's environment.
    pub data_plane: DataPlaneId,
    /// Why there is one. [`Cause::Ci`] names the token, which is checked again.
    pub cause: Cause,
    /// What is asked for.
    pub subject: Subject,
    /// What runs, when an image is asked for. A release brings its own.
    pub workload: Option<Workload>,
    /// The settings it uses.
    pub settings: SettingsChoice,
    /// Where the image was built.
    pub provenance: Provenance,
    /// What makes a second request the same as the first.
    pub idempotency: Option<Idempotency>,
    /// Whether the target takes no more deployments from machines after this one.
    pub hold: bool,
    /// When it was asked for.
    pub accepted_at: Timestamp,
    /// When it must have ended.
    pub deadline_at: Timestamp,
}

impl NewDeployment {
    /// A deployment that somebody asked for, with default settings.
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
    /// The deployment as a store keeps it once it is accepted.
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

    /// Returns how the target's deployment `before` ends once this one is accepted, where `ready` is
    /// the deployment of the target's [ready state](TargetState::ready).
    ///
    /// A deployment that is in the ready state took effect, so it ends as ready although it has not
    /// left its old places. Any other one is superseded.
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

/// Which settings a deployment uses.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SettingsChoice {
    /// These: the newest version of the target's settings.
    Now(Settings),
    /// Those of an earlier version, as a rollback does.
    Version(u64),
}

/// What makes a second request the same as the first, within a component.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Idempotency {
    /// The key, unique within the component.
    pub key: String,
    /// A digest of what was asked for. The same key with another one is refused.
    pub fingerprint: [u8; 32],
    /// Until when the key is remembered.
    pub expires_at: Timestamp,
}

impl Idempotency {
    /// For how much longer a store keeps a key at least, so that a clock that was ahead for less than
    /// this and was set right again has ended no key before its time: a week.
    pub const SPARE: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// A key for a request.
    #[must_use]
    pub fn new(key: impl Into<String>, fingerprint: [u8; 32], expires_at: Timestamp) -> Self {
        Self {
            key: key.into(),
            fingerprint,
            expires_at,
        }
    }
}

/// A deployment that was accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The deployment.
    pub deployment: Deployment,
    /// Whether an earlier request was the same, so that nothing new was stored.
    pub replayed: bool,
    /// The deployment that it superseded.
    pub superseded: Option<DeploymentId>,
    /// What is doubtful about it. A store finds nothing.
    pub findings: Vec<Finding>,
}

impl Accepted {
    /// A deployment that was stored now.
    #[must_use]
    pub fn new(deployment: Deployment, superseded: Option<DeploymentId>) -> Self {
        Self {
            deployment,
            replayed: false,
            superseded,
            findings: Vec::new(),
        }
    }

    /// A deployment that an earlier request had stored.
    #[must_use]
    pub fn replayed(deployment: Deployment) -> Self {
        Self {
            deployment,
            replayed: true,
            superseded: None,
            findings: Vec::new(),
        }
    }

    /// Says what is doubtful about it.
    #[must_use]
    pub fn with_findings(self, findings: Vec<Finding>) -> Self {
        Self { findings, ..self }
    }
}

/// The right to work on a target's deployment, as long as nothing has moved on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// The target.
    pub target: Target,
    /// The deployment's place in the order.
    pub generation: Generation,
    /// Greater with every claim of the target.
    pub fence: u64,
}

impl Claim {
    /// A claim of a target's generation.
    #[must_use]
    pub fn new(target: Target, generation: Generation, fence: u64) -> Self {
        Self {
            target,
            generation,
            fence,
        }
    }
}

/// A deployment with all that a worker needs to go on with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimedDeployment {
    /// The right to write.
    pub claim: Claim,
    /// The deployment.
    pub deployment: Deployment,
    /// What runs, when an image was asked for.
    pub workload: Option<Workload>,
    /// The settings it uses.
    pub settings: Settings,
    /// The release, once there is one.
    pub release: Option<Release>,
    /// What was done on the data plane so far.
    pub stage: WorkStage,
    /// How many attempts in a row have failed.
    pub attempt: u32,
    /// The data planes that the target may be on: see [`TargetState::planes`].
    pub planes: BTreeSet<DataPlaneId>,
    /// How often it was claimed, this time too, since something was last written about it. More than
    /// a few may mean that whoever works on it dies of it.
    pub claims: u32,
}

/// What was done for a deployment on its data plane.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum WorkStage {
    /// It is to be applied.
    #[default]
    ToApply,
    /// It was applied, and is looked at.
    Applied,
    /// It has failed, and is taken back before it ends.
    Failed,
    /// It has timed out, and is taken back before it ends.
    TimedOut,
    /// It is ready, and is removed from where it was before; or it is an absence, and is removed from
    /// everywhere. What is [ready](TargetState::ready) on the target says so already.
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

    /// The stage as a store keeps it. 0 and 1 are whether it was applied.
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

    /// The stage of a number; `None` when there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_number() == number)
    }

    /// The phase that the deployment ends in once it is taken back; `None` while it may succeed.
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
    /// A deployment that nothing was done for yet.
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

/// How far a deployment is when its claim is given back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// How far it is; never final.
    pub phase: Phase,
    /// Why it is no further.
    pub reasons: Vec<Reason>,
    /// What was done on the data plane so far.
    pub stage: WorkStage,
    /// How many attempts in a row have failed.
    pub attempt: u32,
    /// When to go on.
    pub next_attempt_at: Timestamp,
    /// The time now.
    pub at: Timestamp,
}

impl Progress {
    /// On its way after an attempt at a time, to be gone on with at another.
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

/// How a deployment ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// How; always final.
    pub phase: Phase,
    /// Why it failed.
    pub reasons: Vec<Reason>,
    /// When.
    pub at: Timestamp,
    /// The data planes that the target was removed from on the way.
    pub left: BTreeSet<DataPlaneId>,
}

impl Outcome {
    /// An end at a time. The target may be on the data planes that it was on.
    #[must_use]
    pub fn new(phase: Phase, reasons: Vec<Reason>, at: Timestamp) -> Self {
        Self {
            phase,
            reasons,
            at,
            left: BTreeSet::new(),
        }
    }

    /// Says which data planes the target was removed from.
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
    /// What was ready last.
    pub ready: Option<ReadyState>,
    /// Why it takes no deployments from machines.
    pub hold: Option<Hold>,
    /// The data planes that it may be on: of every deployment that was accepted for it, until it was
    /// removed there. More than one after its environment has moved.
    pub planes: BTreeSet<DataPlaneId>,
}

impl TargetState {
    /// A target with its newest deployment.
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

/// What was ready last on a target: where promotions and runs come from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReadyState {
    /// The deployment that made it so.
    pub deployment: DeploymentId,
    /// Its generation.
    pub generation: Generation,
    /// Its release.
    pub release: ReleaseNumber,
    /// The version of the settings.
    pub settings_version: u64,
}

impl ReadyState {
    /// What a deployment made ready.
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

    /// What is ready on a target once a deployment is; `None` after an absence, which has no release.
    #[must_use]
    pub fn after(deployment: &Deployment) -> Option<Self> {
        let (id, version) = (deployment.id.clone(), deployment.settings_version);
        let release = deployment.release?;
        Some(Self::new(id, deployment.generation, release, version))
    }
}

/// Which targets to list: by default those of all organizations, which is for operators.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TargetQuery {
    /// Of this tenant.
    pub organization: Option<OrganizationId>,
    /// Of this component.
    pub component: Option<ComponentKey>,
    /// Only those that may be on a data plane. All unless set.
    pub placed: bool,
    /// Only those after this one, in the order of the list.
    pub after: Option<Target>,
    /// At most this many; all when 0.
    pub limit: usize,
}

impl TargetQuery {
    /// All targets of an organization.
    #[must_use]
    pub fn of_organization(organization: OrganizationId) -> Self {
        Self {
            organization: Some(organization),
            ..Self::default()
        }
    }

    /// All targets of a component, in whichever project it has been.
    #[must_use]
    pub fn of_component(component: ComponentKey) -> Self {
        Self {
            component: Some(component),
            ..Self::default()
        }
    }

    /// Only those that may be on a data plane.
    #[must_use]
    pub fn placed(self) -> Self {
        Self {
            placed: true,
            ..self
        }
    }

    /// Only those after this one, the last of the page before.
    #[must_use]
    pub fn after(self, target: Target) -> Self {
        Self {
            after: Some(target),
            ..self
        }
    }

    /// At most this many.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

/// Which deployments to list: by default those of all organizations, which is for operators.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeploymentQuery {
    /// Of this tenant.
    pub organization: Option<OrganizationId>,
    /// Of this component.
    pub component: Option<ComponentKey>,
    /// To this target.
    pub target: Option<Target>,
    /// At most this many. 0 means 50.
    pub limit: usize,
}

impl DeploymentQuery {
    /// All deployments to a target.
    #[must_use]
    pub fn of_target(target: Target) -> Self {
        Self {
            target: Some(target),
            ..Self::default()
        }
    }

    /// All deployments of an organization.
    #[must_use]
    pub fn of_organization(organization: OrganizationId) -> Self {
        Self {
            organization: Some(organization),
            ..Self::default()
        }
    }

    /// All deployments of a component.
    #[must_use]
    pub fn of_component(component: ComponentKey) -> Self {
        Self {
            component: Some(component),
            ..Self::default()
        }
    }

    /// At most this many.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

/// A row that this version cannot read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Unreadable {
    /// What kind of row.
    pub table: &'static str,
    /// Its key.
    pub key: String,
    /// Why it cannot be read; never its content.
    pub why: String,
}

impl Unreadable {
    /// A row of a table.
    #[must_use]
    pub fn new(table: &'static str, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            table,
            key: key.into(),
            why: why.into(),
        }
    }
}
