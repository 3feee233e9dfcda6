//! Docker configs: the credentials that are read from them, and the errors about them.

use std::collections::HashMap;

use base64::Engine as _;
use choreo_registry::{
    ImageReference, RegistryHost,
    docker_config::{DockerConfig, DockerConfigError},
    finding::Code,
    keyring::Keyring,
};

fn read(document: &str) -> Result<DockerConfig, DockerConfigError> {
    document.parse()
}

/// All that an error shows.
fn refusal(document: &str) -> String {
    let error = read(document).unwrap_err();
    format!("{error} {error:?}")
}

/// The naive twin: the password of an entry's `auth`, where there is one.
fn naive_password(document: &str, host: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(document).ok()?;
    let auth = document["auths"][host]["auth"].as_str()?;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(auth)
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}

/// CVE-2020-8564: Kubernetes logged a malformed docker config, passwords included. Guarded: an error
/// shows places and types and no byte of the document; serde_json's own would.
#[test]
fn cve_2020_8564_kubernetes_logged_a_malformed_docker_config() {
    let document = r#"{"auths":{"ghcr.io":"canary-password"}}"#;
    assert!(!refusal(document).contains("canary"));
    type Typed = HashMap<String, HashMap<String, HashMap<String, String>>>;
    let naive = serde_json::from_str::<Typed>(document).unwrap_err();
    assert!(naive.to_string().contains("canary"), "{naive}");
}

/// oras-go and containerd, seen in their sources: the error about an `auth` without a colon
/// contains the decoded text. Guarded: the error names the defect only.
#[test]
fn oras_and_containerd_showed_an_auth_without_a_colon() {
    let auth = "Y2FuYXJ5LXBhc3N3b3Jk";
    let ours = refusal(&format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{auth}"}}}}}}"#));
    assert!(!ours.contains("canary") && !ours.contains(auth), "{ours}");
    let decoded = base64::engine::general_purpose::STANDARD.decode(auth);
    let naive = format!(
        "invalid auth: {}",
        String::from_utf8(decoded.unwrap()).unwrap()
    );
    assert!(naive.contains("canary"));
}

/// CVE-2021-41092: Docker, with a credential helper that could not run, sent a private registry's
/// login to Docker Hub. Guarded: a config with helpers is refused, there is nothing to fall back on.
#[test]
fn cve_2021_41092_docker_fell_back_to_another_hosts_login() {
    let document = r#"{"credHelpers":{"registry.example.com":"missing"},
                       "auths":{"https://index.docker.io/v1/":{"auth":"cm9ib3Q6Y2FuYXJ5"}}}"#;
    let error = read(document).unwrap_err();
    assert!(
        matches!(error, DockerConfigError::CredHelpers(_)),
        "{error}"
    );
    let naive = ["registry.example.com", "https://index.docker.io/v1/"]
        .into_iter()
        .find_map(|host| naive_password(document, host));
    assert_eq!(
        naive.as_deref(),
        Some("canary"),
        "the twin takes the next one"
    );
}

/// docker/for-mac #4545: with a credential store the config has empty entries, and a pull secret
/// made of it contains no login. Guarded: it is rejected, and the error says why.
#[test]
fn docker_for_mac_4545_left_the_password_in_a_store() {
    let document = r#"{"auths":{"ghcr.io":{}},"credsStore":"desktop"}"#;
    assert!(matches!(read(document), Err(DockerConfigError::CredsStore)));
    let naive: serde_json::Value = serde_json::from_str(document).unwrap();
    assert!(
        naive["auths"]["ghcr.io"].is_object(),
        "the twin finds an entry"
    );
    assert_eq!(naive_password(document, "ghcr.io"), None, "and no password");
}

/// kubernetes #82147: an `auth` without its padding was no base64. Guarded: it is read.
#[test]
fn kubernetes_82147_wanted_the_padding() {
    let document = r#"{"auths":{"ghcr.io":{"auth":"YWxpY2U6aHVudGVyMg"}}}"#;
    let ours = read(document).unwrap();
    assert_eq!(ours.credential().expose_password(), "hunter2");
    assert_eq!(naive_password(document, "ghcr.io"), None);
}

/// kubernetes #19219 and openshift/origin #14541: a `.dockercfg` where a docker config belongs was
/// taken, and held no login. Guarded: it is read, and a finding says so.
#[test]
fn kubernetes_19219_found_no_login_in_the_older_format() {
    let document = r#"{"ghcr.io":{"auth":"YWxpY2U6aHVudGVyMg=="}}"#;
    let ours = read(document).unwrap();
    assert_eq!(ours.credential().username(), "alice");
    assert_eq!(ours.findings()[0].code(), Code::DockerConfigConverted);
    assert_eq!(naive_password(document, "ghcr.io"), None);
}

/// kubewarden/adm-controller #1734: an entry with user name and password and no `auth` was not
/// understood. Guarded: it is.
#[test]
fn adm_controller_1734_wanted_an_auth() {
    let document = r#"{"auths":{"ghcr.io":{"username":"alice","password":"hunter2"}}}"#;
    let ours = read(document).unwrap();
    assert_eq!(ours.credential().expose_password(), "hunter2");
    assert_eq!(naive_password(document, "ghcr.io"), None);
}

/// keel #419: the login for Docker Hub lies under a URL, and was not found under the host's name.
/// Guarded: one key that the tools find, and the image finds it.
#[test]
fn keel_419_looked_for_docker_hub_under_its_name() {
    let hub: RegistryHost = "docker.io".parse().unwrap();
    let keyring = Keyring::from_keys([hub.auths_key()]);
    let image: ImageReference = "nginx:1".parse().unwrap();
    assert!(keyring.lookup(&image).next().is_some());
    assert_ne!(
        hub.auths_key(),
        image.domain(),
        "the twin compares these two"
    );
}
