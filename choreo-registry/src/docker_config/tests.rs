use proptest::{prelude::*, strategy::ValueTree as _};

use super::*;
use crate::credential::CredentialError;
use crate::strategies;

/// Parses a config whose only entry is for `ghcr.io`.
fn entry(entry: &str) -> Result<(String, String, bool), DockerConfigError> {
    let config: DockerConfig = format!(r#"{{"auths":{{"ghcr.io":{entry}}}}}"#).parse()?;
    let credential = config.credential();
    Ok((
        credential.username().to_owned(),
        credential.expose_password().to_owned(),
        !config.findings().is_empty(),
    ))
}

fn accepted(
    username: &str,
    password: &str,
    repaired: bool,
) -> Result<(String, String, bool), DockerConfigError> {
    Ok((username.to_owned(), password.to_owned(), repaired))
}

fn host() -> RegistryHost {
    "ghcr.io".parse().unwrap()
}

#[test]
fn credentials_are_read_in_every_shape_that_names_one() {
    for (json, username, password, repaired) in [
        (r#"{"auth":"Zm9vOmJhcg=="}"#, "foo", "bar", false),
        (
            r#"{"username":"foo","password":"bar"}"#,
            "foo",
            "bar",
            false,
        ),
        (
            r#"{"username":"foo","password":"bar","auth":"Zm9vOmJhcg=="}"#,
            "foo",
            "bar",
            false,
        ),
        (
            r#"{"username":"foo","auth":"Zm9vOmJhcg=="}"#,
            "foo",
            "bar",
            false,
        ),
        // Docker treats NULs around the password as padding; one inside belongs to it.
        (r#"{"auth":"Zm9vOgBiYXI="}"#, "foo", "bar", true),
        (r#"{"auth":"Zm9vOgAAYmEAcgA="}"#, "foo", "ba\0r", true),
        // Empty strings and nulls count as absent.
        (
            r#"{"username":"","password":"","auth":"Zm9vOmJhcg=="}"#,
            "foo",
            "bar",
            false,
        ),
        (
            r#"{"username":"foo","password":"bar","auth":"","email":null}"#,
            "foo",
            "bar",
            false,
        ),
        // Fields that Docker and kubelets do not know are ignored.
        (
            r#"{"auth":"Zm9vOmJhcg==","email":"a@b","x":[1,{"y":2}]}"#,
            "foo",
            "bar",
            false,
        ),
        // Nodes ignore a token beside a password.
        (
            r#"{"auth":"Zm9vOmJhcg==","identitytoken":"t"}"#,
            "foo",
            "bar",
            true,
        ),
        (
            r#"{"username":"foo","password":"bar","registrytoken":"t"}"#,
            "foo",
            "bar",
            true,
        ),
        // The first colon separates; the unused last bits are ignored.
        (r#"{"auth":"Zm9vOmI6YXI="}"#, "foo", "b:ar", false),
        (r#"{"auth":"Zm9vOmJhch=="}"#, "foo", "bar", false),
        // Kubelets accept missing padding and Docker does not: it is always encoded anew.
        (r#"{"auth":"Zm9vOmJhcg"}"#, "foo", "bar", false),
        (r#"{"auth":"Zm9v\nOmJh\r\ncg=="}"#, "foo", "bar", true),
        (r#"{"auth":" Zm9vOmJhcg==\t"}"#, "foo", "bar", true),
        (r#"{"auth":"Zm9vOj8_Pw=="}"#, "foo", "???", true),
        (r#"{"auth":"Zm9vOmJhcgAA"}"#, "foo", "bar", true),
        (r#"{"auth":"Zm9vOmJhcgo="}"#, "foo", "bar\n", false),
    ] {
        assert_eq!(
            entry(json),
            accepted(username, password, repaired),
            "{json}"
        );
    }
}

#[test]
fn entries_that_cannot_work_are_refused_each_with_its_reason() {
    use DockerConfigError as E;
    let wrong_type = |field: &str, found| E::WrongType {
        path: format!("auths.\"ghcr.io\"{field}"),
        expected: if field.is_empty() {
            "an object"
        } else {
            "a string"
        },
        found,
    };
    let duplicate = |field: &str| E::Duplicate {
        field: field.to_owned(),
        place: "auths.\"ghcr.io\"".to_owned(),
    };
    for (json, error) in [
        ("{}", E::EmptyEntry { host: host() }),
        (
            r#"{"auth":"","username":""}"#,
            E::EmptyEntry { host: host() },
        ),
        (
            r#"{"username":"foo"}"#,
            E::Incomplete {
                host: host(),
                missing: "password",
            },
        ),
        (
            r#"{"password":"bar"}"#,
            E::Incomplete {
                host: host(),
                missing: "username",
            },
        ),
        (
            r#"{"identitytoken":"t"}"#,
            E::IdentityToken { host: host() },
        ),
        // Docker's output for ACR: the null GUID, no password, a token.
        (
            r#"{"auth":"MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==","identitytoken":"t"}"#,
            E::IdentityToken { host: host() },
        ),
        (
            r#"{"registrytoken":"t"}"#,
            E::RegistryToken { host: host() },
        ),
        (
            r#"{"username":"u","registrytoken":"t"}"#,
            E::RegistryToken { host: host() },
        ),
        (
            r#"{"password":"p","identitytoken":"t"}"#,
            E::IdentityToken { host: host() },
        ),
        (
            r#"{"auth":"Zm9vOg==","registrytoken":"t"}"#,
            E::RegistryToken { host: host() },
        ),
        (
            r#"{"auth":"Zm9vOmJhcg==","username":"fo"}"#,
            E::Mismatch { host: host() },
        ),
        (
            r#"{"auth":"Zm9vOmJhcg==","password":"ba"}"#,
            E::Mismatch { host: host() },
        ),
        (r#"{"auth":"Zm9vOmJhcg="}"#, E::Auth(AuthDefect::NotBase64)),
        (
            r#"{"auth":"Zm9vOmJhcg==="}"#,
            E::Auth(AuthDefect::NotBase64),
        ),
        (r#"{"auth":"Zm9v=OmJhcg="}"#, E::Auth(AuthDefect::NotBase64)),
        (r#"{"auth":"hunter2!"}"#, E::Auth(AuthDefect::NotBase64)),
        (r#"{"auth":"Zm9vYmFy"}"#, E::Auth(AuthDefect::NoColon)),
        (r#"{"auth":"Zm9vOv8="}"#, E::Auth(AuthDefect::NotUtf8)),
        (
            r#"{"auth":"OmJhcg=="}"#,
            E::Credential(CredentialError::UsernameEmpty),
        ),
        (
            r#"{"auth":"Zm9vOg=="}"#,
            E::Credential(CredentialError::PasswordEmpty),
        ),
        (
            r#"{"username":"a:b","password":"c"}"#,
            E::Credential(CredentialError::UsernameColon),
        ),
        (r#""x""#, wrong_type("", "a string")),
        ("null", wrong_type("", "null")),
        (
            r#"{"auth":"Zm9vOmJhcg==","email":false}"#,
            wrong_type(".email", "a boolean"),
        ),
        (r#"{"auth":["x"]}"#, wrong_type(".auth", "an array")),
        (r#"{"username":1}"#, wrong_type(".username", "a number")),
        (
            r#"{"auth":"Zm9vOmJhcg==","auth":"Zm9vOmJheg=="}"#,
            duplicate("\"auth\""),
        ),
        (
            r#"{"Auth":"Zm9vOmJhcg=="}"#,
            E::FieldCase {
                field: "auth".to_owned(),
            },
        ),
        (r#"{"x":1,"y":2,"x":3}"#, duplicate("a field")),
        (r#"{"x.y":1,"x.y":3}"#, duplicate("a field")),
        // Half a surrogate pair; the position is that in the whole document.
        (
            r#"{"username":"\ud800","password":"x"}"#,
            E::NotJson {
                line: 1,
                column: 34,
            },
        ),
    ] {
        assert_eq!(entry(json), Err(error), "{json}");
    }
}

#[test]
fn documents_that_are_no_single_login_are_refused_each_with_its_reason() {
    use DockerConfigError as E;
    let duplicate = |field: &str, place: &str| E::Duplicate {
        field: field.to_owned(),
        place: place.to_owned(),
    };
    let wrong_type = |path: &str, expected, found| E::WrongType {
        path: path.to_owned(),
        expected,
        found,
    };
    let login = r#"{"auth":"Zm9vOmJhcg=="}"#;
    for (json, error) in [
        (String::new(), E::Empty),
        (" \n".to_owned(), E::Empty),
        ("{}".to_owned(), E::NoEntry),
        (r#"{"auths":null}"#.to_owned(), E::NoEntry),
        (r#"{"auths":{}}"#.to_owned(), E::NoEntry),
        (
            "null".to_owned(),
            wrong_type("the document", "an object", "null"),
        ),
        (
            "[]".to_owned(),
            wrong_type("the document", "an object", "an array"),
        ),
        (
            r#"{"auths":[]}"#.to_owned(),
            wrong_type("auths", "an object", "an array"),
        ),
        (
            "{\"auths\":\n{,}}".to_owned(),
            E::NotJson { line: 2, column: 2 },
        ),
        ("exhausted!".to_owned(), E::NotJson { line: 1, column: 1 }),
        (
            "eyJhdXRocyI6e319 \n eyJhdXRocyI6e319==".to_owned(),
            E::Base64,
        ),
        ("e3-_".to_owned(), E::Base64),
        (
            r#"{"apiVersion":"v1","kind":"Secret","data":{".dockerconfigjson":"e30="}}"#.to_owned(),
            E::KubernetesManifest,
        ),
        (
            "apiVersion: v1\nkind: Secret\ndata:\n  .dockerconfigjson: e30=\n".to_owned(),
            E::KubernetesManifest,
        ),
        (
            format!(r#"{{"kind":{login}}}"#),
            E::Host("kind".parse::<RegistryHost>().unwrap_err().into_unquoted()),
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io/a":{login},"ghcr.io/b":{login}}}}}"#),
            E::Host("a.b/c".parse::<RegistryHost>().unwrap_err().into_unquoted()),
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login}}}}} x"#),
            E::NotJson {
                line: 1,
                column: 47,
            },
        ),
        (
            format!(r#"{{"ghcr.io":{login},"quay.io":{login},"HttpHeaders":{{"a":"b"}}}}"#),
            E::SeveralEntries(vec![host(), "quay.io".parse().unwrap()]),
        ),
        (
            r#"{"HttpHeaders":{"a":"b"},"ghcr.io":"x"}"#.to_owned(),
            E::NoEntry,
        ),
        (format!(r#"{{"auths":null,"ghcr.io":{login}}}"#), E::NoEntry),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login}}},"credsStore":"desktop"}}"#),
            E::CredsStore,
        ),
        (
            r#"{"auths":{"ghcr.io":{}},"credsStore":"desktop"}"#.to_owned(),
            E::CredsStore,
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login}}},"credsStore":{{}}}}"#),
            wrong_type("credsStore", "a string", "an object"),
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login}}},"credHelpers":{{"gcr.io":"gcloud"}}}}"#),
            E::CredHelpers(vec!["gcr.io".parse().unwrap()]),
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login},"https://quay.io":{login}}}}}"#),
            E::SeveralEntries(vec![host(), "quay.io".parse().unwrap()]),
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login},"ghcr.io":{login}}}}}"#),
            duplicate("\"ghcr.io\"", "auths"),
        ),
        (
            format!(r#"{{"auths":{{}},"auths":{{"ghcr.io":{login}}}}}"#),
            duplicate("\"auths\"", "the document"),
        ),
        (
            r#"{"x":1,"x":2}"#.to_owned(),
            duplicate("a field", "the document"),
        ),
        (
            format!(r#"{{"Auths":{{"ghcr.io":{login}}}}}"#),
            E::FieldCase {
                field: "auths".to_owned(),
            },
        ),
        (
            format!("{{\"auths\":{{}}}}{}", " ".repeat(MAX_LEN)),
            E::TooLarge,
        ),
    ] {
        assert_eq!(
            json.parse::<DockerConfig>().unwrap_err(),
            error,
            "{json:.80}"
        );
    }
}

#[test]
fn a_document_in_an_old_or_odd_form_is_converted_with_a_finding() {
    use Code::{DockerConfigConverted as Converted, DockerConfigRepaired as Repaired};

    let codes = |json: &str| -> Result<Vec<Code>, DockerConfigError> {
        let config: DockerConfig = json.parse()?;
        assert_eq!(config.host(), &host());
        assert_eq!(config.credential().username(), "foo");
        assert_eq!(config.credential().expose_password(), "bar");
        Ok(config.findings().iter().map(Finding::code).collect())
    };
    let login = r#"{"auth":"Zm9vOmJhcg=="}"#;
    let config = format!(r#"{{"auths":{{"ghcr.io":{login}}}}}"#);
    let dockercfg = format!(r#"{{"https://ghcr.io/v2/":{login}}}"#);
    assert_eq!(codes(&config), Ok(vec![]));
    assert_eq!(codes(&format!("\u{feff}{config}\n")), Ok(vec![Repaired]));
    assert_eq!(codes(&dockercfg), Ok(vec![Converted]));
    assert_eq!(
        codes(&format!("\u{feff}{}", dockercfg.replace("bXI", "bX\\nI"))),
        Ok(vec![Repaired, Converted])
    );
    // Fields beside the entries of a .dockercfg are ignored.
    let beside = dockercfg.replacen('{', r#"{"HttpHeaders":{"a":"b"},"experimental":true,"#, 1);
    assert_eq!(codes(&beside), Ok(vec![Converted]));
    // Only one byte order mark is removed.
    assert_eq!(
        codes(&format!("\u{feff}\u{feff}{config}")),
        Err(DockerConfigError::NotJson { line: 1, column: 1 })
    );
}

#[test]
fn findings_say_what_was_put_right() {
    let messages = |json: &str| -> Vec<String> {
        let config: DockerConfig = json.parse().unwrap();
        config.findings().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        messages("\u{feff}{\"ghcr.io\":{\"auth\":\"Zm9v\\nOmJhcg==\"}}"),
        [
            "info: the docker config began with a byte order mark: it is written afresh here; \
             kubelets cannot read the original, save it as UTF-8 without one \
             (docker-config-repaired)",
            "info: the docker config was a .dockercfg: entries without \"auths\": it is written \
             afresh here; in a Secret of type kubernetes.io/dockerconfigjson, kubelets find no \
             credential in the original (docker-config-converted)",
            "info: the docker config's \"auth\" was no clean base64: it is written afresh here; \
             tools differ in what they make of the original (docker-config-repaired)",
        ],
    );
    assert_eq!(
        messages(r#"{"auths":{"ghcr.io":{"auth":"Zm9vOmJhcg==","identitytoken":"t"}}}"#),
        [
            "info: the docker config held a token beside the user name and the password: the \
             password is used here, as nodes do, while Docker and Podman prefer the token: check \
             which password is valid (docker-config-converted)",
        ],
    );
    assert_eq!(
        messages(r#"{"auths":{"acme.azurecr.io":{"identitytoken":"t"}}}"#),
        [
            "info: the docker config held an identity token of az acr login, which nodes do not \
             understand: it is used as a password here, as ACR allows; it expires after about 3 \
             hours, so enter a service principal or a repository token instead \
             (docker-config-converted)",
        ],
    );
}

/// <https://learn.microsoft.com/azure/container-registry/container-registry-authentication>
#[test]
fn an_identity_token_of_acr_becomes_a_password_and_no_other_does() {
    const GUID: &str = "00000000-0000-0000-0000-000000000000";
    let as_docker_writes_it =
        r#"{"auth":"MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==","identitytoken":"t"}"#;
    let read = |host: &str, entry: &str| -> Result<(String, String), DockerConfigError> {
        let config: DockerConfig = format!(r#"{{"auths":{{"{host}":{entry}}}}}"#).parse()?;
        assert_eq!(config.findings().len(), 1);
        let credential = config.credential();
        Ok((
            credential.username().to_owned(),
            credential.expose_password().to_owned(),
        ))
    };
    for (entry, is_converted) in [
        (as_docker_writes_it, true),
        (r#"{"identitytoken":"t"}"#, true),
        (r#"{"auth":"Og==","identitytoken":"t"}"#, true),
        (
            r#"{"username":"00000000-0000-0000-0000-000000000000","identitytoken":"t"}"#,
            true,
        ),
        (r#"{"username":"alice","identitytoken":"t"}"#, false),
        (r#"{"password":"p","identitytoken":"t"}"#, false),
    ] {
        let acr = read("acme.azurecr.io", entry);
        if is_converted {
            assert_eq!(acr, Ok((GUID.to_owned(), "t".to_owned())), "{entry}");
        } else {
            assert!(
                matches!(acr, Err(DockerConfigError::IdentityToken { .. })),
                "{entry}"
            );
        }
        let other = read("registry.example.com", entry);
        assert!(
            matches!(other, Err(DockerConfigError::IdentityToken { .. })),
            "{entry}"
        );
    }
}

/// Docker Hub's device login writes three keys, only one of which is a registry's.
#[test]
fn one_registry_under_several_keys_is_one_entry() {
    let hub = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "Zm9vOmJhcg=="},
        "https://index.docker.io/v1/access-token": {"auth": "Zm9vOmV5SngueQ=="},
        "https://index.docker.io/v1/refresh-token": {"auth": "Zm9vOnYxLmFiYw=="}
    }}"#;
    for document in [
        hub,
        &hub.replace("\n", "")
            .replacen("https://index.docker.io/v1/\"", "docker.io\"", 1),
    ] {
        let config: DockerConfig = document.parse().unwrap();
        assert_eq!(config.host().as_str(), "docker.io");
        assert_eq!(config.credential().expose_password(), "bar");
    }
    let spelt = |second: &str| {
        let document = format!(
            r#"{{"auths":{{"ghcr.io":{{"auth":"Zm9vOmJhcg=="}},"https://ghcr.io":{second}}}}}"#
        );
        let chosen = DockerConfig::for_host(&document, &"ghcr.io".parse().unwrap());
        let parsed = document.parse::<DockerConfig>();
        assert_eq!(chosen.as_ref().err(), parsed.as_ref().err());
        parsed
    };
    let same = spelt(r#"{"auth":"Zm9vOmJhcg=="}"#).unwrap();
    assert_eq!(same.credential().username(), "foo");
    assert_eq!(
        spelt(r#"{"auth":"Zm9vOmJheg=="}"#).unwrap_err().to_string(),
        "docker config has several entries for \"ghcr.io\" under \"auths\", in different spellings: \
         keep one"
    );
    // Its own tokens alone are not an entry.
    let side = r#"{"auths":{"https://index.docker.io/v1/refresh-token":{"auth":"Zm9vOmJhcg=="}}}"#;
    assert_eq!(
        side.parse::<DockerConfig>().unwrap_err(),
        DockerConfigError::NoEntry
    );
}

#[test]
fn one_of_several_entries_can_be_chosen() {
    use DockerConfigError as E;
    let document = r#"{"auths": {
        "ghcr.io": {"auth": "Zm9vOmJhcg=="},
        "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
        "https://index.docker.io/v1/refresh-token": {},
        "quay.io": {"auth": false},
        "r.example": {"auth": "Zm9vOmJhcg=="},
        "https://r.example": {"auth": "Zm9vOmJheg=="}
    }}"#;
    let parsed = |text: &str| text.parse::<RegistryHost>().unwrap();
    let chosen = |name: &str| DockerConfig::for_host(document, &parsed(name));
    let hosts = ["ghcr.io", "docker.io", "quay.io", "r.example"].map(parsed);

    let error = document.parse::<DockerConfig>().unwrap_err();
    assert_eq!(error.hosts(), hosts);
    assert_eq!(error, E::SeveralEntries(hosts.to_vec()));

    assert_eq!(chosen("ghcr.io").unwrap().credential().username(), "foo");
    let hub = chosen("registry-1.docker.io").unwrap();
    assert_eq!(hub.credential().username(), "hub");
    assert_eq!(hub.host().as_str(), "docker.io");
    assert!(matches!(
        chosen("quay.io").unwrap_err(),
        E::WrongType { .. }
    ));
    assert_eq!(
        chosen("r.example").unwrap_err(),
        E::SeveralSpellings {
            host: parsed("r.example")
        }
    );
    let error = chosen("other.example").unwrap_err();
    assert_eq!(error.hosts(), hosts);
    assert_eq!(
        error,
        E::NoEntryFor {
            host: parsed("other.example"),
            others: hosts.to_vec()
        }
    );
    assert_eq!(E::NoEntry.hosts(), []);
    assert_eq!(
        DockerConfig::for_host(r#"{"auths":{}}"#, &host()).unwrap_err(),
        E::NoEntry
    );
    let path = r#"{"auths":{"quay.io":{},"ghcr.io/acme":{}}}"#;
    let no_host = "a.b/c".parse::<RegistryHost>().unwrap_err();
    assert_eq!(
        DockerConfig::for_host(path, &host()).unwrap_err(),
        E::Host(no_host.into_unquoted())
    );
    let helpers = document.replacen('{', r#"{"credHelpers":{"x.example":"y"},"#, 1);
    assert_eq!(
        DockerConfig::for_host(&helpers, &host()).unwrap_err(),
        E::CredHelpers(vec![parsed("x.example")])
    );
}

/// Go ignores the case of names, also for two letters beyond ASCII.
#[test]
fn names_that_go_would_take_for_known_ones_are_refused() {
    for (document, field) in [
        (r#"{"AUTHS":{}}"#, "auths"),
        (r#"{"auth\u017f":{}}"#, "auths"),
        (r#"{"credsſtore":"x"}"#, "credsStore"),
        (
            r#"{"auths":{"ghcr.io":{"identityto\u212aen":"x"}}}"#,
            "identitytoken",
        ),
        (r#"{"auths":{"ghcr.io":{"paſsword":"x"}}}"#, "password"),
    ] {
        assert_eq!(
            document.parse::<DockerConfig>().unwrap_err(),
            DockerConfigError::FieldCase {
                field: field.to_owned()
            },
            "{document}"
        );
    }
}

/// The time to parse a document of the maximum size depends only on its length.
#[test]
fn many_names_are_no_trap() {
    let names: Vec<String> = (0..60_000).map(|i| format!("\"a{i}.x\":{{}}")).collect();
    let document = format!(r#"{{"auths":{{{}}}}}"#, names.join(","));
    assert!(document.len() < MAX_LEN);
    let began = std::time::Instant::now();
    let error = document.parse::<DockerConfig>().unwrap_err();
    assert_eq!(error.hosts().len(), 60_000);
    assert!(began.elapsed().as_secs() < 10);
}

#[test]
fn unset_helpers_and_unknown_fields_do_no_harm() {
    let config: DockerConfig = r#"{
        "auths": {"https://index.docker.io/v1/": {"auth": "Zm9vOmJhcg=="}},
        "HttpHeaders": {"User-Agent": "Docker-Client"},
        "credsStore": "",
        "credHelpers": {},
        "plugins": {"debug": {"hooks": "exec"}},
        "pruneFilters": ["a"]
    }
    "#
    .parse()
    .unwrap();
    assert!(config.host().is_docker_hub());
}

#[test]
fn keys_are_hosts_in_any_spelling() {
    for (key, expected) in [
        ("ghcr.io", Some("ghcr.io")),
        ("https://GHCR.io/v2/", Some("ghcr.io")),
        ("index.docker.io/v1/", Some("docker.io")),
        (
            "registry.example.com:5000",
            Some("registry.example.com:5000"),
        ),
        ("ghcr.io/acme", None),
        ("*.azurecr.io", None),
        ("alice:hunter2@ghcr.io", None),
    ] {
        let json = format!(r#"{{"auths":{{"{key}":{{"auth":"Zm9vOmJhcg=="}}}}}}"#);
        let config = json.parse::<DockerConfig>();
        assert_eq!(
            config.as_ref().ok().map(|c| c.host().as_str()),
            expected,
            "{key}"
        );
        if let Err(error) = config {
            assert!(matches!(error, DockerConfigError::Host(_)), "{key}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}

/// Returns the results of both paths for a document that the fast path reads.
fn both_ways(document: &str) -> Option<[(RegistryHost, String, String, usize); 2]> {
    let short = DockerConfig::read_plain(document)?;
    let long = DockerConfig::read_only(document).unwrap();
    Some([short, long].map(|config| {
        (
            config.host().clone(),
            config.credential().username().to_owned(),
            config.credential().expose_password().to_owned(),
            config.findings().len(),
        )
    }))
}

proptest! {
    #[test]
    fn the_short_way_leads_where_the_long_one_does(
        document in strategies::docker_config_text(),
        broken in strategies::broken_docker_config(),
    ) {
        if let Some([short, long]) = both_ways(&document) {
            prop_assert_eq!(short, long);
        }
        prop_assert!(both_ways(&broken.0).is_none(), "{}", broken.0);
    }

    /// One byte more, less or different: finds errors in the grammar.
    #[test]
    fn the_short_way_is_no_wider(
        document in strategies::docker_config_text(),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(&br#"{}:,"\ unbx0"#[..]),
        change in 0..3,
    ) {
        let mut bytes = document.into_bytes();
        let at = at.index(bytes.len());
        match change {
            0 => bytes.insert(at, byte),
            1 => bytes[at] = byte,
            _ => { bytes.remove(at); }
        }
        if let Ok(changed) = String::from_utf8(bytes)
            && let Some([short, long]) = both_ways(&changed)
        {
            prop_assert_eq!(short, long);
        }
    }
}

/// The fast path reads what the strategies write, so the properties above compare something.
#[test]
fn many_documents_take_the_short_way() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let taken = (0..200).filter(|_| {
        let document = strategies::docker_config_text()
            .new_tree(&mut runner)
            .unwrap();
        both_ways(&document.current()).is_some()
    });
    let taken = taken.count();
    assert!(taken > 20, "{taken}");
}

#[test]
fn a_document_may_be_as_large_as_a_secret() {
    let usual = r#"{"auths":{"ghcr.io":{"auth":"dTpw"}}}"#;
    let unusual = r#"{"auths":{"ghcr.io":{"auth":"dTpw"}},"more":1}"#;
    for document in [usual, unusual] {
        let largest = document.to_owned() + &" ".repeat(1024 * 1024 - document.len());
        assert!(largest.parse::<DockerConfig>().is_ok());
        let error = (largest + " ").parse::<DockerConfig>().unwrap_err();
        assert!(matches!(error, DockerConfigError::TooLarge), "{error}");
    }
}
