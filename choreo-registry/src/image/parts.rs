//! The component types of a resolved image.

use std::{fmt, str::FromStr};

use crate::{quote::Quoted, string_value::string_value};

/// The manifest types from which nodes can run images.
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
    /// All media types, for `Accept` headers and tables.
    pub const ALL: [Self; 4] = [
        Self::OciIndex,
        Self::OciManifest,
        Self::DockerManifestList,
        Self::DockerManifest,
    ];

    /// Returns the media type as registries write it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerManifestList => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    /// Returns `true` if the document lists images for several platforms.
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

/// The error returned if a text is not the [`MediaType`] of an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseMediaTypeError {
    input: String,
}

impl fmt::Display for ParseMediaTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "media type {} is not that of a container image",
            Quoted::new(&self.input)
        )
    }
}

impl std::error::Error for ParseMediaTypeError {}

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
    /// Returns the port, which is never zero.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the protocol; TCP if the image names none.
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

/// The error returned if a text is not a valid [`ExposedPort`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseExposedPortError {
    input: String,
}

impl fmt::Display for ParseExposedPortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = Quoted::new(&self.input);
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
        #[test]
        fn any_text_is_an_exposed_port_or_refused(text in "\\PC{0,12}|[0-9]{0,6}(/[a-z]{0,4})?") {
            if let Ok(port) = text.parse::<ExposedPort>() {
                prop_assert_eq!(port.to_string().parse(), Ok(port));
            }
        }
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
