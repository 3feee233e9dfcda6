//! The key comparison of the tools other than the kubelet.
//!
//! Each tool uses one key: the one that fits best, and the first of several that fit equally well.
//! (The tools' own choice among those is random, because they iterate over a Go map.)

use super::go_url;
use super::kubelet::Target;
use super::reason::Reason;
use super::tool::Tool;

/// The key of `docker login` without a host, and the only one of Docker Hub for Docker and oras.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// How a key fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// The number of parts of the image's name that the key leaves out.
    pub(super) distance: usize,
    pub(super) reason: Reason,
}

/// Returns how well the key fits, if the tool uses it for the image when no other fits better.
pub(super) fn fit(tool: Tool, key: &str, target: &Target<'_>, domain: &str) -> Option<Fit> {
    match tool {
        Tool::Kubelet => None,
        Tool::Docker => docker(key, domain),
        Tool::ContainersImage => containers_image(key, target),
        Tool::Oras => oras(key, target),
    }
}

/// Docker's CLI: [`GetAuthConfig`](https://github.com/docker/cli/blob/v29.9.3/cli/config/configfile/file.go)
/// and its [file store](https://github.com/docker/cli/blob/v29.9.3/cli/config/credentials/file_store.go).
fn docker(key: &str, domain: &str) -> Option<Fit> {
    let wanted = match domain {
        "docker.io" | "index.docker.io" => HUB_KEY,
        _ => domain,
    };
    if key == wanted {
        return Some(Fit::EXACT);
    }
    (docker_host(key) == wanted.as_bytes()).then_some(Fit::HOST)
}

/// `ConvertToHostname`.
fn docker_host(key: &str) -> Vec<u8> {
    let bytes = key.as_bytes();
    if let Some((_, rest)) = key.split_once("://") {
        if let Some(host) = go_url::parse(bytes)
            .ok()
            .and_then(|url| host_and_port(&url.host))
        {
            return host;
        }
        let host = up_to_slash(rest);
        if !host.is_empty() {
            return bracket_address(host).into_bytes();
        }
    }
    up_to_slash(key).as_bytes().to_vec()
}

/// `Hostname()` and `Port()` of a Go URL; `None` without a host.
fn host_and_port(host: &[u8]) -> Option<Vec<u8>> {
    let colon = host.iter().rposition(|&byte| byte == b':');
    let (name, port) = match colon {
        Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => (&host[..at], &host[at + 1..]),
        _ => (host, &b""[..]),
    };
    let bare = name
        .strip_prefix(b"[")
        .and_then(|inner| inner.strip_suffix(b"]"))
        .unwrap_or(name);
    if bare.is_empty() {
        return None;
    }
    if port.is_empty() {
        return Some(bare.to_vec());
    }
    Some(if bare.contains(&b':') {
        [b"[", bare, b"]:", port].concat()
    } else {
        [bare, b":", port].concat()
    })
}

/// Adds the missing brackets to an IPv6 address with a port.
fn bracket_address(host: &str) -> String {
    if host.matches(':').count() > 1
        && !host.starts_with('[')
        && let Some((address, port)) = host.rsplit_once(':')
        && !address.is_empty()
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("[{address}]:{port}");
    }
    host.to_owned()
}

/// [containers/image](https://github.com/containers/container-libs/blob/main/image/pkg/docker/config/config.go):
/// compares the image's name and all its parents as they are written, then hosts.
fn containers_image(key: &str, target: &Target<'_>) -> Option<Fit> {
    if !containers_image_takes(target) {
        return None;
    }
    match target.name.strip_prefix(key) {
        Some("") => return Some(Fit::EXACT),
        Some(rest) if rest.starts_with('/') => {
            return Some(Fit {
                distance: rest.matches('/').count(),
                reason: Reason::Parent,
            });
        }
        _ => {}
    }
    let bare = without_scheme(key);
    let host = if bare.len() < key.len() {
        up_to_slash(bare)
    } else {
        key
    };
    let reason = if host == target.domain {
        Reason::Host
    } else {
        Reason::DockerHub
    };
    (hub_folded(host) == hub_folded(target.domain)).then_some(Fit {
        reason,
        ..Fit::HOST
    })
}

/// Its [grammar of
/// references](https://github.com/containers/container-libs/blob/main/image/docker/reference/normalize.go)
/// has no IPv6 addresses, and reads `LOCALHOST/app` as a repository in upper case.
pub(super) fn containers_image_takes(target: &Target<'_>) -> bool {
    let domain = target.domain;
    !domain.starts_with('[') && (domain.contains(['.', ':']) || domain == "localhost")
}

fn hub_folded(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "docker.io" => "index.docker.io",
        _ => host,
    }
}

/// oras-go: compares the
/// [address](https://github.com/oras-project/oras-go/blob/v2.7.0/registry/remote/credentials/registry.go)
/// that it looks up, then hosts.
fn oras(key: &str, target: &Target<'_>) -> Option<Fit> {
    if !target.is_url {
        return None;
    }
    let wanted = match target.domain {
        "docker.io" | "registry-1.docker.io" => HUB_KEY,
        domain => domain,
    };
    if key == wanted {
        return Some(Fit::EXACT);
    }
    (up_to_slash(without_scheme(key)) == wanted).then_some(Fit::HOST)
}

impl Fit {
    const EXACT: Self = Self {
        distance: 0,
        reason: Reason::Exact,
    };
    const HOST: Self = Self {
        distance: usize::MAX,
        reason: Reason::Host,
    };
}

/// Removes both prefixes, `http://` first, as these tools do.
fn without_scheme(key: &str) -> &str {
    let key = key.strip_prefix("http://").unwrap_or(key);
    key.strip_prefix("https://").unwrap_or(key)
}

fn up_to_slash(text: &str) -> &str {
    text.split_once('/').map_or(text, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hosts that Docker's `ConvertToHostname` returns for the same keys.
    #[test]
    fn hosts_are_those_of_docker() {
        for (key, host) in [
            ("https://ghcr.io", "ghcr.io"),
            ("https://ghcr.io:5000/v1/", "ghcr.io:5000"),
            ("https://[2001:db8::1]/v1/", "2001:db8::1"),
            ("https://[2001:db8::1]:5000", "[2001:db8::1]:5000"),
            ("ghcr.io:5000/a", "ghcr.io:5000"),
            ("[2001:db8::1]:5000/a", "[2001:db8::1]:5000"),
        ] {
            assert_eq!(String::from_utf8(docker_host(key)).unwrap(), host, "{key}");
        }
    }
}
