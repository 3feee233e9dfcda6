//! `GET /v1/deployments/{id}`.

use std::time::Duration;

use choreo_deploy::deployment::Phase;
use choreo_deploy::reason::{Evidence, Reason, ReasonCode};
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::store::TokenStore as _;
use choreo_registry::Digest;
use http::Request;
use serde_json::{json, to_value};

use crate::support::{World, mint};

#[tokio::test]
async fn tells_phase_and_reasons() {
    let world = World::new().await;
    let reason = Reason::new(ReasonCode::ImageNotFound, "image does not exist")
        .with_help("check the tag")
        .with_evidence(Evidence::from_untrusted("manifest unknown"));
    *world.intake.reasons.lock().unwrap() = to_value([reason]).unwrap();
    world.intake.phases.lock().unwrap().push_back(Phase::Failed);
    let answer = world.send(world.get("/v1/deployments/d-1"), "").await;
    assert_eq!(answer.status, 200);
    let deployment = answer.json();
    assert_eq!(
        (&deployment["phase"], &deployment["final"]),
        (&json!("failed"), &json!(true))
    );
    assert_eq!(deployment["release"], 7);
    let pinned = Digest::sha256_of(b"pinned");
    assert_eq!(deployment["digest"], pinned.as_str(), "what runs is said");
    assert_eq!(deployment["status_url"], "d-1");
    assert_eq!(
        deployment["reasons"],
        json!([{
            "code": "image-not-found", "message": "image does not exist",
            "help": "check the tag", "evidence": "manifest unknown",
        }])
    );
    assert!(world.intake.waits.lock().unwrap().is_empty());
}

/// Guards that the digest from CI is shown only until the release is pinned, even if the two
/// differ.
#[tokio::test]
async fn what_is_pinned_goes_before_what_ci_claimed() {
    let world = World::new().await;
    let claimed = Digest::sha256_of(b"claimed");
    *world.intake.claimed.lock().unwrap() = Some(claimed);
    let phases = [Phase::Progressing, Phase::Ready];
    world.intake.phases.lock().unwrap().extend(phases);
    for digest in [claimed, Digest::sha256_of(b"pinned")] {
        let answer = world.send(world.get("/v1/deployments/d-1"), "").await;
        assert_eq!(answer.json()["digest"], digest.as_str());
    }
}

/// Guards that the release of a rollback is shown before the deployment is final.
#[tokio::test]
async fn a_deployment_of_a_release_has_its_number() {
    let world = World::new().await;
    *world.intake.redeployed.lock().unwrap() = ReleaseNumber::new(3);
    world
        .intake
        .phases
        .lock()
        .unwrap()
        .push_back(Phase::Progressing);
    let deployment = world
        .send(world.get("/v1/deployments/d-1"), "")
        .await
        .json();
    assert_eq!(
        (&deployment["release"], &deployment["image"]),
        (&json!(3), &json!(null))
    );
}

#[tokio::test]
async fn waits_at_most_twenty_five_seconds() {
    let world = World::new().await;
    for query in ["wait=3", "wait=25", "wait=3600"] {
        let answer = world
            .send(world.get(&format!("/v1/deployments/d-1?{query}")), "")
            .await;
        assert_eq!(answer.status, 200);
    }
    let waits = world.intake.waits.lock().unwrap();
    assert_eq!(*waits, [3, 25, 25].map(Duration::from_secs));
}

#[tokio::test]
async fn a_deployment_of_another_component_does_not_exist() {
    let world = World::new().await;
    let (payments, record) = mint("payments");
    world.tokens.issue_token(record).await.unwrap();
    let unknown = world.send(world.get("/v1/deployments/d-2"), "").await;
    unknown.is_problem(404, "unknown-deployment");
    for (token, path) in [
        (payments.expose(), "/v1/deployments/d-1"),
        (world.token.expose(), "/v1/deployments/-"),
        (world.token.expose(), "/v1/deployments/%00"),
    ] {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        assert_eq!(world.send(request, "").await, unknown, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_query_is_refused() {
    let world = World::new().await;
    for query in ["wait", "wait=x", "wiat=25", "wait=1&wait=2"] {
        let answer = world
            .send(world.get(&format!("/v1/deployments/d-1?{query}")), "")
            .await;
        answer.is_problem(400, "invalid-query");
    }
}
