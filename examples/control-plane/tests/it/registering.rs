//! Updates of the registries in the store, also by several commands at once.

use crate::control_plane::{Site, in_memory};

const HOST: &str = "registry.example.com";
const OLDER: &str = r#"{ id = "2026-11", env = "CHOREO_SEALING_KEY" }"#;

/// A registry that is removed from the configuration later.
const LEAVING: &str = r#"
[[registries]]
id = "leaving"
host = "leaving.example.com"
authentication = "basic"
username = "ada"
password = { env = "IMAGES_PASSWORD" }
"#;

/// Returns a site whose store contains a registry that the configuration does not contain.
fn site_that_one_has_left() -> Site {
    let site = Site::new(&(in_memory(HOST) + LEAVING), "password");
    site.serve().terminate().expect(0);
    std::fs::write(site.directory().join("new"), "12".repeat(32)).expect("the key is written");
    site
}

/// Returns the configuration without that registry, with a new sealing key and these older ones.
fn rotated(older: &str) -> String {
    let new = r#"{ id = "2026-12", file = "new" }"#;
    let (before, after) = (
        format!("key = {OLDER}"),
        format!("key = {new}\nolder = [{older}]"),
    );
    let configuration = in_memory(HOST);
    assert!(configuration.contains(&before));
    configuration.replace(&before, &after)
}

/// Guards that the older sealing key can be removed after a start of the server with both keys, also if a
/// registry was removed from the configuration before.
#[test]
fn a_new_sealing_key_takes_over_what_has_left_the_configuration() {
    let site = site_that_one_has_left();
    site.configure(&rotated(OLDER));
    site.serve().terminate().expect(0);
    site.configure(&rotated(""));
    let checked = site.json(&["check"]);
    assert_eq!(checked["findings"], serde_json::json!([]), "{checked}");
    let serve = site.serve();
    let answer = serve.get("none", "/readyz").expect("it answers");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    serve.terminate().expect(0);
}

/// Guards that a registry that is not used and that no key opens is only reported and can be removed, and
/// that a registry in use cannot.
#[test]
fn what_has_left_the_configuration_and_does_not_open_can_be_removed() {
    let site = site_that_one_has_left();
    site.configure(&rotated(""));
    let serve = site.serve();
    let answer = serve.get("none", "/readyz").expect("it answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    let why = "ok, but a stored registry that is not in the configuration cannot be opened";
    assert!(answer.body.starts_with(why), "{answer:?}");
    serve.terminate().expect(0);
    site.run(&["check"])
        .expect(0)
        .says("the store contains registry leaving, which is not in the configuration and cannot be opened")
        .says("registry remove leaving");

    site.run(&["registry", "remove", "images"])
        .expect(6)
        .complains("registry images is used by orders, report");
    site.ok(&["registry", "remove", "leaving"]);
    site.run(&["registry", "remove", "leaving"])
        .expect(6)
        .complains("registry leaving does not exist");
    let checked = site.json(&["check"]);
    assert_eq!(checked["findings"], serde_json::json!([]), "{checked}");
}

/// Guards that concurrent commands that register do not fail with a conflict: one is first, and the others
/// continue with its row.
#[test]
fn commands_that_register_at_once_all_go_on() {
    for _ in 0..4 {
        let site = Site::new(&in_memory("registry.example.com"), "password");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                // The image is rejected after the registration, without a request to a registry.
                scope.spawn(|| {
                    site.run(&["deploy", "orders", "ghcr.io/elsewhere/orders:1"])
                        .complains("is not in the component's registry registry.example.com");
                });
            }
        });
    }
}
