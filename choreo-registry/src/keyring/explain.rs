//! Which key each tool takes for an image, and why, or why none.

use std::cmp::Reverse;
use std::fmt;

use super::clients;
use super::go_url::UrlError;
use super::kubelet::{self, FALLBACK_KEY, Rule, Target};
use super::miss;
use super::shown::Shown;
use crate::ImageReference;

/// A program, or a library in several programs, that looks for a registry's credential among
/// `auths`.
///
/// `Display` is the name that people know: `kubelet`, `docker`, `podman`, `oras`.
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
    /// oras, and what else is built on oras-go.
    Oras,
}

impl Tool {
    /// All of them, in the order of explanations.
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

/// Which keys the tools take for one image, from [`Keyring::explain`](super::Keyring::explain).
///
/// `Display` is one line for people; a key's user name and password, if somebody wrote them into
/// it, are left out.
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

    /// What it is for one tool.
    #[must_use]
    pub fn tool(&self, tool: Tool) -> &ToolExplanation<'a> {
        &self.tools[tool as usize]
    }

    /// What it is for each tool, in the order of [`Tool::ALL`].
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

/// Which keys one tool takes for an image, and why.
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

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> Tool {
        self.tool
    }

    /// Whether it takes any key.
    #[must_use]
    pub fn matches(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The keys that it takes, as they were given: the kubelet's in the order in which it tries
    /// them, at most one of any other tool.
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

    /// The first key that it takes.
    #[must_use]
    pub fn key(&self) -> Option<&'a str> {
        self.keys.first().copied()
    }

    /// The key of which [`reason`](Self::reason) speaks: the first that matches, or the one that
    /// comes nearest; `None` when no key is for the image's host.
    #[must_use]
    pub fn nearest(&self) -> Option<&'a str> {
        self.nearest
    }

    /// Why that key matches, or does not.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// Shows the keys without user names and passwords that somebody wrote into them.
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

/// The linear scan that the index of a keyring is compared with.
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

/// Why a tool takes a key for an image, or does not. `Display` says it in words.
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
    /// It matches: it is what the tool looks for first.
    Exact,
    /// It matches: its host is the image's.
    Host,
    /// It matches: it is the registry or a namespace that the image is in.
    Parent,
    /// It matches: its path is the beginning of the image's path, not always of whole parts.
    Prefix,
    /// It matches: the image's host fits its pattern.
    Glob,
    /// It matches: it is another name of Docker Hub.
    DockerHub,
    /// It matches: no other key does, and the kubelet takes an image without a registry, and one
    /// of a registry without dot and port in its name, for Docker Hub's.
    Fallback,

    // What does not match: the nearest first.
    /// Its path is not the beginning of the image's path.
    Path,
    /// `/v1` and `/v2` are cut off only where a slash follows.
    VersionPath,
    /// It has a path but no scheme, and is no parent of the image.
    Namespace,
    /// It is not spelled as the tool looks for it: a query, a user name, an odd port.
    Spelling,
    /// Its scheme is not `http://` or `https://`, in lower case.
    Scheme,
    /// Its port is not the one in the image's name.
    Port,
    /// It differs in upper and lower case.
    Case,
    /// It is an IPv6 address without a port, which the kubelet takes for a set of characters.
    Ipv6Brackets,
    /// The tool drops it, for it is no URL.
    Unreadable(UrlError),
    /// It is a name of Docker Hub for which Docker and oras do not look.
    HubKey,
    /// It is a name of Docker Hub that the kubelet does not know.
    HubName,
    /// The host of the image is in brackets and no IPv6 address.
    ImageAddress,
    /// Images with such a host are none to the tool: to Podman an IPv6 address, and a name in upper
    /// case without dot and port.
    ImageHost,
    /// No key is for the image's host.
    OtherHost,
    /// There are no keys.
    NoKeys,
}

impl Reason {
    /// Whether it is a reason why a key matches.
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
