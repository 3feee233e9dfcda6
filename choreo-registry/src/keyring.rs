//! Credential look-up for an image: the keys under `auths`, compared as each tool compares them.
//!
//! A pull secret or a `config.json` stores credentials under keys, and each tool compares an
//! image's name with them in its own way. If they differ, a credential works on a laptop but not in
//! a pod. [`Keyring::lookup`] returns the kubelet's result, exactly and fast; [`Keyring::explain`]
//! returns the result of each [`Tool`], with the reason.
//!
//! | | kubelet | docker | podman, skopeo, CRI-O | oras |
//! |---|---|---|---|---|
//! | keys that are used | all that match, one after another | one | one | one |
//! | schemes cut off | `http://`, `https://` | any | `http://`, `https://` | `http://`, `https://` |
//! | path of the key | must be the beginning of the image's, `/v1/` and `/v2/` cut off | ignored | whole parts of the image's name; ignored behind a scheme | ignored |
//! | port | must be the image's, as text | the same | the same | the same |
//! | patterns in the host | yes | no | no | no |
//! | Docker Hub | `docker.io`; `index.docker.io` when nothing else matches | `https://index.docker.io/v1/` only | `docker.io`, `index.docker.io`, `registry-1.docker.io` | `https://index.docker.io/v1/` only |
//!
//! [`RegistryHost::auths_key`](crate::RegistryHost::auths_key) is the one spelling that all of them
//! find. It is the key of one host. An image may spell that host otherwise (`GHCR.io:443`), which a
//! kubelet treats as another host: deploy, and look up,
//! [`RegistryHost::canonical_image`](crate::RegistryHost::canonical_image).
//!
//! The rules are those of Kubernetes 1.37 with its
//! [keyring](https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/credentialprovider/keyring.go),
//! Docker's CLI 29.9, go.podman.io/image 5.42 and oras-go 2.7, all built by Go 1.26. Kubelets that
//! were built by older Go also read `[…]` in the middle of a host as a set of characters; Go 1.26
//! reads it as an invalid IPv6 address and drops the key.
//!
//! # What it does not do
//!
//! It does not run credential helpers or read files. Nodes may have credentials and credential
//! providers of their own, which a kubelet also tries.

mod explain;
mod glob;
mod go_url;
mod index;
mod kubelet;
mod nearest;
mod reason;
mod redacted_key;
#[cfg(test)]
mod tests;
mod tool;
mod tools;

use std::fmt;
use std::iter::FusedIterator;

pub use self::explain::{Explanation, ToolExplanation};
pub use self::go_url::UrlError;
use self::index::{Index, Ranks};
use self::kubelet::Target;
pub use self::reason::Reason;
use self::redacted_key::Shown;
pub use self::tool::Tool;
use crate::{ContainerRegistry, ImageReference};

/// Keys under `auths`, each with a value of the caller's, indexed for many look-ups.
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry};
/// use choreo_registry::keyring::Keyring;
///
/// let registries = [
///     ContainerRegistry::new("Team", "ghcr.io".parse()?, Authentication::Public)?,
///     ContainerRegistry::new("Hub", "docker.io".parse()?, Authentication::Public)?,
/// ];
/// let keyring = Keyring::from_registries(&registries);
///
/// let image = "nginx:1.26".parse()?;
/// let found = keyring.lookup(&image).next().expect("Docker Hub is registered");
/// assert_eq!(found.value().display_name(), "Hub");
/// assert_eq!(found.key(), "https://index.docker.io/v1/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
///
/// The time of a look-up depends on the length of the image's name and on the number of matches,
/// not on the number of keys, hosts, ports or paths. Keys with a `*` in the host are found by their
/// labels without one: of `*.a.example.com` and `*.b.example.com` one is compared. Only two things
/// add up: patterns in the same position beside the same labels (`a*.example.com`,
/// `b*.example.com`), each of which is compared, and different positions (`*.example.com`,
/// `eu.*.com`: one hash each).
///
/// A look-up that finds up to eight keys does not allocate. Building takes time and memory for each
/// key, and up to nine times as much for a key with a path.
pub struct Keyring<T = ()> {
    entries: Vec<Entry<T>>,
    index: Index,
}

impl Keyring {
    /// Creates a keyring from keys as they are written in a file. It rejects nothing: a tool drops
    /// a key that it cannot read, and [`explain`](Self::explain) reports it.
    ///
    /// ```
    /// use choreo_registry::keyring::Keyring;
    ///
    /// let keyring = Keyring::from_keys(["*.example.com", "https://registry.example.com/v2/"]);
    /// let image = "registry.example.com/acme/app".parse()?;
    /// let keys: Vec<_> = keyring.lookup(&image).map(|entry| entry.key()).collect();
    /// assert_eq!(keys, ["https://registry.example.com/v2/", "*.example.com"]);
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    pub fn from_keys<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self::from_entries(keys.into_iter().map(|key| (key, ())))
    }
}

impl<'r> Keyring<&'r ContainerRegistry> {
    /// Creates a keyring from registered registries, each under the [key of its pull
    /// secret](crate::RegistryHost::auths_key).
    ///
    /// It also contains registries without a pull secret, [public](crate::Authentication::Public)
    /// ones and those with [the cloud's own](crate::Authentication::Vendor) authentication, so that
    /// it returns the registry of any image, and [`explain`](Self::explain) reports their keys too.
    /// Leave them out if only credentials matter.
    ///
    /// Images are compared by the kubelet's rules. For user input, first take the
    /// [`canonical_image`](crate::RegistryHost::canonical_image) of the image's own host, which
    /// normalises case, port 443 and Docker Hub's other names.
    ///
    /// ```
    /// use choreo_registry::keyring::Keyring;
    /// use choreo_registry::{Authentication, ContainerRegistry, ImageReference, RegistryHost};
    ///
    /// let registries = [ContainerRegistry::new(
    ///     "Team",
    ///     "ghcr.io".parse()?,
    ///     Authentication::basic("alice", "hunter2")?,
    /// )?];
    /// let with_credential = registries
    ///     .iter()
    ///     .filter(|registry| registry.authentication().credential().is_some());
    /// let keyring = Keyring::from_registries(with_credential);
    ///
    /// let typed: ImageReference = "GHCR.io:443/acme/app".parse()?;
    /// assert!(keyring.lookup(&typed).next().is_none());
    /// let host: RegistryHost = typed.domain().parse()?;
    /// let image = host.canonical_image(&typed).expect("it is an image of its own host");
    /// assert_eq!(image.as_str(), "ghcr.io/acme/app");
    /// let found = keyring.lookup(&image).next().expect("a kubelet finds it");
    /// assert_eq!(found.value().display_name(), "Team");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_registries(registries: impl IntoIterator<Item = &'r ContainerRegistry>) -> Self {
        let entries = registries.into_iter();
        Self::from_entries(entries.map(|registry| (registry.host().auths_key(), registry)))
    }
}

impl<T> Keyring<T> {
    /// Creates a keyring from keys and values, where a value is what the caller needs to find the
    /// credential.
    ///
    /// ```
    /// use choreo_registry::keyring::Keyring;
    ///
    /// let keyring = Keyring::from_entries([("ghcr.io", 17), ("ghcr.io/acme", 4)]);
    /// let image = "ghcr.io/acme/app".parse()?;
    /// let numbers: Vec<_> = keyring.lookup(&image).map(|entry| *entry.value()).collect();
    /// assert_eq!(numbers, [4, 17]);
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    pub fn from_entries<K: Into<String>>(entries: impl IntoIterator<Item = (K, T)>) -> Self {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(key, value)| Entry {
                key: key.into(),
                value,
            })
            .collect();
        let mut sorted: Vec<_> = entries
            .iter()
            .enumerate()
            .filter_map(|(given, entry)| Some((kubelet::normalise(&entry.key).ok()?, given)))
            .collect();
        sorted.sort_unstable_by(|(left, first), (right, second)| {
            right.cmp(left).then(first.cmp(second))
        });
        Self {
            index: Index::of(&sorted),
            entries,
        }
    }

    /// Returns the entries that a kubelet tries for an image, in its order. The kubelet sorts the
    /// keys by their bytes in reverse, so more specific keys mostly come first.
    ///
    /// Keys with the same meaning (`ghcr.io` and `https://ghcr.io/`) are returned in their original
    /// order; the kubelet's own order among them is random.
    pub fn lookup(&self, image: &ImageReference) -> Matches<'_, T> {
        Matches {
            keyring: self,
            ranks: self.index.find(&Target::of(image)),
            next: 0,
        }
    }

    /// Explains which keys each tool uses for an image, and why, or why none.
    ///
    /// Unlike a look-up it reads every key: use it for questions about one image.
    ///
    /// ```
    /// use choreo_registry::keyring::Keyring;
    ///
    /// let keyring = Keyring::from_keys(["index.docker.io/v1/"]);
    /// assert_eq!(
    ///     keyring.explain(&"acme/app".parse()?).to_string(),
    ///     "kubelet: matches \"index.docker.io/v1/\"; \
    ///      docker: does not match \"index.docker.io/v1/\", because for Docker Hub only \
    ///      \"https://index.docker.io/v1/\" is looked for; \
    ///      podman: does not match \"index.docker.io/v1/\", because a key without \"https://\" has \
    ///      to be the image's name up to one of its slashes; \
    ///      oras: does not match \"index.docker.io/v1/\", because for Docker Hub only \
    ///      \"https://index.docker.io/v1/\" is looked for",
    /// );
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    pub fn explain(&self, image: &ImageReference) -> Explanation<'_> {
        let keys: Vec<_> = self.entries.iter().map(Entry::key).collect();
        Explanation::of(&keys, image)
    }

    /// Returns all entries in their original order, also those that no tool can read.
    ///
    /// ```
    /// use choreo_registry::keyring::Keyring;
    ///
    /// let keyring = Keyring::from_keys(["ghcr.io", "not a host"]);
    /// assert_eq!(keyring.entries().len(), 2);
    /// assert_eq!(keyring.entries()[1].key(), "not a host");
    /// ```
    #[must_use]
    pub fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }
}

impl<T: fmt::Debug> fmt::Debug for Keyring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// A key and its value.
///
/// ```
/// use choreo_registry::keyring::Keyring;
///
/// let keyring = Keyring::from_entries([("ghcr.io/acme", 4)]);
/// let image = "ghcr.io/acme/app".parse()?;
/// let entry = keyring.lookup(&image).next().expect("the key is for the image");
/// assert_eq!((entry.key(), *entry.value()), ("ghcr.io/acme", 4));
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
///
/// `Debug` leaves out user names and passwords in the key.
#[derive(Clone)]
pub struct Entry<T> {
    key: String,
    value: T,
}

impl<T> Entry<T> {
    /// Returns the original key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the caller's value.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &Shown(&self.key))
            .field("value", &self.value)
            .finish()
    }
}

/// The entries that a kubelet tries for an image, from [`Keyring::lookup`].
pub struct Matches<'k, T> {
    keyring: &'k Keyring<T>,
    ranks: Ranks,
    next: usize,
}

impl<'k, T> Iterator for Matches<'k, T> {
    type Item = &'k Entry<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let rank = self.ranks.get(self.next)?;
        self.next += 1;
        Some(&self.keyring.entries[self.keyring.index.given(rank)])
    }
}

impl<T> FusedIterator for Matches<'_, T> {}

impl<T> Clone for Matches<'_, T> {
    fn clone(&self) -> Self {
        Self {
            keyring: self.keyring,
            ranks: self.ranks.clone(),
            next: self.next,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Matches<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
