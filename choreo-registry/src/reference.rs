//! Image references: what stands behind `image:` and after `docker pull`.
//!
//! The grammar and the normalisation are those of
//! [distribution/reference](https://github.com/distribution/reference), which Docker, containerd
//! and the kubelet use, so that a name means here what it means on the node. Where the registry
//! itself must exist, [`RegistryHost`](crate::RegistryHost) adds the rules of the network: a port
//! up to 65535, an address that is one. No rule here is stricter or laxer than theirs, with the
//! digest algorithms that kubelets know (`sha256`, `sha384`, `sha512`); what they let through and
//! is doubtful, [`ImageReference::lints`] says. Generated strings are compared with version 0.6.0.

mod borrowed;
mod diagnose;
mod error;
mod lint;
mod name;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::str::FromStr;

pub use self::borrowed::{ImageReferenceRef, Normalized};
pub use self::error::ParseReferenceError;
pub use self::name::{Repository, RepositoryRef, Tag, TagRef};
use self::walk::Parts;
use crate::digest::DigestRef;
use crate::string_value::string_value;
use crate::{Digest, Finding};

/// The name of an image, normalised: domain, repository, and a tag, a digest, both or neither.
///
/// No tag stays apart from the tag `latest`, and a reference with a tag and a digest keeps both.
/// Parsing allocates the normalised text and nothing else; an [`ImageReferenceRef`] not even that.
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
/// It does not say that the registry or the image exist, nor check what the network demands of
/// a host. It does not fold Docker Hub's further names, nor hosts in upper case: the kubelet
/// does not either. [`ContainerRegistry::serves`](crate::ContainerRegistry::serves) does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// The normalised reference.
    text: String,
    /// They follow from the text.
    parts: Parts,
}

impl ImageReference {
    /// The registry's host and port as the reference names them; `docker.io` when it names none.
    ///
    /// Empty for one oddity that the grammar accepts: a first segment with an underscore and a
    /// dot, as in `exa_mple.com/app`, is no domain, and the whole name is the repository.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.as_borrowed().domain()
    }

    /// The repository, without the domain: `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> RepositoryRef<'_> {
        RepositoryRef::checked(&self.text[self.parts.path_start..self.parts.path_end])
    }

    /// The tag, if the reference has one. `latest` is never implied.
    #[must_use]
    pub fn tag(&self) -> Option<TagRef<'_>> {
        self.as_borrowed().tag()
    }

    /// The digest, if the reference has one.
    #[must_use]
    pub fn digest(&self) -> Option<DigestRef<'_>> {
        self.as_borrowed().digest()
    }

    /// The domain and the repository, without tag and digest: `docker.io/library/nginx`.
    ///
    /// This is the name against which a kubelet matches the keys of pull secrets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.parts.path_end]
    }

    /// The normalised reference, as `Display` writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The short form that people write: without `docker.io/`, and without `library/` where that
    /// is implied.
    #[must_use]
    pub fn familiar(&self) -> &str {
        self.as_borrowed().familiar()
    }

    /// What is doubtful about this reference, though the grammar accepts it.
    ///
    /// The grammar is that of the nodes, and lets through hosts that cannot exist, names that
    /// mean something else than they look like, and spellings for which nodes find no credential.
    /// [`Code`](crate::finding::Code) lists what may be found.
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

    /// This reference, borrowed.
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

    /// This reference with another tag; a digest stays.
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

    /// This reference pinned to a digest; a tag stays.
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

    /// The same reference without its tag.
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
