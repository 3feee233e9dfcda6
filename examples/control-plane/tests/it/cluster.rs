//! Deployments to a real cluster, which answer requests.

use crate::image::Image;
use crate::kubernetes::{Cluster, component, name, namespace, service};
use crate::registry::Registry;

/// Guards the whole path: CI posts an image, the Service becomes ready, and its pods answer HTTP.
#[test]
fn a_service_answers() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let image = registry.push(
        "shop/orders",
        "1",
        &Image::program(&["serve", "orders one"]),
    );
    let site = cluster.site(&registry, &[service("orders")]);
    let (serve, token) = (site.serve(), site.token("orders"));
    let deployment = serve.follow(&token, &serve.accept(&token, &image));
    assert_eq!(deployment["phase"], "ready", "{deployment}");
    assert_eq!(cluster.answers("orders"), ["orders one"]);

    // The output contains the address.
    let status = site.json(&["status", "orders"]);
    let services = cluster.objects("services", "orders");
    let (service, namespace) = (name(&services[0]), namespace(&services[0]));
    assert_eq!(
        status[0]["addresses"],
        serde_json::json!([{ "endpoint": "http", "address": format!("{service}.{namespace}.svc:8080") }]),
        "{status}"
    );

    // The pods run the resolved digest, pulled with the registered credential.
    let pods = cluster.objects("pods", "orders");
    let deployments = site.json(&["deployments", "orders"]);
    let digest = deployments[0]["digest"].as_str().unwrap();
    let runs = pods[0]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(runs.ends_with(digest), "{runs} is not {digest}");
    assert!(site.ok(&["logs", "orders"]).contains("serving orders one"));
    serve.terminate().expect(0);
}

/// Guards the same for a Web Application, with commands only.
#[test]
fn a_web_application_answers() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let image = registry.push("shop/front", "1", &Image::program(&["serve", "front one"]));
    let front = component(
        "front",
        "web-application",
        "images",
        "port = 8080\nprogress_deadline = 60",
    );
    let site = cluster.site(&registry, &[front]);
    site.run(&["deploy", "front", &image])
        .expect(0)
        .says("front is ready in development")
        .says(".svc:8080 inside the cluster")
        .complains("front cannot be reached from outside the cluster yet");
    assert_eq!(cluster.answers("front"), ["front one"]);
    site.run(&["promote", "front"])
        .expect(0)
        .says("front is ready in production");
    assert_eq!(
        cluster.objects("deployments", "front").len(),
        2,
        "one in each environment"
    );
}
