//! The observation of a deployment after its deadline.
//!
//! A deployment times out when its data plane responds that the rollout is not ready. Without a
//! response, the rollout may be ready, and a take-back would stop it. So the step is retried, first
//! until the grace for a take-back is over, and then for a few attempts: the control plane may have
//! been down until then.

use std::time::Duration;

use jiff::Timestamp;

use super::Deployer;
use super::abnormal::left_too_often;
use super::halt::Halt;
use crate::deployment::{Phase, Subject};
use crate::reason::{Reason, ReasonCode};
use crate::store::{ClaimedDeployment, Progress, WorkStage};

/// The minimum number of attempts after the deadline, unless the workers died.
const LEAST: u32 = 3;

impl Deployer {
    /// Schedules another look at a late deployment that got no response, or ends it.
    pub(super) async fn look_again(
        &self,
        claimed: &ClaimedDeployment,
        (reason, retry_after): (Reason, Option<Duration>),
    ) -> Result<(), Halt> {
        let deployment = &claimed.deployment;
        let looks = looks(claimed);
        let reasons = self.timed_out(claimed, vec![reason]);
        if !self.may_look_again(claimed, looks) {
            return self.give_up(claimed, (Phase::TimedOut, reasons)).await;
        }
        let until = self.takes_back_until(deployment.deadline_at);
        let next = self.next_try(looks, retry_after, until);
        let reason = reasons.last().map(tracing::field::display);
        tracing::info!(deployment = %deployment.id, reason, next = %next, "is late; retrying");
        let progress = Progress {
            reasons,
            stage: claimed.stage,
            attempt: looks.saturating_add(1),
            ..Progress::new(deployment.phase, self.clock.now(), next)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    fn may_look_again(&self, claimed: &ClaimedDeployment, looks: u32) -> bool {
        let deployment = &claimed.deployment;
        let has_died = left_too_often(claimed.claims).is_some();
        if deployment.subject == Subject::Absence {
            // Its last look is only for a removal whose workers died.
            return has_died && looks == 0;
        }
        let least = if has_died { 1 } else { LEAST };
        let is_open = self.is_in_grace(deployment.accepted_at, deployment.deadline_at);
        may_be_applied(claimed) && (is_open || looks < least)
    }

    /// Returns `true` if a deployment whose step panicked after its deadline gets another look.
    pub(super) fn may_look_after_panic(
        &self,
        (accepted_at, deadline_at): (Timestamp, Timestamp),
        looks: u32,
    ) -> bool {
        self.is_in_grace(accepted_at, deadline_at) || looks < LEAST
    }

    fn is_in_grace(&self, accepted_at: Timestamp, deadline_at: Timestamp) -> bool {
        !self.deadline_is_over(accepted_at, self.takes_back_until(deadline_at))
    }

    /// Returns the reason that the deadline is over, followed by the last known reasons.
    pub(super) fn timed_out(&self, claimed: &ClaimedDeployment, last: Vec<Reason>) -> Vec<Reason> {
        let deployment = &claimed.deployment;
        let over = over(deployment.accepted_at, deployment.deadline_at);
        let mut reasons = vec![over.clone()];
        // An earlier look after the deadline was scheduled with this reason too.
        reasons.extend(last.into_iter().filter(|reason| *reason != over));
        reasons
    }
}

/// Returns `true` if objects of a deployment may be on its data plane: a step may have applied it
/// and then died, or received no response.
pub(super) fn may_be_applied(claimed: &ClaimedDeployment) -> bool {
    let is_progressing = claimed.deployment.phase == Phase::Progressing;
    let is_applied = claimed.stage == WorkStage::Applied;
    claimed.release.is_some() && (is_progressing || is_applied)
}

/// Returns the number of attempts that ended without a response after the deadline.
///
/// The first of them stores the [reason](over) and starts the count of attempts again. Attempts
/// before the deadline say nothing about the rollout after it.
pub(super) fn looks(claimed: &ClaimedDeployment) -> u32 {
    let deployment = &claimed.deployment;
    let over = over(deployment.accepted_at, deployment.deadline_at);
    if deployment.reasons.contains(&over) {
        claimed.attempt.max(1)
    } else {
        0
    }
}

/// Returns the reason that the deadline of a deployment is over.
pub(super) fn over(accepted_at: Timestamp, deadline_at: Timestamp) -> Reason {
    let allowed = deadline_at.duration_since(accepted_at).as_secs();
    let message = format!("it was not ready within {allowed} seconds");
    Reason::new(ReasonCode::ProgressDeadlineExceeded, message)
}
