//! Why a tool uses a key, or does not.

use std::fmt;

use super::go_url::UrlError;

/// Why a tool uses a key for an image, or does not. `Display` writes the reason in words.
///
/// ```
/// use choreo_registry::keyring::{Keyring, Reason, Tool};
///
/// let keyring = Keyring::from_keys(["index.docker.io/v1/"]);
/// let image = "nginx".parse()?;
/// let explanation = keyring.explain(&image);
///
/// let kubelet = explanation.tool(Tool::Kubelet).reason();
/// assert!(kubelet.is_match());
/// assert_eq!(kubelet, Reason::Fallback);
///
/// let docker = explanation.tool(Tool::Docker).reason();
/// assert!(!docker.is_match());
/// assert_eq!(
///     docker.to_string(),
///     "for Docker Hub only \"https://index.docker.io/v1/\" is looked for",
/// );
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It matches: it is the first key that the tool looks up.
    Exact,
    /// It matches: its host is the image's.
    Host,
    /// It matches: it is the image's registry, or a namespace that contains the image.
    Parent,
    /// It matches: its path is a prefix of the image's path, not always of whole segments.
    Prefix,
    /// It matches: the image's host matches its pattern.
    Glob,
    /// It matches: it is another name of Docker Hub.
    DockerHub,
    /// It matches: no other key does, and the kubelet treats an image without a registry, or with a
    /// registry name without dot and port, as one of Docker Hub.
    Fallback,

    /// Its path is not a prefix of the image's path.
    Path,
    /// `/v1` and `/v2` are removed only before a slash.
    VersionPath,
    /// It has a path but no scheme, and is not a parent of the image.
    Namespace,
    /// It is not spelled as the tool expects: a query, a user name, an unusual port.
    Spelling,
    /// Its scheme is not `http://` or `https://` in lower case.
    Scheme,
    /// Its port is not the one in the image's name.
    Port,
    /// It differs in upper and lower case.
    Case,
    /// It is an IPv6 address without a port, which the kubelet reads as a set of characters.
    Ipv6Brackets,
    /// The tool drops it because it is not a valid URL.
    Unreadable(UrlError),
    /// It is a name of Docker Hub that Docker and oras do not look up.
    HubKey,
    /// It is a name of Docker Hub that the kubelet does not know.
    HubName,
    /// The image's host is in brackets but is not an IPv6 address.
    ImageAddress,
    /// The tool does not accept images with such a host: Podman rejects IPv6 addresses, and names
    /// in upper case without dot and port.
    ImageHost,
    /// No key is for the image's host.
    OtherHost,
    /// The keyring is empty.
    NoKeys,
}

impl Reason {
    /// Returns `true` if it is a reason why a key matches.
    #[must_use]
    pub fn is_match(self) -> bool {
        matches!(
            self,
            Self::Exact
                | Self::Host
                | Self::Parent
                | Self::Prefix
                | Self::Glob
                | Self::DockerHub
                | Self::Fallback
        )
    }

    /// Returns a number that is smaller if the key is nearer to one that matches; 0 if it matches.
    pub(super) fn distance(self) -> u8 {
        match self {
            Self::Exact
            | Self::Host
            | Self::Parent
            | Self::Prefix
            | Self::Glob
            | Self::DockerHub
            | Self::Fallback => 0,
            Self::Path => 1,
            Self::VersionPath => 2,
            Self::Namespace => 3,
            Self::Spelling => 4,
            Self::Scheme => 5,
            Self::Port => 6,
            Self::Case => 7,
            Self::Ipv6Brackets => 8,
            Self::Unreadable(_) => 9,
            Self::HubKey => 10,
            Self::HubName => 11,
            Self::ImageAddress => 12,
            Self::ImageHost => 13,
            Self::OtherHost => 14,
            Self::NoKeys => 15,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "it is what is looked for first",
            Self::Host => "its host is the image's",
            Self::Parent => "it is a registry or namespace that the image is in",
            Self::Prefix => "its path is the beginning of the image's",
            Self::Glob => "the image's host fits its pattern",
            Self::DockerHub => "it is another name of Docker Hub",
            Self::Fallback => "no other key matches, and the image is taken for one of Docker Hub",
            Self::Path => "its path is not the beginning of the image's",
            Self::VersionPath => "\"/v1\" and \"/v2\" are cut off only where a slash follows",
            Self::Namespace => {
                "a key without \"https://\" has to be the image's name up to one of its slashes"
            }
            Self::Spelling => "it is compared as it is written",
            Self::Scheme => "only \"http://\" and \"https://\" are cut off, in lower case",
            Self::Port => "its port is not the one in the image's name",
            Self::Case => "upper and lower case differ",
            Self::Ipv6Brackets => "brackets without a port are taken for a set of characters",
            Self::Unreadable(error) => return write!(f, "it is dropped: {error}"),
            Self::HubKey => "for Docker Hub only \"https://index.docker.io/v1/\" is looked for",
            Self::HubName => {
                "Docker Hub is known as \"docker.io\" and, without port and path, as \
                 \"index.docker.io\" only"
            }
            Self::ImageAddress => "the image's host is in brackets and no IPv6 address",
            Self::ImageHost => "images with such a host are refused",
            Self::OtherHost => "no key is for its host",
            Self::NoKeys => "there are no keys",
        })
    }
}
