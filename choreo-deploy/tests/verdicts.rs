//! Guards that `verify` and a deployment return the same verdict for the same registry.
//!
//! The cases are all combinations of the responses of a registry to `/v2/`, at its token server, for
//! a manifest and for a configuration. A person and a deployment get each of them.
#![cfg(feature = "client")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use choreo_deploy::resolver::{ClientResolver, ImageResolver, RegistryAccess, ResolveError};
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, Digest, ImageReference, RegistryHost};
use choreo_registry_client::{Access, AccessClass, RegistryClient, transport::ScriptedTransport};
use http::Response;

const ROOT: &str = "https://registry.example.com";
const CONFIG: &str = r#"{"os":"linux","architecture":"amd64","config":{"User":"10001"}}"#;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Clone, Copy, Debug)]
struct Answer {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const fn answer(status: u16, body: &'static str) -> Answer {
    Answer {
        status,
        headers: &[],
        body,
    }
}

const fn asks(challenge: &'static [(&'static str, &'static str)]) -> Answer {
    Answer {
        status: 401,
        headers: challenge,
        body: "",
    }
}

const BEARER: &[(&str, &str)] = &[("www-authenticate", "Bearer realm=\"/token\"")];
const BASIC: &[(&str, &str)] = &[("www-authenticate", "Basic realm=\"x\"")];
const ELSEWHERE: &[(&str, &str)] = &[(
    "www-authenticate",
    "Bearer realm=\"https://auth.example.net/token\"",
)];
const BROKEN: &[(&str, &str)] = &[("www-authenticate", "Bearer realm=\"u")];
const NEGOTIATE: &[(&str, &str)] = &[("www-authenticate", "Negotiate")];
const PAGE: &[(&str, &str)] = &[("content-type", "text/html")];
const MOVED: &[(&str, &str)] = &[("location", "http://registry.example.com/")];
const DENIED: &str = r#"{"errors":[{"code":"DENIED"}]}"#;
const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;

const ROOTS: [Answer; 12] = [
    answer(200, ""),
    asks(BEARER),
    asks(BASIC),
    asks(ELSEWHERE),
    asks(BROKEN),
    asks(NEGOTIATE),
    asks(&[]),
    answer(403, DENIED),
    answer(404, ""),
    answer(429, ""),
    answer(503, ""),
    Answer {
        status: 200,
        headers: PAGE,
        body: "<html>",
    },
];
const TOKENS: [Answer; 7] = [
    answer(200, r#"{"token":"t"}"#),
    answer(200, "{}"),
    answer(400, ""),
    answer(401, ""),
    answer(403, DENIED),
    answer(404, ""),
    answer(503, ""),
];
/// `None` returns the manifest itself.
const MANIFESTS: [Option<Answer>; 13] = [
    None,
    Some(asks(BEARER)),
    Some(asks(BASIC)),
    Some(asks(ELSEWHERE)),
    Some(answer(400, "")),
    Some(answer(403, DENIED)),
    Some(answer(404, UNKNOWN)),
    Some(answer(404, "")),
    Some(answer(418, "")),
    Some(answer(429, "")),
    Some(answer(503, "")),
    Some(answer(200, "{}")),
    Some(Answer {
        status: 302,
        headers: MOVED,
        body: "",
    }),
];
const CONFIGS: [Answer; 3] = [answer(200, CONFIG), answer(404, ""), answer(200, "other")];

fn response(answer: Answer) -> Response<String> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(*name, *value);
    }
    response.body(answer.body.to_owned()).unwrap()
}

fn manifest() -> Response<String> {
    let config = Digest::sha256_of(CONFIG.as_bytes());
    let body =
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":3}},"layers":[]}}"#);
    let response = Response::builder().header("content-type", MANIFEST);
    response.body(body).unwrap()
}

/// Returns a registry that always gives these responses. It returns its manifest to a request with
/// the credential of its challenge.
fn registry(
    [root, token, config]: [Answer; 3],
    refusal: Option<Answer>,
    is_final: bool,
) -> ScriptedTransport {
    let config_of = Digest::sha256_of(CONFIG.as_bytes());
    let pull = "scope=repository%3Ateam%2Fapp%3Apull";
    let at_manifest = format!("GET {ROOT}/v2/team/app/manifests/1");
    let mut script = ScriptedTransport::new()
        .answer(&format!("GET {ROOT}/v2/"), response(root))
        .answer(&format!("GET {ROOT}/token?{pull}"), response(token))
        .answer(&format!("GET {ROOT}/token"), response(token))
        .answer(
            &format!("GET {ROOT}/v2/team/app/blobs/{config_of}"),
            response(config),
        );
    if let Some(refusal) = refusal {
        script = script.answer(&at_manifest, response(refusal));
    }
    if refusal.is_none() || !is_final {
        script = script.answer(&at_manifest, manifest());
    }
    script
}

fn host() -> RegistryHost {
    "registry.example.com".parse().unwrap()
}

fn image() -> ImageReference {
    "registry.example.com/team/app:1".parse().unwrap()
}

async fn verified(login: Option<&Credential>, registry: ScriptedTransport) -> Access {
    let login = login.map(Credential::clone_secret);
    let client = RegistryClient::new(host(), login, Arc::new(registry));
    client.verify(Some(&image())).await
}

async fn deployed(
    login: Option<&Credential>,
    registry: ScriptedTransport,
) -> Result<ResolvedImage, ResolveError> {
    let resolver = ClientResolver::new(Arc::new(registry));
    let (organization, id, host) = ("acme".parse().unwrap(), "images".parse().unwrap(), host());
    let access = RegistryAccess::new(&organization, &id, &host);
    let access = match login {
        Some(login) => access.with_credential(login, 1),
        None => access,
    };
    resolver.resolve(&image(), &access).await
}

/// Returns `true` if a person and a deployment get the same verdict.
fn agree(access: &Access, deployed: &Result<ResolvedImage, ResolveError>) -> bool {
    match (access.class(), deployed) {
        (AccessClass::PullAllowed, Ok(image)) => access.image() == Some(image),
        // A person can correct the host. A deployment continues, because the nodes may reach the
        // registry.
        (
            AccessClass::NotCheckable | AccessClass::Blocked | AccessClass::NotARegistry,
            Err(ResolveError::NotCheckable(_)),
        ) => true,
        (
            AccessClass::RateLimited | AccessClass::Unreachable,
            Err(ResolveError::TryLater { .. }),
        ) => true,
        (
            AccessClass::CredentialRefused
            | AccessClass::LoginRequired
            | AccessClass::MissingOrHidden
            | AccessClass::PullDenied
            | AccessClass::UnsupportedImage,
            Err(ResolveError::Failed(reason)),
        ) => reason.message == access.message(),
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_and_a_deployment_are_told_the_same() {
    let login = Credential::new("robot", "secret").unwrap();
    let mut classes = std::collections::BTreeSet::new();
    for root in ROOTS {
        for token in TOKENS {
            for config in CONFIGS {
                for refusal in MANIFESTS {
                    for (login, is_final) in [
                        (None, false),
                        (None, true),
                        (Some(&login), false),
                        (Some(&login), true),
                    ] {
                        let script = || registry([root, token, config], refusal, is_final);
                        let access = verified(login, script()).await;
                        let deployed = deployed(login, script()).await;
                        assert!(
                            agree(&access, &deployed),
                            "{root:?} {token:?} {refusal:?} {login:?}: {access:?} {deployed:?}"
                        );
                        classes.insert(access.class());
                    }
                }
            }
        }
    }
    // Every class except the one without an image.
    assert_eq!(classes.len(), 11, "{classes:?}");
}
