//! Guards that a worker that is paused before any of its requests cannot undo a newer deployment or
//! a removal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{
    BackendErrorKind, DeploymentBackend, DeploymentBackendExt, Intent, Pull,
};
use choreo_deploy::conformance::example_registry;
use choreo_deploy::deployment::Generation;
use choreo_deploy::rollout::RolloutPhase;
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::Scaling;
use choreo_deploy_kubernetes::policy::Namespaces;
use choreo_test_registry::TestRegistry;
use http::Request;
use kube::client::{Body, ClientBuilder};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tower::buffer::BufferLayer;
use tower::filter::AsyncFilterLayer;

use crate::cluster::{self, Backend, example, push, quick, release, service};

/// Delays the request with a number until it is released.
#[derive(Clone, Debug)]
struct Gate {
    pause_at: usize,
    count: Arc<AtomicUsize>,
    reached: Arc<Notify>,
    release: Arc<Semaphore>,
}

impl Gate {
    fn at(pause_at: usize) -> Self {
        Self {
            pause_at,
            count: Arc::default(),
            reached: Arc::default(),
            release: Arc::new(Semaphore::new(0)),
        }
    }

    async fn pass(self, request: Request<Body>) -> Request<Body> {
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.pause_at {
            self.reached.notify_one();
            let _permit = self.release.acquire().await;
        }
        request
    }
}

fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

/// Returns the objects of the newer worker, without fields that Kubernetes changes.
async fn picture(backend: &Backend, target: &Target) -> Vec<Value> {
    let mut objects = Vec::new();
    for plural in [
        "configmaps",
        "serviceaccounts",
        "secrets",
        "services",
        "poddisruptionbudgets",
        "deployments",
        "horizontalpodautoscalers",
    ] {
        for object in backend.list(target, plural).await {
            let metadata = &object["metadata"];
            objects.push(serde_json::json!([
                plural,
                metadata["name"],
                metadata["annotations"]["choreo.dev/generation"],
                object["spec"]["selector"],
                object["spec"]["scaleTargetRef"],
                object["spec"]["replicas"],
                object["spec"]["maxReplicas"],
                object["data"],
                object["spec"]["template"]["spec"]["containers"],
            ]));
        }
    }
    objects
}

/// The change while the older worker is paused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Newer {
    /// Another apply, which does not need some objects of the older one.
    Apply,
    /// Another apply of the release before the older one, which may have nothing to write.
    Same,
    Removal,
}

async fn paused_worker(newer: Newer, name: &str, was_there: bool) {
    let Some(config) = cluster::config().await else {
        return;
    };
    let registry = TestRegistry::builder()
        .start()
        .await
        .expect("a registry starts");
    let (old, new) = (
        push(&registry, "old", "10001"),
        push(&registry, "new", "10001"),
    );
    let (old, new) = (release(service(&[]), &old), release(service(&[]), &new));
    let backend = Backend::new(config.clone(), quick()).with_registry(registry);
    let range = Scaling::range(2.try_into().unwrap(), 4.try_into().unwrap(), 80).unwrap();
    let scaled = Settings::default().with_scaling(range);
    for pause_at in 1.. {
        assert!(pause_at < 100, "an apply takes fewer requests");
        let target = example(&format!("{name}-{pause_at}"));
        // Pods are started in a few rounds only, because the test is about the objects.
        let runs = pause_at % 10 == 0;
        let settings = if runs {
            Settings::default()
        } else {
            Settings::default().suspended()
        };
        if was_there {
            let intent = Intent::new(&target, generation(1), &old).with_settings(&settings);
            backend.apply(&intent).await.expect("is applied");
            let settled = backend.settle(&target, generation(1)).await;
            settled.expect("settles");
        }
        let gate = Gate::at(pause_at);
        let layer = {
            let gate = gate.clone();
            AsyncFilterLayer::new(move |request: Request<Body>| {
                let gate = gate.clone();
                async move { Ok::<_, tower::BoxError>(gate.pass(request).await) }
            })
        };
        let builder = ClientBuilder::try_from(config.clone()).expect("a client can be made");
        let mut policy = quick();
        policy.namespaces = backend.inner.policy().namespaces.clone();
        assert!(matches!(policy.namespaces, Namespaces::Create { .. }));
        let client = builder
            .with_layer(&BufferLayer::new(16))
            .with_layer(&layer)
            .build();
        let slow = choreo_deploy_kubernetes::KubernetesBackend::new(client, policy);
        let older = {
            let (target, old, scaled) = (target.clone(), old.clone(), scaled.clone());
            let secret = example_registry("old");
            tokio::spawn(async move {
                let intent = Intent::new(&target, generation(2), &old).with_settings(&scaled);
                slow.apply(&intent.with_pull(Pull::Secret(&secret))).await
            })
        };
        let paused = tokio::select! {
            () = gate.reached.notified() => true,
            () = until_finished(&older) => false,
        };
        match newer {
            Newer::Apply | Newer::Same => {
                let release = if newer == Newer::Same { &old } else { &new };
                let intent = Intent::new(&target, generation(3), release).with_settings(&settings);
                backend.apply(&intent).await.expect("the newer is applied");
                backend
                    .settle(&target, generation(3))
                    .await
                    .expect("the newer settles");
            }
            Newer::Removal => backend
                .remove(&target, generation(3))
                .await
                .expect("is removed"),
        }
        let before = picture(&backend, &target).await;
        gate.release.add_permits(1);
        let result = older.await.expect("the older worker does not panic");
        if !paused {
            result.expect("it was through before the newer came");
            break;
        }
        // The last request of an apply may have taken effect before.
        let stale = result
            .as_ref()
            .is_err_and(|e| e.kind() == BackendErrorKind::Stale);
        assert!(stale, "paused before request {pause_at}: {result:?}");
        assert_eq!(
            picture(&backend, &target).await,
            before,
            "paused before request {pause_at}"
        );
        if newer == Newer::Apply && runs {
            let watch =
                backend.watch_until_settled(&target, generation(3), Duration::from_millis(300));
            let rollout = tokio::time::timeout(Duration::from_secs(60), watch).await;
            assert_eq!(rollout.unwrap().unwrap().phase, RolloutPhase::Ready);
        }
        backend
            .remove(&target, generation(4))
            .await
            .expect("is removed");
    }
}

async fn until_finished<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn paused_first_apply_cannot_undo_a_newer_one() {
    paused_worker(Newer::Apply, "first", false).await;
}

#[tokio::test]
async fn paused_later_apply_cannot_undo_a_newer_one() {
    paused_worker(Newer::Apply, "later", true).await;
}

#[tokio::test]
async fn paused_apply_cannot_undo_one_that_changes_nothing() {
    paused_worker(Newer::Same, "same", true).await;
}

#[tokio::test]
async fn paused_first_apply_cannot_undo_a_removal() {
    paused_worker(Newer::Removal, "gone-first", false).await;
}

#[tokio::test]
async fn paused_later_apply_cannot_undo_a_removal() {
    paused_worker(Newer::Removal, "gone-later", true).await;
}
