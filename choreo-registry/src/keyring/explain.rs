//! Explains which key each tool uses for an image, and why, or why none.

use std::cmp::Reverse;
use std::fmt;

use super::kubelet::{self, FALLBACK_KEY, Rule, Target};
use super::nearest;
use super::reason::Reason;
use super::redacted_key::Shown;
use super::tool::Tool;
use super::tools;
use crate::ImageReference;

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
            None => nearest::nearest(tool, keys, &target),
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
        .filter_map(|key| Some((*key, tools::fit(tool, key, target, domain)?)))
        .min_by_key(|(_, fit)| fit.distance);
    match best {
        Some((key, fit)) => (vec![key], Some(fit.reason)),
        None => (Vec::new(), None),
    }
}
