//! `remove` and `run cancel`.

use serde_json::json;

use crate::control_plane::{in_memory, site};
use crate::image::Image;
use crate::kubernetes::DEAD;
use crate::wait_for;

/// Guards that a component can be removed, also if the configuration no longer contains it.
#[test]
fn a_component_is_removed_also_once_it_has_left() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let report = registry.push("shop/report", "1", &Image::empty());
    site.run(&["remove", "orders"])
        .expect(6)
        .complains("orders is not in any environment: there is nothing to remove");
    site.run(&["deploy", "orders", &image]).expect(0);
    site.run(&["promote", "orders"]).expect(0);
    site.run(&["deploy", "report", &report]).expect(0);

    site.run(&["remove", "orders"]).expect(2).complains(
        "orders is in development and production: choose one with --environment, or use --all",
    );
    site.run(&["remove", "orders", "--environment", "production"])
        .expect(0)
        .says("orders is removed from production");
    let status = site.json(&["status", "orders"]);
    assert_eq!(status.as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status[0]["environment"], "development", "{status}");

    // `report` is removed from the configuration, and is still deployed.
    let configuration = in_memory(&registry.host());
    let at = configuration.rfind("[[components]]").unwrap();
    site.configure(&configuration[..at]);
    let status = site.json(&["status", "report"]);
    assert_eq!(status[0]["in_configuration"], false, "{status}");
    site.run(&["status"])
        .expect(0)
        .says("not in the configuration: remove it");
    site.run(&["releases", "report"]).expect(0).says(&report);
    let orphans = site.json(&["orphans"]);
    assert_eq!(orphans.as_array().unwrap().len(), 1, "{orphans}");
    assert_eq!(orphans[0]["component"], "report", "{orphans}");
    assert_eq!(orphans[0]["why"], "component-gone", "{orphans}");
    assert_eq!(orphans[0]["data_planes_not_in_configuration"], json!([]));
    site.run(&["orphans"])
        .expect(0)
        .says("the configuration does not contain the component");
    let removed = site.json(&["remove", "report"]);
    assert_eq!(removed[0]["phase"], "ready", "{removed}");
    assert_eq!(removed[0]["image"], json!(null), "{removed}");
    assert_eq!(site.json(&["status", "report"]), json!([]));
    site.run(&["orphans"]).expect(0).says("no orphans");
    site.run(&["remove", "report"]).expect(6);
    site.run(&["deployments", "report"])
        .expect(0)
        .says("removal");
    site.run(&["remove", "orders", "--all"]).expect(0);
    site.run(&["status"])
        .expect(0)
        .says("no components are deployed");
}

/// Guards that a removal from a data plane that the configuration does not contain is rejected with a
/// solution, and that the data plane can be forgotten.
#[test]
fn a_data_plane_that_is_no_more_is_forgotten() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    site.run(&["deploy", "orders", &image]).expect(0);
    let configuration = in_memory(&registry.host());
    site.configure(&configuration.replace("\"local\"", "\"other\""));
    site.run(&["remove", "orders"]).expect(6).complains(
        "error: orders is not removed from development: orders is on data plane local, which the \
         configuration does not contain: add the data plane again",
    );
    // The failure of one place has the same shape as one of several.
    let failed = site.run(&["remove", "orders", "--json"]).expect(6).json();
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
    assert_eq!(failed[0]["component"], "orders", "{failed}");
    assert_eq!(failed[0]["environment"], "development", "{failed}");
    assert_eq!(failed[0]["exit_status"], 6, "{failed}");
    let removed = site.run(&["remove", "orders", "--forget"]).expect(0);
    removed.complains(
        "data plane local is forgotten: what orders has there in development keeps running",
    );
    site.run(&["remove", "orders"])
        .expect(6)
        .complains("there is nothing to remove");
    assert_eq!(site.json(&["status", "orders"]), json!([]));
    site.run(&["status"])
        .expect(0)
        .says("no components are deployed");
    site.run(&["promote", "orders"]).expect(6);
}

/// Guards that a failure in one of several places is reported and does not affect the others.
#[test]
fn one_place_that_fails_keeps_no_other() {
    let Some((registry, site)) = site() else {
        return;
    };
    let local = in_memory(&registry.host());
    let (place, plane) = (
        "id = \"development\"\ndata_plane = ",
        "[[data_planes]]\nid = ",
    );
    assert!(local.contains(place) && local.contains(plane));
    // Development, the first environment, is on a data plane that is removed later.
    let both = local.replace(&format!("{place}\"local\""), &format!("{place}\"leaving\""))
        + &format!("\n{plane}\"leaving\"\nbackend = \"memory\"\n");
    site.configure(&both);
    let image = registry.push("shop/orders", "1", &Image::empty());
    site.run(&["deploy", "orders", &image]).expect(0);
    site.run(&["promote", "orders"]).expect(0);
    site.configure(&local);
    let orphans = site.json(&["orphans"]);
    let gone = &orphans[0]["data_planes_not_in_configuration"];
    assert_eq!(*gone, json!(["leaving"]), "{orphans}");

    let removed = site.run(&["remove", "orders", "--all", "--json"]).expect(6);
    let values = removed.json();
    assert_eq!(values[0]["environment"], "production", "{values}");
    assert_eq!(values[0]["phase"], "ready", "{values}");
    assert_eq!(values[1]["environment"], "development", "{values}");
    assert_eq!(values[1]["exit_status"], 6, "{values}");
    removed.complains("orders is not removed from development: orders is on data plane leaving");
    let status = site.json(&["status", "orders"]);
    assert_eq!(status.as_array().unwrap().len(), 1, "{status}");
    site.run(&["remove", "orders", "--all", "--forget"])
        .expect(0);
    assert_eq!(site.json(&["orphans"]), json!([]));
}

/// Guards that a pending run is listed and can be cancelled, and that a finished run stays as it is.
#[test]
fn a_run_is_cancelled() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/report", "1", &Image::empty());
    site.run(&["deploy", "report", &image]).expect(0);
    let ran = site.json(&["run", "report"]);
    site.run(&["run", "cancel", ran["id"].as_str().unwrap()])
        .expect(0)
        .says("has already ended: succeeded");
    site.run(&["run", "cancel", "r-aaaaaaaaaaaaaaaaaaaaaaaaaa"])
        .expect(6)
        .complains("does not exist");

    // The next run is pending, because its data plane no longer answers.
    std::fs::write(site.directory().join("kubeconfig"), DEAD).unwrap();
    let memory = "backend = \"memory\"";
    let configuration = in_memory(&registry.host());
    assert!(configuration.contains(memory));
    let dead = "backend = \"kubernetes\"\nkubeconfig = \"kubeconfig\"";
    site.configure(&configuration.replace(memory, dead));
    let running = site.start(&["run", "report"]);
    let look = || {
        let runs = site.json(&["runs", "report"]);
        Some(runs[0].clone()).filter(|run| run["phase"] == "pending")
    };
    let run = wait_for("the run", std::time::Duration::from_secs(20), look, || {
        site.ok(&["runs", "report"])
    });
    site.run(&["runs", "report"])
        .expect(0)
        .says("ACCEPTED")
        .says("pending");
    let id = run["id"].as_str().unwrap();
    // A request without an answer may have started the run, so it ends when the data plane answers again.
    drop(running);
    site.configure(&configuration);
    let cancelled = site.json(&["run", "cancel", id]);
    assert_eq!(cancelled["phase"], "cancelled", "{cancelled}");
    assert_eq!(site.json(&["runs", "report"])[0]["phase"], "cancelled");
}
