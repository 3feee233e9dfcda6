//! `GET /v1/deployments/{id}?wait=SECONDS`.

use std::time::Duration;

use choreo_deploy::deployment::{Deployment, Phase};
use choreo_deploy::id::DeploymentId;
use http::{Response, StatusCode};

use super::authenticate::Caller;
use super::deploy::refusal;
use super::document::Known;
use super::problem::Problem;
use super::{DEPLOYMENTS, DeployWebhook, ResponseBody, Shared, document};
use crate::problem::ProblemType;

impl Shared {
    pub(super) async fn follow(
        &self,
        caller: &Caller,
        id: &str,
        query: Option<&str>,
    ) -> Result<Response<ResponseBody>, Problem> {
        let wait = wait(query)?;
        let unknown = || {
            Problem::new(
                ProblemType::UnknownDeployment,
                "component has no deployment with this id",
            )
            .help("use the id from the response to POST, with a token of the same component")
        };
        let id: DeploymentId = id.parse().map_err(|_| unknown())?;
        let _pass = caller.enter(&self.waiting)?;
        let found = if wait.is_zero() {
            self.intake.get(&caller.component, &id).await
        } else {
            self.intake.wait(&caller.component, &id, wait).await
        };
        let deployment = found
            .map_err(|error| refusal(&error))?
            .ok_or_else(unknown)?;
        let status_url = match &self.base_url {
            Some(base) => format!("{base}{DEPLOYMENTS}/{id}"),
            None => id.to_string(),
        };
        let known = self.known(&deployment).await?;
        let answer = document::respond(StatusCode::OK, (&deployment, &known), &status_url);
        Ok(answer)
    }

    /// Returns the digest that the deployment's release is pinned to, if it has a release, and its
    /// successor, if it was ready.
    pub(super) async fn known(&self, deployment: &Deployment) -> Result<Known<'static>, Problem> {
        let release = self.intake.release(deployment).await;
        let release = release.map_err(|error| refusal(&error))?;
        let pin = release.and_then(|release| release.image.pin);
        let successor = match deployment.phase {
            Phase::Ready => self.intake.successor(deployment).await,
            _ => Ok(None),
        };
        Ok(Known {
            pinned: pin.map(|pin| pin.digest),
            successor: successor.map_err(|error| refusal(&error))?,
            findings: &[],
        })
    }
}

/// Returns the time for which the client waits: zero without a query, and at most
/// [`DeployWebhook::MAX_WAIT`].
fn wait(query: Option<&str>) -> Result<Duration, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(Duration::ZERO);
    };
    let digits = query
        .strip_prefix("wait=")
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(digits) = digits else {
        return Err(Problem::new(
            ProblemType::InvalidQuery,
            "query must be 'wait=SECONDS' with a whole number, or absent",
        ));
    };
    // A number that overflows is longer than the maximum as well.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Ok(Duration::from_secs(seconds).min(DeployWebhook::MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_a_maximum() {
        for (query, seconds) in [
            (None, 0),
            (Some(""), 0),
            (Some("wait=0"), 0),
            (Some("wait=7"), 7),
            (Some("wait=25"), 25),
            (Some("wait=26"), 25),
            (Some("wait=99999999999999999999999"), 25),
        ] {
            assert_eq!(
                wait(query).unwrap(),
                Duration::from_secs(seconds),
                "{query:?}"
            );
        }
    }

    #[test]
    fn rejects_every_other_query() {
        for query in [
            "wait",
            "wait=",
            "wait=-1",
            "wait=1s",
            "wait=1&wait=2",
            "wiat=25",
            "wait=+1",
        ] {
            assert_eq!(
                wait(Some(query)).unwrap_err().into_response().status(),
                400,
                "{query}"
            );
        }
    }
}
