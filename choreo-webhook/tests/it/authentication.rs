//! Guards which tokens may deploy, and that rejections give strangers no information.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use choreo_deploy::store::TokenStore as _;
use choreo_webhook::token::Lifetime;
use http::Request;
use http_body::{Body, Frame};
use jiff::ToSpan as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Answer, IMAGE, World, mint, now};

/// A body that panics when it is read.
struct Untouchable;

impl Body for Untouchable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was read")
    }
}

async fn post_unread(world: &World, token: &str) -> Answer {
    let request = Request::post("/v1/deployments")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Untouchable)
        .unwrap();
    Answer::of(world.webhook.clone().oneshot(request).await.unwrap())
}

#[tokio::test]
async fn without_a_token_it_asks_for_one() {
    let world = World::new().await;
    for authorization in [None, Some("Basic bWU6cHc="), Some("Bearer"), Some("")] {
        let mut request =
            Request::post("/v1/deployments").header("content-type", "application/json");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(Untouchable).unwrap();
        let answer = Answer::of(world.webhook.clone().oneshot(request).await.unwrap());
        answer.is_problem(401, "missing-token");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer",
            "{authorization:?}"
        );
    }
}

/// Guards that the responses for all causes are byte-equal, and that none reads the body.
#[tokio::test]
async fn tokens_that_are_not_accepted_look_alike() {
    let world = World::new().await;
    let (unknown, _) = mint("orders");
    let (revoked, record) = mint("orders");
    let orders = record.component_key();
    world.tokens.issue_token(record).await.unwrap();
    world
        .tokens
        .revoke_token(&orders, revoked.id(), now())
        .await
        .unwrap();
    // The id of one token and the secret of another: well-formed but wrong.
    let (mixed, _) = mint("orders");
    let (_, mut record) = mint("orders");
    record.id = mixed.id().clone();
    world.tokens.issue_token(record).await.unwrap();
    let (expired, mut record) = mint("payments");
    record.expires_at = now();
    record.created_at = now() - 24.hours();
    world.tokens.issue_token(record).await.unwrap();
    let malformed = format!("{}_", &unknown.expose()[..unknown.expose().len() - 1]);

    let tokens = [
        unknown.expose(),
        revoked.expose(),
        mixed.expose(),
        expired.expose(),
        &malformed,
        "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
        "é",
    ];
    let mut answers = Vec::new();
    for token in tokens {
        answers.push(post_unread(&world, token).await);
    }
    answers[0].is_problem(401, "invalid-token");
    assert_eq!(
        answers[0].header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    for (answer, token) in answers.iter().zip(tokens) {
        assert_eq!(answer, &answers[0], "{token}");
    }
    assert!(world.intake.submissions.lock().unwrap().is_empty());
    // The control: a valid token reads the body.
    let live = tokio::spawn({
        let (webhook, token) = (world.webhook.clone(), world.token.expose().to_owned());
        async move {
            let request = Request::post("/v1/deployments")
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json")
                .body(Untouchable)
                .unwrap();
            webhook.oneshot(request).await
        }
    });
    assert!(live.await.unwrap_err().is_panic());
}

#[tokio::test]
async fn a_token_revoked_while_it_is_used_looks_like_any_other() {
    let world = World::new().await;
    let wrong = post_unread(&world, mint("orders").0.expose()).await;
    let refusal = choreo_deploy::intake::IntakeErrorKind::TokenRefused;
    world.intake.refusals.lock().unwrap().push_back(refusal);
    assert_eq!(world.deploy().await, wrong);
}

#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let world = World::new().await;
    let request = world
        .post()
        .header("authorization", format!("Bearer {}", world.token.expose()));
    world
        .send(request, json!({ "image": IMAGE }))
        .await
        .is_problem(401, "invalid-token");
}

#[tokio::test]
async fn the_scheme_is_case_insensitive() {
    let world = World::new().await;
    let request = Request::post("/v1/deployments")
        .header("authorization", format!("bEARER {}", world.token.expose()))
        .header("content-type", "application/json; charset=utf-8");
    assert_eq!(
        world.send(request, json!({ "image": IMAGE })).await.status,
        202
    );
}

#[tokio::test]
async fn a_token_in_the_url_must_be_rotated() {
    let world = World::new().await;
    for url in [
        format!("/v1/deployments?token={}", world.token.expose()),
        format!("/v1/deployments?x={}", world.token.expose()),
        format!("/v1/deployments/{}", world.token.expose()),
        "/v1/deployments?access_token=abc".to_owned(),
        "/v1/deployments?x=1&Token=abc".to_owned(),
        "/v1/deployments?to%6ben=abc".to_owned(),
        format!("/v1/deployments/%63hd%5F{}", &world.token.expose()[4..]),
        format!("http://{}@cd.example/v1/deployments", world.token.expose()),
        format!(
            "http://ci:{}@cd.example/v1/deployments",
            world.token.expose()
        ),
    ] {
        let request = world.post().uri(&url);
        let answer = world.send(request, json!({ "image": IMAGE })).await;
        assert_eq!(answer.status, 400, "{url}");
        answer.is_problem(400, "token-in-url");
        assert!(answer.json()["help"].as_str().unwrap().contains("rotate"));
        assert!(!String::from_utf8_lossy(&answer.body).contains(world.token.expose()));
    }
    assert!(world.intake.submissions.lock().unwrap().is_empty());
}

/// Guards against a query that is decoded before it is split: a user must not rotate a token because
/// of a value that resembles a parameter.
#[tokio::test]
async fn a_value_is_not_the_name_of_a_parameter() {
    let world = World::new().await;
    for query in ["x=a%26token%3Db", "x=%26token=b", "a%26token=b", "x=token"] {
        let request = world.post().uri(format!("/v1/deployments?{query}"));
        let answer = world.send(request, json!({ "image": IMAGE })).await;
        answer.is_problem(400, "invalid-query");
    }
}

/// Guards against CI variables that are mixed up: the response is shown in the log of the CI run, and
/// an accepted request is stored and shown.
#[tokio::test]
async fn a_token_in_the_body_is_neither_repeated_nor_stored() {
    let world = World::new().await;
    let token = world.token.expose();
    // The checksum is not part of the secret.
    let cut = &token[..token.len() - 6];
    for body in [
        json!({ "image": token }),
        json!({ "image": cut }),
        json!({ "image": format!("registry.example.com/shop/orders:{token}") }),
        json!({ "image": format!("registry.example.com/shop/orders@{token}") }),
        json!({ "image": IMAGE, "digest": token }),
        json!({ "image": IMAGE, "commit": token }),
        json!({ "image": IMAGE, "run_url": format!("https://ci.example/?x={token}") }),
        json!({ "image": IMAGE, "run_url": format!("https://ci.example/?x={}", token.replace('_', "%5f")) }),
        json!({ "image": IMAGE, token: "x" }),
    ] {
        let answer = world.send(world.post(), &body).await;
        assert_eq!(answer.status, 422, "{body}");
        answer.is_problem(422, "invalid-field");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(cut), "{text}");
        assert!(text.contains("contains a deploy token"), "{text}");
        assert!(text.contains("rotate"), "{text}");
    }
    let request = world.post().header("idempotency-key", token);
    let answer = world.send(request, json!({ "image": IMAGE })).await;
    answer.is_problem(400, "invalid-idempotency-key");
    assert!(answer.json()["help"].as_str().unwrap().contains("rotate"));
    assert!(world.intake.submissions.lock().unwrap().is_empty());

    // The control: a text that only looks similar is accepted.
    let similar =
        json!({ "image": "ghcr.io/acme/chd_tool:chd_1", "commit": &token[..token.len() - 7] });
    assert_eq!(world.send(world.post(), similar).await.status, 202);
}

#[tokio::test]
async fn the_last_fortnight_of_a_token_is_announced() {
    let world = World::new().await;
    let end = now() + (i64::from(Lifetime::DEFAULT.days()) * 24).hours();
    world.clock.set(end - (14 * 24).hours() - 1.second());
    assert_eq!(world.deploy().await.header("choreo-token-expires"), "");
    world.clock.set(end - (14 * 24).hours());
    assert_eq!(
        world.deploy().await.header("choreo-token-expires"),
        end.to_string()
    );
    let refused = world.send(world.post(), "{}").await;
    assert_eq!(refused.header("choreo-token-expires"), end.to_string());
}

#[tokio::test]
async fn use_is_remembered_to_the_minute() {
    let world = World::new().await;
    let last_used = || async {
        world
            .tokens
            .token(world.token.id())
            .await
            .unwrap()
            .unwrap()
            .last_used_at
    };
    assert_eq!(last_used().await, None);
    world.deploy().await;
    assert_eq!(last_used().await, Some(now()));
    world.clock.set(now() + 59.seconds());
    world.deploy().await;
    assert_eq!(last_used().await, Some(now()));
    world.clock.set(now() + 60.seconds());
    world.deploy().await;
    assert_eq!(last_used().await, Some(now() + 60.seconds()));
}

/// Guards that a token deploys its own component, whatever the request contains.
#[tokio::test]
async fn a_token_deploys_to_its_own_component() {
    let world = World::new().await;
    world.deploy().await;
    let submissions = world.intake.submissions.lock().unwrap();
    assert_eq!(submissions[0].component.to_string(), "acme/orders");
    assert_eq!(submissions[0].environment, None);
    let cause = choreo_deploy::deployment::Cause::Ci(world.token.id().clone());
    assert_eq!(submissions[0].cause, cause);
}
