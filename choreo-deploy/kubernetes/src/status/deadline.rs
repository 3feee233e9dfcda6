//! The deadline for progress.
//!
//! Kubernetes measures it, but not for every rollout. It keeps the condition of an older template
//! until the newer one makes progress, and keeps it if the same template is applied again. It does
//! not time a rollout that it considers complete: more replicas of the same template, and a
//! restored template whose first replica exists when it first counts replicas. For these the time
//! is measured here.

use choreo_deploy::reason::{Reason, ReasonCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::pod::Finding;
use crate::cluster::Live;
use crate::timestamp::time;

/// Returns the finding for a rollout that has made no progress in time.
///
/// A generation that changed nothing did not write the Deployment, and starts when it was `kept`.
pub(super) fn finding(
    deployment: &Live,
    (newest, pods): (Option<&Live>, &[&Live]),
    (kept, now): (Option<Timestamp>, Timestamp),
) -> Option<Finding> {
    let seconds = deployment
        .number("/spec/progressDeadlineSeconds")
        .unwrap_or(0);
    let allowed = SignedDuration::from_secs(seconds);
    let condition = deployment.condition("Progressing")?;
    let passed =
        |since: Option<Timestamp>| since.is_none_or(|since| now.duration_since(since) >= allowed);
    let applied = deployment.written_at().max(kept);
    let is_over = match condition["reason"].as_str() {
        Some("ProgressDeadlineExceeded") if is_about(condition, newest) => {
            let said = condition["lastUpdateTime"].as_str().and_then(time);
            said.zip(applied)
                .is_none_or(|(said, applied)| said > applied)
                || passed(applied)
        }
        Some("ProgressDeadlineExceeded" | "NewReplicaSetAvailable") => {
            let progress = applied
                .into_iter()
                .chain(pods.iter().flat_map(|pod| progress(pod)));
            let last = progress.max();
            let is_paused = deployment.0["spec"]["paused"] == true;
            last.is_some() && passed(last) && !is_paused
        }
        _ => false,
    };
    is_over.then(|| {
        let message = format!("the rollout made no progress for {seconds} s");
        let reason = Reason::new(ReasonCode::ProgressDeadlineExceeded, message)
            .with_help("see the other reasons and the logs, or raise the progress deadline");
        Finding::new(reason, true)
    })
}

/// Returns `true` if the condition belongs to the template that was applied last. Its message
/// contains the name of the ReplicaSet (`ReplicaSet "orders-5d4f" has timed out progressing.`).
fn is_about(condition: &Value, newest: Option<&Live>) -> bool {
    let message = condition["message"].as_str().unwrap_or_default();
    let named = message.split('"').nth(1);
    match (named, newest) {
        (Some(named), Some(newest)) => named == newest.name(),
        // The ReplicaSet does not exist yet, so no condition is about it.
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Returns the times at which a pod was created and became ready.
fn progress(pod: &Live) -> impl Iterator<Item = Timestamp> {
    let ready = pod
        .condition("Ready")
        .filter(|ready| ready["status"] == "True");
    let ready = ready.and_then(|ready| ready["lastTransitionTime"].as_str().and_then(time));
    let came = time(pod.text("/metadata/creationTimestamp"));
    came.into_iter().chain(ready)
}
