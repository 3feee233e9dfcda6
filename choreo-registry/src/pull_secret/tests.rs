use proptest::prelude::*;

use serde_json::json;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::docker_config::DockerConfig;

#[test]
fn docker_hub_stands_under_the_key_that_all_tools_find() {
    let credential = Credential::new("alice", "hunter2").unwrap();
    let secret = PullSecret::new(&"registry-1.docker.io".parse().unwrap(), &credential);
    assert_eq!(secret.auths_key(), "https://index.docker.io/v1/");
    assert_eq!(
        secret.expose_docker_config_json(),
        r#"{"auths":{"https://index.docker.io/v1/":{"username":"alice","password":"hunter2","auth":"YWxpY2U6aHVudGVyMg=="}}}"#,
    );
}

/// A growing buffer leaves a copy behind that is not overwritten.
#[test]
fn memory_is_as_large_as_what_is_written() {
    for username in (1..6).map(|len| "u".repeat(len)) {
        for password in (1..8).map(|len| "p".repeat(len)) {
            let credential = Credential::new(&*username, password).unwrap();
            let basic = credential.expose_basic();
            assert_eq!(basic.capacity(), basic.len());

            let host = "ghcr.io".parse().unwrap();
            let secret = PullSecret::new(&host, &credential);
            let json = &secret.docker_config_json;
            assert_eq!(json.capacity(), json.as_str().len());
            let data = secret.expose_data();
            assert_eq!(data.capacity(), data.len());

            let images = ["GHCR.io:443/a", "ghcr.io:443/a"].map(|image| image.parse().unwrap());
            let secret = secret.with_spellings_of(&images).unwrap();
            let json = &secret.docker_config_json;
            assert_eq!(json.capacity(), json.as_str().len());
            assert_eq!(secret.keys().len(), 3);
        }
    }
    // An escaped text is longer than the original, and never longer than the reserved capacity.
    let credential = Credential::new("<&>\u{2028}", "\"\\\n\u{1}\u{2029}\u{2027}").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let json = &secret.docker_config_json;
    // Six bytes are reserved for each byte that may need them: too many for these.
    let (quotes, separators, other) = (3 * 4, 2 * 2, 5);
    assert_eq!(
        json.capacity() - json.as_str().len(),
        quotes + separators + other
    );
}

#[test]
fn the_manifest_is_a_secret_that_kubernetes_accepts() {
    let credential = Credential::new("alice", "hunter2").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let metadata = SecretMetadata::new("images")
        .and_then(|m| m.with_namespace("apps"))
        .and_then(|m| m.with_label("app.kubernetes.io/managed-by", "choreo"))
        .and_then(|m| m.with_annotation("choreo.example/registry", "Our images"))
        .unwrap();
    let expected = |data: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "images",
                "namespace": "apps",
                "labels": {"app.kubernetes.io/managed-by": "choreo"},
                "annotations": {"choreo.example/registry": "Our images"},
            },
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": data},
        })
    };
    let data = STANDARD.encode(secret.expose_docker_config_json().as_bytes());
    assert_eq!(secret.expose_manifest(&metadata), expected(&data));
    assert_eq!(
        secret.redacted_manifest(&metadata),
        expected("<redacted: user name \"alice\" and a password for \"ghcr.io\">"),
    );
    assert_eq!(
        format!("{secret:?}"),
        "PullSecret { keys: [\"ghcr.io\"], username: \"alice\", .. }",
    );
}

/// As DigitalOcean's tool writes it.
#[test]
fn a_token_that_is_the_user_name_as_well_is_not_shown() {
    let token = "dop_v1_0123456789";
    let credential = Credential::new(token, token).unwrap();
    let secret = PullSecret::new(&"registry.digitalocean.com".parse().unwrap(), &credential);
    let metadata = SecretMetadata::new("images").unwrap();
    assert!(secret.expose_docker_config_json().contains(token));
    assert_eq!(
        secret.redacted_manifest(&metadata)["data"][".dockerconfigjson"],
        "<redacted: user name \"[redacted]\" and a password for \"registry.digitalocean.com\">",
    );
    assert!(!format!("{secret:?}").contains(token));
}

#[test]
fn further_spellings_get_entries_and_other_registries_none() {
    let secret = || {
        let credential = Credential::new("alice", "hunter2").unwrap();
        PullSecret::new(&"docker.io".parse().unwrap(), &credential)
    };
    let images = |names: &[&str]| -> Vec<ImageReference> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    };
    let same = images(&["nginx", "index.docker.io/a/b"]);
    assert_eq!(
        secret().with_spellings_of(&same).unwrap().keys(),
        ["https://index.docker.io/v1/"]
    );
    let spelled = images(&[
        "registry-1.docker.io/a/b:1",
        "docker.io:443/a/b",
        "registry-1.docker.io/c",
        "DOCKER.io/a/b",
    ]);
    let secret_of_all = secret().with_spellings_of(&spelled).unwrap();
    assert_eq!(
        secret_of_all.keys(),
        [
            "DOCKER.io",
            "docker.io:443",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
        ]
    );
    assert_eq!(secret_of_all.auths_key(), "https://index.docker.io/v1/");
    let entry = r#"{"username":"alice","password":"hunter2","auth":"YWxpY2U6aHVudGVyMg=="}"#;
    assert_eq!(
        secret_of_all.expose_docker_config_json(),
        format!(
            "{{\"auths\":{{\"DOCKER.io\":{entry},\"docker.io:443\":{entry},\
             \"https://index.docker.io/v1/\":{entry},\"registry-1.docker.io\":{entry}}}}}"
        )
    );
    assert_eq!(
        secret_of_all.docker_config_len(),
        secret_of_all.expose_docker_config_json().len()
    );
    // All spellings in upper and lower case together exceed 1 MiB; some of them fit.
    let credential = Credential::new("alice", "x".repeat(16 * 1024)).unwrap();
    let host: RegistryHost = "abcdefgh.example".parse().unwrap();
    let upper = |bits: usize| {
        let name = "abcdefgh".char_indices().map(|(index, letter)| {
            let is_upper = bits >> index & 1 == 1;
            if is_upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        });
        let image = format!("{}.example/a", name.collect::<String>());
        image.parse::<ImageReference>().unwrap()
    };
    // Each entry has 16,384 + 21,856 bytes and some 80 more; 27 of them fit.
    let all: Vec<_> = (0..28).map(upper).collect();
    let secret = || PullSecret::new(&host, &credential);
    let most = secret().with_spellings_of(&all[..27]).unwrap();
    assert!(most.expose_docker_config_json().len() <= 1024 * 1024);
    let error = secret().with_spellings_of(&all).unwrap_err();
    assert_eq!(error, PullSecretError::TooLarge);
    assert_eq!(
        error.to_string(),
        "pull secret is larger than 1 MiB with an entry for each spelling: spell the registry in \
         one way"
    );
}

#[test]
fn annotations_have_room_for_256_kib_together() {
    let with = |len: usize| {
        let metadata = SecretMetadata::new("a")?.with_annotation("a", "v")?;
        metadata.with_annotation("b", "x".repeat(len))
    };
    assert!(with(256 * 1024 - 3).is_ok());
    assert_eq!(
        with(256 * 1024 - 2).unwrap_err().to_string(),
        "annotations of a Secret are larger than 256 KiB with \"b\": shorten it or leave it out"
    );
}

/// The buffers are not reallocated, which would leave copies of the secret: a debug assertion in
/// the writer checks it.
#[test]
fn every_format_says_the_same() {
    let credential = Credential::new("a<b>", "p\"\u{2028}").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let control = "\u{1}".repeat(500);
    let metadata = SecretMetadata::new("images")
        .and_then(|m| m.with_namespace("yes"))
        .and_then(|m| m.with_label("a.example/b", "1.0"))
        .and_then(|m| m.with_label("c", ""))
        .and_then(|m| m.with_annotation("d", "x: y\n\u{7f}"))
        .and_then(|m| m.with_annotation("e", control.clone()))
        .unwrap();
    let value = secret.expose_manifest(&metadata);
    for format in [Format::Json, Format::KubectlJson] {
        let text = secret.expose_text(&metadata, format);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.ends_with("}\n"));
    }
    let data = STANDARD.encode(secret.expose_docker_config_json().as_bytes());
    let control = "\\u0001".repeat(500);
    assert_eq!(
        *secret.expose_text(&metadata, Format::Yaml),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: images\n  namespace: \"yes\"\n  \
             labels:\n    a.example/b: \"1.0\"\n    c: \"\"\n  annotations:\n    \
             d: \"x: y\\n\\u007f\"\n    e: \"{control}\"\n\
             type: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: {data}\n"
        )
    );
    assert_eq!(
        *secret.expose_text(&metadata, Format::KubectlYaml),
        format!(
            "apiVersion: v1\ndata:\n  .dockerconfigjson: {data}\nkind: Secret\nmetadata:\n  \
             annotations:\n    d: \"x: y\\n\\u007f\"\n    e: \"{control}\"\n  \
             labels:\n    a.example/b: \"1.0\"\n    c: \"\"\n  name: images\n  \
             namespace: \"yes\"\ntype: kubernetes.io/dockerconfigjson\n"
        )
    );
}

#[test]
fn public_and_vendor_registries_need_no_pull_secret() {
    use crate::Authentication;
    for (authentication, reason) in [
        (
            Authentication::Public,
            "the registry needs no pull secret: anyone may pull from it",
        ),
        (
            Authentication::Vendor,
            "the registry needs no pull secret: the data plane's nodes have access of their own",
        ),
    ] {
        let host = "acme.azurecr.io".parse().unwrap();
        let registry = ContainerRegistry::new("ACR", host, authentication).unwrap();
        let none = PullSecret::for_registry(&registry).unwrap_err();
        assert_eq!(none.to_string(), reason);
    }
}

#[test]
fn metadata_is_checked_as_the_api_server_checks_it() {
    let long = "a".repeat(254);
    for (name, accepted) in [
        ("a", true),
        ("a.b-c.0", true),
        (&long[1..], true),
        (&long, false),
        ("", false),
        ("a..b", false),
        ("a.-b", false),
        ("A", false),
        ("a_b", false),
    ] {
        assert_eq!(SecretMetadata::new(name).is_ok(), accepted, "{name}");
    }
    let metadata = || SecretMetadata::new("a").unwrap();
    for (namespace, accepted) in [
        ("apps", true),
        ("a.b", false),
        (&long[..63], true),
        (&long[..64], false),
    ] {
        assert_eq!(
            metadata().with_namespace(namespace).is_ok(),
            accepted,
            "{namespace}"
        );
    }
    for (key, value, accepted) in [
        ("a", "", true),
        ("A_b.c", "x.Y-z_0", true),
        ("example.com/a", "v", true),
        ("Example.com/a", "v", false),
        ("example.com/", "v", false),
        ("a/b/c", "v", false),
        ("", "v", false),
        ("a", "-v", false),
        ("a", "a b", false),
        ("a", &long[..64], false),
    ] {
        assert_eq!(
            metadata().with_label(key, value).is_ok(),
            accepted,
            "{key}={value}"
        );
    }
    assert!(
        metadata()
            .with_annotation("Example.com/a", "any text\n")
            .is_ok()
    );
    assert!(metadata().with_annotation("a b", "x").is_err());
}

/// kubectl does not read this name as a number, but others may.
#[test]
fn only_kubectl_s_own_bytes_leave_doubtful_names_plain() {
    let credential = Credential::new("alice", "hunter2").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let metadata = SecretMetadata::new("1e999").unwrap();
    let yaml = |format| secret.expose_text(&metadata, format);
    assert!(yaml(Format::KubectlYaml).contains("\n  name: 1e999\n"));
    assert!(yaml(Format::Yaml).contains("\n  name: \"1e999\"\n"));
}

/// A reallocated buffer would leave the secret behind, and one for all cases would be too large.
#[test]
fn a_manifest_fits_its_first_buffer_and_not_much_less() {
    let credential = Credential::new("alice", "x".repeat(3000)).unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let (short, long) = ("x", "y".repeat(63));
    let names = [(short, &*long), (&*long, short), (&*long, &*long)];
    for (name, namespace) in names {
        let plain = SecretMetadata::new(name).unwrap();
        let plain = plain.with_namespace(namespace).unwrap();
        let label = plain.clone().with_label("team", "apps").unwrap();
        let annotation = label
            .clone()
            .with_annotation("note", "\u{1}".repeat(1000))
            .unwrap();
        for metadata in [plain, label, annotation] {
            for format in [
                Format::Json,
                Format::Yaml,
                Format::KubectlJson,
                Format::KubectlYaml,
            ] {
                let text = secret.expose_text(&metadata, format);
                let (capacity, len) = (text.capacity(), text.len());
                assert!(
                    capacity < 2 * len + 2048,
                    "{capacity} for {len}: {format:?}"
                );
            }
        }
    }
}

proptest! {
    /// Our reader and any other JSON reader return what was put in.
    #[test]
    fn a_pull_secret_is_a_docker_config_again(
        username in "[^:\\p{Cc}]{1,20}", password in "(?s).{1,40}",
    ) {
        prop_assume!(password.trim_matches('\0') == password);
        let host: RegistryHost = "registry.example.com:5000".parse().unwrap();
        let credential = Credential::new(username.clone(), password.clone()).unwrap();
        let secret = PullSecret::new(&host, &credential);
        let json = secret.expose_docker_config_json();

        let entry = &serde_json::from_str::<Value>(json).unwrap()["auths"][host.auths_key()];
        prop_assert_eq!(&entry["username"], &json!(username));
        prop_assert_eq!(&entry["password"], &json!(password));
        prop_assert_eq!(&entry["auth"], &json!(STANDARD.encode(format!("{username}:{password}"))));

        let config: DockerConfig = json.parse().unwrap();
        prop_assert_eq!(config.host(), &host);
        prop_assert_eq!(config.credential().username(), username);
        prop_assert_eq!(config.credential().expose_password(), password);
    }
}

#[test]
fn a_secret_may_have_exactly_what_kubernetes_allows() {
    // 63 entries of 16,632 bytes, their keys, and the text around them: 1 MiB with 14 ports.
    let password = "\"".repeat(4) + &"p".repeat(7104);
    let secret = || {
        let credential = Credential::new("u", &*password).unwrap();
        PullSecret::new(&"ghcr.io".parse().unwrap(), &credential)
    };
    let spellings = |ports: usize| -> Vec<ImageReference> {
        let names = (1..63_u32).map(|bits| {
            let name = "ghcr.io".char_indices().map(|(at, letter)| {
                let bit = at - usize::from(at > 4);
                if at != 4 && bits >> bit & 1 == 1 {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            });
            name.collect::<String>()
        });
        let names: std::collections::BTreeSet<String> = names.collect();
        let with_ports = names.iter().map(|name| format!("{name}:443"));
        let with_ports: Vec<String> = with_ports.take(ports).collect();
        let plain = names.into_iter().filter(|name| name != "ghcr.io");
        with_ports
            .into_iter()
            .chain(plain)
            .take(62)
            .map(|name| format!("{name}/a").parse().unwrap())
            .collect()
    };
    let largest = secret().with_spellings_of(&spellings(14)).unwrap();
    assert_eq!(largest.keys().len(), 63);
    assert_eq!(largest.expose_docker_config_json().len(), 1024 * 1024);
    let error = secret().with_spellings_of(&spellings(15)).unwrap_err();
    assert!(matches!(error, PullSecretError::TooLarge), "{error}");
}
