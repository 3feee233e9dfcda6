//! The handling of steps that panicked or whose worker died.

use jiff::Timestamp;

use super::Deployer;
use super::halt::Halt;
use super::last_look::{looks, over};
use super::places::{is_leaving, may_be_elsewhere};
use super::run_step::may_still_run;
use super::take_back::not_taken_back;
use crate::deployment::{Phase, Subject};
use crate::id::DataPlaneId;
use crate::reason::{Reason, ReasonCode};
use crate::run::RunPhase;
use crate::store::{
    Claim, ClaimedDeployment, ClaimedRun, ClaimedWork, Outcome, Progress, RunClaim, RunOutcome,
    RunProgress, StoreError, WorkStage,
};

/// The number of claims without a write after which the work itself may be what kills its workers.
const MOST_CLAIMS: u32 = 8;

/// The data for putting work back after its step panicked.
#[derive(Debug)]
pub(super) struct Brief {
    claim: AnyClaim,
    attempt: u32,
    deadline_at: Timestamp,
    accepted_at: Timestamp,
}

#[derive(Debug)]
enum AnyClaim {
    Deployment(Claim, Left),
    Run(RunClaim, LeftRun),
}

/// The state of a run when it was claimed.
#[derive(Debug)]
struct LeftRun {
    phase: RunPhase,
    started: bool,
    data_plane: DataPlaneId,
}

impl LeftRun {
    fn of(claimed: &ClaimedRun) -> Self {
        Self {
            phase: claimed.run.phase,
            started: claimed.started,
            data_plane: claimed.run.data_plane.clone(),
        }
    }
}

/// The state of a deployment when it was claimed.
#[derive(Debug)]
struct Left {
    phase: Phase,
    stage: WorkStage,
    reasons: Vec<Reason>,
    is_removal: bool,
    /// The deployment is ready, and its target leaves its old places.
    is_leaving: bool,
    /// The number of attempts without a response after the deadline.
    looks: u32,
}

impl Left {
    fn of(claimed: &ClaimedDeployment) -> Self {
        let deployment = &claimed.deployment;
        Self {
            phase: deployment.phase,
            stage: claimed.stage,
            reasons: deployment.reasons.clone(),
            is_removal: deployment.subject == Subject::Absence,
            is_leaving: is_leaving(claimed),
            looks: looks(claimed),
        }
    }
}

impl Brief {
    pub(super) fn of(work: &ClaimedWork) -> Self {
        match work {
            ClaimedWork::Deployment(claimed) => Self {
                claim: AnyClaim::Deployment(claimed.claim.clone(), Left::of(claimed)),
                attempt: claimed.attempt,
                deadline_at: claimed.deployment.deadline_at,
                accepted_at: claimed.deployment.accepted_at,
            },
            ClaimedWork::Run(claimed) => Self {
                claim: AnyClaim::Run(claimed.claim.clone(), LeftRun::of(claimed)),
                attempt: claimed.attempt,
                deadline_at: claimed.run.deadline_at,
                accepted_at: claimed.run.accepted_at,
            },
        }
    }

    /// Returns the reasons that the deadline of a run is over and that a step panicked.
    fn too_late_for_a_run(&self) -> Vec<Reason> {
        let allowed = self.deadline_at.duration_since(self.accepted_at).as_secs();
        let message = format!("it did not end within {allowed} seconds");
        let over = Reason::new(ReasonCode::ProgressDeadlineExceeded, message);
        vec![over, panicked()]
    }
}

/// The next state of a deployment whose step panicked.
enum Next {
    Again(Progress),
    End(Outcome),
}

/// The next state of a run whose step panicked.
enum NextOfRun {
    Again(RunProgress),
    End(RunOutcome),
}

impl Deployer {
    /// Counts a step that panicked as an attempt, and ends its work if it is late.
    pub(super) async fn after_panic(&self, brief: Brief) {
        let store = &self.parts.store;
        let result = match &brief.claim {
            AnyClaim::Deployment(claim, left) => match self.after_panic_of(&brief, left) {
                Next::Again(progress) => store.put_back(claim, progress).await,
                Next::End(outcome) => store.finish(claim, outcome).await.map(drop),
            },
            AnyClaim::Run(claim, left) => match self.after_panic_of_run(&brief, left) {
                NextOfRun::Again(progress) => store.put_back_run(claim, progress).await,
                NextOfRun::End(outcome) => store.finish_run(claim, outcome).await.map(drop),
            },
        };
        tell(result);
    }

    fn after_panic_of(&self, brief: &Brief, left: &Left) -> Next {
        let now = self.clock.now();
        let next = self.next_try(brief.attempt, None, brief.deadline_at);
        // Its objects may be on the data plane, so it is taken back if it fails.
        let phase = if left.is_removal {
            left.phase
        } else {
            Phase::Progressing
        };
        let again = Progress {
            stage: left.stage,
            attempt: brief.attempt.saturating_add(1),
            ..Progress::new(phase, now, next)
        };
        if let Some(verdict) = left.stage.verdict() {
            let until = self.takes_back_until(brief.deadline_at);
            let reasons = |until| not_taken_back(left.reasons.clone(), &panicked(), until);
            return if self.deadline_is_over(brief.accepted_at, until) {
                Next::End(Outcome::new(verdict, reasons(None), now))
            } else {
                let reasons = reasons(Some(until));
                Next::Again(Progress { reasons, ..again })
            };
        }
        if left.is_leaving {
            let mut reasons = left.reasons.clone();
            return if self.is_over(brief) {
                reasons.push(may_be_elsewhere(&panicked()));
                Next::End(Outcome::new(Phase::Ready, reasons, now))
            } else {
                Next::Again(Progress { reasons, ..again })
            };
        }
        if !self.is_over(brief) {
            let reasons = vec![panicked()];
            return Next::Again(Progress { reasons, ..again });
        }
        let times = (brief.accepted_at, brief.deadline_at);
        let reasons = vec![over(times.0, times.1), panicked()];
        if left.is_removal {
            return Next::End(Outcome::new(Phase::TimedOut, reasons, now));
        }
        if self.may_look_after_panic(times, left.looks) {
            let until = self.takes_back_until(brief.deadline_at);
            return Next::Again(Progress {
                reasons,
                attempt: left.looks.saturating_add(1),
                next_attempt_at: self.next_try(left.looks, None, until),
                ..again
            });
        }
        let stage = WorkStage::TimedOut;
        Next::Again(Progress {
            reasons,
            stage,
            ..Progress::new(phase, now, now)
        })
    }

    fn after_panic_of_run(&self, brief: &Brief, left: &LeftRun) -> NextOfRun {
        let now = self.clock.now();
        let until = if self.is_over(brief) {
            self.takes_back_until(brief.deadline_at)
        } else {
            brief.deadline_at
        };
        if self.deadline_is_over(brief.accepted_at, until) {
            let mut reasons = brief.too_late_for_a_run();
            reasons.push(may_still_run(&left.data_plane));
            return NextOfRun::End(RunOutcome::new(RunPhase::Failed, None, reasons, now));
        }
        let next = self.next_try(brief.attempt, None, until);
        NextOfRun::Again(RunProgress {
            reasons: vec![panicked()],
            started: left.started,
            attempt: brief.attempt.saturating_add(1),
            ..RunProgress::new(left.phase, now, next)
        })
    }

    fn is_over(&self, brief: &Brief) -> bool {
        self.deadline_is_over(brief.accepted_at, brief.deadline_at)
    }
}

/// Returns a failed attempt if too many steps before this one wrote nothing. The retries slow down
/// until the deadline.
///
/// It is not a verdict: a worker may have died of another cause, or the store may have lost its
/// answers to claims.
pub(super) fn left_too_often(claims: u32) -> Option<Halt> {
    (claims > MOST_CLAIMS).then(|| Halt::later(claimed_too_often(claims)))
}

fn panicked() -> Reason {
    internal("internal error: the step ended abnormally")
}

fn claimed_too_often(claims: u32) -> Reason {
    internal(&format!(
        "internal error: {} steps began and none of them ended",
        claims - 1
    ))
}

pub(super) fn internal(message: &str) -> Reason {
    Reason::new(ReasonCode::InternalError, message).with_help("read the log of the control plane")
}

fn tell<T>(result: Result<T, StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "work was not put back; its lease expires");
    }
}
