//! Explains which key each tool uses for an image, and why, or why none.

use std::cmp::Reverse;
use std::fmt;

use super::clients;
use super::go_url::UrlError;
use super::kubelet::{self, FALLBACK_KEY, Rule, Target};
use super::miss;
use super::shown::Shown;
use crate::ImageReference;

/// A program, or a library in several programs, that looks up a registry's credential under
/// `auths`.
///
/// `Display` writes the common name: `kubelet`, `docker`, `podman`, `oras`.
///
/// ```
/// use choreo_registry::keyring::Tool;
///
/// assert_eq!(Tool::ALL.len(), 4);
/// assert_eq!(Tool::ContainersImage.to_string(), "podman");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// The kubelet, with the keys of pull secrets.
    Kubelet,
    /// Docker's command line.
    Docker,
    /// containers/image: Podman, Skopeo, Buildah, and CRI-O with a file of its own.
    ContainersImage,
    /// oras and other programs that use oras-go.
    Oras,
}

impl Tool {
    /// All tools, in the order of explanations.
    pub const ALL: [Self; 4] = [
        Self::Kubelet,
        Self::Docker,
        Self::ContainersImage,
        Self::Oras,
    ];
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kubelet => "kubelet",
            Self::Docker => "docker",
            Self::ContainersImage => "podman",
            Self::Oras => "oras",
        })
    }
}

/// The keys that the tools use for one image, from [`Keyring::explain`](super::Keyring::explain).
///
/// `Display` writes one line for people, without user names and passwords in the keys.
///
/// ```
/// use choreo_registry::keyring::{Keyring, Tool};
///
/// let keyring = Keyring::from_keys(["https://registry.example.com", "registry.example.com/acme"]);
/// let image = "registry.example.com/acme/app:1".parse()?;
/// let explanation = keyring.explain(&image);
///
/// let kubelet: Vec<_> = explanation.tool(Tool::Kubelet).keys().collect();
/// assert_eq!(kubelet, ["registry.example.com/acme", "https://registry.example.com"]);
/// assert_eq!(explanation.tools().len(), Tool::ALL.len());
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone)]
pub struct Explanation<'a> {
    tools: [ToolExplanation<'a>; 4],
}

impl<'a> Explanation<'a> {
    pub(super) fn of(keys: &[&'a str], image: &ImageReference) -> Self {
        Self {
            tools: Tool::ALL.map(|tool| ToolExplanation::of(tool, keys, image)),
        }
    }

    /// Returns the explanation for one tool.
    #[must_use]
    pub fn tool(&self, tool: Tool) -> &ToolExplanation<'a> {
        &self.tools[tool as usize]
    }

    /// Returns the explanations for all tools, in the order of [`Tool::ALL`].
    #[must_use]
    pub fn tools(&self) -> &[ToolExplanation<'a>] {
        &self.tools
    }
}

impl fmt::Debug for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.tools).finish()
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, tool) in self.tools.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {tool}", tool.tool)?;
        }
        Ok(())
    }
}

/// The keys that one tool uses for an image, and the reason.
///
/// ```
/// use choreo_registry::keyring::{Keyring, Reason, Tool};
///
/// let keyring = Keyring::from_keys(["ghcr.io:443", "quay.io"]);
/// let image = "ghcr.io/acme/app".parse()?;
/// let explanation = keyring.explain(&image);
/// let kubelet = explanation.tool(Tool::Kubelet);
///
/// assert_eq!(kubelet.tool(), Tool::Kubelet);
/// assert!(!kubelet.matches());
/// assert_eq!(kubelet.key(), None);
/// assert_eq!(kubelet.nearest(), Some("ghcr.io:443"));
/// assert_eq!(kubelet.reason(), Reason::Port);
/// assert_eq!(
///     kubelet.to_string(),
///     "does not match \"ghcr.io:443\", because its port is not the one in the image's name",
/// );
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone)]
pub struct ToolExplanation<'a> {
    tool: Tool,
    keys: Vec<&'a str>,
    nearest: Option<&'a str>,
    reason: Reason,
}

impl<'a> ToolExplanation<'a> {
    fn of(tool: Tool, keys: &[&'a str], image: &ImageReference) -> Self {
        let target = Target::of(image);
        let (found, reason) = match tool {
            Tool::Kubelet => kubelet_keys(keys, &target),
            _ => client_key(tool, keys, &target, image.domain()),
        };
        let first = found.first().copied();
        let (nearest, reason) = match reason {
            Some(reason) => (first, reason),
            None => miss::nearest(tool, keys, &target),
        };
        Self {
            tool,
            keys: found,
            nearest,
            reason,
        }
    }

    /// Returns the tool.
    #[must_use]
    pub fn tool(&self) -> Tool {
        self.tool
    }

    /// Returns `true` if the tool uses any key.
    #[must_use]
    pub fn matches(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Returns the keys that the tool uses, in their original spelling: the kubelet's in the order
    /// in which it tries them, at most one for any other tool.
    ///
    /// ```
    /// use choreo_registry::keyring::{Keyring, Tool};
    ///
    /// let keyring = Keyring::from_keys(["ghcr.io", "ghcr.io/acme"]);
    /// let image = "ghcr.io/acme/app".parse()?;
    /// let explanation = keyring.explain(&image);
    /// assert!(explanation.tool(Tool::Kubelet).keys().eq(["ghcr.io/acme", "ghcr.io"]));
    /// assert!(explanation.tool(Tool::Docker).keys().eq(["ghcr.io"]));
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.keys.iter().copied()
    }

    /// Returns the first key that the tool uses.
    #[must_use]
    pub fn key(&self) -> Option<&'a str> {
        self.keys.first().copied()
    }

    /// Returns the key that [`reason`](Self::reason) describes: the first that matches, or the
    /// nearest; `None` if no key is for the image's host.
    #[must_use]
    pub fn nearest(&self) -> Option<&'a str> {
        self.nearest
    }

    /// Returns why that key matches or does not match.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// Leaves out user names and passwords in the keys.
impl fmt::Debug for ToolExplanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.tool)
    }
}

impl fmt::Display for ToolExplanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.keys.split_first() else {
            f.write_str("does not match")?;
            if let Some(key) = self.nearest {
                write!(f, " {}", Shown(key))?;
            }
            return write!(f, ", because {}", self.reason);
        };
        write!(f, "matches {}", Shown(first))?;
        more.iter()
            .try_for_each(|key| write!(f, ", then {}", Shown(key)))
    }
}

/// The linear scan with which tests compare the index of a keyring.
fn kubelet_keys<'a>(keys: &[&'a str], target: &Target<'_>) -> (Vec<&'a str>, Option<Reason>) {
    let mut found = Vec::new();
    let mut fallback = Vec::new();
    for &key in keys {
        let Ok(normal) = kubelet::normalise(key) else {
            continue;
        };
        if normal == FALLBACK_KEY {
            fallback.push(key);
        }
        if let Ok(rule) = Rule::of(&normal)
            && target.is_url
            && rule.matches(target)
        {
            found.push((Reverse(normal), key, rule));
        }
    }
    if found.is_empty() && target.is_default_registry() && !fallback.is_empty() {
        return (fallback, Some(Reason::Fallback));
    }
    found.sort_by(|(left, ..), (right, ..)| left.cmp(right));
    let reason = found.first().map(|(_, _, rule)| {
        if rule.is_glob() {
            Reason::Glob
        } else if rule.path.is_empty() {
            Reason::Host
        } else {
            Reason::Prefix
        }
    });
    (found.into_iter().map(|(_, key, _)| key).collect(), reason)
}

fn client_key<'a>(
    tool: Tool,
    keys: &[&'a str],
    target: &Target<'_>,
    domain: &str,
) -> (Vec<&'a str>, Option<Reason>) {
    let best = keys
        .iter()
        .filter_map(|key| Some((*key, clients::fit(tool, key, target, domain)?)))
        .min_by_key(|(_, fit)| fit.distance);
    match best {
        Some((key, fit)) => (vec![key], Some(fit.reason)),
        None => (Vec::new(), None),
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    // Mismatches, the nearest first.
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
        self <= Self::Fallback
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
