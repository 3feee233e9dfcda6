//! Tests the judgement with reduced objects of a real cluster.

use std::collections::BTreeSet;

use choreo_deploy::deployment::Generation;
use choreo_deploy::run::RunPhase;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::kind::ObjectId;
use crate::manifest::CONTAINER;
use crate::stamp::{Rank, Stamp};

const DIGEST: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";

fn anchor(state: State, kind: Option<Kind>) -> Anchor {
    let current: BTreeSet<ObjectId> = kind
        .into_iter()
        .map(|kind| ObjectId::new(kind, "orders"))
        .collect();
    Anchor {
        generation: Generation::new(0, 7),
        state,
        inventory: current.clone(),
        current,
        rank: Rank::Pinned,
        deferred: Vec::new(),
        digest: String::new(),
        since: Stamp::new(Generation::new(0, 7)),
        pull_secret: Some(String::new()),
        ready_pull_secret: Some(String::new()),
    }
}

/// Returns a ready Kubernetes Deployment of two copies, after a `change`.
fn deployment(change: Value) -> Live {
    let mut live = json!({
        "metadata": {
            "name": "orders", "uid": "d", "generation": 4,
            "annotations": { "choreo.dev/generation": "0.7", "deployment.kubernetes.io/revision": "2" },
        },
        "spec": { "replicas": 2, "progressDeadlineSeconds": 300 },
        "status": {
            "observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
            "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
        },
    });
    merge(&mut live, change);
    Live(live)
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn replica_set(uid: &str, revision: &str) -> Live {
    Live(json!({ "metadata": {
        "name": format!("orders-{uid}"),
        "uid": uid,
        "annotations": { "deployment.kubernetes.io/revision": revision },
        "ownerReferences": [{ "uid": "d" }],
    } }))
}

/// Returns a pod of a ReplicaSet with a container in this state.
fn pod(set: &str, status: Value) -> Live {
    let mut container = json!({
        "name": CONTAINER, "ready": false, "restartCount": 0,
        "imageID": format!("registry.example.com/orders@{DIGEST}"),
    });
    merge(&mut container, status);
    Live(json!({
        "metadata": {
            "name": format!("orders-{set}"), "uid": "p", "ownerReferences": [{ "uid": set }],
        },
        "spec": { "containers": [{ "name": CONTAINER, "image": "registry.example.com/orders:2" }] },
        "status": { "containerStatuses": [container] },
    }))
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "state": { "waiting": { "reason": reason, "message": message } } })
}

fn of_pods(pods: Vec<Live>) -> Seen {
    Seen {
        pods,
        ..Seen::default()
    }
}

/// Returns an event of the pod with this count, over so many seconds.
fn event(container: &str, (reason, message): (&str, &str), (count, seconds): (i64, i64)) -> Live {
    let at = |seconds| (NOON + SignedDuration::from_secs(seconds)).to_string();
    Live(json!({
        "involvedObject": { "uid": "p", "fieldPath": format!("spec.containers{{{container}}}") },
        "reason": reason, "message": message, "count": count,
        "firstTimestamp": at(0), "lastTimestamp": at(seconds),
    }))
}

/// Returns the event that an image of the container could not be pulled, with this count.
fn failed_pulls(count: i64) -> Live {
    let said = ("Failed", "Failed to pull image \"x\": no");
    event(CONTAINER, said, (count, (count - 1) * 12))
}

const NOON: Timestamp = Timestamp::constant(1_767_355_200, 0);

/// Judges a Deployment that is not ready and whose newest ReplicaSet has this pod.
fn judged(pod_of_newest: Live) -> Rollout {
    let unready = json!({ "status": { "availableReplicas": 1, "updatedReplicas": 1 } });
    look(deployment(unready), vec![pod_of_newest])
}

fn look(deployment: Live, pods: Vec<Live>) -> Rollout {
    look_at(deployment, of_pods(pods))
}

fn look_at(deployment: Live, seen: Seen) -> Rollout {
    let seen = Seen {
        workload: Some(deployment),
        replica_sets: vec![replica_set("old", "1"), replica_set("new", "2")],
        ..seen
    };
    judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen).status
}

fn phase_and_codes(rollout: &Rollout) -> (RolloutPhase, Vec<ReasonCode>) {
    (
        rollout.phase,
        rollout.reasons.iter().map(|reason| reason.code).collect(),
    )
}

#[test]
fn ready_when_all_copies_are_new_and_available() {
    let running = || pod("new", json!({ "state": { "running": {} }, "ready": true }));
    let rollout = look(
        deployment(json!({})),
        vec![running(), running(), pod("old", json!({}))],
    );
    assert_eq!(rollout.phase, RolloutPhase::Ready);
    assert_eq!(rollout.running, Some(DIGEST.parse().unwrap()));
    let other = pod(
        "new",
        json!({ "imageID": format!("r.example/o@sha256:{}", "5".repeat(64)) }),
    );
    assert_eq!(
        look(deployment(json!({})), vec![running(), other]).running,
        None,
        "they disagree"
    );
    let loaded = pod("new", json!({ "imageID": DIGEST }));
    assert_eq!(
        look(deployment(json!({})), vec![loaded]).running,
        None,
        "no registry gave it"
    );
}

#[test]
fn not_ready_before_everything_is_new() {
    for change in [
        json!({ "status": { "observedGeneration": 3 } }),
        json!({ "status": { "updatedReplicas": 1 } }),
        json!({ "status": { "replicas": 3 } }),
        json!({ "status": { "availableReplicas": 1 } }),
    ] {
        let rollout = look(deployment(change.clone()), Vec::new());
        assert_eq!(
            phase_and_codes(&rollout),
            (RolloutPhase::Progressing, vec![ReasonCode::Waiting]),
            "{change}"
        );
    }
}

#[test]
fn what_is_not_there_as_applied_is_missing() {
    for change in [
        json!({ "metadata": { "annotations": { "choreo.dev/generation": "0.6" } } }),
        json!({ "metadata": { "annotations": { "choreo.dev/pending": "true" } } }),
        json!({ "metadata": { "deletionTimestamp": "2026-01-02T03:04:05Z" } }),
    ] {
        let rollout = look(deployment(change.clone()), Vec::new());
        assert_eq!(
            phase_and_codes(&rollout),
            (RolloutPhase::Missing, vec![ReasonCode::Waiting]),
            "{change}"
        );
    }
}

#[test]
fn anchor_states() {
    for (state, phase) in [
        (State::Applying, RolloutPhase::Progressing),
        (State::Applied, RolloutPhase::Ready),
        (State::Removing, RolloutPhase::Progressing),
        (State::Removed, RolloutPhase::Absent),
        (State::Stopped, RolloutPhase::Absent),
    ] {
        assert_eq!(
            judge(&anchor(state, None), &Seen::default()).status.phase,
            phase,
            "{state:?}"
        );
    }
    // An operator deleted it.
    let rollout = judge(
        &anchor(State::Applied, Some(Kind::Deployment)),
        &Seen::default(),
    )
    .status;
    assert_eq!(rollout.phase, RolloutPhase::Missing);
}

#[test]
fn suspended_is_ready_and_says_so() {
    let none = json!({ "spec": { "replicas": 0 }, "status": {
        "replicas": 0, "updatedReplicas": 0, "availableReplicas": 0,
    } });
    let rollout = look(deployment(none), Vec::new());
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Ready, vec![ReasonCode::Suspended])
    );
}

#[test]
fn one_look_at_waiting_containers() {
    use ReasonCode as Code;
    use RolloutPhase::{Failed, Progressing};
    let not_found = "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example.com/orders:2\": failed to resolve reference: registry.example.com/orders:2: not found";
    let back_off = format!(
        "Back-off pulling image \"registry.example.com/orders:2\": ErrImagePull: {not_found}"
    );
    let root =
        "container has runAsNonRoot and image will run as root (pod: \"x\", container: main)";
    let name = "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root";
    for (reason, message, phase, code) in [
        ("ErrImagePull", not_found, Progressing, Code::ImageNotFound),
        (
            "ImagePullBackOff",
            &back_off,
            Progressing,
            Code::ImageNotFound,
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"x\"",
            Progressing,
            Code::ImagePullFailed,
        ),
        (
            "ImagePullBackOff",
            "429 Too Many Requests",
            Progressing,
            Code::RegistryRateLimited,
        ),
        (
            "RegistryUnavailable",
            "the registry is unavailable",
            Progressing,
            Code::RegistryUnreachable,
        ),
        (
            "InvalidImageName",
            "couldn't parse image name",
            Failed,
            Code::ImageNotFound,
        ),
        ("CreateContainerConfigError", root, Failed, Code::RunAsRoot),
        ("CreateContainerConfigError", name, Failed, Code::RunAsRoot),
        (
            "CreateContainerConfigError",
            "secret \"db\" not found",
            Progressing,
            Code::ConfigurationMissing,
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key k in Secret n/db",
            Progressing,
            Code::ConfigurationMissing,
        ),
        (
            "RunContainerError",
            "exec /app: exec format error",
            Progressing,
            Code::ExecFormat,
        ),
        (
            "CreateContainerError",
            "no space left",
            Progressing,
            Code::ContainerStartFailed,
        ),
        ("ContainerCreating", "", Progressing, Code::Waiting),
    ] {
        let rollout = judged(pod("new", waiting(reason, message)));
        assert_eq!(
            phase_and_codes(&rollout),
            (phase, vec![code]),
            "{reason}: {message}"
        );
    }
}

#[test]
fn what_an_old_pod_suffers_is_no_news() {
    let rollout = judged(pod("old", waiting("ImagePullBackOff", "manifest unknown")));
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Progressing, vec![ReasonCode::Waiting])
    );
    assert_eq!(rollout.reasons[0].message, "0 of 2 new copies are ready");
}

#[test]
fn crashes() {
    let crash = |restarts: i64, ended: Value| {
        let mut status = waiting(
            "CrashLoopBackOff",
            "back-off 20s restarting failed container",
        );
        merge(
            &mut status,
            json!({ "restartCount": restarts, "lastState": { "terminated": ended } }),
        );
        judged(pod("new", status))
    };
    let error = |message: &str| json!({ "reason": "Error", "exitCode": 7, "message": message });
    assert_eq!(
        crash(2, error("x")).phase,
        RolloutPhase::Progressing,
        "it may wait for something"
    );
    let rollout = crash(3, error("password=hunter2\ncannot open the ledger\n"));
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Failed, vec![ReasonCode::ContainerCrashed])
    );
    assert_eq!(
        rollout.reasons[0].message,
        "the container ended with exit code 7"
    );
    assert_eq!(
        rollout.reasons[0].evidence.as_ref().unwrap().as_str(),
        "password=<redacted>\ncannot open the ledger"
    );
    let rollout = crash(3, json!({ "reason": "OOMKilled", "exitCode": 137 }));
    assert_eq!(rollout.reasons[0].code, ReasonCode::OutOfMemory);
    let start = json!({ "startedAt": "1970-01-01T00:00:00Z", "finishedAt": NOON.to_string(), "reason": "StartError", "exitCode": 128, "message": "exec: \"/x\": stat /x: no such file or directory" });
    assert_eq!(crash(0, start.clone()).phase, RolloutPhase::Progressing);
    let rollout = crash(1, start);
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Failed, vec![ReasonCode::ContainerStartFailed])
    );
}

#[test]
fn log_is_asked_for_where_the_status_has_none() {
    let mut status = waiting("CrashLoopBackOff", "back-off");
    merge(
        &mut status,
        json!({ "restartCount": 2, "lastState": { "terminated": { "exitCode": 7 } } }),
    );
    let seen = Seen {
        workload: Some(deployment(json!({ "status": { "availableReplicas": 0 } }))),
        replica_sets: vec![replica_set("new", "2")],
        pods: vec![pod("new", status)],
        ..Seen::default()
    };
    let mut verdict = judge(&anchor(State::Applied, Some(Kind::Deployment)), &seen);
    let crash = verdict.crash.expect("a log would help");
    assert_eq!(
        (crash.pod.as_str(), crash.is_previous),
        ("orders-new", true)
    );
    pod::explain(
        &mut verdict.status.reasons,
        &crash,
        "exec /app: exec format error\n",
    );
    assert_eq!(verdict.status.reasons[0].code, ReasonCode::ExecFormat);
}

#[test]
fn running_but_not_ready() {
    let rollout = judged(pod("new", json!({ "state": { "running": {} } })));
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Progressing, vec![ReasonCode::ProbeFailing])
    );
}

#[test]
fn no_room() {
    let mut pod = pod("new", json!({}));
    pod.0["status"] = json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory.",
    }] });
    let rollout = judged(pod);
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Progressing, vec![ReasonCode::Unschedulable])
    );
}

#[test]
fn what_the_deployment_complains_about() {
    let of = |conditions: Value| {
        let change = json!({ "status": { "availableReplicas": 0, "conditions": conditions } });
        phase_and_codes(&look(deployment(change), Vec::new()))
    };
    let deadline =
        json!([{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }]);
    assert_eq!(
        of(deadline),
        (
            RolloutPhase::Failed,
            vec![ReasonCode::ProgressDeadlineExceeded]
        )
    );
}

#[test]
fn no_condition_of_an_older_template_is_believed() {
    let of = |named: &str| {
        let message = format!("ReplicaSet \"{named}\" has timed out progressing.");
        let change = json!({ "status": { "availableReplicas": 1, "updatedReplicas": 1, "conditions": [{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": message,
        }] } });
        look(deployment(change), Vec::new()).phase
    };
    assert_eq!(of("orders-new"), RolloutPhase::Failed);
    assert_eq!(of("orders-old"), RolloutPhase::Progressing);
}

/// Kubernetes may consider a restored template complete, and then does not apply its deadline.
#[test]
fn what_kubernetes_does_not_time_is_timed_here() {
    let at = |seconds| (NOON + SignedDuration::from_secs(seconds)).to_string();
    let of = |reason: &str, paused: bool, now: i64| {
        let deployment = deployment(json!({
            "metadata": { "managedFields": [
                { "manager": "choreo", "time": at(0) },
                { "manager": "kube-controller-manager", "time": at(500) },
            ] },
            "spec": { "paused": paused },
            "status": { "replicas": 3, "updatedReplicas": 1, "conditions": [{
                "type": "Progressing", "status": "True", "reason": reason,
                "message": "ReplicaSet \"orders-old\" has successfully progressed.",
            }] },
        }));
        let mut pod = pod("new", json!({ "state": { "running": {} } }));
        merge(
            &mut pod.0,
            json!({
                "metadata": { "creationTimestamp": at(100) },
                "status": { "conditions": [
                    { "type": "Ready", "status": "False", "lastTransitionTime": at(200) },
                ] },
            }),
        );
        let seen = Seen {
            now: NOON + SignedDuration::from_secs(now),
            ..of_pods(vec![pod])
        };
        let rollout = look_at(deployment, seen);
        phase_and_codes(&rollout)
            .1
            .contains(&ReasonCode::ProgressDeadlineExceeded)
    };
    for reason in ["NewReplicaSetAvailable", "ProgressDeadlineExceeded"] {
        assert!(!of(reason, false, 399), "its last progress was at 100 s");
        assert!(of(reason, false, 400), "{reason}");
        assert!(!of(reason, true, 400), "nobody can tell while it is paused");
    }
    assert!(!of("ReplicaSetUpdated", false, 4000), "Kubernetes times it");
}

/// The Deployment and its pods may be days old when a generation without changes takes them over.
#[test]
fn what_happened_before_a_generation_that_changed_nothing_is_not_its_own() {
    const DAY: i64 = 24 * 60 * 60;
    let at = |seconds| (NOON + SignedDuration::from_secs(seconds)).to_string();
    let of = |before: u64, container: &Value, (came, now): (i64, i64)| {
        let written = Stamp::new(Generation::new(0, before));
        let deployment = deployment(json!({
            "metadata": {
                "annotations": { "choreo.dev/generation": written.to_string() },
                "managedFields": [{ "manager": "choreo", "time": at(-DAY) }],
            },
            "status": { "availableReplicas": 1 },
        }));
        let mut pod = pod("new", container.clone());
        pod.0["metadata"]["creationTimestamp"] = at(came).into();
        let seen = Seen {
            workload: Some(deployment),
            replica_sets: vec![replica_set("new", "2")],
            claimed: Some(NOON),
            now: NOON + SignedDuration::from_secs(now),
            ..of_pods(vec![pod])
        };
        let anchor = Anchor {
            since: written,
            ..anchor(State::Applied, Some(Kind::Deployment))
        };
        judge(&anchor, &seen).status.phase
    };
    use RolloutPhase::{Failed, Progressing};
    let unready = json!({ "state": { "running": {} } });
    assert_eq!(of(6, &unready, (-DAY, 1)), Progressing);
    assert_eq!(of(6, &unready, (-DAY, 299)), Progressing);
    assert_eq!(of(6, &unready, (-DAY, 300)), Failed);
    assert_eq!(
        of(7, &unready, (-DAY, 1)),
        Failed,
        "it wrote the Deployment"
    );

    let mut crashed = waiting("CrashLoopBackOff", "back-off");
    let ended = json!({ "terminated": { "exitCode": 7, "message": "x" } });
    merge(
        &mut crashed,
        json!({ "restartCount": 5, "lastState": ended }),
    );
    assert_eq!(of(6, &crashed, (-DAY, 60)), Progressing);
    // Timestamps have whole seconds, so its restarts may be older.
    assert_eq!(of(6, &crashed, (0, 60)), Progressing);
    assert_eq!(of(6, &crashed, (1, 60)), Failed, "the pod came afterwards");
    assert_eq!(of(7, &crashed, (-10, 60)), Failed);
}

fn job(change: Value) -> Live {
    let mut job = json!({
        "metadata": { "name": "run", "creationTimestamp": "2026-01-02T03:04:05Z" },
        "spec": { "activeDeadlineSeconds": 60 },
    });
    merge(&mut job, change);
    Live(job)
}

fn condition(kind: &str, reason: &str) -> Value {
    json!({ "status": { "conditions": [{ "type": kind, "status": "True", "reason": reason }] } })
}

#[test]
fn runs() {
    let run = |change: Value, state: Value| {
        judge_run(&job(change), &of_pods(vec![pod("run", state)])).status
    };
    let ended =
        |code: i64| json!({ "state": { "terminated": { "exitCode": code, "reason": "Error" } } });
    for (change, state, phase, exit_code) in [
        (
            json!({}),
            waiting("ContainerCreating", ""),
            RunPhase::Pending,
            None,
        ),
        (
            json!({}),
            json!({ "state": { "running": {} } }),
            RunPhase::Running,
            None,
        ),
        (
            condition("SuccessCriteriaMet", ""),
            json!({ "state": { "running": {} } }),
            RunPhase::Running,
            None,
        ),
        (
            condition("Complete", ""),
            ended(0),
            RunPhase::Succeeded,
            Some(0),
        ),
        (
            condition("Failed", "BackoffLimitExceeded"),
            ended(3),
            RunPhase::Failed,
            Some(3),
        ),
        (
            condition("Failed", "DeadlineExceeded"),
            json!({ "state": { "running": {} } }),
            RunPhase::Failed,
            None,
        ),
    ] {
        let status = run(change.clone(), state);
        assert_eq!(
            (status.phase, status.exit_code),
            (Some(phase), exit_code),
            "{change}"
        );
    }
    let mut cancelled = condition("Failed", "DeadlineExceeded");
    merge(
        &mut cancelled,
        json!({ "metadata": { "annotations": { "choreo.dev/cancelled": "true" } } }),
    );
    assert_eq!(run(cancelled, ended(1)).phase, Some(RunPhase::Cancelled));
}

#[test]
fn run_that_cannot_pull_waits_with_its_reason() {
    let mut seen = of_pods(vec![pod(
        "run",
        waiting("ImagePullBackOff", "manifest unknown"),
    )]);
    for (pulls, is_stuck) in [(1, false), (2, true)] {
        seen.events = Events::readable(vec![failed_pulls(pulls)]);
        let status = judge_run(&job(json!({})), &seen).status;
        assert_eq!(status.phase, Some(RunPhase::Pending));
        assert_eq!(status.is_stuck, is_stuck);
        assert_eq!(status.reasons[0].code, ReasonCode::ImageNotFound);
    }
}

mod boundaries;
mod patience;
mod reasons;
mod schedules;
