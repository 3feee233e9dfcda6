//! Rollouts of Services and Web Applications.

use choreo_deploy::reason::{Evidence, Reason, ReasonCode};
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use choreo_registry::Digest;
use serde_json::Value;

use super::pod::{self, Finding};
use super::{Seen, Verdict, current, missing, plain, waiting};
use crate::anchor::Anchor;
use crate::cluster::{Live, evidence};

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
    let newest = newest_pods(deployment, seen);
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
    let findings: Vec<Finding> = newest
        .iter()
        .filter_map(|pod| pod::diagnose(pod))
        .chain(conditions(deployment))
        .collect();
    verdict(anchor, findings, (count("availableReplicas"), wanted))
}

fn verdict(anchor: &Anchor, mut findings: Vec<Finding>, copies: (i64, i64)) -> Verdict<Rollout> {
    // What has failed for good comes first; of several pods with the same trouble, one is shown.
    findings.sort_by_key(|finding| (!finding.is_terminal, finding.reason.code));
    findings.dedup_by_key(|finding| finding.reason.code);
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
        let (available, wanted) = copies;
        let message = format!("{available} of {wanted} copies are ready");
        rollout
            .reasons
            .push(Reason::new(ReasonCode::Waiting, message));
    }
    Verdict {
        status: rollout,
        crash,
    }
}

/// What the Kubernetes Deployment itself complains about.
fn conditions(deployment: &Live) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is = |condition: &Value, status: &str| condition["status"] == status;
    if let Some(condition) = deployment
        .condition("ReplicaFailure")
        .filter(|c| is(c, "True"))
    {
        findings.push(replica_failure(condition));
    }
    if let Some(condition) = deployment
        .condition("Progressing")
        .filter(|c| is(c, "False"))
        && condition["reason"] == "ProgressDeadlineExceeded"
    {
        let seconds = deployment
            .number("/spec/progressDeadlineSeconds")
            .unwrap_or(0);
        let reason = Reason::new(
            ReasonCode::ProgressDeadlineExceeded,
            format!("the rollout made no progress for {seconds} s"),
        )
        .with_help("see the other reasons and the logs, or raise the progress deadline");
        findings.push(Finding::terminal(reason));
    }
    findings
}

/// A pod that was not even admitted. Room in a quota may come; a policy stays.
fn replica_failure(condition: &Value) -> Finding {
    let text = condition["message"].as_str().unwrap_or_default();
    let (message, help, is_terminal) = if text.contains("violates PodSecurity") {
        (
            "the data plane's Pod Security policy refuses the pods",
            "run as a user other than root, without further privileges",
            true,
        )
    } else if text.contains("exceeded quota") {
        (
            "the namespace's quota has no room for the pods",
            "ask for fewer resources, or ask the operator for more",
            false,
        )
    } else if text.contains("admission webhook") {
        (
            "a policy of the data plane refuses the pods",
            "see what the policy says",
            true,
        )
    } else {
        (
            "the pods cannot be made",
            "see what the data plane reports",
            false,
        )
    };
    let reason = Reason::new(ReasonCode::AdmissionRefused, message)
        .with_help(help)
        .with_evidence(
            evidence(condition).unwrap_or_else(|| Evidence::from_untrusted("no message")),
        );
    Finding {
        reason,
        is_terminal,
        crash: None,
    }
}

/// The pods of the newest ReplicaSet: what an older one is doing is no news.
fn newest_pods<'a>(deployment: &Live, seen: &'a Seen) -> Vec<&'a Live> {
    let revision = deployment.annotation(REVISION);
    let newest = seen
        .replica_sets
        .iter()
        .find(|set| is_owned_by(set, deployment.uid()) && set.annotation(REVISION) == revision);
    let of = |set: &'a Live| {
        seen.pods
            .iter()
            .filter(|pod| !pod.is_ending() && is_owned_by(pod, set.uid()))
            .collect()
    };
    newest.map_or_else(Vec::new, of)
}

fn is_owned_by(object: &Live, uid: &str) -> bool {
    !uid.is_empty()
        && object
            .items("/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == uid)
}

/// The digest that all running containers report. An image that was loaded into a node has none.
fn running(pods: &[&Live]) -> Option<Digest> {
    let mut digests = pods.iter().map(|pod| pod::digest(pod));
    let first = digests.next()??;
    digests
        .all(|digest| digest.as_ref() == Some(&first))
        .then_some(first)
}
