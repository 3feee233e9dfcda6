//! Guards that no Debug, Display, error or finding contains the password.

use std::error::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use choreo_registry::docker_config::DockerConfig;
use choreo_registry::pull_secret::{Format, SecretMetadata};
use choreo_registry::{
    Authentication, ContainerRegistry, Credential, ImageReference, PullSecret, RegistryHost,
};
use proptest::prelude::*;

/// No message of the crate contains it by chance.
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
        assert_clean("Credential", &format!("{credential:?}"));

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

/// JSON that resembles a docker config, with the canary in any value and mistakes in any place.
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
            // A user name is not secret, and is shown.
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

/// Returns the number of documents for the property below: `CHOREO_TEST_CASES`, or 20,000.
fn cases() -> u32 {
    std::env::var("CHOREO_TEST_CASES").map_or(20_000, |cases| {
        cases.parse().expect("CHOREO_TEST_CASES is a number")
    })
}

/// Returns passwords of letters. No message of the crate contains eight of them in a row.
fn secret() -> impl Strategy<Value = String> {
    "[QXZJqxzj0-9]{8,24}"
}

/// Returns a document with the secret in every place where it may be, correctly or by mistake. The
/// document is complete, truncated, or has a changed byte.
fn document(secret: &str) -> impl Strategy<Value = String> + use<> {
    let encoded = STANDARD.encode(format!("alice:{secret}"));
    let value = prop_oneof![
        6 => Just(format!("\"{secret}\"")),
        3 => Just(format!("\"{encoded}\"")),
        1 => Just(format!("\"{}\"", encoded.trim_end_matches('='))),
        1 => Just(format!("\"alice:{secret}\"")),
        1 => Just(format!("\"{secret}\\ud800\"")),
        1 => Just(format!("\"{secret}\\n\"")),
        1 => Just(format!("[\"{secret}\",{{\"{secret}\":1}}]")),
        1 => Just(format!("{{\"auth\":\"{secret}\"}}")),
        1 => Just(format!("\"{secret}")),
        1 => Just(secret.to_owned()),
        1 => Just("null".to_owned()),
        1 => Just("17".to_owned()),
        1 => Just("\"\"".to_owned()),
    ];
    let name = prop_oneof![
        4 => Just("auth".to_owned()),
        4 => Just("username".to_owned()),
        4 => Just("password".to_owned()),
        2 => Just("identitytoken".to_owned()),
        1 => Just("registrytoken".to_owned()),
        1 => Just("email".to_owned()),
        1 => Just("Password".to_owned()),
        1 => Just(secret.to_owned()),
    ];
    let key = prop_oneof![
        6 => Just("ghcr.io".to_owned()),
        2 => Just("acme.azurecr.io".to_owned()),
        1 => Just("https://index.docker.io/v1/".to_owned()),
        1 => Just(format!("alice:{secret}@ghcr.io")),
        1 => Just(format!("ghcr.io/{secret}")),
        1 => Just(format!("{secret}_")),
        1 => Just(secret.to_owned()),
    ];
    let secret = secret.to_owned();
    let entry = proptest::collection::vec((name, value.clone()), 0..5).prop_map(object);
    let entry = prop_oneof![8 => entry, 1 => value.clone()];
    let entries = proptest::collection::vec((key, entry), 0..3).prop_map(object);
    (entries, value, 0..9, any::<u8>(), 0..500_usize).prop_map(
        move |(entries, value, shape, byte, place)| {
            let mut text = match shape {
                0 => entries,
                1 => format!("{{\"auths\":{entries},\"credHelpers\":{entries}}}"),
                2 => format!("{{\"auths\":{entries},\"credsStore\":{value}}}"),
                3 => format!("{{\"auths\":{value}}}"),
                4 => format!("\u{feff}{{\"auths\":{entries}}} {secret}"),
                5 => format!("{{\"auths\":{{\"auths\":{entries}}},\"auths\":{entries}}}"),
                _ => format!("{{\"auths\":{entries}}}"),
            };
            // The text is ASCII except for the byte order mark, which stays complete.
            let place = 3 + place;
            if shape == 7 && place < text.len() {
                text.truncate(place);
            } else if shape == 8 && place < text.len() {
                text.replace_range(place..=place, &char::from(byte & 0x7f).to_string());
            }
            text
        },
    )
}

fn object(fields: Vec<(String, String)>) -> String {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// Returns eight consecutive bytes of the secret, or of an encoded form, that are shown.
fn slice_shown(secret: &str, shown: &str) -> Option<String> {
    let lower = shown.to_ascii_lowercase();
    let encoded = ["", "a", "ab"].map(|before| STANDARD.encode(format!("{before}{secret}")));
    // The ends of the encoded forms also encode the bytes around the secret.
    let inner = encoded.iter().map(|text| &text[4..text.len() - 4]);
    let plain = (0..=secret.len() - 8).map(|at| &secret[at..at + 8]);
    plain
        .chain(inner.flat_map(|text| (0..text.len().saturating_sub(7)).map(|at| &text[at..at + 8])))
        .find(|slice| shown.contains(slice) || lower.contains(&slice.to_ascii_lowercase()))
        .map(str::to_owned)
}

proptest! {
    // Shrinking a long document completely takes minutes and gives no more information.
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(cases()) })]

    /// Guards the promise of the crate documentation for each eight bytes.
    #[test]
    fn no_eight_bytes_of_a_secret_are_shown(
        (secret, document) in secret().prop_flat_map(|s| (Just(s.clone()), document(&s)))
    ) {
        let host: RegistryHost = "ghcr.io".parse().unwrap();
        for read in [document.parse::<DockerConfig>(), DockerConfig::for_host(&document, &host)] {
            let shown = match read {
                // A user name is shown. Here it contains the secret, and the password is another
                // one.
                Ok(config) if is_username_alone(&config, &secret) => continue,
                Ok(config) => everything_shown(config),
                // A key that is a host is shown. Here it contains the secret.
                Err(_) if is_in_host(&document, &secret) => continue,
                Err(error) => format!("{error} {error:?} {:?}", error.source()),
            };
            let found = slice_shown(&secret, &shown);
            prop_assert!(found.is_none(), "{found:?} of {secret} in {shown}");
        }
    }
}

/// Returns `true` if a key of the document that is a host contains a part of the secret.
fn is_in_host(document: &str, secret: &str) -> bool {
    let secret = secret.to_ascii_lowercase();
    let holds = |key: &str| {
        let host = key.parse::<RegistryHost>();
        host.is_ok_and(|host| slice_shown(&secret, host.as_str()).is_some())
    };
    // The quoted strings include all keys, even if the document is not valid.
    document.split('"').any(holds)
}

fn is_username_alone(config: &DockerConfig, secret: &str) -> bool {
    let (username, password) = (
        config.credential().username(),
        config.credential().expose_password(),
    );
    let mut parts = username.as_bytes().windows(password.len().min(8));
    slice_shown(secret, username).is_some()
        && !parts.any(|part| {
            password
                .as_bytes()
                .windows(part.len())
                .any(|other| other == part)
        })
}

/// Returns all output of values from the config without an explicit exposure.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
fn everything_shown(config: DockerConfig) -> String {
    use std::fmt::Write as _;

    let metadata = SecretMetadata::new("images").unwrap();
    let pull_secret = PullSecret::new(config.host(), config.credential());
    let host = config.host().clone();
    let findings = config.findings();
    let mut shown = format!("{config:?} {pull_secret:?} {findings:?}");
    write!(shown, "{}", pull_secret.redacted_manifest(&metadata)).unwrap();
    // The control: the exposed text does contain it.
    let exposed = pull_secret.expose_docker_config_json();
    assert!(exposed.contains(&*config.credential().expose_basic()));
    let text = pull_secret.expose_text(&metadata, Format::Yaml);
    assert!(text.contains(&STANDARD.encode(exposed)));
    match ContainerRegistry::new("Images", host, Authentication::DockerConfig(config)) {
        Ok(registry) => {
            write!(shown, "{:?}", registry.authentication()).unwrap();
            for finding in registry.findings() {
                write!(
                    shown,
                    "{finding} {}",
                    serde_json::to_string(finding).unwrap()
                )
                .unwrap();
            }
        }
        Err(error) => write!(shown, "{error} {error:?} {:?}", error.source()).unwrap(),
    }
    shown
}

/// Guards that a host is shown, even if it contains a secret, and that another value is not.
#[test]
fn only_hosts_are_shown_of_a_document() {
    let secret = "J6qZxjzxqjjxz1Qz";
    let key = format!(r#"{{"auths":{{"ghcr.io-{secret}":{{}}}}}}"#);
    assert!(is_in_host(&key, secret));
    let value = format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{secret} {secret}"}}}}}}"#);
    assert!(!is_in_host(&value, secret));
}
