//! Docker configs: values, the documents that people paste, and broken documents.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::CANARY;
use super::credential::vendor_credential;
use super::host::{dns_host, registry_host_spelling};
use crate::docker_config::{AuthDefect, DockerConfig, DockerConfigError};
use crate::{Credential, PullSecret, RegistryHost};

/// Docker configs with one entry, of a vendor's host with a credential that belongs to it.
///
/// They have no findings; those of [`docker_config_spelling`] may have some.
///
/// ```
/// use choreo_registry::strategies::{docker_config, exposes_secret};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(config in docker_config())| {
///     prop_assert!(config.findings().is_empty());
///     let shown = format!("{config:?}");
///     prop_assert!(!exposes_secret(&shown));
/// });
/// ```
pub fn docker_config() -> impl Strategy<Value = DockerConfig> {
    vendor_credential().prop_map(|(host, credential)| {
        let secret = PullSecret::new(&host, &credential);
        let document = secret.expose_docker_config_json();
        document.parse().expect("a rendered docker config is one")
    })
}

/// Documents that people paste as `config.json`, with the host and the credential that they
/// contain: `auth`, or user name and password, or all three; base64 with and without its padding,
/// URL-safe, broken into lines, with NULs at the end; keys in all
/// [spellings](registry_host_spelling); fields that tools add; a byte order mark; with and without
/// line breaks and blanks between the tokens.
///
/// Each has one entry. It does not generate documents that must be converted (`.dockercfg`).
///
/// ```
/// use choreo_registry::docker_config::DockerConfig;
/// use choreo_registry::strategies::docker_config_spelling;
/// use proptest::prelude::*;
///
/// proptest!(
///     ProptestConfig::with_cases(16),
///     |((text, host, credential) in docker_config_spelling())| {
///         let config: DockerConfig = text.parse()?;
///         prop_assert_eq!(config.host(), &host);
///         prop_assert_eq!(config.credential().username(), credential.username());
///         prop_assert_eq!(config.credential().expose_password(), credential.expose_password());
///     }
/// );
/// ```
pub fn docker_config_spelling() -> impl Strategy<Value = (String, RegistryHost, Credential)> {
    let shape = (
        select(ENCODINGS),
        select(&[Fields::Auth, Fields::All, Fields::Plain]),
        any::<bool>(),
        proptest::bool::weighted(0.1),
        select(&[serde_json::to_string::<Value>, serde_json::to_string_pretty]),
    );
    (registry_host_spelling(), vendor_credential(), shape).prop_map(
        |((key, host), (_, credential), (encode, fields, has_more, has_mark, write))| {
            let auth = encode(&plain(&credential));
            let (username, password) = (credential.username(), credential.expose_password());
            let mut entry = match fields {
                Fields::Auth => json!({"auth": auth}),
                Fields::All => json!({"username": username, "password": password, "auth": auth}),
                Fields::Plain => json!({"username": username, "password": password, "auth": ""}),
            };
            if has_more {
                entry["email"] = json!("not@val.id");
                entry["serveraddress"] = json!(key);
            }
            let mut document = json!({"auths": {key: entry}});
            if has_more {
                document["HttpHeaders"] = json!({"User-Agent": "Docker-Client/28.0.1 (linux)"});
                document["credsStore"] = json!("");
            }
            let text = write(&document).expect("a value is always written");
            let mark = if has_mark { "\u{feff}" } else { "" };
            (format!("{mark}{text}"), host, credential)
        },
    )
}

/// Only the texts of [`docker_config_spelling`].
///
/// ```
/// use choreo_registry::docker_config::DockerConfig;
/// use choreo_registry::strategies::docker_config_text;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(text in docker_config_text())| {
///     prop_assert!(text.parse::<DockerConfig>().is_ok());
/// });
/// ```
pub fn docker_config_text() -> impl Strategy<Value = String> {
    docker_config_spelling().prop_map(|(text, _, _)| text)
}

/// Documents that are not a usable docker config, each with its error: credential stores and
/// helpers, tokens that nodes do not support, fields that are missing, of the wrong type or in the
/// wrong case, a damaged `auth`, no entry and several.
///
/// Every field that can contain a secret contains one, so that tests can search errors for it with
/// [`exposes_secret`](super::exposes_secret). It does not generate documents larger than 1 MiB.
///
/// ```
/// use choreo_registry::docker_config::DockerConfig;
/// use choreo_registry::strategies::{broken_docker_config, exposes_secret};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(64), |((text, error) in broken_docker_config())| {
///     prop_assert!(!exposes_secret(&error.to_string()));
///     prop_assert_eq!(text.parse::<DockerConfig>().unwrap_err(), error);
/// });
/// ```
pub fn broken_docker_config() -> impl Strategy<Value = (String, DockerConfigError)> {
    (dns_host(), select(DEFECTS)).prop_map(|(host, defect)| defect(host))
}

/// The fields that an entry contains.
#[derive(Clone, Copy, Debug)]
enum Fields {
    Auth,
    All,
    /// With an empty `auth`, which means none.
    Plain,
}

fn plain(credential: &Credential) -> String {
    format!("{}:{}", credential.username(), credential.expose_password())
}

/// The variants in which people and tools write `auth`.
const ENCODINGS: &[fn(&str) -> String] = &[
    |plain| STANDARD.encode(plain),
    |plain| STANDARD_NO_PAD.encode(plain),
    |plain| URL_SAFE.encode(plain),
    |plain| STANDARD.encode(format!("{plain}\0\0")),
    |plain| {
        let text = STANDARD.encode(plain);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(76)
            .filter_map(|line| std::str::from_utf8(line).ok())
            .collect();
        lines.join("\n") + "\n"
    },
];

/// Creates a document from a host, and its error.
type Defect = fn(RegistryHost) -> (String, DockerConfigError);

const DEFECTS: &[Defect] = &[
    |_| (" \n".to_owned(), DockerConfigError::Empty),
    |_| (json!({"auths": {}}).to_string(), DockerConfigError::NoEntry),
    |_| {
        let text = json!({"HttpHeaders": {"Authorization": CANARY}});
        (text.to_string(), DockerConfigError::NoEntry)
    },
    |_| {
        let text = format!("{CANARY}\n");
        (text, DockerConfigError::NotJson { line: 1, column: 1 })
    },
    |host| {
        let mut document = with_entry(&host, &json!({"auth": CANARY_AUTH}));
        document["credsStore"] = json!("desktop");
        (document.to_string(), DockerConfigError::CredsStore)
    },
    |host| {
        let mut document = with_entry(&host, &json!({"auth": CANARY_AUTH}));
        document["credHelpers"] = json!({host.as_str(): "ecr-login"});
        let error = DockerConfigError::CredHelpers(vec![host]);
        (document.to_string(), error)
    },
    |host| {
        let entry = json!({"auth": CANARY_AUTH});
        let document = json!({"auths": {"ghcr.io": entry, host.as_str(): entry}});
        // serde_json sorts the keys.
        let mut hosts = vec![super::host::parsed("ghcr.io".to_owned()), host];
        hosts.sort();
        let error = DockerConfigError::SeveralEntries(hosts);
        (document.to_string(), error)
    },
    |host| {
        entry_error(host, &json!({}), |host| DockerConfigError::EmptyEntry {
            host,
        })
    },
    |host| {
        entry_error(host, &json!({"identitytoken": CANARY}), |host| {
            DockerConfigError::IdentityToken { host }
        })
    },
    |host| {
        entry_error(host, &json!({"registrytoken": CANARY}), |host| {
            DockerConfigError::RegistryToken { host }
        })
    },
    |host| {
        entry_error(host, &json!({"password": CANARY}), |host| {
            let missing = "username";
            DockerConfigError::Incomplete { host, missing }
        })
    },
    |host| {
        entry_error(host, &json!({"username": "alice"}), |host| {
            let missing = "password";
            DockerConfigError::Incomplete { host, missing }
        })
    },
    |host| {
        let entry = json!({"auth": CANARY_AUTH, "password": format!("{CANARY}2")});
        entry_error(host, &entry, |host| DockerConfigError::Mismatch { host })
    },
    |host| {
        // Four characters more than whole groups, one of them not base64.
        let entry = json!({"auth": format!("{CANARY_AUTH}!==!")});
        entry_error(host, &entry, |_| {
            DockerConfigError::Auth(AuthDefect::NotBase64)
        })
    },
    |host| {
        let entry = json!({"auth": STANDARD.encode(CANARY)});
        entry_error(host, &entry, |_| {
            DockerConfigError::Auth(AuthDefect::NoColon)
        })
    },
    |host| {
        let bytes = [b"alice:", CANARY.as_bytes(), b"\xff"].concat();
        let entry = json!({"auth": STANDARD.encode(bytes)});
        entry_error(host, &entry, |_| {
            DockerConfigError::Auth(AuthDefect::NotUtf8)
        })
    },
    |host| {
        entry_error(host, &json!({"auth": [CANARY]}), |host| {
            DockerConfigError::WrongType {
                path: format!("auths.\"{host}\".auth"),
                expected: "a string",
                found: "an array",
            }
        })
    },
    |host| {
        entry_error(host, &json!({"Password": CANARY}), |_| {
            DockerConfigError::FieldCase {
                field: "password".to_owned(),
            }
        })
    },
    |host| {
        let text = with_entry(&host, &json!({"auth": CANARY_AUTH})).to_string();
        let twice = text.replacen("\"auth\":", &format!("\"auth\":\"{CANARY}\",\"auth\":"), 1);
        let error = DockerConfigError::Duplicate {
            field: "\"auth\"".to_owned(),
            place: format!("auths.\"{host}\""),
        };
        (twice, error)
    },
];

fn entry_error(
    host: RegistryHost,
    entry: &Value,
    error: fn(RegistryHost) -> DockerConfigError,
) -> (String, DockerConfigError) {
    (with_entry(&host, entry).to_string(), error(host))
}

fn with_entry(host: &RegistryHost, entry: &Value) -> Value {
    json!({"auths": {host.as_str(): entry}})
}

/// `base64("alice:" + CANARY)`.
const CANARY_AUTH: &str = "YWxpY2U6YzRuNHJ5LXMzY3IzdC0=";
