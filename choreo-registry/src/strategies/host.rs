//! Hosts, and the keys under which docker configs contain them.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::select;

use super::text::like;
use crate::RegistryHost;

/// Registry hosts of all shapes: [names](dns_host), [IPv4](ipv4_host) and [IPv6](ipv6_host)
/// addresses with and without a port, `localhost`, names without a dot, Docker Hub, and hosts of
/// vendors.
///
/// It does not generate hosts that [`ContainerRegistry`](crate::ContainerRegistry) would reject,
/// such as the data endpoints of ACR.
///
/// ```
/// use choreo_registry::strategies::registry_host;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(host in registry_host())| {
///     let image = format!("{}/acme/app:1", host.image_domain());
///     prop_assert!(host.serves(&image.parse()?));
/// });
/// ```
pub fn registry_host() -> impl Strategy<Value = RegistryHost> {
    prop_oneof![
        6 => dns_host(),
        1 => Just("docker.io".to_owned()).prop_map(parsed),
        1 => local_host(),
        1 => ipv4_host(),
        1 => ipv6_host(),
        2 => select(VENDOR_HOSTS).prop_map(|host| parsed(host.to_owned())),
    ]
}

/// Hosts that are names of two to four labels, with and without a port.
///
/// All are in the zones that are reserved for examples and tests
/// (<https://www.rfc-editor.org/rfc/rfc6761#section-6>). It does not generate single labels or
/// names near the limit of 253 bytes.
///
/// ```
/// use choreo_registry::strategies::dns_host;
/// use choreo_registry::vendor_table::Vendor;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(host in dns_host())| {
///     prop_assert!(host.name().contains('.') && !host.is_loopback());
///     prop_assert_eq!(Vendor::of(&host).id(), "self-hosted");
/// });
/// ```
pub fn dns_host() -> impl Strategy<Value = RegistryHost> {
    let labels = proptest::collection::vec(like(LABEL), 1..=3);
    let zone = select(&["example", "test", "invalid"]);
    (labels, zone, port()).prop_map(|(labels, zone, port)| {
        parsed(format!("{}.{zone}{}", labels.join("."), port_text(port)))
    })
}

/// Hosts that are IPv4 addresses, with and without a port: of the ranges for documentation
/// (<https://www.rfc-editor.org/rfc/rfc5737>), of private networks and of loopback.
///
/// It does not generate public addresses, or addresses that are not for hosts, such as `0.0.0.0`.
///
/// ```
/// use choreo_registry::strategies::ipv4_host;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(host in ipv4_host())| {
///     prop_assert!(host.name().parse::<std::net::Ipv4Addr>().is_ok());
/// });
/// ```
pub fn ipv4_host() -> impl Strategy<Value = RegistryHost> {
    let range = select(&[
        [192, 0, 2],
        [198, 51, 100],
        [203, 0, 113],
        [10, 0, 0],
        [192, 168, 1],
        [127, 0, 0],
    ]);
    (range, 1..=254_u8, port()).prop_map(|([a, b, c], last, port)| {
        parsed(format!(
            "{}{}",
            Ipv4Addr::new(a, b, c, last),
            port_text(port)
        ))
    })
}

/// Hosts that are IPv6 addresses in brackets, with and without a port: of the range for
/// documentation (<https://www.rfc-editor.org/rfc/rfc3849>), loopback, and IPv4 in IPv6.
///
/// It does not generate other public addresses, or zones (`%eth0`), which are not valid in image
/// references.
///
/// ```
/// use choreo_registry::strategies::ipv6_host;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(host in ipv6_host())| {
///     prop_assert!(host.name().starts_with('[') && host.name().ends_with(']'));
/// });
/// ```
pub fn ipv6_host() -> impl Strategy<Value = RegistryHost> {
    let documentation = any::<[u16; 6]>()
        .prop_map(|[a, b, c, d, e, f]| Ipv6Addr::new(0x2001, 0xdb8, a, b, c, d, e, f));
    let address = prop_oneof![
        1 => Just(Ipv6Addr::LOCALHOST),
        4 => documentation,
        1 => any::<u8>().prop_map(|last| Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped()),
    ];
    (address, port()).prop_map(|(address, port)| parsed(format!("[{address}]{}", port_text(port))))
}

/// Input that people paste for a registry host, and the host that is meant: with a scheme, the path
/// of the API, a slash, a dot at the end, surrounding blanks, the default port, in upper case, and
/// all spellings of [Docker Hub](docker_hub_text).
///
/// It does not add a user name or a query, because these are rejected.
///
/// ```
/// use choreo_registry::strategies::registry_host_spelling;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |((text, host) in registry_host_spelling())| {
///     prop_assert_eq!(text.parse(), Ok(host));
/// });
/// ```
pub fn registry_host_spelling() -> impl Strategy<Value = (String, RegistryHost)> {
    let hub = || parsed("docker.io".to_owned());
    prop_oneof![
        6 => (registry_host(), decoration()).prop_map(|(host, decoration)| {
            (decoration.around(&host), host)
        }),
        1 => docker_hub_text().prop_map(move |text| (text, hub())),
    ]
}

/// Only the texts of [`registry_host_spelling`].
///
/// ```
/// use choreo_registry::RegistryHost;
/// use choreo_registry::strategies::registry_host_text;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(text in registry_host_text())| {
///     prop_assert!(text.parse::<RegistryHost>().is_ok());
/// });
/// ```
pub fn registry_host_text() -> impl Strategy<Value = String> {
    registry_host_spelling().prop_map(|(text, _)| text)
}

/// The spellings of Docker Hub: each of its five names, bare and as the URLs that tools write.
///
/// ```
/// use choreo_registry::RegistryHost;
/// use choreo_registry::strategies::docker_hub_text;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(text in docker_hub_text())| {
///     prop_assert!(text.parse::<RegistryHost>()?.is_docker_hub());
/// });
/// ```
pub fn docker_hub_text() -> impl Strategy<Value = String> {
    let name = select(&[
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "registry.hub.docker.com",
        "registry.docker.com",
    ]);
    (name, decoration()).prop_map(|(name, decoration)| decoration.surround(name, true))
}

/// Keys under `auths` of a docker config or pull secret: hosts with and without a scheme or a path,
/// globs (`*.example.test`), keys for one repository (`registry.example.test/acme`), and Docker
/// Hub's.
///
/// A keyring must understand them, but this crate does not write all of them: a
/// [`DockerConfig`](crate::docker_config::DockerConfig) rejects keys that are not hosts. It does
/// not generate keys with a user name.
///
/// ```
/// use choreo_registry::strategies::auths_key;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(key in auths_key())| {
///     prop_assert!(!key.is_empty() && !key.contains('@'));
/// });
/// ```
pub fn auths_key() -> impl Strategy<Value = String> {
    let scheme = || select(&["", "https://", "http://"]);
    let glob = (scheme(), select(&["*", "*.*", "reg*", "r?g"]), dns_host())
        .prop_map(|(scheme, label, host)| format!("{scheme}{label}.{host}"));
    let path = like("(/[a-z0-9]{1,6}){1,3}/?");
    let with_path = (scheme(), registry_host(), path)
        .prop_map(|(scheme, host, path)| format!("{scheme}{host}{path}"));
    prop_oneof![
        3 => registry_host().prop_map(|host| host.auths_key().to_owned()),
        2 => registry_host_text().prop_map(|text| text.trim().to_owned()),
        2 => with_path,
        1 => glob,
    ]
}

pub(super) fn parsed(text: String) -> RegistryHost {
    RegistryHost::try_from(text).expect("a generated host is one")
}

/// `localhost`, and names without a dot, which need a port.
fn local_host() -> impl Strategy<Value = RegistryHost> {
    prop_oneof![
        port().prop_map(|port| parsed(format!("localhost{}", port_text(port)))),
        (like(LABEL), 1..=u16::MAX).prop_map(|(label, port)| parsed(format!("{label}:{port}"))),
    ]
}

/// No port, a common one, or any.
fn port() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![
        3 => Just(None),
        2 => select(&[80, 443, 5000, 5001, 8443]).prop_map(Some),
        1 => (1..=u16::MAX).prop_map(Some),
    ]
}

fn port_text(port: Option<u16>) -> String {
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

/// The text around a host in pasted input.
#[derive(Clone, Debug)]
struct Decoration {
    scheme: &'static str,
    upper_case: bool,
    /// A dot after the name, and the redundant default port.
    verbose: bool,
    path: &'static str,
    blanks: [&'static str; 2],
}

fn decoration() -> impl Strategy<Value = Decoration> {
    (
        select(&["", "https://", "http://", "HTTPS://", "docker://", "oci://"]),
        any::<bool>(),
        any::<bool>(),
        select(&["", "/", "/v1/", "/v2/", "/v1", "/v2"]),
        [select(&["", " ", "\t"]), select(&["", "\n", " ", "\r\n"])],
    )
        .prop_map(|(scheme, upper_case, verbose, path, blanks)| Decoration {
            scheme,
            upper_case,
            verbose,
            path,
            blanks,
        })
}

impl Decoration {
    fn around(&self, host: &RegistryHost) -> String {
        // A dot is not valid after an address, and the port of a name without a dot is not
        // redundant.
        let is_name = host.name().contains('.')
            && host.name().parse::<Ipv4Addr>().is_err()
            && host.port().is_none();
        self.surround(host.as_str(), is_name)
    }

    fn surround(&self, host: &str, may_be_verbose: bool) -> String {
        let verbose = if self.verbose && may_be_verbose {
            ".:443"
        } else {
            ""
        };
        let mut host = format!("{host}{verbose}");
        if self.upper_case {
            host.make_ascii_uppercase();
        }
        let [before, after] = self.blanks;
        format!("{before}{}{host}{}{after}", self.scheme, self.path)
    }
}

/// Begins with a letter, so that no name looks like an address.
const LABEL: &str = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";

/// One host of each vendor that is recognised by its host.
const VENDOR_HOSTS: &[&str] = &[
    "123456789012.dkr.ecr.us-east-1.amazonaws.com",
    "acme.azurecr.io",
    "acme.jfrog.io",
    "cgr.dev",
    "europe-west1-docker.pkg.dev",
    "fra.ocir.io",
    "gcr.io",
    "ghcr.io",
    "icr.io",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "docker.elastic.co",
    "registry.cn-hangzhou.aliyuncs.com",
    "registry.digitalocean.com",
    "registry.gitlab.com",
    "registry.heroku.com",
    "registry.k8s.io",
    "registry.redhat.io",
    "rg.fr-par.scw.cloud",
];
