//! The meaning of a refusal, which depends on its sender and on the previous proof. The registries
//! are those of public bug reports: ghcr.io, Amazon ECR, Artifact Registry, Scaleway, Harbor, and
//! registries behind gateways that do not serve `/v2/`.

use std::sync::Arc;

use choreo_registry::Credential;
use choreo_registry_client::{Access, AccessClass, RegistryClient, transport::ScriptedTransport};
use http::Response;

const ROOT: &str = "https://registry.example.com";
const IMAGE: &str = "registry.example.com/team/app:1";
const PING: &str = "GET https://registry.example.com/v2/";
const MANIFEST: &str = "GET https://registry.example.com/v2/team/app/manifests/1";
const LOGIN: &str = "GET https://registry.example.com/token?service=s";
const PULL: &str =
    "GET https://registry.example.com/token?service=s&scope=repository%3Ateam%2Fapp%3Apull";
const BEARER: &str = r#"Bearer realm="/token",service="s""#;
const DENIED: &str = r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#;

fn status(status: u16, body: &str) -> Response<String> {
    Response::builder()
        .status(status)
        .body(body.to_owned())
        .unwrap()
}

fn asks(challenge: &str) -> Response<String> {
    let mut response = status(401, "");
    let value = challenge.parse().unwrap();
    response.headers_mut().insert("www-authenticate", value);
    response
}

fn index() -> Response<String> {
    let mut response = status(
        200,
        r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","platform":{"os":"linux","architecture":"amd64"}}]}"#,
    );
    let kind = "application/vnd.oci.image.index.v1+json";
    let value = kind.parse().unwrap();
    response.headers_mut().insert("content-type", value);
    response
}

fn script() -> ScriptedTransport {
    ScriptedTransport::new()
}

async fn verify(user: Option<&str>, transport: ScriptedTransport, image: Option<&str>) -> Access {
    let credential = user.map(|user| Credential::new(user, "secret").unwrap());
    let host = "registry.example.com".parse().unwrap();
    let client = RegistryClient::new(host, credential, Arc::new(transport));
    let image = image.map(|image| image.parse().unwrap());
    client.verify(image.as_ref()).await
}

/// Guards that no answer of a token server to a login alone is read as a missing right, because
/// the request names no repository.
#[tokio::test]
async fn a_token_server_that_refuses_the_login_is_no_missing_right() {
    for number in [400, 401, 403, 404, 405] {
        let registry = script().answer(PING, asks(BEARER)).answer(
            LOGIN,
            // ghcr.io, Artifact Registry, Scaleway.
            status(number, DENIED),
        );
        let access = verify(Some("robot"), registry, None).await;
        assert_eq!(access.class(), AccessClass::CredentialRefused, "{number}");
    }
}

#[tokio::test]
async fn a_token_server_that_refuses_the_right_too_leaves_two_readings() {
    let registry = || {
        script()
            .answer(PING, asks(BEARER))
            .answer(PULL, status(403, DENIED))
    };
    // ghcr.io: the login alone is refused as well, or not served.
    let access = verify(Some("robot"), registry(), Some(IMAGE)).await;
    assert_eq!(access.class(), AccessClass::CredentialRefused);
    assert_eq!(
        access.to_string(),
        "registry \"registry.example.com\" rejects the login, or does not let it pull \
         \"registry.example.com/team/app:1\"; check that the password or token is complete and has \
         not expired; if it is right, give this login the right to pull the repository, and check \
         the repository's spelling"
    );
    // GitLab: the login alone is accepted, so the right is what is missing.
    let accepted = registry().answer(LOGIN, status(200, r#"{"token":"t"}"#));
    let access = verify(Some("robot"), accepted, Some(IMAGE)).await;
    assert_eq!(access.class(), AccessClass::PullDenied);
    assert!(!access.to_string().contains("expired"), "{access}");
    // An answer without a token proves nothing.
    for (code, body) in [(200, "<!doctype html>"), (204, "")] {
        let silent = registry().answer(LOGIN, status(code, body));
        let access = verify(Some("robot"), silent, Some(IMAGE)).await;
        assert_eq!(access.class(), AccessClass::CredentialRefused, "{code}");
    }
    // Nobody has neither.
    let access = verify(None, registry(), Some(IMAGE)).await;
    assert_eq!(access.class(), AccessClass::LoginRequired);
}

/// Amazon ECR answers an expired token with 403 and a wrong one with 400, at every address.
#[tokio::test]
async fn a_root_that_refuses_the_login_is_no_missing_right() {
    let basic = r#"Basic realm="https://registry.example.com/",service="ecr.amazonaws.com""#;
    for number in [400, 401, 403] {
        let registry = || {
            let refusal = || status(number, DENIED);
            script()
                .answer(PING, asks(basic))
                .answer(PING, refusal())
                .answer(MANIFEST, refusal())
        };
        let access = verify(Some("AWS"), registry(), None).await;
        assert_eq!(access.class(), AccessClass::CredentialRefused, "{number}");
        let access = verify(Some("AWS"), registry(), Some(IMAGE)).await;
        assert!(access.to_string().contains("expired"), "{number}: {access}");
        // The root accepts the login: the repository's refusal is about the right.
        let registry = script()
            .answer(PING, asks(basic))
            .answer(PING, status(200, ""))
            .answer(MANIFEST, status(403, DENIED));
        let access = verify(Some("AWS"), registry, Some(IMAGE)).await;
        assert_eq!(access.class(), AccessClass::PullDenied);
        assert!(!access.to_string().contains("expired"), "{access}");
    }
}

/// Harbor answers a token without the right by a Basic challenge.
#[tokio::test]
async fn a_refusal_after_a_token_is_a_missing_right() {
    let registry = script()
        .answer(PING, asks(BEARER))
        .answer(PULL, status(200, r#"{"token":"t"}"#))
        .answer(MANIFEST, asks(r#"Basic realm="harbor""#));
    let transport = Arc::new(registry);
    let credential = Credential::new("robot$ci", "secret").unwrap();
    let host = "registry.example.com".parse().unwrap();
    let client = RegistryClient::new(
        host,
        Some(credential),
        Arc::<ScriptedTransport>::clone(&transport),
    );
    let image = IMAGE.parse().unwrap();
    for _ in 0..2 {
        let access = client.verify(Some(&image)).await;
        assert_eq!(access.class(), AccessClass::PullDenied, "{access}");
    }
    // The way that did not work is not the first one of the next call.
    let bearer = |request: &&http::Request<bytes::Bytes>| {
        let value = request.headers().get("authorization");
        value.is_some_and(|value| value == "Bearer t")
    };
    assert_eq!(transport.requests().iter().filter(bearer).count(), 2);
}

/// Guards that an unexpected answer from `/v2/` decides nothing, because nodes never request it.
#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_serve_its_root_can_be_pulled_from() {
    let page = || {
        let mut page = status(200, "<html>");
        let kind = "text/html".parse().unwrap();
        page.headers_mut().insert("content-type", kind);
        page
    };
    let odd: [fn() -> Response<String>; 8] = [
        || status(404, "404 page not found"),
        || status(403, DENIED),
        || status(401, ""),
        || status(400, ""),
        || status(405, ""),
        || status(301, ""),
        || status(503, "no server is available"),
        || asks("Negotiate"),
    ];
    for (number, odd) in odd.into_iter().chain([page as fn() -> _]).enumerate() {
        let open = script().answer(PING, odd()).answer(MANIFEST, index());
        let access = verify(None, open, Some(IMAGE)).await;
        assert_eq!(access.class(), AccessClass::PullAllowed, "{number} open");

        let guarded = script()
            .answer(PING, odd())
            .answer(MANIFEST, asks(BEARER))
            .answer(MANIFEST, index())
            .answer(PULL, status(200, r#"{"token":"t"}"#));
        let access = verify(Some("robot"), guarded, Some(IMAGE)).await;
        assert_eq!(access.class(), AccessClass::PullAllowed, "{number} login");
        assert!(access.message().ends_with("with this login"), "{access}");

        // A registry that says so itself is believed.
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
        let missing = script()
            .answer(PING, odd())
            .answer(MANIFEST, status(404, unknown));
        let access = verify(None, missing, Some(IMAGE)).await;
        assert_eq!(access.class(), AccessClass::MissingOrHidden, "{number}");
    }
}

/// A web site is told from a registry by both answers together.
#[tokio::test]
async fn what_answers_nothing_like_a_registry_is_none() {
    for user in [None, Some("robot")] {
        for number in [401, 403, 404] {
            let site = script()
                .answer(PING, status(number, ""))
                .answer(MANIFEST, status(404, "not found"));
            let access = verify(user, site, Some(IMAGE)).await;
            let expected = match (number, user) {
                (403, None) => AccessClass::LoginRequired,
                _ => AccessClass::NotARegistry,
            };
            assert_eq!(access.class(), expected, "{number} {user:?}");
            assert_eq!(access.evidence().status(), Some(number));
            assert_eq!(
                access.evidence().host(),
                ROOT.trim_start_matches("https://")
            );
        }
    }
}

/// registry.k8s.io and others redirect to registries of clouds, which have a challenge of their own.
#[tokio::test]
async fn a_registry_behind_a_redirect_is_asked_as_anyone() {
    let cloud = "https://cloud.example/v2/k8s/team/app/manifests/1";
    let moved = || {
        let mut moved = status(307, "");
        let location = cloud.parse().unwrap();
        moved.headers_mut().insert("location", location);
        moved
    };
    let wants =
        r#"Bearer realm="/token",service="cloud",scope="repository:k8s/team/app:pull,push""#;
    let token =
        "GET https://cloud.example/token?service=cloud&scope=repository%3Ak8s%2Fteam%2Fapp%3Apull";
    for user in [None, Some("robot")] {
        let script = script()
            .answer(PING, asks(BEARER))
            .answer(PULL, status(200, r#"{"token":"ours"}"#))
            .answer(MANIFEST, moved())
            .answer(&format!("GET {cloud}"), asks(wants))
            .answer(&format!("GET {cloud}"), index())
            .answer(token, status(200, r#"{"token":"theirs"}"#));
        let transport = Arc::new(script);
        let credential = user.map(|user| Credential::new(user, "secret").unwrap());
        let host = "registry.example.com".parse().unwrap();
        let shared = Arc::<ScriptedTransport>::clone(&transport);
        let client = RegistryClient::new(host, credential, shared);
        let access = client.verify(Some(&IMAGE.parse().unwrap())).await;
        assert_eq!(access.class(), AccessClass::PullAllowed, "{access}");
        for request in transport.requests() {
            let shown = request.headers().get("authorization");
            let shown = shown.map(|value| value.to_str().unwrap().to_owned());
            match request.uri().host().unwrap() {
                "registry.example.com" => assert_ne!(shown.as_deref(), Some("Bearer theirs")),
                _ => assert!(shown.is_none_or(|shown| shown == "Bearer theirs")),
            }
        }
    }
    // A refusal of an anonymous request is final.
    let registry = script()
        .answer(PING, status(200, ""))
        .answer(MANIFEST, moved())
        .answer(&format!("GET {cloud}"), asks(wants))
        .answer(token, status(401, ""));
    let access = verify(None, registry, Some(IMAGE)).await;
    assert_ne!(access.class(), AccessClass::PullAllowed);
    assert!(access.message().contains("cloud.example"), "{access}");
}

/// Guards that a foreign token server receives no request: it may trust the client's address, and
/// the registry that named it would receive the token.
#[tokio::test]
async fn a_token_server_elsewhere_is_asked_by_nobody() {
    let wants = r#"Bearer realm="https://auth.example.net/token",service="s""#;
    let token = "GET https://auth.example.net/token?service=s&scope=repository%3Ateam%2Fapp%3Apull";
    for user in [None, Some("robot")] {
        let registry = script()
            .answer(PING, asks(wants))
            .answer(token, status(200, r#"{"token":"t"}"#))
            .answer(MANIFEST, index());
        let access = verify(user, registry, Some(IMAGE)).await;
        assert_eq!(access.class(), AccessClass::NotCheckable, "{access}");
    }
    let evil = "https://evil.example/";
    let mut moved = status(307, "");
    let location = evil.parse().unwrap();
    moved.headers_mut().insert("location", location);
    let wants = r#"Bearer realm="https://registry.example.com/token",service="s""#;
    let registry = script()
        .answer(PING, status(200, ""))
        .answer(MANIFEST, moved)
        .answer(&format!("GET {evil}"), asks(wants))
        .answer(LOGIN, status(200, r#"{"token":"inside"}"#));
    let transport = Arc::new(registry);
    let shared = Arc::<ScriptedTransport>::clone(&transport);
    let client = RegistryClient::new("registry.example.com".parse().unwrap(), None, shared);
    let access = client.verify(Some(&IMAGE.parse().unwrap())).await;
    assert_ne!(access.class(), AccessClass::PullAllowed, "{access}");
    let shown =
        |request: &http::Request<bytes::Bytes>| request.headers().contains_key("authorization");
    assert!(!transport.requests().iter().any(shown));
}
