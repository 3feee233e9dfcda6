//! Containers that cannot be created or started.

use choreo_deploy::reason::{Reason, ReasonCode};

use super::pod::{Container, Finding, View, with_evidence};

/// Returns the finding for a container that the kubelet could not create: its user, or the source
/// of its variables.
pub(super) fn configuration(view: &View<'_>, container: Container<'_>) -> Finding {
    let waiting = &container.status["state"]["waiting"];
    let text = waiting["message"].as_str().unwrap_or_default();
    let root = text.contains("runAsNonRoot") || text.contains("run as root");
    if root {
        // The image and the pod do not change.
        return Finding::new(with_evidence(run_as_root(text), waiting), true);
    }
    let reason = if text.contains("not found") || text.contains("couldn't find key") {
        configuration_missing()
    } else {
        let message = format!("{} cannot be configured", container.called());
        Reason::new(ReasonCode::ContainerStartFailed, message)
    };
    // A Secret may arrive a little later than the pod that names it.
    let of_this = view.events.of_container(container.name());
    let of_this =
        of_this.filter(|event| event.reason() == "Failed" && event.message().contains(text));
    let is_terminal = view.events.have_lasted(of_this);
    Finding::new(with_evidence(reason, waiting), is_terminal)
}

fn run_as_root(text: &str) -> Reason {
    let (message, help) = if text.contains("non-numeric user") {
        (
            "the image's user is a name, and the data plane cannot tell that it is not root",
            "give the image a numeric USER, such as 10001, or set the user in the workload",
        )
    } else {
        (
            "the image runs as root, which the data plane forbids",
            "give the image a numeric USER other than 0, such as 10001, or set the user in the workload",
        )
    };
    Reason::new(ReasonCode::RunAsRoot, message).with_help(help)
}

pub(super) fn configuration_missing() -> Reason {
    Reason::new(
        ReasonCode::ConfigurationMissing,
        "a Secret, ConfigMap or key that the workload names is not on the data plane",
    )
    .with_help("create it, or correct the name in the workload or its settings")
}

/// The kernel's errors for a program that it cannot execute, with a message and a help.
const ERRORS: &[(&str, ReasonCode, &str, &str)] = &[
    (
        "exec format error",
        ReasonCode::ExecFormat,
        "the program of {} is for another processor, or is no program",
        "build the image for the platform of the data plane, such as linux/amd64; a script needs a first line such as #!/bin/sh",
    ),
    (
        "argument list too long",
        ReasonCode::ContainerStartFailed,
        "the environment variables and arguments of {} are larger than the kernel takes",
        "keep each below 128 KiB, and put large values into files",
    ),
    (
        "executable file not found",
        ReasonCode::ContainerStartFailed,
        "the image does not have the program that {} starts",
        "check the command of the workload and the entrypoint of the image",
    ),
    (
        "no such file or directory",
        ReasonCode::ContainerStartFailed,
        "the image does not have the program that {} starts",
        "check the command of the workload and the entrypoint of the image",
    ),
    (
        "permission denied",
        ReasonCode::ContainerStartFailed,
        "the program of {} must not be executed",
        "make it executable for the image's user",
    ),
];

/// Returns the finding for a program that the container runtime could not start.
pub(super) fn failure(called: &str, text: &str) -> Reason {
    known(called, text).unwrap_or_else(|| {
        let message = format!("{called} cannot be started");
        Reason::new(ReasonCode::ContainerStartFailed, message)
    })
}

/// The same if the runtime wrote the error into the container's log: one line `exec PROGRAM:
/// ERROR`, and nothing else, because no program has run that could have written more.
pub(super) fn of_log(called: &str, log: &str) -> Option<Reason> {
    let line = log.trim();
    let program_and_error = line.strip_prefix("exec ")?;
    let (_, error) = program_and_error.rsplit_once(": ")?;
    let is_all = !line.contains('\n') && ERRORS.iter().any(|row| row.0 == error);
    is_all.then(|| known(called, error)).flatten()
}

/// Returns `true` if a cause that does not change prevents the start.
pub(super) fn is_known(text: &str) -> bool {
    ERRORS.iter().any(|row| text.contains(row.0))
}

fn known(called: &str, text: &str) -> Option<Reason> {
    let row = ERRORS.iter().find(|row| text.contains(row.0))?;
    let (_, code, message, help) = *row;
    Some(Reason::new(code, message.replace("{}", called)).with_help(help))
}
