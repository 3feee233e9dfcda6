//! The forms in which an object is written and remembered, and its comparison with the live object.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::cluster::Live;
use crate::kind::Kind;
use crate::labels;
use crate::manifest::Object;
use crate::sent::Sent;
use crate::stamp::Stamp;

/// A docker config without logins, in base64.
const NO_LOGINS: &str = "eyJhdXRocyI6e319";

/// Returns the object as a reservation, without any effect.
pub(crate) fn pending(object: &Object, stamp: Stamp) -> Sent {
    let mut sent = stamped(object, stamp);
    let json = &mut sent.json;
    json["metadata"]["annotations"][labels::PENDING] = "true".into();
    match object.id().kind {
        // Paused instead of without replicas: Kubernetes considers zero replicas complete, and does
        // not time a start of replicas afterwards. It times a resumed deployment from then on.
        Kind::Deployment => json["spec"]["paused"] = true.into(),
        Kind::CronJob | Kind::Job => json["spec"]["suspend"] = true.into(),
        Kind::HorizontalPodAutoscaler => {
            json["spec"]["scaleTargetRef"]["name"] = "pending".into();
        }
        Kind::Secret => return sent.with_data(Arc::new(Zeroizing::new(NO_LOGINS.to_owned()))),
        Kind::Service | Kind::PodDisruptionBudget => {
            // A Service without a selector selects nothing.
            if let Some(spec) = json["spec"].as_object_mut() {
                spec.remove("selector");
            }
        }
        _ => {}
    }
    sent
}

/// Returns the object as it is sent over the live object.
///
/// If an autoscaler owns the number of replicas, the live number is sent, kept within the range.
/// Without a number, a workload would fall back to one replica when a range replaces a fixed
/// number.
pub(crate) fn filled(object: &Object, all: &[Object], (live, stamp): (&Live, Stamp)) -> Sent {
    let mut sent = stamped(object, stamp);
    let json = &mut sent.json;
    let autoscaler = all
        .iter()
        .find(|other| other.id().kind == Kind::HorizontalPodAutoscaler);
    if object.id().kind == Kind::Deployment
        && let Some(spec) = autoscaler.map(|autoscaler| &autoscaler.manifest()["spec"])
    {
        let bound = |field: &str| spec[field].as_i64().unwrap_or(1);
        let there = live.number("/spec/replicas").unwrap_or(0);
        json["spec"]["replicas"] = there
            .max(bound("minReplicas"))
            .min(bound("maxReplicas"))
            .into();
    }
    sent
}

/// Returns the object with a stamp.
pub(crate) fn stamped(object: &Object, stamp: Stamp) -> Sent {
    let mut sent = object.sent();
    sent.json["metadata"]["annotations"][labels::GENERATION] = stamp.to_string().into();
    sent
}

/// Returns `true` if the live value contains all that is wanted, whatever else it contains.
pub(crate) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        // The API server omits empty values.
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            let there = live.get(key);
            there.map_or_else(|| is_empty(wanted), |live| covers(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
    }
}

/// Returns `true` if the earlier pods need the live object, and the object would change it.
pub(crate) fn is_needed_as_it_is(object: &Object, live: &Live) -> bool {
    let kinds = [Kind::Service, Kind::HorizontalPodAutoscaler];
    kinds.contains(&object.id().kind)
        && !live.is_pending()
        && !covers(&live.0["spec"], &object.manifest()["spec"])
}

/// Returns the digest of the objects, without parts that change with each generation and without
/// secrets.
pub(crate) fn digest(objects: &[Object]) -> String {
    let mut hash = Sha256::new();
    for object in objects {
        let mut json = object.manifest().clone();
        steady(&mut json);
        if object.id().kind == Kind::Secret {
            json["data"] = Value::Null;
        }
        hash.update(json.to_string());
        hash.update("\n");
    }
    let digits = hash.finalize();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes the generation and the release, from an object and from what a schedule creates.
pub(crate) fn steady(json: &mut Value) {
    for pointer in [
        "/metadata/annotations",
        "/spec/jobTemplate/metadata/annotations",
    ] {
        let annotations = json.pointer_mut(pointer);
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(labels::GENERATION);
            annotations.remove(labels::RELEASE);
        }
    }
}

#[cfg(test)]
mod tests {
    use choreo_deploy::deployment::Generation;
    use serde_json::json;

    use super::*;

    fn object(kind: &str, spec: &Value) -> Object {
        let manifest = json!({
            "kind": kind, "metadata": { "name": "orders", "annotations": {} }, "spec": spec,
        });
        Object::of_manifest(&manifest).unwrap()
    }

    fn stamp() -> Stamp {
        Stamp::new(Generation::new(0, 7))
    }

    #[test]
    fn what_is_reserved_does_nothing() {
        let reserved = |kind: &str, spec: &Value| {
            let json = pending(&object(kind, spec), stamp()).json;
            assert!(Live(json.clone()).is_pending(), "{json}");
            json["spec"].clone()
        };
        let spec = reserved("Deployment", &json!({ "paused": false, "replicas": 2 }));
        assert_eq!(spec["paused"], true, "no pod is created while it is paused");
        assert_eq!(
            spec["replicas"], 2,
            "Kubernetes considers zero replicas complete, and does not time later ones"
        );
        for kind in ["CronJob", "Job"] {
            assert_eq!(reserved(kind, &json!({}))["suspend"], true, "{kind}");
        }
        let range = json!({ "scaleTargetRef": { "name": "orders" } });
        let spec = reserved("HorizontalPodAutoscaler", &range);
        assert_eq!(spec["scaleTargetRef"]["name"], "pending");
        for kind in ["Service", "PodDisruptionBudget"] {
            let spec = reserved(kind, &json!({ "selector": { "a": "b" } }));
            assert_eq!(spec.get("selector"), None, "{kind} selects nothing");
        }
    }

    #[test]
    fn an_autoscaler_keeps_its_number_of_copies_within_its_range() {
        let range = json!({ "minReplicas": 2, "maxReplicas": 4 });
        let all = [
            object("Deployment", &json!({})),
            object("HorizontalPodAutoscaler", &range),
        ];
        for (there, sent) in [
            (None, 2),
            (Some(1), 2),
            (Some(3), 3),
            (Some(4), 4),
            (Some(9), 4),
        ] {
            let live = Live(json!({ "spec": { "replicas": there } }));
            let json = filled(&all[0], &all, (&live, stamp())).json;
            assert_eq!(json["spec"]["replicas"], sent, "{there:?} are there");
        }
        let fixed = [object("Deployment", &json!({ "replicas": 5 }))];
        let live = Live(json!({ "spec": { "replicas": 1 } }));
        let json = filled(&fixed[0], &fixed, (&live, stamp())).json;
        assert_eq!(json["spec"]["replicas"], 5, "no autoscaler, no range");
    }
}
