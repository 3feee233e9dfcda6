//! What the objects say of a rollout: pure rules over what was read.
//!
//! The rules are this crate's own, because the usual ones mislead: the status of a Kubernetes
//! Deployment is that of the *last* template until `observedGeneration` catches up; an image that
//! cannot be pulled is "progressing" until the deadline; and a Job counts as healthy as soon as it
//! has started.

mod deployment;
pub(crate) mod pod;
mod run;
mod schedule;

use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase};

use crate::anchor::{Anchor, State};
use crate::cluster::Live;
use crate::kind::Kind;

pub(crate) use self::run::judge_run;

/// What was read of a target.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The Kubernetes Deployment or the CronJob.
    pub(crate) workload: Option<Live>,
    pub(crate) replica_sets: Vec<Live>,
    pub(crate) jobs: Vec<Live>,
    pub(crate) pods: Vec<Live>,
}

/// A judgement, and whose log would explain it.
#[derive(Debug)]
pub(crate) struct Verdict<T> {
    pub(crate) status: T,
    pub(crate) crash: Option<Crash>,
}

/// A container that ended in failure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Crash {
    pub(crate) pod: String,
    /// Whether its log is that of the container before the last restart.
    pub(crate) is_previous: bool,
    /// The reason that its last lines belong to.
    pub(crate) code: ReasonCode,
}

/// Judges a target by its anchor and what was read of it.
pub(crate) fn judge(anchor: &Anchor, seen: &Seen) -> Verdict<Rollout> {
    match anchor.state {
        State::Removed => plain(Rollout::new(anchor.generation, RolloutPhase::Absent)),
        State::Removing => waiting(anchor, "it is being removed"),
        State::Applying => waiting(anchor, "its objects are being written"),
        State::Applied => match workload_kind(anchor) {
            Some(Kind::Deployment) => deployment::judge(anchor, seen),
            Some(_) => schedule::judge(anchor, seen),
            // A Manual Task is what its runs need.
            None => plain(Rollout::new(anchor.generation, RolloutPhase::Ready)),
        },
    }
}

/// The kind of the object that runs the target; `None` for a Manual Task.
pub(crate) fn workload_kind(anchor: &Anchor) -> Option<Kind> {
    let kinds = [Kind::Deployment, Kind::CronJob];
    anchor
        .current
        .iter()
        .map(|id| id.kind)
        .find(|kind| kinds.contains(kind))
}

fn plain(rollout: Rollout) -> Verdict<Rollout> {
    Verdict {
        status: rollout,
        crash: None,
    }
}

fn waiting(anchor: &Anchor, why: &str) -> Verdict<Rollout> {
    let rollout = Rollout::new(anchor.generation, RolloutPhase::Progressing);
    plain(rollout.with_reason(Reason::new(ReasonCode::Waiting, why)))
}

/// What is written down as applied and is not there: applying again brings it back.
fn missing(anchor: &Anchor, why: &str) -> Verdict<Rollout> {
    let rollout = Rollout::new(anchor.generation, RolloutPhase::Missing);
    plain(rollout.with_reason(Reason::new(ReasonCode::Waiting, why)))
}

/// The object, once it is there and of this generation; otherwise why it must be applied again.
fn current<'a>(anchor: &Anchor, seen: &'a Seen) -> Result<&'a Live, &'static str> {
    let Some(live) = &seen.workload else {
        return Err("its object is missing on the data plane and is applied again");
    };
    if live.is_ending() {
        return Err("its object is being deleted and is applied again");
    }
    if live.generation() != Some(anchor.generation) || live.is_pending() {
        return Err("its object is of another generation and is applied again");
    }
    Ok(live)
}

#[cfg(test)]
mod tests;
