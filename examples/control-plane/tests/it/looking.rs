//! The commands that only show something: they write nothing, and work while `serve` runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::control_plane::{Site, in_memory, site};
use crate::image::Image;

const LOOKING: [&[&str]; 10] = [
    &["check"],
    &["status"],
    &["status", "orders"],
    &["deployments"],
    &["releases", "orders"],
    &["runs", "report"],
    &["registry", "list"],
    &["token", "list", "orders"],
    &["logs", "orders"],
    &["orphans"],
];

/// Returns the files in the directory of the configuration, with their content.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(directory).expect("it is there");
    let files = files.map(|file| file.expect("it is there").path());
    let files = files.filter(|path| path.is_file());
    files
        .map(|path| {
            let name = path.file_name().expect("it has a name");
            let name = name.to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("it is read"))
        })
        .collect()
}

/// Guards that a command that only shows something does not create or change a store.
#[test]
fn looking_writes_nothing() {
    let site = Site::new(&in_memory("registry.example.com"), "password");
    let before = files(site.directory());
    for command in LOOKING {
        site.run(command).expect(0);
        assert_eq!(
            files(site.directory()),
            before,
            "{command:?} wrote something"
        );
    }
    // The same for a store that a server has created: its bytes do not change.
    drop(site.serve());
    let database = || {
        let mut files = files(site.directory());
        ["control-plane.db", "control-plane.db-wal"].map(|name| files.remove(name))
    };
    let before = database();
    assert!(before[0].is_some(), "the control: `serve` makes a store");
    for command in LOOKING {
        site.run(command).expect(0);
        assert_eq!(database(), before, "{command:?} wrote something");
    }
}

/// Guards that without any secret one can look, and revoke a token that has leaked.
#[test]
fn looking_and_revoking_need_no_secret() {
    let site = Site::new(&in_memory("registry.example.com"), "password");
    site.token("orders");
    let tokens = site.json(&["token", "list", "orders"]);
    let id = tokens[0]["id"].as_str().expect("it has an id");
    // The control: the secrets are absent.
    site.run_without_secrets(&["promote", "orders"])
        .expect(2)
        .complains("CHOREO_SEALING_KEY");
    for command in LOOKING.iter().filter(|command| command[0] != "check") {
        site.run_without_secrets(command).expect(0);
    }
    site.run_without_secrets(&["token", "revoke", "orders", id])
        .expect(0)
        .says("is revoked");
    site.run_without_secrets(&["registry", "remove", "none"])
        .expect(6);
}

/// Guards that a truncated list says so, and a complete list does not.
#[test]
fn a_list_says_that_there_are_more() {
    let Some((registry, site)) = site() else {
        return;
    };
    for tag in ["1", "2", "3"] {
        let image = registry.push("shop/orders", tag, &Image::empty());
        site.run(&["deploy", "orders", &image]).expect(0);
    }
    let report = registry.push("shop/report", "1", &Image::empty());
    site.run(&["deploy", "report", &report]).expect(0);
    for _ in 0..3 {
        site.run(&["run", "report"]).expect(0);
    }
    for list in [
        ["deployments", "orders"],
        ["releases", "orders"],
        ["runs", "report"],
    ] {
        for (limit, is_cut) in [("2", true), ("3", false), ("50", false)] {
            let command = [&list[..], &["--limit", limit, "--json"]].concat();
            let listed = site.run(&command).expect(0);
            let count = listed.json().as_array().expect("it is a list").len();
            assert_eq!(count, limit.parse().unwrap_or(3).min(3), "{command:?}");
            let is_said = listed.stderr.contains("to list more");
            assert_eq!(is_said, is_cut, "{command:?}: {}", listed.stderr);
        }
    }
}

/// Guards the lists as text and as JSON, with and without `serve`.
#[test]
fn what_runs_where_is_shown() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let second = registry.push("shop/orders", "2", &Image::empty());
    let digests = [&image, &second];
    site.run(&["status"])
        .expect(0)
        .says("no components are deployed");
    for image in digests {
        let deployed = site.run(&["deploy", "orders", image]).expect(0);
        deployed.complains("deployment d-");
    }
    site.run(&["promote", "orders"]).expect(0);
    let serve = site.serve();
    site.run(&["rollback", "orders"])
        .expect(0)
        .complains("release-hold orders --environment development");

    let status = site.json(&["status"]);
    let environments: Vec<_> = { status.as_array().unwrap().iter() }
        .map(|place| (&place["environment"], &place["ready"]["image"]))
        .collect();
    assert_eq!(
        environments,
        [
            (&json!("development"), &json!(image)),
            (&json!("production"), &json!(second))
        ],
        "{status}"
    );
    assert!(status[0]["hold"]["since"].is_string(), "{status}");
    assert!(status[1]["hold"].is_null(), "{status}");
    assert_eq!(status[0]["data_planes"], json!(["local"]), "{status}");
    assert_eq!(status[0]["in_configuration"], true, "{status}");
    site.run(&["status", "orders"])
        .expect(0)
        .says("COMPONENT  ENVIRONMENT")
        .says("HELD SINCE")
        .says(&image);

    // The image is also shown after a rollback.
    let deployments = site.json(&["deployments", "orders"]);
    assert_eq!(deployments[0]["cause"], "rollback", "{deployments}");
    assert_eq!(deployments[0]["image"], json!(image), "{deployments}");
    let text = site.ok(&["deployments"]);
    let rollback = text.lines().find(|line| line.contains("  rollback  "));
    assert!(rollback.expect("there is one").contains(&image), "{text}");
    assert!(text.starts_with("ACCEPTED"), "{text}");

    let releases = site.json(&["releases", "orders"]);
    assert_eq!(releases[0]["release"], 2, "{releases}");
    assert_eq!(releases[0]["ready_in"], json!(["production"]), "{releases}");
    assert_eq!(
        releases[1]["ready_in"],
        json!(["development"]),
        "{releases}"
    );
    site.run(&["releases", "orders"])
        .expect(0)
        .says("RELEASE  CREATED")
        .says("sha256:");
    let registries = site.json(&["registry", "list"]);
    assert_eq!(registries[0]["id"], "images", "{registries}");
    assert_eq!(registries[0]["credential_version"], 1, "{registries}");
    assert_eq!(registries[0]["components"], json!(["orders", "report"]));
    site.run(&["registry", "list"])
        .expect(0)
        .says("REGISTRY  HOST")
        .says("orders, report");
    serve.terminate().expect(0);
}

/// Guards that the message about a mistyped name lists the known ones.
#[test]
fn a_name_that_is_not_known_is_answered_with_those_that_are() {
    let site = Site::new(&in_memory("registry.example.com"), "password");
    let image = "registry.example.com/shop/orders:1";
    for command in [
        &["deploy", "orderz", image][..],
        &["render", "orderz", image],
        &["promote", "orderz"],
        &["rollback", "orderz"],
        &["release-hold", "orderz"],
        &["remove", "orderz"],
        &["run", "orderz"],
        &["logs", "orderz"],
        &["status", "orderz"],
        &["deployments", "orderz"],
        &["releases", "orderz"],
        &["runs", "orderz"],
        &["token", "create", "orderz"],
        &["token", "list", "orderz"],
        &["snippet", "curl", "orderz"],
    ] {
        site.run(command).expect(6).complains(
            "component orderz does not exist: did you mean \"orders\"? use one of orders, report",
        );
    }
    site.run(&["registry", "verify", "imagez"])
        .expect(6)
        .complains("registry imagez does not exist: did you mean \"images\"? use one of images");
}

/// Guards that with `--json`, standard output is one JSON value for every failure.
#[test]
fn machines_are_answered_in_json() {
    let site = Site::new(&in_memory("registry.example.com"), "password");
    for (command, status) in [
        (&["--json", "deploy", "orders"][..], 2),
        (&["no-such-command", "--json"], 2),
        (&["--json", "logs", "orders", "--lines", "many"], 2),
        (&["--json"], 2),
        (&["--json", "run"], 2),
        (&["--json", "run", "cancel", "r-none"], 6),
        (&["--json", "deploy", "orderz", "registry.example.com/a"], 6),
    ] {
        let outcome = site.run(command).expect(status);
        let value = outcome.json();
        assert_eq!(value["exit_status"], status, "{command:?}: {value}");
        assert!(value["error"].is_string(), "{command:?}: {value}");
    }
    assert!(site.run(&["--json", "--help"]).expect(0).json()["help"].is_string());

    // Every command lists the problems of an invalid configuration.
    site.configure("organization = 7\n[server]\nlisten = 8");
    for command in [
        &["deployments"][..],
        &["serve"],
        &["deploy", "orders", "registry.example.com/a"],
        &["render", "orders", "registry.example.com/a"],
        &["restore"],
    ] {
        let mut command = command.to_vec();
        command.push("--json");
        let value = site.run(&command).expect(2).json();
        let problems = value["problems"].as_array().expect("it is a list");
        let paths: Vec<_> = { problems.iter() }
            .filter_map(|problem| problem["path"].as_str())
            .collect();
        for path in ["organization", "server.listen"] {
            assert!(paths.contains(&path), "{path} is not in {value}");
        }
    }
}
