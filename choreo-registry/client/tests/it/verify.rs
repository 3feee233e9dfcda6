//! The access that a credential gives.

use std::sync::Arc;

use choreo_registry::Credential;
use choreo_registry_client::{
    AccessClass, RegistryClient, egress::Egress, transport::ReqwestTransport,
};
use choreo_test_registry::{
    Fault, TestRegistry, User,
    parts::{Denial, Scheme},
};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{PASSWORD, cart, client, guarded, image, loopback, open};

#[tokio::test]
async fn verify_tells_the_reasons_apart() {
    for bearer in [false, true] {
        let registry = guarded(bearer).await;
        let good = client(&registry, Some(PASSWORD));
        let wrong = client(&registry, Some("wrong"));
        let anonymous = client(&registry, None);
        let nobody = {
            let credential = Credential::new("nobody", PASSWORD).unwrap();
            let transport = Arc::new(ReqwestTransport::new(loopback(&registry)).unwrap());
            RegistryClient::new(
                registry.host().parse().unwrap(),
                Some(credential),
                transport,
            )
        };
        let named = |name| Some(image(&registry, name));
        let table = [
            (&good, None, AccessClass::LoginAccepted),
            (&good, named("team/app:1"), AccessClass::PullAllowed),
            (&good, named("team/app"), AccessClass::PullAllowed),
            (
                &good,
                named("team/app:missing"),
                AccessClass::MissingOrHidden,
            ),
            (&good, named("team/missing:1"), AccessClass::MissingOrHidden),
            (&good, named("team/missing"), AccessClass::MissingOrHidden),
            (&wrong, None, AccessClass::CredentialRefused),
            (&wrong, named("team/app:1"), AccessClass::CredentialRefused),
            (&nobody, None, AccessClass::LoginAccepted),
            (&nobody, named("team/app:1"), AccessClass::PullDenied),
        ];
        for (client, image, expected) in table {
            let access = client.verify(image.as_ref()).await;
            assert_eq!(
                access.class(),
                expected,
                "bearer: {bearer}, {image:?}: {access}"
            );
        }
        let access = anonymous.verify(named("team/app:1").as_ref()).await;
        assert_eq!(
            access.class(),
            AccessClass::LoginRequired,
            "bearer: {bearer}: {access}"
        );
    }
}

#[tokio::test]
async fn verify_says_what_it_saw_in_plain_words() {
    let registry = guarded(true).await;
    let host = registry.host();
    let good = client(&registry, Some(PASSWORD));

    let access = good.verify(Some(&image(&registry, "team/app:1"))).await;
    assert_eq!(
        access.message(),
        format!("image \"{host}/team/app:1\" can be pulled with this login")
    );
    assert_eq!(access.help(), None);
    assert_eq!(
        access.image().unwrap().digest().as_str(),
        registry.digest("team/app", "1").unwrap()
    );

    let access = good.verify(Some(&image(&registry, "team/app:2"))).await;
    assert_eq!(
        access.message(),
        format!(
            "image \"{host}/team/app:2\" was not found: its repository has no such tag or digest"
        )
    );
    assert_eq!(access.evidence().status(), Some(404));
    assert_eq!(access.evidence().code(), Some("MANIFEST_UNKNOWN"));
    assert_eq!(access.evidence().host(), host);

    let access = client(&registry, Some("wrong")).verify(None).await;
    assert_eq!(
        access.message(),
        format!("registry \"{host}\" rejects the user name or the password")
    );
    let json = serde_json::to_value(&access).unwrap();
    assert_eq!(json["class"], "credential-refused");
    assert_eq!(json["evidence"]["status"], 401);
}

#[tokio::test]
async fn each_way_of_denying_is_understood() {
    let table = [
        (Denial::Forbidden, AccessClass::PullDenied),
        (Denial::NotFound, AccessClass::MissingOrHidden),
        (Denial::Unauthorized, AccessClass::PullDenied),
    ];
    for (denial, expected) in table {
        let registry = TestRegistry::builder()
            .bearer()
            .denial(denial)
            .user(User::without_rights("robot", PASSWORD))
            .start()
            .await
            .unwrap();
        registry.push("team/app", "1", &cart()).unwrap();
        let client = client(&registry, Some(PASSWORD));
        let access = client.verify(Some(&image(&registry, "team/app:1"))).await;
        assert_eq!(access.class(), expected, "{denial:?}: {access}");
    }
}

#[tokio::test]
async fn a_registry_without_logins_cannot_prove_a_credential() {
    let registry = open().await;
    let access = client(&registry, Some(PASSWORD)).verify(None).await;
    assert_eq!(access.class(), AccessClass::NotCheckable);
    let access = client(&registry, Some(PASSWORD))
        .verify(Some(&image(&registry, "team/app:1")))
        .await;
    assert_eq!(access.class(), AccessClass::PullAllowed);
    assert!(
        access.message().ends_with("can be pulled without a login"),
        "{access}"
    );
    let sent = registry
        .requests()
        .iter()
        .any(|request| request.authorization() != Scheme::None);
    assert!(!sent, "nobody asked for the credential");
}

#[tokio::test]
async fn another_protocol_is_not_a_registry() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 1024]).await;
        socket.write_all(b"SSH-2.0-example\r\n").await.unwrap();
        let _ = socket.read(&mut [0; 1024]).await;
    });
    let egress = Egress::tenant()
        .allow_network("127.0.0.0/8".parse().unwrap())
        .allow_plain_http(host.parse().unwrap());
    let transport = Arc::new(ReqwestTransport::new(egress).unwrap());
    let client = RegistryClient::new(host.parse().unwrap(), None, transport);
    assert_eq!(client.verify(None).await.class(), AccessClass::NotARegistry);
    server.abort();
}

#[tokio::test]
async fn a_web_server_is_not_a_registry() {
    let registry = open().await;
    let faults = [
        Fault::on(Method::GET, "/v2/").answer(StatusCode::NOT_FOUND),
        Fault::on(Method::GET, "/v2/").answer(StatusCode::UNAUTHORIZED),
        Fault::on(Method::GET, "/v2/")
            .header("content-type", "text/html")
            .body("<html>"),
        Fault::on(Method::GET, "/v2/").body(vec![b'x'; 200_000]),
    ];
    for fault in faults {
        registry.inject(fault);
        let access = client(&registry, None).verify(None).await;
        assert_eq!(access.class(), AccessClass::NotARegistry, "{access}");
    }
}
