//! Registry hosts: normalises what people paste to one spelling, or rejects it with a suggestion.

mod error;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use self::error::ParseHostError;
use crate::ImageReference;
use crate::string_value::string_value;

/// The host of a registry, with its port unless that is 443.
///
/// Parsing cleans pasted input: surrounding blanks, a scheme (`https://`, `http://`, `docker://`,
/// `oci://`), a trailing slash or dot, the path `/v1/` or `/v2/`, upper case, the default port. The
/// result is one spelling for each registry. Docker Hub's five names become one: `docker.io`.
///
/// ```
/// use choreo_registry::RegistryHost;
///
/// let host: RegistryHost = "https://Registry.Example.com:443/".parse()?;
/// assert_eq!(host.as_str(), "registry.example.com");
/// assert_eq!(host.port(), None);
///
/// let host: RegistryHost = "localhost:5000".parse()?;
/// assert_eq!((host.name(), host.port()), ("localhost", Some(5000)));
/// assert!(host.is_loopback());
///
/// let hub: RegistryHost = "https://index.docker.io/v1/".parse()?;
/// assert_eq!(hub.as_str(), "docker.io");
/// assert_eq!(hub.api_host(), "registry-1.docker.io");
/// assert_eq!(hub.image_domain(), "docker.io");
/// # Ok::<(), choreo_registry::host::ParseHostError>(())
/// ```
///
/// The scheme does not select the protocol: the client's policy does, and uses TLS unless an
/// operator decides otherwise.
///
/// Names follow [RFC 1123](https://www.rfc-editor.org/rfc/rfc1123#section-2.1): labels of at most
/// 63 letters, digits and inner hyphens, 253 bytes together. A name that ends in a number must be
/// an IPv4 address. A name without a dot, except `localhost`, keeps its port: without one, an image
/// reference would read it as a namespace of Docker Hub.
///
/// # What it does not do
///
/// It does not resolve or contact the host, and does not decide whether a control plane may connect
/// to it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RegistryHost {
    text: String,
    /// The position of the port's colon, or the length.
    name_end: usize,
}

impl RegistryHost {
    /// Returns the canonical spelling: `registry.example.com`, `localhost:5000`,
    /// `[2001:db8::1]:5000`; `docker.io` for Docker Hub.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name or address, without the port; an IPv6 address is in brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.name_end]
    }

    /// Returns the port, if one is written; `None` means 443.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let digits = self.text[self.name_end..].strip_prefix(':')?;
        Some(
            digits
                .parse()
                .expect("a parsed host's port is a number up to 65535"),
        )
    }

    /// Returns the domain of this registry's images, as image references write it.
    #[must_use]
    pub fn image_domain(&self) -> &str {
        &self.text
    }

    /// Returns `true` for Docker Hub, by any of its names.
    ///
    /// ```
    /// # use choreo_registry::RegistryHost;
    /// for name in ["docker.io", "index.docker.io", "registry-1.docker.io",
    ///              "registry.hub.docker.com", "registry.docker.com"] {
    ///     assert!(name.parse::<RegistryHost>()?.is_docker_hub());
    /// }
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        self.text == DOCKER_HUB
    }

    /// Returns the host and port that serve the [OCI distribution
    /// API](https://github.com/opencontainers/distribution-spec/blob/main/spec.md):
    /// `registry-1.docker.io` for Docker Hub.
    #[must_use]
    pub fn api_host(&self) -> &str {
        if self.is_docker_hub() {
            "registry-1.docker.io"
        } else {
            &self.text
        }
    }

    /// Returns the key under `auths` by which kubelets, containerd, Docker, Podman, ORAS and
    /// regclient all find this registry's credential.
    ///
    /// ```
    /// # use choreo_registry::RegistryHost;
    /// let hub: RegistryHost = "docker.io".parse()?;
    /// assert_eq!(hub.auths_key(), "https://index.docker.io/v1/");
    ///
    /// let other: RegistryHost = "localhost:5000".parse()?;
    /// assert_eq!(other.auths_key(), "localhost:5000");
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn auths_key(&self) -> &str {
        if self.is_docker_hub() {
            DOCKER_HUB_KEY
        } else {
            &self.text
        }
    }

    /// Returns `true` if the image belongs to the registry at this host.
    ///
    /// The comparison ignores case and the port 443, and treats all names of Docker Hub as one.
    ///
    /// ```
    /// use choreo_registry::RegistryHost;
    ///
    /// let hub: RegistryHost = "docker.io".parse()?;
    /// assert!(hub.serves(&"nginx".parse()?));
    /// assert!(!hub.serves(&"registry.example.com/nginx".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn serves(&self, image: &ImageReference) -> bool {
        image.domain() == self.image_domain()
            || image
                .domain()
                .parse::<Self>()
                .is_ok_and(|host| host == *self)
    }

    /// Returns the image with the name for which kubelets find this host's pull secret; `None` if
    /// the image belongs to another registry.
    ///
    /// Kubelets compare hosts byte by byte, so the pod must contain the canonical spelling of every
    /// image that [`serves`](Self::serves) accepts.
    ///
    /// ```
    /// use choreo_registry::RegistryHost;
    ///
    /// let ghcr: RegistryHost = "ghcr.io".parse()?;
    /// let image = ghcr.canonical_image(&"GHCR.io:443/acme/app:1".parse()?);
    /// assert_eq!(image.unwrap().as_str(), "ghcr.io/acme/app:1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn canonical_image(&self, image: &ImageReference) -> Option<ImageReference> {
        if !self.serves(image) {
            return None;
        }
        if image.domain() == self.image_domain() {
            return Some(image.clone());
        }
        let rest = image.as_str().strip_prefix(image.domain())?;
        // Docker Hub's `library/` may make a name too long.
        format!("{}{rest}", self.image_domain()).parse().ok()
    }

    /// Returns `true` if the host is the machine itself: `localhost` or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let name = self.name();
        name == "localhost"
            || name.ends_with(".localhost")
            || name
                .parse()
                .is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
            || self
                .ipv6()
                .is_some_and(|address| address.to_canonical().is_loopback())
    }

    pub(crate) fn ipv6(&self) -> Option<std::net::Ipv6Addr> {
        self.name()
            .strip_prefix('[')?
            .strip_suffix(']')?
            .parse()
            .ok()
    }
}

impl FromStr for RegistryHost {
    type Err = ParseHostError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let docker_hub = || Self {
            text: DOCKER_HUB.to_owned(),
            name_end: DOCKER_HUB.len(),
        };
        // Most docker configs are for Docker Hub.
        if input == DOCKER_HUB_KEY {
            return Ok(docker_hub());
        }
        let (name, port) = parse::host(input).map_err(|rule| ParseHostError::new(input, rule))?;
        if port.is_none() && DOCKER_HUB_NAMES.contains(&name.as_str()) {
            return Ok(docker_hub());
        }
        let name_end = name.len();
        let mut text = name;
        if let Some(port) = port {
            fmt::Write::write_fmt(&mut text, format_args!(":{port}"))
                .expect("writing to a String does not fail");
        }
        Ok(Self { text, name_end })
    }
}

string_value!(
    RegistryHost,
    ParseHostError,
    "a registry host such as \"registry.example.com:5000\""
);

const DOCKER_HUB: &str = "docker.io";

/// The key that `docker login` and kubectl write for Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// All names of Docker Hub as a registry.
pub(crate) const DOCKER_HUB_NAMES: [&str; 5] = [
    DOCKER_HUB,
    "index.docker.io",
    "registry-1.docker.io",
    "registry.docker.com",
    "registry.hub.docker.com",
];
