//! Guards that memory that the backend frees contains no pull secret.
//!
//! The memory of TLS and of the kernel does not belong to the backend.
#![expect(clippy::unwrap_used, reason = "the helpers below are tests too")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use choreo_deploy::backend::{DeploymentBackend, Intent, Pull};
use choreo_deploy::conformance::{example_release, example_target};
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::Release;
use choreo_deploy::workload::ManualTask;
use choreo_deploy_kubernetes::policy::Namespaces;
use choreo_deploy_kubernetes::{KubernetesBackend, Policy, render};
use choreo_registry::{Credential, PullSecret};
use choreo_test_memory::{Watched, blocks_with};
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const PASSWORD: &str = "correct-horse-battery-staple";
/// `ada:` and the password in base64, as in the `auth` of the docker config. It is encoded again in
/// a Secret.
const AUTH: &str = "YWRhOmNvcnJlY3QtaG9yc2UtYmF0dGVyeS1zdGFwbGU=";

fn secret() -> PullSecret {
    let credential = Credential::new("ada", PASSWORD).unwrap();
    PullSecret::new(&"registry.example.com".parse().unwrap(), &credential)
}

/// Returns the data of the Secret, without its ends. Its offset is the same in every Secret.
fn data() -> String {
    let metadata = choreo_registry::pull_secret::SecretMetadata::new("s").unwrap();
    let manifest = secret().expose_manifest(&metadata);
    let data = manifest["data"][".dockerconfigjson"].as_str().unwrap();
    // The beginning is equal for all secrets of the registry.
    data[data.len() / 2..].to_owned()
}

#[derive(Deserialize)]
struct Sent {
    metadata: Value,
}

/// The bodies of the last writes, by path.
type Written = Arc<Mutex<HashMap<String, Bytes>>>;

/// An API server that accepts every write. It copies nothing of a Secret but its metadata, except into
/// the answer to a read of the whole Secret.
async fn answer(written: Written, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    let path = parts.uri.path();
    let header = |name: &str| parts.headers.get(name).map_or("", |h| h.to_str().unwrap());
    let mut written = written.lock().unwrap();
    let known = written.get(path).cloned();
    let (status, answer) = match parts.method {
        Method::GET if known.is_none() => (StatusCode::NOT_FOUND, not_found()),
        Method::GET if header("accept").contains("PartialObjectMetadata") => {
            (StatusCode::OK, metadata(&known.unwrap()))
        }
        Method::GET => (StatusCode::OK, known.unwrap().to_vec()),
        Method::DELETE => (StatusCode::OK, not_found()),
        Method::PATCH if header("content-type").contains("merge-patch") => {
            (StatusCode::OK, metadata(&known.unwrap()))
        }
        _ => {
            let answer = metadata(&body);
            let name = serde_json::from_slice::<Sent>(&body).unwrap().metadata["name"].clone();
            let path = match parts.method {
                Method::POST => format!("{path}/{}", name.as_str().unwrap()),
                _ => path.to_owned(),
            };
            written.insert(path, body);
            (StatusCode::OK, answer)
        }
    };
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status;
    Ok(response)
}

fn not_found() -> Vec<u8> {
    let status =
        json!({ "kind": "Status", "code": 404, "reason": "NotFound", "status": "Failure" });
    status.to_string().into_bytes()
}

/// The object of a body without its content.
fn metadata(body: &[u8]) -> Vec<u8> {
    let mut sent: Sent = serde_json::from_slice(body).unwrap();
    sent.metadata["uid"] = "u".into();
    sent.metadata["resourceVersion"] = "7".into();
    let object = json!({ "apiVersion": "v1", "kind": "X", "metadata": sent.metadata });
    object.to_string().into_bytes()
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.namespaces = Namespaces::Existing("n".to_owned());
    policy
}

fn left(work: impl FnOnce()) -> usize {
    let data = data();
    blocks_with(&[PASSWORD, AUTH, &data], work)
}

/// Applies the release repeatedly, each time as a new generation.
fn apply(release: &Release, times: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let written = Written::default();
        let service = tower::service_fn(move |request| answer(Arc::clone(&written), request));
        let backend = KubernetesBackend::new(kube::Client::new(service, "n"), policy());
        let (target, secret) = (example_target("orders"), secret());
        for number in 1..=times {
            let intent = Intent::new(&target, Generation::new(0, number), release);
            let intent = intent.with_pull(Pull::Secret(&secret));
            backend.apply(&intent).await.unwrap();
        }
    });
}

#[test]
fn a_pull_secret_that_is_applied_leaves_nothing() {
    assert_eq!(left(|| apply(&example_release(1), 1)), 0);
}

/// Guards that the comparison with the Secret on the cluster leaves nothing. It reads the Secret of a
/// task, because its other objects have no status and are unchanged.
#[test]
fn a_pull_secret_that_is_compared_leaves_nothing() {
    let mut release = example_release(1);
    release.workload = ManualTask::new().into();
    assert_eq!(left(|| apply(&release, 2)), 0);
}

/// Guards the same for renderings that are shown to people.
#[test]
fn a_pull_secret_that_is_rendered_leaves_nothing() {
    let work = || {
        let (target, release) = (example_target("orders"), example_release(1));
        let secret = secret();
        let intent = Intent::new(&target, Generation::new(0, 1), &release);
        let intent = intent.with_pull(Pull::Secret(&secret));
        let objects = render(&intent, &policy()).unwrap();
        for object in &objects {
            drop((object.clone(), object.to_yaml(), object.redacted()));
        }
    };
    assert_eq!(left(work), 0);
}

/// The control: a copy in ordinary memory is found.
#[test]
fn a_copy_is_found() {
    let data = data();
    assert_ne!(left(|| drop(data)), 0);
}
