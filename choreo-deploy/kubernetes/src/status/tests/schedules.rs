//! Guards schedules, and the Jobs that they create.

use super::*;

fn cron_job(generation: &str) -> Live {
    Live(json!({
        "metadata": { "annotations": { "choreo.dev/generation": "0.7" } },
        "spec": {
            "suspend": false,
            "jobTemplate": { "metadata": { "annotations": { "choreo.dev/generation": generation } } },
        },
    }))
}

/// Returns a Job of a generation that was created at this hour.
fn job_of(generation: &str, hour: u8, conditions: Value) -> Live {
    let mut made = conditions;
    merge(
        &mut made,
        json!({ "metadata": {
            "name": format!("orders-{hour}"),
            "creationTimestamp": format!("2026-01-02T{hour:02}:00:00Z"),
            "annotations": { "choreo.dev/generation": generation },
        } }),
    );
    job(made)
}

fn pod_of(hour: u8, status: Value) -> Live {
    let mut pod = pod("job", status);
    pod.0["metadata"]["labels"]["batch.kubernetes.io/job-name"] = format!("orders-{hour}").into();
    pod
}

fn judged(jobs: Vec<Live>, pods: Vec<Live>, refusal: Option<&str>) -> Rollout {
    let seen = Seen {
        workload: Some(cron_job("0.7")),
        jobs,
        pods,
        events: Events::readable(vec![failed_pulls(2)]),
        refusal: refusal.map(str::to_owned),
        ..Seen::default()
    };
    judge(&anchor(State::Applied, Some(Kind::CronJob)), &seen).status
}

fn failed() -> Value {
    condition("Failed", "BackoffLimitExceeded")
}

#[test]
fn the_last_failure_is_named() {
    let ended =
        json!({ "state": { "terminated": { "exitCode": 3, "reason": "Error", "message": "no" } } });
    let jobs = vec![job_of("0.7", 9, failed()), job_of("0.7", 8, json!({}))];
    let rollout = judged(jobs, vec![pod_of(9, ended)], None);
    assert_eq!(
        phase_and_codes(&rollout),
        (
            RolloutPhase::Ready,
            vec![ReasonCode::RunFailed, ReasonCode::ContainerCrashed]
        )
    );
    let jobs = vec![
        job_of("0.7", 9, condition("Complete", "")),
        job_of("0.7", 8, failed()),
    ];
    let rollout = judged(jobs, Vec::new(), None);
    assert_eq!(phase_and_codes(&rollout), (RolloutPhase::Ready, vec![]));
}

/// Guards that release 4 does not show a Job of release 3.
#[test]
fn a_failure_of_the_release_before_is_not_of_this_one() {
    for older in ["0.6", ""] {
        let pull = pod_of(9, waiting("ImagePullBackOff", "manifest unknown"));
        let rollout = judged(vec![job_of(older, 9, failed())], vec![pull], None);
        assert_eq!(phase_and_codes(&rollout), (RolloutPhase::Ready, vec![]));
    }
}

#[test]
fn a_first_run_that_cannot_start_is_a_failed_rollout() {
    let root = "container has runAsNonRoot and image will run as root";
    let root = || pod_of(9, waiting("CreateContainerConfigError", root));
    let job = || job_of("0.7", 9, json!({}));
    let rollout = judged(vec![job()], vec![root()], None);
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Failed, vec![ReasonCode::RunAsRoot])
    );
    let missing = pod_of(
        9,
        waiting("CreateContainerConfigError", "secret \"x\" not found"),
    );
    assert_eq!(
        judged(vec![job()], vec![missing], None).phase,
        RolloutPhase::Progressing,
        "it may arrive"
    );
    let earlier = job_of("0.7", 8, condition("Complete", ""));
    let rollout = judged(vec![job(), earlier], vec![root()], None);
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Ready, vec![ReasonCode::RunAsRoot]),
        "an earlier run has started"
    );
}

#[test]
fn a_run_that_would_not_be_admitted_is_no_ready_schedule() {
    let security = "pods \"orders-x\" is forbidden: violates PodSecurity \"restricted:latest\"";
    let quota = "pods \"orders-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
    for (refusal, phase) in [
        (security, RolloutPhase::Failed),
        (quota, RolloutPhase::Progressing),
    ] {
        assert_eq!(
            phase_and_codes(&judged(Vec::new(), Vec::new(), Some(refusal))),
            (phase, vec![ReasonCode::AdmissionRefused])
        );
    }
    assert_eq!(
        judged(Vec::new(), Vec::new(), None).phase,
        RolloutPhase::Ready
    );
}

#[test]
fn a_suspended_schedule_is_ready_and_says_so() {
    let mut suspended = cron_job("0.7");
    suspended.0["spec"]["suspend"] = true.into();
    let seen = Seen {
        workload: Some(suspended),
        ..Seen::default()
    };
    let rollout = judge(&anchor(State::Applied, Some(Kind::CronJob)), &seen).status;
    assert_eq!(
        phase_and_codes(&rollout),
        (RolloutPhase::Ready, vec![ReasonCode::Suspended])
    );
}

#[test]
fn a_run_that_succeeded_at_last_is_no_failure() {
    let first =
        json!({ "state": { "terminated": { "exitCode": 3, "reason": "Error", "message": "no" } } });
    let job = job_of("0.7", 9, condition("Complete", ""));
    let rollout = judged(vec![job], vec![pod_of(9, first)], None);
    assert_eq!(phase_and_codes(&rollout), (RolloutPhase::Ready, vec![]));
}

#[test]
fn a_program_that_could_not_be_executed_has_not_run() {
    let start = json!({ "restartCount": 1, "state": { "terminated": {
        "exitCode": 128, "reason": "StartError", "message": "exec: \"/x\": stat /x: no such file or directory",
    } } });
    let rollout = judged(
        vec![job_of("0.7", 9, json!({}))],
        vec![pod_of(9, start)],
        None,
    );
    assert_eq!(rollout.phase, RolloutPhase::Failed);
    // The previous one is still running.
    let jobs = vec![job_of("0.7", 9, json!({})), job_of("0.7", 8, json!({}))];
    let root = "container has runAsNonRoot and image will run as root";
    let pods = vec![
        pod_of(9, waiting("CreateContainerConfigError", root)),
        pod_of(8, json!({ "state": { "running": {} }, "ready": true })),
    ];
    assert_eq!(judged(jobs, pods, None).phase, RolloutPhase::Ready);
}

/// The Jobs of a generation without changes name the generation that wrote the schedule.
#[test]
fn jobs_from_before_a_generation_that_changed_nothing_are_no_news_of_it() {
    let jobs = vec![job_of("0.6", 9, failed())];
    let codes = |hour: u8| {
        let seen = Seen {
            workload: Some(cron_job("0.6")),
            jobs: jobs.clone(),
            claimed: Some(format!("2026-01-02T{hour:02}:00:00Z").parse().unwrap()),
            ..Seen::default()
        };
        let kept = Anchor {
            since: Stamp::new(Generation::new(0, 6)),
            ..anchor(State::Applied, Some(Kind::CronJob))
        };
        phase_and_codes(&judge(&kept, &seen).status)
    };
    assert_eq!(codes(9), (RolloutPhase::Ready, vec![ReasonCode::RunFailed]));
    assert_eq!(codes(10), (RolloutPhase::Ready, vec![]));
}
