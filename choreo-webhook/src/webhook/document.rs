//! A deployment as clients see it.

use choreo_deploy::deployment::{Deployment, Subject};
use choreo_deploy::reason::Reason;
use choreo_registry::Digest;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::ResponseBody;

/// The members in the order they are sent. `phase`, `final` and `id` come first, in this order: the
/// snippets for plain shells read them with `sed`.
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
    reasons: &'a [Reason],
    accepted_at: Timestamp,
    changed_at: Timestamp,
    status_url: &'a str,
}

/// A deployment, with the digest that its release is pinned to. While there is none, the digest that
/// CI sent stands in.
pub(super) fn respond(
    status: StatusCode,
    (deployment, pinned): (&Deployment, Option<Digest>),
    status_url: &str,
) -> Response<ResponseBody> {
    let (image, named) = match &deployment.subject {
        Subject::Image(image) => (Some(image), None),
        Subject::Release(number) => (None, Some(*number)),
        _ => (None, None),
    };
    let digest = pinned.or_else(|| image.and_then(|image| image.claimed));
    let document = Document {
        phase: deployment.phase.as_str(),
        r#final: deployment.phase.is_final(),
        id: deployment.id.as_str(),
        component: deployment.target.component.as_str(),
        environment: deployment.target.environment.as_str(),
        image: image.map(|image| image.as_written.as_str()),
        digest: digest.as_ref().map(|digest| digest.as_str()),
        release: deployment.release.or(named).map(|number| number.get()),
        commit: deployment.provenance.commit.as_deref(),
        run_url: deployment.provenance.run_url.as_deref(),
        reasons: &deployment.reasons,
        accepted_at: deployment.accepted_at,
        changed_at: deployment.changed_at,
        status_url,
    };
    ResponseBody::json(status, "application/json", &document)
}
