//! Pods whose containers are not created yet. The reason is only in events.

use choreo_deploy::reason::{Reason, ReasonCode};

use super::pod::{Finding, View, with_evidence};
use super::start::configuration_missing;
use crate::events::Event;

const MOUNT: &str = "FailedMount";
const SANDBOX: &str = "FailedCreatePodSandBox";
const PULLING: &str = "Pulling";
/// Each of these events ends one of the states above. The newest one is the progress of the pod.
const AFTER: [&str; 4] = ["Pulled", "Created", "Started", "Failed"];

/// Returns the reported reason why a pod has no containers yet.
pub(super) fn finding(view: &View<'_>) -> Option<Finding> {
    let is_made = super::pod::containers(view.pod).all(|container| {
        container.status["state"]["waiting"]["reason"]
            .as_str()
            .is_none()
    });
    if is_made {
        return None;
    }
    let told = [MOUNT, SANDBOX, PULLING];
    let reasons: Vec<&str> = told.into_iter().chain(AFTER).collect();
    let event = view.events.newest(&reasons)?;
    match event.reason() {
        MOUNT => Some(mount(view, event)),
        SANDBOX => {
            let reason = Reason::new(
                ReasonCode::ContainerStartFailed,
                "the node cannot make the pod's sandbox",
            )
            .with_help("ask the operator to look at the node");
            Some(Finding::passing(with_evidence(reason, event.json())))
        }
        PULLING => {
            let reason = Reason::new(
                ReasonCode::ImagePulling,
                "the node is still pulling the image, or waits for other pulls to end",
            )
            .with_help("a large image or a slow registry takes its time; it goes on by itself");
            Some(Finding::passing(with_evidence(reason, event.json())))
        }
        _ => None,
    }
}

fn mount(view: &View<'_>, event: &Event<'_>) -> Finding {
    let text = event.message();
    let is_missing = text.contains("not found") || text.contains("non-existent");
    if !is_missing {
        let reason = Reason::new(
            ReasonCode::ContainerStartFailed,
            "a volume of the pod cannot be mounted",
        )
        .with_help("see what the data plane reports");
        return Finding::passing(with_evidence(reason, event.json()));
    }
    let is_terminal = view.events.have_lasted(std::iter::once(event));
    Finding::new(
        with_evidence(configuration_missing(), event.json()),
        is_terminal,
    )
}
