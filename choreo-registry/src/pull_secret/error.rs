//! Why a pull secret cannot be created.

use std::fmt;

use crate::RegistryHost;
use crate::quote::Quoted;

/// Why the pods of a registry need no pull secret.
///
/// ```
/// use choreo_registry::pull_secret::NoPullSecret;
///
/// assert_eq!(
///     NoPullSecret::Vendor.to_string(),
///     "the registry needs no pull secret: the data plane's nodes have access of their own",
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NoPullSecret {
    /// The authentication type is public: anonymous pulls are allowed.
    Public,
    /// The authentication type is vendor: the nodes have access by their own identity.
    Vendor,
}

impl fmt::Display for NoPullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "the registry needs no pull secret: anyone may pull from it",
            Self::Vendor => {
                "the registry needs no pull secret: the data plane's nodes have access of their own"
            }
        })
    }
}

impl std::error::Error for NoPullSecret {}

/// Why a pull secret cannot contain entries for further spellings.
///
/// ```
/// use choreo_registry::{Credential, PullSecret};
///
/// let secret = PullSecret::new(&"ghcr.io".parse()?, &Credential::new("alice", "hunter2")?);
/// assert_eq!(
///     secret.with_spellings_of([&"quay.io/acme/app".parse()?]).unwrap_err().to_string(),
///     "image \"quay.io/acme/app\" is not of the registry \"ghcr.io\": leave it out, or use the \
///      pull secret of its own registry",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PullSecretError {
    /// An image belongs to another registry.
    #[non_exhaustive]
    ForeignImage {
        /// The image's name, without tag and digest.
        image: String,
        /// The host of the pull secret.
        host: RegistryHost,
    },
    /// The entries together exceed 1 MiB, the maximum in Kubernetes.
    TooLarge,
}

impl fmt::Display for PullSecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignImage { image, host } => write!(
                f,
                "image {} is not of the registry \"{host}\": leave it out, or use the pull secret \
                 of its own registry",
                Quoted::new(image)
            ),
            Self::TooLarge => f.write_str(
                "pull secret is larger than 1 MiB with an entry for each spelling: spell the \
                 registry in one way",
            ),
        }
    }
}

impl std::error::Error for PullSecretError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_variant_has_its_text() {
        use PullSecretError as E;

        assert_texts! { NoPullSecret:
            NoPullSecret::Public = NoPullSecret::Public =>
                "the registry needs no pull secret: anyone may pull from it";
            NoPullSecret::Vendor = NoPullSecret::Vendor =>
                "the registry needs no pull secret: the data plane's nodes have access of their own";
        }
        assert_texts! { E:
            E::ForeignImage { .. } = E::ForeignImage {
                image: "quay.io/acme/app".to_owned(),
                host: "ghcr.io".parse().unwrap(),
            } =>
                "image \"quay.io/acme/app\" is not of the registry \"ghcr.io\": leave it out, or \
                 use the pull secret of its own registry";
            E::TooLarge = E::TooLarge =>
                "pull secret is larger than 1 MiB with an entry for each spelling: spell the \
                 registry in one way";
        }
    }
}
