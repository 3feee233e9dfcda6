//! Images that are not pulled.

use choreo_deploy::reason::{Reason, ReasonCode};
use jiff::SignedDuration;

use super::pod::{Container, Finding, View, with_evidence};
use crate::events::Event;
use crate::pull_failure::{self, PullFailure};

/// The kubelet retries 10 s after the first failure, and shows `ImagePullBackOff` until the second
/// attempt has ended, also while it pulls. The state therefore contains nothing about the second
/// attempt.
const FAILURES: i64 = 2;
/// The time within which a pull without a Secret may fail, after the kubelet reported that it
/// cannot read the Secret.
const SOON: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn finding(view: &View<'_>, container: Container<'_>, why: &str) -> Finding {
    let waiting = &container.status["state"]["waiting"];
    let text = waiting["message"].as_str().unwrap_or_default();
    let image = container.image();
    if why == "InvalidImageName" {
        // The name does not change.
        let message = format!("image {image} is not a name that the data plane can pull");
        let reason = Reason::new(ReasonCode::ImageNotFound, message);
        return Finding::new(with_evidence(reason, waiting), true);
    }
    let has_secret = !view.pod.items("/spec/imagePullSecrets").is_empty();
    let PullFailure {
        reason,
        is_transient,
    } = pull_failure::classify(image, text, has_secret);
    let is_repeated = match view.events.failed_pulls(container.name()) {
        0 => view.events.is_old() && why != "ErrImagePull",
        failures => failures >= FAILURES,
    };
    match unread_secret(view, container).filter(|_| is_about_access(reason.code)) {
        Some(event) => {
            // The race of the kubelet with a Secret that was just created is transient.
            let has_lasted = view.events.have_lasted(std::iter::once(event));
            let reason = with_evidence(secret_missing(event), event.json());
            Finding::new(reason, is_repeated && has_lasted)
        }
        None => Finding::new(reason, is_repeated && !is_transient),
    }
}

/// Returns `true` if the kubelet could not read a pull secret and pulled without it.
fn unread_secret<'v>(view: &'v View<'_>, container: Container<'_>) -> Option<&'v Event<'v>> {
    let event = view.events.newest(&["FailedToRetrieveImagePullSecret"])?;
    let failed = view.events.last_failed_pull(container.name());
    let is_of_it = match failed.zip(event.last()) {
        Some((failed, unread)) => failed.duration_since(unread) <= SOON,
        None => true,
    };
    is_of_it.then_some(event)
}

/// Returns `true` if registries send this response to clients that may not pull.
fn is_about_access(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ImageNotFound
            | ReasonCode::RegistryCredentialMissing
            | ReasonCode::RegistryCredentialRefused
            | ReasonCode::RegistryPullDenied
    )
}

/// `Unable to retrieve some image pull secrets (a, b); attempting to pull the image may not succeed.`
fn secret_missing(event: &Event<'_>) -> Reason {
    let names = event.message().split_once('(').map(|(_, rest)| rest);
    let names = names.and_then(|rest| rest.split_once(')'));
    let message = match names {
        Some((names, _)) => format!("pull secret {names} is not on the data plane"),
        None => "a pull secret of the pod is not on the data plane".to_owned(),
    };
    Reason::new(ReasonCode::ConfigurationMissing, message)
        .with_help("create it in the namespace of the environment, or correct its name in the container registry")
}
