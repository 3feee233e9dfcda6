//! Pull secrets: what a Kubernetes pod needs to pull from a registry.

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
/// One entry, under the key that kubelets, containerd, Docker, Podman, ORAS and regclient all
/// find; the same bytes for the same credential, so that nothing changes when nothing changed.
/// They are the bytes that `kubectl create secret docker-registry` makes.
///
/// It is neither `Serialize` nor `Clone`: the secret leaves through the methods that say
/// `expose`.
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
/// It does not apply anything. A kubelet finds it for images named as
/// [`ContainerRegistry::canonical_image`] names them; where pods keep other spellings, use
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
    /// The pull secret of a registry.
    ///
    /// # Errors
    ///
    /// [`NoPullSecret`], which says why the pods of this registry need none, when its
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

    /// The pull secret for a host and a credential.
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

    /// Adds an entry for each other way in which these images spell the registry.
    ///
    /// Kubelets compare hosts byte by byte: the one key of Docker Hub serves `nginx` and
    /// `docker.io/library/nginx`, and not `registry-1.docker.io/library/nginx`. Better than
    /// further entries is one spelling in all pods,
    /// [`RegistryHost::canonical_image`]; this is for pods that somebody else writes.
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
    /// [`PullSecretError::ForeignImage`] for an image of another registry, and
    /// [`PullSecretError::TooLarge`] when the entries would exceed 1 MiB.
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

    /// The key of the registry's own entry under `auths`.
    #[must_use]
    pub fn auths_key(&self) -> &str {
        self.host.auths_key()
    }

    /// The keys of all entries under `auths`, in their order, which is that of their bytes.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.spellings.iter().map(String::as_str).collect();
        let at = keys.partition_point(|key| *key < self.auths_key());
        keys.insert(at, self.auths_key());
        keys
    }

    /// The docker config, as compact JSON: the value of the Secret's `.dockerconfigjson`, before
    /// base64, byte for byte as kubectl writes it.
    #[must_use]
    pub fn expose_docker_config_json(&self) -> &str {
        self.docker_config_json.as_str()
    }

    /// The whole Secret as text, ready for `kubectl create -f`; the same bytes for the same input.
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
        manifest::text(metadata, &self.data(), format)
    }

    /// The whole Secret, ready to be applied. The value is ordinary memory: drop it soon.
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
        manifest::value(metadata, &self.data())
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
        let (username, key) = (self.shown_username(), self.auths_key());
        manifest::value(
            metadata,
            &format!("<redacted: user name {username:?} and a password for {key:?}>"),
        )
    }

    /// The user name, unless it tells the password. Few secrets are shown: of all others nobody
    /// needs to know.
    fn shown_username(&self) -> String {
        let auth = self.entry().rsplit('"').nth(1);
        let credential = auth.and_then(Credential::from_basic);
        match credential.expect("the entry was made of one") {
            credential if credential.username_tells_password() => "[redacted]".to_owned(),
            credential => credential.username().to_owned(),
        }
    }

    /// The value under each key.
    fn entry(&self) -> &str {
        let json = self.expose_docker_config_json();
        let end = json.len() - "}}".len();
        &json[end - self.entry_len..end]
    }

    /// The docker config in base64.
    fn data(&self) -> Zeroizing<String> {
        let json = self.expose_docker_config_json();
        secret_base64::encoded(json.as_bytes())
    }

    fn docker_config_len(&self) -> usize {
        let keys = self.keys();
        let texts: usize = keys.iter().map(|key| text::max_json_len(key)).sum();
        let around = "{\"auths\":}}".len() + keys.len() * ",:".len();
        around + texts + keys.len() * self.entry_len
    }

    /// The docker config with the same entry under each key.
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

/// The docker config with one key, and the length of the entry in it. The fields stand in the order
/// in which kubectl writes them.
fn docker_config_json(key: &str, credential: &Credential) -> (WipedText, usize) {
    let (username, password) = (credential.username(), credential.expose_password());
    // At least as much as is written: a growing buffer would leave copies behind.
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

/// The bytes of a docker config with one key that belong to no text in it.
const AROUND_TEXTS: usize = r#"{"auths":{:{"username":,"password":,"auth":""}}}"#.len();

/// The most that a Secret's values may have together
/// (<https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>). One
/// credential stays far below; entries for many spellings need not.
const MAX_SECRET_LEN: usize = 1024 * 1024;
