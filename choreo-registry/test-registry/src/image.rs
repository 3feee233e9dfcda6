//! Small images in memory.
//!
//! The formats are those of <https://github.com/opencontainers/image-spec/blob/main/manifest.md>,
//! and of `config.md` and `image-index.md` in the same folder.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::name::Digest;

/// An image: a configuration and layers.
///
/// ```
/// use choreo_test_registry::Image;
///
/// let image = Image::builder()
///     .platform("linux/arm64".parse()?)
///     .user("10001")
///     .exposed_port("8080/tcp")
///     .entrypoint(["/shop"])
///     .label("org.opencontainers.image.version", "1.2.0")
///     .build();
/// assert!(image.digest().starts_with("sha256:"));
/// assert_eq!(image.platform().to_string(), "linux/arm64");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Image {
    platform: Platform,
    config: Bytes,
    layers: Vec<Bytes>,
    types: MediaTypes,
}

impl Image {
    /// Creates a builder of an image for `linux/amd64` without a user, ports, a command, labels or
    /// layers.
    pub fn builder() -> ImageBuilder {
        ImageBuilder::default()
    }

    /// Returns the platform in the configuration.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Returns the bytes of the configuration.
    pub fn config(&self) -> &Bytes {
        &self.config
    }

    /// Returns the bytes of each layer, which is an uncompressed tar archive.
    pub fn layers(&self) -> &[Bytes] {
        &self.layers
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> Manifest {
        let layers = self.layers.iter();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.types.manifest,
            "config": descriptor(self.types.config, &self.config),
            "layers": layers.map(|layer| descriptor(self.types.layer, layer)).collect::<Vec<_>>(),
        });
        Manifest::new(self.types.manifest, manifest.to_string())
    }

    /// Returns the digest of the manifest.
    pub fn digest(&self) -> String {
        self.manifest().digest()
    }
}

/// The builder of an image. [`Image::builder`] creates it, and [`Image`] has an example.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    platform: Platform,
    config: Map<String, Value>,
    layers: Vec<Bytes>,
    types: MediaTypes,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self {
            platform: Platform::new("linux", "amd64"),
            config: Map::new(),
            layers: Vec::new(),
            types: OCI,
        }
    }
}

impl ImageBuilder {
    /// Sets the platform. The default is `linux/amd64`.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Sets the user of the process: a number or a name, optionally with a group.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        self.set("User", Value::String(user.into()))
    }

    /// Adds an exposed port, such as `8080`, `8080/tcp` or `53/udp`.
    #[must_use]
    pub fn exposed_port(self, port: impl Into<String>) -> Self {
        self.add("ExposedPorts", port, json!({}))
    }

    /// Sets the entrypoint.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.set("Entrypoint", words.into_iter().map(Into::into).collect())
    }

    /// Sets the command, or the arguments of the entrypoint.
    #[must_use]
    pub fn cmd<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.set("Cmd", words.into_iter().map(Into::into).collect())
    }

    /// Adds a label. Images with different labels have different digests.
    #[must_use]
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.add("Labels", key, Value::String(value.into()))
    }

    /// Adds a layer with one file, `/layer-N.txt`, of this content.
    #[must_use]
    pub fn layer(mut self, content: impl AsRef<[u8]>) -> Self {
        let name = format!("layer-{}.txt", self.layers.len());
        self.layers.push(tar(&name, content.as_ref()));
        self
    }

    /// Uses the media types of Docker's schema 2 instead of those of OCI.
    #[must_use]
    pub fn docker_media_types(mut self) -> Self {
        self.types = DOCKER;
        self
    }

    /// Builds the image.
    pub fn build(self) -> Image {
        let layers = self.layers.iter();
        let mut config = json!({
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": self.config,
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.map(|layer| digest(layer)).collect::<Vec<_>>(),
            },
            "history": [],
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        Image {
            platform: self.platform,
            config: config.to_string().into(),
            layers: self.layers,
            types: self.types,
        }
    }

    fn set(mut self, field: &str, value: Value) -> Self {
        self.config.insert(field.to_owned(), value);
        self
    }

    fn add(mut self, field: &str, key: impl Into<String>, value: Value) -> Self {
        let entry = self.config.entry(field).or_insert_with(|| json!({}));
        entry[key.into()] = value;
        self
    }
}

/// A platform: an operating system, an architecture and an optional variant, as in
/// `linux/arm64/v8`.
///
/// The values are defined in
/// <https://github.com/opencontainers/image-spec/blob/main/image-index.md>.
///
/// ```
/// use choreo_test_registry::Platform;
///
/// assert_eq!("linux/amd64".parse::<Platform>()?, Platform::new("linux", "amd64"));
/// assert!("amd64".parse::<Platform>().is_err());
/// # Ok::<_, choreo_test_registry::parts::InvalidPlatform>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Creates a platform without a variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: None,
        }
    }

    fn to_json(&self) -> Value {
        let mut platform = json!({ "os": self.os, "architecture": self.architecture });
        if let Some(variant) = &self.variant {
            platform["variant"] = json!(variant);
        }
        platform
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let words: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match words[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(InvalidPlatform::new(text)),
        };
        if words.contains(&"") {
            return Err(InvalidPlatform::new(text));
        }
        Ok(Self {
            variant: variant.map(str::to_owned),
            ..Self::new(os, architecture)
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// The error for a string that is not a platform.
///
/// ```
/// use choreo_test_registry::Platform;
///
/// let error = "amd64".parse::<Platform>().unwrap_err();
/// assert_eq!(error.to_string(), "invalid platform \"amd64\": write os/architecture[/variant]");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidPlatform(String);

impl InvalidPlatform {
    fn new(text: &str) -> Self {
        Self(text.chars().take(64).collect())
    }
}

impl fmt::Display for InvalidPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid platform {:?}: write os/architecture[/variant]",
            self.0
        )
    }
}

impl std::error::Error for InvalidPlatform {}

/// A manifest of any media type. Its bytes are kept unchanged.
///
/// ```
/// use choreo_test_registry::parts::Manifest;
///
/// let nonsense = Manifest::new("application/vnd.oci.image.manifest.v1+json", "[]");
/// assert_eq!(nonsense.bytes(), "[]".as_bytes());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    media_type: String,
    bytes: Bytes,
}

impl Manifest {
    /// Creates a manifest of this media type. The bytes are not checked, so they may be malicious.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self {
            media_type: media_type.into(),
            bytes: bytes.into(),
        }
    }

    /// Returns the media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the SHA-256 digest of the bytes.
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }
}

/// Returns an index of images. It is a Docker manifest list if all images have Docker's media
/// types.
pub(crate) fn index(images: &[(Platform, Image)]) -> Manifest {
    let docker = !images.is_empty() && images.iter().all(|(_, image)| image.types == DOCKER);
    let media_type = if docker { DOCKER.index } else { OCI.index };
    let entries = images.iter().map(|(platform, image)| {
        let mut entry = descriptor(image.types.manifest, image.manifest().bytes());
        entry["platform"] = platform.to_json();
        entry
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": entries.collect::<Vec<_>>(),
    });
    Manifest::new(media_type, index.to_string())
}

/// The OCI or Docker media types.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MediaTypes {
    pub(crate) manifest: &'static str,
    pub(crate) index: &'static str,
    config: &'static str,
    layer: &'static str,
}

pub(crate) const OCI: MediaTypes = MediaTypes {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    index: "application/vnd.oci.image.index.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar",
};

pub(crate) const DOCKER: MediaTypes = MediaTypes {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar",
};

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    Digest::of(content).as_str().to_owned()
}

/// Returns a tar archive of one file: a ustar header, the content, and two empty blocks.
///
/// The format is
/// <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06>.
fn tar(name: &str, content: &[u8]) -> Bytes {
    let size = format!("{:011o}", content.len());
    let mut header = [0; BLOCK];
    let mut put = |offset: usize, text: &[u8]| {
        header[offset..offset + text.len()].copy_from_slice(text);
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, size.as_bytes());
    put(136, b"00000000000\0");
    // The checksum is computed with spaces in its own field.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let checksum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());

    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive.into()
}

const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// It bypasses the test harness, which captures output.
    fn skipped() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "SKIPPED: tar not found in PATH");
    }

    #[test]
    fn the_system_reads_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer.tar");
        let content = "x".repeat(700);
        std::fs::write(&path, tar("layer-0.txt", content.as_bytes())).unwrap();
        let run = Command::new("tar").arg("-xOf").arg(&path).output();
        let Ok(output) = run else {
            skipped();
            return;
        };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, content.as_bytes());
    }

    #[test]
    fn the_configuration_says_what_was_built() {
        let image = Image::builder()
            .platform("linux/arm/v7".parse().unwrap())
            .user("app")
            .exposed_port("8080/tcp")
            .exposed_port("53/udp")
            .cmd(["serve"])
            .layer("hello")
            .build();
        let config: Value = serde_json::from_slice(image.config()).unwrap();
        assert_eq!(config["architecture"], "arm");
        assert_eq!(config["variant"], "v7");
        assert_eq!(config["config"]["User"], "app");
        assert_eq!(
            config["config"]["ExposedPorts"],
            json!({"8080/tcp": {}, "53/udp": {}})
        );
        assert_eq!(config["config"]["Cmd"], json!(["serve"]));
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&image.layers()[0]));
    }

    #[test]
    fn platforms_are_read_and_written_alike() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?} is no platform");
        }
    }
}
