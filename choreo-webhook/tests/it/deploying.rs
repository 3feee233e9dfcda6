//! `POST /v1/deployments`.

use choreo_deploy::deployment::Phase;
use choreo_deploy::intake::IntakeErrorKind as Kind;
use choreo_registry::Digest;
use serde_json::json;

use crate::support::{DIGEST, IMAGE, World};

#[tokio::test]
async fn accepts_and_says_where_to_look() {
    let world = World::new().await;
    let answer = world.deploy().await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("location"), "deployments/d-1");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("idempotent-replayed"), "");
    // The snippets parse this with sed, so the order is part of the contract.
    assert_eq!(
        String::from_utf8(answer.body).unwrap(),
        format!(
            r#"{{"phase":"accepted","final":false,"id":"d-1","component":"orders","environment":"dev","image":"{IMAGE}","commit":"4b825dc","reasons":[],"accepted_at":"2026-01-01T00:00:00Z","changed_at":"2026-01-01T00:00:00Z","status_url":"deployments/d-1"}}"#
        )
    );
}

#[tokio::test]
async fn passes_on_all_that_was_sent() {
    let world = World::new().await;
    let body = json!({
        "image": "nginx:1.26", "digest": DIGEST, "commit": "4b825dc",
        "run_url": "https://ci.example/runs/7",
    });
    let request = world.post().header("idempotency-key", "\"run-7\"");
    assert_eq!(world.send(request, body).await.status, 202);
    let submissions = world.intake.submissions.lock().unwrap();
    let submission = &submissions[0];
    assert_eq!(submission.image.as_written, "nginx:1.26");
    assert_eq!(
        submission.image.claimed.as_ref().unwrap().to_string(),
        DIGEST
    );
    assert_eq!(submission.provenance.commit.as_deref(), Some("4b825dc"));
    assert_eq!(
        submission.provenance.run_url.as_deref(),
        Some("https://ci.example/runs/7")
    );
    assert_eq!(submission.idempotency_key.as_deref(), Some("run-7"));
}

#[tokio::test]
async fn a_replay_says_so() {
    let world = World::new().await;
    *world.intake.replayed.lock().unwrap() = true;
    let answer = world.deploy().await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("idempotent-replayed"), "true");

    // The response is current: it contains the digest to which the release is pinned.
    *world.intake.phases.lock().unwrap() = [Phase::Ready].into();
    let deployment = world.deploy().await.json();
    assert_eq!(deployment["phase"], "ready");
    assert_eq!(deployment["digest"], Digest::sha256_of(b"pinned").as_str());
}

#[tokio::test]
async fn a_base_url_makes_absolute_locations_and_the_host_header_never_does() {
    let world = World::new().await;
    let base_url = "https://cd.example.com/hooks".parse().unwrap();
    let absolute = World {
        webhook: world.webhook.clone().with_base_url(base_url),
        ..world
    };
    let request = absolute.post().header("host", "evil.example");
    let answer = absolute.send(request, json!({ "image": IMAGE })).await;
    let url = "https://cd.example.com/hooks/v1/deployments/d-1";
    assert_eq!(answer.header("location"), url);
    assert_eq!(answer.json()["status_url"], url);
    assert!(!String::from_utf8(answer.body).unwrap().contains("evil"));
}

#[tokio::test]
async fn each_refusal_of_the_intake_has_its_answer() {
    let world = World::new().await;
    for (kind, status, problem) in [
        (Kind::Held, 409, "held"),
        (Kind::ImageNotInRegistry, 422, "image-not-in-registry"),
        (Kind::KeyReused, 422, "idempotency-key-reused"),
        (Kind::NotPossible, 422, "not-possible"),
        (Kind::TokenRefused, 401, "invalid-token"),
        (Kind::Unavailable, 503, "unavailable"),
        (Kind::Internal, 500, "internal"),
        (Kind::UnknownComponent, 404, "unknown-component"),
        (Kind::UnknownEnvironment, 409, "unknown-environment"),
    ] {
        world.intake.refusals.lock().unwrap().push_back(kind);
        let answer = world.deploy().await;
        answer.is_problem(status, problem);
        let body = String::from_utf8(answer.body.clone()).unwrap();
        assert!(!body.contains("hunter2"), "the cause is for logs: {body}");
        assert_eq!(
            answer.header("retry-after"),
            if status == 503 { "5" } else { "" }
        );
        if !matches!(
            kind,
            Kind::Internal | Kind::Unavailable | Kind::TokenRefused
        ) {
            assert_eq!(answer.json()["detail"], format!("refused as {kind:?}"));
        }
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let world = World::new().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"] {
        let answer = world.send(world.post().method(method), "").await;
        answer.is_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), "POST");
    }
    let answer = world
        .send(world.post().uri("/v1/deployments/d-1"), "")
        .await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET");
    for path in [
        "/",
        "/v1",
        "/v1/deployments/",
        "/v1/deploymentsx",
        "/v1/deployments/a/b",
        "/v2/deployments",
    ] {
        world
            .send(world.post().uri(path), "")
            .await
            .is_problem(404, "not-found");
    }
    world
        .send(world.post().uri("/v1/deployments?wait=1"), "{}")
        .await
        .is_problem(400, "invalid-query");
}

#[tokio::test]
async fn a_wrong_idempotency_key_is_refused_before_the_body() {
    let world = World::new().await;
    let request = world.post().header("idempotency-key", "\"open");
    world
        .send(request, "not json")
        .await
        .is_problem(400, "invalid-idempotency-key");
}
