//! Compares pull secrets with those of kubectl for the same login, and reads our manifests with it.

use std::process::Command;

use choreo_registry::pull_secret::{Format, SecretMetadata};
use choreo_registry::{Credential, PullSecret};
use serde_json::Value;

use crate::{installed, run};

/// Hosts, user names and passwords in the form of each vendor, and some that need quoting.
fn logins() -> Vec<(&'static str, &'static str, String)> {
    let key = "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE \
               KEY-----\\nMIIE+/=\\n-----END PRIVATE KEY-----\\n\",\n  \"client_email\": \
               \"a@b.example\"\n}\n";
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let guid = "00000000-0000-0000-0000-000000000000";
    let token = "eyJhbGciOiJSUzI1NiJ9.".repeat(120);
    [
        ("acme.azurecr.io", guid, token.as_str()),
        (
            "acme.azurecr.io",
            "7c4f1b3e-0000-4000-8000-0123456789ab",
            "a~B.c_d-e",
        ),
        ("acme.azurecr.io", "acme", "admin/Password+1="),
        (ecr, "AWS", token.as_str()),
        ("public.ecr.aws", "AWS", token.as_str()),
        ("europe-docker.pkg.dev", "_json_key", key),
        ("gcr.io", "_json_key_base64", "ewogICJ0eXBlIjogIngiCn0K"),
        (
            "europe-docker.pkg.dev",
            "oauth2accesstoken",
            "ya29.a0Af_x-y",
        ),
        (
            "ghcr.io",
            "octocat",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        ),
        ("docker.io", "alice", "dckr_pat_0123456789abcdefghijklmnopq"),
        (
            "docker.io",
            "acme",
            "dckr_oat_0123456789abcdefghijklmnopqrstuv",
        ),
        ("quay.io", "acme+robot", "ABCDEFGHIJ0123456789"),
        ("quay.io", "$oauthtoken", "x"),
        ("registry.redhat.io", "14498751|-futurama", token.as_str()),
        (
            "registry.gitlab.com",
            "gitlab+deploy-token-1",
            "gldt-0123456789abcdefghij",
        ),
        ("harbor.example:8443", "robot$p+n", "Secret$1\\2"),
        ("acme.jfrog.io", "alice@acme.example", "cmVmdGtuOjAx"),
        (
            "registry.digitalocean.com",
            "dop_v1_0123456789",
            "dop_v1_0123456789",
        ),
        (
            "fra.ocir.io",
            "ns/oracleidentitycloudservice/a@b.example",
            "<x>&;y",
        ),
        ("de.icr.io", "iamapikey", "k-e_y"),
        ("registry.cn-hangzhou.aliyuncs.com", "cr_temp_user", "t"),
        ("rg.fr-par.scw.cloud", "nologin", "0123-4567"),
        ("nvcr.io", "$oauthtoken", "nvapi-x_y"),
        ("cgr.dev", "45a0c61e/1b2c3d4e", token.as_str()),
        ("registry.heroku.com", "_", "HRKU-0123"),
        (
            "registry.example.com:5000",
            "ünï 😀",
            "pässwörd 😀 \u{2028}\u{2029}\u{7f}\u{85}\u{feff}",
        ),
        (
            "[2001:db8::1]:5000",
            "<script>&amp;",
            "</script>&\"'\\`$(x)",
        ),
        ("localhost:5000", "a", "\u{1}\u{b}\u{1f}\t\r\n"),
        ("localhost:5000", "a", " : :"),
    ]
    .map(|(host, username, password)| (host, username, password.to_owned()))
    .into()
}

/// Runs kubectl without a cluster and a configuration.
fn kubectl(arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut command = Command::new("kubectl");
    run(
        command.env("KUBECONFIG", "/dev/null").args(arguments),
        input,
    )
}

fn create(secret: &PullSecret, names: [&str; 2], login: [&str; 2], output: &str) -> String {
    let server = format!("--docker-server={}", secret.auths_key());
    let [name, namespace] = names;
    let [username, password] = login;
    let (ok, text, error) = kubectl(
        &[
            "create",
            "secret",
            "docker-registry",
            name,
            "--namespace",
            namespace,
            &server,
            &format!("--docker-username={username}"),
            &format!("--docker-password={password}"),
            "--dry-run=client",
            "--output",
            output,
        ],
        "",
    );
    assert!(ok, "{error}");
    // Newer versions do not write this, and neither does this crate.
    text.replace("  creationTimestamp: null\n", "")
        .replace(",\n        \"creationTimestamp\": null", "")
}

#[test]
fn pull_secrets_have_the_bytes_of_kubectl() {
    if !installed(&["kubectl"]) {
        return;
    }
    for (host, username, password) in logins() {
        let secret = PullSecret::new(
            &host.parse().unwrap(),
            &Credential::new(username, password.clone()).unwrap(),
        );
        let metadata = SecretMetadata::new("images")
            .unwrap()
            .with_namespace("apps")
            .unwrap();
        let login = [username, &password];
        let yaml = create(&secret, ["images", "apps"], login, "yaml");
        assert_eq!(
            *secret.expose_text(&metadata, Format::KubectlYaml),
            yaml,
            "{host} {username}"
        );
        let json = create(&secret, ["images", "apps"], login, "json");
        assert_eq!(
            *secret.expose_text(&metadata, Format::KubectlJson),
            json,
            "{host} {username}"
        );

        let made: Value = serde_json::from_str(&json).unwrap();
        let ours = secret.expose_text(&metadata, Format::Json);
        assert_eq!(serde_json::from_str::<Value>(&ours).unwrap(), made);
        assert_eq!(secret.expose_manifest(&metadata), made);
    }
}

/// The control of the test above: one wrong byte is found.
#[test]
fn another_password_gives_other_bytes() {
    if !installed(&["kubectl"]) {
        return;
    }
    let credential = Credential::new("a", "b").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let metadata = SecretMetadata::new("x")
        .unwrap()
        .with_namespace("y")
        .unwrap();
    let made = create(&secret, ["x", "y"], ["a", "c"], "yaml");
    assert_ne!(*secret.expose_text(&metadata, Format::KubectlYaml), made);
}

/// Guards that the same names are quoted in YAML as by kubectl.
#[test]
fn names_are_quoted_where_kubectl_quotes_them() {
    if !installed(&["kubectl"]) {
        return;
    }
    let credential = Credential::new("a", "b").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    for name in [
        "images",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "true",
        "false",
        "null",
        "nan",
        "1e999",
        "0x1ffffffffffffffff",
        "0xffffffffffffffff",
        "18446744073709551616",
        "2026-02-30",
        "2024-2-29",
        "0b2",
        "0o17",
        "1-1-1",
        "inf",
        "1",
        "007",
        "08",
        "1e3",
        "1e-3",
        "0x1f",
        "0xfg",
        "0b101",
        "0b2",
        "0o17",
        "0o8",
        "1.5",
        "1.2.3",
        "1.5e3",
        "2026-11-23",
        "2026-1-2",
        "2026-11",
        "20261-1-1",
        "e3",
        "1e",
        "12345678901234567890",
    ] {
        // A namespace cannot contain dots.
        let namespace = if name.contains('.') { "apps" } else { name };
        let metadata = SecretMetadata::new(name)
            .unwrap()
            .with_namespace(namespace)
            .unwrap();
        let made = create(&secret, [name, namespace], ["a", "b"], "yaml");
        assert_eq!(
            *secret.expose_text(&metadata, Format::KubectlYaml),
            made,
            "{name}"
        );
    }
}

/// Guards that kubectl reads the same object from each format, with unchanged annotations.
#[test]
fn kubectl_reads_every_format() {
    if !installed(&["kubectl"]) {
        return;
    }
    let credential = Credential::new("a<b>", "c\"\u{2028}").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let text = "x: \"y\" # z\n\u{1}\u{7f}\u{80}\u{85}\u{9f}\u{a0}\u{2028}\u{feff}é😀<&>\\ ";
    let metadata = SecretMetadata::new("1e3")
        .and_then(|m| m.with_namespace("yes"))
        .and_then(|m| m.with_label("a.example/on", "off"))
        .and_then(|m| m.with_label("no", "0x10"))
        .and_then(|m| m.with_annotation("null", text))
        .and_then(|m| m.with_annotation("b.example/empty", ""))
        .unwrap();
    for format in [
        Format::Json,
        Format::Yaml,
        Format::KubectlJson,
        Format::KubectlYaml,
    ] {
        // The only command that reads and shows a manifest without a server. It removes nothing.
        let arguments = [
            "annotate",
            "--local",
            "--filename=-",
            "absent-",
            "--output=json",
        ];
        let (ok, read, error) = kubectl(&arguments, &secret.expose_text(&metadata, format));
        assert!(ok, "{format:?}: {error}");
        let read: Value = serde_json::from_str(&read).unwrap();
        assert_eq!(read, secret.expose_manifest(&metadata), "{format:?}");
    }
    let broken = secret
        .expose_text(&metadata, Format::Yaml)
        .replace("kind:", "kind");
    assert!(!kubectl(&["annotate", "--local", "--filename=-", "absent-"], &broken).0);
}

/// Guards that an API server, if there is one, accepts the Secret.
#[test]
fn an_api_server_accepts_every_format() {
    let Ok(kubeconfig) = std::env::var("CHOREO_TEST_KUBECONFIG") else {
        return;
    };
    if !installed(&["kubectl"]) {
        return;
    }
    let credential = Credential::new("a", "b").unwrap();
    let secret = PullSecret::new(&"ghcr.io".parse().unwrap(), &credential);
    let metadata = SecretMetadata::new("choreo-1e3")
        .unwrap()
        .with_namespace("default")
        .unwrap();
    for format in [
        Format::Json,
        Format::Yaml,
        Format::KubectlJson,
        Format::KubectlYaml,
    ] {
        for dry_run in ["--dry-run=client", "--dry-run=server"] {
            let mut command = Command::new("kubectl");
            command.env("KUBECONFIG", &kubeconfig);
            command.args(["create", dry_run, "--filename=-", "--output=json"]);
            let (ok, read, error) = run(&mut command, &secret.expose_text(&metadata, format));
            assert!(ok, "{format:?}: {error}");
            let read: Value = serde_json::from_str(&read).unwrap();
            assert_eq!(read["data"], secret.expose_manifest(&metadata)["data"]);
        }
    }
}
