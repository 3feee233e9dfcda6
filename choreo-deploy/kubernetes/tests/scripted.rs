//! Tests the backend with an API server that follows a script, for responses that are rare on a
//! real one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use choreo_deploy::backend::{BackendError, BackendErrorKind, DeploymentBackend, Intent, LogQuery};
use choreo_deploy::conformance::{example_release, example_target};
use choreo_deploy::deployment::Generation;
use choreo_deploy::rollout::Rollout;
use choreo_deploy_kubernetes::{KubernetesBackend, Policy};
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{Handle, pair};

type Server = Handle<Request<Body>, Response<Body>>;

/// Runs a call with a server that responds with `answer`. Returns the result and the requests.
async fn scripted<T>(
    policy: Policy,
    answer: impl Fn(&str, &str) -> (u16, Value) + Send + 'static,
    call: impl AsyncFnOnce(KubernetesBackend) -> T,
) -> (T, Vec<String>) {
    let (service, mut server): (_, Server) = pair();
    let backend = KubernetesBackend::new(kube::Client::new(service, "default"), policy);
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        while let Some((request, respond)) = server.next_request().await {
            let (method, path) = (
                request.method().to_string(),
                request.uri().path().to_owned(),
            );
            let (status, body) = answer(&method, &path);
            requests.push(format!("{method} {path}"));
            // A text is sent without quotes, like a log.
            let body = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            let body = Body::from(body.into_bytes());
            respond.send_response(Response::builder().status(status).body(body).unwrap());
        }
        requests
    });
    let result = call(backend).await;
    (result, serving.await.unwrap())
}

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, body)
}

fn anchor(generation: &str) -> Value {
    let name = "orders-8913b73fb1d8";
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": format!("{name}-anchor"), "uid": "u", "resourceVersion": "5",
            "annotations": { "choreo.dev/generation": generation },
            "labels": {
                "app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": name,
                "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/managed-by": "choreo",
                "choreo.dev/organization": "acme", "choreo.dev/project": "shop",
                "choreo.dev/component": "orders", "choreo.dev/environment": "development",
            },
        },
        "data": { "state": "applied", "current": "", "inventory": "" },
    })
}

async fn observing(backend: KubernetesBackend) -> Result<Rollout, BackendError> {
    backend.observe(&example_target("orders")).await
}

#[tokio::test]
async fn answers_become_kinds() {
    use BackendErrorKind as Kind;
    let forbidden = "configmaps \"x\" is forbidden: User \"u\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"n\"";
    for (code, reason, message, kind) in [
        (401, "Unauthorized", "Unauthorized", Kind::Unauthenticated),
        (403, "Forbidden", forbidden, Kind::PermissionDenied),
        (429, "TooManyRequests", "slow down", Kind::RateLimited),
        (
            500,
            "InternalError",
            "etcdserver: no leader",
            Kind::Unreachable,
        ),
    ] {
        let answer = move |_: &str, _: &str| status(code, reason, message);
        let (result, _) = scripted(Policy::default(), answer, observing).await;
        assert_eq!(result.unwrap_err().kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let mut policy = Policy::default();
    policy.timing.call_seconds = 1;
    let (service, mut server): (_, Server) = pair();
    let backend = KubernetesBackend::new(kube::Client::new(service, "default"), policy);
    let (result, asked) = tokio::join!(observing(backend), server.next_request());
    let error = result.unwrap_err();
    assert!(asked.is_some(), "it asked");
    assert_eq!(error.kind(), BackendErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "observe failed: the API server did not answer within 1 s"
    );
}

#[tokio::test]
async fn missing_anchor_is_absent() {
    let answer = |_: &str, _: &str| status(404, "NotFound", "not found");
    let (result, requests) = scripted(Policy::default(), answer, observing).await;
    assert_eq!(result.unwrap(), Rollout::absent());
    assert_eq!(
        requests.len(),
        1,
        "looking at what is not there is one request"
    );
}

#[tokio::test]
async fn foreign_anchor_is_refused() {
    let mut foreign = anchor("0.7");
    foreign["metadata"]["labels"]["choreo.dev/organization"] = "other".into();
    let answer = move |_: &str, _: &str| (200, foreign.clone());
    let (result, _) = scripted(Policy::default(), answer, observing).await;
    assert_eq!(result.unwrap_err().kind(), BackendErrorKind::Refused);
}

#[tokio::test]
async fn stale_changes_nothing() {
    let mut policy = Policy::default();
    policy.namespaces = choreo_deploy_kubernetes::policy::Namespaces::Existing("n".to_owned());
    let answer = |_: &str, _: &str| (200, anchor("0.7"));
    let (result, requests) = scripted(policy, answer, async |backend: KubernetesBackend| {
        let (target, release) = (example_target("orders"), example_release(1));
        backend
            .apply(&Intent::new(&target, Generation::new(0, 6), &release))
            .await
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Stale);
    assert_eq!(
        error.to_string(),
        "apply failed: generation 0.6 is older than 0.7, which is applied"
    );
    assert!(
        requests.iter().all(|request| request.starts_with("GET ")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn endless_conflicts_end() {
    let mut policy = Policy::default();
    policy.namespaces = choreo_deploy_kubernetes::policy::Namespaces::Existing("n".to_owned());
    let answer = |method: &str, _: &str| match method {
        "GET" => (200, anchor("0.5")),
        _ => status(409, "Conflict", "the object has been modified"),
    };
    let (result, requests) = scripted(policy, answer, async |backend: KubernetesBackend| {
        let (target, release) = (example_target("orders"), example_release(1));
        backend
            .apply(&Intent::new(&target, Generation::new(0, 6), &release))
            .await
    })
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Conflict);
    assert!(error.is_retryable() && requests.len() < 50, "{requests:?}");
}

#[tokio::test]
async fn logs_are_merged_by_time() {
    let labels = anchor("0.7")["metadata"]["labels"].clone();
    let answer = move |_: &str, path: &str| {
        let pod = |name: &str| json!({ "metadata": { "name": name, "labels": labels } });
        let pods = [pod("a"), pod("b"), pod("c")];
        match path.rsplit_once("/pods").map(|(_, rest)| rest) {
            Some("") => (200, json!({ "metadata": {}, "items": pods })),
            Some("/a/log") => (
                200,
                "2026-01-02T03:04:05.1Z a 1\n2026-01-02T03:04:05.3Z a 2\n".into(),
            ),
            Some("/b/log") => (
                200,
                "2026-01-02T03:04:05.2Z b 1\n2026-01-02T03:04:05.4Z b 2\n".into(),
            ),
            _ => status(
                400,
                "BadRequest",
                "container \"main\" in pod \"c\" is waiting to start",
            ),
        }
    };
    let (result, _) = scripted(
        Policy::default(),
        answer,
        async |backend: KubernetesBackend| {
            let logs = backend.logs().expect("it reads logs");
            logs.tail(&example_target("orders"), &LogQuery::last(3))
                .await
        },
    )
    .await;
    let lines = result.unwrap();
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line.instance.as_str(), line.text.as_str()))
        .collect();
    assert_eq!(lines, [("b", "b 1"), ("a", "a 2"), ("b", "b 2")]);
}
