use super::*;
use crate::credential::CredentialError;

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
        // Empty strings and nulls are absent.
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
        // What Docker and kubelets do not know is ignored.
        (
            r#"{"auth":"Zm9vOmJhcg==","email":"a@b","x":[1,{"y":2}]}"#,
            "foo",
            "bar",
            false,
        ),
        // A token beside a password does no harm.
        (
            r#"{"auth":"Zm9vOmJhcg==","identitytoken":"t"}"#,
            "foo",
            "bar",
            false,
        ),
        (
            r#"{"username":"foo","password":"bar","identitytoken":"t"}"#,
            "foo",
            "bar",
            false,
        ),
        // The first colon divides; the last bits are nobody's.
        (r#"{"auth":"Zm9vOmI6YXI="}"#, "foo", "b:ar", false),
        (r#"{"auth":"Zm9vOmJhch=="}"#, "foo", "bar", false),
        // No padding is what kubelets accept and Docker does not: it is written anew anyway.
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
        // What Docker writes for ACR: the null GUID, no password, a token.
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
            E::Duplicate {
                field: "\"auth\"".to_owned(),
                place: "auths.\"ghcr.io\"".to_owned(),
            },
        ),
        (
            r#"{"Auth":"Zm9vOmJhcg=="}"#,
            E::FieldCase {
                field: "auth".to_owned(),
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
            format!("\u{feff}{{\"auths\":{{\"ghcr.io\":{login}}}}}"),
            E::ByteOrderMark,
        ),
        (
            "{\"auths\":\n{,}}".to_owned(),
            E::NotJson { line: 2, column: 2 },
        ),
        (
            format!(r#"{{"auths":{{"ghcr.io":{login}}}}} x"#),
            E::NotJson {
                line: 1,
                column: 47,
            },
        ),
        (format!(r#"{{"ghcr.io":{login}}}"#), E::LegacyFormat),
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

#[test]
fn messages_say_what_to_do() {
    let hosts = |count: usize| {
        (0..count)
            .map(|i| format!("r{i}.example").parse().unwrap())
            .collect::<Vec<_>>()
    };
    for (error, message) in [
        (
            DockerConfigError::SeveralEntries(hosts(2)),
            "docker config has several entries under \"auths\" (r0.example, r1.example): keep the \
             one of this registry",
        ),
        (
            DockerConfigError::SeveralEntries(hosts(7)),
            "docker config has several entries under \"auths\" (r0.example, r1.example, \
             r2.example, r3.example, r4.example and 2 more): keep the one of this registry",
        ),
        (
            DockerConfigError::CredHelpers(Vec::new()),
            "docker config names credential helpers (\"credHelpers\"): nodes cannot run them, \
             remove \"credHelpers\" and give the one registry's credential under \"auths\"",
        ),
        (
            DockerConfigError::EmptyEntry { host: host() },
            "docker config has an empty entry for \"ghcr.io\": the password is in a credential \
             store of the machine it comes from, enter user name and password instead",
        ),
        (
            DockerConfigError::Auth(AuthDefect::NotBase64),
            "docker config has an \"auth\" that is not base64: paste it anew, or give \
             \"username\" and \"password\"",
        ),
        (
            DockerConfigError::Credential(CredentialError::UsernameEmpty),
            "docker config cannot be used: user name is empty: enter the name that goes with the \
             password or token",
        ),
        (
            r#"{"auths":{"ghcr.io/acme":{"auth":"Zm9vOmJhcg=="}}}"#
                .parse::<DockerConfig>()
                .unwrap_err(),
            "docker config has a key under \"auths\" that names no host: invalid registry host: a \
             host has no path: write the host alone, the rest belongs to the image",
        ),
        (
            DockerConfigError::IdentityToken { host: host() },
            "docker config has only an identity token for \"ghcr.io\", which nodes do not \
             understand: enter user name and password instead",
        ),
        (
            DockerConfigError::RegistryToken { host: host() },
            "docker config has only a registry token for \"ghcr.io\", which nodes do not \
             understand: enter user name and password instead",
        ),
        (
            DockerConfigError::Incomplete {
                host: host(),
                missing: "password",
            },
            "docker config has no \"password\" for \"ghcr.io\": add it, or \"auth\"",
        ),
        (
            DockerConfigError::Mismatch { host: host() },
            "docker config has an \"auth\" for \"ghcr.io\" that disagrees with \"username\" and \
             \"password\": remove the outdated one",
        ),
        (
            DockerConfigError::LegacyFormat,
            "docker config has the old .dockercfg format: wrap it, {\"auths\": …}, or paste \
             config.json",
        ),
        (
            DockerConfigError::ByteOrderMark,
            "docker config begins with a byte order mark: save it as UTF-8 without one",
        ),
        (
            DockerConfigError::NotJson { line: 3, column: 5 },
            "docker config is not JSON: see line 3, column 5",
        ),
        (
            DockerConfigError::Duplicate {
                field: "\"auth\"".to_owned(),
                place: "auths".to_owned(),
            },
            "docker config has \"auth\" twice in auths: tools disagree on which counts, keep one",
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
}
