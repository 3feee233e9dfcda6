//! Guards that each render version always produces the same objects, which are compared with files.
//!
//! A difference means that an upgrade restarts pods. Do not change a file: add a new render
//! version. `CHOREO_WRITE_GOLDEN=1` writes missing files, and never changes one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::PathBuf;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendErrorKind, Intent, Pull, RunIntent};
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::{
    DigestPin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber,
};
use choreo_deploy::run::RunOverrides;
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::{
    Check, Endpoint, KeyReference, ManualTask, Probe, Protocol, RunAs, Scaling, Schedule,
    ScheduledTask, Service, Value, Visibility, WebApplication, Workload,
};
use choreo_deploy_kubernetes::policy::{Namespaces, PullPolicy, SecurityProfile};
use choreo_deploy_kubernetes::{Object, Policy, render, render_run};
use choreo_registry::{Credential, PullSecret};

fn target() -> Target {
    Target::new(
        "acme".parse().unwrap(),
        "shop".parse().unwrap(),
        "orders".parse().unwrap(),
        "development".parse().unwrap(),
    )
}

fn release(workload: impl Into<Workload>) -> Release {
    let image = ReleaseImage::unpinned("registry.example.com/shop/orders:1.4.2".parse().unwrap());
    let digest = format!("sha256:{}", "4".repeat(64)).parse().unwrap();
    let draft = ReleaseDraft::new(
        workload.into(),
        image.pinned(DigestPin::new(digest, Pinning::Resolved)),
    );
    let number = ReleaseNumber::new(3).unwrap();
    Release::new(
        target().component_key(),
        number,
        draft,
        "2026-01-02T03:04:05Z".parse().unwrap(),
    )
}

fn service() -> Service {
    let api = Endpoint::new(
        "api".parse().unwrap(),
        8080.try_into().unwrap(),
        Protocol::Http,
    );
    let events = Endpoint::new(
        "events".parse().unwrap(),
        9000.try_into().unwrap(),
        Protocol::Udp,
    );
    let endpoints = vec![api.visible(Visibility::Organization), events];
    Service::new(endpoints.try_into().unwrap())
}

/// Returns a Service that uses every field of a container.
fn full_service() -> Service {
    let mut service = service();
    let container = &mut service.container;
    container.command = vec!["/orders".to_owned()];
    container.args = vec!["serve".to_owned(), "$(PORT)".to_owned()];
    let key = |name: &str| KeyReference::Secret {
        name: name.to_owned(),
        key: "password".to_owned(),
    };
    let map = KeyReference::ConfigMap {
        name: "orders".to_owned(),
        key: "app.toml".to_owned(),
    };
    let literal = |text: &str| Value::Literal(text.to_owned());
    container
        .variables
        .insert("PORT".parse().unwrap(), literal("8080"));
    container
        .variables
        .insert("PRICE".parse().unwrap(), literal("$(PORT) $$ $"));
    container.variables.insert(
        "DB_PASSWORD".parse().unwrap(),
        Value::From(key("orders-db")),
    );
    container
        .files
        .insert("/etc/orders/app.toml".parse().unwrap(), map);
    container
        .files
        .insert("/run/keys/signing".parse().unwrap(), key("orders-signing"));
    container.run_as = Some(RunAs::user(10_001.try_into().unwrap()));
    container.resources.cpu_limit = Some("1".parse().unwrap());
    service.scaling = Scaling::range(2.try_into().unwrap(), 5.try_into().unwrap(), 70).unwrap();
    let port = 8080.try_into().unwrap();
    service.probes.readiness = Some(Probe::new(Check::Http {
        path: "/ready".to_owned(),
        port,
    }));
    service.probes.liveness = Some(Probe::new(Check::Tcp { port }));
    service.probes.startup = Some(Probe::new(Check::Exec {
        command: vec!["/orders".to_owned(), "started".to_owned()],
    }));
    service
}

fn scheduled() -> ScheduledTask {
    ScheduledTask::new(Schedule::new(
        "15 3 * * 1-5".parse().unwrap(),
        "Europe/Berlin".parse().unwrap(),
    ))
}

fn intent<'a>(target: &'a Target, release: &'a Release) -> Intent<'a> {
    Intent::new(target, Generation::new(0, 7), release)
}

fn check(name: &str, objects: &[Object]) {
    let text: String = objects
        .iter()
        .map(|object| format!("---\n{}", object.to_yaml()))
        .collect();
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v1/{name}.yaml"));
    if std::env::var_os("CHOREO_WRITE_GOLDEN").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert!(
        text == golden,
        "render version 1 makes other objects than {path:?}: make a new version instead\n{text}"
    );
}

fn check_intent(name: &str, intent: &Intent<'_>, policy: &Policy) {
    check(name, &render(intent, policy).unwrap());
}

#[test]
fn service_with_defaults() {
    let (target, release) = (target(), release(service()));
    check_intent("service", &intent(&target, &release), &Policy::default());
}

#[test]
fn service_with_everything() {
    let (target, release) = (target(), release(full_service()));
    let credential = Credential::new("robot", "correct horse").unwrap();
    let secret = PullSecret::new(&"registry.example.com".parse().unwrap(), &credential);
    let intent = intent(&target, &release).with_pull(Pull::Secret(&secret));
    check_intent("service-full", &intent, &Policy::default());
}

#[test]
fn web_application_in_production() {
    let (target, release) = (
        target(),
        release(WebApplication::new(3000.try_into().unwrap())),
    );
    let settings = Settings::default()
        .with_scaling(Scaling::fixed(3))
        .with_variable(
            "MODE".parse().unwrap(),
            Value::Literal("production".to_owned()),
        );
    let intent = intent(&target, &release).with_settings(&settings);
    check_intent(
        "web-application",
        &intent.with_pull(Pull::Existing("team")),
        &Policy::default(),
    );
}

#[test]
fn scheduled_task() {
    let (target, release) = (target(), release(scheduled()));
    check_intent(
        "scheduled-task",
        &intent(&target, &release),
        &Policy::default(),
    );
}

#[test]
fn suspended_scheduled_task() {
    let (target, release) = (target(), release(scheduled()));
    let settings = Settings::default().suspended();
    let intent = intent(&target, &release).with_settings(&settings);
    check_intent("scheduled-task-suspended", &intent, &Policy::default());
}

#[test]
fn manual_task_and_a_run() {
    let (target, release) = (target(), release(ManualTask::new()));
    let intent = intent(&target, &release);
    check_intent("manual-task", &intent, &Policy::default());
    let mut overrides = RunOverrides::args(vec!["--since".to_owned(), "2026-01-01".to_owned()]);
    overrides
        .variables
        .insert("DRY_RUN".parse().unwrap(), "yes".to_owned());
    let run = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap();
    let job = render_run(
        &RunIntent::new(&run, intent, &overrides),
        &Policy::default(),
    )
    .unwrap();
    check("run", &[job]);
}

#[test]
fn operators_policy() {
    let (target, mut release) = (target(), release(service()));
    release.image = ReleaseImage::unpinned(release.image.requested);
    let mut policy = Policy::default();
    policy.namespaces = Namespaces::Existing("team-{environment}".to_owned());
    policy.security = SecurityProfile::Baseline;
    policy.writable_root = true;
    policy.pull_policy = PullPolicy::Always;
    policy
        .labels
        .insert("cost-centre".to_owned(), "4711".to_owned());
    policy
        .annotations
        .insert("example.com/owner".to_owned(), "shop team".to_owned());
    policy.timing.pre_stop_seconds = 0;
    policy.zones = true;
    policy.scratch.request = Some("100Mi".parse().unwrap());
    policy.scratch.tmp = "64Mi".parse().unwrap();
    check_intent("service-baseline", &intent(&target, &release), &policy);
}

#[test]
fn image_user_and_given_user() {
    let (target, release) = (target(), release(service()));
    let mut policy = Policy::default();
    policy.security = SecurityProfile::ImageUser;
    check_intent("service-image-user", &intent(&target, &release), &policy);
    policy.security = SecurityProfile::RunAs(RunAs::user(20_000.try_into().unwrap()));
    check_intent("service-run-as", &intent(&target, &release), &policy);
}

#[test]
fn redeploying_the_same_digest_restarts_nothing() {
    let (target, one) = (target(), release(service()));
    let mut other = one.clone();
    other.number = other.number.next();
    other.image.requested = "registry.example.com/shop/orders:1.4.3".parse().unwrap();
    let template = |release: &Release, number| {
        let intent = Intent::new(&target, Generation::new(0, number), release);
        let objects = render(&intent, &Policy::default()).unwrap();
        let deployment = objects
            .iter()
            .find(|object| object.kind() == "Deployment")
            .unwrap();
        deployment.expose_manifest()["spec"]["template"].clone()
    };
    assert_eq!(template(&one, 1), template(&other, 2));
    // An image without a digest may have changed in the meantime.
    let unpinned = |of: &Release| {
        let mut release = of.clone();
        release.image.pin = None;
        release.image.requested = "registry.example.com/shop/orders:latest".parse().unwrap();
        release
    };
    assert_ne!(template(&unpinned(&one), 1), template(&unpinned(&other), 2));
}

#[test]
fn unknown_render_version_is_refused() {
    let (target, mut release) = (target(), release(service()));
    release.render_version = 2;
    let error = render(&intent(&target, &release), &Policy::default()).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused);
    assert_eq!(
        error.to_string(),
        "render failed: release 3 has render version 2, and this backend supports version 1: upgrade the backend, or deploy the image again"
    );
}

#[test]
fn patch_changes_what_it_may_and_is_refused_otherwise() {
    let (target, release) = (target(), release(service()));
    let intent = intent(&target, &release);
    let patched = |patch: fn(&mut Vec<serde_json::Value>)| {
        render(
            &intent,
            &Policy::default().with_patch(move |_, objects| patch(objects)),
        )
    };
    let of = |objects: &[Object], kind: &str| {
        objects
            .iter()
            .find(|object| object.kind() == kind)
            .unwrap()
            .expose_manifest()
    };
    let objects = patched(|objects| {
        objects[3]["spec"]["template"]["spec"]["priorityClassName"] = "tenant".into();
        objects[3]["metadata"]["labels"]["team"] = "shop".into();
    });
    let deployment = of(&objects.unwrap(), "Deployment");
    assert_eq!(
        deployment["spec"]["template"]["spec"]["priorityClassName"],
        "tenant"
    );

    for (patch, message) in [
        (
            (|objects| objects.truncate(1)) as fn(&mut Vec<serde_json::Value>),
            "render failed: the operator's patch returns 1 objects instead of 4: do not add or remove objects",
        ),
        (
            |objects| objects[3]["metadata"]["name"] = "other".into(),
            "render failed: the operator's patch changes \"/metadata/name\" of Deployment/orders-8913b73fb1d8: leave this part unchanged",
        ),
        (
            |objects| objects[3]["spec"]["template"]["spec"]["containers"][0]["image"] = "x".into(),
            "render failed: the operator's patch changes \"/spec/template/spec/containers\" of Deployment/orders-8913b73fb1d8: leave this part unchanged",
        ),
        (
            |objects| objects[2]["spec"]["selector"] = serde_json::json!({}),
            "render failed: the operator's patch changes \"/spec/selector\" of Service/orders-8913b73fb1d8: leave this part unchanged",
        ),
    ] {
        assert_eq!(patched(patch).unwrap_err().to_string(), message);
    }
}

/// Guards that a specification of 2.5 MB is rejected. It used to be retried as if the API server
/// did not respond.
#[test]
fn what_is_too_large_is_refused() {
    let target = target();
    let mut workload = service();
    let data = Value::Literal("x".repeat(100_000));
    for number in 0..25 {
        let name = format!("DATA_{number}").parse().unwrap();
        workload.container.variables.insert(name, data.clone());
    }
    let release = release(workload);
    let error = render(&intent(&target, &release), &Policy::default()).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused);
    let said = "render failed: the workload has 25";
    assert!(error.to_string().starts_with(said), "{error}");
    let long = Value::Literal("x".repeat(200_000));
    let settings = Settings::default().with_variable("DATA".parse().unwrap(), long);
    let release = self::release(service());
    let intent = intent(&target, &release).with_settings(&settings);
    let error = render(&intent, &Policy::default()).unwrap_err();
    let said = "render failed: variable DATA has 200005 bytes";
    assert!(error.to_string().starts_with(said), "{error}");
}

/// Guards that a component cannot read the pull secret of another one in its namespace.
#[test]
fn no_component_reads_a_pull_secret() {
    let own = "orders-8913b73fb1d8-pull";
    let said = |of: &str, name: &str| {
        format!(
            "render failed: {of}/orders-8913b73fb1d8 names the pull secret {name:?}, which no \
             component may read: make a Secret of another name"
        )
    };
    let key = |name: &str| KeyReference::Secret {
        name: name.to_owned(),
        key: ".dockerconfigjson".to_owned(),
    };
    let credential = Credential::new("robot", "correct horse").unwrap();
    let secret = PullSecret::new(&"registry.example.com".parse().unwrap(), &credential);
    let target = target();
    for name in [own, "billing-b13ce667c30b-pull"] {
        let mut variable = service();
        let value = Value::From(key(name));
        let container = &mut variable.container;
        container.variables.insert("LOGIN".parse().unwrap(), value);
        let mut file = service();
        let path = "/run/login".parse().unwrap();
        file.container.files.insert(path, key(name));
        let value = Value::From(key(name));
        let settings = Settings::default().with_variable("LOGIN".parse().unwrap(), value);
        for (workload, settings) in [
            (variable, Settings::default()),
            (file, Settings::default()),
            (service(), settings),
        ] {
            let release = release(workload);
            let intent = intent(&target, &release)
                .with_settings(&settings)
                .with_pull(Pull::Secret(&secret));
            let error = render(&intent, &Policy::default()).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Refused);
            assert_eq!(error.to_string(), said("Deployment", name));
        }
        let release = release(service());
        let existing = intent(&target, &release).with_pull(Pull::Existing(name));
        let error = render(&existing, &Policy::default()).unwrap_err();
        assert_eq!(error.to_string(), said("Deployment", name));

        let from = serde_json::json!([{ "secretRef": { "name": name } }]);
        let all = Policy::default().with_patch(move |_, objects| {
            objects[3]["spec"]["template"]["spec"]["containers"][0]["envFrom"] = from.clone();
        });
        let error = render(&intent(&target, &release), &all).unwrap_err();
        assert_eq!(error.to_string(), said("Deployment", name));
    }
    let mut task = scheduled();
    let value = Value::From(key(own));
    task.container
        .variables
        .insert("LOGIN".parse().unwrap(), value);
    let release = release(task);
    let error = render(&intent(&target, &release), &Policy::default()).unwrap_err();
    assert_eq!(error.to_string(), said("CronJob", own));
    let (run, overrides) = ("r-1".parse().unwrap(), RunOverrides::default());
    let run = RunIntent::new(&run, intent(&target, &release), &overrides);
    assert!(render_run(&run, &Policy::default()).is_err());
}

#[test]
fn patch_and_people_do_not_see_the_secret() {
    let (target, release) = (target(), release(service()));
    let credential = Credential::new("robot", "correct horse").unwrap();
    let secret = PullSecret::new(&"registry.example.com".parse().unwrap(), &credential);
    let intent = intent(&target, &release).with_pull(Pull::Secret(&secret));
    let policy = Policy::default().with_patch(|_, objects| {
        assert!(objects.iter().all(|object| object["kind"] != "Secret"));
    });
    let objects = render(&intent, &policy).unwrap();
    let object = objects
        .iter()
        .find(|object| object.kind() == "Secret")
        .unwrap();
    let manifest = object.expose_manifest();
    let data = manifest["data"][".dockerconfigjson"].as_str().unwrap();
    let shown = format!("{object:?} {} {}", object.to_yaml(), object.redacted());
    assert!(!shown.contains(data), "{shown}");
    assert!(shown.contains("<redacted>"));
}

/// Guards against a run that starts twice because its Job is deleted before the start is stored.
#[test]
fn the_job_of_a_run_is_kept_for_an_hour_at_least() {
    let (target, release) = (target(), release(ManualTask::new()));
    let (run, overrides) = ("r-1".parse().unwrap(), RunOverrides::default());
    let run = RunIntent::new(&run, intent(&target, &release), &overrides);
    for (wanted, kept) in [(0, 3600), (3600, 3600), (86_400, 86_400)] {
        let mut policy = Policy::default();
        policy.timing.keep_runs_seconds = wanted;
        let job = render_run(&run, &policy).unwrap();
        assert_eq!(
            job.expose_manifest()["spec"]["ttlSecondsAfterFinished"],
            kept
        );
    }
}
