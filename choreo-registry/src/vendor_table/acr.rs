//! Rules of Azure Container Registry.
//!
//! <https://learn.microsoft.com/azure/container-registry/container-registry-dedicated-data-endpoints>

use crate::RegistryHost;

/// Returns `true` if `host` is one of ACR's data endpoints, `<registry>.<region>.data.azurecr.io`
/// in any of its clouds, which serve layers but no manifests.
pub(crate) fn is_data_endpoint(host: &RegistryHost) -> bool {
    host.port().is_none()
        && DOMAINS
            .iter()
            .find_map(|domain| host.name().strip_suffix(domain))
            .and_then(|subdomain| subdomain.strip_suffix(".data"))
            .is_some_and(|rest| rest.contains('.'))
}

const DOMAINS: [&str; 4] = [".azurecr.cn", ".azurecr.de", ".azurecr.io", ".azurecr.us"];

/// `<registry>[-<hash>]` and regional endpoints, in each of the domains.
pub(super) const HOSTS: &[&str] = &[
    "*.azurecr.io",
    "*.azurecr.us",
    "*.azurecr.cn",
    "*.azurecr.de",
    "*.*.geo.azurecr.io",
    "*.*.geo.azurecr.us",
    "*.*.geo.azurecr.cn",
    "*.*.geo.azurecr.de",
];
