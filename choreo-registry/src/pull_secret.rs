//! Pull secrets: what a Kubernetes pod needs to pull from a registry.

mod metadata;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use self::metadata::{SecretMetadata, SecretMetadataError};
use crate::{ContainerRegistry, Credential, RegistryHost};

/// The content of a Secret of type
/// [`kubernetes.io/dockerconfigjson`](https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets)
/// for one registry.
///
/// One entry, under the key that kubelets, containerd, Docker, Podman, ORAS and regclient all
/// find; the same bytes for the same credential, so that nothing changes when nothing changed.
/// What it means equals what `kubectl create secret docker-registry` makes.
///
/// It is neither `Serialize` nor `Clone`: the secret leaves through the methods that say
/// `expose`.
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry, PullSecret};
/// use choreo_registry::pull_secret::SecretMetadata;
///
/// let registry = ContainerRegistry::new(
///     "Images",
///     "registry.example.com:5000".parse()?,
///     Authentication::basic("tiger", "pass1234")?,
/// )?;
/// let secret = PullSecret::for_registry(&registry).expect("basic authentication has a secret");
/// assert_eq!(
///     *secret.expose_docker_config_json(),
///     r#"{"auths":{"registry.example.com:5000":{"username":"tiger","password":"pass1234","auth":"dGlnZXI6cGFzczEyMzQ="}}}"#,
/// );
/// let metadata = SecretMetadata::new("team-images")?.with_namespace("apps")?;
/// assert_eq!(secret.expose_manifest(&metadata)["type"], "kubernetes.io/dockerconfigjson");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does not do
///
/// It does not apply anything, and has one entry only: a kubelet finds it for images named as
/// [`ContainerRegistry::canonical_image`] names them.
pub struct PullSecret {
    host: RegistryHost,
    username: String,
    docker_config_json: Zeroizing<String>,
}

impl PullSecret {
    /// The pull secret of a registry; `None` when its pods need none (public, vendor).
    #[must_use]
    pub fn for_registry(registry: &ContainerRegistry) -> Option<Self> {
        registry
            .credential()
            .map(|credential| Self::new(registry.host(), credential))
    }

    /// The pull secret for a host and a credential.
    #[must_use]
    pub fn new(host: &RegistryHost, credential: &Credential) -> Self {
        Self {
            host: host.clone(),
            username: credential.username().to_owned(),
            docker_config_json: docker_config_json(host, credential),
        }
    }

    /// The key of the one entry under `auths`.
    #[must_use]
    pub fn auths_key(&self) -> &str {
        self.host.auths_key()
    }

    /// The docker config, as compact JSON: the value of the Secret's `.dockerconfigjson`, before
    /// base64.
    #[must_use]
    pub fn expose_docker_config_json(&self) -> Zeroizing<String> {
        self.docker_config_json.clone()
    }

    /// The whole Secret, ready to be applied. The value is ordinary memory: drop it soon.
    #[must_use]
    pub fn expose_manifest(&self, metadata: &SecretMetadata) -> Value {
        manifest(
            metadata,
            &Zeroizing::new(STANDARD.encode(self.docker_config_json.as_bytes())),
        )
    }

    /// The Secret with a remark in place of its data, to show to people. It cannot be applied by
    /// mistake: the remark is no base64.
    ///
    /// ```
    /// # use choreo_registry::{Credential, PullSecret, pull_secret::SecretMetadata};
    /// let secret = PullSecret::new(&"ghcr.io".parse()?, &Credential::new("alice", "hunter2")?);
    /// let manifest = secret.redacted_manifest(&SecretMetadata::new("images")?);
    /// assert_eq!(
    ///     manifest["data"][".dockerconfigjson"],
    ///     "<redacted: user name \"alice\" and a password for \"ghcr.io\">",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn redacted_manifest(&self, metadata: &SecretMetadata) -> Value {
        let (username, key) = (&self.username, self.auths_key());
        manifest(
            metadata,
            &format!("<redacted: user name {username:?} and a password for {key:?}>"),
        )
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullSecret")
            .field("auths_key", &self.auths_key())
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

fn manifest(metadata: &SecretMetadata, data: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata.to_json(),
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": data },
    })
}

fn docker_config_json(host: &RegistryHost, credential: &Credential) -> Zeroizing<String> {
    let auth = credential.expose_basic();
    let fields = [
        ("username", credential.username()),
        ("password", credential.expose_password()),
        ("auth", auth.as_str()),
    ];
    // Escaping makes a byte six at most; a growing buffer would leave copies of the secret.
    let text_len: usize = fields.iter().map(|(_, value)| value.len()).sum();
    let mut json = Zeroizing::new(String::with_capacity(
        128 + host.auths_key().len() + 6 * text_len,
    ));
    json.push_str("{\"auths\":{");
    push_json_string(&mut json, host.auths_key());
    for (index, (name, value)) in fields.into_iter().enumerate() {
        json.push_str(if index == 0 { ":{" } else { "," });
        push_json_string(&mut json, name);
        json.push(':');
        push_json_string(&mut json, value);
    }
    json.push_str("}}}");
    json
}

/// Writes a JSON string (<https://www.rfc-editor.org/rfc/rfc8259#section-7>).
fn push_json_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let code = character as usize;
                json.push_str("\\u00");
                json.push(char::from(HEX[code >> 4]));
                json.push(char::from(HEX[code & 0xf]));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}
