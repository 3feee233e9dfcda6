//! Facts about an image that a registry returns for an [`ImageReference`](crate::ImageReference).
//!
//! These are values, without a client: you can store them with a release and send them between
//! processes.

mod parts;
mod platform;
mod serde;

use crate::Digest;

pub use self::parts::{
    ExposedPort, MediaType, ParseExposedPortError, ParseMediaTypeError, Protocol,
};
pub use self::platform::{ParsePlatformError, Platform};

/// An image whose manifest was read and hashed: the digest is computed from the bytes, not claimed.
///
/// Its JSON is an object with fields of the same names, without those that are not known. Unknown
/// fields are ignored when it is parsed.
///
/// ```
/// use choreo_registry::{Digest, image::{MediaType, ResolvedImage}};
///
/// let digest = Digest::sha256_of(b"the manifest");
/// let image = ResolvedImage::new(digest, MediaType::OciIndex)
///     .with_platforms(vec!["linux/amd64".parse()?, "linux/arm64/v8".parse()?])
///     .with_user(Some("app:app".to_owned()))
///     .with_exposed_ports(vec!["8080/tcp".parse()?])
///     .with_size(Some(31_457_280));
///
/// assert_eq!(image.digest(), digest);
/// assert!(image.media_type().is_index());
/// assert_eq!(image.platforms()[1].variant(), Some("v8"));
/// assert!(image.runs_on(&"linux/amd64".parse()?));
/// assert!(!image.runs_on(&"windows/amd64".parse()?));
/// assert_eq!(image.user(), Some("app:app"));
/// assert_eq!(image.exposed_ports()[0].port(), 8080);
/// assert_eq!(image.size(), Some(31_457_280));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ResolvedImage {
    digest: Digest,
    media_type: MediaType,
    platforms: Vec<Platform>,
    user: Option<String>,
    exposed_ports: Vec<ExposedPort>,
    size: Option<u64>,
}

impl ResolvedImage {
    /// Creates an image of which only the manifest's digest and type are known.
    #[must_use]
    pub fn new(digest: Digest, media_type: MediaType) -> Self {
        Self {
            digest,
            media_type,
            platforms: Vec::new(),
            user: None,
            exposed_ports: Vec::new(),
            size: None,
        }
    }

    /// Sets the platforms that the image is built for.
    #[must_use]
    pub fn with_platforms(self, platforms: Vec<Platform>) -> Self {
        Self { platforms, ..self }
    }

    /// Sets the user of the image's configuration: an empty text if the configuration names none.
    #[must_use]
    pub fn with_user(self, user: Option<String>) -> Self {
        Self { user, ..self }
    }

    /// Sets the ports that the image's configuration exposes.
    #[must_use]
    pub fn with_exposed_ports(self, exposed_ports: Vec<ExposedPort>) -> Self {
        Self {
            exposed_ports,
            ..self
        }
    }

    /// Sets the number of bytes that a node transfers for one platform.
    #[must_use]
    pub fn with_size(self, size: Option<u64>) -> Self {
        Self { size, ..self }
    }

    /// Returns the digest of the manifest, or of the index of a multi-platform image.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the media type of the document with this digest.
    #[must_use]
    pub fn media_type(&self) -> MediaType {
        self.media_type
    }

    /// Returns the platforms that the image is built for, as its index or its configuration lists
    /// them. Empty if they are not known.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.platforms
    }

    /// Returns the user that processes run as: a name, a number, or either with a group
    /// (`app:app`), as the image's author wrote it. Empty if the configuration names none, which
    /// means root; `None` if the configuration was not read.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns `true` if processes run as root unless the workload sets a user. `None` if that is
    /// not known: the configuration was not read, or names a user whose number is only in the
    /// image's own `/etc/passwd`.
    ///
    /// ```
    /// use choreo_registry::{Digest, image::{MediaType, ResolvedImage}};
    ///
    /// let unread = ResolvedImage::new(Digest::sha256_of(b"manifest"), MediaType::OciManifest);
    /// let of = |user: &str| unread.clone().with_user(Some(user.to_owned())).runs_as_root();
    /// assert_eq!(of(""), Some(true));
    /// assert_eq!(of("0:0"), Some(true));
    /// assert_eq!(of("10001"), Some(false));
    /// assert_eq!(of("app"), None);
    /// assert_eq!(unread.runs_as_root(), None);
    /// ```
    #[must_use]
    pub fn runs_as_root(&self) -> Option<bool> {
        let user = self.user()?;
        let user = user.split(':').next().unwrap_or_default();
        match user {
            "" | "root" => Some(true),
            number => number.parse::<u64>().ok().map(|number| number == 0),
        }
    }

    /// Returns the ports that the image declares. Empty if the configuration was not read or
    /// declares none.
    #[must_use]
    pub fn exposed_ports(&self) -> &[ExposedPort] {
        &self.exposed_ports
    }

    /// Returns the compressed size in bytes of configuration and layers for one platform, as the
    /// manifest declares it. `None` if only an index was read.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns `true` if a node of this platform runs the image ([`Platform::serves`]), or if the
    /// image's platforms are not known.
    #[must_use]
    pub fn runs_on(&self, platform: &Platform) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|built| built.serves(platform))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_what_is_read() {
        let digest = Digest::sha256_of(b"the manifest");
        let bare = ResolvedImage::new(digest, MediaType::DockerManifest);
        assert_eq!(bare.digest(), digest);
        assert_eq!(bare.media_type(), MediaType::DockerManifest);
        assert_eq!(bare.platforms(), []);
        assert_eq!(bare.user(), None);
        assert_eq!(bare.exposed_ports(), []);
        assert_eq!(bare.size(), None);

        let platforms = ["linux/amd64", "linux/arm64/v8"].map(|text| text.parse().unwrap());
        let ports = ["8080/tcp", "53/udp"].map(|text| text.parse().unwrap());
        let full = bare
            .with_platforms(platforms.to_vec())
            .with_user(Some("app:app".to_owned()))
            .with_exposed_ports(ports.to_vec())
            .with_size(Some(31_457_280));
        assert_eq!(full.digest(), digest);
        assert_eq!(full.media_type(), MediaType::DockerManifest);
        assert_eq!(full.platforms(), platforms);
        assert_eq!(full.user(), Some("app:app"));
        assert_eq!(full.exposed_ports(), ports);
        assert_eq!(full.size(), Some(31_457_280));
    }

    #[test]
    fn an_image_runs_on_its_platforms_and_one_that_names_none_on_all() {
        let bare = ResolvedImage::new(Digest::sha256_of(b""), MediaType::OciIndex);
        let node = "linux/arm64".parse().unwrap();
        assert!(bare.runs_on(&node));
        let built = |text: &str| bare.clone().with_platforms(vec![text.parse().unwrap()]);
        assert!(built("linux/arm64/v8").runs_on(&node));
        assert!(!built("linux/amd64").runs_on(&node));
    }
}
