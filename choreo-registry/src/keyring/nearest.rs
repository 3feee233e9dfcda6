//! Explains why no key matches: finds the nearest key, and why it does not match.

use super::go_url::split_host_port;
use super::kubelet::{self, Rule, Target};
use super::reason::Reason;
use super::tool::Tool;
use super::tools::containers_image_takes;

/// Returns the nearest key and its reason; no key if none is for the image's host.
pub(super) fn nearest<'a>(
    tool: Tool,
    keys: &[&'a str],
    target: &Target<'_>,
) -> (Option<&'a str>, Reason) {
    if !target.is_url && matches!(tool, Tool::Kubelet | Tool::Oras) {
        return (None, Reason::ImageAddress);
    }
    if tool == Tool::ContainersImage && !containers_image_takes(target) {
        return (None, Reason::ImageHost);
    }
    let nearest = keys
        .iter()
        .map(|&key| (key, reason(tool, key, target)))
        .min_by_key(|(_, reason)| reason.distance());
    match nearest {
        None => (None, Reason::NoKeys),
        Some((_, Reason::OtherHost)) => (None, Reason::OtherHost),
        Some((key, reason)) => (Some(key), reason),
    }
}

/// Returns why a key does not match.
fn reason(tool: Tool, key: &str, target: &Target<'_>) -> Reason {
    let plain = Plain::of(key);
    if !plain.host.eq_ignore_ascii_case(target.host) {
        return match tool {
            _ if !is_hub(plain.host) || !is_hub(target.host) => Reason::OtherHost,
            Tool::Kubelet => Reason::HubName,
            Tool::ContainersImage if plain.has_path && !plain.has_scheme => Reason::Namespace,
            Tool::ContainersImage => Reason::Spelling,
            Tool::Docker | Tool::Oras => Reason::HubKey,
        };
    }
    if tool == Tool::Kubelet {
        return kubelet_reason(key, &plain, target);
    }
    if tool != Tool::ContainersImage && is_hub(target.host) {
        return Reason::HubKey;
    }
    if plain.has_foreign_scheme && tool != Tool::Docker {
        return Reason::Scheme;
    }
    if tool == Tool::ContainersImage && plain.has_path && !plain.has_scheme {
        return Reason::Namespace;
    }
    if plain.host != target.host {
        return Reason::Case;
    }
    if plain.port != target.port {
        return Reason::Port;
    }
    Reason::Spelling
}

fn kubelet_reason(key: &str, plain: &Plain<'_>, target: &Target<'_>) -> Reason {
    if plain.has_foreign_scheme {
        return Reason::Scheme;
    }
    let rule = match kubelet::normalise(key).and_then(|normal| Rule::of(&normal)) {
        Ok(rule) => rule,
        Err(error) => return Reason::Unreadable(error),
    };
    if rule.host.starts_with(b"[") {
        return Reason::Ipv6Brackets;
    }
    if rule.port != target.port.as_bytes() {
        return Reason::Port;
    }
    if !rule.matches_host(target) {
        return Reason::Case;
    }
    match &rule.path[..] {
        b"/v1" | b"/v2" => Reason::VersionPath,
        _ => Reason::Path,
    }
}

/// The host and port that a person would read in a key.
struct Plain<'a> {
    host: &'a str,
    port: &'a str,
    has_scheme: bool,
    has_foreign_scheme: bool,
    has_path: bool,
}

impl<'a> Plain<'a> {
    fn of(key: &'a str) -> Self {
        let key = key.trim();
        let (scheme, rest) = match key.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("", key),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let (host, port) = split_host_port(authority.as_bytes());
        let has_scheme = matches!(scheme, "http" | "https");
        Self {
            host: text(host),
            port: text(port),
            has_scheme,
            has_foreign_scheme: !scheme.is_empty() && !has_scheme,
            has_path: end < rest.len(),
        }
    }
}

/// Converts bytes that were cut at ASCII characters, and so are still text.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn is_hub(host: &str) -> bool {
    crate::host::DOCKER_HUB_NAMES
        .iter()
        .any(|name| host.eq_ignore_ascii_case(name))
}
