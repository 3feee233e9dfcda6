//! Logins, scopes and retries, as conversations.

use std::{sync::Arc, time::Duration};

use http::Response;

use crate::{
    AccessClass, ClientError, ErrorKind, RegistryClient,
    transport::{ScriptedTransport, TransportErrorKind},
};
use choreo_registry::{Credential, image::ResolvedImage};

const ROOT: &str = "https://registry.example.com";
const PING: &str = "GET https://registry.example.com/v2/";
const MANIFEST: &str = "GET https://registry.example.com/v2/team/app/manifests/1";
const GET_TOKEN: &str = "GET https://registry.example.com/token?service=s\
                         &scope=repository%3Ateam%2Fapp%3Apull";
const POST_TOKEN: &str = "POST https://registry.example.com/token";
const WANTS: &str = r#"Bearer realm="/token",service="s""#;

fn status(status: u16) -> Response<&'static str> {
    Response::builder().status(status).body("").unwrap()
}

fn challenge(status: u16, value: &str) -> Response<&'static str> {
    Response::builder()
        .status(status)
        .header("www-authenticate", value)
        .body("")
        .unwrap()
}

fn token(text: &'static str) -> Response<&'static str> {
    Response::new(text)
}

fn index() -> Response<&'static str> {
    Response::builder()
        .header("content-type", "application/vnd.oci.image.index.v1+json")
        .body(r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","platform":{"os":"linux","architecture":"amd64"}},{"digest":"sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7","platform":{"os":"linux","architecture":"arm64"}}]}"#)
        .unwrap()
}

fn bearer() -> ScriptedTransport {
    ScriptedTransport::new()
        .answer(PING, challenge(401, WANTS))
        .answer(MANIFEST, index())
}

struct Talk {
    transport: Arc<ScriptedTransport>,
    client: RegistryClient,
}

impl Talk {
    fn new(username: &str, transport: ScriptedTransport) -> Self {
        let transport = Arc::new(transport);
        let credential =
            (!username.is_empty()).then(|| Credential::new(username, "secret").unwrap());
        let shared = Arc::<ScriptedTransport>::clone(&transport);
        let client =
            RegistryClient::new("registry.example.com".parse().unwrap(), credential, shared);
        Self { transport, client }
    }

    async fn resolve(&self) -> Result<ResolvedImage, ClientError> {
        let image = "registry.example.com/team/app:1".parse().unwrap();
        self.client.resolve(&image).await
    }

    /// Returns the requests, each with its authorization.
    fn lines(&self) -> Vec<String> {
        let line = |request: &http::Request<bytes::Bytes>| {
            let header = request.headers().get("authorization");
            let header = header.map_or("", |value| value.to_str().unwrap());
            let url = request.uri().to_string().replace(ROOT, "");
            let body = String::from_utf8_lossy(request.body());
            format!("{} {url} {header}{body}", request.method())
                .trim_end()
                .to_owned()
        };
        self.transport.requests().iter().map(line).collect()
    }
}

/// robot:secret
const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";
const FORM: &str = "grant_type=password&username=robot&password=secret&client_id=choreo-registry\
                    &service=s&scope=repository%3Ateam%2Fapp%3Apull";

#[tokio::test]
async fn a_token_server_without_get_is_asked_by_post_and_remembered() {
    for refusal in [404, 405] {
        let transport = bearer()
            .answer(GET_TOKEN, status(refusal))
            .answer(POST_TOKEN, token(r#"{"access_token":"t"}"#))
            // The token ends.
            .answer(MANIFEST, challenge(401, WANTS))
            .answer(MANIFEST, index());
        let talk = Talk::new("robot", transport);
        talk.resolve().await.unwrap();
        // The next token is requested by POST at once.
        talk.resolve().await.unwrap();
        let get = "GET /token?service=s&scope=repository%3Ateam%2Fapp%3Apull";
        assert_eq!(
            talk.lines(),
            [
                "GET /v2/",
                &format!("{get} {BASIC}"),
                &format!("POST /token {FORM}"),
                "GET /v2/team/app/manifests/1 Bearer t",
                "HEAD /v2/team/app/manifests/1 Bearer t",
                "GET /v2/team/app/manifests/1 Bearer t",
                &format!("POST /token {FORM}"),
                "GET /v2/team/app/manifests/1 Bearer t",
            ]
        );
        let post = &talk.transport.requests()[2];
        assert_eq!(
            post.headers()["content-type"],
            "application/x-www-form-urlencoded"
        );
    }
}

#[tokio::test]
async fn a_refusal_by_get_is_no_reason_to_post() {
    for (refusal, kind, requests) in [
        // The third request is for a token without access rights, which shows whether the login is
        // the cause.
        (400, ErrorKind::CredentialRefused, 3),
        (401, ErrorKind::CredentialRefused, 2),
        (403, ErrorKind::CredentialRefused, 3),
        (500, ErrorKind::Unavailable, 2),
    ] {
        let talk = Talk::new("robot", bearer().answer(GET_TOKEN, status(refusal)));
        assert_eq!(talk.resolve().await.unwrap_err().kind(), kind, "{refusal}");
        assert_eq!(talk.lines().len(), requests, "{refusal}");
        assert!(talk.lines().iter().all(|line| line.starts_with("GET")));
    }
    // Nobody has nothing to post.
    let talk = Talk::new("", bearer().answer(GET_TOKEN, status(404)));
    let error = talk.resolve().await.unwrap_err();
    assert_eq!(
        error.message(),
        "registry \"registry.example.com\" violates the protocol: its token \
         server answers 404"
    );
    assert_eq!(talk.lines().len(), 2);
}

#[tokio::test]
async fn a_refresh_token_is_posted_and_falls_back_to_get() {
    let posted = Talk::new(
        "<token>",
        bearer().answer(POST_TOKEN, token(r#"{"token":"t"}"#)),
    );
    posted.resolve().await.unwrap();
    assert_eq!(
        posted.lines()[1],
        "POST /token grant_type=refresh_token&refresh_token=secret&client_id=choreo-registry\
         &service=s&scope=repository%3Ateam%2Fapp%3Apull"
    );
    for refusal in [400, 401, 404, 405] {
        let transport = bearer()
            .answer(POST_TOKEN, status(refusal))
            .answer(GET_TOKEN, token(r#"{"token":"t"}"#));
        let talk = Talk::new("<token>", transport);
        talk.resolve().await.unwrap();
        assert!(talk.lines()[2].starts_with("GET /token?"), "{refusal}");
    }
    for (refusal, kind) in [
        (403, ErrorKind::CredentialRefused),
        (500, ErrorKind::Unavailable),
    ] {
        let talk = Talk::new("<token>", bearer().answer(POST_TOKEN, status(refusal)));
        assert_eq!(talk.resolve().await.unwrap_err().kind(), kind);
        let posts = talk.lines()[1..]
            .iter()
            .all(|line| line.starts_with("POST"));
        assert!(posts, "{refusal}");
    }
}

/// Both ways refused: the credential is wrong, and that is what is said.
#[tokio::test]
async fn a_credential_that_is_refused_both_ways_is_refused() {
    let transport = bearer()
        .answer(GET_TOKEN, status(405))
        .answer(POST_TOKEN, status(401));
    let talk = Talk::new("robot", transport);
    let error = talk.resolve().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialRefused);
}

/// A form is sent again by 307 and 308 only, and to its own origin only.
#[tokio::test]
async fn a_posted_login_is_redirected_within_its_origin_only() {
    let moved = |status: u16, location: &str| {
        Response::builder()
            .status(status)
            .header("location", location)
            .body("")
            .unwrap()
    };
    let talk = |redirect| {
        let transport = bearer().answer(POST_TOKEN, redirect).answer(
            "POST https://registry.example.com/login",
            token(r#"{"token":"t"}"#),
        );
        Talk::new("<token>", transport)
    };
    for kept in [307, 308] {
        let talk = talk(moved(kept, "/login"));
        talk.resolve().await.unwrap();
        assert!(talk.lines()[2].contains("refresh_token=secret"), "{kept}");
    }
    for changed in [301, 302, 303] {
        let talk = talk(moved(changed, "/login"));
        assert_eq!(
            talk.resolve().await.unwrap_err().message(),
            "registry \"registry.example.com\" violates the protocol: its token \
             server redirects a login elsewhere"
        );
        assert_eq!(talk.lines().len(), 2);
    }
    for elsewhere in [
        "https://evil.example/login",
        "https://registry.example.com:8443/login",
    ] {
        let talk = talk(moved(307, elsewhere));
        let error = talk.resolve().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RealmNotTrusted);
        assert_eq!(talk.lines().len(), 2);
    }
}

#[tokio::test]
async fn insufficient_scope_is_answered_once_with_the_scope_that_it_names() {
    let wants = r#"Bearer realm="/token",service="s",scope="repository:team/app:pull,push aws",error="insufficient_scope""#;
    let more = "GET https://registry.example.com/token?service=s\
                &scope=repository%3Ateam%2Fapp%3Apull&scope=aws";
    for refusal in [401, 403] {
        let transport = ScriptedTransport::new()
            .answer(PING, challenge(401, WANTS))
            .answer(GET_TOKEN, token(r#"{"token":"weak"}"#))
            .answer(more, token(r#"{"token":"strong"}"#))
            .answer(MANIFEST, challenge(refusal, wants));
        let talk = Talk::new("robot", transport);
        let error = talk.resolve().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let lines = talk.lines();
        assert_eq!(lines.len(), 5, "{lines:?}");
        // Never the right to push.
        assert!(!lines.iter().any(|line| line.contains("push")), "{lines:?}");
        assert_eq!(lines[4], "GET /v2/team/app/manifests/1 Bearer strong");
    }
    // A plain 403 is final, whatever its challenge offers.
    let offers = challenge(403, r#"Bearer realm="/token",scope="aws""#);
    let transport = ScriptedTransport::new()
        .answer(PING, challenge(401, WANTS))
        .answer(GET_TOKEN, token(r#"{"token":"weak"}"#))
        .answer(MANIFEST, offers);
    let talk = Talk::new("robot", transport);
    assert_eq!(talk.resolve().await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(talk.lines().len(), 3);
}

#[tokio::test]
async fn many_callers_ask_for_one_token() {
    let talk = Talk::new(
        "robot",
        bearer().answer(GET_TOKEN, token(r#"{"token":"t"}"#)),
    );
    let (a, b, c) = tokio::join!(talk.resolve(), talk.resolve(), talk.resolve());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let asked = |start: &str| {
        let lines = talk.lines();
        lines.iter().filter(|line| line.starts_with(start)).count()
    };
    assert_eq!(asked("GET /v2/ "), 0);
    assert_eq!(asked("GET /token"), 1);
    assert_eq!(asked("GET /v2/team"), 3);
    // A caller that arrives after the first answer requests only the digest, which this script
    // does not contain.
    assert_eq!(talk.lines().len() - asked("HEAD "), 5);
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_passing_is_asked_again() {
    let busy = |status: u16, wait: &str| {
        Response::builder()
            .status(status)
            .header("retry-after", wait)
            .body("")
            .unwrap()
    };
    let transport = ScriptedTransport::new()
        .fail(PING, TransportErrorKind::Connect)
        .answer(PING, status(503))
        .answer(PING, Response::new(""))
        .answer(MANIFEST, busy(429, "2"))
        .answer(MANIFEST, index());
    let talk = Talk::new("", transport);
    let started = tokio::time::Instant::now();
    talk.resolve().await.unwrap();
    assert_eq!(talk.lines().len(), 5);
    let elapsed = started.elapsed();
    assert!(
        elapsed >= Duration::from_secs(2) && elapsed < Duration::from_millis(2500),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_stays_broken_or_asks_for_patience_is_reported() {
    let busy = Response::builder()
        .status(429)
        .header("retry-after", "60")
        .header("ratelimit-limit", "100;w=21600")
        .header("ratelimit-remaining", "0;w=21600")
        .body("")
        .unwrap();
    let talk = Talk::new("", ScriptedTransport::new().answer(PING, busy));
    let error = talk.resolve().await.unwrap_err();
    assert_eq!(talk.lines().len(), 1);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(
        serde_json::to_string(error.evidence()).unwrap(),
        r#"{"host":"registry.example.com","status":429,"retry_after_seconds":60,"rate_limit":{"limit":100,"remaining":0,"window_seconds":21600}}"#
    );

    let down = Talk::new("", ScriptedTransport::new().answer(PING, status(503)));
    assert_eq!(
        down.client.verify(None).await.class(),
        AccessClass::Unreachable
    );
    assert_eq!(down.lines().len(), 3);

    let transport = ScriptedTransport::new().answer(PING, status(503));
    let once = Talk::new("", transport);
    let client = once.client.with_retries(0);
    assert_eq!(client.verify(None).await.class(), AccessClass::Unreachable);
    assert_eq!(once.transport.requests().len(), 1);
}

/// No wait outlives the call.
#[tokio::test(start_paused = true)]
async fn retries_end_before_the_deadline() {
    let busy = Response::builder()
        .status(503)
        .header("retry-after", "2")
        .body("")
        .unwrap();
    let talk = Talk::new("", ScriptedTransport::new().answer(PING, busy));
    let client = talk.client.with_timeout(Duration::from_secs(3));
    let started = tokio::time::Instant::now();
    assert_eq!(client.verify(None).await.class(), AccessClass::Unreachable);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(talk.transport.requests().len(), 2);
}

/// Deadlines are told by the clock that ends waits, also where a test has turned it.
#[tokio::test(start_paused = true)]
async fn a_call_has_its_whole_time_on_a_clock_that_was_turned() {
    let talk = Talk::new("", ScriptedTransport::new().answer(PING, status(503)));
    tokio::time::advance(Duration::from_secs(3600)).await;
    let started = tokio::time::Instant::now();
    assert_eq!(
        talk.client.verify(None).await.evidence().status(),
        Some(503)
    );
    assert_eq!(talk.lines().len(), 3);
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// A call that is dropped at any of its waits leaves a client that works.
#[tokio::test]
async fn a_dropped_call_leaves_nothing_half_done() {
    for polls in 0..40 {
        let talk = Talk::new(
            "robot",
            bearer().answer(GET_TOKEN, token(r#"{"token":"t"}"#)),
        );
        {
            let mut call = Box::pin(talk.resolve());
            for _ in 0..polls {
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                if call.as_mut().poll(&mut context).is_ready() {
                    break;
                }
            }
        }
        talk.resolve().await.unwrap();
    }
}

/// Guards that the evidence keeps at most the length of a host name from a redirect target of any
/// length.
#[tokio::test]
async fn evidence_of_an_endless_host_has_an_end() {
    let redirect = Response::builder()
        .status(307)
        .header(
            "location",
            format!("https://{}.example/", "a".repeat(20_000)),
        )
        .body("")
        .unwrap();
    let transport =
        ScriptedTransport::new().answer("GET https://registry.example.com/v2/", redirect);
    let registry = "registry.example.com".parse().unwrap();
    let client = RegistryClient::new(registry, None, Arc::new(transport));
    let access = client.verify(None).await;
    assert_eq!(access.class(), AccessClass::Blocked);
    let shown = format!("{access:?}{access}");
    assert!(shown.len() < 1_000, "{} bytes", shown.len());
}

/// Answers everything with a manifest of this many blanks more, whatever the limit.
#[derive(Debug)]
struct Boundless(crate::egress::Egress, usize);

#[async_trait::async_trait]
impl super::HttpTransport for Boundless {
    async fn send(
        &self,
        outbound: super::Outbound,
    ) -> Result<Response<bytes::Bytes>, super::TransportError> {
        let is_manifest = outbound.request.uri().path().contains("manifests");
        let blanks = " ".repeat(if is_manifest { self.1 } else { 0 });
        Ok(index().map(|body| format!("{body}{blanks}").into()))
    }

    fn egress(&self) -> crate::egress::Egress {
        self.0.clone()
    }
}

#[tokio::test]
async fn a_transport_that_ignores_the_limit_is_not_believed() {
    let resolve = async |blanks| {
        let transport = Arc::new(Boundless(crate::egress::Egress::tenant(), blanks));
        let host = "registry.example.com".parse().unwrap();
        let client = RegistryClient::new(host, None, transport);
        let image = "registry.example.com/team/app:1".parse().unwrap();
        client.resolve(&image).await
    };
    // The control: less than the limit of a manifest, 4 MiB, is taken.
    resolve(1 << 20).await.unwrap();
    let error = resolve(4 << 20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
}
