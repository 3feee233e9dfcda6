//! Secrets do not leave: no Debug, Display, error or finding holds the password.

use std::error::Error;

use choreo_registry::docker_config::DockerConfig;
use choreo_registry::pull_secret::SecretMetadata;
use choreo_registry::{
    Authentication, ContainerRegistry, Credential, ImageReference, PullSecret, RegistryHost,
};
use proptest::prelude::*;

/// No message of ours contains it by chance.
const CANARY: &str = "c4n4ry";

/// `base64("c4n4ry")`, at each of the three offsets that a byte can have in base64.
const ENCODED: [&str; 3] = ["YzRuNHJ5", "M0bjRye", "NG40cn"];

fn assert_clean(place: &str, shown: &str) {
    assert!(
        !shown.contains(CANARY),
        "{place} shows the password: {shown}"
    );
    for encoded in ENCODED {
        assert!(
            !shown.contains(encoded),
            "{place} shows the password in base64: {shown}"
        );
    }
}

fn assert_error_clean(place: &str, error: &dyn Error) {
    assert_clean(place, &format!("{error} {error:?}"));
    if let Some(source) = error.source() {
        assert_error_clean(place, source);
    }
}

#[test]
fn the_canary_is_found_where_it_is_exposed() {
    let credential = Credential::new("alice", CANARY).unwrap();
    assert_eq!(credential.expose_password(), CANARY);
    for username in ["a", "ab", "abc"] {
        let basic = Credential::new(username, CANARY).unwrap().expose_basic();
        assert!(
            ENCODED.iter().any(|encoded| basic.contains(encoded)),
            "{username}: {}",
            *basic
        );
    }
}

#[test]
fn no_value_shows_its_password() {
    let hosts = [
        "registry.example.com",
        "docker.io",
        "ghcr.io",
        "localhost:5000",
        "[::1]",
    ];
    let passwords = [
        CANARY.to_owned(),
        format!("ghs_{CANARY}"),
        format!(" {CANARY}\n"),
    ];
    for (host, password) in hosts
        .iter()
        .flat_map(|h| passwords.iter().map(move |p| (h, p)))
    {
        let host: RegistryHost = host.parse().unwrap();
        let credential = Credential::new("a@b.example", password.clone()).unwrap();
        assert_clean(
            "Credential",
            &format!("{credential:?} {:?}", credential.password()),
        );

        let secret = PullSecret::new(&host, &credential);
        assert_clean("PullSecret", &format!("{secret:?}"));
        let metadata = SecretMetadata::new("images").unwrap();
        assert_clean("manifest", &secret.redacted_manifest(&metadata).to_string());

        let authentication = Authentication::Basic(credential);
        assert_clean("Authentication", &format!("{authentication:?}"));
        let registry = ContainerRegistry::new("Images", host, authentication).unwrap();
        assert_clean("ContainerRegistry", &format!("{registry:?}"));
        for finding in registry.findings() {
            assert_clean("Finding", &format!("{finding} {finding:?}"));
            assert_clean("Finding", &serde_json::to_string(finding).unwrap());
        }
        assert_clean(
            "moved",
            &format!("{:?}", registry.with_host("quay.io".parse().unwrap())),
        );
    }
}

#[test]
fn no_refusal_shows_the_password() {
    let long = format!("{CANARY}{}", "x".repeat(17 * 1024));
    for (username, password) in [
        ("a:b", CANARY),
        ("", CANARY),
        ("a\n", CANARY),
        ("alice", &long),
        (CANARY, ""),
    ] {
        let error = Credential::new(username, password).unwrap_err();
        assert_error_clean("CredentialError", &error);
    }
    for (host, username, password) in [
        ("ghcr.io", "alice", format!("github_pat_{CANARY}")),
        ("gcr.io", "_json_key", CANARY.to_owned()),
        (
            "gcr.io",
            "_json_key",
            format!("{{\"private_key\":\"{CANARY}\"}}"),
        ),
        (
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "alice",
            CANARY.to_owned(),
        ),
    ] {
        let authentication = Authentication::basic(username, password).unwrap();
        let error =
            ContainerRegistry::new("Images", host.parse().unwrap(), authentication).unwrap_err();
        assert_error_clean("RegistryError", &error);
    }
    for input in [
        format!("https://alice:{CANARY}@registry.example.com/acme"),
        format!("alice:{CANARY}@registry.example.com"),
    ] {
        assert_error_clean("host", &input.parse::<RegistryHost>().unwrap_err());
        assert_error_clean("reference", &input.parse::<ImageReference>().unwrap_err());
    }
}

/// JSON that resembles a docker config, with the canary in any value and mistakes everywhere.
fn config_like() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        4 => Just(format!("\"{CANARY}\"")),
        2 => Just("\"YWxpY2U6YzRuNHJ5\"".to_owned()),
        1 => Just(format!("[\"{CANARY}\"]")),
        1 => Just(format!("{{\"{CANARY}\":\"{CANARY}\"}}")),
        1 => Just(format!("\"{CANARY}")),
        1 => Just(CANARY.to_owned()),
        1 => Just("null".to_owned()),
    ];
    let field = prop_oneof![
        Just("auth".to_owned()),
        Just("username".to_owned()),
        Just("password".to_owned()),
        Just("identitytoken".to_owned()),
        Just("Password".to_owned()),
        Just(format!("{CANARY} ")),
    ];
    let entry = proptest::collection::vec((field, value.clone()), 0..4).prop_map(|fields| {
        let write = |(name, value): (String, String)| match name.as_str() {
            // A user name is no secret, and is shown.
            "username" if value.starts_with('"') => "\"username\":\"alice\"".to_owned(),
            _ => format!("\"{name}\":{value}"),
        };
        format!(
            "{{{}}}",
            fields.into_iter().map(write).collect::<Vec<_>>().join(",")
        )
    });
    let key = prop_oneof![
        4 => Just("ghcr.io".to_owned()),
        1 => Just("quay.io".to_owned()),
        1 => Just(format!("alice:{CANARY}@ghcr.io")),
        1 => Just(CANARY.to_owned()),
        1 => Just(format!("ghcr.io/{CANARY}")),
        1 => Just("auths".to_owned()),
    ];
    let entries = proptest::collection::vec((key, prop_oneof![6 => entry, 1 => value]), 0..3)
        .prop_map(|entries| {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(k, v)| format!("\"{k}\":{v}"))
                .collect();
            format!("{{{}}}", entries.join(","))
        });
    (entries, 0..4).prop_map(|(entries, shape)| match shape {
        0 => entries,
        1 => format!("{{\"auths\":{entries},\"credHelpers\":{entries}}}"),
        _ => format!("{{\"auths\":{entries}}}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_docker_config_shows_its_password(json in config_like()) {
        match json.parse::<DockerConfig>() {
            Ok(config) => {
                assert_clean("DockerConfig", &format!("{config:?} {:?}", config.findings()));
            }
            Err(error) => assert_error_clean("DockerConfigError", &error),
        }
    }

    #[test]
    fn any_document_is_read_or_refused(json in "(?s).{0,200}") {
        drop(json.parse::<DockerConfig>());
    }
}
