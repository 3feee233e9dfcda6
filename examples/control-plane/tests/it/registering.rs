//! Several commands bring the registries of one new store up to date.

use crate::control_plane::{Site, in_memory};

const HOST: &str = "registry.example.com";
const OLDER: &str = r#"{ id = "2026-11", env = "CHOREO_SEALING_KEY" }"#;

/// A registry that is about to leave the configuration.
const LEAVING: &str = r#"
[[registries]]
id = "leaving"
host = "leaving.example.com"
authentication = "basic"
username = "ada"
password = { env = "IMAGES_PASSWORD" }
"#;

/// A site in whose store a registry is that has left the configuration.
fn site_that_one_has_left() -> Site {
    let site = Site::new(&(in_memory(HOST) + LEAVING), "password");
    site.serve().terminate().expect(0);
    std::fs::write(site.directory().join("new"), "12".repeat(32)).expect("the key is written");
    site
}

/// The configuration without that registry and with a new sealing key, beside older ones.
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

/// Guards that the older sealing key may go after a start of the server with both, also where a
/// registry has left the configuration before.
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

/// Guards that a registry that nothing uses and no key opens stops nothing, is told, and can be
/// removed; and that one in use cannot.
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

/// Guards that of commands that register at once none calls the id taken: one is first, and the
/// others go on with what it has stored.
#[test]
fn commands_that_register_at_once_all_go_on() {
    for _ in 0..4 {
        let site = Site::new(&in_memory("registry.example.com"), "password");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                // Registered first and refused at once after that, without asking a registry.
                scope.spawn(|| {
                    site.run(&["deploy", "orders", "ghcr.io/elsewhere/orders:1"])
                        .complains("is not in the component's registry registry.example.com");
                });
            }
        });
    }
}
