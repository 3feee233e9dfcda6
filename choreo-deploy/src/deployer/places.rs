//! The places of a target besides the data plane that it is deployed to: other data planes and
//! projects.

use super::Deployer;
use super::halt::{Halt, retried};
use super::plans::position;
use super::refusal::{refusal, unavailable};
use super::retry::after;
use super::slots::Slot;
use crate::Target;
use crate::deployment::{Phase, Subject};
use crate::id::{ComponentKey, DataPlaneId, DeploymentId, EnvironmentId, ProjectId};
use crate::intake::{IntakeError, IntakeErrorKind};
use crate::reason::{Reason, ReasonCode};
use crate::store::{
    Accepted, ClaimedDeployment, NewDeployment, Outcome, Progress, TargetQuery, TargetState,
    WorkStage,
};

impl Deployer {
    /// Removes a component from an environment: from every data plane that it may be on, and from its
    /// previous projects.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if nothing was ever deployed there, and
    /// the errors of [`accept`](crate::Intake::accept).
    pub async fn remove(
        &self,
        component: &ComponentKey,
        environment: &EnvironmentId,
    ) -> Result<Accepted, IntakeError> {
        let plan = self.plan(component).await?;
        let stage = &plan.stages[position(&plan, environment)?];
        let target = plan.component.target(stage.environment.id.clone());
        let elsewhere = self.remove_from_other_projects(&target).await?;
        let state = self.parts.store.target(&target).await;
        if state.map_err(unavailable)?.is_none() && elsewhere.is_empty() {
            let message =
                format!("nothing was ever deployed to {target}: there is nothing to remove");
            return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
        }
        let new = self.new_deployment(&plan, stage, Subject::Absence);
        self.parts.store.accept(new).await.map_err(refusal)
    }

    /// Removes a target from every data plane that it may be on.
    ///
    /// It needs no catalog, so it also removes targets that have left the catalog, which
    /// [`orphans`](Self::orphans) lists.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if the target is on no data plane, and
    /// [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    pub async fn remove_target(&self, target: &Target) -> Result<Accepted, IntakeError> {
        let state = self.parts.store.target(target).await.map_err(unavailable)?;
        let plane = state.and_then(|state| state.planes.last().cloned());
        let plane = plane.ok_or_else(|| {
            let message = format!("{target} is on no data plane: there is nothing to remove");
            IntakeError::new(IntakeErrorKind::NotPossible, message)
        })?;
        let now = self.clock.now();
        let times = (now, after(now, self.options.deployment_deadline));
        let place = (target.clone(), plane);
        let id = self.entropy.deployment_id();
        let new = NewDeployment::new(id, place, Subject::Absence, times);
        self.parts.store.accept(new).await.map_err(refusal)
    }

    /// Removes the target of a claimed deployment from every data plane that it may be on.
    pub(super) async fn remove_everywhere(
        &self,
        claimed: &ClaimedDeployment,
        slot: &Slot,
    ) -> Result<(), Halt> {
        let mut planes = claimed.planes.clone();
        planes.insert(claimed.deployment.data_plane.clone());
        // A data plane that does not answer does not prevent the removal from the others. A refusal
        // ends the deployment only after all others have answered.
        let mut result = Ok(());
        for plane in &planes {
            match self.remove_from(claimed, plane, slot).await {
                Ok(()) => {}
                Err(halt @ (Halt::Stale | Halt::Store(_))) => return Err(halt),
                Err(halt) => result = and_then_on(result, halt),
            }
        }
        result.map_err(|halt| match halt {
            Halt::Later {
                mut reason,
                retry_after,
            } if !self.is_late(claimed) => {
                let until = retried(claimed.deployment.deadline_at);
                let help = reason.help.map(|help| format!("{help}; {until}"));
                reason.help = help.or(Some(until));
                Halt::Later {
                    reason,
                    retry_after,
                }
            }
            halt => halt,
        })
    }

    /// Accepts the removal of a component from an environment of its previous projects. Returns these
    /// projects with the deployments that remove it.
    pub(super) async fn remove_from_other_projects(
        &self,
        target: &Target,
    ) -> Result<Vec<(ProjectId, DeploymentId)>, IntakeError> {
        let mut removals = Vec::new();
        for other in self.in_other_projects(target).await? {
            let organization = &other.target.organization;
            let newest = self.parts.store.deployment(organization, &other.deployment);
            let newest = newest.await.map_err(unavailable)?;
            let under_way = newest
                .filter(|newest| newest.subject == Subject::Absence && !newest.phase.is_final());
            let removal = match under_way {
                Some(removal) => removal.id,
                None => self.remove_target(&other.target).await?.deployment.id,
            };
            removals.push((other.target.project, removal));
        }
        Ok(removals)
    }

    /// Returns the targets of a component in an environment of other projects.
    async fn in_other_projects(&self, target: &Target) -> Result<Vec<TargetState>, IntakeError> {
        let query = TargetQuery::of_component(target.component_key()).placed();
        let states = self.parts.store.targets(&query).await;
        let mut states = states.map_err(unavailable)?;
        states.retain(|other| {
            other.target.environment == target.environment && other.target.project != target.project
        });
        Ok(states)
    }

    /// Ends a deployment that is ready. If the target may be in other places too, the deployment is
    /// stored as ready first and leaves those places in the next step.
    pub(super) async fn succeed(
        &self,
        claimed: &ClaimedDeployment,
        reasons: Vec<Reason>,
        slot: &Slot,
    ) -> Result<(), Halt> {
        let is_leaving = claimed.stage == WorkStage::Leaving;
        if !is_leaving && self.is_elsewhere(claimed).await {
            return self.begin_to_leave(claimed, reasons).await;
        }
        let mut outcome = Outcome::new(Phase::Ready, reasons, self.clock.now());
        if is_leaving {
            match self.leave_others(claimed, &mut outcome, slot).await {
                // The removals in its previous projects may end before the next step.
                Err(Halt::NoRoom) => return self.wait_for_room(claimed, outcome.reasons).await,
                left => left?,
            }
        }
        self.finish(claimed, outcome).await
    }

    /// Returns `true` if a target may be on another data plane or in another project.
    async fn is_elsewhere(&self, claimed: &ClaimedDeployment) -> bool {
        let present = &claimed.deployment.data_plane;
        if claimed.planes.iter().any(|plane| plane != present) {
            return true;
        }
        let others = self.in_other_projects(&claimed.claim.target).await;
        !others.is_ok_and(|others| others.is_empty())
    }

    /// Stores the deployment as ready on the target, before the target leaves other places.
    ///
    /// From here on, a newer deployment that fails is taken back to this one.
    pub(super) async fn begin_to_leave(
        &self,
        claimed: &ClaimedDeployment,
        reasons: Vec<Reason>,
    ) -> Result<(), Halt> {
        let now = self.clock.now();
        let progress = Progress {
            reasons,
            stage: WorkStage::Leaving,
            ..Progress::new(Phase::Progressing, now, now)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    /// Retries to leave other places after a pause, or ends the deployment if it is late.
    pub(super) async fn leave_later(
        &self,
        claimed: &ClaimedDeployment,
        why: &Reason,
        late: bool,
    ) -> Result<(), Halt> {
        let deployment = &claimed.deployment;
        let mut reasons = deployment.reasons.clone();
        if late {
            reasons.push(may_be_elsewhere(why));
            return self.end(claimed, (Phase::Ready, reasons)).await;
        }
        let next = self.next_try(claimed.attempt, None, deployment.deadline_at);
        let progress = Progress {
            reasons,
            stage: WorkStage::Leaving,
            attempt: claimed.attempt.saturating_add(1),
            ..Progress::new(Phase::Progressing, self.clock.now(), next)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    /// Accepts the removal of a component from its previous projects, after it became ready in its
    /// present one. The end is stored later, so a crash in between loses nothing.
    async fn leave_other_projects(&self, target: &Target) -> Result<Vec<Reason>, IntakeError> {
        if self.in_other_projects(target).await?.is_empty() {
            return Ok(Vec::new());
        }
        let plan = self.look_up(&target.component_key()).await?;
        if plan.is_none_or(|plan| plan.component.project.id != target.project) {
            // This target itself is in a previous project.
            return Ok(Vec::new());
        }
        let removals = self.remove_from_other_projects(target).await?;
        let removals = removals.into_iter();
        Ok(removals
            .map(|(project, removal)| {
                let message = format!(
                    "the workload in its previous project {project} is being removed by deployment \
                     {removal}"
                );
                Reason::new(ReasonCode::Moved, message)
            })
            .collect())
    }

    /// Removes a target that is ready from its old places, and adds reasons about that. A failure is
    /// such a reason: the target is ready, and the next deployment retries.
    async fn leave_others(
        &self,
        claimed: &ClaimedDeployment,
        outcome: &mut Outcome,
        slot: &Slot,
    ) -> Result<(), Halt> {
        if claimed.deployment.subject == Subject::Absence {
            outcome.left.clone_from(&claimed.planes);
            return Ok(());
        }
        let in_projects = self.leave_other_projects(&claimed.claim.target).await;
        let (removals, error) = match in_projects {
            Ok(reasons) => (reasons, None),
            Err(error) => (Vec::new(), Some(still_elsewhere(&error))),
        };
        for removal in removals {
            // The step is repeated if a data plane has no room.
            if !outcome.reasons.contains(&removal) {
                outcome.reasons.push(removal);
            }
        }
        let on_planes = self.leave_other_planes(claimed, outcome, slot).await?;
        outcome.reasons.extend(error);
        outcome.reasons.extend(on_planes);
        Ok(())
    }

    /// Removes a target that is ready from its old data planes. Returns reasons about that.
    ///
    /// A data plane without room does not prevent the removal from the others, but the step is then
    /// repeated for all of them.
    async fn leave_other_planes(
        &self,
        claimed: &ClaimedDeployment,
        outcome: &mut Outcome,
        slot: &Slot,
    ) -> Result<Vec<Reason>, Halt> {
        let (mut reasons, mut result) = (Vec::new(), Ok(()));
        let present = &claimed.deployment.data_plane;
        for plane in claimed.planes.iter().filter(|plane| *plane != present) {
            match self.remove_from(claimed, plane, slot).await {
                Ok(()) => {
                    let message =
                        format!("the previous workload on data plane {plane} was removed");
                    let moved = Reason::new(ReasonCode::Moved, message);
                    reasons.push(moved);
                    outcome.left.insert(plane.clone());
                }
                Err(Halt::Failed(reason) | Halt::Later { reason, .. }) => {
                    reasons.push(still_on(plane, &reason));
                }
                Err(halt) => result = and_then_on(result, halt),
            }
        }
        result.map(|()| reasons)
    }

    async fn remove_from(
        &self,
        claimed: &ClaimedDeployment,
        plane: &DataPlaneId,
        slot: &Slot,
    ) -> Result<(), Halt> {
        let backend = self.backend_of(plane, claimed)?;
        slot.moves_to(plane).await?;
        let (target, generation) = (&claimed.claim.target, claimed.claim.generation);
        let removed = self.call(backend.remove(target, generation));
        self.reach(plane, removed).await
    }
}

/// Returns `true` if a deployment is ready and its target leaves its old places.
pub(super) fn is_leaving(claimed: &ClaimedDeployment) -> bool {
    claimed.stage == WorkStage::Leaving && claimed.deployment.subject != Subject::Absence
}

/// Adds the failure of one more call to the result of calls to several data planes.
///
/// The work is retried if a retry can change anything. A refusal, which can be corrected, has
/// priority over a newer generation. Of two equal results, the first one is kept.
pub(super) fn and_then_on(result: Result<(), Halt>, halt: Halt) -> Result<(), Halt> {
    match result {
        Err(first) if rank(&first) >= rank(&halt) => Err(first),
        _ => Err(halt),
    }
}

fn rank(halt: &Halt) -> u8 {
    match halt {
        Halt::Failed(reason) if reason.code == ReasonCode::NewerDeployment => 0,
        Halt::Failed(_) => 1,
        Halt::Later { .. } => 2,
        // The step did not fail, so it must not end the work at its deadline.
        Halt::NoRoom => 3,
        Halt::Store(_) | Halt::Stale => 4,
    }
}

/// Returns the reason of a target that is ready and stops trying to leave its old places.
pub(super) fn may_be_elsewhere(why: &Reason) -> Reason {
    let message = format!(
        "it is ready, but the previous workload may still run elsewhere: {}",
        why.message
    );
    Reason::new(why.code, message).with_help("deploy again to remove it there")
}

fn still_elsewhere(why: &IntakeError) -> Reason {
    let message =
        format!("it is ready, but the workload in its previous project may still run: {why}");
    Reason::new(ReasonCode::Waiting, message).with_help("deploy again to remove it there")
}

fn still_on(plane: &DataPlaneId, why: &Reason) -> Reason {
    let message =
        format!("it is ready, but the previous workload is still on data plane {plane}: {why}");
    Reason::new(ReasonCode::BackendUnreachable, message)
        .with_help("deploy again to remove it there")
}
