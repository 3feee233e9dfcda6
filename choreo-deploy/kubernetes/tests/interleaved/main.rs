//! Guards against changes between two requests of a call. The API server is in memory and supports the
//! features that the backend uses: versions, preconditions, pages and labels. It keeps every object as
//! it was sent.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod as_before;
mod server;

use std::sync::{Arc, Mutex};

use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, Pull, RunIntent, TaskRunner,
};
use choreo_deploy::conformance::{example_registry, example_release, example_target};
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::{Release, ReleaseImage};
use choreo_deploy::rollout::RolloutPhase;
use choreo_deploy::run::RunOverrides;
use choreo_deploy::settings::Settings;
use choreo_deploy::workload::{
    self, Endpoint, ManualTask, Protocol, Scaling, Schedule, ScheduledTask,
};
use choreo_deploy_kubernetes::policy::Namespaces;
use choreo_deploy_kubernetes::{KubernetesBackend, Policy, render_run};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::server::{Objects, PAGE, Server, status};

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.namespaces = Namespaces::Existing("n".to_owned());
    policy
}

fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

/// Applies the example Service, or a Manual Task.
async fn apply(server: &Server, number: u64, is_task: bool) -> Result<(), BackendError> {
    let mut release = example_release(1);
    if is_task {
        release.workload = ManualTask::new().into();
    }
    apply_release(server, number, &release).await
}

/// Applies a Service with another port.
async fn apply_on(server: &Server, number: u64, port: u16) -> Result<(), BackendError> {
    let (name, port) = ("http".parse().unwrap(), port.try_into().unwrap());
    let endpoint = Endpoint::new(name, port, Protocol::Http);
    let mut release = example_release(1);
    release.workload = workload::Service::new(endpoint.into()).into();
    apply_release(server, number, &release).await
}

async fn apply_release(
    server: &Server,
    number: u64,
    release: &Release,
) -> Result<(), BackendError> {
    let target = example_target("orders");
    let secret = example_registry("ada");
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(number), release);
        backend
            .apply(&intent.with_pull(Pull::Secret(&secret)))
            .await
    };
    server.call(policy(), call).await
}

async fn remove(server: &Server, number: u64) -> Result<(), BackendError> {
    let target = example_target("orders");
    let call = async |backend: KubernetesBackend| backend.remove(&target, generation(number)).await;
    server.call(policy(), call).await
}

async fn settle(server: &Server, number: u64) -> Result<(), BackendError> {
    let target = example_target("orders");
    let call = async |backend: KubernetesBackend| backend.settle(&target, generation(number)).await;
    server.call(policy(), call).await
}

async fn start(server: &Server, number: u64) -> Result<(), BackendError> {
    let (target, mut release) = (example_target("orders"), example_release(1));
    release.workload = ManualTask::new().into();
    let (run, overrides) = ("r-1".parse().unwrap(), RunOverrides::default());
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(number), &release);
        backend
            .start(&RunIntent::new(&run, intent, &overrides))
            .await
    };
    server.call(policy(), call).await
}

fn kind<T: std::fmt::Debug>(result: Result<T, BackendError>) -> BackendErrorKind {
    result.unwrap_err().kind()
}

fn mark(object: &mut Value, number: u64) {
    let of = generation(number).to_string();
    object["metadata"]["annotations"]["choreo.dev/generation"] = of.into();
}

const ANCHOR: &str = "-anchor";
const DEPLOYMENTS: &str = "/deployments/";

/// Guards that an older worker that read the object earlier gets a conflict, and then finds the
/// newer generation.
#[tokio::test]
async fn what_a_generation_has_no_use_for_is_marked_by_it() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    apply(&server, 2, true).await.unwrap();
    let deployment = server.look(DEPLOYMENTS);
    let marked = &deployment["metadata"]["annotations"]["choreo.dev/generation"];
    assert_eq!(marked, &generation(2).to_string());
    settle(&server, 2).await.unwrap();
    assert!(!server.has(DEPLOYMENTS), "then it goes");
}

/// A newer worker has claimed the target and has not changed the object yet.
#[tokio::test]
async fn nothing_is_deleted_for_a_generation_that_is_not_the_newest_any_more() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    server.after("GET", DEPLOYMENTS, |objects| {
        objects.change(ANCHOR, |anchor| mark(anchor, 3));
    });
    assert_eq!(kind(remove(&server, 2).await), BackendErrorKind::Stale);
    assert!(server.has(DEPLOYMENTS));
}

/// A newer worker has written the object after it was read.
#[tokio::test]
async fn what_has_changed_since_it_was_read_is_not_deleted() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    server.before("DELETE", DEPLOYMENTS, |objects| {
        objects.change(DEPLOYMENTS, |deployment| mark(deployment, 3));
        None
    });
    assert_eq!(kind(remove(&server, 2).await), BackendErrorKind::Stale);
    assert!(server.has(DEPLOYMENTS));
}

#[tokio::test]
async fn a_run_does_not_start_once_its_target_is_removed() {
    let server = Server::new();
    apply(&server, 1, true).await.unwrap();
    server.after("POST", "/jobs", |objects| {
        objects.change(ANCHOR, |anchor| {
            mark(anchor, 2);
            anchor["data"]["state"] = "removed".into();
        });
    });
    assert_eq!(kind(start(&server, 1).await), BackendErrorKind::Stale);
    assert!(!server.has("/jobs/"), "what was reserved is taken back");
    assert_eq!(kind(start(&server, 1).await), BackendErrorKind::Stale);
}

/// There are more Jobs than one page lists, and some of them belong to other components.
#[tokio::test]
async fn a_removal_takes_the_jobs_of_all_pages_and_no_other() {
    let server = Server::new();
    apply(&server, 1, true).await.unwrap();
    let (target, mut release) = (example_target("orders"), example_release(1));
    release.workload = ManualTask::new().into();
    let overrides = RunOverrides::default();
    for number in 0..2 * PAGE + 1 {
        let run = format!("r-{number}").parse().unwrap();
        let intent = Intent::new(&target, generation(1), &release);
        let job = render_run(&RunIntent::new(&run, intent, &overrides), &policy()).unwrap();
        let mut objects = server.objects.lock().unwrap();
        let path = format!("/apis/batch/v1/namespaces/n/jobs/job-{number}");
        let mut job = job.expose_manifest();
        job["metadata"]["name"] = format!("job-{number}").into();
        objects.put(&path, job.clone());
        job["metadata"]["name"] = "other".into();
        job["metadata"]["labels"]["app.kubernetes.io/instance"] = "other".into();
        objects.put("/apis/batch/v1/namespaces/n/jobs/other", job);
    }
    remove(&server, 2).await.unwrap();
    assert!(!server.has("/jobs/job-"));
    assert!(server.has("/jobs/other"));
}

/// The messages of the validation contain the values of fields.
#[tokio::test]
async fn what_is_said_of_an_invalid_secret_is_not_passed_on() {
    let server = Server::new();
    server.before("PATCH", "/secrets/", |_| {
        Some(status(
            422,
            "Secret is invalid: data: Invalid value: \"Y29ycmVjdA\"",
        ))
    });
    let error = apply(&server, 1, false).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused);
    let text = format!("{error} {error:?}");
    assert!(
        !text.contains("Y29y") && text.contains("as invalid"),
        "{text}"
    );
}

/// A call that takes over the fields of other managers may be interrupted by an error or another
/// write. Guards that the next apply completes it: a remaining manager would keep fields that are
/// removed later.
#[tokio::test]
async fn what_was_taken_over_half_way_is_owned_by_the_next_apply() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    server.before("PATCH", DEPLOYMENTS, |_| {
        Some(status(
            422,
            "may not be specified when `value` is not empty",
        ))
    });
    server.after("PATCH", DEPLOYMENTS, |objects| {
        objects.change(DEPLOYMENTS, |deployment| {
            deployment["metadata"]["managedFields"] = json!([
                { "manager": "choreo", "operation": "Apply" },
                { "manager": "kubectl-set", "operation": "Update" },
                { "manager": "choreo-take-over", "operation": "Update" },
                { "manager": "controller", "operation": "Update", "subresource": "status" },
            ]);
        });
    });
    apply(&server, 2, false).await.unwrap();
    let deployment = server.look(DEPLOYMENTS);
    let managers = deployment["metadata"]["managedFields"].as_array().unwrap();
    let names: Vec<&Value> = managers.iter().map(|entry| &entry["manager"]).collect();
    assert_eq!(names, ["choreo", "controller"]);
    let marked = &deployment["metadata"]["annotations"]["choreo.dev/generation"];
    assert_eq!(marked, &generation(2).to_string());
}

#[tokio::test]
async fn a_namespace_of_somebody_else_is_not_used() {
    let target = example_target("orders");
    let release = example_release(1);
    let deploy = async |backend: KubernetesBackend| {
        backend
            .apply(&Intent::new(&target, generation(1), &release))
            .await
    };
    let server = Server::new();
    server.call(Policy::default(), deploy).await.unwrap();
    server.change("/namespaces/dp-", |namespace| {
        namespace["metadata"]["labels"]["choreo.dev/organization"] = "other".into();
    });
    let error = server.call(Policy::default(), deploy).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused, "{error}");
    server.change("/namespaces/dp-", |namespace| {
        namespace["metadata"]["labels"]["choreo.dev/organization"] = "acme".into();
        namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    let error = server.call(Policy::default(), deploy).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Conflict, "{error}");
}

/// Guards objects of newer generations and of other owners against writes.
#[tokio::test]
async fn newer_objects_and_those_of_others_stay_as_they_are() {
    type Change = fn(&mut Value);
    let newer: Change = |object| mark(object, 9);
    let foreign: Change = |object| {
        object["metadata"]["labels"]["choreo.dev/component"] = "other".into();
    };
    for (change, expected) in [
        (newer, BackendErrorKind::Stale),
        (foreign, BackendErrorKind::Refused),
    ] {
        let server = Server::new();
        apply(&server, 1, false).await.unwrap();
        server.change(DEPLOYMENTS, change);
        let before = server.look(DEPLOYMENTS);
        assert_eq!(kind(apply(&server, 2, false).await), expected);
        assert_eq!(server.look(DEPLOYMENTS), before);
    }
}

#[tokio::test]
async fn a_pull_secret_is_replaced_for_what_is_newest_and_not_removed() {
    let target = example_target("orders");
    let secret = example_registry("grace");
    let replace = async |server: &Server, number| {
        let call = async |backend: KubernetesBackend| {
            let pull = Pull::Secret(&secret);
            backend
                .update_pull_secret(&target, generation(number), &pull)
                .await
        };
        server.call(policy(), call).await
    };
    let server = Server::new();
    apply(&server, 2, false).await.unwrap();
    let before = server.look("/secrets/");
    assert_eq!(kind(replace(&server, 1).await), BackendErrorKind::Stale);
    assert_eq!(server.look("/secrets/"), before);
    replace(&server, 2).await.unwrap();
    assert_ne!(server.look("/secrets/")["data"], before["data"]);
    remove(&server, 3).await.unwrap();
    assert_eq!(kind(replace(&server, 3).await), BackendErrorKind::NotFound);
}

/// The Service belongs to the current generation. The Deployment is a leftover of an earlier one.
#[tokio::test]
async fn an_error_is_about_leftovers_once_everything_that_waited_is_written() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    settle(&server, 1).await.unwrap();
    apply_on(&server, 2, 9090).await.unwrap();
    let refused = |_: &mut Objects| Some(status(422, "refused"));
    server.before("GET", "/services/", refused);
    let error = settle(&server, 2).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused);
    assert!(!error.is_about_leftovers(), "{error}");
    let port = |server: &Server| server.look("/services/")["spec"]["ports"][0]["port"].clone();
    assert_eq!(port(&server), 8080);
    settle(&server, 2).await.unwrap();
    assert_eq!(port(&server), 9090);

    apply(&server, 3, true).await.unwrap();
    server.before("DELETE", DEPLOYMENTS, refused);
    let error = settle(&server, 3).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Refused);
    assert!(error.is_about_leftovers(), "{error}");
}

/// Guards that only the newest generation is settled, and only after it is applied.
#[tokio::test]
async fn nothing_is_settled_for_an_older_generation_or_before_it_is_applied() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    apply(&server, 2, true).await.unwrap();
    assert_eq!(kind(settle(&server, 1).await), BackendErrorKind::Stale);
    server.change(ANCHOR, |anchor| anchor["data"]["state"] = "applying".into());
    settle(&server, 2).await.unwrap();
    assert!(server.has(DEPLOYMENTS));
}

/// A newer worker has claimed the target after an object was reserved.
#[tokio::test]
async fn what_was_reserved_does_nothing_for_a_generation_that_is_not_the_newest_any_more() {
    let server = Server::new();
    server.after("PATCH", DEPLOYMENTS, |objects| {
        objects.change(ANCHOR, |anchor| mark(anchor, 3));
    });
    let applied = apply(&server, 1, false).await;
    assert_eq!(kind(applied), BackendErrorKind::Stale);
    assert!(!server.has(DEPLOYMENTS), "it is taken back");
}

/// Returns the example Service with a tag whose digest has not been observed yet.
fn by_tag() -> Release {
    let mut release = example_release(1);
    let image = "registry.example.com/shop/app:1".parse().unwrap();
    release.image = ReleaseImage::unpinned(image);
    release
}

fn image(server: &Server) -> String {
    let deployment = server.look(DEPLOYMENTS);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    container["image"].as_str().unwrap().to_owned()
}

/// A worker that does not know that it lost its claim applies the tag of the same generation.
#[tokio::test]
async fn a_tag_is_not_applied_after_the_digest_that_was_observed() {
    let server = Server::new();
    apply_release(&server, 1, &by_tag()).await.unwrap();
    apply_release(&server, 1, &by_tag()).await.unwrap();
    assert!(image(&server).ends_with(":1"));
    apply(&server, 1, false).await.unwrap();
    let late = apply_release(&server, 1, &by_tag()).await.unwrap_err();
    assert_eq!(late.kind(), BackendErrorKind::Stale);
    assert!(late.to_string().contains("by digest"), "{late}");
    assert!(image(&server).contains("@sha256:"));
    // The control: a newer generation may have a tag again.
    apply_release(&server, 2, &by_tag()).await.unwrap();
    assert!(image(&server).ends_with(":1"));
}

/// The owner of the claim applies the digest between two requests of the worker that applies the
/// tag.
#[tokio::test]
async fn a_tag_that_is_being_applied_gives_way_to_the_digest() {
    let claim = |objects: &mut Objects| objects.change(ANCHOR, |anchor| mark(anchor, 1));
    let server = Server::new();
    server.after("PATCH", DEPLOYMENTS, claim);
    let reserved = apply_release(&server, 1, &by_tag()).await;
    assert_eq!(kind(reserved), BackendErrorKind::Stale);
    assert!(!server.has(DEPLOYMENTS), "what was reserved is taken back");

    let server = Server::new();
    apply_release(&server, 1, &by_tag()).await.unwrap();
    server.change(DEPLOYMENTS, |deployment| {
        deployment["spec"]["replicas"] = 0.into()
    });
    server.before("PATCH", DEPLOYMENTS, move |objects| {
        claim(objects);
        objects.change(DEPLOYMENTS, |deployment| {
            mark(deployment, 1);
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "pinned".into();
        });
        None
    });
    let late = apply_release(&server, 1, &by_tag()).await;
    assert_eq!(kind(late), BackendErrorKind::Stale);
    assert_eq!(image(&server), "pinned");
}

/// A release that becomes ready only at its deadline keeps its tag.
#[tokio::test]
async fn what_runs_by_its_tag_is_settled_and_removed() {
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    let mut moved = served_at("http", 9090);
    moved.image = by_tag().image;
    apply_release(&server, 2, &moved).await.unwrap();
    settle(&server, 2).await.unwrap();
    assert_eq!(port_of_service(&server).1, 9090);
    remove(&server, 2).await.unwrap();
    assert!(!server.has(DEPLOYMENTS));
}

/// A newer worker has claimed the target after the Jobs were listed, and some of them may belong to
/// it.
#[tokio::test]
async fn no_job_is_deleted_for_a_generation_that_is_not_the_newest_any_more() {
    let server = Server::new();
    apply(&server, 1, true).await.unwrap();
    start(&server, 1).await.unwrap();
    server.after("GET", "/jobs", |objects| {
        objects.change(ANCHOR, |anchor| mark(anchor, 3));
    });
    assert_eq!(kind(remove(&server, 2).await), BackendErrorKind::Stale);
    assert!(server.has("/jobs/"));
}

#[tokio::test]
async fn a_job_of_somebody_else_is_no_run_of_the_target() {
    let server = Server::new();
    apply(&server, 1, true).await.unwrap();
    start(&server, 1).await.unwrap();
    server.change("/jobs/", |job| {
        job["metadata"]["labels"]["choreo.dev/component"] = "other".into();
    });
    let before = server.look("/jobs/");
    assert_eq!(kind(start(&server, 1).await), BackendErrorKind::Refused);
    let (target, run) = (example_target("orders"), "r-1".parse().unwrap());
    let cancel = async |backend: KubernetesBackend| backend.cancel_run(&target, &run).await;
    let cancelled = server.call(policy(), cancel).await;
    assert_eq!(kind(cancelled), BackendErrorKind::Refused);
    assert_eq!(server.look("/jobs/"), before);
}

/// Guards the outcome of a run that has ended: it is not marked as stopped.
#[tokio::test]
async fn a_run_that_has_ended_is_not_stopped() {
    let server = Server::new();
    apply(&server, 1, true).await.unwrap();
    start(&server, 1).await.unwrap();
    server.change("/jobs/", |job| {
        job["status"]["conditions"] = json!([{ "type": "Complete", "status": "True" }]);
    });
    let before = server.look("/jobs/");
    let (target, run) = (example_target("orders"), "r-1".parse().unwrap());
    let cancel = async |backend: KubernetesBackend| backend.cancel_run(&target, &run).await;
    server.call(policy(), cancel).await.unwrap();
    assert_eq!(server.look("/jobs/"), before);
}

/// The autoscaler would change a fixed number of copies.
#[tokio::test]
async fn an_autoscaler_that_is_not_wanted_any_more_goes_at_once() {
    const AUTOSCALERS: &str = "/horizontalpodautoscalers/";
    let (target, release) = (example_target("orders"), example_release(1));
    let range = Scaling::range(2.try_into().unwrap(), 4.try_into().unwrap(), 80).unwrap();
    let scaled = Settings::default().with_scaling(range);
    let server = Server::new();
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(1), &release);
        backend.apply(&intent.with_settings(&scaled)).await
    };
    server.call(policy(), call).await.unwrap();
    assert!(server.has(AUTOSCALERS));
    apply(&server, 2, false).await.unwrap();
    assert!(!server.has(AUTOSCALERS));
}

/// Guards that a CronJob that is reserved but never activated starts nothing.
#[tokio::test]
async fn a_schedule_is_reserved_as_a_suspended_one() {
    let (target, mut release) = (example_target("orders"), example_release(1));
    let schedule = Schedule::new("* * * * *".parse().unwrap(), "UTC".parse().unwrap());
    release.workload = ScheduledTask::new(schedule).into();
    let server = Server::new();
    let reserved = Arc::new(Mutex::new(Value::Null));
    let seen = Arc::clone(&reserved);
    server.after("PATCH", "/cronjobs/", move |objects| {
        let path = objects.path("/cronjobs/");
        *seen.lock().unwrap() = objects.by_path[&path]["spec"]["suspend"].clone();
    });
    let call = async |backend: KubernetesBackend| {
        backend
            .apply(&Intent::new(&target, generation(1), &release))
            .await
    };
    server.call(policy(), call).await.unwrap();
    assert_eq!(*reserved.lock().unwrap(), true);
    assert_ne!(server.look("/cronjobs/")["spec"]["suspend"], true);
}

/// Returns a Service with one endpoint of this name and port.
fn served_at(endpoint: &str, port: u16) -> Release {
    let mut release = example_release(1);
    let port = port.try_into().unwrap();
    let endpoint = Endpoint::new(endpoint.parse().unwrap(), port, Protocol::Http);
    release.workload = workload::Service::new(endpoint.into()).into();
    release
}

/// Applies or takes back a release.
async fn write(server: &Server, number: u64, release: &Release, is_taking_back: bool) {
    let target = example_target("orders");
    let call = async |backend: KubernetesBackend| {
        let intent = Intent::new(&target, generation(number), release);
        match is_taking_back {
            true => {
                backend
                    .take_back(&target, generation(number), Some(&intent))
                    .await
            }
            false => backend.apply(&intent).await,
        }
    };
    server.call(policy(), call).await.unwrap();
}

/// Returns the name, number and target port of the only port of the Service.
fn port_of_service(server: &Server) -> (Value, Value, Value) {
    let service = server.look("/services/");
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 1, "{service}");
    let of = |field: &str| ports[0][field].clone();
    (of("name"), of("port"), of("targetPort"))
}

/// The new pods have the same labels, so the Service selects them as soon as they are ready.
#[tokio::test]
async fn while_the_number_of_a_port_changes_each_pod_is_reached_at_its_own() {
    let at = |name: &str, port: u16, target: Value| (json!(name), json!(port), target);
    for is_taken_back in [false, true] {
        let server = Server::new();
        let (before, after) = (served_at("http", 8080), served_at("http", 9090));
        write(&server, 1, &before, false).await;
        let first = at("http", 8080, json!(8080));
        assert_eq!(port_of_service(&server), first);
        // Another client writes the Service in between.
        server.before("PATCH", "/services/", |objects| {
            objects.change("/services/", |service| service["status"]["x"] = json!({}));
            None
        });
        for _ in 0..2 {
            write(&server, 2, &after, false).await;
            let held_back = at("http", 8080, json!("http"));
            assert_eq!(port_of_service(&server), held_back);
            let service = server.look("/services/");
            let marked = &service["metadata"]["annotations"]["choreo.dev/generation"];
            assert_eq!(marked, &generation(2).to_string());
        }
        let pod = &server.look(DEPLOYMENTS)["spec"]["template"]["spec"]["containers"][0];
        let port = &pod["ports"][0];
        assert_eq!(
            (&port["name"], &port["containerPort"]),
            (&json!("http"), &json!(9090))
        );
        if is_taken_back {
            write(&server, 2, &before, true).await;
            // The pods of the failed release serve their number until those of the earlier release
            // are ready.
            assert_eq!(port_of_service(&server), at("http", 8080, json!("http")));
            write(&server, 3, &before, false).await;
            settle(&server, 3).await.unwrap();
            assert_eq!(port_of_service(&server), first);
        } else {
            settle(&server, 2).await.unwrap();
            assert_eq!(port_of_service(&server), at("http", 9090, json!(9090)));
        }
    }
}

/// The earlier pods have no port with the new name.
#[tokio::test]
async fn while_a_port_is_renamed_its_number_stays() {
    let server = Server::new();
    write(&server, 1, &served_at("http", 8080), false).await;
    let before = port_of_service(&server);
    write(&server, 2, &served_at("api", 8080), false).await;
    assert_eq!(port_of_service(&server), before);
}

/// Guards that a pod may be unready for a moment when an unchanged release is deployed again after
/// days.
#[tokio::test]
async fn a_generation_that_changes_nothing_is_judged_from_when_it_was_taken() {
    let target = example_target("orders");
    for (taken, expected) in [
        (Timestamp::now(), RolloutPhase::Progressing),
        (Timestamp::UNIX_EPOCH, RolloutPhase::Failed),
    ] {
        let server = Server::new();
        apply(&server, 1, false).await.unwrap();
        let written_at = |object: &mut Value, time: Timestamp| {
            let time = time.to_string();
            object["metadata"]["managedFields"] =
                json!([{ "manager": "choreo", "operation": "Apply", "time": time }]);
        };
        server.change(DEPLOYMENTS, |deployment| {
            let replicas = deployment["spec"]["replicas"].clone();
            deployment["status"] = json!({
                "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
                "conditions": [{
                    "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                }],
            });
            written_at(deployment, Timestamp::UNIX_EPOCH);
        });
        let before = server.look(DEPLOYMENTS);
        apply(&server, 2, false).await.unwrap();
        assert_eq!(
            server.look(DEPLOYMENTS),
            before,
            "only the anchor is written"
        );
        server.change(ANCHOR, |anchor| written_at(anchor, taken));
        server.change(DEPLOYMENTS, |deployment| {
            deployment["status"]["availableReplicas"] = 0.into();
        });
        let look = async |backend: KubernetesBackend| backend.observe(&target).await;
        let rollout = server.call(policy(), look).await.unwrap();
        assert_eq!(rollout.phase, expected, "{rollout:?}");
    }
}

/// All pods serve the new number when a write that waited for them fails.
#[tokio::test]
async fn a_service_that_leads_to_the_new_pods_is_brought_back_without_a_gap() {
    let server = Server::new();
    let (before, after) = (served_at("http", 8080), served_at("http", 9090));
    write(&server, 1, &before, false).await;
    write(&server, 2, &after, false).await;
    settle(&server, 2).await.unwrap();
    write(&server, 2, &before, true).await;
    let reached = (json!("http"), json!(8080), json!("http"));
    assert_eq!(port_of_service(&server), reached);
}

/// The template of a schedule contains the generation and release of its runs.
#[tokio::test]
async fn a_schedule_that_changes_nothing_writes_only_the_anchor() {
    let target = example_target("orders");
    let server = Server::new();
    let apply = async |number: u64, cron: &str| {
        let mut release = example_release(number);
        release.image = example_release(1).image;
        let schedule = Schedule::new(cron.parse().unwrap(), "UTC".parse().unwrap());
        release.workload = ScheduledTask::new(schedule).into();
        let call = async |backend: KubernetesBackend| {
            let intent = Intent::new(&target, generation(number), &release);
            backend.apply(&intent).await
        };
        server.take_written();
        server.call(policy(), call).await.unwrap();
        server.take_written()
    };
    apply(1, "0 3 * * *").await;
    let before = server.look("/cronjobs/");
    let same = apply(2, "0 3 * * *").await;
    assert_eq!(same.len(), 1, "{same:?}");
    assert!(
        same[0].starts_with("PUT") && same[0].contains(ANCHOR),
        "{same:?}"
    );
    assert_eq!(server.look("/cronjobs/"), before);
    // The control: another schedule is written.
    let changed = apply(3, "0 4 * * *").await;
    assert!(
        changed.iter().any(|call| call.contains("/cronjobs/")),
        "{changed:?}"
    );
    let template = &server.look("/cronjobs/")["spec"]["jobTemplate"];
    let release = &template["metadata"]["annotations"]["choreo.dev/release"];
    assert_eq!(release, "3");
}

/// The clock of the API server is ahead of the local one, or behind.
#[tokio::test]
async fn the_time_for_progress_is_measured_by_one_clock() {
    let target = example_target("orders");
    let server = Server::new();
    apply(&server, 1, false).await.unwrap();
    let allowed = &server.look(DEPLOYMENTS)["spec"]["progressDeadlineSeconds"];
    let allowed = SignedDuration::from_secs(allowed.as_i64().unwrap());
    let minute = SignedDuration::from_mins(1);
    for skew in [-10, 0, 10].map(SignedDuration::from_mins) {
        let now = Timestamp::now() + skew;
        server.set_date(now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        for (since, expected) in [
            (minute, RolloutPhase::Progressing),
            (allowed - minute, RolloutPhase::Progressing),
            (allowed + minute, RolloutPhase::Failed),
        ] {
            server.change(DEPLOYMENTS, |deployment| {
                deployment["metadata"]["managedFields"] = json!([{
                    "manager": "choreo", "operation": "Apply", "time": (now - since).to_string(),
                }]);
                deployment["status"] = json!({ "conditions": [{
                    "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                }] });
            });
            let look = async |backend: KubernetesBackend| backend.observe(&target).await;
            let rollout = server.call(policy(), look).await.unwrap();
            assert_eq!(rollout.phase, expected, "{skew} {since} {rollout:?}");
        }
    }
}
