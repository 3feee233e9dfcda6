//! The kubelet's rules for one key, as in [its
//! keyring](https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/credentialprovider/keyring.go).

use super::glob;
use super::go_url::{self, UrlError, split_host_port};
use crate::ImageReference;

/// The one key that applies to images of Docker Hub if no other key matches.
pub(super) const FALLBACK_KEY: &[u8] = b"index.docker.io";

/// Returns the key under which the kubelet stores the credential of `key`: without scheme, user,
/// query, fragment, and without `/v1` or `/v2` before a slash.
pub(super) fn normalise(key: &str) -> Result<Vec<u8>, UrlError> {
    let url = if key.starts_with("https://") || key.starts_with("http://") {
        go_url::parse(key.as_bytes())?
    } else {
        go_url::parse(&[b"https://", key.as_bytes()].concat())?
    };
    let path = if url.path.starts_with(b"/v1/") || url.path.starts_with(b"/v2/") {
        &url.path[3..]
    } else {
        &url.path[..]
    };
    let mut normal = url.host;
    if path != b"/" {
        normal.extend_from_slice(path);
    }
    Ok(normal)
}

/// The parts of a key that are compared with an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Rule {
    pub(super) host: Vec<u8>,
    pub(super) port: Vec<u8>,
    pub(super) path: Vec<u8>,
}

impl Rule {
    /// Parses a normalised key. The kubelet parses it again for each look-up, so a text that was
    /// escaped twice is unescaped twice, and a key that is not a valid URL the second time matches
    /// nothing.
    pub(super) fn of(normal: &[u8]) -> Result<Self, UrlError> {
        let url = go_url::parse(&[b"https://", normal].concat())?;
        let (host, port) = split_host_port(&url.host);
        Ok(Self {
            host: host.to_vec(),
            port: port.to_vec(),
            path: url.path,
        })
    }

    pub(super) fn matches(&self, target: &Target<'_>) -> bool {
        self.matches_host(target) && target.path.as_bytes().starts_with(&self.path)
    }

    /// Compares ports as text, hosts label by label.
    pub(super) fn matches_host(&self, target: &Target<'_>) -> bool {
        if self.port != target.port.as_bytes() {
            return false;
        }
        let mut labels = target.labels();
        let all_fit = self.labels().all(|pattern| {
            labels
                .next()
                .is_some_and(|label| glob::matches(pattern, label))
        });
        all_fit && labels.next().is_none()
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.host.split(|&byte| byte == b'.')
    }

    pub(super) fn is_glob(&self) -> bool {
        glob::is_glob(&self.host)
    }

    /// Returns the only host and port of an image that can match; `None` if several can, or none.
    pub(super) fn literal_domain(&self) -> Option<Vec<u8>> {
        if self.is_glob() {
            return None;
        }
        let mut domain = self.host.clone();
        if self.host.contains(&b':') {
            // An IPv6 address without its brackets; an image may write it with or without a port.
            domain = [b"[", &self.host[..], b"]"].concat();
            if self.port.is_empty() {
                return None;
            }
        }
        if !self.port.is_empty() {
            domain.push(b':');
            domain.extend_from_slice(&self.port);
        }
        Some(domain)
    }
}

/// An image's name, split by the kubelet's rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Domain and path.
    pub(super) name: &'a str,
    /// Host and port as the image writes them.
    pub(super) domain: &'a str,
    pub(super) host: &'a str,
    pub(super) port: &'a str,
    /// The path with its leading slash.
    pub(super) path: &'a str,
    /// Whether the kubelet can parse the name as a URL.
    pub(super) is_url: bool,
}

impl<'a> Target<'a> {
    pub(super) fn of(image: &'a ImageReference) -> Self {
        let name = image.name();
        // `image.domain()` does not accept a host with an underscore, but kubelets do.
        let (domain, path) = name.split_at(name.find('/').unwrap_or(name.len()));
        let mut target = Self {
            name,
            domain,
            host: domain,
            port: "",
            path,
            is_url: true,
        };
        if let Some(inner) = domain.strip_prefix('[') {
            let (address, port) = inner.split_once(']').unwrap_or((inner, ""));
            target.is_url = address.parse::<std::net::Ipv6Addr>().is_ok();
            if let Some(port) = port.strip_prefix(':') {
                (target.host, target.port) = (address, port);
            }
        } else if let Some((host, port)) = domain.split_once(':') {
            (target.host, target.port) = (host, port);
        }
        target
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.host.as_bytes().split(|&byte| byte == b'.')
    }

    /// Returns `true` if the kubelet treats the image as one of Docker Hub: also if its host has
    /// neither dot nor port, as in `localhost/app`.
    pub(super) fn is_default_registry(&self) -> bool {
        self.domain == "docker.io"
            || self.domain == "index.docker.io"
            || !self.domain.contains(['.', ':'])
    }
}
