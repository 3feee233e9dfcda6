//! Deployments and runs as text and as JSON.

use std::fmt::Write;

use choreo_deploy::deployment::{Deployment, Phase, Subject};
use choreo_deploy::reason::Reason;
use choreo_deploy::release::Release;
use serde_json::{Value, json};

/// Returns the outcome of a deployment as text.
pub(super) fn outcome(deployment: &Deployment, release: Option<&Release>) -> String {
    match deployment.phase {
        Phase::Ready => {
            let reasons = deployment.reasons.iter();
            reasons.fold(ready(deployment, release), |text, reason| {
                format!("{text}\n  also: {reason}")
            })
        }
        phase => explained(&phase.to_string().replace('-', " "), &deployment.reasons),
    }
}

fn ready(deployment: &Deployment, release: Option<&Release>) -> String {
    let component = &deployment.target.component;
    let environment = &deployment.target.environment;
    match release {
        _ if deployment.subject == Subject::Absence => {
            format!("{component} is removed from {environment}")
        }
        Some(release) => {
            let (image, number) = (release.image.deployed(), release.number);
            format!("{component} is ready in {environment}: {image} (release {number})")
        }
        None => format!("{component} is ready in {environment}"),
    }
}

/// Returns `PHASE: REASON`, followed by its help, its evidence and the further reasons.
pub(super) fn explained(phase: &str, reasons: &[Reason]) -> String {
    let mut text = phase.to_owned();
    for (index, reason) in reasons.iter().enumerate() {
        let lead = if index == 0 { ": " } else { "\n  also: " };
        let _ = write!(text, "{lead}{}", reason.message);
        if let Some(help) = &reason.help {
            let _ = write!(text, "\n  help: {help}");
        }
        let evidence = reason.evidence.as_ref().map(|evidence| evidence.as_str());
        // The message may already contain it.
        let evidence = evidence.filter(|evidence| !reason.message.contains(evidence.trim()));
        for line in evidence.unwrap_or_default().lines() {
            let _ = write!(text, "\n  | {line}");
        }
    }
    text
}

/// Returns the image of a deployment as it was requested, or `None` for a removal.
pub(super) fn image(deployment: &Deployment, release: Option<&Release>) -> Option<String> {
    match &deployment.subject {
        Subject::Image(image) => Some(image.as_written.clone()),
        Subject::Release(number) => Some(release.map_or_else(
            || format!("release {number}"),
            |release| release.image.requested.to_string(),
        )),
        _ => None,
    }
}

/// Returns the phase of a deployment or of a removal.
pub(super) fn phase(deployment: &Deployment) -> String {
    match deployment.subject {
        Subject::Absence => format!("removal {}", deployment.phase),
        _ => deployment.phase.to_string(),
    }
}

/// Returns the first reason, for a list.
pub(super) fn why(reasons: &[Reason]) -> String {
    let first = reasons.first().map(|reason| reason.message.as_str());
    first.unwrap_or_default().to_owned()
}

/// Returns a deployment as JSON. The first members are those of the webhook's document.
pub(super) fn document(deployment: &Deployment, release: Option<&Release>) -> Value {
    json!({
        "phase": deployment.phase,
        "final": deployment.phase.is_final(),
        "id": deployment.id,
        "component": deployment.target.component,
        "environment": deployment.target.environment,
        "image": image(deployment, release),
        "deployed_image": release.map(|release| release.image.deployed()),
        "digest": release.and_then(|release| release.image.pin.as_ref()).map(|pin| &pin.digest),
        "release": deployment.release,
        "cause": deployment.cause.to_string(),
        "generation": deployment.generation.to_string(),
        "reasons": deployment.reasons,
        "commit": deployment.provenance.commit,
        "run_url": deployment.provenance.run_url,
        "accepted_at": deployment.accepted_at,
        "changed_at": deployment.changed_at,
    })
}

#[cfg(test)]
mod tests {
    use choreo_deploy::reason::{Evidence, ReasonCode};

    use super::*;

    #[test]
    fn a_failure_is_explained_with_help_and_evidence() {
        let crashed = Reason::new(
            ReasonCode::ContainerCrashed,
            "the container crashed 3 times",
        )
        .with_help("read the log")
        .with_evidence(Evidence::from_untrusted("starting\npanic: no database"));
        let late = Reason::new(
            ReasonCode::ProgressDeadlineExceeded,
            "it was not ready in time",
        );
        assert_eq!(
            explained("failed", &[crashed, late]),
            "failed: the container crashed 3 times\n  help: read the log\n  | starting\n  | panic: \
             no database\n  also: it was not ready in time"
        );
        assert_eq!(explained("superseded", &[]), "superseded");
        let refused = Reason::new(
            ReasonCode::AdmissionRefused,
            "the API server refuses it: too large",
        )
        .with_evidence(Evidence::from_untrusted("too large"));
        assert_eq!(
            explained("failed", &[refused]),
            "failed: the API server refuses it: too large"
        );
    }
}
