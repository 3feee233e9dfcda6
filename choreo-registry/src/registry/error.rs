//! Why a registry cannot be registered as it was entered.

use std::fmt;

use crate::RegistryHost;
use crate::authentication::AuthenticationType;
use crate::vendor_table::CredentialRefusal;

/// Why a display name, a host and an authentication are not a valid
/// [`ContainerRegistry`](crate::ContainerRegistry).
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry};
///
/// let error = ContainerRegistry::new(
///     "Images", "registry.example.com".parse()?, Authentication::Vendor).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "\"registry.example.com\" (self-hosted registry) gives nodes no access by their identity: \
///      choose basic or docker-config",
/// );
/// # Ok::<(), choreo_registry::host::ParseHostError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RegistryError {
    /// The vendor can never accept such a credential.
    Credential(CredentialRefusal),
    /// The host is a data endpoint of ACR, which serves only layers.
    #[non_exhaustive]
    DataEndpoint {
        /// The host.
        host: RegistryHost,
    },
    /// The display name contains a line break or another control character.
    DisplayNameControlCharacter,
    /// The display name is empty.
    DisplayNameEmpty,
    /// The display name is longer than 128 characters.
    DisplayNameTooLong,
    /// The docker config is for another host.
    #[non_exhaustive]
    DockerConfigHost {
        /// The host of the registry.
        registry: RegistryHost,
        /// The host in the docker config.
        config: RegistryHost,
    },
    /// The type `Vendor` was chosen for a registry without node identity.
    #[non_exhaustive]
    NoNodeIdentity {
        /// The host.
        host: RegistryHost,
        /// The name of its vendor.
        vendor: String,
        /// The types that make sense there, the best first.
        recommended: Vec<AuthenticationType>,
    },
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(refusal) => refusal.fmt(f),
            Self::DataEndpoint { host } => {
                let registry = host.name().split('.').next().unwrap_or_default();
                let cloud = host.name().rsplit('.').next().unwrap_or_default();
                write!(
                    f,
                    "\"{host}\" is a data endpoint, which serves layers only: enter the login \
                     server, such as \"{registry}.azurecr.{cloud}\""
                )
            }
            Self::DisplayNameControlCharacter => f.write_str(
                "display name contains a line break or another control character: remove it",
            ),
            Self::DisplayNameEmpty => {
                f.write_str("display name is empty: enter a name by which people know the registry")
            }
            Self::DisplayNameTooLong => {
                f.write_str("display name is longer than 128 characters: shorten it")
            }
            Self::DockerConfigHost { registry, config } => write!(
                f,
                "docker config is for \"{config}\", not for \"{registry}\": paste the one of \
                 \"{registry}\", or register \"{config}\""
            ),
            Self::NoNodeIdentity {
                host,
                vendor,
                recommended,
            } => write!(
                f,
                "\"{host}\" ({vendor}) gives nodes no access by their identity: choose {}",
                choices(recommended)
            ),
        }
    }
}

impl std::error::Error for RegistryError {}

/// Returns what to choose instead of node identity: public access if it is the best, otherwise the
/// types with a credential.
fn choices(recommended: &[AuthenticationType]) -> String {
    if recommended.first() == Some(&AuthenticationType::Public) {
        return AuthenticationType::Public.to_string();
    }
    let with_secret = recommended.iter().filter(|choice| choice.needs_secret());
    let names: Vec<_> = with_secret.map(AuthenticationType::as_str).collect();
    match names[..] {
        [] => "another type".to_owned(),
        _ => names.join(" or "),
    }
}

impl From<CredentialRefusal> for RegistryError {
    fn from(refusal: CredentialRefusal) -> Self {
        Self::Credential(refusal)
    }
}

#[cfg(test)]
mod tests {
    use AuthenticationType::{Basic, DockerConfig, Public};

    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_variant_has_its_text() {
        use RegistryError as E;

        let host = |host: &str| host.parse::<RegistryHost>().unwrap();
        assert_texts! { E:
            E::Credential(_) = E::from(CredentialRefusal::FineGrainedToken) =>
                "GHCR accepts no fine-grained token (github_pat_…): create a classic personal \
                 access token with the scope read:packages";
            E::DataEndpoint { .. } =
                E::DataEndpoint { host: host("acme.westeurope.data.azurecr.io") } =>
                "\"acme.westeurope.data.azurecr.io\" is a data endpoint, which serves layers only: \
                 enter the login server, such as \"acme.azurecr.io\"";
            E::DisplayNameControlCharacter = E::DisplayNameControlCharacter =>
                "display name contains a line break or another control character: remove it";
            E::DisplayNameEmpty = E::DisplayNameEmpty =>
                "display name is empty: enter a name by which people know the registry";
            E::DisplayNameTooLong = E::DisplayNameTooLong =>
                "display name is longer than 128 characters: shorten it";
            E::DockerConfigHost { .. } =
                E::DockerConfigHost { registry: host("ghcr.io"), config: host("quay.io") } =>
                "docker config is for \"quay.io\", not for \"ghcr.io\": paste the one of \
                 \"ghcr.io\", or register \"quay.io\"";
            E::NoNodeIdentity { .. } =
                E::NoNodeIdentity {
                    host: host("quay.io"),
                    vendor: "Quay".to_owned(),
                    recommended: vec![Basic, DockerConfig, Public],
                } =>
                "\"quay.io\" (Quay) gives nodes no access by their identity: choose basic or \
                 docker-config";
        }
    }

    #[test]
    fn what_is_recommended_is_what_the_vendor_has() {
        for (recommended, text) in [
            (vec![Public], "public"),
            (vec![Public, Basic, DockerConfig], "public"),
            (vec![Basic], "basic"),
            (vec![DockerConfig, Public], "docker-config"),
            (vec![], "another type"),
        ] {
            assert_eq!(choices(&recommended), text);
        }
    }
}
