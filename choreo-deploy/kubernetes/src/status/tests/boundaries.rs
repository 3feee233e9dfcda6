//! Guards the boundaries between verdicts.

use super::*;

fn with(events: Vec<Live>, pod: Live) -> Rollout {
    let unready = deployment(json!({ "status": { "availableReplicas": 1, "updatedReplicas": 1 } }));
    let seen = Seen {
        events: Events::readable(events),
        ..of_pods(vec![pod])
    };
    look_at(unready, seen)
}

fn unread(count: i64, seconds: i64) -> Live {
    let message = "Unable to retrieve some image pull secrets (a); attempting to pull the image may not succeed.";
    event(
        "",
        ("FailedToRetrieveImagePullSecret", message),
        (count, seconds),
    )
}

#[test]
fn a_pull_secret_that_is_not_there_needs_two_failed_pulls() {
    let pod = || pod("new", waiting("ImagePullBackOff", "401 Unauthorized"));
    let rollout = with(vec![unread(9, 99), failed_pulls(1)], pod());
    assert_eq!(
        phase_and_codes(&rollout),
        (
            RolloutPhase::Progressing,
            vec![ReasonCode::ConfigurationMissing]
        )
    );
}

#[test]
fn a_missing_pull_secret_does_not_explain_everything() {
    let pod = pod("new", waiting("ImagePullBackOff", "dial tcp: i/o timeout"));
    let rollout = with(vec![unread(9, 99), failed_pulls(9)], pod);
    assert_eq!(rollout.reasons[0].code, ReasonCode::RegistryUnreachable);
}

#[test]
fn a_refused_login_is_told_from_none() {
    for (secrets, code) in [
        (json!([]), ReasonCode::RegistryCredentialMissing),
        (
            json!([{ "name": "a" }]),
            ReasonCode::RegistryCredentialRefused,
        ),
    ] {
        let mut pod = pod("new", waiting("ErrImagePull", "401 Unauthorized"));
        pod.0["spec"]["imagePullSecrets"] = secrets;
        assert_eq!(judged(pod).reasons[0].code, code);
    }
}

fn crash_loop(restarts: i64, ended: &Value) -> Live {
    let mut status = waiting("CrashLoopBackOff", "back-off");
    merge(
        &mut status,
        json!({ "restartCount": restarts, "lastState": { "terminated": ended } }),
    );
    pod("new", status)
}

#[test]
fn a_start_that_failed_for_an_unknown_reason_is_tried_as_often_as_a_crash() {
    let of = |restarts| {
        let ended = json!({ "reason": "StartError", "exitCode": 128, "message": "resource temporarily unavailable" });
        judged(crash_loop(restarts, &ended)).phase
    };
    assert_eq!(of(2), RolloutPhase::Progressing);
    assert_eq!(of(3), RolloutPhase::Failed);
}

#[test]
fn the_log_is_that_of_the_run_that_ended() {
    let ended = || json!({ "exitCode": 7 });
    let now = pod("new", json!({ "state": { "terminated": ended() } }));
    for (pod, is_previous) in [(now, false), (crash_loop(1, &ended()), true)] {
        let seen = Seen {
            workload: Some(deployment(json!({ "status": { "availableReplicas": 0 } }))),
            replica_sets: vec![replica_set("new", "2")],
            pods: vec![pod],
            ..Seen::default()
        };
        let verdict = judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen);
        assert_eq!(verdict.crash.unwrap().is_previous, is_previous);
    }
}

#[test]
fn what_a_program_writes_is_no_error_of_the_runtime() {
    let ended = json!({ "exitCode": 1, "message": "exec of the plan\nexec /x: exec format error" });
    let rollout = judged(crash_loop(1, &ended));
    assert_eq!(rollout.reasons[0].code, ReasonCode::ContainerCrashed);
}

#[test]
fn a_named_user_is_told_from_root() {
    for (text, words) in [
        (
            "container has runAsNonRoot and image has non-numeric user (app)",
            "user is a name",
        ),
        (
            "container has runAsNonRoot and image will run as root",
            "runs as root",
        ),
    ] {
        let rollout = judged(pod("new", waiting("CreateContainerConfigError", text)));
        let message = &rollout.reasons[0].message;
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn events_of_the_creation_say_nothing_of_a_pod_that_runs() {
    let pulling = event(CONTAINER, ("Pulling", "Pulling image \"x\""), (1, 0));
    let running = pod("new", json!({ "state": { "running": {} }, "ready": true }));
    assert_eq!(
        with(vec![pulling], running).reasons[0].code,
        ReasonCode::Waiting
    );
}

#[test]
fn copies_that_are_counted() {
    let of = |available: i64, status: Value| {
        let mut newest = replica_set("new", "2");
        newest.0["status"] = json!({ "availableReplicas": available });
        let seen = Seen {
            workload: Some(deployment(json!({ "status": status }))),
            replica_sets: vec![newest],
            ..Seen::default()
        };
        let rollout = judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen).status;
        rollout.reasons[0].message.clone()
    };
    let behind = json!({ "updatedReplicas": 2, "replicas": 2, "availableReplicas": 1 });
    assert_eq!(of(2, behind.clone()), "2 of 2 new copies are ready");
    assert_eq!(of(3, behind), "2 of 2 new copies are ready");
}

#[test]
fn a_refusal_that_is_over_is_not_said() {
    let mut newest = replica_set("new", "2");
    newest.0["status"] = json!({ "conditions": [{
        "type": "ReplicaFailure", "status": "False", "message": "violates PodSecurity",
    }] });
    let seen = Seen {
        workload: Some(deployment(json!({ "status": { "availableReplicas": 0 } }))),
        replica_sets: vec![newest],
        ..Seen::default()
    };
    let rollout = judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen).status;
    assert_eq!(rollout.phase, RolloutPhase::Progressing);
}

#[test]
fn only_a_deadline_is_a_deadline() {
    let change = json!({ "status": { "availableReplicas": 0, "conditions": [{
        "type": "Progressing", "status": "False", "reason": "ReplicaSetCreateError",
    }] } });
    assert_eq!(
        look(deployment(change), Vec::new()).phase,
        RolloutPhase::Progressing
    );
}

/// Kubernetes often writes the status, and other clients may write the rest.
#[test]
fn the_time_of_an_apply_is_that_of_this_backend() {
    let at = |seconds: i64| (NOON + SignedDuration::from_secs(seconds)).to_string();
    for other in [
        json!({ "manager": "choreo", "subresource": "status", "time": at(200) }),
        json!({ "manager": "kubectl", "time": at(200) }),
    ] {
        let live = deployment(json!({
            "metadata": { "managedFields": [{ "manager": "choreo", "time": at(0) }, other] },
            "status": { "availableReplicas": 1, "conditions": [{
                "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": "ReplicaSet \"orders-new\" has timed out progressing.",
                "lastUpdateTime": at(100),
            }] },
        }));
        let seen = Seen {
            now: NOON + SignedDuration::from_secs(250),
            ..of_pods(Vec::new())
        };
        assert_eq!(look_at(live, seen).phase, RolloutPhase::Failed, "{other}");
    }
}

/// A pod keeps a reason, such as `NodeLost`, also while it continues to run.
#[test]
fn a_pod_that_has_not_failed_was_not_ended_by_its_node() {
    let mut pod = pod("new", json!({ "state": { "running": {} }, "ready": true }));
    pod.0["status"]["phase"] = "Running".into();
    pod.0["status"]["reason"] = "NodeLost".into();
    assert_eq!(judged(pod).reasons[0].code, ReasonCode::Waiting);
}

/// An init container of a patch may have the name of the main container. Its image differs.
#[test]
fn the_digest_is_that_of_the_container_of_the_image() {
    let mut pod = pod("new", json!({ "state": { "running": {} }, "ready": true }));
    let other = format!("r.example/o@sha256:{}", "5".repeat(64));
    pod.0["status"]["initContainerStatuses"] = json!([{ "name": CONTAINER, "imageID": other }]);
    let rollout = look(deployment(json!({})), vec![pod]);
    assert_eq!(rollout.running, Some(DIGEST.parse().unwrap()));
}

/// The reason that ended the rollout must be shown before a transient one.
#[test]
fn a_final_reason_comes_first_and_each_reason_once() {
    let root = || {
        let text = "container has runAsNonRoot and image will run as root";
        pod("new", waiting("CreateContainerConfigError", text))
    };
    let unreachable = pod(
        "new",
        waiting("ErrImagePull", "dial tcp: connection refused"),
    );
    let unready = json!({ "status": { "availableReplicas": 0, "updatedReplicas": 1 } });
    let rollout = look(deployment(unready), vec![unreachable, root(), root()]);
    let codes = vec![ReasonCode::RunAsRoot, ReasonCode::RegistryUnreachable];
    assert_eq!(phase_and_codes(&rollout), (RolloutPhase::Failed, codes));
}
