//! Guards that the documented role is exactly the required one: no right is missing, and none is
//! unused.

use std::collections::BTreeSet;
use std::time::Duration;

use choreo_deploy::backend::{
    DeploymentBackend, DeploymentBackendExt, Intent, LogQuery, Pull, RunIntent,
};
use choreo_deploy::conformance::example_registry;
use choreo_deploy::deployment::Generation;
use choreo_deploy::rollout::RolloutPhase;
use choreo_deploy::run::{RunOverrides, RunPhase};
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::{ManualTask, Scaling, Schedule, ScheduledTask};
use choreo_test_registry::TestRegistry;
use http::Request;
use kube::config::AuthInfo;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::cluster::{self, Backend, example, push, quick, release, service};
use crate::recording::{Call, Recording};

const MANIFEST: &str = include_str!("../../rbac.yaml");
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// A service account with the role, which is deleted when it is dropped.
struct Account {
    admin: Config,
    name: String,
    /// The login of the account.
    config: Config,
    /// The rights of the role.
    granted: BTreeSet<Call>,
}

impl Account {
    async fn with_the_role(config: &Config) -> Self {
        let admin = Client::try_from(config.clone()).expect("a client can be made");
        let name = format!("kt{}-rbac", std::process::id());
        let role = MANIFEST.replace("\n  name: choreo\n", &format!("\n  name: {name}\n"));
        assert_ne!(role, MANIFEST);
        let role = send(&admin, Request::post(ROLES), "application/yaml", role).await;
        let namespace = json!({ "metadata": { "name": name } });
        post(&admin, "/api/v1/namespaces", namespace).await;
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        post(
            &admin,
            &accounts,
            json!({ "metadata": { "name": "choreo" } }),
        )
        .await;
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": "choreo", "namespace": name }],
        });
        post(&admin, BINDINGS, binding).await;
        let token = format!("{accounts}/choreo/token");
        let token = post(&admin, &token, json!({ "spec": {} })).await;
        let token = token["status"]["token"].as_str().expect("a token");
        let admin = config.clone();
        let mut config = config.clone();
        config.auth_info = AuthInfo {
            token: Some(token.to_owned().into()),
            ..AuthInfo::default()
        };
        let granted = granted(&role);
        Self {
            admin,
            name,
            config,
            granted,
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime can be made").block_on(async {
                let admin = Client::try_from(admin).expect("a client can be made");
                for path in [
                    format!("{BINDINGS}/{name}"),
                    format!("{ROLES}/{name}"),
                    format!("/api/v1/namespaces/{name}"),
                ] {
                    let request = Request::delete(path).body(Vec::new());
                    let request = request.expect("a request");
                    let _ = admin.request::<Value>(request).await;
                }
            });
        });
        let _ = cleaning.join();
    }
}

async fn post(client: &Client, path: &str, body: Value) -> Value {
    let json = "application/json";
    send(client, Request::post(path), json, body.to_string()).await
}

async fn send(
    client: &Client,
    request: http::request::Builder,
    content_type: &str,
    body: String,
) -> Value {
    let request = request.header("content-type", content_type);
    let request = request.body(body.into_bytes()).expect("a request");
    client.request(request).await.expect("it is done")
}

/// Returns each right of a role separately.
fn granted(role: &Value) -> BTreeSet<Call> {
    let list = |rule: &Value, field: &str| -> Vec<String> {
        serde_json::from_value(rule[field].clone()).expect("texts")
    };
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                for verb in list(rule, "verbs") {
                    let resource = format!("{group}/{resource}");
                    let verb: &'static str = verb.leak();
                    granted.insert(Call { resource, verb });
                }
            }
        }
    }
    granted
}

fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

async fn deploy(backend: &Backend, intent: &Intent<'_>) {
    backend.apply(intent).await.expect("it is applied");
    let every = Duration::from_millis(300);
    let watch = backend.watch_until_settled(intent.target, intent.generation, every);
    let rollout = tokio::time::timeout(Duration::from_secs(120), watch).await;
    let rollout = rollout.expect("it ends in time").expect("it is looked at");
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
    let settled = backend.settle(intent.target, intent.generation).await;
    settled.expect("it settles");
}

/// Guards that the documented role is sufficient for every function of the backend, and contains no
/// other right.
#[tokio::test]
async fn the_documented_role_is_what_is_used() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let registry = TestRegistry::builder().start().await.expect("it starts");
    let (one, two) = (push(&registry, "1", "10001"), push(&registry, "2", "10001"));
    let account = Account::with_the_role(&config).await;
    let recording = Recording::default();
    let client = recording.client(account.config.clone());
    let backend = Backend::over(client, config, quick()).with_registry(registry);
    use_everything(&backend, (&one, &two)).await;
    let used = recording.rights();
    let missing: Vec<_> = used.difference(&account.granted).collect();
    let unused: Vec<_> = account.granted.difference(&used).collect();
    assert!(missing.is_empty(), "used and not granted: {missing:?}");
    assert!(unused.is_empty(), "granted and not used: {unused:?}");
}

async fn use_everything(
    backend: &Backend,
    (one, two): (
        &choreo_registry::ImageReference,
        &choreo_registry::ImageReference,
    ),
) {
    let target = example("rbac");
    let secret = example_registry("one");
    let range = Scaling::range(2.try_into().unwrap(), 3.try_into().unwrap(), 80).unwrap();
    let scaled = Settings::default().with_scaling(range);
    let served = release(service(&[]), one);
    let intent = Intent::new(&target, generation(1), &served)
        .with_settings(&scaled)
        .with_pull(Pull::Secret(&secret));
    deploy(backend, &intent).await;
    let logs = backend.logs().expect("it reads logs");
    logs.tail(&target, &LogQuery::last(1)).await.expect("lines");
    let rotated = example_registry("two");
    let rotated = Pull::Secret(&rotated);
    let replaced = backend.update_pull_secret(&target, generation(1), &rotated);
    replaced.await.expect("it is replaced");

    let served = release(service(&[]), two);
    deploy(backend, &Intent::new(&target, generation(2), &served)).await;

    // Another workload type: the Service is removed now, and the CronJob by the next deployment.
    let at_night = Schedule::new("0 3 * * *".parse().unwrap(), "UTC".parse().unwrap());
    let scheduled = release(ScheduledTask::new(at_night), two);
    deploy(backend, &Intent::new(&target, generation(3), &scheduled)).await;
    let manual = release(ManualTask::new(), two);
    let intent = Intent::new(&target, generation(4), &manual);
    deploy(backend, &intent).await;

    let tasks = backend.tasks().expect("it runs tasks");
    let (run, overrides) = (
        "r-1".parse().unwrap(),
        RunOverrides::args(vec!["wait".to_owned()]),
    );
    let started = tasks.start(&RunIntent::new(&run, intent, &overrides)).await;
    started.expect("it starts");
    let cancelled = tasks.cancel_run(&target, &run).await;
    cancelled.expect("it is cancelled");
    let status = tasks.observe_run(&target, &run).await.expect("it is there");
    assert_ne!(status.phase, Some(RunPhase::Succeeded), "{status:?}");

    // An image that cannot be pulled is explained by events, and is taken back.
    let (repository, _) = one.as_str().split_once('@').expect("a digest");
    let missing = format!("{repository}@sha256:{}", "0".repeat(64));
    let missing = release(service(&[]), &missing.parse().expect("an image"));
    let intent = Intent::new(&target, generation(5), &missing);
    backend.apply(&intent).await.expect("it is applied");
    let every = Duration::from_millis(300);
    let watch = backend.watch_until_settled(&target, generation(5), every);
    let rollout = tokio::time::timeout(Duration::from_secs(120), watch).await;
    let rollout = rollout.expect("it ends in time").expect("it is looked at");
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    let back = backend.take_back(&target, generation(5), None).await;
    back.expect("it is taken back");
    let removed = backend.remove(&target, generation(6)).await;
    removed.expect("it is removed");
}
