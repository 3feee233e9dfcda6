use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{egress::Egress, transport::ScriptedTransport};

/// A key file, and the public half of its key.
fn key_file(token_uri: Option<&str>) -> (String, Vec<u8>) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let mut file = json!({
        "type": "service_account", "client_email": "puller@acme.iam.gserviceaccount.com",
        "private_key": pem, "private_key_id": "k1", "project_id": "acme",
    });
    if let Some(uri) = token_uri {
        file["token_uri"] = json!(uri);
    }
    (file.to_string(), key.public_key().as_ref().to_vec())
}

fn answer(flavor: Option<&str>, body: &'static str) -> http::Response<Bytes> {
    let mut response = http::Response::builder();
    if let Some(flavor) = flavor {
        response = response.header("metadata-flavor", flavor);
    }
    response.body(Bytes::from_static(body.as_bytes())).unwrap()
}

fn source(identity: GoogleIdentity, transport: &Arc<ScriptedTransport>) -> GarSource {
    let transport = Arc::<ScriptedTransport>::clone(transport);
    GarSource::new(
        "europe-west1-docker.pkg.dev".parse().unwrap(),
        identity,
        transport,
    )
    .unwrap()
    .with_clock(Clock::new(|| Timestamp::from_second(1_000).unwrap()))
}

const GOOD: &str = r#"{"access_token":"canary-token","expires_in":3599,"token_type":"Bearer"}"#;

#[tokio::test]
async fn the_metadata_server_is_asked_and_known_by_its_header() {
    let egress =
        || Egress::operator().allow_plain_http("metadata.google.internal".parse().unwrap());
    for (flavor, good) in [
        (Some("Google"), true),
        (Some("google"), false),
        (None, false),
    ] {
        let transport = ScriptedTransport::new()
            .with_egress(egress())
            .answer(&format!("GET {METADATA_URL}"), answer(flavor, GOOD));
        let transport = Arc::new(transport);
        let credential = source(GoogleIdentity::metadata(), &transport)
            .credential()
            .await;
        assert_eq!(
            transport.requests()[0].headers()["metadata-flavor"],
            "Google"
        );
        match credential {
            Ok(credential) if good => {
                assert_eq!(credential.username(), "oauth2accesstoken");
                assert_eq!(credential.expose_password(), "canary-token");
                assert_eq!(credential.expires_at().unwrap().as_second(), 4_599);
            }
            Err(error) if !good => assert_eq!(
                error.to_string(),
                "Google's metadata server gives an answer that cannot be used: it lacks the header \
                 Metadata-Flavor: Google; check that nothing stands between the platform and the \
                 service"
            ),
            other => panic!("{flavor:?}: {other:?}"),
        }
    }
    let transport = Arc::new(ScriptedTransport::new());
    let error = source(GoogleIdentity::metadata(), &transport)
        .credential()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Blocked);
    assert!(transport.requests().is_empty());
}

#[tokio::test]
async fn a_key_signs_an_assertion_that_its_public_half_verifies() {
    for uri in [
        None,
        Some(TOKEN_URIS[0]),
        Some(TOKEN_URIS[1]),
        Some(TOKEN_URIS[2]),
    ] {
        let (file, public) = key_file(uri);
        let uri = uri.unwrap_or(TOKEN_URIS[0]);
        let transport = ScriptedTransport::new().answer(&format!("POST {uri}"), answer(None, GOOD));
        let transport = Arc::new(transport);
        let identity = GoogleIdentity::service_account(file.parse().unwrap());
        source(identity, &transport).credential().await.unwrap();

        let requests = transport.requests();
        let body = std::str::from_utf8(requests[0].body()).unwrap();
        let assertion = body
            .strip_prefix(
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=",
            )
            .unwrap();
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), &signature).unwrap();
        assert!(key.verify(b"something else", &signature).is_err());

        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(
            parts[1],
            json!({
                "iss": "puller@acme.iam.gserviceaccount.com", "aud": uri,
                "scope": "https://www.googleapis.com/auth/devstorage.read_only",
                "iat": 1000, "exp": 4600,
            })
        );
    }
}

#[test]
fn key_files_that_cannot_be_used_say_why_and_show_nothing() {
    let (file, _) = key_file(None);
    let changed = |name: &str, value: Value| {
        let mut file: Value = serde_json::from_str(&file).unwrap();
        file[name] = value;
        file.to_string()
    };
    let no_file = "it is not the JSON file of a service account's key";
    let no_key = "the private_key is no RSA key in PEM (PKCS #8)";
    let foreign = "the key's token_uri is not Google's";
    let table = [
        ("canary".to_owned(), no_file),
        ("{}".to_owned(), no_file),
        (changed("private_key", json!(["canary"])), no_file),
        (
            changed("type", json!("authorized_user")),
            "the file's type is not service_account",
        ),
        (changed("private_key", json!("canary")), no_key),
        (
            changed(
                "private_key",
                json!("-----BEGIN PRIVATE KEY-----\ncanary==\n-----END PRIVATE KEY-----"),
            ),
            no_key,
        ),
        (
            changed(
                "private_key",
                json!("-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----"),
            ),
            no_key,
        ),
        (
            changed(
                "token_uri",
                json!("https://oauth2.googleapis.com.evil.example/token"),
            ),
            foreign,
        ),
        (
            changed("token_uri", json!("http://oauth2.googleapis.com/token")),
            foreign,
        ),
        (
            changed("token_uri", json!("https://oauth2.googleapis.com/token?x")),
            foreign,
        ),
    ];
    for (text, reason) in table {
        let error = text.parse::<ServiceAccountKey>().unwrap_err();
        let shown = error.to_string();
        assert_eq!(
            shown,
            format!(
                "Google's token service cannot be asked with this identity: {reason}; check the \
                 identity's key, token or file"
            )
        );
        assert!(!format!("{error:?}").contains("canary"));
    }
    let key: ServiceAccountKey = file.parse().unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(
        format!("{key:?}"),
        r#"ServiceAccountKey { email: "puller@acme.iam.gserviceaccount.com", .. }"#
    );
    assert!(file["private_key"].as_str().unwrap().len() > 1000);
}

#[test]
fn only_googles_registries_are_served() {
    let new = |host: &str| {
        let transport = Arc::new(ScriptedTransport::new());
        GarSource::new(host.parse().unwrap(), GoogleIdentity::metadata(), transport)
    };
    for host in [
        "us-docker.pkg.dev",
        "europe-west1-docker.pkg.dev",
        "gcr.io",
        "eu.gcr.io",
    ] {
        assert_eq!(new(host).unwrap().registry().as_str(), host);
    }
    for host in [
        "docker.pkg.dev",
        "evil.x-docker.pkg.dev",
        "us-docker.pkg.dev.evil.example",
        "us-docker.pkg.dev:5000",
        "evil.gcr.io",
        "registry.example.com",
    ] {
        assert_eq!(
            new(host).unwrap_err().kind(),
            SourceErrorKind::WrongRegistry,
            "{host}"
        );
    }
}
