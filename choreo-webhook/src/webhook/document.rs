//! The JSON document of a deployment.

use choreo_deploy::deployment::{Deployment, Phase, Subject};
use choreo_deploy::finding::Finding;
use choreo_deploy::id::DeploymentId;
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_registry::Digest;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::ResponseBody;

/// The members in the order of the JSON text. `phase`, `final` and `id` come first, in this order,
/// because the snippets for plain shells read them with `sed`.
#[derive(Serialize)]
struct Document<'a> {
    phase: &'static str,
    r#final: bool,
    id: &'a str,
    component: &'a str,
    environment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<&'a str>,
    reasons: &'a [Reason],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'a [Finding],
    accepted_at: Timestamp,
    changed_at: Timestamp,
    status_url: &'a str,
}

/// Facts about a deployment that its record does not contain.
#[derive(Default)]
pub(super) struct Known<'a> {
    /// The digest that its release is pinned to. Without one, the document contains the digest that
    /// CI sent.
    pub(super) pinned: Option<Digest>,
    /// The deployment that replaced it after it was ready. Its phase is then `superseded`, because
    /// `ready` would mean that it runs.
    pub(super) successor: Option<DeploymentId>,
    /// Suspicious properties of it.
    pub(super) findings: &'a [Finding],
}

/// Returns a response with the current state of a deployment.
pub(super) fn respond(
    status: StatusCode,
    (deployment, known): (&Deployment, &Known<'_>),
    status_url: &str,
) -> Response<ResponseBody> {
    let replaced = known.successor.as_ref().map(|successor| {
        let message = format!("deployment was ready until deployment {successor} replaced it");
        [Reason::new(ReasonCode::NewerDeployment, message)]
    });
    let (phase, reasons) = match &replaced {
        Some(reasons) => (Phase::Superseded, reasons.as_slice()),
        None => (deployment.phase, deployment.reasons.as_slice()),
    };
    let (image, named) = match &deployment.subject {
        Subject::Image(image) => (Some(image), None),
        Subject::Release(number) => (None, Some(*number)),
        _ => (None, None),
    };
    let digest = known
        .pinned
        .or_else(|| image.and_then(|image| image.claimed));
    let document = Document {
        phase: phase.as_str(),
        r#final: phase.is_final(),
        id: deployment.id.as_str(),
        component: deployment.target.component.as_str(),
        environment: deployment.target.environment.as_str(),
        image: image.map(|image| image.as_written.as_str()),
        digest: digest.as_ref().map(|digest| digest.as_str()),
        release: deployment.release.or(named).map(|number| number.get()),
        commit: deployment.provenance.commit.as_deref(),
        run_url: deployment.provenance.run_url.as_deref(),
        superseded_by: known.successor.as_ref().map(DeploymentId::as_str),
        reasons,
        findings: known.findings,
        accepted_at: deployment.accepted_at,
        changed_at: deployment.changed_at,
        status_url,
    };
    ResponseBody::json(status, "application/json", &document)
}
