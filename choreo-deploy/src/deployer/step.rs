//! One step of a deployment: it advances the deployment, and then ends it or puts it back.

use std::time::Duration;

use jiff::Timestamp;

use super::Deployer;
use super::abnormal::left_too_often;
use super::admission::Wanted;
use super::follow::Ending;
use super::halt::{Halt, chain};
use super::last_look::may_be_applied;
use super::places::is_leaving;
use super::slots::Slot;
use super::source::Source;
use crate::backend::{DeploymentBackend, Intent};
use crate::deployment::{Phase, Subject};
use crate::reason::Reason;
use crate::release::Release;
use crate::store::{ClaimedDeployment, Outcome, Progress, WorkStage};

impl Deployer {
    /// Advances a claimed deployment by one step.
    pub(super) async fn step(&self, mut claimed: ClaimedDeployment, slot: &Slot) {
        if was_left_behind(&claimed) {
            // Putting it back resets the count of claims, so the phase keeps the information.
            claimed.deployment.phase = Phase::Progressing;
        }
        let late = self.is_late(&claimed);
        let halt = match claimed.stage.verdict() {
            Some(verdict) => self.take_back(&claimed, verdict, slot).await,
            None => {
                let came_to = match left_too_often(claimed.claims) {
                    Some(halt) => Err(halt),
                    None => self.advance(&mut claimed, slot).await,
                };
                self.conclude(&claimed, (late, slot), came_to).await
            }
        };
        let halt = match halt {
            Err(Halt::NoRoom) => {
                let reasons = claimed.deployment.reasons.clone();
                self.wait_for_room(&claimed, reasons).await
            }
            halt => halt,
        };
        let id = &claimed.deployment.id;
        match halt {
            Err(Halt::Store(error)) => {
                tracing::warn!(deployment = %id, error = %chain(&error), "store failed");
            }
            Err(Halt::Stale) => tracing::debug!(deployment = %id, "target has moved on"),
            // A write never returns it.
            Err(Halt::NoRoom) => {}
            Err(Halt::Later { reason, .. } | Halt::Failed(reason)) => {
                tracing::warn!(deployment = %id, %reason, "not written; its lease expires");
            }
            Ok(()) => {}
        }
    }

    /// Stores the result of a step.
    async fn conclude(
        &self,
        claimed: &ClaimedDeployment,
        (late, slot): (bool, &Slot),
        came_to: Result<Option<Ending>, Halt>,
    ) -> Result<(), Halt> {
        match came_to {
            Ok(None) => Ok(()),
            Ok(Some((Phase::Ready, reasons))) => self.succeed(claimed, reasons, slot).await,
            Ok(Some(verdict)) => self.give_up(claimed, verdict).await,
            Err(Halt::Later { reason, .. }) if is_leaving(claimed) => {
                self.leave_later(claimed, &reason, late).await
            }
            Err(Halt::Later {
                reason,
                retry_after,
            }) if late => self.look_again(claimed, (reason, retry_after)).await,
            Err(Halt::Later {
                reason,
                retry_after,
            }) => self.put_back(claimed, reason, retry_after).await,
            Err(Halt::Failed(reason)) => self.give_up(claimed, (Phase::Failed, vec![reason])).await,
            Err(halt) => Err(halt),
        }
    }

    /// Advances as far as possible. Returns `None` if the rollout progresses and the claim was given
    /// back.
    async fn advance(
        &self,
        claimed: &mut ClaimedDeployment,
        slot: &Slot,
    ) -> Result<Option<Ending>, Halt> {
        if claimed.deployment.subject == Subject::Absence {
            if claimed.stage != WorkStage::Leaving {
                // They also tell whether the last look was scheduled.
                let reasons = claimed.deployment.reasons.clone();
                self.begin_to_leave(claimed, reasons).await?;
                return Ok(None);
            }
            if !slot.goes_on() {
                self.put_back_for_room(claimed).await?;
                return Ok(None);
            }
            self.remove_everywhere(claimed, slot).await?;
            return Ok(Some((Phase::Ready, Vec::new())));
        }
        if claimed.stage == WorkStage::Leaving {
            return Ok(Some((Phase::Ready, claimed.deployment.reasons.clone())));
        }
        let plane = claimed.deployment.data_plane.clone();
        let backend = self.backend(&plane)?;
        let is_over = self.is_late(claimed) && claimed.stage == WorkStage::ToApply;
        if is_over && !may_be_applied(claimed) {
            let reasons = claimed.deployment.reasons.clone();
            return Ok(Some((Phase::TimedOut, self.timed_out(claimed, reasons))));
        }
        let prepared = self.prepare(claimed).await?;
        if !slot.goes_on() {
            self.put_back_for_room(claimed).await?;
            return Ok(None);
        }
        self.reach(&plane, self.roll_out(&*backend, claimed, prepared))
            .await
    }

    /// Returns the deployment's release and, if the step applies it, the source of its image.
    ///
    /// No step applies a release after the deadline.
    async fn prepare(
        &self,
        claimed: &ClaimedDeployment,
    ) -> Result<(Release, Option<Source>), Halt> {
        let Some(release) = &claimed.release else {
            let (release, source) = self.make_release(claimed).await?;
            return Ok((release, Some(source)));
        };
        let is_applied = claimed.stage != WorkStage::ToApply;
        if is_applied || self.is_late(claimed) {
            return Ok((release.clone(), None));
        }
        let wanted = Wanted::of(release);
        let source = self.source(&claimed.claim.target, &wanted).await?;
        Ok((release.clone(), Some(source)))
    }

    /// Applies a release that has a source, and observes the rollout.
    async fn roll_out(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &mut ClaimedDeployment,
        (release, source): (Release, Option<Source>),
    ) -> Result<Option<Ending>, Halt> {
        if let Some(source) = source {
            self.apply(backend, claimed, (&release, &source)).await?;
            claimed.stage = WorkStage::Applied;
            claimed.attempt = 0;
        }
        let target = &claimed.claim.target;
        let rollout = self.look(backend.observe(target)).await?;
        self.follow(backend, claimed, (release, rollout)).await
    }

    /// Puts a deployment back because its data plane has no room for another change.
    pub(super) async fn put_back_for_room(&self, claimed: &ClaimedDeployment) -> Result<(), Halt> {
        // Stores do not return the work of a data plane without room, so no pause is necessary.
        let reasons = claimed.deployment.reasons.clone();
        self.put_back_until(claimed, reasons, self.clock.now())
            .await
    }

    /// Puts a deployment back for a pause because another data plane has no room for a change.
    pub(super) async fn wait_for_room(
        &self,
        claimed: &ClaimedDeployment,
        reasons: Vec<Reason>,
    ) -> Result<(), Halt> {
        let next = self.next_try_for_room(claimed.deployment.accepted_at);
        self.put_back_until(claimed, reasons, next).await
    }

    /// Puts a deployment back until a time, after a step that did not fail.
    async fn put_back_until(
        &self,
        claimed: &ClaimedDeployment,
        reasons: Vec<Reason>,
        next: Timestamp,
    ) -> Result<(), Halt> {
        let deployment = &claimed.deployment;
        // A step that resolved the image did not fail.
        let is_resolved_now = claimed.stage == WorkStage::ToApply
            && claimed.release.is_none()
            && deployment.subject != Subject::Absence;
        let progress = Progress {
            reasons,
            stage: claimed.stage,
            attempt: if is_resolved_now { 0 } else { claimed.attempt },
            ..Progress::new(deployment.phase, self.clock.now(), next)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    async fn apply(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &mut ClaimedDeployment,
        (release, source): (&Release, &Source),
    ) -> Result<(), Halt> {
        // From here on, objects may be on the data plane, whatever the call returns.
        claimed.deployment.phase = Phase::Progressing;
        let intent = Intent::new(&claimed.claim.target, claimed.claim.generation, release)
            .with_settings(&claimed.settings)
            .with_pull(source.pull());
        self.call(backend.apply(&intent)).await?;
        tracing::info!(
            deployment = %claimed.deployment.id,
            generation = %claimed.claim.generation,
            image = %release.image.deployed(),
            "applied",
        );
        Ok(())
    }

    pub(super) fn is_late(&self, claimed: &ClaimedDeployment) -> bool {
        let deployment = &claimed.deployment;
        self.deadline_is_over(deployment.accepted_at, deployment.deadline_at)
    }

    pub(super) async fn end(
        &self,
        claimed: &ClaimedDeployment,
        (phase, reasons): Ending,
    ) -> Result<(), Halt> {
        let outcome = Outcome::new(phase, reasons, self.clock.now());
        self.finish(claimed, outcome).await
    }

    /// Stores the end of a deployment.
    pub(super) async fn finish(
        &self,
        claimed: &ClaimedDeployment,
        outcome: Outcome,
    ) -> Result<(), Halt> {
        let ended = self.parts.store.finish(&claimed.claim, outcome).await?;
        let reason = ended.reasons.first().map(|reason| reason.code.as_str());
        tracing::info!(deployment = %ended.id, phase = %ended.phase, reason, "deployment ended");
        Ok(())
    }

    async fn put_back(
        &self,
        claimed: &ClaimedDeployment,
        reason: Reason,
        retry_after: Option<Duration>,
    ) -> Result<(), Halt> {
        let deployment = &claimed.deployment;
        let next = self.next_try(claimed.attempt, retry_after, deployment.deadline_at);
        tracing::info!(deployment = %deployment.id, %reason, next = %next, "will be retried");
        let progress = Progress {
            reasons: vec![reason],
            stage: claimed.stage,
            attempt: claimed.attempt.saturating_add(1),
            ..Progress::new(deployment.phase, self.clock.now(), next)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }
}

/// Returns `true` if an earlier step claimed the deployment and wrote nothing: it may have applied
/// the release.
fn was_left_behind(claimed: &ClaimedDeployment) -> bool {
    let is_removal = claimed.deployment.subject == Subject::Absence;
    claimed.claims > 1 && claimed.release.is_some() && !is_removal
}
