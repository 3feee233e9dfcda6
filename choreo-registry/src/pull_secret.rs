//! Pull secrets: the Kubernetes Secrets with which pods pull from a registry.

mod error;
mod manifest;
mod metadata;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

pub use self::error::{NoPullSecret, PullSecretError};
pub use self::manifest::Format;
pub use self::metadata::{SecretMetadata, SecretMetadataError};
use self::text::JsonText;
use crate::secret_base64;
use crate::wiped::WipedText;
use crate::{Authentication, ContainerRegistry, Credential, ImageReference, RegistryHost};

/// The content of a Secret of type
/// [`kubernetes.io/dockerconfigjson`](https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets)
/// for one registry.
///
/// It contains one entry, under the key that kubelets, containerd, Docker, Podman, ORAS and
/// regclient all find. The same credential results in the same bytes, so an unchanged credential
/// does not change the Secret. They are the bytes that `kubectl create secret docker-registry`
/// writes.
///
/// It is neither `Serialize` nor `Clone`: only methods named `expose…` return the secret.
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry, PullSecret};
/// use choreo_registry::pull_secret::{Format, SecretMetadata};
///
/// let registry = ContainerRegistry::new(
///     "Images",
///     "registry.example.com:5000".parse()?,
///     Authentication::basic("tiger", "pass1234")?,
/// )?;
/// let secret = PullSecret::for_registry(&registry)?;
/// assert_eq!(
///     secret.expose_docker_config_json(),
///     r#"{"auths":{"registry.example.com:5000":{"username":"tiger","password":"pass1234","auth":"dGlnZXI6cGFzczEyMzQ="}}}"#,
/// );
/// let metadata = SecretMetadata::new("team-images")?.with_namespace("apps")?;
/// let yaml = secret.expose_text(&metadata, Format::Yaml);
/// assert!(yaml.starts_with(
///     "apiVersion: v1\nkind: Secret\nmetadata:\n  name: team-images\n  namespace: apps\n",
/// ));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does not do
///
/// It does not apply the Secret. A kubelet finds it for images with the name that
/// [`ContainerRegistry::canonical_image`] returns; if pods use other spellings, add
/// [`with_spellings_of`](Self::with_spellings_of).
pub struct PullSecret {
    host: RegistryHost,
    /// The keys beside the host's own, sorted.
    spellings: Vec<String>,
    docker_config_json: WipedText,
    /// The length of the value under each key.
    entry_len: usize,
}

impl PullSecret {
    /// Creates the pull secret of a registry.
    ///
    /// # Errors
    ///
    /// Returns [`NoPullSecret`], with the reason why the pods of this registry need none, if its
    /// authentication type is public or vendor.
    ///
    /// ```
    /// use choreo_registry::{Authentication, ContainerRegistry, PullSecret};
    /// use choreo_registry::pull_secret::NoPullSecret;
    ///
    /// let hub = ContainerRegistry::new("Hub", "docker.io".parse()?, Authentication::Public)?;
    /// assert_eq!(PullSecret::for_registry(&hub).unwrap_err(), NoPullSecret::Public);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_registry(registry: &ContainerRegistry) -> Result<Self, NoPullSecret> {
        let credential = match registry.authentication() {
            Authentication::Public => return Err(NoPullSecret::Public),
            Authentication::Vendor => return Err(NoPullSecret::Vendor),
            Authentication::Basic(credential) => credential,
            Authentication::DockerConfig(config) => config.credential(),
        };
        Ok(Self::new(registry.host(), credential))
    }

    /// Creates the pull secret for a host and a credential.
    ///
    /// ```
    /// use choreo_registry::{Credential, PullSecret};
    ///
    /// let credential = Credential::new("alice", "hunter2")?;
    /// let secret = PullSecret::new(&"docker.io".parse()?, &credential);
    /// assert_eq!(secret.auths_key(), "https://index.docker.io/v1/");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(host: &RegistryHost, credential: &Credential) -> Self {
        let (docker_config_json, entry_len) = docker_config_json(host.auths_key(), credential);
        Self {
            host: host.clone(),
            spellings: Vec::new(),
            docker_config_json,
            entry_len,
        }
    }

    /// Adds an entry for each other spelling of the registry in these images.
    ///
    /// Kubelets compare hosts byte by byte: the one key of Docker Hub matches `nginx` and
    /// `docker.io/library/nginx`, but not `registry-1.docker.io/library/nginx`. Prefer one spelling
    /// in all pods, [`RegistryHost::canonical_image`], to further entries; this method is for pods
    /// that someone else writes.
    ///
    /// ```
    /// use choreo_registry::{Credential, ImageReference, PullSecret};
    ///
    /// let images: [ImageReference; 2] =
    ///     ["nginx".parse()?, "registry-1.docker.io/acme/app:1".parse()?];
    /// let secret = PullSecret::new(&"docker.io".parse()?, &Credential::new("alice", "hunter2")?)
    ///     .with_spellings_of(&images)?;
    /// assert_eq!(secret.keys(), ["https://index.docker.io/v1/", "registry-1.docker.io"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`PullSecretError::ForeignImage`] if an image belongs to another registry, and
    /// [`PullSecretError::TooLarge`] if the entries would exceed 1 MiB.
    pub fn with_spellings_of<'i>(
        mut self,
        images: impl IntoIterator<Item = &'i ImageReference>,
    ) -> Result<Self, PullSecretError> {
        let mut len = self.docker_config_len();
        for image in images {
            if !self.host.serves(image) {
                return Err(PullSecretError::ForeignImage {
                    image: image.name().to_owned(),
                    host: self.host,
                });
            }
            let domain = image.domain();
            if domain == self.host.image_domain() {
                continue;
            }
            let at = self.spellings.binary_search_by(|key| (**key).cmp(domain));
            if let Err(at) = at {
                self.spellings.insert(at, domain.to_owned());
                len += text::max_json_len(domain) + ",:".len() + self.entry_len;
                if len > MAX_SECRET_LEN {
                    return Err(PullSecretError::TooLarge);
                }
            }
        }
        self.docker_config_json = self.with_all_keys();
        Ok(self)
    }

    /// Returns the key of the registry's own entry under `auths`.
    #[must_use]
    pub fn auths_key(&self) -> &str {
        self.host.auths_key()
    }

    /// Returns the keys of all entries under `auths`, sorted by their bytes.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.spellings.iter().map(String::as_str).collect();
        let at = keys.partition_point(|key| *key < self.auths_key());
        keys.insert(at, self.auths_key());
        keys
    }

    /// Returns the docker config as compact JSON: the value of the Secret's `.dockerconfigjson`
    /// before base64, byte for byte as kubectl writes it.
    #[must_use]
    pub fn expose_docker_config_json(&self) -> &str {
        self.docker_config_json.as_str()
    }

    /// Returns the whole Secret as text for `kubectl create -f`; the same input results in the same
    /// bytes.
    ///
    /// ```
    /// use choreo_registry::{Credential, PullSecret};
    /// use choreo_registry::pull_secret::{Format, SecretMetadata};
    ///
    /// let secret = PullSecret::new(&"ghcr.io".parse()?, &Credential::new("u", "p")?);
    /// assert_eq!(
    ///     *secret.expose_text(&SecretMetadata::new("images")?, Format::KubectlYaml),
    ///     "apiVersion: v1\n\
    ///      data:\n  \
    ///        .dockerconfigjson: \
    ///          eyJhdXRocyI6eyJnaGNyLmlvIjp7InVzZXJuYW1lIjoidSIsInBhc3N3b3JkIjoicCIsImF1dGgiOiJkVHB3In19fQ==\n\
    ///      kind: Secret\n\
    ///      metadata:\n  \
    ///        name: images\n\
    ///      type: kubernetes.io/dockerconfigjson\n",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expose_text(&self, metadata: &SecretMetadata, format: Format) -> Zeroizing<String> {
        manifest::text(metadata, &self.expose_data(), format)
    }

    /// Returns the whole Secret, ready to be applied. The value is in ordinary memory: drop it
    /// soon.
    ///
    /// ```
    /// # use choreo_registry::{Credential, PullSecret, pull_secret::SecretMetadata};
    /// let secret = PullSecret::new(&"ghcr.io".parse()?, &Credential::new("alice", "hunter2")?);
    /// let manifest = secret.expose_manifest(&SecretMetadata::new("images")?);
    /// assert_eq!(manifest["type"], "kubernetes.io/dockerconfigjson");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expose_manifest(&self, metadata: &SecretMetadata) -> Value {
        manifest::value(metadata, &self.expose_data())
    }

    /// Returns the Secret with a remark in place of its data, to show to people. It cannot be
    /// applied by mistake: the remark is not valid base64.
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
        let (username, key) = (self.shown_username(), self.auths_key());
        manifest::value(
            metadata,
            &format!("<redacted: user name {username:?} and a password for {key:?}>"),
        )
    }

    /// Returns the user name, unless it contains the password. It checks this only here, because
    /// few secrets are shown.
    fn shown_username(&self) -> String {
        let auth = self.entry().rsplit('"').nth(1);
        let credential = auth.and_then(Credential::from_basic);
        match credential.expect("the entry was made of one") {
            credential if credential.username_tells_password() => "[redacted]".to_owned(),
            credential => credential.username().to_owned(),
        }
    }

    /// Returns the value under each key.
    fn entry(&self) -> &str {
        let json = self.expose_docker_config_json();
        let end = json.len() - "}}".len();
        &json[end - self.entry_len..end]
    }

    /// Returns the value of the Secret's `.dockerconfigjson`: the docker config in base64.
    ///
    /// ```
    /// use choreo_registry::{Credential, PullSecret};
    ///
    /// let secret = PullSecret::new(&"ghcr.io".parse()?, &Credential::new("u", "p")?);
    /// assert!(secret.expose_data().starts_with("eyJhdXRocyI6eyJnaGNyLmlvIjp7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expose_data(&self) -> Zeroizing<String> {
        let json = self.expose_docker_config_json();
        secret_base64::encoded(json.as_bytes())
    }

    fn docker_config_len(&self) -> usize {
        let keys = self.keys();
        let texts: usize = keys.iter().map(|key| text::max_json_len(key)).sum();
        let around = "{\"auths\":}}".len() + keys.len() * ",:".len();
        around + texts + keys.len() * self.entry_len
    }

    /// Returns the docker config with the same entry under each key.
    fn with_all_keys(&self) -> WipedText {
        // An exact capacity: a growing buffer would leave copies behind.
        let mut json = String::with_capacity(self.docker_config_len());
        json.push_str("{\"auths\":");
        for (index, key) in self.keys().into_iter().enumerate() {
            json.push(if index == 0 { '{' } else { ',' });
            text::push_json(&mut json, key);
            json.push(':');
            json.push_str(self.entry());
        }
        json.push_str("}}");
        WipedText::new(json)
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullSecret")
            .field("keys", &self.keys())
            .field("username", &self.shown_username())
            .finish_non_exhaustive()
    }
}

/// Returns the docker config with one key, and the length of the entry in it. The fields have
/// kubectl's order.
fn docker_config_json(key: &str, credential: &Credential) -> (WipedText, usize) {
    let (username, password) = (credential.username(), credential.expose_password());
    // At least the length of the result: a growing buffer would leave copies behind.
    let texts = [key, username, password].map(JsonText::new);
    let texts_len: usize = texts.iter().map(JsonText::max_len).sum();
    let mut json = String::with_capacity(AROUND_TEXTS + texts_len + credential.basic_len());
    let [key, username, password] = texts;
    json.push_str("{\"auths\":{\"");
    key.push_inner(&mut json);
    json.push_str("\":{\"username\":\"");
    let start = json.len() - "{\"username\":\"".len();
    username.push_inner(&mut json);
    json.push_str("\",\"password\":\"");
    password.push_inner(&mut json);
    json.push_str("\",\"auth\":\"");
    let mut json = json.into_bytes();
    credential.push_basic(&mut json);
    json.extend(b"\"}}}");
    let entry_len = json.len() - "}}".len() - start;
    let json = String::from_utf8(json).expect("it was text, and base64 is ASCII");
    (WipedText::new(json), entry_len)
}

/// The number of bytes that a docker config with one key contains around its texts.
const AROUND_TEXTS: usize = r#"{"auths":{:{"username":,"password":,"auth":""}}}"#.len();

/// The maximum size of a Secret's values together
/// (<https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>). One
/// credential is far smaller; entries for many spellings may exceed it.
const MAX_SECRET_LEN: usize = 1024 * 1024;
