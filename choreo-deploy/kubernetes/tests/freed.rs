//! Guards that memory that the backend frees contains no pull secret.
//!
//! The memory of TLS, of the kernel and of responses to reads does not belong to the backend.
#![expect(clippy::unwrap_used, reason = "the helpers below are tests too")]

use std::convert::Infallible;

use choreo_deploy::backend::{DeploymentBackend, Intent, Pull};
use choreo_deploy::conformance::{example_release, example_target};
use choreo_deploy::deployment::Generation;
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

/// An API server that finds nothing and accepts every write. It copies only the metadata of a
/// Secret.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let is_delete = parts.method == Method::DELETE;
    let status = match parts.method {
        Method::GET => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    let body = body.collect_bytes().await.unwrap();
    let answer = if status == StatusCode::NOT_FOUND || is_delete {
        json!({ "kind": "Status", "code": 404, "reason": "NotFound", "status": "Failure" })
    } else {
        let mut sent: Sent = serde_json::from_slice(&body).unwrap();
        sent.metadata["uid"] = "u".into();
        sent.metadata["resourceVersion"] = "7".into();
        json!({ "apiVersion": "v1", "kind": "X", "metadata": sent.metadata })
    };
    let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
    *response.status_mut() = status;
    Ok(response)
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

#[test]
fn a_pull_secret_that_is_applied_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let work = || {
        runtime.block_on(async {
            let client = kube::Client::new(tower::service_fn(answer), "n");
            let backend = KubernetesBackend::new(client, policy());
            let (target, release) = (example_target("orders"), example_release(1));
            let secret = secret();
            let intent = Intent::new(&target, Generation::new(0, 1), &release);
            let intent = intent.with_pull(Pull::Secret(&secret));
            backend.apply(&intent).await.unwrap();
        });
    };
    assert_eq!(left(work), 0);
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
