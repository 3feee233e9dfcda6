//! The digest that a name resolves to, and the number of requests for it.

use choreo_registry::image::MediaType;
use choreo_registry_client::ErrorKind;
use choreo_test_registry::{Fault, Image, TestRegistry, User, parts::TokenField};
use http::{Method, StatusCode};

use crate::{MANIFESTS, PASSWORD, cart, client, guarded, image, kind, open, resolve};

#[tokio::test]
async fn an_image_resolves_to_the_digest_of_its_bytes() {
    let registry = open().await;
    let client = client(&registry, None);
    let resolved = resolve(&client, &registry, "team/app:1").await.unwrap();

    assert_eq!(
        resolved.digest().as_str(),
        registry.digest("team/app", "1").unwrap()
    );
    assert_eq!(resolved.media_type(), MediaType::OciManifest);
    assert!(resolved.size().unwrap() > 0);

    let pinned = format!("team/app@{}", resolved.digest());
    assert_eq!(
        resolve(&client, &registry, &pinned).await.unwrap(),
        resolved
    );
    let both = format!("team/app:moved@{}", resolved.digest());
    assert_eq!(resolve(&client, &registry, &both).await.unwrap(), resolved);
}

#[tokio::test]
async fn no_tag_means_latest() {
    let registry = open().await;
    assert_eq!(
        kind(&client(&registry, None), &registry, "team/app").await,
        ErrorKind::NotFound
    );
    registry.push("team/app", "latest", &cart()).unwrap();
    assert!(
        resolve(&client(&registry, None), &registry, "team/app")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn docker_media_types_resolve_as_well() {
    let registry = open().await;
    let image = Image::builder().docker_media_types().build();
    registry.push("team/app", "docker", &image).unwrap();
    let resolved = resolve(&client(&registry, None), &registry, "team/app:docker")
        .await
        .unwrap();
    assert_eq!(resolved.media_type(), MediaType::DockerManifest);
}

#[tokio::test]
async fn an_index_names_its_platforms_and_inspecting_reads_the_usual_one() {
    let registry = open().await;
    let images = [
        (
            "linux/arm64/v8".parse().unwrap(),
            Image::builder().user("arm").build(),
        ),
        ("linux/amd64".parse().unwrap(), cart()),
        (
            "unknown/unknown".parse().unwrap(),
            Image::builder().user("attestation").build(),
        ),
    ];
    let digest = registry.push_index("team/app", "many", &images).unwrap();
    let client = client(&registry, None);

    let resolved = resolve(&client, &registry, "team/app:many").await.unwrap();
    let platforms: Vec<_> = resolved
        .platforms()
        .iter()
        .map(|platform| platform.as_str())
        .collect();
    assert_eq!(platforms, ["linux/arm64/v8", "linux/amd64"]);
    assert_eq!((resolved.user(), resolved.size()), (None, None));

    let inspected = client
        .inspect(&image(&registry, "team/app:many"))
        .await
        .unwrap();
    assert_eq!(inspected.digest().as_str(), digest);
    assert_eq!(inspected.user(), Some("10001"));
    assert_eq!(inspected.exposed_ports()[0].to_string(), "8080/tcp");
    assert_eq!(inspected.platforms(), resolved.platforms());
    assert!(inspected.size().is_some());
}

#[tokio::test]
async fn inspecting_a_single_image_finds_its_platform() {
    let registry = open().await;
    let inspected = client(&registry, None)
        .inspect(&image(&registry, "team/app:1"))
        .await
        .unwrap();
    assert_eq!(inspected.user(), Some("10001"));
    assert_eq!(inspected.platforms().len(), 1);
    assert_eq!(inspected.platforms()[0].os(), "linux");
}

#[tokio::test]
async fn basic_and_bearer_logins_resolve() {
    for bearer in [false, true] {
        let registry = guarded(bearer).await;
        let client = client(&registry, Some(PASSWORD));
        assert!(
            resolve(&client, &registry, "team/app:1").await.is_ok(),
            "bearer: {bearer}"
        );
    }
}

/// A cold client requests `/v2/`, the token, the manifest and the configuration. A warm client
/// requests the manifest. Another repository costs a token, a manifest and a configuration.
#[tokio::test]
async fn a_warm_client_asks_once() {
    let registry = guarded(true).await;
    registry.push("team/web", "1", &cart()).unwrap();
    let client = client(&registry, Some(PASSWORD));
    for (name, expected) in [
        ("team/app:1", 4),
        ("team/app:1", 1),
        ("team/web:1", 3),
        ("team/web:1", 1),
    ] {
        registry.clear_requests();
        resolve(&client, &registry, name).await.unwrap();
        assert_eq!(registry.requests().len(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    let registry = guarded(true).await;
    let client = client(&registry, Some(PASSWORD));
    resolve(&client, &registry, "team/app:1").await.unwrap();
    registry.revoke_tokens();
    registry.clear_requests();
    resolve(&client, &registry, "team/app:1").await.unwrap();
    assert_eq!(
        registry.requests().len(),
        3,
        "refused, a new token, the manifest"
    );

    // Guards that the client gives up on a registry that refuses every token.
    let wants = format!(
        r#"Bearer realm="{}",service="{}",error="invalid_token""#,
        registry.realm().unwrap(),
        registry.host()
    );
    for method in [Method::GET, Method::HEAD] {
        let refuses = Fault::on(method, MANIFESTS).answer(StatusCode::UNAUTHORIZED);
        registry.inject(refuses.header("www-authenticate", wants.clone()).always());
    }
    registry.clear_requests();
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::Denied
    );
    assert!(registry.requests().len() <= 5);
}

/// The requests for manifests so far, by method.
fn asked(registry: &TestRegistry) -> Vec<String> {
    let requests = registry.requests();
    requests
        .iter()
        .filter(|request| request.path().contains("/manifests/"))
        .map(|request| request.method().to_string())
        .collect()
}

#[tokio::test]
async fn asking_again_takes_one_request_without_a_body() {
    let registry = guarded(true).await;
    let client = client(&registry, Some(PASSWORD));
    let first = resolve(&client, &registry, "team/app:1").await.unwrap();
    // `/v2/`, a token, the manifest and the configuration.
    assert_eq!(registry.requests().len(), 4);

    registry.clear_requests();
    let again = resolve(&client, &registry, "team/app:1").await.unwrap();
    assert_eq!(again, first);
    assert_eq!(registry.requests().len(), 1);
    assert_eq!(asked(&registry), ["HEAD"]);

    // The tag moves: its new content is read and hashed, once.
    let moved = Image::builder().user("other").build();
    registry.push("team/app", "1", &moved).unwrap();
    registry.clear_requests();
    let now = resolve(&client, &registry, "team/app:1").await.unwrap();
    assert_ne!(now.digest(), first.digest());
    assert_eq!(asked(&registry), ["HEAD", "GET"]);
    registry.clear_requests();
    resolve(&client, &registry, "team/app:1").await.unwrap();
    assert_eq!(asked(&registry), ["HEAD"]);
}

#[tokio::test]
async fn a_claim_alone_is_never_taken_for_content() {
    let registry = open().await;
    let client = client(&registry, None);
    let honest = resolve(&client, &registry, "team/app:1").await.unwrap();
    let lie = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    registry.inject(
        Fault::on(Method::HEAD, MANIFESTS)
            .answer(StatusCode::OK)
            .header("docker-content-digest", lie)
            .always(),
    );
    registry.clear_requests();
    let resolved = resolve(&client, &registry, "team/app:1").await.unwrap();
    assert_eq!(resolved, honest);
    assert_eq!(asked(&registry), ["HEAD", "GET"]);
}

#[tokio::test]
async fn tokens_are_read_from_either_field() {
    for field in [TokenField::Token, TokenField::AccessToken] {
        let registry = TestRegistry::builder()
            .bearer()
            .token_field(field)
            .user(User::new("robot", PASSWORD))
            .start()
            .await
            .unwrap();
        registry.push("team/app", "1", &cart()).unwrap();
        assert!(
            resolve(&client(&registry, Some(PASSWORD)), &registry, "team/app:1")
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_public_repository_needs_no_login() {
    let registry = TestRegistry::builder()
        .bearer()
        .public_pull("public")
        .start()
        .await
        .unwrap();
    registry.push("public/app", "1", &cart()).unwrap();
    registry.push("team/app", "1", &cart()).unwrap();
    let client = client(&registry, None);
    assert!(resolve(&client, &registry, "public/app:1").await.is_ok());
    assert!(matches!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::Unauthorized | ErrorKind::Denied
    ));
}

#[tokio::test]
async fn an_image_of_another_registry_is_not_asked_for() {
    let registry = open().await;
    let error = client(&registry, None)
        .resolve(&"ghcr.io/team/app:1".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongRegistry);
    assert!(registry.requests().is_empty());
}
