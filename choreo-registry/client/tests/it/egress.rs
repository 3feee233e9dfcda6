//! Where requests go and what goes with them.

use std::sync::Arc;

use choreo_registry_client::{
    AccessClass, ErrorKind, RegistryClient, egress::Egress, transport::ReqwestTransport,
};
use choreo_test_registry::{Fault, TestRegistry, User, parts::Scheme};
use http::{Method, StatusCode};

use crate::{
    MANIFESTS, PASSWORD, cart, client, client_with, guarded, image, kind, loopback, open, resolve,
};

#[tokio::test]
async fn the_egress_policy_stops_what_is_not_allowed() {
    let registry = open().await;
    let host = || registry.host().parse().unwrap();
    let policies = [
        Egress::tenant(),
        Egress::tenant().allow_plain_http(host()),
        Egress::tenant()
            .allow_plain_http(host())
            .allow_network("10.0.0.0/8".parse().unwrap()),
    ];
    for egress in policies {
        let access = client_with(&registry, egress, None).verify(None).await;
        assert_eq!(access.class(), AccessClass::Blocked, "{access}");
    }
    assert!(registry.requests().is_empty());
    // The control: the same registry answers under a policy that allows it.
    let access = client(&registry, None).verify(None).await;
    assert_eq!(access.class(), AccessClass::LoginAccepted);
}

/// A name whose address is forbidden is stopped by the resolver, not by how the name looks.
#[tokio::test]
async fn a_name_is_judged_by_its_address() {
    let registry = open().await;
    let host = format!("localhost:{}", registry.address().port());
    let client = |egress: Egress| {
        let transport = Arc::new(ReqwestTransport::new(egress).unwrap());
        RegistryClient::new(host.parse().unwrap(), None, transport)
    };
    let plain = Egress::tenant().allow_plain_http(host.parse().unwrap());
    let access = client(plain.clone()).verify(None).await;
    assert_eq!(access.class(), AccessClass::Blocked, "{access}");
    assert!(!access.to_string().contains("127.0.0.1"), "{access}");
    assert!(registry.requests().is_empty());

    let open = plain
        .allow_network("127.0.0.0/8".parse().unwrap())
        .allow_network("::1".parse().unwrap());
    assert_eq!(
        client(open).verify(None).await.class(),
        AccessClass::LoginAccepted
    );
}

#[tokio::test]
async fn redirects_are_followed_without_the_credential() {
    let registry = guarded(false).await;
    let storage = open().await;
    let client = client_with(
        &registry,
        loopback(&registry).allow_plain_http(storage.host().parse().unwrap()),
        Some(PASSWORD),
    );
    let elsewhere = format!("http://{}/v2/team/app/manifests/1", storage.host());
    registry.inject(Fault::on(Method::GET, MANIFESTS).redirect(elsewhere));
    resolve(&client, &registry, "team/app:1").await.unwrap();

    assert!(
        registry
            .requests()
            .iter()
            .any(|request| request.authorization() == Scheme::Basic)
    );
    assert_eq!(storage.requests().len(), 1);
    assert_eq!(storage.requests()[0].authorization(), Scheme::None);
}

#[tokio::test]
async fn a_redirect_target_that_asks_for_a_login_gets_none() {
    let registry = guarded(false).await;
    let thief = guarded(false).await;
    let client = client_with(
        &registry,
        loopback(&registry).allow_plain_http(thief.host().parse().unwrap()),
        Some(PASSWORD),
    );
    let elsewhere = format!("http://{}/v2/team/app/manifests/1", thief.host());
    registry.inject(Fault::on(Method::GET, MANIFESTS).redirect(elsewhere));
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::InvalidResponse
    );
    assert_eq!(thief.requests().len(), 1);
    assert_eq!(thief.requests()[0].authorization(), Scheme::None);
}

#[tokio::test]
async fn redirects_obey_the_policy_and_end() {
    let registry = open().await;
    let inside = open().await;
    let client = client(&registry, None);

    let elsewhere = format!("http://{}/v2/team/app/manifests/1", inside.host());
    registry.inject(Fault::on(Method::GET, MANIFESTS).redirect(elsewhere));
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::Blocked
    );
    assert!(inside.requests().is_empty());

    registry.inject(
        Fault::on(Method::GET, MANIFESTS).redirect("http://169.254.169.254/latest/meta-data"),
    );
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::Blocked
    );

    registry.clear_requests();
    registry.inject(
        Fault::on(Method::GET, MANIFESTS)
            .redirect("/v2/team/app/manifests/1")
            .always(),
    );
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::InvalidResponse
    );
    assert_eq!(registry.requests().len(), 6);
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_the_credential_from_operators_only() {
    let registry = TestRegistry::builder()
        .bearer()
        .token_server_apart()
        .user(User::new("robot", PASSWORD))
        .start()
        .await
        .unwrap();
    registry.push("team/app", "1", &cart()).unwrap();
    let realm = registry.realm().unwrap().strip_prefix("http://").unwrap();
    let realm_host = realm.split('/').next().unwrap();

    let careful = client_with(&registry, loopback(&registry), Some(PASSWORD));
    let error = resolve(&careful, &registry, "team/app:1")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RealmNotTrusted);
    assert_eq!(
        error.message(),
        format!(
            "registry \"{}\" sends logins to a token server that is not trusted: \"http://{realm_host}\"",
            registry.host()
        )
    );
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.authorization() == Scheme::None)
    );

    let egress = loopback(&registry)
        .allow_plain_http(realm_host.parse().unwrap())
        .trust_realm(
            registry.host().parse().unwrap(),
            realm_host.parse().unwrap(),
        );
    let trusting = client_with(&registry, egress, Some(PASSWORD));
    assert!(resolve(&trusting, &registry, "team/app:1").await.is_ok());
}

#[tokio::test]
async fn a_broken_bearer_challenge_never_falls_back_to_the_password() {
    let registry = guarded(false).await;
    let challenges = [
        r#"Bearer realm="http://127.0.0.1/token, Basic realm="x""#,
        r#"Bearer service="s", Basic realm="x""#,
        r#"Bearer realm="http://evil.example/token", Basic realm="x""#,
        r#"Bearer realm="u",realm="v", Basic realm="x""#,
    ];
    for challenge in challenges {
        registry.inject(
            Fault::on(Method::GET, "/v2/")
                .answer(StatusCode::UNAUTHORIZED)
                .header("www-authenticate", challenge),
        );
        let error = resolve(&client(&registry, Some(PASSWORD)), &registry, "team/app:1")
            .await
            .unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::InvalidResponse | ErrorKind::RealmNotTrusted
            ),
            "{challenge}: {error}"
        );
    }
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.authorization() == Scheme::None)
    );
}

/// The registry serves plain HTTP, so a TLS handshake with it fails.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_failed_handshake_is_told_apart() {
    let registry = open().await;
    let egress = Egress::tenant().allow_network("127.0.0.0/8".parse().unwrap());
    let error = client_with(&registry, egress, None)
        .resolve(&image(&registry, "team/app:1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!error.is_retryable());
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn https_without_tls_says_which_feature_is_missing() {
    use std::error::Error as _;

    let registry = open().await;
    let egress = Egress::tenant().allow_network("127.0.0.0/8".parse().unwrap());
    let client = client_with(&registry, egress, None);
    let error = client
        .resolve(&image(&registry, "team/app:1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert_eq!(
        error.source().unwrap().to_string(),
        r#"https needs the feature "tls" of choreo-registry"#
    );
}

#[cfg(feature = "tls")]
#[test]
fn a_root_certificate_that_is_none_is_refused() {
    for pem in [
        "",
        "not a certificate",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    ] {
        let error = ReqwestTransport::new(Egress::tenant().add_root_certificate(pem)).unwrap_err();
        assert!(
            error.to_string().starts_with("transport cannot be built"),
            "{pem}"
        );
    }
}
