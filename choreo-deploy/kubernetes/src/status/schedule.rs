//! The judgement of a Scheduled Task. It is ready if the first run could start, independent of the
//! result of the last run.

use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use jiff::Timestamp;

use super::pod::{self, Finding, View};
use super::{Seen, Verdict, admission, current, missing, plain};
use crate::anchor::Anchor;
use crate::cluster::Live;
use crate::labels;
use crate::timestamp::time;

pub(super) fn judge(anchor: &Anchor, seen: &Seen) -> Verdict<Rollout> {
    let cron_job = match current(anchor, seen) {
        Ok(cron_job) => cron_job,
        Err(why) => return missing(anchor, why),
    };
    let ready = Rollout::new(anchor.generation, RolloutPhase::Ready);
    if cron_job.0["spec"]["suspend"] == true {
        let message = "the schedule does not fire because it is suspended";
        return plain(ready.with_reason(Reason::new(ReasonCode::Suspended, message)));
    }
    let mut jobs: Vec<&Live> = jobs_of(cron_job, &seen.jobs, seen.kept(anchor)).collect();
    jobs.sort_by_key(|job| job.text("/metadata/creationTimestamp"));
    match jobs.last() {
        Some(last) => of_jobs(ready, &jobs, last, seen),
        None => of_trial(ready, seen),
    }
}

/// Returns the Jobs of the current schedule, without those of older releases and those from before
/// a generation that changed nothing was `kept`.
pub(crate) fn jobs_of<'a>(
    cron_job: &Live,
    jobs: &'a [Live],
    kept: Option<Timestamp>,
) -> impl Iterator<Item = &'a Live> + use<'a> {
    let annotations = cron_job
        .0
        .pointer("/spec/jobTemplate/metadata/annotations")
        .and_then(|annotations| annotations[labels::GENERATION].as_str())
        .map(str::to_owned);
    let is_since = move |job: &Live| {
        let made = time(job.text("/metadata/creationTimestamp"));
        kept.is_none_or(|kept| made.is_some_and(|made| made >= kept))
    };
    jobs.iter()
        .filter(move |job| job.annotation(labels::GENERATION) == annotations.as_deref())
        .filter(move |job| is_since(job))
}

/// No run has been due yet, so a run was tested on the data plane.
fn of_trial(ready: Rollout, seen: &Seen) -> Verdict<Rollout> {
    let Some(refusal) = &seen.refusal else {
        return plain(ready);
    };
    let Finding {
        reason,
        is_terminal,
        ..
    } = admission::finding(refusal, None, seen.now);
    plain(unstarted(ready, is_terminal).with_reason(reason))
}

fn of_jobs(ready: Rollout, jobs: &[&Live], last: &Live, seen: &Seen) -> Verdict<Rollout> {
    let pods = seen.pods.iter().filter(|pod| is_of(pod, last));
    let mut findings: Vec<Finding> = pods
        .flat_map(|pod| pod::diagnose(&View::new(pod, seen)))
        .collect();
    findings.sort_by_key(|finding| !finding.is_terminal);
    let found = findings
        .into_iter()
        .next()
        .filter(|_| !is_true(last, "Complete"));
    let has_run = jobs.iter().any(|job| {
        is_true(job, "Complete")
            || seen
                .pods
                .iter()
                .any(|pod| is_of(pod, job) && has_started(pod))
    });
    let mut rollout = match &found {
        Some(finding) if !has_run => unstarted(ready, finding.is_terminal),
        _ => ready,
    };
    if is_true(last, "Failed") {
        let message = "the last scheduled run failed".to_owned();
        rollout = rollout.with_reason(Reason::new(ReasonCode::RunFailed, message));
    }
    let crash = found.as_ref().and_then(|finding| finding.crash.clone());
    rollout.reasons.extend(found.map(|finding| finding.reason));
    Verdict {
        status: rollout,
        crash,
    }
}

/// The first run cannot start.
fn unstarted(mut rollout: Rollout, is_final: bool) -> Rollout {
    rollout.phase = if is_final {
        RolloutPhase::Failed
    } else {
        RolloutPhase::Progressing
    };
    rollout
}

/// Returns `true` if the program has run, independent of its result.
fn has_started(pod: &Live) -> bool {
    pod::main(pod).is_some_and(|main| {
        let state = &main.status["state"];
        let could_not = ["StartError", "ContainerCannotRun"];
        let ended = state["terminated"]["reason"].as_str();
        state.get("running").is_some() || ended.is_some_and(|why| !could_not.contains(&why))
    })
}

fn is_of(pod: &Live, job: &Live) -> bool {
    pod.label("batch.kubernetes.io/job-name") == Some(job.name())
}

pub(super) fn is_true(live: &Live, condition: &str) -> bool {
    live.condition(condition)
        .is_some_and(|condition| condition["status"] == "True")
}
