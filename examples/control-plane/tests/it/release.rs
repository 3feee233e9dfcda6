//! The life of a release: promotion, rollback and its hold, failure, runs, rendering.

use serde_json::json;

use crate::control_plane::site;
use crate::image::Image;

/// Guards that a promotion deploys the same digest even if the tag has moved, and that a rollback holds
/// the environment, so that CI cannot deploy until the hold is released.
#[test]
fn releases_move_forward_and_back() {
    let Some((registry, site)) = site() else {
        return;
    };
    let (first, second) = (Image::empty(), Image::empty());
    let image = registry.push("shop/orders", "1", &first);
    let (serve, token) = (site.serve(), site.token("orders"));
    let by_ci = || {
        let deployment = serve.follow(&token, &serve.accept(&token, &image));
        assert_eq!(deployment["phase"], "ready", "{deployment}");
        // The output of the program contains more than that of the webhook: the resolved digest.
        site.json(&["deployments", "orders"])[0].clone()
    };
    let deployed = by_ci();
    // The tag moves before the promotion.
    registry.push_variant("shop/orders", "1", &second);

    let promoted = site.json(&["promote", "orders"]);
    assert_eq!(promoted["phase"], "ready", "{promoted}");
    assert_eq!(promoted["environment"], "production", "{promoted}");
    assert_eq!(
        promoted["digest"], deployed["digest"],
        "the tag moved, the release did not"
    );
    site.run(&["promote", "orders", "--from", "production"])
        .expect(6);

    let moved = by_ci();
    assert_ne!(moved["digest"], deployed["digest"], "{moved}");
    let back = site.json(&["rollback", "orders"]);
    assert_eq!(back["digest"], deployed["digest"], "{back}");
    let body = json!({ "image": image }).to_string();
    let held = serve.post(&token, &[], &body);
    assert_eq!(held.status, 409, "{held:?}");
    assert_eq!(held.json()["type"], "urn:choreo:problem:held", "{held:?}");

    site.run(&["release-hold", "orders"])
        .expect(0)
        .says("CI can deploy orders to development again");
    site.run(&["release-hold", "orders"])
        .expect(0)
        .says("orders is not held in development");
    let again = by_ci();
    assert_eq!(again["digest"], moved["digest"], "{again}");
    site.run(&["rollback", "orders", "--to", "99"]).expect(6);
    serve.terminate().expect(0);
}

/// Guards that a missing tag is a failed deployment with its reason, not a lost request, and that the
/// commands exit with the documented statuses.
#[test]
fn commands_end_with_the_outcome() {
    let Some((registry, site)) = site() else {
        return;
    };
    let host = registry.host();
    let image = registry.push("shop/orders", "1", &Image::empty());
    site.run(&["deploy", "orders", &image, "--environment", "development"])
        .expect(0)
        .says("orders is ready in development");
    let missing = format!("{host}/shop/orders:missing");
    let failed = site
        .run(&["deploy", "orders", &missing, "--environment", "development"])
        .expect(1)
        .says(&format!(
            "failed: image \"{missing}\" was not found: its repository has no such tag"
        ))
        .says("help: ");
    assert!(!failed.stdout.contains(registry.password()));
    let list = site.json(&["deployments", "orders"]);
    assert_eq!(list[0]["reasons"][0]["code"], "image-not-found", "{list}");
    site.run(&["deployments"]).expect(0).says("was not found");

    let deploy = |component: &str, image: &str, environment: &str| {
        site.run(&["deploy", component, image, "--environment", environment])
    };
    deploy("orders", "ghcr.io/shop/orders:1", "development").expect(6);
    deploy("nobody", &image, "development")
        .expect(6)
        .complains("nobody");
    deploy("orders", &image, "moon").expect(6).complains("moon");
    deploy("orders", "Not An Image", "development").expect(2);
    site.run(&["deployments", "nobody"]).expect(6);
    // Rejections are JSON too, and create no deployment.
    let refused = site
        .run(&["deploy", "orders", "ghcr.io/shop/orders:1", "--json"])
        .expect(6);
    assert!(refused.json().is_object(), "{refused:?}");
    assert_eq!(site.json(&["deployments"]).as_array().unwrap().len(), 2);
}

/// Guards that a deployment fails with this reason if the registry rejects the password.
#[test]
fn a_wrong_password_is_the_reason() {
    let Some((registry, site)) = site() else {
        return;
    };
    let host = registry.host();
    let image = registry.push("shop/orders", "1", &Image::empty());
    site.run_with(
        &["deploy", "orders", &image, "--environment", "development"],
        "wrong",
    )
    .expect(1)
    .says(&format!(
        "failed: registry \"{host}\" rejects the user name or the password"
    ));
    let list = site.json(&["deployments", "orders"]);
    assert_eq!(
        list[0]["reasons"][0]["code"], "registry-credential-refused",
        "{list}"
    );
    // The control: the right password works.
    site.run(&["deploy", "orders", &image, "--environment", "development"])
        .expect(0);
}

/// Guards that a task runs only after it is deployed, and that only tasks run.
#[test]
fn tasks_are_run() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/report", "1", &Image::empty());
    site.run(&["run", "report"]).expect(6);
    let serve = site.serve();
    site.run(&["deploy", "report", &image]).expect(0);
    site.run(&["run", "report"])
        .expect(0)
        .says("report succeeded in development");
    let run = site.json(&["run", "report"]);
    assert_eq!(
        (&run["phase"], &run["exit_code"]),
        (&json!("succeeded"), &json!(0)),
        "{run}"
    );
    site.run(&["run", "orders"]).expect(6);
    serve.terminate().expect(0);
}

/// Guards that rendering needs no registry, store or secret, shows no secret, and is YAML.
#[test]
fn objects_are_rendered_offline() {
    let host = crate::registry::free_address().to_string();
    let configuration = crate::control_plane::in_memory(&host);
    let site = crate::control_plane::Site::new(&configuration, "hunter2hunter2");
    let image = format!("{host}/shop/orders:1");
    let yaml = site.ok(&["render", "orders", &image]);
    assert!(!yaml.contains("hunter2"), "{yaml}");
    for part in [
        "kind: Deployment",
        "kind: Service",
        "kind: ServiceAccount",
        &image,
    ] {
        assert!(yaml.contains(part), "{part} is not in\n{yaml}");
    }
    let objects = site.json(&["render", "orders", &image]);
    assert!(objects.to_string().contains("Deployment"), "{objects}");
    let production = site.ok(&["render", "orders", &image, "--environment", "production"]);
    assert!(production.contains("replicas: 3"), "{production}");
    assert!(!std::fs::exists(site.output().with_file_name("control-plane.db")).unwrap());
    site.run(&["render", "orders", "ghcr.io/shop/orders:1"])
        .expect(6);
    assert_is_yaml(&yaml);
}

/// Reads YAML with PyYAML, if it is installed.
fn assert_is_yaml(yaml: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let linters = std::env::var_os("CHOREO_TEST_LINTERS").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&linters)
        .map(|p| p.join("python"))
        .collect();
    places.push("python3".into());
    let imports = |python: &std::path::PathBuf| {
        let import = Command::new(python)
            .args(["-c", "import yaml"])
            .stderr(Stdio::null())
            .status();
        import.is_ok_and(|status| status.success())
    };
    let Some(python) = places.into_iter().find(imports) else {
        return crate::skipped("PyYAML is not installed, so the rendered YAML was not read");
    };
    let script = "import sys, yaml\nprint(len([d for d in yaml.safe_load_all(sys.stdin) if d]))";
    let mut reader = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut input = reader.stdin.take().expect("its input is a pipe");
    input.write_all(yaml.as_bytes()).expect("it reads");
    drop(input);
    let read = reader.wait_with_output().expect("it ends");
    assert!(read.status.success(), "it is no YAML:\n{yaml}");
    let count: u32 = String::from_utf8_lossy(&read.stdout)
        .trim()
        .parse()
        .expect("it counts");
    assert!(count >= 3, "{count} documents:\n{yaml}");
}
