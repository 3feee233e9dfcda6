//! The webhook from the point of view of CI.

use serde_json::json;

use crate::control_plane::{Outcome, Serve, Site, site};
use crate::image::Image;
use crate::{http, is_installed, skipped};

/// Guards the main path: POST, 202, wait, ready.
#[test]
fn an_image_is_deployed_by_ci() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let serve = site.serve();
    for path in ["/healthz", "/readyz"] {
        let answer = http::send(serve.address(), &format!("GET {path}"), &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let token = site.token("orders");
    let body = json!({ "image": image, "commit": "4f2c", "run_url": "https://ci.example/runs/7" });
    let answer = serve.post(&token, &[], &body.to_string());
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = format!("/v1/{}", answer.header("location").unwrap());
    let deployment = serve.follow(&token, &location);
    assert_eq!(deployment["phase"], "ready", "{deployment}");
    assert_eq!(deployment["environment"], "development", "{deployment}");
    assert_eq!(deployment["commit"], "4f2c", "{deployment}");

    // Commands show the same while `serve` runs, and `serve` notices that a token was revoked.
    let deployments = site.json(&["deployments", "orders"]);
    assert_eq!(deployments[0]["id"], deployment["id"], "{deployments}");
    assert_eq!(deployments[0]["phase"], "ready", "{deployments}");
    assert!(
        deployments[0]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:"),
        "{deployments}"
    );
    let tokens = site.json(&["token", "list", "orders"]);
    let id = tokens[0]["id"].as_str().unwrap();
    site.run(&["token", "revoke", "orders", id]).expect(0);
    assert_eq!(serve.post(&token, &[], &body.to_string()).status, 401);
    serve.terminate().expect(0);
}

/// Guards that health checks have their own address, which serves nothing else.
#[test]
fn health_checks_have_an_address_of_their_own() {
    let site = Site::new(&crate::control_plane::in_memory("127.0.0.1:5000"), "x");
    // The port is free now, and very probably also a moment later.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = free.local_addr().expect("it has an address");
    drop(free);
    let listen = "listen = \"127.0.0.1:0\"";
    let both = format!("{listen}\nhealth_listen = \"{address}\"");
    let configuration = crate::control_plane::in_memory("127.0.0.1:5000");
    assert!(configuration.contains(listen));
    site.configure(&configuration.replace(listen, &both));
    let serve = site.serve();
    for (address, path, status) in [
        (address, "/healthz", 200),
        (address, "/readyz", 200),
        (address, "/v1/deployments/d-1", 404),
        (serve.address(), "/readyz", 200),
        (serve.address(), "/v1/deployments/d-1", 401),
    ] {
        let answer = http::send(address, &format!("GET {path}"), &[], b"").unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    serve.terminate().expect(0);
}

/// Guards that a repeated POST with the same key creates no second deployment.
#[test]
fn a_repeated_request_is_answered_as_before() {
    let Some((registry, site)) = site() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let (serve, token) = (site.serve(), site.token("orders"));
    let body = json!({ "image": image }).to_string();
    let first = serve.post(&token, &[("idempotency-key", "run-7")], &body);
    let second = serve.post(&token, &[("idempotency-key", "run-7")], &body);
    assert_eq!(
        (first.status, second.status),
        (202, 202),
        "{first:?} {second:?}"
    );
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(
        second.header("idempotent-replayed"),
        Some("true"),
        "{second:?}"
    );
    let other = json!({ "image": image.replace(":1", ":2") }).to_string();
    let answer = serve.post(&token, &[("idempotency-key", "run-7")], &other);
    assert_problem(&answer, 422, "idempotency-key-reused");
}

/// Guards that each mistake in a request has its own answer, never 500, and that nothing is stored.
#[test]
fn bad_requests_are_refused() {
    let Some((registry, site)) = site() else {
        return;
    };
    let good = format!("{}/shop/orders:1", registry.host());
    let (serve, token) = (site.serve(), site.token("orders"));
    let image = |image: &str| json!({ "image": image }).to_string();
    let long = image(&"a".repeat(20_000));
    let cases = [
        (image("ghcr.io/shop/orders:1"), 422, "image-not-in-registry"),
        (
            image(&format!("{}/Shop/orders:1", registry.host())),
            422,
            "invalid-image",
        ),
        (image(""), 422, "invalid-field"),
        ("{\"image\": ".to_owned(), 400, "invalid-json"),
        ("[]".to_owned(), 422, "invalid-field"),
        ("{}".to_owned(), 422, "invalid-field"),
        (
            json!({ "image": good, "envronment": "x" }).to_string(),
            422,
            "invalid-field",
        ),
        (json!({ "image": 7 }).to_string(), 422, "invalid-field"),
        (
            format!("{{\"image\":\"{good}\",\"image\":\"{good}\"}}"),
            422,
            "invalid-field",
        ),
        (long, 413, "body-too-large"),
    ];
    for (body, status, kind) in cases {
        let answer = serve.post(&token, &[], &body);
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        assert_problem(&answer, status, kind);
    }
    let text = serve.post(&token, &[("content-type", "text/plain")], &image(&good));
    assert_problem(&text, 415, "unsupported-media-type");
    let packed = serve.post(&token, &[("content-encoding", "gzip")], &image(&good));
    assert_problem(&packed, 415, "unsupported-encoding");
    let put = http::send(serve.address(), "PUT /v1/deployments", &[], b"").unwrap();
    assert_problem(&put, 405, "method-not-allowed");
    let nowhere = http::send(serve.address(), "GET /v2/", &[], b"").unwrap();
    assert_problem(&nowhere, 404, "not-found");
    let unknown = serve
        .get(&token, "/v1/deployments/d-aaaaaaaaaaaaaaaaaaaaaaaaaa")
        .unwrap();
    assert_problem(&unknown, 404, "unknown-deployment");
    assert_eq!(site.json(&["deployments"]), json!([]), "nothing was stored");
}

/// Guards that the answers for unknown, revoked, foreign and malformed tokens are the same.
#[test]
fn tokens_that_do_not_hold_are_refused_alike() {
    let Some((registry, site)) = site() else {
        return;
    };
    let body = json!({ "image": format!("{}/shop/orders:1", registry.host()) }).to_string();
    let serve = site.serve();
    let revoked = site.token("orders");
    let id = site.json(&["token", "list", "orders"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    site.ok(&["token", "revoke", "orders", &id]);
    let elsewhere = Site::new(&crate::control_plane::in_memory(&registry.host()), "x");
    let unknown = elsewhere.token("orders");
    let answers: Vec<_> = [&revoked, &unknown, "chd_none", "x"]
        .map(|token| serve.post(token, &[], &body))
        .into();
    for answer in &answers {
        assert_problem(answer, 401, "invalid-token");
        assert_eq!(answer.body, answers[0].body);
    }
    let none = http::send(
        serve.address(),
        "POST /v1/deployments",
        &[],
        body.as_bytes(),
    )
    .unwrap();
    assert_problem(&none, 401, "missing-token");
    site.run(&["token", "create", "nobody"])
        .expect(6)
        .complains("component nobody does not exist");
    site.run(&["token", "revoke", "report", &id])
        .expect(6)
        .complains("has no token");
}

/// Guards that the tokens of a component that was removed from the configuration do not work.
#[test]
fn a_component_that_is_gone_is_not_found() {
    let Some((registry, site)) = site() else {
        return;
    };
    let token = site.token("report");
    let configuration = crate::control_plane::in_memory(&registry.host());
    let at = configuration.rfind("[[components]]").unwrap();
    site.configure(&configuration[..at]);
    let serve = site.serve();
    let body = json!({ "image": format!("{}/shop/report:1", registry.host()) }).to_string();
    assert_problem(&serve.post(&token, &[], &body), 404, "unknown-component");
}

/// Guards that the snippet for CI, run by dash, exits with the status of the outcome.
#[test]
fn the_snippet_ends_with_the_outcome() {
    let Some((registry, site)) = site() else {
        return;
    };
    for program in ["dash", "curl"] {
        if !is_installed(program) {
            return skipped(&format!(
                "{program} is not installed, so the snippet was not run"
            ));
        }
    }
    let images = ["1", "2"].map(|tag| registry.push("shop/orders", tag, &Image::empty()));
    let (serve, token) = (site.serve(), site.token("orders"));
    site.publish(serve.address());
    let snippet = site.ok(&["snippet", "curl", "orders"]);

    run_snippet(&snippet, &token, &images[0])
        .expect(0)
        .says("is ready");
    run_snippet(&snippet, &token, &images[1])
        .expect(0)
        .says("is ready");
    let missing = format!("{}/shop/orders:missing", registry.host());
    run_snippet(&snippet, &token, &missing)
        .expect(1)
        .says("image-not-found");
    run_snippet(&snippet, &token, "ghcr.io/shop/orders:1")
        .expect(6)
        .complains("rejected");
    let unknown = format!("chd_{}", "x".repeat(token.len() - 4));
    run_snippet(&snippet, &unknown, &images[0]).expect(6);
    run_snippet(&snippet, "", &images[0]).expect(2);
    site.run(&["rollback", "orders"]).expect(0);
    run_snippet(&snippet, &token, &images[1])
        .expect(4)
        .complains("held");
    site.run(&["snippet", "no-such-ci", "orders"]).expect(2);
    assert!(
        site.ok(&["snippet", "github-actions", "orders"])
            .contains("CHOREO_TOKEN")
    );
    drop::<Serve>(serve);
}

fn run_snippet(snippet: &str, token: &str, image: &str) -> Outcome {
    let ran = std::process::Command::new("dash")
        .args(["-c", snippet])
        .env("CHOREO_TOKEN", token)
        .env("IMAGE", image)
        .output()
        .expect("dash runs");
    Outcome {
        status: ran.status.code().expect("it ends by itself"),
        stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

#[track_caller]
fn assert_problem(answer: &http::Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    assert_eq!(
        answer.json()["type"],
        format!("urn:choreo:problem:{kind}"),
        "{answer:?}"
    );
}
