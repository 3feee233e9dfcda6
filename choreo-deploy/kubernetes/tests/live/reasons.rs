//! Guards each reason on a real kubelet, and the transient failures that must not end a rollout.

use std::time::Duration;

use choreo_deploy::backend::{
    BackendErrorKind, DeploymentBackend, DeploymentBackendExt, Intent, Pull,
};
use choreo_deploy::deployment::Generation;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use choreo_deploy::workload::{self, KeyReference, Schedule, ScheduledTask, Value, Workload};
use choreo_deploy_kubernetes::KubernetesBackend;
use choreo_deploy_kubernetes::policy::{Namespaces, Policy};
use choreo_registry::ImageReference;
use choreo_test_registry::{Fault, TestRegistry, User};
use http::{Method, StatusCode};
use serde_json::json;

use crate::cluster::{self, Backend, example, push, push_program, quick, release, service};

struct World {
    backend: Backend,
    registry: TestRegistry,
    image: ImageReference,
}

impl World {
    async fn of(policy: Policy) -> Option<Self> {
        let config = cluster::config().await?;
        let registry = TestRegistry::builder().start().await.expect("a registry");
        let image = push(&registry, "1", "10001");
        Some(Self {
            backend: Backend::new(config, policy),
            registry,
            image,
        })
    }

    async fn new() -> Option<Self> {
        Self::of(quick()).await
    }

    /// Applies a workload with the image.
    async fn apply(&self, name: &str, number: u64, workload: impl Into<Workload>) {
        let (target, release) = (example(name), release(workload, &self.image));
        let intent = Intent::new(&target, generation(number), &release);
        self.backend.apply(&intent).await.expect("it is applied");
    }

    async fn deploy(&self, name: &str, number: u64, workload: impl Into<Workload>) -> Rollout {
        self.apply(name, number, workload).await;
        self.settled(name, number).await
    }

    async fn settled(&self, name: &str, number: u64) -> Rollout {
        settled(&self.backend, name, number).await
    }

    /// Observes until there is this reason, and returns that observation.
    async fn until(&self, name: &str, code: ReasonCode) -> Rollout {
        for _ in 0..300 {
            let rollout = self.backend.observe(&example(name)).await.expect("a look");
            if rollout.reasons.iter().any(|reason| reason.code == code) {
                return rollout;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        panic!("{code} was never said");
    }
}

async fn settled(backend: &Backend, name: &str, number: u64) -> Rollout {
    let (target, every) = (example(name), Duration::from_millis(300));
    let watch = backend.watch_until_settled(&target, generation(number), every);
    let ended = tokio::time::timeout(Duration::from_secs(120), watch).await;
    ended.expect("it ends in time").expect("it can be seen")
}

fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

fn secret(name: &str) -> KeyReference {
    KeyReference::Secret {
        name: name.to_owned(),
        key: "password".to_owned(),
    }
}

fn first(rollout: &Rollout) -> (RolloutPhase, ReasonCode, &str) {
    let reason = &rollout.reasons[0];
    (rollout.phase, reason.code, &reason.message)
}

#[tokio::test]
async fn a_registry_that_fails_for_three_seconds_ends_ready() {
    let Some(world) = World::new().await else {
        return;
    };
    for method in [Method::HEAD, Method::GET] {
        let fault = Fault::on(method, "/v2/shop/app/manifests/");
        world
            .registry
            .inject(fault.answer(StatusCode::NOT_FOUND).always());
    }
    world.apply("flaky", 1, service(&[])).await;
    let ends = async {
        world.until("flaky", ReasonCode::ImageNotFound).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.registry.clear_faults();
    };
    let (rollout, ()) = tokio::join!(world.settled("flaky", 1), ends);
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
}

#[tokio::test]
async fn a_secret_that_arrives_late_ends_ready() {
    let Some(world) = World::new().await else {
        return;
    };
    let mut workload = service(&[]);
    let from = Value::From(secret("late"));
    workload
        .container
        .variables
        .insert("P".parse().unwrap(), from);
    workload
        .container
        .files
        .insert("/etc/late".parse().unwrap(), secret("later"));
    world.apply("late", 1, workload).await;
    let arrives = async {
        for name in ["later", "late"] {
            world.until("late", ReasonCode::ConfigurationMissing).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let object = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
                "stringData": { "password": "x" },
            });
            let target = example("late");
            world.backend.create(&target, "secrets", &object).await;
        }
    };
    let (rollout, ()) = tokio::join!(world.settled("late", 1), arrives);
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
}

#[tokio::test]
async fn a_file_of_a_missing_secret_is_named() {
    let Some(world) = World::new().await else {
        return;
    };
    let mut workload = service(&[]);
    workload
        .container
        .files
        .insert("/etc/file".parse().unwrap(), secret("nowhere"));
    let rollout = world.deploy("file", 1, workload).await;
    let (phase, code, _) = first(&rollout);
    assert_eq!(
        (phase, code),
        (RolloutPhase::Failed, ReasonCode::ConfigurationMissing),
        "{rollout:?}"
    );
    let evidence = rollout.reasons[0].evidence.as_ref().unwrap().as_str();
    assert!(evidence.contains("nowhere"), "{evidence}");
}

#[tokio::test]
async fn a_program_for_another_processor_is_named() {
    let Some(mut world) = World::new().await else {
        return;
    };
    world.image = push_program(&world.registry, ("other", "10001"), b"\x7fELF of another");
    let rollout = world.deploy("processor", 1, service(&[])).await;
    let (phase, code, _) = first(&rollout);
    assert_eq!(
        (phase, code),
        (RolloutPhase::Failed, ReasonCode::ExecFormat),
        "{rollout:?}"
    );
}

fn large(variables: usize, bytes: usize) -> workload::Service {
    let mut workload = service(&[]);
    for i in 0..variables {
        let (name, value) = (format!("V{i}"), Value::Literal("x".repeat(bytes)));
        workload
            .container
            .variables
            .insert(name.parse().unwrap(), value);
    }
    workload
}

#[tokio::test]
async fn an_environment_that_is_too_large_is_named() {
    let Some(world) = World::new().await else {
        return;
    };
    // A literal of this size is rejected earlier. The size of a ConfigMap is unknown.
    world.deploy("environment", 1, service(&[])).await;
    let value = "x".repeat(200_000);
    let texts = json!({ "metadata": { "name": "texts" }, "data": { "text": value } });
    let target = example("environment");
    world.backend.create(&target, "configmaps", &texts).await;
    let mut workload = service(&[]);
    let key = KeyReference::ConfigMap {
        name: "texts".to_owned(),
        key: "text".to_owned(),
    };
    let variables = &mut workload.container.variables;
    variables.insert("TEXT".parse().unwrap(), Value::From(key));
    let rollout = world.deploy("environment", 2, workload).await;
    let (phase, code, message) = first(&rollout);
    assert_eq!(
        (phase, code),
        (RolloutPhase::Failed, ReasonCode::ContainerStartFailed),
        "{rollout:?}"
    );
    assert!(
        message.contains("larger than the kernel takes"),
        "{message}"
    );
}

#[tokio::test]
async fn a_specification_that_is_too_large_is_refused_at_once() {
    let Some(world) = World::new().await else {
        return;
    };
    let (target, release) = (example("large"), release(large(25, 100_000), &world.image));
    let intent = Intent::new(&target, generation(1), &release);
    let error = world.backend.apply(&intent).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn a_missing_pull_secret_is_named() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let builder = TestRegistry::builder().basic();
    let builder = builder.user(User::new("robot", "right").may_pull("shop"));
    let registry = builder.start().await.expect("a registry");
    let image = push(&registry, "1", "10001");
    let backend = Backend::new(config, quick());
    let (target, release) = (example("existing"), release(service(&[]), &image));
    let intent = Intent::new(&target, generation(1), &release).with_pull(Pull::Existing("nowhere"));
    backend.apply(&intent).await.expect("it is applied");
    let rollout = settled(&backend, "existing", 1).await;
    assert_eq!(
        first(&rollout),
        (
            RolloutPhase::Failed,
            ReasonCode::ConfigurationMissing,
            "pull secret nowhere is not on the data plane"
        ),
        "{rollout:?}"
    );
}

#[tokio::test]
async fn an_image_that_is_being_pulled_is_named() {
    let Some(mut world) = World::new().await else {
        return;
    };
    // An image that is not on any node.
    let tag = format!("slow-{}", std::process::id());
    world.image = push(&world.registry, &tag, "10001");
    let slow = Fault::on(Method::HEAD, "/v2/shop/app/manifests/");
    world.registry.inject(slow.delay(Duration::from_secs(15)));
    world.apply("slow", 1, service(&[])).await;
    let rollout = world.until("slow", ReasonCode::ImagePulling).await;
    assert_eq!(rollout.phase, RolloutPhase::Progressing, "{rollout:?}");
    let rollout = world.settled("slow", 1).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
}

/// Adds a rule to the namespace that no pod of these tests satisfies.
async fn with_rule(world: &World, name: &str, (plural, rule): (&str, serde_json::Value)) {
    let rollout = world.deploy(name, 1, service(&[])).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
    world.backend.create(&example(name), plural, &rule).await;
    // The admission plugins use a cache.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

fn quota() -> (&'static str, serde_json::Value) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" },
        "spec": { "hard": { "limits.cpu": "4" } },
    });
    ("resourcequotas", quota)
}

fn limit_range() -> (&'static str, serde_json::Value) {
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "l" },
        "spec": { "limits": [{ "type": "Container", "max": { "memory": "8Mi" } }] },
    });
    ("limitranges", range)
}

#[tokio::test]
async fn a_quota_and_a_limit_range_that_never_allow_it_are_named_at_once() {
    for (name, rule, words) in [
        ("quota", quota(), "limits.cpu"),
        ("range", limit_range(), "limit range"),
    ] {
        let Some(world) = World::new().await else {
            return;
        };
        with_rule(&world, name, rule).await;
        let started = std::time::Instant::now();
        let rollout = world.deploy(name, 2, service(&["wait"])).await;
        let (phase, code, message) = first(&rollout);
        assert_eq!(
            (phase, code),
            (RolloutPhase::Failed, ReasonCode::AdmissionRefused),
            "{rollout:?}"
        );
        assert!(message.contains(words), "{message}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_crashing_sidecar_is_named() {
    let mut policy = quick();
    // A pod is ready while all its containers run, even if only for a moment.
    policy.timing.min_ready_seconds = 5;
    let policy = policy.with_patch(|_, objects| {
        for object in objects {
            if object["kind"] == "Deployment" {
                let containers = &mut object["spec"]["template"]["spec"]["containers"];
                let mut sidecar = containers[0].clone();
                sidecar["name"] = "proxy".into();
                sidecar["args"] = json!(["crash", "no route", "7"]);
                for field in ["ports", "readinessProbe"] {
                    sidecar.as_object_mut().unwrap().remove(field);
                }
                containers.as_array_mut().unwrap().push(sidecar);
            }
        }
    });
    let Some(world) = World::of(policy).await else {
        return;
    };
    let rollout = world.deploy("sidecar", 1, service(&[])).await;
    assert_eq!(
        first(&rollout),
        (
            RolloutPhase::Failed,
            ReasonCode::ContainerCrashed,
            "container \"proxy\" ended with exit code 7"
        ),
        "{rollout:?}"
    );
}

#[tokio::test]
async fn a_paused_rollout_is_named() {
    let Some(world) = World::new().await else {
        return;
    };
    world.apply("paused", 1, service(&["wait"])).await;
    world.until("paused", ReasonCode::ProbeFailing).await;
    let pause = json!({ "spec": { "paused": true } });
    let target = example("paused");
    world.backend.merge(&target, "deployments", &pause).await;
    world.until("paused", ReasonCode::Paused).await;
}

#[tokio::test]
async fn nodes_that_do_not_take_a_pod_are_told_apart() {
    let policy = quick().with_patch(|_, objects| {
        for object in objects {
            let component = object["metadata"]["labels"]["choreo.dev/component"].clone();
            if object["kind"] == "Deployment" && component == "labels" {
                object["spec"]["template"]["spec"]["nodeSelector"] = json!({ "disk": "none" });
            }
        }
    });
    let Some(world) = World::of(policy).await else {
        return;
    };
    let mut memory = service(&[]);
    memory.container.resources.memory_request = "1Ti".parse().unwrap();
    memory.container.resources.memory_limit = "1Ti".parse().unwrap();
    for (name, workload, words) in [
        ("memory", memory, "too little free memory"),
        ("labels", service(&[]), "the labels that the pod selects"),
    ] {
        world.apply(name, 1, workload).await;
        let rollout = world.until(name, ReasonCode::Unschedulable).await;
        let message = &rollout.reasons[0].message;
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn what_the_control_plane_lacks_is_told_apart() {
    use BackendErrorKind as Kind;
    let Some(config) = cluster::config().await else {
        return;
    };
    let mut nobody = config.clone();
    nobody.auth_info.impersonate = Some("nobody".to_owned());
    let mut stranger = config.clone();
    stranger.auth_info = kube::config::AuthInfo::default();
    stranger.auth_info.token = Some("no-token".to_owned().into());
    let registry = TestRegistry::builder().start().await.expect("a registry");
    let image = push(&registry, "1", "10001");
    for (config, kind) in [
        (config, Kind::NotFound),
        (nobody, Kind::PermissionDenied),
        (stranger, Kind::Unauthenticated),
    ] {
        let mut policy = quick();
        policy.namespaces = Namespaces::Existing("kt-nowhere".to_owned());
        let client = kube::Client::try_from(config).unwrap();
        let backend = KubernetesBackend::new(client, policy);
        let (target, release) = (example("lacks"), release(service(&[]), &image));
        let intent = Intent::new(&target, generation(1), &release);
        let error = backend.apply(&intent).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

fn every_minute() -> ScheduledTask {
    let schedule = Schedule::new("* * * * *".parse().unwrap(), "UTC".parse().unwrap());
    let mut task = ScheduledTask::new(schedule);
    task.container.args = vec!["wait".to_owned()];
    task
}

#[tokio::test]
async fn a_schedule_whose_runs_are_not_admitted_is_not_ready() {
    let Some(world) = World::new().await else {
        return;
    };
    with_rule(&world, "admitted", limit_range()).await;
    let rollout = world.deploy("nightly", 1, every_minute()).await;
    let (phase, code, _) = first(&rollout);
    assert_eq!(
        (phase, code),
        (RolloutPhase::Failed, ReasonCode::AdmissionRefused),
        "{rollout:?}"
    );
}

#[tokio::test]
async fn the_failure_of_a_scheduled_run_belongs_to_its_own_release() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let good = world.image.clone();
    world.image = push(&world.registry, "root", "0");
    world.apply("hourly", 1, every_minute()).await;
    let rollout = world.until("hourly", ReasonCode::RunAsRoot).await;
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    world.image = good;
    let rollout = world.deploy("hourly", 2, every_minute()).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
    assert_eq!(rollout.reasons, [], "the older Job is not of this release");
}
