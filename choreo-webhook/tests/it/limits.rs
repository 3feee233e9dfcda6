//! The limits of concurrent requests.

use std::time::Duration;

use choreo_deploy::store::TokenStore as _;
use choreo_webhook::webhook::{Limits, Share};
use http::{Request, request};
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{IMAGE, Never, World, mint, mint_of};

/// Starts a request that waits in the intake until it opens.
fn hang(world: &World, request: request::Builder, body: &str) -> tokio::task::JoinHandle<u16> {
    let request = request.body(body.to_owned()).unwrap();
    let webhook = world.webhook.clone();
    tokio::spawn(async move { webhook.oneshot(request).await.unwrap().status().as_u16() })
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn one_component_does_not_lock_out_the_others() {
    let world = World::new().await;
    let mut limits = Limits::default();
    limits.deploying = Share::new(3, 9, 2);
    limits.waiting = Share::new(1, 9, 1);
    let world = World {
        webhook: world.webhook.clone().with_limits(limits),
        ..world
    };
    let (payments, record) = mint("payments");
    world.tokens.issue_token(record).await.unwrap();
    let post_payments = || {
        Request::post("/v1/deployments")
            .header("authorization", format!("Bearer {}", payments.expose()))
            .header("content-type", "application/json")
    };
    let body = json!({ "image": IMAGE }).to_string();
    *world.intake.closed.lock().unwrap() = true;

    let mut under_way = vec![
        hang(&world, world.post(), &body),
        hang(&world, world.post(), &body),
    ];
    settle().await;
    let answer = world.deploy().await;
    answer.is_problem(429, "too-many-requests");
    assert_eq!(answer.header("retry-after"), "2");

    under_way.push(hang(&world, post_payments(), &body));
    settle().await;
    let answer = world.send(post_payments(), &body).await;
    answer.is_problem(503, "busy");
    assert_eq!(answer.header("retry-after"), "2");

    // Requests that wait have separate places.
    under_way.push(hang(&world, world.get("/v1/deployments/d-1?wait=25"), ""));
    settle().await;
    let answer = world
        .send(world.get("/v1/deployments/d-1?wait=25"), "")
        .await;
    answer.is_problem(429, "too-many-requests");

    *world.intake.closed.lock().unwrap() = false;
    for (request, status) in under_way.into_iter().zip([202, 202, 202, 200]) {
        assert_eq!(request.await.unwrap(), status);
    }
    assert_eq!(world.deploy().await.status, 202);
}

/// Guards that a client that disconnects frees its place.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_frees_the_place() {
    let world = World::new().await;
    let mut limits = Limits::default();
    limits.deploying.per_component = 1;
    let world = World {
        webhook: world.webhook.clone().with_limits(limits),
        ..world
    };
    *world.intake.closed.lock().unwrap() = true;
    let request = hang(&world, world.post(), &json!({ "image": IMAGE }).to_string());
    settle().await;
    world.deploy().await.is_problem(429, "too-many-requests");
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    *world.intake.closed.lock().unwrap() = false;
    assert_eq!(world.deploy().await.status, 202);
}

/// Guards that eight components of one organization, each with its maximum of concurrent requests,
/// always leave a place for other tenants.
#[tokio::test(start_paused = true)]
async fn bodies_that_never_come_refuse_nobody_else() {
    let world = World::new().await;
    let mut evil = Vec::new();
    for number in 0..8 {
        let (token, record) = mint_of("evil", &format!("evil-{number}"));
        world.tokens.issue_token(record).await.unwrap();
        evil.push(token);
    }
    for token in &evil {
        for _ in 0..8 {
            let authorization = format!("Bearer {}", token.expose());
            let webhook = world.webhook.clone();
            tokio::spawn(async move {
                loop {
                    let request = Request::post("/v1/deployments")
                        .header("authorization", &authorization)
                        .header("content-type", "application/json");
                    let answer = webhook.clone().oneshot(request.body(Never).unwrap()).await;
                    let wait = u64::from(answer.unwrap().status() != 408);
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                }
            });
        }
    }
    settle().await;
    for second in 0..600 {
        assert_eq!(world.deploy().await.status, 202, "after {second} seconds");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Guards the same for requests that wait, and for requests that the intake does not answer.
#[tokio::test(start_paused = true)]
async fn an_organization_with_many_components_leaves_places_for_the_others() {
    let world = World::new().await;
    *world.intake.closed.lock().unwrap() = true;
    let body = json!({ "image": IMAGE }).to_string();
    for number in 0..33 {
        let (token, record) = mint_of("evil", &format!("evil-{number}"));
        world.tokens.issue_token(record).await.unwrap();
        let authorization = format!("Bearer {}", token.expose());
        for _ in 0..32 {
            let get = Request::get("/v1/deployments/d-1?wait=25");
            hang(&world, get.header("authorization", &authorization), "");
        }
        for _ in 0..2 {
            let post = Request::post("/v1/deployments")
                .header("authorization", &authorization)
                .header("content-type", "application/json");
            hang(&world, post, &body);
        }
    }
    settle().await;
    let mine = [
        hang(&world, world.post(), &body),
        hang(&world, world.get("/v1/deployments/d-1?wait=25"), ""),
    ];
    settle().await;
    *world.intake.closed.lock().unwrap() = false;
    for (request, status) in mine.into_iter().zip([202, 200]) {
        assert_eq!(request.await.unwrap(), status);
    }
}

/// Guards that a request frees its place for a body as soon as its body is read.
#[tokio::test(start_paused = true)]
async fn a_body_that_came_makes_room_for_the_next() {
    let world = World::new().await;
    let mut limits = Limits::default();
    limits.reading = Share::new(1, 1, 1);
    let world = World {
        webhook: world.webhook.clone().with_limits(limits),
        ..world
    };
    *world.intake.closed.lock().unwrap() = true;
    let body = json!({ "image": IMAGE }).to_string();
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(hang(&world, world.post(), &body));
        settle().await;
    }
    *world.intake.closed.lock().unwrap() = false;
    for request in under_way {
        assert_eq!(request.await.unwrap(), 202);
    }
}
