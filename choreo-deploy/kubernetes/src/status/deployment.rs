//! Rollouts of Services and Web Applications.

use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use choreo_registry::Digest;
use jiff::Timestamp;

use super::pod::{self, Finding, View};
use super::{Seen, Verdict, admission, current, deadline, missing, plain, waiting};
use crate::anchor::Anchor;
use crate::cluster::Live;
use crate::timestamp::time;

/// The annotation by which Kubernetes counts the ReplicaSets of a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) fn judge(anchor: &Anchor, seen: &Seen) -> Verdict<Rollout> {
    let deployment = match current(anchor, seen) {
        Ok(deployment) => deployment,
        Err(why) => return missing(anchor, why),
    };
    let generation = deployment.number("/metadata/generation").unwrap_or(0);
    if deployment.number("/status/observedGeneration").unwrap_or(0) < generation {
        return waiting(anchor, "Kubernetes has not looked at it yet");
    }
    let count = |field: &str| deployment.number(&format!("/status/{field}")).unwrap_or(0);
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    let in_place = count("updatedReplicas") == wanted
        && count("replicas") == wanted
        && count("availableReplicas") == wanted;
    let set = newest_set(deployment, seen);
    let newest = pods_of(set, seen);
    if in_place {
        let mut rollout = Rollout::new(anchor.generation, RolloutPhase::Ready);
        if wanted == 0 {
            let reason = Reason::new(
                ReasonCode::Suspended,
                "no copies run because it is suspended",
            );
            rollout = rollout.with_reason(reason);
        }
        rollout.running = running(&newest);
        return plain(rollout);
    }
    let kept = seen.kept(anchor);
    let findings: Vec<Finding> = newest
        .iter()
        .flat_map(|pod| pod::diagnose(&View::new(pod, seen).since(kept)))
        .chain(set.and_then(|set| not_admitted(set, seen.now)))
        .chain(paused(deployment))
        .chain(deadline::finding(
            deployment,
            (set, &newest),
            (kept, seen.now),
        ))
        .collect();
    verdict(anchor, findings, || progress(deployment, set, wanted))
}

fn verdict(
    anchor: &Anchor,
    mut findings: Vec<Finding>,
    progress: impl FnOnce() -> String,
) -> Verdict<Rollout> {
    // Final findings come first. Of several pods with the same finding, one is shown.
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (!finding.is_terminal, finding.reason.code);
        let text = |finding: &Finding| finding.reason.message.clone();
        key(a).cmp(&key(b)).then_with(|| text(a).cmp(&text(b)))
    });
    findings
        .dedup_by(|a, b| (a.reason.code, &a.reason.message) == (b.reason.code, &b.reason.message));
    let failed = findings.iter().any(|finding| finding.is_terminal);
    let phase = if failed {
        RolloutPhase::Failed
    } else {
        RolloutPhase::Progressing
    };
    let crash = findings.iter().find_map(|finding| finding.crash.clone());
    let mut rollout = Rollout::new(anchor.generation, phase);
    rollout.reasons = findings.into_iter().map(|finding| finding.reason).collect();
    if rollout.reasons.is_empty() {
        let reason = Reason::new(ReasonCode::Waiting, progress());
        rollout.reasons.push(reason);
    }
    Verdict {
        status: rollout,
        crash,
    }
}

/// Returns a sentence about the number of new replicas that are ready. Those of the earlier release
/// are ready all the time.
fn progress(deployment: &Live, newest: Option<&Live>, wanted: i64) -> String {
    let available = newest.and_then(|set| set.number("/status/availableReplicas"));
    let available = available.unwrap_or(0).min(wanted);
    let all = deployment.number("/status/replicas").unwrap_or(0);
    let updated = deployment.number("/status/updatedReplicas").unwrap_or(0);
    if available == wanted && all > updated {
        return "all new copies are ready, and copies of the release before are ending".to_owned();
    }
    format!("{available} of {wanted} new copies are ready")
}

/// Returns the reason why the ReplicaSet cannot create its pods. The Deployment shows failures of
/// older ReplicaSets too, so the ReplicaSet is read instead.
fn not_admitted(set: &Live, now: Timestamp) -> Option<Finding> {
    let condition = set.condition("ReplicaFailure")?;
    let is_so = condition["status"] == "True";
    let text = condition["message"].as_str().unwrap_or_default();
    let since = condition["lastTransitionTime"].as_str().and_then(time);
    is_so.then(|| admission::finding(text, since, now))
}

/// This crate never pauses a Deployment in use.
fn paused(deployment: &Live) -> Option<Finding> {
    let is_paused = deployment.0["spec"]["paused"] == true;
    is_paused.then(|| {
        let message = "somebody paused the rollout on the data plane";
        let reason = Reason::new(ReasonCode::Paused, message)
            .with_help("resume it with kubectl rollout resume, or deploy again");
        Finding::passing(reason)
    })
}

/// Returns the newest ReplicaSet. Older ones do not matter.
fn newest_set<'a>(deployment: &Live, seen: &'a Seen) -> Option<&'a Live> {
    let revision = deployment.annotation(REVISION);
    seen.replica_sets
        .iter()
        .find(|set| is_owned_by(set, deployment.uid()) && set.annotation(REVISION) == revision)
}

fn pods_of<'a>(set: Option<&Live>, seen: &'a Seen) -> Vec<&'a Live> {
    let of = |set: &Live| {
        let pods = seen.pods.iter();
        pods.filter(|pod| !pod.is_ending() && is_owned_by(pod, set.uid()))
            .collect()
    };
    set.map_or_else(Vec::new, of)
}

fn is_owned_by(object: &Live, uid: &str) -> bool {
    !uid.is_empty()
        && object
            .items("/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == uid)
}

/// Returns the digest that all running containers report. An image that was loaded into a node has
/// none.
fn running(pods: &[&Live]) -> Option<Digest> {
    let mut digests = pods.iter().map(|pod| pod::digest(pod));
    let first = digests.next()??;
    digests
        .all(|digest| digest.as_ref() == Some(&first))
        .then_some(first)
}
