//! A webhook with a scripted intake, real tokens and a stopped clock.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use choreo_deploy::clock::Clock;
use choreo_deploy::deployment::{Deployment, Phase, Subject};
use choreo_deploy::finding::Finding;
use choreo_deploy::id::{ComponentKey, DeploymentId};
use choreo_deploy::intake::{Intake, IntakeError, IntakeErrorKind, Submission};
use choreo_deploy::release::{
    DigestPin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber,
};
use choreo_deploy::store::{Accepted, InMemoryStore, TokenStore as _};
use choreo_deploy::token::TokenRecord;
use choreo_deploy::workload::ManualTask;
use choreo_registry::Digest;
use choreo_webhook::token::Lifetime;
use choreo_webhook::webhook::ResponseBody;
use choreo_webhook::{DeployToken, DeployWebhook};
use http::{HeaderMap, Request, Response, StatusCode, request};
use http_body::{Body, Frame};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const IMAGE: &str = "registry.example.com/shop/orders:1.4";
pub(crate) const DIGEST: &str =
    "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A clock that tests set.
#[derive(Debug)]
pub(crate) struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub(crate) fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap() = time;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// An intake that follows a script and records its calls.
#[derive(Debug, Default)]
pub(crate) struct ScriptedIntake {
    pub(crate) submissions: Mutex<Vec<Submission>>,
    pub(crate) waits: Mutex<Vec<Duration>>,
    /// The responses to `accept` before it accepts.
    pub(crate) refusals: Mutex<VecDeque<IntakeErrorKind>>,
    pub(crate) replayed: Mutex<bool>,
    pub(crate) successor: Mutex<Option<DeploymentId>>,
    pub(crate) findings: Mutex<Vec<Finding>>,
    /// The phases that `wait` and `get` return, one each. The last one is repeated.
    pub(crate) phases: Mutex<VecDeque<Phase>>,
    pub(crate) reasons: Mutex<Value>,
    /// The release that the returned deployment deploys instead of an image.
    pub(crate) redeployed: Mutex<Option<ReleaseNumber>>,
    /// The digest that CI sent with the returned deployment.
    pub(crate) claimed: Mutex<Option<Digest>>,
    /// `accept` and `wait` do not return while this is `true`.
    pub(crate) closed: Mutex<bool>,
}

impl ScriptedIntake {
    async fn open(&self) {
        while *self.closed.lock().unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn next_phase(&self) -> Phase {
        let mut phases = self.phases.lock().unwrap();
        let first = phases.pop_front().unwrap_or(Phase::Accepted);
        if phases.is_empty() {
            phases.push_back(first);
        }
        first
    }

    fn find(&self, component: &ComponentKey, id: &DeploymentId) -> Option<Deployment> {
        let reasons = self.reasons.lock().unwrap().clone();
        let is_mine = component.component.as_str() == "orders" && id.as_str() == "d-1";
        is_mine.then(|| {
            let mut deployment = deployment(component, IMAGE, self.next_phase(), &reasons);
            if let Subject::Image(image) = &mut deployment.subject {
                image.claimed = *self.claimed.lock().unwrap();
            }
            if let Some(number) = *self.redeployed.lock().unwrap() {
                deployment.subject = Subject::Release(number);
            }
            deployment
        })
    }
}

#[async_trait]
impl Intake for ScriptedIntake {
    async fn accept(&self, submission: Submission) -> Result<Accepted, IntakeError> {
        self.open().await;
        let written = submission.image.as_written.clone();
        let component = submission.component.clone();
        self.submissions.lock().unwrap().push(submission);
        if let Some(kind) = self.refusals.lock().unwrap().pop_front() {
            let error = IntakeError::new(kind, format!("refused as {kind:?}"));
            return Err(error.with_source("internal hunter2"));
        }
        let accepted = |phase| deployment(&component, &written, phase, &json!([]));
        let accepted = if *self.replayed.lock().unwrap() {
            Accepted::replayed(accepted(self.next_phase()))
        } else {
            Accepted::new(accepted(Phase::Accepted), None)
        };
        Ok(accepted.with_findings(self.findings.lock().unwrap().clone()))
    }

    async fn get(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, IntakeError> {
        Ok(self.find(component, id))
    }

    async fn wait(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
        at_most: Duration,
    ) -> Result<Option<Deployment>, IntakeError> {
        self.waits.lock().unwrap().push(at_most);
        self.open().await;
        Ok(self.find(component, id))
    }

    async fn release(&self, deployment: &Deployment) -> Result<Option<Release>, IntakeError> {
        Ok(release(deployment))
    }

    async fn successor(
        &self,
        _deployment: &Deployment,
    ) -> Result<Option<DeploymentId>, IntakeError> {
        Ok(self.successor.lock().unwrap().clone())
    }
}

/// Returns the release that every deployment of the scripted intake has when it is final.
fn release(deployment: &Deployment) -> Option<Release> {
    let image = ReleaseImage::unpinned(IMAGE.parse().unwrap()).pinned(DigestPin::new(
        Digest::sha256_of(b"pinned"),
        Pinning::Resolved,
    ));
    let draft = ReleaseDraft::new(ManualTask::new().into(), image);
    let component = deployment.target.component_key();
    Some(Release::new(component, deployment.release?, draft, now()))
}

fn deployment(component: &ComponentKey, image: &str, phase: Phase, reasons: &Value) -> Deployment {
    let reference: choreo_registry::ImageReference = image.parse().unwrap();
    serde_json::from_value(json!({
        "id": "d-1",
        "target": {
            "organization": component.organization, "project": "shop",
            "component": component.component, "environment": "dev",
        },
        "data_plane": "eu-1",
        "generation": { "epoch": 0, "number": 1 },
        "cause": { "ci": "abcdefghijkl" },
        "subject": { "image": { "reference": reference, "as_written": image } },
        "settings_version": 1,
        "release": phase.is_final().then_some(7),
        "phase": phase,
        "reasons": if reasons.is_null() { json!([]) } else { reasons.clone() },
        "provenance": { "commit": "4b825dc" },
        "accepted_at": now(),
        "deadline_at": now(),
        "changed_at": now(),
        "revision": 1,
    }))
    .unwrap()
}

/// A body that never arrives.
pub(crate) struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A webhook and its parts.
pub(crate) struct World {
    pub(crate) intake: Arc<ScriptedIntake>,
    pub(crate) tokens: Arc<InMemoryStore>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) webhook: DeployWebhook,
    /// A valid token of the component `orders`.
    pub(crate) token: DeployToken,
}

impl World {
    pub(crate) async fn new() -> Self {
        let intake = Arc::new(ScriptedIntake::default());
        let tokens = Arc::new(InMemoryStore::new());
        let clock = Arc::new(SetClock(Mutex::new(now())));
        let webhook = DeployWebhook::new(
            Arc::<ScriptedIntake>::clone(&intake),
            Arc::<InMemoryStore>::clone(&tokens),
        )
        .with_clock(Arc::<SetClock>::clone(&clock));
        let (token, record) = mint("orders");
        tokens.issue_token(record).await.unwrap();
        Self {
            intake,
            tokens,
            clock,
            webhook,
            token,
        }
    }

    pub(crate) fn post(&self) -> request::Builder {
        Request::post("/v1/deployments")
            .header("authorization", format!("Bearer {}", self.token.expose()))
            .header("content-type", "application/json")
    }

    pub(crate) fn get(&self, path: &str) -> request::Builder {
        Request::get(path).header("authorization", format!("Bearer {}", self.token.expose()))
    }

    pub(crate) async fn send(&self, request: request::Builder, body: impl ToString) -> Answer {
        let request = request.body(body.to_string()).unwrap();
        Answer::of(self.webhook.clone().oneshot(request).await.unwrap())
    }

    /// Posts the usual image.
    pub(crate) async fn deploy(&self) -> Answer {
        self.send(self.post(), json!({ "image": IMAGE })).await
    }
}

pub(crate) fn mint(component: &str) -> (DeployToken, TokenRecord) {
    mint_of("acme", component)
}

pub(crate) fn mint_of(organization: &str, component: &str) -> (DeployToken, TokenRecord) {
    let component = ComponentKey::new(organization.parse().unwrap(), component.parse().unwrap());
    DeployToken::mint(component, Lifetime::DEFAULT, now())
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn of(response: Response<ResponseBody>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: body.as_bytes().to_vec(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a well-formed problem of this status and type.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str) {
        let problem = self.json();
        assert_eq!(
            problem["type"],
            format!("urn:choreo:problem:{kind}"),
            "{problem}"
        );
        assert_eq!(self.status, status, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
    }
}
