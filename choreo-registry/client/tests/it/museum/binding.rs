//! Whose login it is, and for which host.

use std::sync::Arc;

use choreo_registry::{Authentication, ContainerRegistry, Credential};
use choreo_registry_client::{ErrorKind::WrongRegistry, RegistryClient};
use http::{Request, Response, header};

use super::{
    Answer, Flaw, HOME, Internet, Outcome, PASSWORD, RESOLVE, Scene, Task, challenge, manifest,
    naive::{Naive, Tokens},
};

/// CVE-2026-45625: Arcane kept a registry's stored password when the registry's URL was edited, and
/// sent it to the new host. Guarded: moving a registry drops the secret.
#[test]
fn cve_2026_45625_arcane_sent_a_stored_password_to_a_new_host() {
    let login = || Authentication::basic("robot", PASSWORD).unwrap();
    let registry = ContainerRegistry::new("Images", HOME.parse().unwrap(), login()).unwrap();
    let moved = registry.with_host("evil.example".parse().unwrap());
    let moved = moved.authenticate(Authentication::Public).unwrap();
    assert!(moved.credential().is_none());

    let mut naive = (HOME, login());
    naive.0 = "evil.example";
    assert!(
        naive.1.credential().is_some(),
        "the twin sends it to {}",
        naive.0
    );
}

/// CVE-2026-40161: Tekton sent the system's token to a server that a user's request named.
/// Guarded: a client sends requests to its own registry only, for any image.
#[tokio::test]
async fn cve_2026_40161_tekton_sent_its_token_to_a_users_server() {
    let task = Task::Resolve("evil.example/team/app:1");
    let scene = Scene::new(Flaw::LoginForAnyImage, task, |request| {
        if request.headers().contains_key(header::AUTHORIZATION) {
            return manifest("");
        }
        challenge("Basic realm=\"x\"")
    });
    scene.held(WrongRegistry).shows(Outcome::robbed).await;
}

/// Returns a token for the login in the request: `of-` and the login.
fn personal(request: &Request<bytes::Bytes>) -> Answer {
    let shown = request.headers().get(header::AUTHORIZATION);
    let shown = shown.map_or("", |value| value.to_str().unwrap());
    match (request.uri().path(), shown) {
        ("/token", login) => {
            let login = login.trim_start_matches("Basic ").trim_end_matches('=');
            Ok(Response::new(format!(r#"{{"token":"of-{login}"}}"#).into()))
        }
        (_, "") => challenge(r#"Bearer realm="/token",service="s""#),
        _ => manifest(""),
    }
}

fn basic(name: &str) -> String {
    let login = Credential::new(name, PASSWORD).unwrap();
    login.expose_basic().to_string()
}

/// Whether bob was served with alice's token.
fn served_as_alice(bobs: &Internet) -> bool {
    let token = format!("Bearer of-{}", basic("alice").trim_end_matches('='));
    let seen = bobs.seen.lock().unwrap();
    seen.iter()
        .filter_map(|request| request.headers().get(header::AUTHORIZATION))
        .any(|value| value.to_str().unwrap() == token)
}

async fn naive_bob(flaw: Option<Flaw>) -> Arc<Internet> {
    let cache = Tokens::default();
    let mut last = Internet::new(personal);
    for name in ["alice", "bob"] {
        last = Internet::new(personal);
        let client = Naive::new(HOME, flaw, Arc::clone(&last));
        let client = client.with_login(format!("Basic {}", basic(name)), &cache);
        client.run(RESOLVE).await.unwrap();
    }
    last
}

/// artifact-keeper #3606, and the key of oci-client's cache: tokens were cached for a registry,
/// not for the login that obtained them. Guarded: each login obtains a separate token.
#[tokio::test]
async fn artifact_keeper_3606_shared_tokens_between_tenants() {
    let mut ours = Internet::new(personal);
    for name in ["alice", "bob"] {
        ours = Internet::new(personal);
        let transport = Arc::<Internet>::clone(&ours);
        let login = Some(Credential::new(name, PASSWORD).unwrap());
        let client = RegistryClient::new(HOME.parse().unwrap(), login, transport);
        client.resolve(&RESOLVE.image()).await.unwrap();
    }
    assert!(!served_as_alice(&ours));
    assert!(!served_as_alice(&*naive_bob(None).await));
    assert!(served_as_alice(
        &*naive_bob(Some(Flaw::TokensByRegistry)).await
    ));
}

/// RUSTSEC-2017-0002: hyper wrote line breaks of a value into the headers, so that a value could
/// add more headers. Guarded: a user name contains no line break, and a password is sent as
/// base64.
#[test]
fn rustsec_2017_0002_hyper_wrote_line_breaks_into_headers() {
    let hostile = "robot\r\nX-Admin";
    let naive = format!("X-User: {hostile}\r\n");
    assert_eq!(naive.lines().count(), 2, "the naive twin");
    assert!(Credential::new(hostile, PASSWORD).is_err());
    let login = Credential::new("robot", hostile).unwrap();
    assert_eq!(login.expose_basic().lines().count(), 1);
}
