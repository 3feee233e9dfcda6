use proptest::prelude::*;

use serde_json::json;

use super::*;
use crate::docker_config::DockerConfig;

#[test]
fn docker_hub_stands_under_the_key_that_all_tools_find() {
    let credential = Credential::new("alice", "hunter2").unwrap();
    let secret = PullSecret::new(&"registry-1.docker.io".parse().unwrap(), &credential);
    assert_eq!(secret.auths_key(), "https://index.docker.io/v1/");
    assert_eq!(
        *secret.expose_docker_config_json(),
        r#"{"auths":{"https://index.docker.io/v1/":{"username":"alice","password":"hunter2","auth":"YWxpY2U6aHVudGVyMg=="}}}"#,
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

#[test]
fn public_and_vendor_registries_need_no_pull_secret() {
    use crate::Authentication;
    for (authentication, reason) in [
        (
            Authentication::Public,
            "the registry needs no pull secret: everybody may pull from it",
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

proptest! {
    /// What goes in comes out, through our reader and through any other JSON reader.
    #[test]
    fn a_pull_secret_is_a_docker_config_again(
        username in "[^:\\p{Cc}]{1,20}", password in "(?s).{1,40}",
    ) {
        let host: RegistryHost = "registry.example.com:5000".parse().unwrap();
        let credential = Credential::new(username.clone(), password.clone()).unwrap();
        let json = PullSecret::new(&host, &credential).expose_docker_config_json();

        let entry = &serde_json::from_str::<Value>(&json).unwrap()["auths"][host.auths_key()];
        prop_assert_eq!(&entry["username"], &json!(username));
        prop_assert_eq!(&entry["password"], &json!(password));
        prop_assert_eq!(&entry["auth"], &json!(STANDARD.encode(format!("{username}:{password}"))));

        // Docker reads NULs at the end as padding, and so do we.
        prop_assume!(!password.ends_with('\0'));
        let config: DockerConfig = json.parse().unwrap();
        prop_assert_eq!(config.host(), &host);
        prop_assert_eq!(config.credential().username(), username);
        prop_assert_eq!(config.credential().expose_password(), password);
    }
}
