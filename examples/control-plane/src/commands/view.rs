//! Deployments and runs in words, and as JSON.

use std::fmt::Write;

use choreo_deploy::deployment::{Deployment, Phase, Subject};
use choreo_deploy::reason::Reason;
use choreo_deploy::release::Release;
use serde_json::{Value, json};

/// How a deployment came out, in words.
pub(super) fn outcome(deployment: &Deployment, release: Option<&Release>) -> String {
    let component = &deployment.target.component;
    let environment = &deployment.target.environment;
    match deployment.phase {
        Phase::Ready => match release {
            Some(release) => {
                let (image, number) = (release.image.deployed(), release.number);
                format!("{component} is ready in {environment}: {image} (release {number})")
            }
            None => format!("{component} is ready in {environment}"),
        },
        phase => explained(&phase.to_string().replace('-', " "), &deployment.reasons),
    }
}

/// `failed: why`, with help and evidence below, and further reasons after it.
pub(super) fn explained(phase: &str, reasons: &[Reason]) -> String {
    let mut text = phase.to_owned();
    for (index, reason) in reasons.iter().enumerate() {
        let lead = if index == 0 { ": " } else { "\n  also: " };
        let _ = write!(text, "{lead}{}", reason.message);
        if let Some(help) = &reason.help {
            let _ = write!(text, "\n  help: {help}");
        }
        let evidence = reason.evidence.as_ref().map(|evidence| evidence.as_str());
        for line in evidence.unwrap_or_default().lines() {
            let _ = write!(text, "\n  | {line}");
        }
    }
    text
}

/// One line of a list of deployments.
pub(super) fn line(deployment: &Deployment) -> String {
    let Deployment {
        id,
        target,
        phase,
        accepted_at,
        cause,
        ..
    } = deployment;
    let what = match &deployment.subject {
        Subject::Image(image) => image.as_written.clone(),
        Subject::Release(number) => format!("release {number}"),
        _ => "removal".to_owned(),
    };
    let why = deployment
        .reasons
        .first()
        .map(|reason| format!("  ({})", reason.message));
    let place = format!("{} in {}", target.component, target.environment);
    let (phase, cause, why) = (phase.as_str(), cause.to_string(), why.unwrap_or_default());
    format!("{accepted_at:.0}  {id}  {place:28}  {phase:11}  {cause:9}  {what}{why}")
}

/// A deployment for machines. The first members are those of the webhook's document.
pub(super) fn document(deployment: &Deployment, release: Option<&Release>) -> Value {
    let requested = match &deployment.subject {
        Subject::Image(image) => Some(image),
        _ => None,
    };
    json!({
        "phase": deployment.phase,
        "final": deployment.phase.is_final(),
        "id": deployment.id,
        "component": deployment.target.component,
        "environment": deployment.target.environment,
        "image": requested.map(|image| &image.as_written),
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
    }
}
