//! Reads a body within a limit and a deadline.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Buf as _;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body;

use super::DeployWebhook;
use super::problem::Problem;
use crate::problem::ProblemType;

/// Rejects a body that its headers show to be invalid, before it is read.
pub(super) fn refuse_unread(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|value| {
            let essence = value.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case("application/json")
        })
    };
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    if !types.next().is_some_and(is_json) || types.next().is_some() {
        return Err(Problem::new(
            ProblemType::UnsupportedMediaType,
            "body must be JSON: send one header 'Content-Type: application/json'",
        ));
    }
    // A small body can decompress to a huge one.
    let is_encoded =
        |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(is_encoded) {
        return Err(Problem::new(
            ProblemType::UnsupportedEncoding,
            "body must not be compressed: remove the header 'Content-Encoding'",
        ));
    }
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    match declared.map(str::parse::<u64>) {
        Some(Ok(length)) if length > DeployWebhook::BODY_LIMIT as u64 => Err(too_large()),
        _ => Ok(()),
    }
}

/// Reads the whole body within its limit and its deadline.
pub(super) async fn read<B>(body: B) -> Result<Vec<u8>, Problem>
where
    B: Body + Send,
    B::Data: Send,
{
    let whole = tokio::time::timeout(DeployWebhook::BODY_DEADLINE, collect(body));
    whole.await.unwrap_or_else(|_| {
        let seconds = DeployWebhook::BODY_DEADLINE.as_secs();
        Err(Problem::new(
            ProblemType::BodyTooSlow,
            format!("body did not arrive within {seconds} seconds"),
        ))
    })
}

async fn collect<B>(body: B) -> Result<Vec<u8>, Problem>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let mut empty_frames = 0;
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(frame) = frame else {
            return Err(Problem::new(
                ProblemType::BodyUnreadable,
                "body is incomplete: send it again",
            ));
        };
        let data = frame.into_data().ok().filter(bytes::Buf::has_remaining);
        let Some(mut data) = data else {
            // An endless stream of empty frames costs its sender nothing.
            empty_frames += 1;
            if empty_frames > EMPTY_FRAMES {
                return Err(Problem::new(
                    ProblemType::BodyUnreadable,
                    "body has too many empty frames",
                ));
            }
            continue;
        };
        if data.remaining() > DeployWebhook::BODY_LIMIT - bytes.len() {
            return Err(too_large());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(bytes)
}

fn too_large() -> Problem {
    Problem::new(
        ProblemType::BodyTooLarge,
        format!("body is longer than {} bytes", DeployWebhook::BODY_LIMIT),
    )
}

const EMPTY_FRAMES: u32 = 100;
