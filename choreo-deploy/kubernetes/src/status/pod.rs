//! What one pod says of the program in it.

use choreo_deploy::reason::{Evidence, Reason, ReasonCode};
use choreo_registry::Digest;
use serde_json::Value;

use super::Crash;
use crate::cluster::{Live, evidence};
use crate::manifest::CONTAINER;
use crate::pull_failure;

/// Restarts after which a container that ends is said to crash rather than to start slowly.
const RESTARTS: i64 = 2;

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) reason: Reason,
    /// Whether it stays so without a change.
    pub(crate) is_terminal: bool,
    /// Whose log shows more.
    pub(crate) crash: Option<Crash>,
}

impl Finding {
    pub(super) fn terminal(reason: Reason) -> Self {
        Self {
            reason,
            is_terminal: true,
            crash: None,
        }
    }

    pub(super) fn passing(reason: Reason) -> Self {
        Self {
            reason,
            is_terminal: false,
            crash: None,
        }
    }
}

/// What is wrong with a pod, if anything is.
pub(crate) fn diagnose(pod: &Live) -> Option<Finding> {
    if let Some(condition) = pod
        .condition("PodScheduled")
        .filter(|c| c["status"] == "False")
    {
        return Some(Finding::passing(unschedulable(condition)));
    }
    let status = container(pod)?;
    let waiting = &status["state"]["waiting"];
    if let Some(reason) = waiting["reason"].as_str() {
        return waits(pod, status, reason);
    }
    if let Some(ended) = status["state"].get("terminated") {
        let again = status["restartCount"].as_i64().unwrap_or(0) >= RESTARTS;
        return failed(ended).then(|| crashed(pod, ended, (again, false)));
    }
    let unready = status["state"].get("running").is_some() && status["ready"] == false;
    unready.then(|| {
        let reason = Reason::new(
            ReasonCode::ProbeFailing,
            "the container runs but does not answer its readiness probe yet",
        );
        Finding::passing(reason.with_help("check the port and the path of the probe, and the logs"))
    })
}

/// The main container's part of the status.
pub(crate) fn container(pod: &Live) -> Option<&Value> {
    let statuses = pod.items("/status/containerStatuses");
    statuses.iter().find(|status| status["name"] == CONTAINER)
}

/// The digest by which the image was pulled, as the container runtime reports it.
pub(crate) fn digest(pod: &Live) -> Option<Digest> {
    let (_, digest) = container(pod)?["imageID"].as_str()?.rsplit_once('@')?;
    digest.parse().ok()
}

fn unschedulable(condition: &Value) -> Reason {
    let reason = Reason::new(ReasonCode::Unschedulable, "no node has room for the pod")
        .with_help("ask for less CPU or memory, or ask the operator for more nodes");
    with_evidence(reason, condition)
}

fn waits(pod: &Live, status: &Value, why: &str) -> Option<Finding> {
    let waiting = &status["state"]["waiting"];
    let text = waiting["message"].as_str().unwrap_or_default();
    match why {
        "ContainerCreating" | "PodInitializing" => None,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "SignatureValidationFailed"
        | "ErrImageNeverPull" => {
            let failure = pull_failure::classify(image(pod), text);
            // One failure may be chance; the back-off begins with the second look.
            let is_terminal = !failure.is_transient && why != "ErrImagePull";
            Some(Finding {
                reason: failure.reason,
                is_terminal,
                crash: None,
            })
        }
        "InvalidImageName" => {
            let message = format!(
                "image {} is not a name that the data plane can pull",
                image(pod)
            );
            let reason = Reason::new(ReasonCode::ImageNotFound, message);
            Some(Finding::terminal(with_evidence(reason, waiting)))
        }
        "CreateContainerConfigError" => Some(config_error(text, waiting)),
        "CrashLoopBackOff" => {
            let ended = &status["lastState"]["terminated"];
            let again = status["restartCount"].as_i64().unwrap_or(0) >= RESTARTS;
            Some(crashed(pod, ended, (again, true)))
        }
        _ => Some(start_error(text, waiting)),
    }
}

fn config_error(text: &str, waiting: &Value) -> Finding {
    let root = text.contains("runAsNonRoot") || text.contains("run as root");
    let reason = if root && text.contains("non-numeric user") {
        Reason::new(
            ReasonCode::RunAsRoot,
            "the image's user is a name, and the data plane cannot tell that it is not root",
        )
        .with_help("give the image a numeric USER, such as 10001, or set the user in the workload")
    } else if root {
        Reason::new(ReasonCode::RunAsRoot, "the image runs as root, which the data plane forbids")
            .with_help("give the image a numeric USER other than 0, such as 10001, or set the user in the workload")
    } else if text.contains("not found") || text.contains("couldn't find key") {
        Reason::new(
            ReasonCode::ConfigurationMissing,
            "a Secret, ConfigMap or key that the workload names is not on the data plane",
        )
        .with_help("create it, or correct the name in the workload or its settings")
    } else {
        Reason::new(
            ReasonCode::ContainerStartFailed,
            "the container cannot be configured",
        )
    };
    Finding::terminal(with_evidence(reason, waiting))
}

/// The container runtime could not start the program.
fn start_error(text: &str, of: &Value) -> Finding {
    let reason = if text.contains("exec format error") {
        exec_format()
    } else if text.contains("executable file not found")
        || text.contains("no such file or directory")
    {
        Reason::new(
            ReasonCode::ContainerStartFailed,
            "the image does not have the program to start",
        )
        .with_help("check the command of the workload and the entrypoint of the image")
    } else if text.contains("permission denied") {
        Reason::new(
            ReasonCode::ContainerStartFailed,
            "the program in the image must not be executed",
        )
        .with_help("make it executable for the image's user")
    } else {
        Reason::new(
            ReasonCode::ContainerStartFailed,
            "the container cannot be started",
        )
    };
    Finding::passing(with_evidence(reason, of))
}

fn exec_format() -> Reason {
    Reason::new(
        ReasonCode::ExecFormat,
        "the program in the image is for another processor",
    )
    .with_help("build the image for the platform of the data plane, such as linux/amd64")
}

fn failed(ended: &Value) -> bool {
    ended["exitCode"].as_i64() != Some(0)
}

/// A container that ended: `again` and again, with its log in the `previous` container or this one.
pub(super) fn crashed(pod: &Live, ended: &Value, (again, previous): (bool, bool)) -> Finding {
    let text = ended["message"].as_str().unwrap_or_default();
    let why = ended["reason"].as_str().unwrap_or_default();
    if matches!(why, "StartError" | "ContainerCannotRun") {
        return Finding {
            is_terminal: again || previous,
            ..start_error(text, ended)
        };
    }
    let code = ended["exitCode"].as_i64();
    let reason = if why == "OOMKilled" {
        Reason::new(
            ReasonCode::OutOfMemory,
            "the container used more memory than it may and was killed",
        )
        .with_help("raise the memory limit, or make the program use less")
    } else {
        let message = match code {
            Some(0) => "the container ended by itself, and a server must not".to_owned(),
            Some(code) => format!("the container ended with exit code {code}"),
            None => "the container ended".to_owned(),
        };
        Reason::new(ReasonCode::ContainerCrashed, message).with_help("see its last log lines")
    };
    // Pods of this crate have the end of their log in the status; those that a patch changed may not.
    let crash = text.is_empty().then(|| Crash {
        pod: pod.name().to_owned(),
        is_previous: previous,
        code: reason.code,
    });
    Finding {
        reason: with_evidence(reason, ended),
        is_terminal: again,
        crash,
    }
}

fn with_evidence(reason: Reason, of: &Value) -> Reason {
    match evidence(of) {
        Some(evidence) => reason.with_evidence(evidence),
        None => reason,
    }
}

/// Adds the last lines of a log to the reason that they explain.
pub(crate) fn explain(reasons: &mut [Reason], crash: &Crash, log: &str) {
    let reason = reasons.iter_mut().find(|reason| reason.code == crash.code);
    if let Some(reason) = reason.filter(|_| !log.trim().is_empty()) {
        if log.contains("exec format error") {
            *reason = exec_format();
        }
        reason.evidence = Some(Evidence::from_untrusted(log));
    }
}

fn image(pod: &Live) -> &str {
    let containers = pod.items("/spec/containers").iter();
    let main = containers
        .into_iter()
        .find(|container| container["name"] == CONTAINER);
    main.and_then(|container| container["image"].as_str())
        .unwrap_or("of the release")
}
