//! `POST /v1/deployments`.

use choreo_deploy::deployment::Cause;
use choreo_deploy::intake::{IntakeError, Submission};
use http::header::{LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;

use super::authenticate::{Caller, invalid_token};
use super::document::Known;
use super::problem::Problem;
use super::request::{DeployRequest, idempotency_key};
use super::{DEPLOYMENTS, ResponseBody, Shared, body, document};
use crate::problem::ProblemType;

impl Shared {
    pub(super) async fn deploy<B>(
        &self,
        caller: &Caller,
        parts: &Parts,
        body: B,
    ) -> Result<Response<ResponseBody>, Problem>
    where
        B: Body + Send,
        B::Data: Send,
    {
        if parts.uri.query().is_some() {
            return Err(Problem::new(
                ProblemType::InvalidQuery,
                "POST does not accept a query: remove it",
            ));
        }
        body::refuse_unread(&parts.headers)?;
        let key = idempotency_key(&parts.headers)?;
        let reading = caller.enter(&self.reading)?;
        let body = body::read(body).await?;
        drop(reading);
        let request = DeployRequest::parse(&body)?;
        let _pass = caller.enter(&self.deploying)?;

        let cause = Cause::Ci(caller.token.clone());
        let mut submission = Submission::new(caller.component.clone(), request.image, cause)
            .with_provenance(request.provenance);
        submission.idempotency_key = key;
        let accepted = self
            .intake
            .accept(submission)
            .await
            .map_err(|error| refusal(&error))?;

        let id = &accepted.deployment.id;
        tracing::info!(
            component = %caller.component, token = %caller.token, deployment = %id,
            replayed = accepted.replayed, "deployment accepted"
        );
        let status_url = match &self.base_url {
            Some(base) => format!("{base}{DEPLOYMENTS}/{id}"),
            // Relative to the collection that the request names, under every prefix.
            None => format!("deployments/{id}"),
        };
        // A replayed deployment may have a release by now.
        let mut known = match accepted.deployment.release {
            Some(_) => self.known(&accepted.deployment).await?,
            None => Known::default(),
        };
        known.findings = &accepted.findings;
        let mut response = document::respond(
            StatusCode::ACCEPTED,
            (&accepted.deployment, &known),
            &status_url,
        );
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        headers.extend(
            HeaderValue::try_from(status_url)
                .ok()
                .map(|value| (LOCATION, value)),
        );
        if accepted.replayed {
            let name = HeaderName::from_static("idempotent-replayed");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

/// Returns the problem that a client sees for an error of the intake.
pub(super) fn refusal(error: &IntakeError) -> Problem {
    match ProblemType::from(error.kind()) {
        ProblemType::InvalidToken => invalid_token(),
        ProblemType::Unavailable => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "intake is unavailable"
            );
            Problem::new(
                ProblemType::Unavailable,
                "deployments cannot be stored or read at the moment: retry",
            )
        }
        ProblemType::Internal => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "intake failed permanently"
            );
            Problem::new(
                ProblemType::Internal,
                "deployments cannot be stored or read: contact the operator of the platform",
            )
        }
        kind => Problem::new(kind, error.to_string()),
    }
}
