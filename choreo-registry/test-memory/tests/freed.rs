//! Guards that freed memory contains no secret after the values of choreo-registry are dropped or
//! sealed.
//!
//! The control is [`the_watch_finds_what_is_left`], which leaves a secret on purpose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use choreo_deploy::sealer::{Sealer, SealingContext, SealingKey};
use choreo_registry::docker_config::DockerConfig;
use choreo_registry::pull_secret::{Format, SecretMetadata};
use choreo_registry::secret_fields::SecretFields;
use choreo_registry::{Authentication, ContainerRegistry, Credential, ImageReference, PullSecret};
use choreo_registry_client::credential_source::ServiceAccountKey;
use choreo_test_memory::{Watched, blocks_with};

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const SECRET: &str = "Q7x!zPw93LmVt0KdRb5YhNfG2aJcUeX8";

/// Returns the number of freed blocks with a part of the secret, or of its login in base64.
fn left<T>(work: impl FnOnce() -> T) -> usize {
    let login = STANDARD.encode(format!("alice:{SECRET}"));
    blocks_with(&[SECRET, &login[8..]], work)
}

fn login() -> Credential {
    Credential::new("alice", SECRET).expect("it is a credential")
}

#[test]
fn the_watch_finds_what_is_left() {
    assert_eq!(left(|| SECRET.to_owned()), 1);
    assert_eq!(left(|| STANDARD.encode(format!("alice:{SECRET}"))), 2);
    // A buffer that grows leaves copies of its content behind.
    let grown = left(|| {
        SECRET
            .chars()
            .fold(String::new(), |text, c| text + &c.to_string())
    });
    assert!(grown > 1, "{grown}");
    assert_eq!(left(|| "nothing".to_owned()), 0);
}

#[test]
fn a_credential_leaves_nothing() {
    assert_eq!(left(login), 0);
    let used = || {
        let credential = login();
        let shown = format!("{credential:?}");
        (credential.expose_basic(), credential.clone_secret(), shown)
    };
    assert_eq!(left(used), 0);
    for username in ["", "al:ice", &"a".repeat(256)] {
        assert_eq!(left(|| Credential::new(username, SECRET).err()), 0);
    }
    for password in [SECRET.repeat(1000), format!("{SECRET}\0")] {
        assert_eq!(left(|| Credential::new("a", &*password).err()), 0);
    }
}

#[test]
fn a_pull_secret_leaves_nothing() {
    let host = "ghcr.io".parse().expect("it is a host");
    let metadata = SecretMetadata::new("images").expect("it is a name");
    let images = ["GHCR.io/a/b", "ghcr.io:443/a/b"];
    let images = images.map(|image| image.parse::<ImageReference>().expect("it is an image"));
    let used = || {
        let secret = PullSecret::new(&host, &login());
        let shown = (format!("{secret:?}"), secret.redacted_manifest(&metadata));
        let secret = secret.with_spellings_of(&images).expect("they are its own");
        let texts = [
            Format::Json,
            Format::Yaml,
            Format::KubectlJson,
            Format::KubectlYaml,
        ]
        .map(|format| secret.expose_text(&metadata, format));
        (secret, shown, texts)
    };
    assert_eq!(left(used), 0);
}

#[test]
fn a_docker_config_leaves_nothing_however_it_is_written_or_refused() {
    let auth = STANDARD.encode(format!("alice:{SECRET}"));
    let escaped = SECRET.replacen('z', "\\u007a", 1);
    for entry in [
        format!(r#""auth":"{auth}""#),
        format!(r#""auth":"{}""#, auth.replacen('z', "\\u007a", 1)),
        format!(r#""auth":" {auth}\n""#),
        format!(r#""auth":"{auth}!""#),
        format!(r#""auth":"{}""#, STANDARD.encode(SECRET)),
        format!(
            r#""auth":"{}""#,
            STANDARD.encode([b"alice:", SECRET.as_bytes(), b"\xff"].concat())
        ),
        format!(
            r#""auth":"{}""#,
            STANDARD.encode(format!("alice:\0{SECRET}\0"))
        ),
        format!(r#""auth":"{}""#, STANDARD.encode(format!("\u{1}:{SECRET}"))),
        format!(r#""auth":"{auth}","password":"{escaped}x""#),
        format!(r#""username":"alice","password":"{SECRET}""#),
        format!(r#""username":"alice","password":"{escaped}""#),
        format!(r#""username":"\ud800","password":"{escaped}""#),
        format!(r#""password":"{escaped}""#),
        format!(r#""identitytoken":"{escaped}""#),
        format!(r#""{escaped}":"x""#),
        format!(r#""{escaped}":"x","{escaped}":"y""#),
    ] {
        for document in [
            format!(r#"{{"auths":{{"ghcr.io":{{{entry}}}}}}}"#),
            // Another member, so that the fast path does not apply.
            format!(r#"{{"auths":{{"ghcr.io":{{{entry}}}}},"more":1}}"#),
            format!(r#"{{"acme.azurecr.io":{{{entry}}}}}"#),
            format!(r#"{{"auths":{{"{escaped}":{{{entry}}}}}}}"#),
        ] {
            let read = || {
                let config = document.parse::<DockerConfig>();
                config.map_err(|error| (error.to_string(), format!("{error:?}")))
            };
            assert_eq!(left(read), 0, "{document}");
        }
    }
}

#[test]
fn a_service_account_key_leaves_nothing() {
    let key = format!(
        r#"{{"type":"service_account","client_email":"a@b.example","private_key":"-\n{SECRET}\n-"}}"#
    );
    let encoded = STANDARD.encode(&key);
    for (username, password) in [
        ("_json_key", &*key),
        ("_json_key", &key[1..]),
        ("_json_key_base64", &encoded),
        ("_json_key_base64", &encoded[4..]),
    ] {
        let host = "gcr.io".parse().expect("it is a host");
        let register = || {
            let authentication = Authentication::basic(username, password).map_err(drop)?;
            let registry = ContainerRegistry::new("x", host, authentication).map_err(drop)?;
            Ok::<_, ()>((registry.findings().to_vec(), format!("{registry:?}")))
        };
        assert_eq!(left(register), 0, "{username}");
    }
}

/// Guards the reader of keys in the client. A PEM key contains escapes, which JSON libraries decode
/// into buffers that they do not overwrite.
#[test]
fn a_service_account_key_of_the_client_leaves_nothing() {
    for rest in [
        "",
        r#","type":"service_account","#,
        r#","type":"service_account"}"#,
    ] {
        let key = format!(
            r#"{{"client_email":"a@b.example","private_key":"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"{rest}"#
        );
        assert_eq!(left(|| key.parse::<ServiceAccountKey>().err()), 0, "{rest}");
    }
}

#[test]
fn a_token_servers_answer_leaves_nothing() {
    for answer in [
        format!(r#"{{"token":"{SECRET}\n","expires_in":300}}"#),
        format!(r#"{{"token":"{SECRET}","token":"{SECRET}\n"}}"#),
        format!(r#"{{"token":"{SECRET}"#),
    ] {
        let read = || SecretFields::parse(answer.as_bytes())?.text("token");
        assert_eq!(left(read), 0, "{answer}");
    }
}

#[test]
fn sealing_and_opening_leave_nothing() {
    let key = SealingKey::new("test", [7; 32]).expect("it is a key");
    let sealer = Sealer::new(key);
    let organization = "acme".parse().expect("it is an id");
    let registry = "ghcr".parse().expect("it is an id");
    let host = "ghcr.io".parse().expect("it is a host");
    let context = SealingContext::new(&organization, &registry, &host);
    let sealed = || {
        let sealed = sealer.seal(&login(), &context).expect("it is sealed");
        let opened = sealer.open(&sealed, &context).expect("it opens");
        assert_eq!(opened.expose_password(), SECRET);
        (sealed, opened)
    };
    assert_eq!(left(sealed), 0);
}
