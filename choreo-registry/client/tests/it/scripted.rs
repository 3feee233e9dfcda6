//! Conversations with registries that cannot be had on loopback, at the level of HTTP.

use std::sync::Arc;

use choreo_registry::{Credential, Digest};
use choreo_registry_client::{
    AccessClass, ErrorKind, RegistryClient,
    transport::{ScriptedTransport, TransportErrorKind},
};
use http::Response;

const INDEX: &str = r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","platform":{"os":"linux","architecture":"amd64"}}]}"#;

fn challenge(value: &str) -> Response<&'static str> {
    Response::builder()
        .status(401)
        .header("www-authenticate", value)
        .body("")
        .unwrap()
}

fn index() -> Response<&'static str> {
    let media_type = "application/vnd.oci.image.index.v1+json";
    Response::builder()
        .header("content-type", media_type)
        .body(INDEX)
        .unwrap()
}

fn client(host: &str, transport: &Arc<ScriptedTransport>) -> RegistryClient {
    let credential = Credential::new("robot", "secret").unwrap();
    let transport = Arc::<ScriptedTransport>::clone(transport);
    RegistryClient::new(host.parse().unwrap(), Some(credential), transport)
}

/// Method, URL and `Authorization` of every request.
fn conversation(transport: &ScriptedTransport) -> Vec<String> {
    let line = |request: &http::Request<bytes::Bytes>| {
        let header = request.headers().get("authorization");
        let shown = header.map_or("nothing", |value| value.to_str().unwrap());
        format!("{} with {shown}", request.uri())
    };
    transport.requests().iter().map(line).collect()
}

#[tokio::test]
async fn docker_hub_is_spoken_to_at_its_own_hosts() {
    let hub = "https://registry-1.docker.io/v2";
    let wants = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#;
    let token = "https://auth.docker.io/token?service=registry.docker.io\
                 &scope=repository%3Alibrary%2Fnginx%3Apull";
    let transport = Arc::new(
        ScriptedTransport::new()
            .answer(&format!("GET {hub}/"), challenge(wants))
            .answer(
                &format!("GET {token}"),
                Response::new(r#"{"token":"t1","expires_in":300}"#),
            )
            .answer(&format!("GET {hub}/library/nginx/manifests/1"), index())
            .answer(&format!("HEAD {hub}/library/nginx/manifests/1"), {
                let mut head = Response::new("");
                let digest = Digest::sha256_of(index().body().as_bytes());
                let value = digest.as_str().parse().unwrap();
                head.headers_mut().insert("docker-content-digest", value);
                head
            }),
    );
    let client = client("docker.io", &transport);
    let image = "nginx:1".parse().unwrap();
    client.resolve(&image).await.unwrap();
    client.resolve(&image).await.unwrap();
    let one = Digest::sha256_of(b"hello");
    assert_eq!(
        conversation(&transport),
        [
            format!("{hub}/ with nothing"),
            format!("{token} with Basic cm9ib3Q6c2VjcmV0"),
            format!("{hub}/library/nginx/manifests/1 with Bearer t1"),
            // The one image of the index, once: it cannot be read here.
            format!("{hub}/library/nginx/manifests/{one} with Bearer t1"),
            format!("{hub}/library/nginx/manifests/1 with Bearer t1"),
        ]
    );
}

/// Guards a realm that already has a query, and a scope other than the repository's.
#[tokio::test]
async fn the_registrys_own_scope_is_asked_for_when_it_insists() {
    let root = "https://registry.example.com";
    let wants = format!(r#"Bearer realm="{root}/token?account=me""#);
    let insists = format!(r#"Bearer realm="{root}/token?account=me",scope="aws""#);
    let ours = format!("{root}/token?account=me&scope=repository%3Ateam%2Fapp%3Apull");
    let theirs = format!("{root}/token?account=me&scope=aws");
    let manifest = format!("{root}/v2/team/app/manifests/1");
    let transport = Arc::new(
        ScriptedTransport::new()
            .answer(&format!("GET {root}/v2/"), challenge(&wants))
            .answer(&format!("GET {ours}"), Response::new(r#"{"token":"weak"}"#))
            .answer(&format!("GET {manifest}"), challenge(&insists))
            .answer(
                &format!("GET {theirs}"),
                Response::new(r#"{"access_token":"strong"}"#),
            )
            .answer(&format!("GET {manifest}"), index()),
    );
    let client = client("registry.example.com", &transport);
    client
        .resolve(&"registry.example.com/team/app:1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        conversation(&transport)[4],
        format!("{manifest} with Bearer strong")
    );
}

#[tokio::test]
async fn a_token_server_may_not_redirect_elsewhere() {
    let moved = Response::builder()
        .status(307)
        .header("location", "https://evil.example/token");
    let transport = Arc::new(
        ScriptedTransport::new()
            .answer(
                "GET https://registry.example.com/v2/",
                challenge(r#"Bearer realm="/token""#),
            )
            .answer(
                "GET https://registry.example.com/token",
                moved.body("").unwrap(),
            ),
    );
    let access = client("registry.example.com", &transport)
        .verify(None)
        .await;
    assert_eq!(access.class(), AccessClass::NotCheckable);
    assert_eq!(access.evidence().host(), "evil.example");
    assert_eq!(transport.requests().len(), 2);
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_not_followed() {
    let moved = Response::builder()
        .status(302)
        .header("location", "http://registry.example.com/x");
    let transport = Arc::new(ScriptedTransport::new().answer(
        "GET https://registry.example.com/v2/",
        moved.body("").unwrap(),
    ));
    let access = client("registry.example.com", &transport)
        .verify(None)
        .await;
    assert_eq!(access.class(), AccessClass::Blocked);
    assert_eq!(
        access.message(),
        "registry \"registry.example.com\" is not allowed by this platform: it redirects away \
         from https"
    );
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn transport_failures_keep_their_meaning() {
    let table = [
        (TransportErrorKind::Blocked, ErrorKind::Blocked, false),
        (TransportErrorKind::Connect, ErrorKind::Unreachable, true),
        (TransportErrorKind::Protocol, ErrorKind::NotARegistry, false),
        (TransportErrorKind::Resolve, ErrorKind::Unreachable, true),
        (TransportErrorKind::Timeout, ErrorKind::Timeout, true),
        (TransportErrorKind::Tls, ErrorKind::Tls, false),
    ];
    for (failure, expected, retryable) in table {
        let transport = Arc::new(
            ScriptedTransport::new().fail("GET https://registry.example.com/v2/", failure),
        );
        let client = client("registry.example.com", &transport);
        let image = "registry.example.com/app:1".parse().unwrap();
        let error = client.resolve(&image).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (expected, retryable),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn an_unsupported_login_is_named() {
    let transport = Arc::new(ScriptedTransport::new().answer(
        "GET https://registry.example.com/v2/",
        challenge("Negotiate abc=="),
    ));
    let access = client("registry.example.com", &transport)
        .verify(None)
        .await;
    assert_eq!(
        access.message(),
        "registry \"registry.example.com\" violates the protocol: it offers the \
         login \"negotiate\" and neither \"basic\" nor \"bearer\""
    );
}
