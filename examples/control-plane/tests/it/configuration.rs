//! Messages about a configuration and its registries.

use crate::control_plane::{Site, base, in_memory, site};
use crate::image::Image;

/// Guards that `registry verify` distinguishes the mistakes of users, in plain words.
#[test]
fn a_registry_is_verified() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let host = registry.host();

    site.run(&["registry", "verify", "images"])
        .expect(0)
        .says(&format!("registry \"{host}\" accepts the login"));
    site.run(&["registry", "verify", "images", &image])
        .expect(0)
        .says(&format!("image \"{image}\" can be pulled with this login"))
        .says("digest: sha256:");

    let missing = format!("{host}/shop/orders:nobody-pushed-it");
    site.run(&["registry", "verify", "images", &missing])
        .expect(1)
        .says(&format!(
            "image \"{missing}\" was not found: its repository has no such tag"
        ));
    site.run_with(&["registry", "verify", "images"], "wrong")
        .expect(1)
        .says(&format!(
            "registry \"{host}\" rejects the user name or the password"
        ));

    site.run(&["registry", "verify", "images", "ghcr.io/shop/orders:1"])
        .expect(6)
        .complains("image \"ghcr.io/shop/orders:1\" is not in registry images");
    site.run(&["registry", "verify", "nobody"])
        .expect(6)
        .complains("registry nobody does not exist: use one of images");
    let wrong = site.run(&["registry", "verify", "--json"]).expect(2).json();
    assert!(
        wrong["error"].as_str().unwrap().contains("<NAME>"),
        "{wrong}"
    );
    let access = site.json(&["registry", "verify", "images", &image]);
    assert_eq!(access["class"], "pull-allowed", "{access}");
}

/// Guards that a registry that is down is not reported as a rejected login.
#[test]
fn a_registry_that_is_down_is_unreachable() {
    let host = crate::registry::free_address().to_string();
    let site = Site::new(&in_memory(&host), "irrelevant");
    site.run(&["registry", "verify", "images"])
        .expect(1)
        .says(&format!("registry \"{host}\" cannot be reached"));
}

/// Guards that `check` reports all problems with their paths, and shows no value that may be a secret.
#[test]
fn every_problem_is_said_at_once() {
    let configuration = base("localhost:5000")
        .replace(
            "password = { env = \"IMAGES_PASSWORD\" }",
            "password = \"hunter2hunter2\"",
        )
        .replace(
            "listen = \"127.0.0.1:0\"",
            "listen = \"everywhere\"\nlisten_on = 1",
        );
    let configuration = configuration
        + r#"
[[data_planes]]
id = "local"
backend = "memory"
policy = { securty = "baseline" }

[[components]]
id = "Orders!"
project = "shop"
type = "service"
registry = "nobody"

[components.workload]
endpoints = [{ name = "http", port = 70000, protocol = "http" }]

[components.settings.staging]
scaling = { replicas = 3 }
"#;
    let site = Site::new(&configuration, "irrelevant");
    let outcome = site.run(&["check"]).expect(2);
    for place in [
        "server.listen: ",
        "server.listen_on: ",
        "registries[0].password: ",
        "data_planes[0].policy",
        "components[0].id: ",
        "components[0].workload.endpoints",
    ] {
        assert!(
            outcome.stdout.contains(place),
            "{place} is not in\n{}",
            outcome.stdout
        );
    }
    assert!(!outcome.stdout.contains("hunter2"), "{}", outcome.stdout);
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    let problems = site.run(&["check", "--json"]).expect(2).json();
    assert_eq!(problems["ok"], false, "{problems}");
    assert!(
        problems["problems"].as_array().unwrap().len() >= 6,
        "{problems}"
    );
}

/// Guards that a reference to a missing entry is a problem of the configuration, not of a deployment.
#[test]
fn names_that_lead_nowhere_are_problems() {
    let good = in_memory("localhost:5000");
    for (from, to, place) in [
        (
            "registry = \"images\"",
            "registry = \"nobody\"",
            "components[0].registry",
        ),
        (
            "data_plane = \"local\"",
            "data_plane = \"moon\"",
            "environments[0].data_plane",
        ),
        (
            "[components.settings.production]",
            "[components.settings.moon]",
            "components[0].settings",
        ),
    ] {
        let site = Site::new(&good.replacen(from, to, 1), "irrelevant");
        site.run(&["check"]).expect(2).says(place);
    }
    // The control: without the mistakes, it is valid.
    Site::new(&good, "irrelevant")
        .run(&["check"])
        .expect(0)
        .says("is valid");
}

/// Guards that a configuration that is missing or not TOML is wrong use and causes no panic.
#[test]
fn a_file_that_cannot_be_read_is_wrong_use() {
    let site = Site::new("organization = \"acme", "irrelevant");
    site.run(&["check"]).expect(2);
    site.run(&["deploy"]).expect(2);
    site.run(&["no-such-command"]).expect(2);
}
