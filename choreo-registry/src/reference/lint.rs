//! Finds what is doubtful about a reference that the grammar accepts.

use super::{ImageReference, TagRef};
use crate::finding::{Code, Finding};
use crate::quote::Quoted;
use crate::{RegistryHost, digest};

/// Returns all findings, those of the host first.
pub(super) fn lints(image: &ImageReference) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(host(image));
    findings.extend(network(image));
    findings.extend(name(image));
    findings.extend(length(image));
    findings.extend(version(image));
    findings
}

/// Checks the spelling of the host.
fn host(image: &ImageReference) -> Option<Finding> {
    let domain = image.domain();
    if domain.is_empty() {
        let (host, _) = image.name().split_once('/').unwrap_or_default();
        return Some(Finding::new(
            Code::HostWithUnderscore,
            format!(
                "{} contains an underscore, so it is read as a part of the repository",
                Quoted::new(host)
            ),
            "use another DNS name for the registry",
        ));
    }
    if domain.eq_ignore_ascii_case("hub.docker.com") {
        return Some(Finding::new(
            Code::DockerHubWebSite,
            "hub.docker.com is Docker Hub's web site, which serves no images",
            "write the name alone, as in nginx or acme/app",
        ));
    }
    let is_word = domain
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_word && domain.bytes().any(|b| b.is_ascii_uppercase()) && domain != "LOCALHOST" {
        return Some(Finding::new(
            Code::NamespaceAsHost,
            format!(
                "{} has upper case, so it is read as a host",
                Quoted::new(domain)
            ),
            format!(
                "for a namespace of Docker Hub write {}",
                Quoted::new(
                    &image
                        .as_str()
                        .replacen(domain, &domain.to_ascii_lowercase(), 1)
                )
            ),
        ));
    }
    let host = match domain.parse::<RegistryHost>() {
        Ok(host) => host,
        Err(error) => {
            return Some(Finding::new(
                Code::HostImpossible,
                error.to_string(),
                "write the host as the registry's operator gives it",
            ));
        }
    };
    if host.as_str() == domain {
        return None;
    }
    let canonical = host.canonical_image(image);
    let help = canonical.map_or_else(
        || format!("write the host as {}", Quoted::new(host.as_str())),
        |image| format!("write {}", Quoted::new(image.as_str())),
    );
    Some(if host.is_docker_hub() {
        Finding::new(
            Code::DockerHubAlias,
            format!(
                "{} is Docker Hub, but nodes look for no credential of Docker Hub under that name",
                Quoted::new(domain)
            ),
            help,
        )
    } else {
        Finding::new(
            Code::HostNotCanonical,
            format!(
                "nodes compare hosts byte by byte, and {} is {} in another spelling",
                Quoted::new(domain),
                Quoted::new(host.as_str())
            ),
            help,
        )
    })
}

/// Checks the meaning of the host on a node.
fn network(image: &ImageReference) -> Option<Finding> {
    let host: RegistryHost = image.domain().parse().ok()?;
    if host.is_loopback() {
        return Some(Finding::new(
            Code::LoopbackHost,
            format!(
                "{} is another machine on each node",
                Quoted::new(host.as_str())
            ),
            "write the name by which nodes reach the registry",
        ));
    }
    (host.ipv6().is_some() && host.port().is_none()).then(|| {
        Finding::new(
            Code::Ipv6WithoutPort,
            "kubelets find no credential for an IPv6 address without a port",
            "use a DNS name, or a port other than 443",
        )
    })
}

/// Checks for names that are another kind of text.
fn name(image: &ImageReference) -> Option<Finding> {
    let name = image.name().strip_prefix("docker.io/library/")?;
    let tag = image.tag().map(TagRef::as_str);
    if let Some(tag) = tag
        && digest::check(&format!("{name}:{tag}")).is_ok()
    {
        return Some(Finding::new(
            Code::DigestAsTag,
            format!("a digest alone is read as the tag of an image named {name}"),
            format!("write the image's name before it, as in acme/app@{name}:…"),
        ));
    }
    (name == "localhost" || name.contains('.')).then(|| {
        Finding::new(
            Code::HostAsName,
            format!(
                "{} looks like a host, and is read as an image of Docker Hub",
                Quoted::new(image.familiar())
            ),
            format!(
                "write a repository after it, as in {}",
                Quoted::new(&format!("{}/acme/app", image.familiar()))
            ),
        )
    })
}

fn length(image: &ImageReference) -> Option<Finding> {
    let len = image.name().len();
    (len > NAME_MAX).then(|| {
        Finding::new(
            Code::NameTooLong,
            format!(
                "host and repository together have {len} bytes, and some clients stop at {NAME_MAX}"
            ),
            "use a shorter repository name",
        )
    })
}

/// Checks which image the tag and the digest select.
fn version(image: &ImageReference) -> Option<Finding> {
    match (image.tag(), image.digest()) {
        (Some(tag), Some(_)) => Some(Finding::new(
            Code::TagBesideDigest,
            format!(
                "the digest decides, and the tag {} is ignored",
                Quoted::new(tag.as_str())
            ),
            "leave the tag out, or keep it as a note for people",
        )),
        (None, None) => Some(Finding::new(
            Code::LatestImplied,
            "without a tag and a digest, nodes pull the tag latest, whatever it is at that time",
            "write a tag that does not move, or a digest",
        )),
        _ => None,
    }
}

/// The limit that clients apply to host and name together, according to the [OCI distribution
/// specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
const NAME_MAX: usize = 255;
