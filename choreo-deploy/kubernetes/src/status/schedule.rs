//! Scheduled Tasks: ready when the schedule is in place, whatever the last run said.

use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase};

use super::{Seen, Verdict, current, missing, pod};
use crate::anchor::Anchor;
use crate::cluster::Live;

pub(super) fn judge(anchor: &Anchor, seen: &Seen) -> Verdict<Rollout> {
    let cron_job = match current(anchor, seen) {
        Ok(cron_job) => cron_job,
        Err(why) => return missing(anchor, why),
    };
    let mut rollout = Rollout::new(anchor.generation, RolloutPhase::Ready);
    if cron_job.0["spec"]["suspend"] == true {
        let reason = Reason::new(
            ReasonCode::Suspended,
            "the schedule does not fire because it is suspended",
        );
        rollout = rollout.with_reason(reason);
    }
    let mut crash = None;
    if let Some(last) = seen
        .jobs
        .iter()
        .max_by_key(|job| job.text("/metadata/creationTimestamp"))
    {
        let pods: Vec<&Live> = seen.pods.iter().filter(|pod| is_of(pod, last)).collect();
        if is_true(last, "Failed") {
            let message = "the last scheduled run failed".to_owned();
            rollout = rollout.with_reason(Reason::new(ReasonCode::RunFailed, message));
        }
        if !is_true(last, "Complete")
            && let Some(finding) = pods.iter().find_map(|pod| pod::diagnose(pod))
        {
            crash = finding.crash;
            rollout = rollout.with_reason(finding.reason);
        }
    }
    Verdict {
        status: rollout,
        crash,
    }
}

fn is_of(pod: &Live, job: &Live) -> bool {
    pod.label("batch.kubernetes.io/job-name") == Some(job.name())
}

pub(super) fn is_true(live: &Live, condition: &str) -> bool {
    live.condition(condition)
        .is_some_and(|condition| condition["status"] == "True")
}
