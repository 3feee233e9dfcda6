//! Registry vendors: who runs a registry, told by its host.
//!
//! What is known about vendors stands in one table, a row for each.

mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::rules::CredentialRefusal;
use crate::finding::Finding;
use crate::quote::Quoted;
use crate::string_value::string_value;
use crate::{Credential, RegistryHost};

/// Who runs a registry, as far as its host tells.
///
/// ```
/// use choreo_registry::vendor::{Cloud, Vendor};
///
/// let vendor = Vendor::of(&"acme.azurecr.io".parse()?);
/// assert_eq!(vendor, Vendor::Acr);
/// assert_eq!(vendor.cloud(), Some(Cloud::Azure));
/// assert_eq!(Vendor::of(&"registry.example.com".parse()?), Vendor::SelfHosted);
/// # Ok::<(), choreo_registry::host::ParseHostError>(())
/// ```
///
/// # What it does not do
///
/// It looks at the host alone: a vendor's product under a host of your own is
/// [`Vendor::SelfHosted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Vendor {
    /// Azure Container Registry.
    Acr,
    /// Docker Hub.
    DockerHub,
    /// Amazon Elastic Container Registry, private.
    Ecr,
    /// Amazon ECR Public.
    EcrPublic,
    /// Google Artifact Registry.
    Gar,
    /// Google's `gcr.io` hosts.
    Gcr,
    /// GitHub Container Registry.
    Ghcr,
    /// Any other registry.
    SelfHosted,
}

impl Vendor {
    /// Recognises the vendor by the host; a host with a port is nobody's.
    #[must_use]
    pub fn of(host: &RegistryHost) -> Self {
        if host.port().is_some() {
            return Self::SelfHosted;
        }
        TABLE
            .iter()
            .find(|row| (row.recognises)(host.name()))
            .map_or(Self::SelfHosted, |row| row.vendor)
    }

    /// The vendor's name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("self-hosted registry", |row| row.name)
    }

    /// The cloud to which the registry belongs, whose machines can have access by themselves.
    #[must_use]
    pub fn cloud(self) -> Option<Cloud> {
        self.row().and_then(|row| row.cloud)
    }

    /// Whether nodes of the vendor's cloud can pull from this registry without a pull secret.
    #[must_use]
    pub fn offers_node_identity(self) -> bool {
        self.row().is_some_and(|row| row.node_identity)
    }

    /// Judges a credential by what this vendor is known to accept.
    pub(crate) fn check(self, credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
        self.row()
            .map_or(Ok(Vec::new()), |row| (row.check)(credential))
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.vendor == self)
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A public cloud.
///
/// ```
/// use choreo_registry::vendor::Cloud;
///
/// assert_eq!(Cloud::Aws.as_str(), "aws");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cloud {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
}

impl Cloud {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }
}

impl std::str::FromStr for Cloud {
    type Err = ParseCloudError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        [Self::Aws, Self::Azure, Self::Gcp]
            .into_iter()
            .find(|cloud| cloud.as_str() == input)
            .ok_or_else(|| ParseCloudError {
                input: input.to_owned(),
            })
    }
}

string_value!(Cloud, ParseCloudError, "\"aws\", \"azure\" or \"gcp\"");

/// A string that names no [`Cloud`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseCloudError {
    input: String,
}

impl fmt::Display for ParseCloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown cloud {}: write aws, azure or gcp",
            Quoted(&self.input)
        )
    }
}

impl std::error::Error for ParseCloudError {}

/// Whether `host` is one of ACR's data endpoints, which serve layers and no manifests.
pub(crate) fn is_acr_data_endpoint(host: &RegistryHost) -> bool {
    acr_subdomain(host.name())
        .and_then(|subdomain| subdomain.strip_suffix(".data"))
        .is_some_and(|rest| rest.contains('.'))
}

/// What is known about one vendor.
struct Row {
    vendor: Vendor,
    name: &'static str,
    cloud: Option<Cloud>,
    node_identity: bool,
    /// Called with the name in lower case, without a port.
    recognises: fn(&str) -> bool,
    check: rules::Check,
}

static TABLE: [Row; 7] = [
    Row {
        vendor: Vendor::Acr,
        name: "Azure Container Registry",
        cloud: Some(Cloud::Azure),
        node_identity: true,
        // https://learn.microsoft.com/azure/container-registry/container-registry-concepts
        recognises: |name| acr_subdomain(name).is_some(),
        check: rules::acr,
    },
    Row {
        vendor: Vendor::DockerHub,
        name: "Docker Hub",
        cloud: None,
        node_identity: false,
        recognises: |name| name == "docker.io",
        check: rules::docker_hub,
    },
    Row {
        vendor: Vendor::Ecr,
        name: "Amazon ECR",
        cloud: Some(Cloud::Aws),
        node_identity: true,
        recognises: is_ecr,
        check: rules::ecr,
    },
    Row {
        vendor: Vendor::EcrPublic,
        name: "Amazon ECR Public",
        cloud: Some(Cloud::Aws),
        node_identity: false,
        recognises: |name| matches!(name, "public.ecr.aws" | "ecr-public.aws.com"),
        check: rules::ecr_public,
    },
    Row {
        vendor: Vendor::Gar,
        name: "Google Artifact Registry",
        cloud: Some(Cloud::Gcp),
        node_identity: true,
        // https://cloud.google.com/artifact-registry/docs/docker/names
        recognises: |name| name.strip_suffix("-docker.pkg.dev").is_some_and(is_label),
        check: rules::google,
    },
    Row {
        vendor: Vendor::Gcr,
        name: "Google gcr.io",
        cloud: Some(Cloud::Gcp),
        node_identity: true,
        recognises: |name| matches!(name, "gcr.io" | "us.gcr.io" | "eu.gcr.io" | "asia.gcr.io"),
        check: rules::google,
    },
    Row {
        vendor: Vendor::Ghcr,
        name: "GitHub Container Registry",
        cloud: None,
        node_identity: false,
        recognises: |name| name == "ghcr.io",
        check: rules::ghcr,
    },
];

/// What stands in front of ACR's domain, in any of its clouds.
fn acr_subdomain(name: &str) -> Option<&str> {
    [".azurecr.io", ".azurecr.us", ".azurecr.cn", ".azurecr.de"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
}

/// `<12 digits>.dkr.ecr[-fips].<region>.<suffix>`, and the dual-stack form `.dkr-ecr`: see
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html>.
fn is_ecr(name: &str) -> bool {
    let Some((account, rest)) = name.split_once('.') else {
        return false;
    };
    let region = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."]
        .iter()
        .find_map(|service| rest.strip_prefix(service));
    let Some((region, suffix)) = region.and_then(|region| region.split_once('.')) else {
        return false;
    };
    account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && is_label(region)
        && ECR_SUFFIXES.contains(&suffix)
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && !text.contains('.')
}

const ECR_SUFFIXES: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "on.amazonwebservices.com.cn",
    "on.aws",
    "sc2s.sgov.gov",
];
