//! Guards that a generation is taken back without the credential of the earlier ready release.

use choreo_deploy::backend::{BackendError, DeploymentBackend, Intent, Pull};
use choreo_deploy::conformance::{example_registry, example_release, example_target};
use choreo_deploy::workload::ManualTask;
use choreo_deploy_kubernetes::KubernetesBackend;
use serde_json::Value;

use crate::server::{Server, status};
use crate::{ANCHOR, DEPLOYMENTS, generation, policy, settle};

const SECRETS: &str = "/secrets/";

async fn apply(server: &Server, number: u64, pull: Pull<'_>) {
    let (target, release) = (example_target("orders"), example_release(number));
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(number), &release);
        backend.apply(&intent.with_pull(pull)).await
    };
    server.call(policy(), call).await.unwrap();
}

/// Takes a generation back to the first release.
async fn take_back(server: &Server, number: u64, pull: Pull<'_>) -> Result<(), BackendError> {
    let (target, release) = (example_target("orders"), example_release(1));
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(number), &release).with_pull(pull);
        backend
            .take_back(&target, generation(number), Some(&intent))
            .await
    };
    server.call(policy(), call).await
}

fn template(server: &Server) -> Value {
    server.look(DEPLOYMENTS)["spec"]["template"].clone()
}

/// Guards the template of the ready pods: another one would restart them, and without their pull secret
/// they could not start on another node.
#[tokio::test]
async fn what_was_ready_pulls_with_the_secret_that_is_there() {
    let (first, second) = (example_registry("ada"), example_registry("grace"));
    let before = [
        Pull::Secret(&first),
        Pull::Existing("team"),
        Pull::Anonymous,
    ];
    let failed = [
        Pull::Anonymous,
        Pull::Existing("other"),
        Pull::Secret(&second),
    ];
    for (before, failed) in before.into_iter().flat_map(|b| failed.map(|f| (b, f))) {
        let server = Server::new();
        apply(&server, 1, before).await;
        settle(&server, 1).await.unwrap();
        let (ready, has_secret) = (template(&server), server.has(SECRETS));
        apply(&server, 2, failed).await;
        assert_ne!(template(&server), ready);
        // It was never ready, and neither is the generation that supersedes it.
        apply(&server, 3, failed).await;
        for _ in 0..2 {
            take_back(&server, 3, Pull::AsBefore).await.unwrap();
            assert_eq!(template(&server), ready, "{before:?} {failed:?}");
            assert_eq!(server.has(SECRETS), has_secret, "{before:?} {failed:?}");
        }
    }
}

/// Guards that a generation is ready even if leftovers of an older one cannot be removed.
#[tokio::test]
async fn what_got_ready_with_leftovers_counts_as_before() {
    let secret = example_registry("ada");
    let server = Server::new();
    apply(&server, 1, Pull::Secret(&secret)).await;
    settle(&server, 1).await.unwrap();
    apply(&server, 2, Pull::Anonymous).await;
    server.before("DELETE", SECRETS, |_| Some(status(403, "refused")));
    let error = settle(&server, 2).await.unwrap_err();
    assert!(error.is_about_leftovers(), "{error}");
    let ready = template(&server);
    apply(&server, 3, Pull::Existing("other")).await;
    take_back(&server, 3, Pull::AsBefore).await.unwrap();
    let spec = |template: &Value| template["spec"]["imagePullSecrets"].clone();
    assert_eq!(spec(&template(&server)), spec(&ready));
    assert!(spec(&ready).is_null());
}

/// Guards that a worker that still applies the failed generation cannot write its credential later.
#[tokio::test]
async fn the_secret_that_stays_belongs_to_the_taken_back_generation() {
    let secret = example_registry("ada");
    let server = Server::new();
    apply(&server, 1, Pull::Secret(&secret)).await;
    settle(&server, 1).await.unwrap();
    apply(&server, 2, Pull::Secret(&secret)).await;
    take_back(&server, 2, Pull::AsBefore).await.unwrap();
    let kept = server.look(SECRETS);
    let marked = &kept["metadata"]["annotations"]["choreo.dev/generation"];
    assert_eq!(marked, "0.2-taken-back");
    assert_ne!(kept["data"], Value::Null);
}

/// Guards that a take-back determines how the next one pulls. The pods that it restored name its pull
/// secret, and a later take-back without the credential must not remove either.
#[tokio::test]
async fn a_take_back_without_the_credential_pulls_like_the_take_back_before_it() {
    let secret = example_registry("ada");
    let restored = [
        Pull::Secret(&secret),
        Pull::Existing("team"),
        Pull::Anonymous,
    ];
    for (before, restored) in restored.into_iter().flat_map(|b| restored.map(|r| (b, r))) {
        let server = Server::new();
        apply(&server, 1, before).await;
        settle(&server, 1).await.unwrap();
        apply(&server, 2, restored).await;
        take_back(&server, 2, restored).await.unwrap();
        let (ready, has_secret) = (template(&server), server.has(SECRETS));
        apply(&server, 3, Pull::Existing("other")).await;
        take_back(&server, 3, Pull::AsBefore).await.unwrap();
        assert_eq!(template(&server), ready, "{before:?} {restored:?}");
        assert_eq!(server.has(SECRETS), has_secret, "{before:?} {restored:?}");
    }
}

/// Guards that the name of a pull secret is unknown, not empty, in an anchor of an older build. The
/// pods then keep the pull secrets that they name.
#[tokio::test]
async fn an_anchor_without_the_names_of_pull_secrets_changes_no_pull_secret() {
    let secret = example_registry("ada");
    for pull in [
        Pull::Secret(&secret),
        Pull::Existing("team"),
        Pull::Anonymous,
    ] {
        for settles_before in [true, false] {
            let server = Server::new();
            apply(&server, 1, pull).await;
            if settles_before {
                settle(&server, 1).await.unwrap();
            }
            server.change(ANCHOR, |anchor| {
                let data = anchor["data"].as_object_mut().unwrap();
                data.retain(|key, _| !key.ends_with("ullSecret"));
            });
            settle(&server, 1).await.unwrap();
            let (ready, has_secret) = (template(&server), server.has(SECRETS));
            apply(&server, 2, pull).await;
            take_back(&server, 2, Pull::AsBefore).await.unwrap();
            assert_eq!(template(&server), ready, "{pull:?} {settles_before}");
            assert_eq!(server.has(SECRETS), has_secret, "{pull:?}");
        }
    }
}

/// A target without a workload has no pods that name its pull secret, but runs of tasks name it.
#[tokio::test]
async fn an_anchor_without_the_names_of_pull_secrets_keeps_the_secret_of_a_task() {
    let server = Server::new();
    crate::apply(&server, 1, true).await.unwrap();
    server.change(ANCHOR, |anchor| {
        let data = anchor["data"].as_object_mut().unwrap();
        data.retain(|key, _| !key.ends_with("ullSecret"));
    });
    crate::apply(&server, 2, true).await.unwrap();
    let (target, mut release) = (example_target("orders"), example_release(1));
    release.workload = ManualTask::new().into();
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(2), &release).with_pull(Pull::AsBefore);
        let taken = backend.take_back(&target, generation(2), Some(&intent));
        taken.await
    };
    server.call(policy(), call).await.unwrap();
    assert!(server.has(SECRETS));
}
