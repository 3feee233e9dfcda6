//! Guards against verdicts that one observation does not justify.

use proptest::prelude::*;

use super::*;

fn with(events: Vec<Live>, pod: Live) -> Rollout {
    let unready = deployment(json!({ "status": { "availableReplicas": 1, "updatedReplicas": 1 } }));
    let seen = Seen {
        events: Events::readable(events),
        ..of_pods(vec![pod])
    };
    look_at(unready, seen)
}

/// The kubelet shows `ImagePullBackOff` before and during its second pull.
#[test]
fn one_failed_pull_is_not_final() {
    for (reason, pulls, phase) in [
        ("ImagePullBackOff", 1, RolloutPhase::Progressing),
        ("ErrImagePull", 1, RolloutPhase::Progressing),
        ("ImagePullBackOff", 2, RolloutPhase::Failed),
        ("ErrImagePull", 2, RolloutPhase::Failed),
    ] {
        let pod = pod("new", waiting(reason, "manifest unknown"));
        let rollout = with(vec![failed_pulls(pulls)], pod);
        assert_eq!(
            phase_and_codes(&rollout),
            (phase, vec![ReasonCode::ImageNotFound]),
            "{reason} after {pulls}"
        );
    }
    // Different texts are separate events.
    let pod = || pod("new", waiting("ImagePullBackOff", "manifest unknown"));
    let two = vec![failed_pulls(1), failed_pulls(1)];
    assert_eq!(with(two, pod()).phase, RolloutPhase::Failed);
    let other = event("proxy", ("Failed", "Failed to pull image \"y\""), (9, 99));
    assert_eq!(
        with(vec![failed_pulls(1), other], pod()).phase,
        RolloutPhase::Progressing,
        "another container's pulls do not count"
    );
    let errors = event(CONTAINER, ("Failed", "Error: ImagePullBackOff"), (9, 99));
    assert_eq!(
        with(vec![failed_pulls(1), errors], pod()).phase,
        RolloutPhase::Progressing,
        "the back-off is not another pull"
    );
}

#[test]
fn what_may_pass_is_never_final() {
    for text in ["429 Too Many Requests", "dial tcp: i/o timeout", ""] {
        let pod = pod("new", waiting("ImagePullBackOff", text));
        assert_eq!(
            with(vec![failed_pulls(40)], pod).phase,
            RolloutPhase::Progressing,
            "{text}"
        );
    }
}

fn old(mut pod: Live, start: &str) -> Live {
    pod.0["status"]["startTime"] = start.into();
    pod
}

#[test]
fn the_age_of_the_pod_stands_in_for_events() {
    let missing = waiting("CreateContainerConfigError", "secret \"db\" not found");
    let backing_off = waiting("ImagePullBackOff", "manifest unknown");
    let pulling = waiting("ErrImagePull", "manifest unknown");
    for (state, readable, seconds, phase) in [
        (&missing, false, 59, RolloutPhase::Progressing),
        (&missing, false, 60, RolloutPhase::Failed),
        (&missing, true, 599, RolloutPhase::Progressing),
        (&missing, true, 600, RolloutPhase::Failed),
        (&backing_off, false, 59, RolloutPhase::Progressing),
        (&backing_off, false, 60, RolloutPhase::Failed),
        (&backing_off, true, 599, RolloutPhase::Progressing),
        (&pulling, false, 60, RolloutPhase::Progressing),
    ] {
        let seen = Seen {
            events: if readable {
                Events::readable(Vec::new())
            } else {
                Events::default()
            },
            now: NOON + SignedDuration::from_secs(seconds),
            ..of_pods(vec![old(pod("new", state.clone()), &NOON.to_string())])
        };
        let unready = deployment(json!({ "status": { "availableReplicas": 0 } }));
        let rollout = look_at(unready, seen);
        assert_eq!(rollout.phase, phase, "{state} {readable} {seconds}");
    }
}

#[test]
fn a_secret_may_arrive_late() {
    let text = "secret \"db\" not found";
    let failed = |seconds| {
        event(
            CONTAINER,
            ("Failed", "Error: secret \"db\" not found"),
            (3, seconds),
        )
    };
    for (seconds, phase) in [(29, RolloutPhase::Progressing), (30, RolloutPhase::Failed)] {
        let pod = pod("new", waiting("CreateContainerConfigError", text));
        let rollout = with(vec![failed(seconds)], pod);
        assert_eq!(
            phase_and_codes(&rollout),
            (phase, vec![ReasonCode::ConfigurationMissing])
        );
    }
    let pod = pod(
        "new",
        waiting("CreateContainerConfigError", "secret \"other\" not found"),
    );
    assert_eq!(
        with(vec![failed(99)], pod).phase,
        RolloutPhase::Progressing,
        "the time is that of another Secret"
    );
}

/// The kubelet's race with its cache of Secrets has the same symptoms as a wrong password.
#[test]
fn a_pull_without_its_secret_is_no_wrong_password() {
    let text = "authorization failed: no basic auth credentials";
    let unread = |count, seconds| {
        let message = "Unable to retrieve some image pull secrets (orders-pull); attempting to pull the image may not succeed.";
        event(
            "",
            ("FailedToRetrieveImagePullSecret", message),
            (count, seconds),
        )
    };
    let pod = || {
        let mut pod = pod("new", waiting("ImagePullBackOff", text));
        pod.0["spec"]["imagePullSecrets"] = json!([{ "name": "orders-pull" }]);
        pod
    };
    use RolloutPhase::{Failed, Progressing};
    for (events, phase, code) in [
        (
            vec![unread(1, 0), failed_pulls(1)],
            Progressing,
            ReasonCode::ConfigurationMissing,
        ),
        (
            vec![unread(3, 20), failed_pulls(2)],
            Progressing,
            ReasonCode::ConfigurationMissing,
        ),
        (
            vec![unread(4, 35), failed_pulls(3)],
            Failed,
            ReasonCode::ConfigurationMissing,
        ),
        // The Secret has been read since then, and the pull still fails.
        (
            vec![unread(1, 0), failed_pulls(3)],
            Failed,
            ReasonCode::RegistryCredentialMissing,
        ),
    ] {
        let rollout = with(events.clone(), pod());
        assert_eq!(phase_and_codes(&rollout), (phase, vec![code]), "{events:?}");
    }
    let rollout = with(vec![unread(4, 35), failed_pulls(3)], pod());
    assert_eq!(
        rollout.reasons[0].message,
        "pull secret orders-pull is not on the data plane"
    );
}

#[test]
fn restarts_of_long_ago_are_forgotten() {
    let of = |minutes: i64| {
        let end = (NOON + SignedDuration::from_mins(minutes)).to_string();
        let mut status = waiting("CrashLoopBackOff", "back-off 10s");
        let ended = json!({ "exitCode": 1, "message": "x", "startedAt": NOON.to_string(), "finishedAt": end });
        merge(
            &mut status,
            json!({ "restartCount": 5, "lastState": { "terminated": ended } }),
        );
        judged(pod("new", status)).phase
    };
    assert_eq!(of(9), RolloutPhase::Failed);
    assert_eq!(of(10), RolloutPhase::Progressing);
}

/// Kubernetes keeps the condition of an older template, and that of an older apply.
#[test]
fn a_deadline_is_believed_of_this_template_and_this_apply_only() {
    let of = |named: &str, (said, applied, now): (i64, i64, i64)| {
        let at = |seconds: i64| (NOON + SignedDuration::from_secs(seconds)).to_string();
        let message = format!("ReplicaSet \"{named}\" has timed out progressing.");
        let live = deployment(json!({
            "metadata": { "managedFields": [
                { "manager": "choreo", "operation": "Apply", "time": at(applied) },
                { "manager": "choreo", "operation": "Update", "time": at(applied - 5) },
                { "manager": "kube-controller-manager", "subresource": "status", "time": at(999) },
            ] },
            "status": { "availableReplicas": 1, "updatedReplicas": 1, "conditions": [{
                "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": message, "lastUpdateTime": at(said),
            }] },
        }));
        let seen = Seen {
            now: NOON + SignedDuration::from_secs(now),
            ..of_pods(Vec::new())
        };
        look_at(live, seen).phase
    };
    use RolloutPhase::{Failed, Progressing};
    assert_eq!(of("orders-new", (301, 0, 301)), Failed);
    assert_eq!(
        of("orders-old", (301, 200, 499)),
        Progressing,
        "another template"
    );
    assert_eq!(
        of("orders-old", (301, 200, 500)),
        Failed,
        "Kubernetes does not say it of this one, so it is timed here"
    );
    assert_eq!(
        of("orders-new", (100, 100, 101)),
        Progressing,
        "applied since"
    );
    assert_eq!(
        of("orders-new", (100, 200, 499)),
        Progressing,
        "applied since"
    );
    assert_eq!(
        of("orders-new", (100, 200, 500)),
        Failed,
        "its own time is over"
    );
}

/// A transient state of a kubelet.
fn passing_state() -> impl Strategy<Value = (Value, Vec<Live>)> {
    let pull = (
        prop_oneof![Just("ErrImagePull"), Just("ImagePullBackOff")],
        prop_oneof![
            Just("manifest unknown"),
            Just("401 Unauthorized"),
            Just("pull access denied"),
            Just("x509: certificate signed by unknown authority"),
            Just("no match for platform in manifest"),
            Just("i/o timeout"),
            Just(""),
        ],
    )
        .prop_map(|(reason, text)| (waiting(reason, text), vec![failed_pulls(1)]));
    let config = (0..30_i64).prop_map(|seconds| {
        let said = ("Failed", "Error: secret \"db\" not found");
        let state = waiting("CreateContainerConfigError", "secret \"db\" not found");
        (
            state,
            vec![event(CONTAINER, said, (seconds / 10 + 1, seconds))],
        )
    });
    let mount = (0..30_i64).prop_map(|seconds| {
        let said = ("FailedMount", "secret \"tls\" not found");
        (
            waiting("ContainerCreating", ""),
            vec![event("", said, (5, seconds))],
        )
    });
    let crash = (0..3_i64, 0..256_i64, any::<bool>()).prop_map(|(restarts, code, over)| {
        let ended = json!({ "exitCode": code, "reason": "Error", "message": "no database yet" });
        let mut status = if over {
            json!({ "state": { "terminated": ended } })
        } else {
            let mut status = waiting("CrashLoopBackOff", "back-off");
            merge(&mut status, json!({ "lastState": { "terminated": ended } }));
            status
        };
        merge(&mut status, json!({ "restartCount": restarts }));
        (status, Vec::new())
    });
    let other = prop_oneof![
        Just("RunContainerError"),
        Just("CreateContainerError"),
        Just("PostStartHookError"),
        Just("ContainerCreating"),
        Just("PodInitializing"),
    ]
    .prop_map(|reason| (waiting(reason, "context deadline exceeded"), Vec::new()));
    let runs = any::<bool>().prop_map(|ready| {
        (
            json!({ "state": { "running": {} }, "ready": ready }),
            Vec::new(),
        )
    });
    prop_oneof![pull, config, mount, crash, other, runs]
}

proptest! {
    /// Guards that no sequence of transient states leads to a final verdict.
    #[test]
    fn no_verdict_from_what_a_kubelet_may_leave(
        states in prop::collection::vec(passing_state(), 1..8),
    ) {
        for (state, events) in states {
            let rollout = with(events, pod("new", state.clone()));
            prop_assert_eq!(rollout.phase, RolloutPhase::Progressing, "{}", state);
        }
    }
}
