//! Failures on a real cluster, which are reported in plain words.

use std::time::Duration;

use choreo_test_registry::parts::Manifest;
use choreo_test_registry::{TestRegistry, User};
use serde_json::Value;

use crate::control_plane::{Site, base};
use crate::image::Image;
use crate::kubernetes::{Cluster, SERVICE, component, service};
use crate::registry::{Registry, USERNAME};

/// Guards that a crash is reported with the last lines of the program, and that `logs` shows them.
#[test]
fn a_crash_shows_its_last_lines() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let image = Image::program(&["crash", "no connection to the database", "3"]);
    let image = registry.push("shop/orders", "1", &image);
    let site = cluster.site(&registry, &[service("orders")]);
    site.run(&["deploy", "orders", &image])
        .expect(1)
        .says("failed: ")
        .says("exit code 3")
        .says("| no connection to the database");
    let list = site.json(&["deployments", "orders"]);
    let reason = &list[0]["reasons"][0];
    assert_eq!(reason["code"], "container-crashed", "{list}");
    assert!(
        reason["evidence"]
            .as_str()
            .unwrap()
            .contains("no connection"),
        "{list}"
    );
    // The container restarts repeatedly, and the node does not always have the log of the last time.
    let look = || {
        let logs = site.run(&["logs", "orders", "--previous"]);
        (logs.status == 0 && logs.stdout.contains("no connection to the database")).then_some(())
    };
    let show = || format!("{:?}", site.run(&["logs", "orders", "--previous"]));
    crate::wait_for("the log of the crash", Duration::from_secs(90), look, show);
}

/// Guards that failures that only the nodes notice have the right cause. The credentials are in Secrets of
/// the data plane, so the control plane cannot query the registry.
#[test]
fn failures_that_only_nodes_notice_are_distinguished() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    registry.push("shop/orders", "1", &Image::program(&["serve", "orders"]));
    let (_runtime, bearer) = bearer_registry();
    let namespace = format!("{}-shop", cluster.prefix());
    cluster.kubectl(&["create", "namespace", &namespace]);
    let (here, there) = (registry.host(), bearer.host());
    let mut configuration = base(&here) + &cluster.data_plane(0);
    let created = format!("{{ create = {{ prefix = {:?} }} }}", cluster.prefix());
    configuration = configuration.replace(&created, &format!("{{ existing = {namespace:?} }}"));
    let cases = [
        (
            "wrong-password",
            &here,
            USERNAME,
            "wrong",
            "1",
            "registry-credential-refused",
            "the registry of image \"IMAGE\" does not accept the credential",
        ),
        (
            "missing-tag",
            &here,
            USERNAME,
            registry.password(),
            "missing",
            "image-not-found",
            "image \"IMAGE\" does not exist in the registry",
        ),
        (
            "no-right",
            &there,
            "bob",
            "bobs password",
            "1",
            "registry-pull-denied",
            "the credential may not pull image \"IMAGE\", or there is no such image",
        ),
    ];
    for (id, host, username, password, ..) in &cases {
        configuration += &format!(
            "\n[[registries]]\nid = \"{id}\"\nhost = \"{host}\"\nauthentication = \"basic\"\nexisting_secret = \"{id}\"\n"
        );
        configuration += &component(id, "service", id, SERVICE);
        let (server, username, password) = (
            format!("--docker-server={host}"),
            format!("--docker-username={username}"),
            format!("--docker-password={password}"),
        );
        let create = ["-n", &namespace, "create", "secret", "docker-registry", id];
        cluster.kubectl(&[&create[..], &[&server, &username, &password]].concat());
    }
    let site = Site::new(&configuration, registry.password());
    std::thread::scope(|scope| {
        for (id, host, _, _, tag, code, words) in &cases {
            let site = &site;
            scope.spawn(move || {
                let image = format!("{host}/shop/orders:{tag}");
                let ended = site.run(&["deploy", id, &image]).expect(1);
                let words = words.replace("\"IMAGE\"", &image);
                ended.says("failed: ").says(&words);
                assert_eq!(reason(site, id)["code"], *code);
            });
        }
    });
}

/// Guards that failures that the control plane notices are reported before anything reaches the cluster.
#[test]
fn failures_of_the_registry_are_distinguished() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let (_runtime, bearer) = bearer_registry();
    let (here, there) = (registry.host(), bearer.host());
    registry.push("shop/orders", "1", &Image::empty());
    let mut configuration = base(&here) + &cluster.data_plane(0) + &service("orders");
    configuration = configuration.replace(
        &format!("plain_http = [\"{here}\"]"),
        &format!("plain_http = [\"{here}\", \"{there}\"]"),
    );
    configuration += &format!(
        "\n[[registries]]\nid = \"bobs\"\nhost = \"{there}\"\nauthentication = \"basic\"\nusername = \"bob\"\npassword = {{ file = \"bob\" }}\n"
    );
    configuration += &component("hidden", "service", "bobs", SERVICE);
    let site = Site::new(&configuration, registry.password());
    std::fs::write(site.output().with_file_name("bob"), "bobs password\n").unwrap();

    let missing = format!("{here}/shop/orders:missing");
    site.run(&["deploy", "orders", &missing])
        .expect(1)
        .says(&format!(
            "failed: image \"{missing}\" was not found: its repository has no such tag"
        ));
    assert_eq!(reason(&site, "orders")["code"], "image-not-found");
    let image = format!("{here}/shop/orders:1");
    site.run_with(&["deploy", "orders", &image], "wrong")
        .expect(1)
        .says(&format!(
            "failed: registry \"{here}\" rejects the user name or the password"
        ));
    assert_eq!(
        reason(&site, "orders")["code"],
        "registry-credential-refused"
    );
    let hidden = format!("{there}/shop/orders:1");
    site.run(&["deploy", "hidden", &hidden])
        .expect(1)
        .says("failed: ")
        .says(&hidden);
    assert_eq!(reason(&site, "hidden")["code"], "registry-pull-denied");
    assert!(
        cluster.objects("deployments", "orders").is_empty(),
        "nothing reached the cluster"
    );
}

fn reason(site: &Site, component: &str) -> Value {
    let list = site.json(&["deployments", component]);
    list[0]["reasons"][0].clone()
}

/// Returns a registry with bearer tokens, and with a user Bob who has no permissions. It contains the
/// image that he requests.
fn bearer_registry() -> (tokio::runtime::Runtime, TestRegistry) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let bob = User::without_rights("bob", "bobs password");
    let registry = runtime.block_on(TestRegistry::builder().bearer().user(bob).start());
    let registry = registry.expect("a registry starts");
    let image = Image::program(&["serve", "orders"]);
    for blob in image.blobs() {
        registry
            .push_blob("shop/orders", blob)
            .expect("the repository is valid");
    }
    let manifest = Manifest::new(Image::MANIFEST_TYPE, image.manifest("1"));
    registry
        .push_manifest("shop/orders", "1", manifest)
        .expect("the tag is valid");
    (runtime, registry)
}
