//! Guards the reasons that are not in the state of a container.

use super::*;

fn unscheduled(message: &str) -> String {
    let mut pod = pod("new", json!({}));
    pod.0["status"] = json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
    }] });
    let rollout = judged(pod);
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Progressing, vec![ReasonCode::Unschedulable])
    );
    rollout.reasons[0].message.clone()
}

#[test]
fn what_no_node_has_is_named() {
    for (message, cause) in [
        (
            "0/1 nodes are available: 1 Insufficient memory.",
            "too little free memory",
        ),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {gpu: yes}. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            "too little free CPU, taints that the pod does not tolerate",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
            "taints that the pod does not tolerate",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            "nodes that are not ready",
        ),
        (
            "0/1 nodes are available: 1 node(s) were unschedulable.",
            "nodes that take no new pods",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            "no node with the labels that the pod selects",
        ),
        (
            "0/1 nodes are available: 1 Too many pods.",
            "too little room",
        ),
        (
            "0/1 nodes are available: 1 Insufficient ephemeral-storage.",
            "too little room",
        ),
        (
            "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 Insufficient cpu.",
            "too little room",
        ),
        (
            "no nodes available to schedule pods",
            "nodes that are not ready",
        ),
    ] {
        assert_eq!(
            unscheduled(message),
            format!("no node can take the pod: {cause}"),
            "{message}"
        );
    }
    assert_eq!(unscheduled("something new"), "no node takes the pod");
}

/// Judges a pod whose container is not created yet, by the newest of its events.
fn creating(events: &[(&str, &str, i64)]) -> Rollout {
    let at = |(i, (reason, message, seconds)): (usize, &(&str, &str, i64))| {
        let mut event = event("", (reason, message), (3, *seconds));
        event.0["lastTimestamp"] = (NOON + SignedDuration::from_secs(40 + i as i64))
            .to_string()
            .into();
        event.0["firstTimestamp"] = (NOON + SignedDuration::from_secs(40 + i as i64 - seconds))
            .to_string()
            .into();
        event
    };
    let mut seen = of_pods(vec![pod("new", waiting("ContainerCreating", ""))]);
    seen.events = Events::readable(events.iter().enumerate().map(at).collect());
    look_at(unready(), seen)
}

fn unready() -> Live {
    deployment(json!({ "status": { "availableReplicas": 1, "updatedReplicas": 1 } }))
}

#[test]
fn events_say_what_a_pod_waits_for() {
    use ReasonCode as Code;
    use RolloutPhase::{Failed, Progressing};
    let mount = "MountVolume.SetUp failed for volume \"file-0\" : secret \"tls\" not found";
    let key =
        "MountVolume.SetUp failed for volume \"file-0\" : references non-existent secret key: crt";
    for (events, phase, code) in [
        (
            &[("FailedMount", mount, 10)][..],
            Progressing,
            Code::ConfigurationMissing,
        ),
        (
            &[("FailedMount", mount, 30)],
            Failed,
            Code::ConfigurationMissing,
        ),
        (
            &[("FailedMount", key, 30)],
            Failed,
            Code::ConfigurationMissing,
        ),
        (
            &[("FailedMount", "timed out", 90)],
            Progressing,
            Code::ContainerStartFailed,
        ),
        (
            &[("FailedCreatePodSandBox", "no network", 90)],
            Progressing,
            Code::ContainerStartFailed,
        ),
        (
            &[("Pulling", "Pulling image \"x\"", 0)],
            Progressing,
            Code::ImagePulling,
        ),
        (
            &[
                ("FailedMount", mount, 90),
                ("Pulling", "Pulling image \"x\"", 0),
            ],
            Progressing,
            Code::ImagePulling,
        ),
        (
            &[("Pulling", "Pulling image \"x\"", 0), ("Pulled", "ok", 0)],
            Progressing,
            Code::Waiting,
        ),
        (&[], Progressing, Code::Waiting),
    ] {
        let rollout = creating(events);
        assert_eq!(phase_and_codes(&rollout), (phase, vec![code]), "{events:?}");
    }
    assert!(
        creating(&[("FailedMount", mount, 10)]).reasons[0]
            .evidence
            .is_some()
    );
}

/// Returns a pod with an additional container in this state.
fn with_other(list: &str, always: bool, state: Value) -> Live {
    let mut pod = pod("new", json!({ "state": { "running": {} }, "ready": true }));
    let mut status = json!({ "name": "proxy", "restartCount": 3, "ready": false });
    merge(&mut status, state);
    let (statuses, specs) = match list {
        "init" => ("initContainerStatuses", "initContainers"),
        _ => ("containerStatuses", "containers"),
    };
    let mut spec = json!({ "name": "proxy", "image": "r.example/proxy:1" });
    if always {
        spec["restartPolicy"] = "Always".into();
    }
    for (at, list, item) in [("status", statuses, status), ("spec", specs, spec)] {
        match pod.0[at][list].as_array_mut() {
            Some(items) => items.push(item),
            None => pod.0[at][list] = json!([item]),
        }
    }
    pod
}

#[test]
fn sidecars_and_init_containers_are_looked_at_and_named() {
    let crash = |code: i64| {
        let ended = json!({ "exitCode": code, "message": "x", "reason": "Error" });
        let mut state = waiting("CrashLoopBackOff", "back-off");
        merge(&mut state, json!({ "lastState": { "terminated": ended } }));
        state
    };
    let running = || json!({ "state": { "running": {} }, "started": true });
    let done = json!({ "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } });
    let pull = || waiting("ErrImagePull", "manifest unknown");
    for (pod, message) in [
        (
            with_other("", false, crash(7)),
            "container \"proxy\" ended with exit code 7",
        ),
        (
            with_other("init", true, crash(7)),
            "init container \"proxy\" ended with exit code 7",
        ),
        (
            with_other("init", false, crash(7)),
            "init container \"proxy\" ended with exit code 7",
        ),
        (
            with_other("init", false, pull()),
            "image r.example/proxy:1 does not exist in the registry",
        ),
        (
            with_other("init", false, running()),
            "init container \"proxy\" has not ended yet",
        ),
        (
            with_other("init", true, running()),
            "0 of 2 new copies are ready",
        ),
        (
            with_other("init", false, done),
            "0 of 2 new copies are ready",
        ),
        (
            with_other("", false, running()),
            "container \"proxy\" runs but does not answer its readiness probe yet",
        ),
    ] {
        assert_eq!(judged(pod).reasons[0].message, message);
    }
    let crashed = with_other(
        "",
        false,
        json!({
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 7 } },
        }),
    );
    let seen = Seen {
        workload: Some(unready()),
        replica_sets: vec![replica_set("new", "2")],
        pods: vec![crashed],
        ..Seen::default()
    };
    let verdict = judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen);
    assert_eq!(verdict.crash.unwrap().container, "proxy");
}

#[test]
fn a_program_that_cannot_be_executed_is_told_by_its_log() {
    use ReasonCode as Code;
    let of = |log: &str| {
        let ended = json!({ "reason": "Error", "exitCode": 1, "message": log });
        let mut status = waiting("CrashLoopBackOff", "back-off");
        merge(
            &mut status,
            json!({ "restartCount": 1, "lastState": { "terminated": ended } }),
        );
        phase_and_codes(&judged(pod("new", status)))
    };
    let failed = |code| (RolloutPhase::Failed, vec![code]);
    assert_eq!(
        of("exec /program: exec format error\n"),
        failed(Code::ExecFormat)
    );
    assert_eq!(
        of("exec /program: argument list too long"),
        failed(Code::ContainerStartFailed)
    );
    assert_eq!(
        of("exec /run.sh: no such file or directory"),
        failed(Code::ContainerStartFailed)
    );
    for own in [
        "plugin: exec format error",
        "exec /program: exec format error\nand more",
        "exec /program: it is no good",
    ] {
        assert_eq!(
            of(own),
            (RolloutPhase::Progressing, vec![Code::ContainerCrashed]),
            "a program wrote it: {own}"
        );
    }
}

#[test]
fn a_startup_probe_is_told_from_a_readiness_probe() {
    for (started, words) in [(false, "startup probe"), (true, "readiness probe")] {
        let status = json!({ "state": { "running": {} }, "started": started });
        let message = &judged(pod("new", status)).reasons[0].message;
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_pod_that_its_node_ended_is_no_crash_of_the_program() {
    let mut pod = pod(
        "new",
        json!({ "state": { "terminated": { "exitCode": 137 } }, "restartCount": 9 }),
    );
    merge(
        &mut pod.0,
        json!({ "status": { "phase": "Failed", "reason": "Evicted", "message": "memory pressure" } }),
    );
    let rollout = judged(pod);
    assert_eq!(
        phase_and_codes(&rollout),
        (
            RolloutPhase::Progressing,
            vec![ReasonCode::ContainerStartFailed]
        )
    );
    assert_eq!(
        rollout.reasons[0].message,
        "the node ended the pod: Evicted"
    );
}

#[test]
fn a_paused_deployment_says_so() {
    let paused =
        deployment(json!({ "spec": { "paused": true }, "status": { "availableReplicas": 1 } }));
    assert_eq!(
        phase_and_codes(&look(paused, Vec::new())),
        (RolloutPhase::Progressing, vec![ReasonCode::Paused])
    );
}

/// Guards against "1 of 1 copies are ready" during the wait, which counted old pods.
#[test]
fn progress_counts_new_copies_only() {
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
    let status = json!({ "updatedReplicas": 1, "replicas": 3, "availableReplicas": 2 });
    assert_eq!(of(0, status), "0 of 2 new copies are ready");
    let status = json!({ "updatedReplicas": 2, "replicas": 3, "availableReplicas": 3 });
    assert_eq!(
        of(2, status),
        "all new copies are ready, and copies of the release before are ending"
    );
}

/// The Deployment also shows the failures of older ReplicaSets.
#[test]
fn a_refusal_is_read_of_the_newest_replica_set() {
    let failure = |message: &str| {
        json!({ "conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": message, "lastTransitionTime": NOON.to_string(),
        }] })
    };
    let of = |set: &str, message: &str| {
        let mut sets = vec![replica_set("old", "1"), replica_set("new", "2")];
        for live in &mut sets {
            if live.uid() == set {
                live.0["status"] = failure(message);
            }
        }
        let mut status = failure(message);
        status["availableReplicas"] = 0.into();
        let seen = Seen {
            workload: Some(deployment(json!({ "status": status }))),
            replica_sets: sets,
            now: NOON + SignedDuration::from_secs(29),
            ..Seen::default()
        };
        phase_and_codes(&judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen).status)
    };
    let security = "pods \"orders-1\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
    let refused = |phase| (phase, vec![ReasonCode::AdmissionRefused]);
    assert_eq!(of("new", security), refused(RolloutPhase::Failed));
    assert_eq!(
        of("old", security),
        (RolloutPhase::Progressing, vec![ReasonCode::Waiting])
    );
    let webhook = "admission webhook \"p\" denied the request";
    assert_eq!(of("new", webhook), refused(RolloutPhase::Progressing));
}
