//! Guards that the response to any request is well-formed and not an error of the server.

use std::sync::OnceLock;

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::support::{Answer, World};

struct Stage {
    runtime: Runtime,
    world: World,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let world = runtime.block_on(World::new());
        Stage { runtime, world }
    })
}

fn send(request: Request<Full<bytes::Bytes>>) -> Answer {
    // A separate runtime, because a single-threaded runtime cannot be shared by concurrent callers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    Answer::of(
        runtime
            .block_on(stage().world.webhook.clone().oneshot(request))
            .unwrap(),
    )
}

fn check(answer: &Answer) -> Result<(), TestCaseError> {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    prop_assert!(!answer.status.is_server_error(), "{} {text}", answer.status);
    if !answer.status.is_success() {
        prop_assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        prop_assert_eq!(&problem["status"], answer.status.as_u16());
    }
    prop_assert!(
        !text.contains(&stage().world.token.expose()[17..]),
        "a token came back"
    );
    prop_assert!(!text.contains('\n'), "more than one line: {}", text);
    Ok(())
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/v1/deployments".to_owned()),
        "/v1/deployments/[a-z0-9%-]{0,9}(\\?[a-z0-9=&%+-]{0,12})?",
        "/[!-~]{0,30}",
    ]
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        "content-type|content-length|content-encoding|idempotency-key|authorization|host|expect",
        "[a-z-]{1,12}",
    ];
    (name, vec(any::<u8>(), 0..40))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        "\\{\"image\":\"[ -~]{0,40}\"(,\"[a-z_]{1,9}\":[\"a-z0-9{}\\[\\],.]{0,20})?\\}"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_a_server_error(
        method in "GET|POST|PUT|HEAD|[A-Z]{1,9}",
        path in path(),
        headers in vec(header(), 0..5),
        authenticated: bool,
        body in body(),
    ) {
        let Ok(uri) = path.parse::<Uri>() else { return Ok(()) };
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = uri;
        let map = request.headers_mut();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) {
                map.append(name, value);
            }
        }
        if authenticated {
            let token = format!("Bearer {}", stage().world.token.expose());
            map.insert("authorization", token.parse().unwrap());
            map.insert("content-type", HeaderValue::from_static("application/json"));
        }
        check(&send(request))?;
    }

    #[test]
    fn an_accepted_image_is_passed_on_as_written(tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,40}") {
        let image = format!("ghcr.io/acme/app:{tag}");
        let body = serde_json::json!({ "image": &image }).to_string();
        let request = stage().world.post().body(Full::from(body)).unwrap();
        let answer = send(request);
        prop_assert_eq!(answer.status, 202);
        prop_assert_eq!(&answer.json()["image"], &image);
        check(&answer)?;
    }
}

#[test]
fn the_stage_stands() {
    assert!(
        stage()
            .runtime
            .block_on(async { stage().world.deploy().await })
            .status
            .is_success()
    );
}
