use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use choreo_test_registry::parts::{Denial, Scheme, TokenField};
use choreo_test_registry::{Builder, Image, TestRegistry, User};
use serde_json::Value;

use crate::client::{Answer, OCI_MANIFEST, ask, try_ask};

const PULL: &str = "GET /v2/team/app/manifests/v1";
const PUSH: &str = "POST /v2/team/app/blobs/uploads/";

async fn start(builder: Builder) -> TestRegistry {
    let registry = builder
        .user(User::new("admin", "a:b"))
        .user(User::without_rights("reader", "r").may_pull("team"))
        .user(User::without_rights("guest", "g"))
        .public_pull("open")
        .start()
        .await
        .unwrap();
    for repository in ["team/app", "open/app"] {
        registry
            .push(repository, "v1", &Image::builder().build())
            .unwrap();
    }
    registry
}

async fn asked(registry: &TestRegistry, line: &str, authorization: Option<&str>) -> Answer {
    let mut headers = vec![("accept", OCI_MANIFEST)];
    headers.extend(authorization.map(|value| ("authorization", value)));
    ask(registry, line, &headers, "").await
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// Requests a token from the realm of the challenge.
async fn token_answer(registry: &TestRegistry, query: &str, login: Option<&str>) -> Answer {
    let realm = registry.realm().unwrap();
    let (authority, path) = realm
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let address: SocketAddr = authority.parse().unwrap();
    let line = format!("GET /{path}?service={}{query}", registry.host());
    let headers: Vec<_> = login
        .into_iter()
        .map(|value| ("authorization", value))
        .collect();
    try_ask(address, &line, &headers, "").await.unwrap()
}

async fn bearer(registry: &TestRegistry, scope: &str, login: Option<&str>) -> String {
    let answer = token_answer(registry, &format!("&scope={scope}"), login).await;
    assert_eq!(answer.status, 200);
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn basic_asks_for_a_password_and_for_rights() {
    let registry = start(TestRegistry::builder().basic()).await;
    let none = asked(&registry, "GET /v2/", None).await;
    assert_eq!(none.error(), (401, "UNAUTHORIZED".to_owned()));
    let challenge = none.header("www-authenticate");
    assert_eq!(challenge, Some("Basic realm=\"choreo-test-registry\""));

    for (name, password, line, status) in [
        ("admin", "a:b", "GET /v2/", 200),
        ("admin", "wrong", "GET /v2/", 401),
        ("nobody", "a:b", "GET /v2/", 401),
        ("admin", "a:b", PUSH, 202),
        ("reader", "r", PULL, 200),
        ("reader", "r", PUSH, 403),
        ("guest", "g", "GET /v2/", 200),
        ("guest", "g", PULL, 403),
        ("guest", "g", "GET /v2/open/app/manifests/v1", 200),
    ] {
        let answer = asked(&registry, line, Some(&basic(name, password))).await;
        assert_eq!(answer.status, status, "{name} {line}");
    }
    let public = "GET /v2/open/app/manifests/v1";
    assert_eq!(asked(&registry, public, None).await.status, 200);
    assert_eq!(
        asked(&registry, public, Some(&basic("admin", "x")))
            .await
            .status,
        401
    );
    assert_eq!(asked(&registry, PULL, None).await.status, 401);
}

#[tokio::test]
async fn the_challenge_names_realm_service_and_scope() {
    let registry = start(TestRegistry::builder().bearer()).await;
    let host = registry.host();
    let base = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    let ping = asked(&registry, "GET /v2/", None).await;
    assert_eq!(ping.header("www-authenticate"), Some(&*base));
    let pull = asked(&registry, PULL, None).await;
    let scoped = format!("{base},scope=\"repository:team/app:pull\"");
    assert_eq!(pull.header("www-authenticate"), Some(&*scoped));
    let push = asked(&registry, PUSH, Some("Bearer unknown")).await;
    let pushing = format!("{base},scope=\"repository:team/app:pull,push\",error=\"invalid_token\"");
    assert_eq!(push.header("www-authenticate"), Some(&*pushing));
    // The password is valid at the realm, not at the registry.
    assert_eq!(
        asked(&registry, PULL, Some(&basic("admin", "a:b")))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_token_allows_what_was_asked_for_and_what_its_user_may() {
    let registry = start(TestRegistry::builder().bearer()).await;
    let both = "repository:team/app:pull,push";
    let admin = bearer(&registry, both, Some(&basic("admin", "a:b"))).await;
    assert_eq!(asked(&registry, PULL, Some(&admin)).await.status, 200);
    assert_eq!(asked(&registry, PUSH, Some(&admin)).await.status, 202);

    // Fewer actions than requested are an error at the resource, not at the realm.
    let reader = bearer(&registry, both, Some(&basic("reader", "r"))).await;
    assert_eq!(asked(&registry, PULL, Some(&reader)).await.status, 200);
    let denied = asked(&registry, PUSH, Some(&reader)).await;
    assert_eq!(denied.error(), (403, "DENIED".to_owned()));

    // Guards that a later request can get another scope.
    let narrow = bearer(
        &registry,
        "repository:team/app:pull",
        Some(&basic("admin", "a:b")),
    )
    .await;
    let again = asked(&registry, PUSH, Some(&narrow)).await;
    assert_eq!(again.error(), (401, "UNAUTHORIZED".to_owned()));
    let challenge = again.header("www-authenticate").unwrap();
    assert!(
        challenge.ends_with("error=\"insufficient_scope\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn anyone_gets_a_token_for_what_is_public() {
    let registry = start(TestRegistry::builder().bearer()).await;
    let scope = "repository:open/app:pull&scope=repository:team/app:pull";
    let anyone = bearer(&registry, scope, None).await;
    let public = "GET /v2/open/app/manifests/v1";
    assert_eq!(asked(&registry, public, Some(&anyone)).await.status, 200);
    let closed = asked(&registry, PULL, Some(&anyone)).await;
    assert_eq!(closed.error(), (401, "UNAUTHORIZED".to_owned()));
}

#[tokio::test]
async fn the_realm_refuses_wrong_logins_and_wrong_services() {
    let registry = start(TestRegistry::builder().bearer()).await;
    let wrong = basic("admin", "wrong");
    for login in [&*wrong, "Bearer x", "Basic !"] {
        let answer = token_answer(&registry, "", Some(login)).await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".to_owned()), "{login}");
    }
    for query in ["", "?service=other"] {
        let line = format!("GET /token{query}");
        assert_eq!(asked(&registry, &line, None).await.status, 400);
    }
    assert_eq!(asked(&registry, "PUT /token", None).await.status, 405);
}

#[tokio::test]
async fn the_realm_takes_a_form() {
    let registry = start(TestRegistry::builder().bearer()).await;
    let form = format!(
        "service={}&client_id=t&scope=repository:team/app:pull",
        registry.host()
    );
    let post = async |fields: String| ask(&registry, "POST /token", &[], fields).await;

    let password = format!("{form}&grant_type=password&username=reader&access_type=offline");
    let wrong = post(format!("{password}&password=x")).await;
    assert_eq!(wrong.error(), (401, "UNAUTHORIZED".to_owned()));
    let first = post(format!("{password}&password=r")).await.json();
    let refresh = first["refresh_token"].as_str().unwrap();
    let second = post(format!(
        "{form}&grant_type=refresh_token&refresh_token={refresh}"
    ))
    .await
    .json();
    for answer in [&first, &second] {
        let token = answer["access_token"].as_str().unwrap();
        let got = asked(&registry, PULL, Some(&format!("Bearer {token}"))).await;
        assert_eq!(got.status, 200);
    }
    assert_eq!(second["refresh_token"], Value::Null);

    let stale = post(format!("{form}&grant_type=refresh_token&refresh_token=x")).await;
    assert_eq!(stale.status, 401);
    assert_eq!(post(form.replace("client_id", "x")).await.status, 400);
    assert_eq!(post(format!("{form}&grant_type=other")).await.status, 400);
}

#[tokio::test]
async fn tokens_expire_and_are_revoked() {
    let builder = TestRegistry::builder().bearer();
    let registry = start(builder.token_lifetime(Duration::from_millis(150))).await;
    let login = basic("reader", "r");
    let scope = "repository:team/app:pull";
    let token = bearer(&registry, scope, Some(&login)).await;
    assert_eq!(asked(&registry, PULL, Some(&token)).await.status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let expired = asked(&registry, PULL, Some(&token)).await;
    assert!(
        expired
            .header("www-authenticate")
            .unwrap()
            .ends_with("error=\"invalid_token\"")
    );

    let token = bearer(&registry, scope, Some(&login)).await;
    registry.revoke_tokens();
    assert_eq!(asked(&registry, PULL, Some(&token)).await.status, 401);
}

#[tokio::test]
async fn the_token_comes_in_either_field() {
    for (field, present) in [
        (TokenField::Both, [true, true]),
        (TokenField::Token, [true, false]),
        (TokenField::AccessToken, [false, true]),
    ] {
        let registry = start(TestRegistry::builder().bearer().token_field(field)).await;
        let answer = token_answer(&registry, "", None).await.json();
        let found = ["token", "access_token"].map(|name| answer[name].is_string());
        assert_eq!(found, present);
        assert_eq!(answer["expires_in"], 60);
    }
}

#[tokio::test]
async fn a_token_server_apart_has_an_address_of_its_own() {
    let registry = start(TestRegistry::builder().bearer().token_server_apart()).await;
    let realm = registry.realm().unwrap().to_owned();
    assert!(!realm.contains(&registry.host()));
    let scope = "repository:team/app:pull";
    let token = bearer(&registry, scope, Some(&basic("reader", "r"))).await;
    assert_eq!(asked(&registry, PULL, Some(&token)).await.status, 200);
    assert_eq!(asked(&registry, "GET /token", None).await.status, 404);

    let requests = registry.requests();
    assert!(realm.contains(&requests[0].server().to_string()));
    let kinds: Vec<_> = requests.iter().map(|r| r.authorization()).collect();
    assert_eq!(kinds, [Scheme::Basic, Scheme::Bearer, Scheme::None]);
    assert_eq!(requests[1].expose_authorization(), Some(&*token));
    let elsewhere = try_ask(requests[0].server(), "GET /v2/", &[], "")
        .await
        .unwrap();
    assert_eq!(elsewhere.status, 404);
}

#[tokio::test]
async fn a_denial_takes_the_shape_that_was_chosen() {
    for (denial, status, code) in [
        (Denial::Forbidden, 403, "DENIED"),
        (Denial::NotFound, 404, "NAME_UNKNOWN"),
        (Denial::Unauthorized, 401, "UNAUTHORIZED"),
    ] {
        let basic_registry = start(TestRegistry::builder().basic().denial(denial)).await;
        let guest = basic("guest", "g");
        let answer = asked(&basic_registry, PULL, Some(&guest)).await;
        assert_eq!(answer.error(), (status, code.to_owned()));

        let registry = start(TestRegistry::builder().bearer().denial(denial)).await;
        let token = bearer(&registry, "repository:team/app:pull", Some(&guest)).await;
        let answer = asked(&registry, PULL, Some(&token)).await;
        assert_eq!(answer.error(), (status, code.to_owned()));
    }
}

#[tokio::test]
async fn no_secret_is_in_any_debug_text() {
    let builder = TestRegistry::builder()
        .bearer()
        .user(User::new("c", "canary"));
    let text = format!("{builder:?}");
    let registry = builder.start().await.unwrap();
    let token = bearer(&registry, "", Some(&basic("c", "canary"))).await;
    let text = format!("{text} {registry:?} {:?}", registry.requests());
    assert!(text.contains("\"c\""), "the users are shown");
    assert!(!text.contains("canary"));
    assert!(!text.contains(&STANDARD.encode("c:canary")));
    assert!(!text.contains(token.strip_prefix("Bearer ").unwrap()));
}
