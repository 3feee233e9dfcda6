//! The small values inside a resolved image.

use std::{fmt, str::FromStr};

use crate::{quote::Quoted, string_value::string_value};

/// The types of manifest that nodes can run images from.
///
/// They are those of the [OCI image
/// specification](https://github.com/opencontainers/image-spec/blob/main/media-types.md) and
/// [Docker's version 2, schema 2](https://distribution.github.io/distribution/spec/manifest-v2-2/).
///
/// ```
/// use choreo_registry::image::MediaType;
///
/// let media_type: MediaType = "application/vnd.oci.image.index.v1+json".parse()?;
/// assert_eq!(media_type, MediaType::OciIndex);
/// assert!(media_type.is_index());
/// assert_eq!(media_type.as_str(), "application/vnd.oci.image.index.v1+json");
/// # Ok::<(), choreo_registry::image::ParseMediaTypeError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum MediaType {
    /// One platform, Docker's format.
    DockerManifest,
    /// Several platforms, Docker's format.
    DockerManifestList,
    /// Several platforms, OCI's format.
    OciIndex,
    /// One platform, OCI's format.
    OciManifest,
}

impl MediaType {
    /// Every media type, for `Accept` headers and tables.
    pub const ALL: [Self; 4] = [
        Self::OciIndex,
        Self::OciManifest,
        Self::DockerManifestList,
        Self::DockerManifest,
    ];

    /// The media type as registries write it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerManifestList => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    /// Whether the document lists images for several platforms.
    #[must_use]
    pub fn is_index(self) -> bool {
        matches!(self, Self::DockerManifestList | Self::OciIndex)
    }
}

impl FromStr for MediaType {
    type Err = ParseMediaTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL
            .into_iter()
            .find(|media_type| media_type.as_str() == text);
        found.ok_or_else(|| ParseMediaTypeError {
            input: text.to_owned(),
        })
    }
}

string_value!(
    MediaType,
    ParseMediaTypeError,
    "the media type of an image manifest or index"
);

/// A text that is not the [`MediaType`] of an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseMediaTypeError {
    input: String,
}

impl fmt::Display for ParseMediaTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "media type {} is not that of a container image",
            Quoted(&self.input)
        )
    }
}

impl std::error::Error for ParseMediaTypeError {}

/// An operating system and a processor architecture: `linux/amd64`, `linux/arm64/v8`.
///
/// The words are those of the [OCI image
/// index](https://github.com/opencontainers/image-spec/blob/main/image-index.md): what Go calls
/// `GOOS` and `GOARCH`, and a variant of the processor.
///
/// ```
/// use choreo_registry::image::Platform;
///
/// let platform: Platform = "linux/arm64/v8".parse()?;
/// assert_eq!(platform.os(), "linux");
/// assert_eq!(platform.architecture(), "arm64");
/// assert_eq!(platform.variant(), Some("v8"));
/// assert_eq!(platform.as_str(), "linux/arm64/v8");
///
/// // A node that names no variant may be of any.
/// assert!(platform.serves(&"linux/arm64".parse()?));
/// assert!(!platform.serves(&"linux/amd64".parse()?));
/// # Ok::<(), choreo_registry::image::ParsePlatformError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Platform {
    text: String,
    os_end: usize,
    architecture_end: usize,
}

impl Platform {
    /// The operating system.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.text[..self.os_end]
    }

    /// The processor architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.text[self.os_end + 1..self.architecture_end]
    }

    /// The variant of the architecture, if one is named.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.text.get(self.architecture_end + 1..)
    }

    /// The platform as `os/architecture` or `os/architecture/variant`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an image for this platform runs on a node of the other: operating system and
    /// architecture are equal, and so is the variant where both name one.
    #[must_use]
    pub fn serves(&self, node: &Self) -> bool {
        let variants_agree = match (self.variant(), node.variant()) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => true,
        };
        self.os() == node.os() && self.architecture() == node.architecture() && variants_agree
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= PLATFORM_PART_MAX
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture, ..]
                if parts.len() <= 3 && parts.iter().all(|part| is_part(part)) =>
            {
                Ok(Self {
                    text: text.to_owned(),
                    os_end: os.len(),
                    architecture_end: os.len() + 1 + architecture.len(),
                })
            }
            _ => Err(ParsePlatformError {
                input: text.to_owned(),
            }),
        }
    }
}

string_value!(
    Platform,
    ParsePlatformError,
    "a platform such as linux/amd64"
);

const PLATFORM_PART_MAX: usize = 32;

/// A text that is not a [`Platform`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParsePlatformError {
    input: String,
}

impl fmt::Display for ParsePlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = Quoted(&self.input);
        write!(
            f,
            "platform {input} is not of the form os/architecture: write linux/amd64"
        )
    }
}

impl std::error::Error for ParsePlatformError {}

/// A port that an image declares with `EXPOSE`: `8080/tcp`.
///
/// ```
/// use choreo_registry::image::{ExposedPort, Protocol};
///
/// let port: ExposedPort = "8080".parse()?;
/// assert_eq!(port.port(), 8080);
/// assert_eq!(port.protocol(), Protocol::Tcp);
/// assert_eq!(port.to_string(), "8080/tcp");
/// # Ok::<(), choreo_registry::image::ParseExposedPortError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExposedPort {
    port: u16,
    protocol: Protocol,
}

impl ExposedPort {
    /// The port, never zero.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The protocol; TCP when the image names none.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

/// The transport protocol of an [`ExposedPort`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Protocol {
    /// SCTP.
    Sctp,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for ExposedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Sctp => "sctp",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.port)
    }
}

impl FromStr for ExposedPort {
    type Err = ParseExposedPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "sctp" => Some(Protocol::Sctp),
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.parse().ok().filter(|port| is_number && *port != 0);
        match (port, protocol) {
            (Some(port), Some(protocol)) => Ok(Self { port, protocol }),
            _ => Err(ParseExposedPortError {
                input: text.to_owned(),
            }),
        }
    }
}

/// A text that is not an [`ExposedPort`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseExposedPortError {
    input: String,
}

impl fmt::Display for ParseExposedPortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = Quoted(&self.input);
        write!(
            f,
            "exposed port {input} is not a port and a protocol: write 8080/tcp"
        )
    }
}

impl std::error::Error for ParseExposedPortError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Their parts are cut out of the text by position: no text may panic.
        #[test]
        fn any_text_is_a_platform_or_refused(text in "\\PC{0,12}(/\\PC{0,12}){0,3}") {
            if let Ok(platform) = text.parse::<Platform>() {
                let mut parts = vec![platform.os(), platform.architecture()];
                parts.extend(platform.variant());
                prop_assert_eq!(parts.join("/"), text);
            }
        }

        #[test]
        fn any_text_is_an_exposed_port_or_refused(text in "\\PC{0,12}|[0-9]{0,6}(/[a-z]{0,4})?") {
            if let Ok(port) = text.parse::<ExposedPort>() {
                prop_assert_eq!(port.to_string().parse(), Ok(port));
            }
        }
    }

    #[test]
    fn platforms_parse_and_display() {
        for text in [
            "linux/amd64",
            "linux/arm64/v8",
            "windows/amd64",
            "linux/arm/v7",
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "a/b/c/d",
            "linux/am d64",
            "l\n/x",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
        assert_eq!(
            "linux".parse::<Platform>().unwrap_err().to_string(),
            r#"platform "linux" is not of the form os/architecture: write linux/amd64"#
        );
    }

    #[test]
    fn a_platform_has_two_parts_or_three() {
        for (text, parts) in [
            ("linux/arm64/v8", ("linux", "arm64", Some("v8"))),
            ("js/wasm", ("js", "wasm", None)),
        ] {
            let platform: Platform = text.parse().unwrap();
            let read = (platform.os(), platform.architecture(), platform.variant());
            assert_eq!((read, platform.as_str()), (parts, text));
        }
    }

    #[test]
    fn a_platform_serves_its_like() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64").serves(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm64/v8").serves(&platform("linux/arm64")));
        assert!(!platform("linux/arm/v7").serves(&platform("linux/arm/v6")));
        assert!(!platform("linux/amd64").serves(&platform("linux/arm64")));
        assert!(!platform("linux/amd64").serves(&platform("windows/amd64")));
    }

    #[test]
    fn exposed_ports_parse_and_display() {
        for (text, expected) in [("80", "80/tcp"), ("53/udp", "53/udp"), ("9/sctp", "9/sctp")] {
            let exposed: ExposedPort = text.parse().unwrap();
            assert_eq!(exposed.to_string(), expected);
            assert!(expected.starts_with(&format!("{}/", exposed.port())));
        }
        for text in [
            "",
            "0",
            "65536",
            "+80",
            "80/",
            "80/TCP",
            "80/icmp",
            "80-90/tcp",
            "/tcp",
        ] {
            assert!(text.parse::<ExposedPort>().is_err(), "{text:?}");
        }
        assert_eq!(
            "0".parse::<ExposedPort>().unwrap_err().to_string(),
            r#"exposed port "0" is not a port and a protocol: write 8080/tcp"#
        );
    }

    #[test]
    fn media_types_have_one_spelling_each() {
        for media_type in MediaType::ALL {
            assert_eq!(media_type.as_str().parse(), Ok(media_type));
        }
        assert!(MediaType::OciIndex.is_index() && MediaType::DockerManifestList.is_index());
        assert!(!MediaType::OciManifest.is_index() && !MediaType::DockerManifest.is_index());
        assert_eq!(
            "text/html".parse::<MediaType>().unwrap_err().to_string(),
            r#"media type "text/html" is not that of a container image"#
        );
    }
}
