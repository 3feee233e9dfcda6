//! Guards against bodies that are slow, endless, broken or mislabeled.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use choreo_webhook::DeployWebhook;
use http::Request;
use http_body::{Body, Frame};
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Answer, IMAGE, Never, World};

async fn post<B>(world: &World, body: B) -> Answer
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let request: Request<B> = world.post().body(body).unwrap();
    Answer::of(world.webhook.clone().oneshot(request).await.unwrap())
}

/// A body that never ends.
struct Endless(&'static [u8]);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.0)))))
    }
}

/// A body that breaks off.
struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::Error::other("hunter2"))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_ten_seconds() {
    let world = World::new().await;
    let start = tokio::time::Instant::now();
    post(&world, Never).await.is_problem(408, "body-too-slow");
    assert_eq!(
        start.elapsed().as_secs(),
        DeployWebhook::BODY_DEADLINE.as_secs()
    );
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    let world = World::new().await;
    post(&world, Endless(&[b' '; 1000]))
        .await
        .is_problem(413, "body-too-large");
    post(&world, Endless(&[]))
        .await
        .is_problem(400, "body-unreadable");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let world = World::new().await;
    let answer = post(&world, Broken).await;
    answer.is_problem(400, "body-unreadable");
    assert!(!String::from_utf8(answer.body).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn the_limit_is_exact() {
    let world = World::new().await;
    let padded = |length: usize| {
        let json = json!({ "image": IMAGE }).to_string();
        format!("{json}{}", " ".repeat(length - json.len()))
    };
    let answer = world
        .send(world.post(), padded(DeployWebhook::BODY_LIMIT))
        .await;
    assert_eq!(answer.status, 202);
    let answer = world
        .send(world.post(), padded(DeployWebhook::BODY_LIMIT + 1))
        .await;
    answer.is_problem(413, "body-too-large");
    // A declared length has the same limit.
    let request = world.post().header("content-length", "16384");
    let answer = world.send(request, padded(DeployWebhook::BODY_LIMIT)).await;
    assert_eq!(answer.status, 202);
}

/// A body that sends this number of empty frames before its text.
struct Padded(usize, Bytes);

impl Body for Padded {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 > 0 {
            self.0 -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::new()))));
        }
        let text = std::mem::take(&mut self.1);
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
    }
}

#[tokio::test]
async fn a_hundred_empty_frames_are_accepted() {
    let world = World::new().await;
    let text = Bytes::from(json!({ "image": IMAGE }).to_string());
    let answer = post(&world, Padded(100, text.clone())).await;
    assert_eq!(answer.status, 202);
    post(&world, Padded(101, text))
        .await
        .is_problem(400, "body-unreadable");
}

#[tokio::test]
async fn a_length_that_is_too_large_is_refused_unread() {
    let world = World::new().await;
    let request = world
        .post()
        .header("content-length", "16385")
        .body(Never)
        .unwrap();
    let answer = Answer::of(world.webhook.clone().oneshot(request).await.unwrap());
    answer.is_problem(413, "body-too-large");
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let world = World::new().await;
    for content_type in [
        "application/x-www-form-urlencoded",
        "text/json",
        "application/jsonp",
        "",
    ] {
        let mut request = world.post();
        request
            .headers_mut()
            .unwrap()
            .insert("content-type", content_type.parse().unwrap());
        let answer = world.send(request, json!({ "image": IMAGE })).await;
        answer.is_problem(415, "unsupported-media-type");
    }
    let mut request = world.post();
    request.headers_mut().unwrap().remove("content-type");
    world
        .send(request, "{}")
        .await
        .is_problem(415, "unsupported-media-type");

    // There are two types, and each reader would choose a different one.
    for second in ["application/json", "text/plain"] {
        let request = world.post().header("content-type", second);
        let answer = world.send(request, json!({ "image": IMAGE })).await;
        answer.is_problem(415, "unsupported-media-type");
    }

    let request = world.post().header("content-encoding", "gzip");
    world
        .send(request, "{}")
        .await
        .is_problem(415, "unsupported-encoding");
    let request = world.post().header("content-encoding", "identity");
    assert_eq!(
        world.send(request, json!({ "image": IMAGE })).await.status,
        202
    );
}

#[tokio::test]
async fn json_and_fields_have_their_own_answers() {
    let world = World::new().await;
    for (body, status, kind) in [
        ("", 400, "invalid-json"),
        ("{", 400, "invalid-json"),
        ("null", 422, "invalid-field"),
        ("{}", 422, "invalid-field"),
        (r#"{"image":"a","image":"a"}"#, 422, "invalid-field"),
        (
            r#"{"image":"a","environment":"production"}"#,
            422,
            "invalid-field",
        ),
        (r#"{"image":"nginx@1.26"}"#, 422, "invalid-image"),
        (
            r#"{"image":"https://ghcr.io/acme/app"}"#,
            422,
            "invalid-image",
        ),
    ] {
        world
            .send(world.post(), body)
            .await
            .is_problem(status, kind);
    }
    let deep = format!("{{\"image\":{}", "[".repeat(16_000));
    world
        .send(world.post(), deep)
        .await
        .is_problem(400, "invalid-json");
    assert!(world.intake.submissions.lock().unwrap().is_empty());
}
