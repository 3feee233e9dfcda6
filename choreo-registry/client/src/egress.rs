//! The policy for outgoing connections. Connections to hosts that users choose are made by this
//! crate's transport only; `clippy.toml` bans all others.

mod addresses;
mod network;
mod proxy;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use url::{Host, Url};

use self::addresses::{Standing, standing, unwrapped};
pub use self::network::{IpNetwork, ParseNetworkError};
pub use self::proxy::{ParseProxyError, Proxy};
use choreo_registry::{RegistryHost, vendor_table::VendorTable};

/// The operator's policy for outgoing connections: the permitted addresses, schemes, token servers and
/// certificates.
///
/// A user of the platform chooses the host of a registry, and the registry's operator chooses its
/// redirects and its token server. None of them may reach the platform's own network, so every request
/// is checked: the scheme, a literal address in any spelling, and all addresses of a name. If one
/// address is forbidden, the host is.
///
/// - [`Egress::tenant`]: public addresses, `https` only. Use it for every host that users choose.
/// - [`Egress::operator`]: also private and loopback addresses and a cloud's metadata service. Use it
///   for hosts of the platform's own configuration.
///
/// To permit a registry in the company's network, add its network:
///
/// ```
/// use choreo_registry_client::egress::Egress;
///
/// let egress = Egress::tenant()
///     .allow_network("10.20.0.0/16".parse()?)
///     .allow_plain_http("registry.lab.example:5000".parse()?);
///
/// assert!(egress.allows_address("10.20.7.1".parse()?));
/// assert!(!egress.allows_address("10.99.7.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **What it does not do**: it does not replace a firewall. Apply a network policy to the control
/// plane as well. It does not hide which internal names exist: a user who registers hosts can
/// distinguish a name that is blocked from one that is unreachable. If internal names are secret,
/// resolve tenants' requests with a public name server, or send them
/// [through a proxy](Self::through_proxy) outside of the network.
///
/// Clones are cheap, and share the policy until one of them is changed.
#[derive(Clone, Debug)]
pub struct Egress {
    pub(crate) policy: Arc<Policy>,
}

#[derive(Clone, Debug)]
pub(crate) struct Policy {
    audience: Audience,
    pub(crate) hosts: Vec<RegistryHost>,
    networks: Vec<IpNetwork>,
    plain_http: Vec<RegistryHost>,
    pub(crate) proxy: Option<Proxy>,
    realms: Vec<TrustedRealm>,
    pub(crate) root_certificates: Vec<Vec<u8>>,
    vendors: VendorTable,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Audience {
    Operator,
    Tenant,
}

#[derive(Clone, Debug)]
struct TrustedRealm {
    registry: RegistryHost,
    realm: RegistryHost,
}

impl Egress {
    /// Creates a policy that permits public addresses over `https`.
    #[must_use]
    pub fn tenant() -> Self {
        Self::new(Audience::Tenant)
    }

    /// Creates a policy that permits any address over `https`, also private networks, loopback and a
    /// cloud's metadata service. Never use it for a host that a user of the platform chooses.
    #[must_use]
    pub fn operator() -> Self {
        Self::new(Audience::Operator)
    }

    /// Allows the addresses of your own network. The metadata addresses of clouds remain forbidden
    /// to tenants, also within an allowed network.
    #[must_use]
    pub fn allow_network(mut self, network: IpNetwork) -> Self {
        self.policy_mut().networks.push(network);
        self
    }

    /// Allows this host at this port (by default 443) at any address: for your own registry whose
    /// addresses change. The metadata addresses of clouds remain forbidden to tenants.
    ///
    /// ```
    /// use choreo_registry_client::egress::Egress;
    ///
    /// let egress = Egress::tenant().allow_host("10.0.0.7:5000".parse()?);
    /// assert!(egress.check_uri(&"https://10.0.0.7:5000/v2/".parse()?).is_ok());
    /// assert!(egress.check_uri(&"https://10.0.0.7/v2/".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn allow_host(mut self, host: RegistryHost) -> Self {
        self.policy_mut().hosts.push(host);
        self
    }

    /// Sends all requests through this proxy: `https` with `CONNECT`, so that the proxy sees host
    /// names but no credentials; plain HTTP, if allowed, without encryption.
    ///
    /// **The proxy resolves names, so it must reject internal addresses itself.** This policy still
    /// checks the scheme, literal addresses in any spelling, and for tenants the names that are never
    /// public (without a dot, or under `localhost`, `local`, `internal` or `home.arpa`), unless
    /// [`allow_host`](Self::allow_host) allows them. The address of the proxy is not checked.
    /// Environment variables for proxies, such as `HTTPS_PROXY` and `NO_PROXY`, are ignored.
    ///
    /// ```
    /// use choreo_registry_client::egress::Egress;
    ///
    /// let egress = Egress::tenant().through_proxy("http://proxy.corp.example:3128".parse()?);
    /// assert!(egress.check_uri(&"https://ghcr.io/v2/".parse()?).is_ok());
    /// let blocked = egress.check_uri(&"https://metadata.google.internal/".parse()?).unwrap_err();
    /// assert_eq!(
    ///     blocked.to_string(),
    ///     r#"host "metadata.google.internal" is not at a public address"#,
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn through_proxy(mut self, proxy: Proxy) -> Self {
        self.policy_mut().proxy = Some(proxy);
        self
    }

    /// Returns the proxy, for your own transport.
    ///
    /// ```
    /// use choreo_registry_client::egress::Egress;
    ///
    /// assert!(Egress::tenant().proxy().is_none());
    /// ```
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.policy.proxy.as_ref()
    }

    /// Uses plain HTTP for this host and port. The default port is 80, also for `:443`, which a
    /// [`RegistryHost`] does not store.
    ///
    /// Credentials are then sent without encryption: use it for a registry on the same machine or in
    /// a test network only. The address must be allowed as well.
    #[must_use]
    pub fn allow_plain_http(mut self, host: RegistryHost) -> Self {
        self.policy_mut().plain_http.push(host);
        self
    }

    /// Trusts the token server `realm` with the credential of this registry.
    ///
    /// This is required if your own registry has its token server on another host or port, like every
    /// self-managed GitLab. Those of vendors are in their rows; see
    /// [`with_vendors`](Self::with_vendors).
    ///
    /// Registries that share a token server must trust each other: each chooses the service for which
    /// a token is requested, so a hostile one can get a token with which it can pull from another.
    #[must_use]
    pub fn trust_realm(mut self, registry: RegistryHost, realm: RegistryHost) -> Self {
        self.policy_mut()
            .realms
            .push(TrustedRealm { registry, realm });
        self
    }

    /// Sets your own vendor table, with the token servers that may receive the vendors' credentials.
    ///
    /// ```
    /// use choreo_registry_client::egress::Egress;
    /// use choreo_registry::vendor_table::{Vendor, VendorTable};
    ///
    /// let acme = Vendor::new("acme", "Acme")?
    ///     .with_host("*.registry.acme.example".parse()?)
    ///     .with_token_realm("https://login.acme.example/token")?;
    /// let egress = Egress::tenant().with_vendors(VendorTable::built_in().with(acme));
    /// # let _ = egress;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_vendors(mut self, vendors: VendorTable) -> Self {
        self.policy_mut().vendors = vendors;
        self
    }

    /// Trusts your own certificate authority in addition to those of the system: one or more
    /// certificates in PEM. A self-signed certificate of a registry is trusted while it is valid, and
    /// for its names. Creating a transport fails if the text is not a certificate; a transport without
    /// TLS ignores it.
    #[must_use]
    pub fn add_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.policy_mut().root_certificates.push(pem.into());
        self
    }

    /// Returns `true` if a connection to this address is allowed. An IPv4 address within an IPv6 one
    /// (mapped, NAT64, 6to4) is checked as IPv4.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.judges(address, false)
    }

    /// Like [`allows_address`](Self::allows_address) for a host that the operator may have
    /// allowed.
    pub(crate) fn judges(&self, address: IpAddr, opened: bool) -> bool {
        let listed = || {
            let inner = unwrapped(address);
            opened
                || self
                    .policy
                    .networks
                    .iter()
                    .any(|network| network.contains(address) || network.contains(inner))
        };
        match standing(address) {
            Standing::Public => true,
            Standing::Private => self.policy.audience == Audience::Operator || listed(),
            Standing::Metadata => self.policy.audience == Audience::Operator,
            Standing::Unusable => listed(),
        }
    }

    /// Checks the addresses of a name. If one is not allowed, all are rejected, because a host with
    /// public and internal addresses is suspicious.
    ///
    /// # Errors
    ///
    /// Returns [`Blocked`], with the host but without the address.
    pub fn check_addresses(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Blocked> {
        self.check_resolved(host, addresses, false)
    }

    /// Like [`check_addresses`](Self::check_addresses) for the host of a URI, which the operator
    /// may have allowed with [`allow_host`](Self::allow_host). Your own transport dials these
    /// addresses and no others.
    ///
    /// ```
    /// use choreo_registry_client::egress::Egress;
    ///
    /// let egress = Egress::tenant().allow_host("registry.corp.example:5000".parse()?);
    /// let inside = ["10.0.0.7".parse()?];
    /// let opened = "https://registry.corp.example:5000/v2/".parse()?;
    /// assert!(egress.check_addresses_of(&opened, &inside).is_ok());
    /// let other = "https://registry.corp.example/v2/".parse()?;
    /// assert!(egress.check_addresses_of(&other, &inside).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Blocked`], also if [`check_uri`](Self::check_uri) rejects the URI.
    pub fn check_addresses_of(&self, uri: &http::Uri, addresses: &[IpAddr]) -> Result<(), Blocked> {
        let url = Url::parse(&uri.to_string()).map_err(|_| unreadable(uri))?;
        self.check_url(&url)?;
        let host = uri.host().unwrap_or_default();
        let opened = self.opens_host(&url);
        let allowed = |address: &IpAddr| self.judges(*address, opened);
        if addresses.iter().all(allowed) {
            Ok(())
        } else {
            Err(Blocked::new(host, BlockedReason::Address))
        }
    }

    pub(crate) fn check_resolved(
        &self,
        host: &str,
        addresses: &[SocketAddr],
        opened: bool,
    ) -> Result<(), Blocked> {
        if addresses
            .iter()
            .all(|address| self.judges(address.ip(), opened))
        {
            Ok(())
        } else {
            Err(Blocked::new(host, BlockedReason::Address))
        }
    }

    /// Checks the URI of a request: its scheme, and its host if that is an address in any spelling.
    /// The addresses of a name are checked by [`check_addresses`](Self::check_addresses).
    ///
    /// # Errors
    ///
    /// Returns [`Blocked`] with the reason.
    pub fn check_uri(&self, uri: &http::Uri) -> Result<(), Blocked> {
        self.check_url(&Url::parse(&uri.to_string()).map_err(|_| unreadable(uri))?)
    }

    /// Like [`check_uri`](Self::check_uri) for a parsed URL.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), Blocked> {
        let blocked = |reason| Err(Blocked::new(url.host_str().unwrap_or_default(), reason));
        if !url.username().is_empty() || url.password().is_some() {
            return blocked(BlockedReason::UserInfo);
        }
        match url.scheme() {
            "https" => {}
            "http" if self.speaks_plain_http(url) => {}
            "http" => return blocked(BlockedReason::PlainHttp),
            _ => return blocked(BlockedReason::Scheme),
        }
        let opened = self.opens_host(url);
        let allowed = match url.host() {
            Some(Host::Domain(name)) if !is_name(name) => {
                return blocked(BlockedReason::Unreadable);
            }
            Some(Host::Domain(name)) => opened || !self.is_inside(name),
            Some(Host::Ipv4(address)) => self.judges(IpAddr::V4(address), opened),
            Some(Host::Ipv6(address)) => self.judges(IpAddr::V6(address), opened),
            None => return blocked(BlockedReason::Unreadable),
        };
        if allowed {
            Ok(())
        } else {
            blocked(BlockedReason::Address)
        }
    }

    /// Returns `true` if the operator allows this host and port at any address.
    pub(crate) fn opens_host(&self, url: &Url) -> bool {
        self.policy
            .hosts
            .iter()
            .any(|host| names(host.api_host(), url))
    }

    /// Rejects a name that is never public, if a proxy resolves it.
    fn is_inside(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let ends = |suffix: &&str| {
            name.strip_suffix(*suffix)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.policy.proxy.is_some()
            && self.policy.audience == Audience::Tenant
            && (!name.contains('.') || INSIDE.iter().any(ends))
    }

    /// Returns the root of a registry's API: `https`, or `http` if the operator allows it.
    pub(crate) fn base_url(&self, host: &RegistryHost) -> Option<Url> {
        let plain = self.policy.plain_http.contains(host);
        let scheme = if plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}/", host.api_host())).ok()
    }

    /// Returns `true` if this token server may receive the credential of the registry: if it has the
    /// registry's own origin (scheme, host and port), if it is in the vendor's row, or if the operator
    /// trusts it; never from `https` to `http`.
    pub(crate) fn trusts_realm(&self, host: &RegistryHost, base: &Url, realm: &Url) -> bool {
        if base.origin() == realm.origin() {
            return true;
        }
        if base.scheme() == "https" && realm.scheme() != "https" {
            return false;
        }
        let name = realm.host_str().unwrap_or_default();
        let vendor = self.policy.vendors.of(host);
        let known = realm.scheme() == "https" && vendor.trusts_token_server(name, realm.port());
        known
            || self
                .policy
                .realms
                .iter()
                .any(|entry| entry.registry == *host && names(entry.realm.as_str(), realm))
    }

    /// Returns `true` if both are clones of the same policy, without changes.
    ///
    /// ```
    /// use choreo_registry_client::egress::Egress;
    ///
    /// let egress = Egress::tenant();
    /// assert!(egress.is_same(&egress.clone()));
    /// assert!(!egress.is_same(&Egress::tenant()));
    /// ```
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy)
    }

    fn new(audience: Audience) -> Self {
        Self {
            policy: Arc::new(Policy {
                audience,
                hosts: Vec::new(),
                networks: Vec::new(),
                plain_http: Vec::new(),
                proxy: None,
                realms: Vec::new(),
                root_certificates: Vec::new(),
                vendors: VendorTable::built_in(),
            }),
        }
    }

    fn policy_mut(&mut self) -> &mut Policy {
        Arc::make_mut(&mut self.policy)
    }

    fn speaks_plain_http(&self, url: &Url) -> bool {
        self.policy
            .plain_http
            .iter()
            .any(|host| names(host.api_host(), url))
    }
}

pub(crate) fn unreadable(uri: &http::Uri) -> Blocked {
    Blocked::new(uri.host().unwrap_or_default(), BlockedReason::Unreadable)
}

/// Zones that are not in the public DNS: RFC 6761, RFC 6762, RFC 8375, and ICANN's reservation of
/// `internal`, under which clouds name their metadata services.
const INSIDE: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];

/// Returns `true` if `host` or `host:port` is the authority of the URL; the default port is that of the
/// scheme.
fn names(host: &str, url: &Url) -> bool {
    if is_authority(host, url) {
        return true;
    }
    Url::parse(&format!("{}://{host}/", url.scheme()))
        .is_ok_and(|other| other.origin() == url.origin())
}

/// Like [`names`] for the usual spelling only, without allocating.
fn is_authority(host: &str, url: &Url) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse().ok()),
        _ => (
            host,
            if url.scheme() == "https" {
                Some(443)
            } else {
                Some(80)
            },
        ),
    };
    url.host_str() == Some(name) && port.is_some() && url.port_or_known_default() == port
}

/// A connection that the [`Egress`] policy forbids.
///
/// The message contains the host as it was given, and never an address that it resolves to: the user
/// who chose the host must not learn about the internal network.
///
/// ```
/// use choreo_registry_client::egress::{BlockedReason, Egress};
///
/// let blocked = Egress::tenant().check_uri(&"http://ghcr.io/v2/".parse()?).unwrap_err();
/// assert_eq!(blocked.reason(), BlockedReason::PlainHttp);
/// assert_eq!(blocked.to_string(), r#"plain http to "ghcr.io" is not allowed"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blocked {
    host: String,
    reason: BlockedReason,
}

/// The reason why a connection is [`Blocked`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BlockedReason {
    /// The address is not public, and not in an allowed network.
    Address,
    /// The operator does not allow plain HTTP for the host.
    PlainHttp,
    /// The scheme is neither `http` nor `https`.
    Scheme,
    /// The URL has no host.
    Unreadable,
    /// The URL contains a user name or a password.
    UserInfo,
}

impl Blocked {
    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> BlockedReason {
        self.reason
    }

    pub(crate) fn new(host: &str, reason: BlockedReason) -> Self {
        Self {
            host: host.chars().take(MAX_HOST).collect(),
            reason,
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match self.reason {
            BlockedReason::Address => write!(f, "host {host:?} is not at a public address"),
            BlockedReason::PlainHttp => write!(f, "plain http to {host:?} is not allowed"),
            BlockedReason::Scheme => write!(f, "only https leads to {host:?}"),
            BlockedReason::Unreadable => f.write_str("the url has no readable host"),
            BlockedReason::UserInfo => write!(f, "the url of {host:?} has a user name in it"),
        }
    }
}

impl std::error::Error for Blocked {}

/// Returns `true` if DNS can contain this name. A proxy may read `10.0.0.1..` as an address.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= MAX_HOST && name.split('.').all(|label| !label.is_empty())
}

/// A DNS name has at most 253 characters.
const MAX_HOST: usize = 253;

#[cfg(test)]
#[path = "egress/tests.rs"]
mod tests;
