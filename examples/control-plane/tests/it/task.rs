//! Tasks on a real cluster.

use std::time::Duration;

use crate::image::Image;
use crate::kubernetes::{Cluster, component, name, namespace};
use crate::registry::Registry;
use crate::wait_for;

/// Guards that a Manual Task runs with its arguments, and that its exit code is the outcome.
#[test]
fn a_manual_task_ends_with_its_exit_code() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let image = registry.push(
        "shop/report",
        "1",
        &Image::program(&["print", "by default", "0"]),
    );
    let site = cluster.site(
        &registry,
        &[component("report", "manual-task", "images", "")],
    );
    site.run(&["deploy", "report", &image]).expect(0);
    assert!(
        cluster.objects("pods", "report").is_empty(),
        "nothing runs before it is asked for"
    );
    site.run(&["run", "report"])
        .expect(0)
        .says("succeeded")
        .says("| by default");
    site.run(&["run", "report", "--", "print", "all is well", "0"])
        .expect(0)
        .says("succeeded")
        .says("| all is well");
    site.run(&["run", "report", "--", "print", "no such month", "3"])
        .expect(1)
        .says("exit code 3")
        .says("| no such month");
    let run = site
        .run(&["run", "report", "--json", "--", "print", "again", "3"])
        .expect(1)
        .json();
    assert_eq!(run["exit_code"], 3, "{run}");
    assert_eq!(run["phase"], "failed", "{run}");
}

/// Guards that the CronJob of a Scheduled Task is accepted, and that both a requested run and a run that
/// Kubernetes starts complete.
#[test]
fn a_scheduled_task_completes() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let image = registry.push(
        "shop/nightly",
        "1",
        &Image::program(&["print", "done", "0"]),
    );
    let schedule = "schedule = { cron = \"0 3 1 1 *\", time_zone = \"Europe/Berlin\" }";
    let site = cluster.site(
        &registry,
        &[component("nightly", "scheduled-task", "images", schedule)],
    );
    site.run(&["deploy", "nightly", &image]).expect(0);
    let jobs = cluster.objects("cronjobs", "nightly");
    let [cron_job] = &jobs[..] else {
        panic!("one CronJob is expected: {jobs:?}")
    };
    assert_eq!(cron_job["spec"]["schedule"], "0 3 1 1 *", "{cron_job:#}");
    assert_eq!(
        cron_job["spec"]["timeZone"], "Europe/Berlin",
        "{cron_job:#}"
    );

    let (namespace, from) = (namespace(cron_job), format!("cronjob/{}", name(cron_job)));
    cluster.kubectl(&["-n", namespace, "create", "job", "by-hand", "--from", &from]);
    site.run(&["run", "nightly"])
        .expect(0)
        .says("succeeded")
        .says("| done");
    let get = [
        "-n",
        namespace,
        "get",
        "job",
        "by-hand",
        "-o",
        "jsonpath={.status.succeeded}",
    ];
    let look = || (cluster.kubectl(&get) == "1").then_some(());
    wait_for("the CronJob's run", Duration::from_secs(60), look, || {
        cluster.kubectl(&["-n", namespace, "describe", "job", "by-hand"])
    });
}
