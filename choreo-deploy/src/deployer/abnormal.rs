//! What becomes of work whose step did not come to an end of its own.

use jiff::Timestamp;

use super::Deployer;
use crate::deployment::Phase;
use crate::reason::{Reason, ReasonCode};
use crate::run::RunPhase;
use crate::store::{
    Claim, ClaimedDeployment, ClaimedRun, ClaimedWork, Outcome, Progress, RunClaim, RunOutcome,
    RunProgress, StoreError,
};

/// How often work is claimed without anything written about it: whoever works on it dies of it.
const MOST_CLAIMS: u32 = 8;

/// What is needed to give work back after its step has panicked.
#[derive(Debug)]
pub(super) struct Brief {
    claim: AnyClaim,
    attempt: u32,
    deadline_at: Timestamp,
    accepted_at: Timestamp,
}

#[derive(Debug)]
enum AnyClaim {
    Deployment(Claim, Phase, bool),
    Run(RunClaim, RunPhase, bool),
}

impl Brief {
    pub(super) fn of(work: &ClaimedWork) -> Self {
        match work {
            ClaimedWork::Deployment(claimed) => Self {
                claim: AnyClaim::Deployment(
                    claimed.claim.clone(),
                    claimed.deployment.phase,
                    claimed.applied,
                ),
                attempt: claimed.attempt,
                deadline_at: claimed.deployment.deadline_at,
                accepted_at: claimed.deployment.accepted_at,
            },
            ClaimedWork::Run(claimed) => Self {
                claim: AnyClaim::Run(claimed.claim.clone(), claimed.run.phase, claimed.started),
                attempt: claimed.attempt,
                deadline_at: claimed.run.deadline_at,
                accepted_at: claimed.run.accepted_at,
            },
        }
    }
}

impl Deployer {
    /// Counts a step that panicked as an attempt, and ends its work when it is late.
    pub(super) async fn after_panic(&self, brief: Brief) {
        let message = "internal error: the step ended in an unexpected way";
        let mut reasons = vec![internal(message)];
        let now = self.clock.now();
        let late = self.deadline_is_over(brief.accepted_at, brief.deadline_at);
        if late {
            let allowed = brief
                .deadline_at
                .duration_since(brief.accepted_at)
                .as_secs();
            let message = format!("it did not end within {allowed} seconds");
            reasons.insert(
                0,
                Reason::new(ReasonCode::ProgressDeadlineExceeded, message),
            );
        }
        let next = self.next_try(brief.attempt, None, brief.deadline_at);
        let attempt = brief.attempt.saturating_add(1);
        let store = &self.parts.store;
        let result = match brief.claim {
            AnyClaim::Deployment(claim, ..) if late => {
                let outcome = Outcome::new(Phase::TimedOut, reasons, now);
                store.finish(&claim, outcome).await.map(drop)
            }
            AnyClaim::Run(claim, ..) if late => {
                let outcome = RunOutcome::new(RunPhase::Failed, None, reasons, now);
                store.finish_run(&claim, outcome).await.map(drop)
            }
            AnyClaim::Deployment(claim, phase, applied) => {
                let progress = Progress {
                    reasons,
                    applied,
                    attempt,
                    ..Progress::new(phase, now, next)
                };
                store.put_back(&claim, progress).await
            }
            AnyClaim::Run(claim, phase, started) => {
                let progress = RunProgress {
                    reasons,
                    started,
                    attempt,
                    ..RunProgress::new(phase, now, next)
                };
                store.put_back_run(&claim, progress).await
            }
        };
        tell(result);
    }

    /// Ends a deployment that was claimed again and again. Says whether it did.
    pub(super) async fn ends_deployment(&self, claimed: &ClaimedDeployment) -> bool {
        if claimed.claims <= MOST_CLAIMS {
            return false;
        }
        let reasons = vec![claimed_too_often(claimed.claims)];
        let outcome = Outcome::new(Phase::Failed, reasons, self.clock.now());
        tell(self.parts.store.finish(&claimed.claim, outcome).await);
        true
    }

    /// Ends a run that was claimed again and again. Says whether it did.
    pub(super) async fn ends_run(&self, claimed: &ClaimedRun) -> bool {
        if claimed.claims <= MOST_CLAIMS {
            return false;
        }
        let reasons = vec![claimed_too_often(claimed.claims)];
        let outcome = RunOutcome::new(RunPhase::Failed, None, reasons, self.clock.now());
        tell(self.parts.store.finish_run(&claimed.claim, outcome).await);
        true
    }
}

fn claimed_too_often(claims: u32) -> Reason {
    internal(&format!(
        "internal error: {} steps began and none came to an end",
        claims - 1
    ))
}

pub(super) fn internal(message: &str) -> Reason {
    Reason::new(ReasonCode::InternalError, message)
        .with_help("look into the log of the control plane")
}

fn tell<T>(result: Result<T, StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "work was not given back; its lease runs out");
    }
}
