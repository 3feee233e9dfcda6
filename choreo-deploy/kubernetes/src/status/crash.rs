//! Containers that have ended.

use choreo_deploy::reason::{Reason, ReasonCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::pod::{Container, Finding, View, with_evidence};
use super::{Crash, start};
use crate::cluster::Live;
use crate::timestamp::time;

/// The number of restarts after which a program that exits is judged to crash, and no longer to wait
/// for something else. The kubelet has waited for 10 and for 20 s between them
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>).
const RESTARTS: i64 = 3;
/// The number of restarts after which an execution error of a program is permanent.
const RESTARTS_UNSTARTED: i64 = 1;
/// The length of a run after which the kubelet resets its back-off, although it shows all restarts.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// The run of the container that ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// The run in the state.
    Now,
    /// The run before the restart that is due.
    Before,
}

/// A container that has ended and will restart.
pub(super) fn finding(
    view: &View<'_>,
    container: Container<'_>,
    (ended, ending): (&Value, Ending),
) -> Finding {
    let mut finding = of_end(view.pod, container, (ended, ending));
    let enough = if may_never_start(&finding.reason, ended) {
        RESTARTS_UNSTARTED
    } else {
        RESTARTS
    };
    finding.is_terminal =
        view.counts_restarts && container.restarts() >= enough && !ran_for_long(ended);
    finding
}

/// Returns the reason of an end. The caller decides on the consequences.
pub(super) fn of_end(
    pod: &Live,
    container: Container<'_>,
    (ended, ending): (&Value, Ending),
) -> Finding {
    let text = ended["message"].as_str().unwrap_or_default();
    let called = container.called();
    if is_start_error(ended) {
        let reason = with_evidence(start::failure(&called, text), ended);
        return Finding::passing(reason);
    }
    if let Some(reason) = start::of_log(&called, text) {
        return Finding::passing(with_evidence(reason, ended));
    }
    let reason = reason(&called, ended);
    // Pods of this crate have the end of their log in the status; pods that a patch changed may
    // not.
    let crash = text.is_empty().then(|| Crash {
        pod: pod.name().to_owned(),
        container: container.name().to_owned(),
        called,
        is_previous: ending == Ending::Before,
        code: reason.code,
    });
    Finding {
        reason: with_evidence(reason, ended),
        is_terminal: false,
        crash,
    }
}

fn reason(called: &str, ended: &Value) -> Reason {
    if ended["reason"] == "OOMKilled" {
        let message = format!("{called} used more memory than it may and was killed");
        return Reason::new(ReasonCode::OutOfMemory, message)
            .with_help("raise the memory limit, or make the program use less");
    }
    let message = match ended["exitCode"].as_i64() {
        Some(0) => format!("{called} ended by itself, and a server must not"),
        Some(code) => format!("{called} ended with exit code {code}"),
        None => format!("{called} ended"),
    };
    Reason::new(ReasonCode::ContainerCrashed, message).with_help("see its last log lines")
}

fn is_start_error(ended: &Value) -> bool {
    matches!(
        ended["reason"].as_str(),
        Some("StartError" | "ContainerCannotRun")
    )
}

/// Returns `true` if the cause is in the image or the pod, which do not change.
fn may_never_start(reason: &Reason, ended: &Value) -> bool {
    let text = ended["message"].as_str().unwrap_or_default();
    reason.code == ReasonCode::ExecFormat
        || (reason.code == ReasonCode::ContainerStartFailed && start::is_known(text))
}

fn ran_for_long(ended: &Value) -> bool {
    let at = |key: &str| ended[key].as_str().and_then(time);
    // The time of a container that never started is the beginning of the epoch.
    at("startedAt")
        .filter(|start| *start > Timestamp::UNIX_EPOCH)
        .zip(at("finishedAt"))
        .is_some_and(|(start, end)| end.duration_since(start) >= FORGOTTEN)
}
