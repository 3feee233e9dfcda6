//! The judgement of a run of a task.
//!
//! Only `Complete` and `Failed` are final; `SuccessCriteriaMet` and `FailureTarget` come before them
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>).

use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::RunStatus;
use choreo_deploy::run::RunPhase;
use serde_json::Value;

use super::crash::{self, Ending};
use super::pod::{self, Container, View};
use super::schedule::is_true;
use super::{Seen, Verdict};
use crate::cluster::{Live, evidence};
use crate::labels;

/// Judges a run by its Job and that Job's pods.
///
/// An image that cannot be pulled leaves the run pending, with its reason, and stuck if that lasts.
/// The Job would still run if the image became available, so a failure would not be final.
pub(crate) fn judge_run(job: &Live, seen: &Seen) -> Verdict<RunStatus> {
    let mut pods: Vec<&Live> = seen.pods.iter().collect();
    pods.sort_by_key(|pod| pod.text("/metadata/creationTimestamp"));
    let newest = pods.last().copied();
    if job.annotation(labels::CANCELLED).is_some() {
        let reason = Reason::new(ReasonCode::RunCancelled, "the run was stopped by request");
        return plain(RunStatus::new(RunPhase::Cancelled).with_reason(reason));
    }
    if is_true(job, "Complete") {
        return plain(RunStatus::new(RunPhase::Succeeded).with_exit_code(0));
    }
    if let Some(condition) = job.condition("Failed").filter(|c| c["status"] == "True") {
        return failed(job, condition, newest);
    }
    let running = newest
        .and_then(pod::main)
        .is_some_and(|main| main.status["state"].get("running").is_some());
    if running {
        return plain(RunStatus::new(RunPhase::Running));
    }
    let mut status = RunStatus::new(RunPhase::Pending);
    let mut findings = newest.map_or_else(Vec::new, |pod| pod::diagnose(&View::new(pod, seen)));
    findings.sort_by_key(|finding| !finding.is_terminal);
    status.is_stuck = findings.iter().any(|finding| finding.is_terminal);
    status.reasons = findings.into_iter().map(|finding| finding.reason).collect();
    plain(status)
}

fn failed(job: &Live, condition: &Value, pod: Option<&Live>) -> Verdict<RunStatus> {
    if condition["reason"] == "DeadlineExceeded" {
        let seconds = job.number("/spec/activeDeadlineSeconds").unwrap_or(0);
        let message = format!("the run took longer than {seconds} s");
        let reason = Reason::new(ReasonCode::ProgressDeadlineExceeded, message)
            .with_help("raise the deadline of the task, or see why it hangs");
        return plain(RunStatus::new(RunPhase::Failed).with_reason(reason));
    }
    let Some((pod, container, ended)) = pod.and_then(ended) else {
        let reason = Reason::new(ReasonCode::RunFailed, "the run failed");
        let reason = match evidence(condition) {
            Some(evidence) => reason.with_evidence(evidence),
            None => reason,
        };
        return plain(RunStatus::new(RunPhase::Failed).with_reason(reason));
    };
    let mut finding = crash::of_end(pod, container, (ended, Ending::Now));
    let exit_code = ended["exitCode"]
        .as_i64()
        .and_then(|code| i32::try_from(code).ok());
    if finding.reason.code == ReasonCode::ContainerCrashed {
        let code = exit_code.map_or_else(|| "?".to_owned(), |code| code.to_string());
        finding.reason.code = ReasonCode::RunFailed;
        let who = match container.called() {
            called if called == "the container" => "the run".to_owned(),
            called => called,
        };
        finding.reason.message = format!("{who} ended with exit code {code}");
        if let Some(crash) = &mut finding.crash {
            crash.code = ReasonCode::RunFailed;
        }
    }
    let mut status = RunStatus::new(RunPhase::Failed).with_reason(finding.reason);
    status.exit_code = exit_code;
    Verdict {
        status,
        crash: finding.crash,
    }
}

/// Returns the container that ended the run: the first that failed, or the one of the image.
fn ended(pod: &Live) -> Option<(&Live, Container<'_>, &Value)> {
    let failed = pod::containers(pod).find(|container| {
        let ended = container.ended();
        ended.is_some_and(|ended| ended["exitCode"].as_i64() != Some(0))
    });
    let container = failed.or_else(|| pod::main(pod))?;
    Some((pod, container, container.ended()?))
}

fn plain(status: RunStatus) -> Verdict<RunStatus> {
    Verdict {
        status,
        crash: None,
    }
}
