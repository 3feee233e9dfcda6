//! Where a connection may go. The one module of the workspace that connects to hosts which users
//! choose; `clippy.toml` bans every other way out.

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

/// The operator's policy for outgoing connections: which addresses, which schemes, which token
/// servers, which certificates.
///
/// A user of the platform chooses the host of a registry, and whoever runs that registry chooses
/// where it redirects to and which token server it names. None of them may reach the platform's own
/// network, so every hop is judged: the scheme, the address when the host is one in any spelling,
/// and the addresses that a name resolves to, all of them. One forbidden address refuses the whole
/// set.
///
/// - [`Egress::tenant`]: public addresses, `https` only. The one for everything that users choose.
/// - [`Egress::operator`]: also private and loopback addresses and a cloud's metadata service. The
///   one for hosts that the platform's own configuration names.
///
/// A registry inside the company's network is opened by name of its network, not by switching the
/// guard off:
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
/// **What it does not do**: it is no firewall. Keep a network policy around the control plane as
/// well. Nor does it hide which names exist: one that leads inside is blocked, and one that leads
/// nowhere is unreachable, so whoever registers hosts can tell the two apart. Where the names of the
/// inside network are secret, let tenants' requests be resolved by a public name server, or send
/// them [through a proxy](Self::through_proxy) outside.
///
/// Clones are cheap and share the policy until one of them is changed.
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
    /// Public addresses over `https`.
    #[must_use]
    pub fn tenant() -> Self {
        Self::new(Audience::Tenant)
    }

    /// Any address that can be a host, over `https`: private networks, loopback and a cloud's
    /// metadata service among them. Never use it for a host that a user of the platform chose.
    #[must_use]
    pub fn operator() -> Self {
        Self::new(Audience::Operator)
    }

    /// Allows the addresses of a network of your own. A cloud's metadata addresses stay forbidden
    /// to tenants, also inside an allowed network.
    #[must_use]
    pub fn allow_network(mut self, network: IpNetwork) -> Self {
        self.policy_mut().networks.push(network);
        self
    }

    /// Allows this host at this port (443 when none is given) wherever its name leads: for a registry
    /// of your own whose addresses change. A cloud's metadata addresses stay forbidden to tenants.
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

    /// Sends everything through this proxy: `https` by `CONNECT`, so that it sees host names and no
    /// credentials; plain HTTP, where allowed, in the clear.
    ///
    /// **The proxy resolves names, so what a name leads to is for the proxy to judge**: let it refuse
    /// inside addresses. Judged here stay the scheme, address literals in any spelling, and for
    /// tenants names that are never public (without a dot, or under `localhost`, `local`, `internal`,
    /// `home.arpa`), unless [`allow_host`](Self::allow_host) names them. The proxy's own address is
    /// not judged. No environment variable names a proxy or an exception.
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

    /// The proxy, for a transport of your own to obey.
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

    /// Speaks plain HTTP to this host and port; port 80 when none is given, and for `:443`, which a
    /// [`RegistryHost`] does not keep.
    ///
    /// Credentials then travel readable by everyone on the way: for a registry on the same machine
    /// or in a laboratory. The address must be allowed besides.
    #[must_use]
    pub fn allow_plain_http(mut self, host: RegistryHost) -> Self {
        self.policy_mut().plain_http.push(host);
        self
    }

    /// Lets this registry send clients, and with them its credential, to the token server `realm`.
    ///
    /// Needed when a registry of your own has its token server on another host or port, as every
    /// self-managed GitLab does. Those of vendors are known from their rows, see
    /// [`with_vendors`](Self::with_vendors).
    ///
    /// Registries that share a token server trust one another with it: each chooses the service that
    /// a token is asked for, so a hostile one of them can get a token, to pull alone, that the other
    /// accepts.
    #[must_use]
    pub fn trust_realm(mut self, registry: RegistryHost, realm: RegistryHost) -> Self {
        self.policy_mut()
            .realms
            .push(TrustedRealm { registry, realm });
        self
    }

    /// Knows vendors, and the token servers that may have their credentials, from a table of yours.
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

    /// Trusts a certificate authority of your own besides the system's: one or more certificates in
    /// PEM. A registry's own certificate that it signed itself may be given as well, and is then taken
    /// from it, within its time and for its names. A transport reads them when it is built, and refuses text that is none; one that was built
    /// without TLS reads none.
    #[must_use]
    pub fn add_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.policy_mut().root_certificates.push(pem.into());
        self
    }

    /// Whether a connection to this address is allowed. An IPv4 address inside an IPv6 one (mapped,
    /// NAT64, 6to4) counts as itself.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.judges(address, false)
    }

    /// [`allows_address`](Self::allows_address), for a host that may itself be an operator's entry.
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

    /// Judges the addresses that a name resolved to: one that is not allowed refuses all of them,
    /// because a host with two faces is not to be trusted with either.
    ///
    /// # Errors
    ///
    /// [`Blocked`], which names the host and keeps the address to itself.
    pub fn check_addresses(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Blocked> {
        self.check_resolved(host, addresses, false)
    }

    /// [`check_addresses`](Self::check_addresses) for the host of a URI, which may be one that the
    /// operator opened with [`allow_host`](Self::allow_host): for a transport of your own, which
    /// dials these addresses and no others.
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
    /// [`Blocked`], also when the URI is not one that [`check_uri`](Self::check_uri) lets through.
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

    /// Judges a URI before a request for it leaves: its scheme, and its host if that is an address
    /// in any spelling. A name passes here; what it resolves to is judged by
    /// [`check_addresses`](Self::check_addresses).
    ///
    /// # Errors
    ///
    /// [`Blocked`] with the reason.
    pub fn check_uri(&self, uri: &http::Uri) -> Result<(), Blocked> {
        self.check_url(&Url::parse(&uri.to_string()).map_err(|_| unreadable(uri))?)
    }

    /// [`check_uri`](Self::check_uri) for a parsed URL.
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

    /// Whether this host and port is one that the operator allows wherever it leads.
    pub(crate) fn opens_host(&self, url: &Url) -> bool {
        self.policy
            .hosts
            .iter()
            .any(|host| names(host.api_host(), url))
    }

    /// A name that is never public, where nobody here sees what it resolves to.
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

    /// The root of a registry's API: `https`, or `http` where the operator allowed it.
    pub(crate) fn base_url(&self, host: &RegistryHost) -> Option<Url> {
        let plain = self.policy.plain_http.contains(host);
        let scheme = if plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}/", host.api_host())).ok()
    }

    /// Whether a registry may send us, with its credential, to this token server.
    ///
    /// Yes for the registry's own origin (scheme, host and port), for the token server of its
    /// vendor's row and for the operator's entries; never from `https` down to `http`.
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

    /// Whether both are one policy: clones of each other that nobody has changed.
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

/// Whether `host` or `host:port` is the authority of the URL, its scheme's port when none is given.
fn names(host: &str, url: &Url) -> bool {
    if is_authority(host, url) {
        return true;
    }
    Url::parse(&format!("{}://{host}/", url.scheme()))
        .is_ok_and(|other| other.origin() == url.origin())
}

/// [`names`] to the letter, which is nearly always how it is.
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
/// The message names the host as it was given and never an address that it resolved to: whoever
/// chose the host must not learn the network inside.
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

/// Why a connection is [`Blocked`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BlockedReason {
    /// The address is not public and in no allowed network.
    Address,
    /// Plain HTTP to a host for which the operator did not allow it.
    PlainHttp,
    /// A scheme other than `http` and `https`.
    Scheme,
    /// Not a URL with a host.
    Unreadable,
    /// A user name or password inside the URL.
    UserInfo,
}

impl Blocked {
    /// Why.
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

/// Whether DNS can have this name. A proxy may take `10.0.0.1..` for an address, and so must nobody.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= MAX_HOST && name.split('.').all(|label| !label.is_empty())
}

/// A DNS name has at most 253 characters.
const MAX_HOST: usize = 253;

#[cfg(test)]
#[path = "egress/tests.rs"]
mod tests;
