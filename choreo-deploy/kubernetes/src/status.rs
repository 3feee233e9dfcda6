//! The judgement of a rollout: pure rules over the objects that were read.
//!
//! This crate has its own rules, because common rules mislead. The status of a Kubernetes
//! Deployment is that of the *last* template until `observedGeneration` catches up. An image that
//! cannot be pulled is "progressing" until the deadline. A Job counts as healthy as soon as it has
//! started.
//!
//! # When a verdict is final
//!
//! A cluster changes all the time, and a look sees one moment. So a rollout has failed only for a
//! reason that cannot pass, or that the kubelet has reported so often or for so long that a
//! transient failure would have passed. Counts and times are those of the kubelet's events. If they
//! cannot be read, the age of the pod is used instead ([`events`](crate::events)).
//!
//! | seen | final | why |
//! |---|---|---|
//! | all copies new, updated and available, of this generation | at once | `observedGeneration` is current, and each count is equal to the wanted number; later failures belong to another rollout |
//! | invalid image name | at once | the name is in the pod, which does not change |
//! | image runs as root | at once | the image and the pod do not change |
//! | pull refused: missing, denied, credential, certificate, platform | after 2 failed pulls | registries and the kubelet's own cache of Secrets fail once; `ImagePullBackOff` is shown before and during the second pull |
//! | pull secret that is not there | after 2 failed pulls and 30 s | the kubelet races with a Secret that has just been made |
//! | pull failed by rate limit, network, or for an unknown reason | never | a registry comes back |
//! | Secret, ConfigMap or key missing, in a variable or a file | after 30 s | an operator of the cluster may be about to make it |
//! | program cannot be executed | after 1 restart | the image does not change, but starting it can fail by chance |
//! | container ended, out of memory | after 3 restarts | the kubelet has waited 10 and 20 s between them; a program may wait for another by ending |
//! | the same in a pod that a generation that changed nothing has met | never | its restarts may be from before; the time for progress ends it |
//! | pod refused by Pod Security, a limit range, a quota that it can never fit | at once | the rule and the pod do not change by themselves |
//! | pod refused by an admission webhook or policy | after 30 s | it may depend on more than the pod |
//! | pod refused by a full quota, or a webhook that does not answer | never | there may be room, or an answer |
//! | no node takes the pod | never | nodes come and go |
//! | probe fails, image is being pulled, sandbox or volume cannot be made, rollout paused | never | it may be so in any start |
//! | no progress in time | at once | Kubernetes has measured the time, and is believed only of this template and this apply; where it times nothing, the time since the last progress is measured here |
//! | Job complete or failed | at once | Kubernetes calls these conditions terminal |
//! | schedule in place | at once | its first run would be admitted, or one has started |

mod admission;
mod crash;
mod creation;
mod deadline;
mod deployment;
pub(crate) mod pod;
mod pull;
mod run;
mod schedulability;
mod schedule;
mod start;

use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use jiff::Timestamp;

use crate::anchor::{Anchor, State};
use crate::cluster::Live;
use crate::events::Events;
use crate::kind::Kind;

pub(crate) use self::run::judge_run;
pub(crate) use self::schedule::jobs_of;

/// The objects that were read of a target.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The Kubernetes Deployment or the CronJob.
    pub(crate) workload: Option<Live>,
    pub(crate) replica_sets: Vec<Live>,
    pub(crate) jobs: Vec<Live>,
    pub(crate) pods: Vec<Live>,
    pub(crate) events: Events,
    /// The reason why no pod of a schedule would be admitted.
    pub(crate) refusal: Option<String>,
    /// The time of the anchor's last write.
    pub(crate) claimed: Option<Timestamp>,
    /// The time of the read, by the API server's clock.
    pub(crate) now: Timestamp,
}

impl Seen {
    fn kept(&self, anchor: &Anchor) -> Option<Timestamp> {
        anchor.kept(self.claimed)
    }
}

/// A judgement, and the container whose log would explain it.
#[derive(Debug)]
pub(crate) struct Verdict<T> {
    pub(crate) status: T,
    pub(crate) crash: Option<Crash>,
}

/// A container that ended in failure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Crash {
    pub(crate) pod: String,
    pub(crate) container: String,
    /// The name of the container in a sentence.
    pub(crate) called: String,
    /// `true` if its log is that of the container before the last restart.
    pub(crate) is_previous: bool,
    /// The reason that its last lines explain.
    pub(crate) code: ReasonCode,
}

/// Judges a target by its anchor and the objects that were read.
pub(crate) fn judge(anchor: &Anchor, seen: &Seen) -> Verdict<Rollout> {
    match anchor.state {
        State::Removed | State::Stopped => {
            plain(Rollout::new(anchor.generation, RolloutPhase::Absent))
        }
        State::Removing => waiting(anchor, "it is being removed"),
        State::Applying => waiting(anchor, "its objects are being written"),
        State::Applied => match workload_kind(anchor) {
            Some(Kind::Deployment) => deployment::judge(anchor, seen),
            Some(_) => schedule::judge(anchor, seen),
            // A Manual Task consists of the objects that its runs need.
            None => plain(Rollout::new(anchor.generation, RolloutPhase::Ready)),
        },
    }
}

/// Returns the kind of the object that runs the target; `None` for a Manual Task.
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

/// The rollout of an applied target whose object is missing: another apply restores it.
fn missing(anchor: &Anchor, why: &str) -> Verdict<Rollout> {
    let rollout = Rollout::new(anchor.generation, RolloutPhase::Missing);
    plain(rollout.with_reason(Reason::new(ReasonCode::Waiting, why)))
}

/// Returns the object if it exists and has this generation; otherwise the reason why it must be
/// applied again.
fn current<'a>(anchor: &Anchor, seen: &'a Seen) -> Result<&'a Live, &'static str> {
    let Some(live) = &seen.workload else {
        return Err("its object is missing on the data plane and is applied again");
    };
    if live.is_ending() {
        return Err("its object is being deleted and is applied again");
    }
    let written = anchor.since..=anchor.stamp();
    if !live.stamp().is_some_and(|at| written.contains(&at)) || live.is_pending() {
        return Err("its object is of another generation and is applied again");
    }
    Ok(live)
}

#[cfg(test)]
mod tests;
