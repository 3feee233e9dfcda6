//! Registries as a user registers them, and their findings.

use proptest::prelude::*;
use proptest::sample::select;

use super::credential::{credential, vendor_credential};
use super::docker_config::docker_config;
use super::host::registry_host;
use super::text::like;
use crate::authentication::AuthenticationType;
use crate::finding::{Code, Finding};
use crate::vendor_table::{Vendor, VendorTable};
use crate::{Authentication, ContainerRegistry, RegistryHost};

/// Authentications of all four types, with any [credential] and any [docker config](docker_config).
///
/// They do not belong to a registry; those of [`container_registry`] belong to its host.
///
/// ```
/// use choreo_registry::strategies::authentication;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(authentication in authentication())| {
///     let kind = authentication.authentication_type();
///     prop_assert_eq!(kind.needs_secret(), authentication.credential().is_some());
/// });
/// ```
pub fn authentication() -> impl Strategy<Value = Authentication> {
    prop_oneof![
        Just(()).prop_map(|()| Authentication::Public),
        Just(()).prop_map(|()| Authentication::Vendor),
        credential().prop_map(Authentication::Basic),
        docker_config().prop_map(Authentication::DockerConfig),
    ]
}

/// The four authentication types, with equal probability.
///
/// ```
/// use choreo_registry::strategies::authentication_type;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(kind in authentication_type())| {
///     prop_assert_eq!(kind.as_str().parse(), Ok(kind));
/// });
/// ```
pub fn authentication_type() -> impl Strategy<Value = AuthenticationType> {
    select(&[
        AuthenticationType::Public,
        AuthenticationType::Basic,
        AuthenticationType::DockerConfig,
        AuthenticationType::Vendor,
    ])
}

/// Valid registries: any display name, and a host with an authentication that belongs to it. Many
/// have findings.
///
/// ```
/// use choreo_registry::PullSecret;
/// use choreo_registry::strategies::container_registry;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(registry in container_registry())| {
///     let secret = registry.credential().map(|credential| {
///         PullSecret::new(registry.host(), credential)
///     });
///     prop_assert_eq!(secret.is_some(), registry.authentication_type().needs_secret());
/// });
/// ```
pub fn container_registry() -> impl Strategy<Value = ContainerRegistry> {
    let public = registry_host().prop_map(|host| (host, Authentication::Public));
    let basic = vendor_credential()
        .prop_map(|(host, credential)| (host, Authentication::Basic(credential)));
    let config = docker_config()
        .prop_map(|config| (config.host().clone(), Authentication::DockerConfig(config)));
    let by_node = host_with_node_identity().prop_map(|host| (host, Authentication::Vendor));
    let name = prop_oneof![3 => like("[A-Z][a-z]{0,8}( [a-z]{1,8}){0,2}"), 1 => like("[^\\p{Cc}\\s]{1,20}")];
    let parts = prop_oneof![2 => public, 4 => basic, 2 => config, 1 => by_node];
    (name, parts).prop_map(|(name, (host, authentication))| {
        ContainerRegistry::new(name, host, authentication)
            .expect("a generated registry has parts that go together")
    })
}

/// The codes of findings, with equal probability.
///
/// ```
/// use choreo_registry::strategies::finding_code;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(code in finding_code())| {
///     prop_assert_eq!(code.as_str().parse(), Ok(code));
/// });
/// ```
pub fn finding_code() -> impl Strategy<Value = Code> {
    select(Code::ALL)
}

/// Findings of every code, with any one-line texts, to test how a UI shows them.
///
/// The texts do not belong to the code. For real findings, use those of a [`container_registry`].
///
/// ```
/// use choreo_registry::strategies::finding;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(finding in finding())| {
///     prop_assert_eq!(finding.severity(), finding.code().severity());
///     prop_assert!(!finding.message().is_empty());
/// });
/// ```
pub fn finding() -> impl Strategy<Value = Finding> {
    let words = || like("[^\\p{Cc}]{1,60}");
    (finding_code(), words(), words())
        .prop_map(|(code, message, help)| Finding::new(code, message, help))
}

/// The rows of the built-in table of vendors, with equal probability.
///
/// ```
/// use choreo_registry::strategies::vendor;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(vendor in vendor())| {
///     prop_assert!(!vendor.recommended().is_empty());
/// });
/// ```
pub fn vendor() -> impl Strategy<Value = Vendor> {
    select(VendorTable::built_in().iter().cloned().collect::<Vec<_>>())
}

/// Hosts of the registries that support node identity.
fn host_with_node_identity() -> impl Strategy<Value = RegistryHost> {
    prop_oneof![
        like("[a-z0-9]{5,12}\\.azurecr\\.io"),
        like("(us|europe-west1)-docker\\.pkg\\.dev"),
        like("((us|eu|asia)\\.)?gcr\\.io"),
        like("[0-9]{12}\\.dkr\\.ecr\\.(us-east-1|eu-west-1)\\.amazonaws\\.com"),
    ]
    .prop_map(super::host::parsed)
}
