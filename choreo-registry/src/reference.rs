//! Image references: the text after `image:` in a manifest and after `docker pull`.
//!
//! The grammar and the normalisation are those of
//! [distribution/reference](https://github.com/distribution/reference), which Docker, containerd
//! and the kubelet use, so a name has the same meaning here as on the node. If the registry itself
//! must exist, [`RegistryHost`](crate::RegistryHost) adds the rules of the network: a port up to
//! 65535, a valid address. No rule here is stricter or laxer than theirs, with the digest
//! algorithms that kubelets support (`sha256`, `sha384`, `sha512`). [`ImageReference::lints`]
//! reports what they accept although it is doubtful. Tests compare generated strings with version
//! 0.6.0.

mod borrowed;
mod diagnose;
mod error;
mod lint;
mod name;
mod scanner;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use self::borrowed::{ImageReferenceRef, Normalized};
pub use self::error::ParseReferenceError;
pub use self::name::{Repository, RepositoryRef, Tag, TagRef};
use self::scanner::Parts;
use crate::digest::DigestRef;
use crate::string_value::string_value;
use crate::{Digest, Finding};

/// The name of an image, normalised: domain, repository, and a tag, a digest, both or neither.
///
/// A reference without a tag is not equal to one tagged `latest`, and a reference with a tag and a
/// digest keeps both. Parsing allocates the normalised text and nothing else; parsing an
/// [`ImageReferenceRef`] does not allocate.
///
/// ```
/// use choreo_registry::ImageReference;
///
/// let image: ImageReference = "nginx:1.26".parse()?;
/// assert_eq!(image.to_string(), "docker.io/library/nginx:1.26");
/// assert_eq!(image.domain(), "docker.io");
/// assert_eq!(image.repository().as_str(), "library/nginx");
/// assert_eq!(image.name(), "docker.io/library/nginx");
/// assert_eq!(image.tag().unwrap().as_str(), "1.26");
/// assert_eq!(image.digest(), None);
/// assert_eq!(image.name(), "docker.io/library/nginx");
/// assert_eq!(image.as_str(), "docker.io/library/nginx:1.26");
/// assert_eq!(image.familiar(), "nginx:1.26");
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
///
/// # What it does not do
///
/// It does not check that the registry or the image exist, nor the rules of the network for a host.
/// Like the kubelet, it does not normalise Docker Hub's other names, nor hosts in upper case.
/// [`ContainerRegistry::serves`](crate::ContainerRegistry::serves) does.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ImageReference {
    /// The normalised reference.
    text: String,
    /// The parts follow from the text.
    parts: Parts,
}

impl ImageReference {
    /// Returns the registry's host and port as they are in the reference; `docker.io` if it has
    /// none.
    ///
    /// Empty for one special case of the grammar: a first segment with an underscore and a dot, as
    /// in `exa_mple.com/app`, is not a domain, and the whole name is the repository.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.as_borrowed().domain()
    }

    /// Returns the repository, without the domain: `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> RepositoryRef<'_> {
        RepositoryRef::checked(&self.text[self.parts.path_start..self.parts.path_end])
    }

    /// Returns the tag, if the reference has one. `latest` is never implied.
    #[must_use]
    pub fn tag(&self) -> Option<TagRef<'_>> {
        self.as_borrowed().tag()
    }

    /// Returns the digest, if the reference has one.
    #[must_use]
    pub fn digest(&self) -> Option<DigestRef<'_>> {
        self.as_borrowed().digest()
    }

    /// Returns the domain and the repository, without tag and digest: `docker.io/library/nginx`.
    ///
    /// A kubelet matches the keys of pull secrets against this name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.parts.path_end]
    }

    /// Returns the normalised reference, as `Display` writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the short form that people write: without `docker.io/`, and without `library/` if
    /// that is implied.
    #[must_use]
    pub fn familiar(&self) -> &str {
        self.as_borrowed().familiar()
    }

    /// Returns what is doubtful about this reference, though the grammar accepts it.
    ///
    /// The grammar is that of the nodes. It accepts hosts that cannot exist, names with another
    /// meaning than their look suggests, and spellings for which nodes find no credential.
    /// [`Code`](crate::finding::Code) lists all findings.
    ///
    /// ```
    /// use choreo_registry::{ImageReference, finding::Code};
    ///
    /// let image: ImageReference = "registry-1.docker.io/acme/app:1.0".parse()?;
    /// let findings = image.lints();
    /// assert_eq!(findings[0].code(), Code::DockerHubAlias);
    /// assert_eq!(findings[0].help(), "write \"docker.io/acme/app:1.0\"");
    ///
    /// assert!("ghcr.io/acme/app:1.0".parse::<ImageReference>()?.lints().is_empty());
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    pub fn lints(&self) -> Vec<Finding> {
        lint::lints(self)
    }

    /// Borrows this reference.
    ///
    /// ```
    /// use choreo_registry::{ImageReference, reference::ImageReferenceRef};
    ///
    /// let image: ImageReference = "docker.io/library/nginx".parse()?;
    /// assert_eq!(image.as_borrowed(), ImageReferenceRef::parse("nginx")?);
    /// assert!(image.as_borrowed().is_normalized());
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    pub fn as_borrowed(&self) -> ImageReferenceRef<'_> {
        ImageReferenceRef::checked(&self.text, self.parts)
    }

    /// Returns this reference with another tag; it keeps a digest.
    ///
    /// ```
    /// use choreo_registry::{ImageReference, reference::Tag};
    ///
    /// let image: ImageReference = "ghcr.io/acme/app:1".parse()?;
    /// let tag: Tag = "2".parse()?;
    /// assert_eq!(image.with_tag(tag).as_str(), "ghcr.io/acme/app:2");
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a part goes into the whole")]
    pub fn with_tag(&self, tag: Tag) -> Self {
        self.with_parts(Some(tag.as_str()), self.digest())
    }

    /// Returns this reference pinned to a digest; it keeps a tag.
    ///
    /// ```
    /// use choreo_registry::{Digest, ImageReference};
    ///
    /// let image: ImageReference = "ghcr.io/acme/app:1".parse()?;
    /// let digest = Digest::sha256_of(b"the manifest");
    /// assert_eq!(image.with_digest(digest).to_string(), format!("ghcr.io/acme/app:1@{digest}"));
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        self.with_parts(self.tag().map(TagRef::as_str), Some(digest.as_borrowed()))
    }

    /// Returns the same reference without its tag.
    ///
    /// ```
    /// use choreo_registry::ImageReference;
    ///
    /// let image: ImageReference = "registry.example.com/shop/orders:1.4".parse()?;
    /// assert_eq!(image.without_tag().to_string(), "registry.example.com/shop/orders");
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    pub fn without_tag(&self) -> Self {
        self.with_parts(None, self.digest())
    }

    fn with_parts(&self, tag: Option<&str>, digest: Option<DigestRef<'_>>) -> Self {
        let name = self.name();
        let tag_len = tag.map_or(0, |tag| 1 + tag.len());
        let digest_len = digest.map_or(0, |digest| 1 + digest.as_str().len());
        let mut text = String::with_capacity(name.len() + tag_len + digest_len);
        text.push_str(name);
        if let Some(tag) = tag {
            text.extend([":", tag]);
        }
        if let Some(digest) = digest {
            text.extend(["@", digest.as_str()]);
        }
        let parts = Parts {
            tag_end: name.len() + tag_len,
            algorithm: digest.map(DigestRef::algorithm),
            ..self.parts
        };
        Self { text, parts }
    }
}

impl FromStr for ImageReference {
    type Err = ParseReferenceError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        ImageReferenceRef::parse(input).map(ImageReferenceRef::to_owned)
    }
}

string_value!(
    ImageReference,
    ParseReferenceError,
    "an image reference such as \"registry.example.com/acme/app:1.0\""
);

impl fmt::Debug for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ImageReference").field(&self.text).finish()
    }
}
