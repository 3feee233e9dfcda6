//! Each answer of a registry and its class, through the whole client, with the message for the
//! person who registered it.

use std::sync::Arc;

use choreo_registry::Credential;
use choreo_registry_client::{
    AccessClass, RegistryClient,
    transport::{ScriptedTransport, TransportErrorKind},
};
use http::Response;

const ROOT: &str = "https://registry.example.com";
const IMAGE: &str = "registry.example.com/team/app:1";

/// How the registry lets the client in, and so what the client shows for the manifest.
#[derive(Clone, Copy, Debug)]
enum Login {
    Nobody,
    Basic,
    Bearer,
}

fn status(status: u16, body: &str) -> Response<String> {
    let response = Response::builder().status(status);
    response.body(body.to_owned()).unwrap()
}

fn coded(number: u16, code: Option<&str>) -> Response<String> {
    let body = code.map(|code| format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#));
    status(number, &body.unwrap_or_default())
}

fn manifest() -> String {
    format!("GET {ROOT}/v2/team/app/manifests/1")
}

/// A registry that has let the client in.
fn entered(login: Login) -> ScriptedTransport {
    let wants = match login {
        Login::Nobody => None,
        Login::Basic => Some("Basic realm=\"x\""),
        Login::Bearer => Some("Bearer realm=\"/token\""),
    };
    let mut ping = status(if wants.is_some() { 401 } else { 200 }, "");
    if let Some(wants) = wants {
        let value = wants.parse().unwrap();
        ping.headers_mut().insert("www-authenticate", value);
    }
    let token = format!("GET {ROOT}/token?scope=repository%3Ateam%2Fapp%3Apull");
    ScriptedTransport::new()
        .answer(&format!("GET {ROOT}/v2/"), ping)
        .answer(&token, status(200, r#"{"token":"t"}"#))
}

async fn class(transport: ScriptedTransport, image: Option<&str>) -> AccessClass {
    let credential = Credential::new("robot", "secret").unwrap();
    let host = "registry.example.com".parse().unwrap();
    let client = RegistryClient::new(host, Some(credential), Arc::new(transport));
    let image = image.map(|image| image.parse().unwrap());
    client.verify(image.as_ref()).await.class()
}

#[tokio::test(start_paused = true)]
async fn each_answer_about_an_image_has_its_class() {
    use {AccessClass as C, Login as L};
    let table = [
        (401, None, L::Nobody, C::LoginRequired),
        (401, Some("UNAUTHORIZED"), L::Nobody, C::LoginRequired),
        (401, None, L::Basic, C::CredentialRefused),
        (401, Some("UNAUTHORIZED"), L::Basic, C::CredentialRefused),
        (401, Some("UNAUTHORIZED"), L::Bearer, C::PullDenied),
        (403, Some("DENIED"), L::Nobody, C::PullDenied),
        (403, None, L::Basic, C::PullDenied),
        (403, None, L::Bearer, C::PullDenied),
        (404, Some("NAME_UNKNOWN"), L::Bearer, C::MissingOrHidden),
        (404, Some("MANIFEST_UNKNOWN"), L::Nobody, C::MissingOrHidden),
        (404, None, L::Basic, C::MissingOrHidden),
        (400, Some("NAME_UNKNOWN"), L::Nobody, C::MissingOrHidden),
        (400, Some("MANIFEST_UNKNOWN"), L::Basic, C::MissingOrHidden),
        (400, Some("NAME_INVALID"), L::Nobody, C::NotARegistry),
        (400, None, L::Bearer, C::NotARegistry),
        (405, Some("UNSUPPORTED"), L::Nobody, C::NotARegistry),
        (408, None, L::Basic, C::Unreachable),
        (429, None, L::Nobody, C::RateLimited),
        (429, Some("DENIED"), L::Bearer, C::RateLimited),
        (403, Some("TOOMANYREQUESTS"), L::Bearer, C::RateLimited),
        (500, None, L::Nobody, C::Unreachable),
        (503, Some("UNAVAILABLE"), L::Bearer, C::Unreachable),
        (599, None, L::Basic, C::Unreachable),
        (204, None, L::Nobody, C::NotARegistry),
        (302, None, L::Basic, C::NotARegistry),
        (418, None, L::Bearer, C::NotARegistry),
    ];
    for (number, code, login, expected) in table {
        let transport = entered(login).answer(&manifest(), coded(number, code));
        assert_eq!(
            class(transport, Some(IMAGE)).await,
            expected,
            "{number} {code:?} {login:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_failure_of_the_transport_has_its_class() {
    use {AccessClass as C, TransportErrorKind as K};
    let table = [
        (K::Blocked, C::Blocked),
        (K::Connect, C::Unreachable),
        (K::Protocol, C::NotARegistry),
        (K::Resolve, C::Unreachable),
        (K::Timeout, C::Unreachable),
        (K::Tls, C::Unreachable),
        (K::TooLarge, C::UnsupportedImage),
    ];
    for (kind, expected) in table {
        let transport = entered(Login::Basic).fail(&manifest(), kind);
        assert_eq!(class(transport, Some(IMAGE)).await, expected, "{kind:?}");
    }
    let page = ScriptedTransport::new().fail(&format!("GET {ROOT}/v2/"), K::TooLarge);
    assert_eq!(class(page, None).await, C::NotARegistry);
}

#[tokio::test(start_paused = true)]
async fn what_is_served_has_its_class() {
    use AccessClass as C;
    let served = |digest: Option<&'static str>, body: &'static str| {
        let kind = "application/vnd.oci.image.index.v1+json";
        let response = Response::builder().header("content-type", kind);
        let response = digest.into_iter().fold(response, |response, digest| {
            response.header("docker-content-digest", digest)
        });
        entered(Login::Bearer).answer(&manifest(), response.body(body).unwrap())
    };
    let index = r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","platform":{"os":"linux","architecture":"amd64"}}]}"#;
    let other = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let table = [
        (served(None, index), Some(IMAGE), C::PullAllowed),
        (served(Some(other), index), Some(IMAGE), C::UnsupportedImage),
        (served(None, "{}"), Some(IMAGE), C::UnsupportedImage),
        (
            served(None, index),
            Some("ghcr.io/app:1"),
            C::MissingOrHidden,
        ),
        (entered(Login::Nobody), None, C::NotCheckable),
        (ScriptedTransport::new(), None, C::NotARegistry),
    ];
    for (number, (transport, image, expected)) in table.into_iter().enumerate() {
        assert_eq!(class(transport, image).await, expected, "row {number}");
    }
}

/// Guards the class of each combination of a registry's challenge and its token server's answer.
#[tokio::test(start_paused = true)]
async fn each_answer_about_a_login_has_its_class() {
    use AccessClass as C;
    let wants = |value: &str| {
        let mut ping = status(401, "");
        let value = value.parse().unwrap();
        ping.headers_mut().insert("www-authenticate", value);
        ScriptedTransport::new().answer(&format!("GET {ROOT}/v2/"), ping)
    };
    let token = |number: u16, body: &str| {
        let server = format!("GET {ROOT}/token");
        wants("Bearer realm=\"/token\"").answer(&server, status(number, body))
    };
    let accepted = |value| wants(value).answer(&format!("GET {ROOT}/v2/"), status(200, ""));
    let table = [
        (accepted("Basic realm=\"x\""), C::LoginAccepted),
        (wants("Basic realm=\"x\""), C::CredentialRefused),
        (
            wants("Bearer realm=\"https://evil.example/\""),
            C::NotCheckable,
        ),
        (wants("Negotiate"), C::NotARegistry),
        (wants("Bearer"), C::NotARegistry),
        (wants("Bearer realm=\"u"), C::NotARegistry),
        (token(401, ""), C::CredentialRefused),
        (token(400, ""), C::CredentialRefused),
        (token(403, ""), C::CredentialRefused),
        (token(404, ""), C::CredentialRefused),
        (token(405, ""), C::CredentialRefused),
        (token(429, ""), C::RateLimited),
        (token(500, ""), C::Unreachable),
        (token(200, "{}"), C::NotARegistry),
        (token(200, r#"{"token":"t"}"#), C::PullDenied),
    ];
    for (number, (transport, expected)) in table.into_iter().enumerate() {
        assert_eq!(class(transport, None).await, expected, "row {number}");
    }
}
