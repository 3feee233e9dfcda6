//! Pods that fit on no node. Nodes come and go, so this is never final.

use choreo_deploy::reason::{Reason, ReasonCode};
use serde_json::Value;

use super::pod::{Finding, with_evidence};

/// The scheduler's texts about nodes, with a message and a help. All messages that apply are shown,
/// with the help of the first.
const CAUSES: &[(&[&str], &str, &str)] = &[
    (
        &["insufficient cpu"],
        "too little free CPU",
        "ask for less CPU, or ask the operator for more nodes",
    ),
    (
        &["insufficient memory"],
        "too little free memory",
        "ask for less memory, or ask the operator for more nodes",
    ),
    (
        &["insufficient", "too many pods"],
        "too little room",
        "ask for less, or ask the operator for more nodes",
    ),
    (
        &[
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
            "node.kubernetes.io/network-unavailable",
            "no nodes available",
        ],
        "nodes that are not ready",
        "ask the operator to look at the nodes",
    ),
    (
        &["were unschedulable", "node.kubernetes.io/unschedulable"],
        "nodes that take no new pods",
        "ask the operator to uncordon a node, or for more nodes",
    ),
    (
        &["untolerated taint"],
        "taints that the pod does not tolerate",
        "ask the operator for a node without taints, or for tolerations in the policy",
    ),
    (
        &["node affinity", "node selector", "nodeselector"],
        "no node with the labels that the pod selects",
        "ask the operator to label a node, or to change the selector in the policy",
    ),
    (
        &["topology spread"],
        "a spread over nodes that cannot be kept",
        "ask the operator for more nodes",
    ),
    (
        &["pod affinity", "pod anti-affinity", "anti-affinity"],
        "other pods beside which it must or must not run",
        "ask the operator for more nodes, or to change the policy",
    ),
    (
        &["persistentvolume", "volume node affinity", "volume zone"],
        "a volume that no node has",
        "ask the operator to look at the volume",
    ),
];

pub(super) fn finding(condition: &Value) -> Finding {
    let text = condition["message"].as_str().unwrap_or_default();
    // The rest is about pods that might be preempted, and repeats the words.
    let said = text.split("preemption:").next().unwrap_or_default();
    let mut said = said.to_ascii_lowercase();
    let mut causes = Vec::new();
    for (words, cause, help) in CAUSES {
        if words.iter().any(|word| said.contains(word)) {
            causes.push((*cause, *help));
            // The resource in `Insufficient cpu` is a cause. Another insufficient resource is
            // another cause.
            for word in *words {
                said = said.replace(word, "");
            }
            // A taint with a known name is not one of the operator's.
            if words[0].starts_with("node.kubernetes.io") {
                said = said.replace("untolerated taint", "");
            }
        }
    }
    let reason = match causes.first() {
        Some((_, help)) => {
            let names: Vec<&str> = causes.iter().map(|(cause, _)| *cause).collect();
            let message = format!("no node can take the pod: {}", names.join(", "));
            Reason::new(ReasonCode::Unschedulable, message).with_help(*help)
        }
        None => Reason::new(ReasonCode::Unschedulable, "no node takes the pod")
            .with_help("see what the data plane reports"),
    };
    Finding::passing(with_evidence(reason, condition))
}
