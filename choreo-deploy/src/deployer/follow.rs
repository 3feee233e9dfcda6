//! The progress of a deployment after it was applied.

use super::Deployer;
use super::halt::{Halt, ahead};
use crate::backend::DeploymentBackend;
use crate::deployment::Phase;
use crate::reason::{Reason, ReasonCode};
use crate::release::{DigestPin, Pinning, Release};
use crate::rollout::{Rollout, RolloutPhase};
use crate::store::{ClaimedDeployment, Progress, WorkStage};

/// The final phase of a deployment and its reasons.
pub(super) type Ending = (Phase, Vec<Reason>);

impl Deployer {
    /// Acts on the rollout that was observed.
    pub(super) async fn follow(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &ClaimedDeployment,
        (release, rollout): (Release, Rollout),
    ) -> Result<Option<Ending>, Halt> {
        let generation = claimed.claim.generation;
        if let Some(newer) = rollout.generation.filter(|newer| *newer > generation) {
            let seen = format!("generation {newer} is there, {generation} was applied");
            return Err(Halt::Failed(ahead(&seen)));
        }
        let late = self.is_late(claimed);
        if rollout.generation != Some(generation) {
            if !late {
                return self.apply_again(claimed, Vec::new()).await;
            }
            let reasons = claimed.deployment.reasons.clone();
            return Ok(Some((Phase::TimedOut, self.timed_out(claimed, reasons))));
        }
        match rollout.phase {
            RolloutPhase::Ready => self.ready(backend, claimed, (release, rollout)).await,
            RolloutPhase::Failed => Ok(Some((Phase::Failed, rollout.reasons))),
            // The look at the deadline is only for a rollout that is ready or has failed.
            RolloutPhase::Missing | RolloutPhase::Progressing | RolloutPhase::Absent if late => {
                let reasons = self.timed_out(claimed, rollout.reasons);
                Ok(Some((Phase::TimedOut, reasons)))
            }
            RolloutPhase::Missing => self.apply_again(claimed, rollout.reasons).await,
            RolloutPhase::Progressing | RolloutPhase::Absent => {
                let progress = self.progress(claimed, rollout.reasons);
                self.parts.store.put_back(&claimed.claim, progress).await?;
                Ok(None)
            }
        }
    }

    /// Pins the running image if it is not pinned, or settles.
    async fn ready(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &ClaimedDeployment,
        (release, rollout): (Release, Rollout),
    ) -> Result<Option<Ending>, Halt> {
        let observed = rollout.running.filter(|_| release.image.pin.is_none());
        // At the deadline there is no time for another rollout, so the deployment stays unpinned.
        if let Some(digest) = observed.filter(|_| !self.is_late(claimed)) {
            // The image runs by its tag, and the tag may move. The next step applies the digest.
            let pin = DigestPin::new(digest, Pinning::Observed);
            self.parts.store.record_pin(&claimed.claim, pin).await?;
            let message = "the running digest is known now and is applied instead of the tag";
            let reasons = vec![Reason::new(ReasonCode::Waiting, message)];
            return self.apply_again(claimed, reasons).await;
        }
        let mut reasons = rollout.reasons;
        reasons.extend(self.settle(backend, claimed).await?);
        Ok(Some((Phase::Ready, reasons)))
    }

    /// Completes a generation that is ready. Returns the reason if leftovers of older generations
    /// cannot be removed.
    async fn settle(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &ClaimedDeployment,
    ) -> Result<Option<Reason>, Halt> {
        let (target, generation) = (&claimed.claim.target, claimed.claim.generation);
        let settled = self.call(async {
            match backend.settle(target, generation).await {
                Err(left) if left.is_about_leftovers() => Ok(Err(left)),
                settled => settled.map(Ok),
            }
        });
        match settled.await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(left)) => match Halt::from(left) {
                // Leftovers do not make it unready, and the next deployment settles again.
                Halt::Later { reason, .. } if self.is_late(claimed) => Ok(Some(reason)),
                Halt::Failed(left) if left.code != ReasonCode::NewerDeployment => Ok(Some(left)),
                halt => Err(halt),
            },
            // A part of it, such as the ports of a Service, has not taken effect.
            Err(Halt::Failed(reason)) if reason.code != ReasonCode::NewerDeployment => {
                Err(Halt::later(reason))
            }
            Err(halt) => Err(halt),
        }
    }

    /// Lets the next step apply the release again. Without reasons, the objects were removed by
    /// another party.
    async fn apply_again(
        &self,
        claimed: &ClaimedDeployment,
        reasons: Vec<Reason>,
    ) -> Result<Option<Ending>, Halt> {
        let lost = || {
            let message = "the applied objects are no longer on the data plane";
            vec![Reason::new(ReasonCode::Waiting, message)]
        };
        let reasons = if reasons.is_empty() { lost() } else { reasons };
        let progress = Progress {
            stage: WorkStage::ToApply,
            ..self.progress(claimed, reasons)
        };
        self.parts.store.put_back(&claimed.claim, progress).await?;
        Ok(None)
    }

    /// Returns the progress of a rollout that is observed again soon.
    fn progress(&self, claimed: &ClaimedDeployment, reasons: Vec<Reason>) -> Progress {
        let deployment = &claimed.deployment;
        let next = self.next_look(deployment.accepted_at, deployment.deadline_at);
        Progress {
            reasons,
            stage: claimed.stage,
            ..Progress::new(Phase::Progressing, self.clock.now(), next)
        }
    }
}
