//! Guards rollouts, and the reasons when they fail.

use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{
    BackendErrorKind, DeploymentBackend, DeploymentBackendExt, Intent, LogQuery, LogReader, Pull,
};
use choreo_deploy::deployment::Generation;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::{KeyReference, Scaling, Schedule, ScheduledTask, Value, Workload};
use choreo_registry::{Credential, Digest, PullSecret};
use choreo_test_registry::{TestRegistry, User};
use serde_json::json;

use crate::cluster::{self, Backend, example, push, quick, release, service};

/// Applies, waits for the end, and returns the last observation.
async fn deploy(backend: &Backend, intent: &Intent<'_>) -> Rollout {
    backend.apply(intent).await.expect("it is applied");
    settled(backend, intent).await
}

async fn settled(backend: &Backend, intent: &Intent<'_>) -> Rollout {
    let every = Duration::from_millis(300);
    let watch = backend.watch_until_settled(intent.target, intent.generation, every);
    let ended = tokio::time::timeout(Duration::from_secs(120), watch).await;
    ended
        .expect("the rollout ends in time")
        .expect("it can be looked at")
}

async fn open() -> Option<(Backend, TestRegistry)> {
    let config = cluster::config().await?;
    let registry = TestRegistry::builder()
        .start()
        .await
        .expect("a registry starts");
    Some((Backend::new(config, quick()), registry))
}

fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

#[tokio::test]
async fn running_digest_is_reported() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let image = push(&registry, "1", "10001");
    let (target, release) = (example("digest"), release(service(&[]), &image));
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
    assert_eq!(
        rollout.running.as_ref().map(Digest::as_borrowed),
        image.digest()
    );
}

#[tokio::test]
async fn missing_image_is_named() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let image = format!("{}/shop/app@sha256:{}", registry.host(), "0".repeat(64))
        .parse()
        .unwrap();
    let (target, release) = (example("missing"), release(service(&[]), &image));
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    assert_eq!(
        rollout.reasons[0].code,
        ReasonCode::ImageNotFound,
        "{rollout:?}"
    );
}

#[tokio::test]
async fn wrong_password_and_rotation() {
    for bearer in [false, true] {
        let Some(config) = cluster::config().await else {
            return;
        };
        let backend = Backend::new(config, quick());
        let builder = TestRegistry::builder();
        let builder = if bearer {
            builder.bearer()
        } else {
            builder.basic()
        };
        let builder = builder.user(User::new("robot", "right").may_pull("shop"));
        let registry = builder.start().await.expect("a registry starts");
        let image = push(&registry, "1", "10001");
        let (target, release) = (example("login"), release(service(&[]), &image));
        let secret = |password: &str| {
            let credential = Credential::new("robot", password).unwrap();
            PullSecret::new(&registry.host().parse().unwrap(), &credential)
        };
        let (wrong, right) = (secret("wrong"), secret("right"));
        let intent = Intent::new(&target, generation(1), &release).with_pull(Pull::Secret(&wrong));
        let rollout = deploy(&backend, &intent).await;
        assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
        assert_eq!(
            rollout.reasons[0].code,
            ReasonCode::RegistryCredentialRefused,
            "{rollout:?}"
        );

        // The kubelet uses the correct credential at its next attempt, without new objects.
        let pull = Pull::Secret(&right);
        backend
            .update_pull_secret(&target, generation(1), &pull)
            .await
            .expect("it is replaced");
        for _ in 0..100 {
            if backend.is_ready(&target, generation(1)).await.unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(backend.is_ready(&target, generation(1)).await.unwrap());
    }
}

#[tokio::test]
async fn no_credential_is_named() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let backend = Backend::new(config, quick());
    let registry = TestRegistry::builder()
        .basic()
        .start()
        .await
        .expect("a registry starts");
    let image = push(&registry, "1", "10001");
    let (target, release) = (example("anonymous"), release(service(&[]), &image));
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    assert_eq!(
        rollout.reasons[0].code,
        ReasonCode::RegistryCredentialMissing,
        "{rollout:?}"
    );
}

#[tokio::test]
async fn crash_shows_its_last_lines() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let image = push(&registry, "1", "10001");
    let workload = service(&["crash", "cannot open the ledger", "7"]);
    let (target, release) = (example("crash"), release(workload, &image));
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    let reason = &rollout.reasons[0];
    assert_eq!(reason.code, ReasonCode::ContainerCrashed);
    assert_eq!(reason.message, "the container ended with exit code 7");
    assert_eq!(
        reason.evidence.as_ref().unwrap().as_str(),
        "cannot open the ledger"
    );
}

#[tokio::test]
async fn root_is_refused_and_allowed_by_the_operator() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let target = example("root");
    for (user, number) in [("0", 1), ("daemon", 2)] {
        let release = release(service(&[]), &push(&registry, user, user));
        let rollout = deploy(
            &backend,
            &Intent::new(&target, generation(number), &release),
        )
        .await;
        assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
        assert_eq!(
            rollout.reasons[0].code,
            ReasonCode::RunAsRoot,
            "{rollout:?}"
        );
    }
    let mut policy = quick();
    policy.security = choreo_deploy_kubernetes::policy::SecurityProfile::ImageUser;
    let backend = Backend::new(cluster::config().await.unwrap(), policy);
    let release = release(service(&[]), &push(&registry, "0", "0"));
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
}

#[tokio::test]
async fn missing_configuration_and_command_are_named() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let image = push(&registry, "1", "10001");
    let mut workload = service(&[]);
    let key = KeyReference::Secret {
        name: "nowhere".to_owned(),
        key: "password".to_owned(),
    };
    workload
        .container
        .variables
        .insert("PASSWORD".parse().unwrap(), Value::From(key));
    let (target, missing) = (example("config"), release(workload, &image));
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &missing)).await;
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    assert_eq!(
        rollout.reasons[0].code,
        ReasonCode::ConfigurationMissing,
        "{rollout:?}"
    );

    let mut workload = service(&[]);
    workload.container.command = vec!["/not-there".to_owned()];
    let missing = release(workload, &image);
    let rollout = deploy(&backend, &Intent::new(&target, generation(2), &missing)).await;
    assert_eq!(rollout.phase, RolloutPhase::Failed, "{rollout:?}");
    assert_eq!(
        rollout.reasons[0].code,
        ReasonCode::ContainerStartFailed,
        "{rollout:?}"
    );
}

/// Guards the changes from one copy to a range, to three, and to none. Each replaces the last, and
/// settling removes the objects that are no longer needed.
#[tokio::test]
async fn scaling_and_pruning() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let (target, release) = (
        example("scaling"),
        release(service(&[]), &push(&registry, "1", "10001")),
    );
    let range = Scaling::range(2.try_into().unwrap(), 4.try_into().unwrap(), 80).unwrap();
    let steps = [
        (Settings::default(), &[][..], 1),
        (
            Settings::default().with_scaling(range),
            &["horizontalpodautoscalers", "poddisruptionbudgets"][..],
            2,
        ),
        (
            Settings::default().with_scaling(Scaling::fixed(3)),
            &["poddisruptionbudgets"][..],
            3,
        ),
        (Settings::default().suspended(), &[][..], 0),
    ];
    for (number, (settings, extra, replicas)) in (1..).zip(steps) {
        let intent = Intent::new(&target, generation(number), &release).with_settings(&settings);
        let rollout = deploy(&backend, &intent).await;
        assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
        backend
            .settle(&target, generation(number))
            .await
            .expect("it settles");
        for plural in ["horizontalpodautoscalers", "poddisruptionbudgets"] {
            let there = !backend.list(&target, plural).await.is_empty();
            assert_eq!(
                there,
                extra.contains(&plural),
                "{plural} at generation {number}"
            );
        }
        let deployment = &backend.list(&target, "deployments").await[0];
        assert_eq!(deployment["spec"]["replicas"], replicas);
        assert_eq!(
            backend.list(&target, "replicasets").await.len(),
            1,
            "scaling restarts nothing"
        );
    }
    backend
        .remove(&target, generation(9))
        .await
        .expect("it is removed");
    for plural in ["deployments", "services", "secrets", "poddisruptionbudgets"] {
        assert_eq!(
            backend.list(&target, plural).await,
            [] as [serde_json::Value; 0],
            "{plural}"
        );
    }
}

#[tokio::test]
async fn foreign_objects_are_not_taken_over() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let (target, release) = (
        example("foreign"),
        release(service(&[]), &push(&registry, "1", "10001")),
    );
    deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    let change = json!({ "metadata": { "labels": { "choreo.dev/component": "somebody-else" } } });
    backend.merge(&target, "services", &change).await;
    let error = backend
        .apply(&Intent::new(&target, generation(2), &release))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused);
    assert!(
        error
            .to_string()
            .ends_with("belongs to another owner: remove it"),
        "{error}"
    );
}

/// Guards that an object still belongs to its target after other tools changed the recommended
/// labels.
#[tokio::test]
async fn labels_that_other_tools_set_are_no_dead_end() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let target = example("labels");
    let part_of = "app.kubernetes.io/part-of";
    let relabel = async || {
        let change = json!({ "metadata": { "labels": {
            part_of: "a-chart", "app.kubernetes.io/managed-by": "Helm",
        } } });
        for plural in ["services", "deployments", "serviceaccounts"] {
            backend.merge(&target, plural, &change).await;
        }
    };
    for (number, tag) in [(1, "1"), (2, "2")] {
        let release = release(service(&[]), &push(&registry, tag, "10001"));
        let intent = Intent::new(&target, generation(number), &release);
        let rollout = deploy(&backend, &intent).await;
        assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
        for plural in ["services", "deployments"] {
            let live = backend.list(&target, plural).await;
            assert_eq!(live[0]["metadata"]["labels"][part_of], "shop", "{plural}");
        }
        relabel().await;
    }
    backend.remove(&target, generation(3)).await.unwrap();
    assert!(backend.list(&target, "services").await.is_empty());
}

/// `kubectl set env` leaves a value, and Kubernetes rejects it together with a reference.
#[tokio::test]
async fn a_variable_that_somebody_set_is_taken_over() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let (target, image) = (example("set-env"), push(&registry, "1", "10001"));
    let plain = release(service(&[]), &image);
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &plain)).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");

    let mut containers = containers(&backend, &target).await;
    containers[0]["env"] = json!([{ "name": "LEVEL", "value": "by-hand" }]);
    let change = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    backend.merge(&target, "deployments", &change).await;
    let levels = json!({ "metadata": { "name": "levels" }, "data": { "level": "info" } });
    backend.create(&target, "configmaps", &levels).await;

    let mut workload = service(&[]);
    let key = KeyReference::ConfigMap {
        name: "levels".to_owned(),
        key: "level".to_owned(),
    };
    let variables = &mut workload.container.variables;
    variables.insert("LEVEL".parse().unwrap(), Value::From(key));
    let referring = release(workload, &image);
    let rollout = deploy(&backend, &Intent::new(&target, generation(2), &referring)).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
    let variables = &self::containers(&backend, &target).await[0]["env"];
    assert_eq!(variables[0].get("value"), None, "{variables}");
    assert_eq!(
        variables[0]["valueFrom"]["configMapKeyRef"]["name"],
        "levels"
    );

    // The field now has one owner, so it is removed when it is left out.
    let rollout = deploy(&backend, &Intent::new(&target, generation(3), &plain)).await;
    assert_eq!(rollout.phase, RolloutPhase::Ready, "{rollout:?}");
    assert_eq!(
        self::containers(&backend, &target).await[0].get("env"),
        None
    );
}

async fn containers(backend: &Backend, target: &Target) -> serde_json::Value {
    backend.list(target, "deployments").await[0]["spec"]["template"]["spec"]["containers"].clone()
}

#[tokio::test]
async fn cron_job_is_accepted() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    let schedule = Schedule::new(
        "0 3 * * *".parse().unwrap(),
        "Europe/Berlin".parse().unwrap(),
    );
    let workload = Workload::from(ScheduledTask::new(schedule));
    let (target, release) = (
        example("nightly"),
        release(workload, &push(&registry, "1", "10001")),
    );
    let rollout = deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
    assert_eq!(
        (rollout.phase, rollout.reasons.len()),
        (RolloutPhase::Ready, 0),
        "{rollout:?}"
    );
    let settings = Settings::default().suspended();
    let intent = Intent::new(&target, generation(2), &release).with_settings(&settings);
    let rollout = deploy(&backend, &intent).await;
    assert_eq!(rollout.reasons[0].code, ReasonCode::Suspended);
    assert_eq!(
        backend.list(&target, "cronjobs").await[0]["spec"]["suspend"],
        true
    );
}

#[tokio::test]
async fn logs_are_read_where_the_cluster_can() {
    let Some((backend, registry)) = open().await else {
        return;
    };
    if cluster::reads_logs(&backend).await {
        let image = push(&registry, "1", "10001");
        let (target, release) = (example("logs"), release(service(&[]), &image));
        deploy(&backend, &Intent::new(&target, generation(1), &release)).await;
        let lines = backend.inner.tail(&target, &LogQuery::last(5)).await;
        assert_eq!(lines.unwrap()[0].text, "listening");
    }
}
