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
    assert_eq!(spec["paused"], true, "no pod is made while it is paused");
    assert_eq!(
        spec["replicas"], 2,
        "Kubernetes takes no copies for complete, and times none that come later"
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
