use bytes::Bytes;

use super::*;
use crate::{egress::Egress, transport::ScriptedTransport};

const CLIENT: &str = "7f1e6a2c-0000-4000-8000-000000000001";
const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01\
                    &resource=https%3A%2F%2Fcontainerregistry.azure.net";

fn ok(body: &str) -> http::Response<Bytes> {
    http::Response::new(Bytes::copy_from_slice(body.as_bytes()))
}

/// A JSON web token with these claims.
fn jwt(claims: &str) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn scripted(host: &str, authority: &str, refresh: &str) -> ScriptedTransport {
    let entra = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"canary-entra"}"#;
    let imds =
        r#"{"access_token":"canary-entra","expires_in":"86399","expires_on":"1","resource":"r"}"#;
    ScriptedTransport::new()
        .with_egress(Egress::operator().allow_plain_http("169.254.169.254".parse().unwrap()))
        .answer(
            &format!("POST https://{authority}/contoso.example/oauth2/v2.0/token"),
            ok(entra),
        )
        .answer(&format!("GET {IMDS}"), ok(imds))
        .answer(&format!("GET {IMDS}&client_id={CLIENT}"), ok(imds))
        .answer(
            &format!("POST https://{host}/oauth2/exchange"),
            ok(&format!(r#"{{"refresh_token":"{refresh}"}}"#)),
        )
}

fn source(host: &str, identity: AzureIdentity, transport: &Arc<ScriptedTransport>) -> AcrSource {
    let transport = Arc::<ScriptedTransport>::clone(transport);
    AcrSource::new(host.parse().unwrap(), identity, transport)
        .unwrap()
        .with_clock(Clock::new(|| Timestamp::from_second(1_000).unwrap()))
}

fn with_secret() -> AzureIdentity {
    let secret = "canary+secret/=".parse().unwrap();
    AzureIdentity::client_secret("contoso.example", CLIENT, secret).unwrap()
}

fn sent(transport: &ScriptedTransport) -> Vec<String> {
    let line = |request: &http::Request<Bytes>| {
        let body = std::str::from_utf8(request.body()).unwrap();
        format!("{} {} {body}", request.method(), request.uri())
    };
    transport.requests().iter().map(line).collect()
}

#[tokio::test]
async fn a_client_secret_is_exchanged_in_every_cloud() {
    let table = [
        ("acme.azurecr.io", "login.microsoftonline.com"),
        (
            "acme-e7ggejfuhzhgedc8.azurecr.io",
            "login.microsoftonline.com",
        ),
        ("acme.eastus.geo.azurecr.io", "login.microsoftonline.com"),
        ("acme.azurecr.us", "login.microsoftonline.us"),
        ("acme.azurecr.cn", "login.chinacloudapi.cn"),
    ];
    for (host, authority) in table {
        let transport = Arc::new(scripted(host, authority, "canary-refresh"));
        let source = source(host, with_secret(), &transport);
        let credential = source.credential().await.unwrap();
        assert_eq!(source.registry().as_str(), host);
        assert_eq!(
            credential.username(),
            "00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(credential.expose_password(), "canary-refresh");
        assert_eq!(
            credential.expires_at().unwrap().as_second(),
            1_000 + 3 * 3600
        );
        assert_eq!(
            sent(&transport),
            [
                format!(
                    "POST https://{authority}/contoso.example/oauth2/v2.0/token \
                     grant_type=client_credentials&client_id={CLIENT}\
                     &scope=https%3A%2F%2Fcontainerregistry.azure.net%2F.default\
                     &client_secret=canary%2Bsecret%2F%3D"
                ),
                format!(
                    "POST https://{host}/oauth2/exchange grant_type=access_token&service={host}\
                     &tenant=contoso.example&access_token=canary-entra"
                ),
            ]
        );
        for request in transport.requests() {
            assert_eq!(
                request.headers()["content-type"],
                "application/x-www-form-urlencoded"
            );
        }
    }
}

#[tokio::test]
async fn a_federated_identity_sends_its_assertion() {
    let transport = scripted("acme.azurecr.io", "login.microsoftonline.com", "r");
    let transport = Arc::new(transport);
    let token: Password = "a.b.c".parse().unwrap();
    let identity = AzureIdentity::federated("contoso.example", CLIENT, Arc::new(token)).unwrap();
    source("acme.azurecr.io", identity, &transport)
        .credential()
        .await
        .unwrap();
    assert!(sent(&transport)[0].ends_with(
        "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
         &client_assertion=a.b.c"
    ));
}

#[tokio::test]
async fn a_managed_identity_is_asked_at_the_metadata_service() {
    let table = [
        (AzureIdentity::managed(), IMDS.to_owned()),
        (
            AzureIdentity::managed_as(CLIENT).unwrap(),
            format!("{IMDS}&client_id={CLIENT}"),
        ),
    ];
    for (identity, url) in table {
        let transport = scripted("acme.azurecr.io", "login.microsoftonline.com", "r");
        let transport = Arc::new(transport);
        source("acme.azurecr.io", identity, &transport)
            .credential()
            .await
            .unwrap();
        let requests = transport.requests();
        assert_eq!(requests[0].uri().to_string(), url);
        assert_eq!(requests[0].headers()["metadata"], "true");
        assert_eq!(requests.len(), 2);
        assert!(sent(&transport)[1].ends_with(
            "grant_type=access_token&service=acme.azurecr.io&access_token=canary-entra"
        ));
    }
}

#[tokio::test]
async fn a_tenants_policy_keeps_a_managed_identity_from_being_asked() {
    let transport = scripted("acme.azurecr.io", "login.microsoftonline.com", "r");
    let transport = Arc::new(transport.with_egress(Egress::tenant()));
    let source = source("acme.azurecr.io", AzureIdentity::managed(), &transport);
    let error = source.credential().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Blocked);
    assert_eq!(error.service(), "Azure's metadata service");
    assert!(transport.requests().is_empty());
}

#[tokio::test]
async fn the_end_is_the_tokens_own_within_a_day() {
    let table = [
        (jwt(r#"{"exp":5000,"jti":"x"}"#), 5_000),
        (jwt(r#"{"exp":99999999999}"#), 1_000 + 86_400),
        (jwt(r#"{"exp":9223372036854775807}"#), 1_000 + 3 * 3600),
        (jwt(r#"{"exp":"5000"}"#), 1_000 + 3 * 3600),
        (jwt(r#"{}"#), 1_000 + 3 * 3600),
        (jwt("{"), 1_000 + 3 * 3600),
        ("e30.!!!.c2ln".to_owned(), 1_000 + 3 * 3600),
        (format!("{}.more", jwt(r#"{"exp":5000}"#)), 1_000 + 3 * 3600),
        (
            format!("x.{}", URL_SAFE_NO_PAD.encode(r#"{"exp":5000}"#)),
            1_000 + 3 * 3600,
        ),
        ("opaque".to_owned(), 1_000 + 3 * 3600),
    ];
    for (token, end) in table {
        let transport = scripted("acme.azurecr.io", "login.microsoftonline.com", &token);
        let transport = Arc::new(transport);
        let source = source("acme.azurecr.io", with_secret(), &transport);
        let credential = source.credential().await.unwrap();
        assert_eq!(credential.expires_at().unwrap().as_second(), end, "{token}");
    }
}

/// Nobody but Microsoft's own registries is shown a token of Microsoft's.
#[test]
fn foreign_hosts_are_refused_before_anything_is_sent() {
    let hosts = [
        "registry.example.com",
        "azurecr.io",
        "acme.azurecr.io.evil.example",
        "acme-azurecr.io",
        "evil-azurecr.io",
        "acme.azurecr.de",
        "acme.azurecr.io:5000",
        "acme.eastus.data.azurecr.io",
        "docker.io",
    ];
    for host in hosts {
        let transport = Arc::new(ScriptedTransport::new());
        let refused = AcrSource::new(host.parse().unwrap(), AzureIdentity::managed(), transport);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "Azure Container Registry does not serve this registry; check the registry's host",
            "{host}"
        );
    }
}

#[test]
fn tenants_and_clients_that_would_change_the_url_are_refused() {
    for wrong in [
        "",
        "a/b",
        "..",
        "a?b",
        "a#b",
        "a b",
        "a%2fb",
        "ä",
        "a\nb",
        &"a".repeat(254),
    ] {
        let secret = || "s".parse().unwrap();
        for identity in [
            AzureIdentity::client_secret(wrong, CLIENT, secret()),
            AzureIdentity::client_secret("contoso.example", wrong, secret()),
            AzureIdentity::federated(wrong, CLIENT, Arc::new(secret())),
            AzureIdentity::managed_as(wrong),
        ] {
            assert_eq!(
                identity.unwrap_err().kind(),
                SourceErrorKind::Identity,
                "{wrong}"
            );
        }
    }
    let error = AzureIdentity::client_secret("/", CLIENT, "s".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Microsoft Entra cannot be asked with this identity: the tenant is neither an id nor a \
         domain; check the identity's key, token or file"
    );
}

/// Guards that the error for each answer of a service, including answers that repeat a secret,
/// names the service and contains no secret.
#[tokio::test]
async fn failures_name_the_service_and_hold_no_secret() {
    let entra = "POST https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token";
    let exchange = "POST https://acme.azurecr.io/oauth2/exchange";
    let answer = |status: u16, body: &'static str| {
        http::Response::builder()
            .status(status)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    };
    let echo = r#"{"error":"canary+secret/=","error_description":"canary+secret/= canary-entra"}"#;
    let cases = [
        (
            entra,
            answer(401, r#"{"error":"invalid_client","error_codes":[7000215]}"#),
            "Microsoft Entra refuses this identity (status 401, AADSTS7000215); check the identity, \
             and that it has the right to read this registry",
        ),
        (
            entra,
            answer(400, echo),
            "Microsoft Entra refuses this identity (status 400); check the identity, and that it \
             has the right to read this registry",
        ),
        (
            exchange,
            answer(401, echo),
            "Azure Container Registry refuses this identity (status 401); check the identity, and \
             that it has the right to read this registry",
        ),
        (
            exchange,
            answer(200, r#"["canary-entra"]"#),
            "Azure Container Registry gives an answer that cannot be used: it is not a JSON object \
             with a refresh token; check that nothing stands between the platform and the service",
        ),
        (
            exchange,
            answer(200, r#"{"access_token":"canary-entra"}"#),
            "Azure Container Registry gives an answer that cannot be used: it has no usable token; \
             check that nothing stands between the platform and the service",
        ),
    ];
    for (request, response, expected) in cases {
        let good = ok(r#"{"access_token":"canary-entra","expires_in":3599}"#);
        let transport = ScriptedTransport::new()
            .answer(request, response)
            .answer(entra, good);
        let transport = Arc::new(transport);
        let source = source("acme.azurecr.io", with_secret(), &transport);
        let error = source.credential().await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        let shown = format!("{error:?} {source:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
