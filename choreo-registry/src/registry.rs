//! Registered registries: a display name, a host, and an authentication.

mod doubt;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use self::error::RegistryError;
use crate::authentication::AuthenticationType;
use crate::finding::{Code, Finding};
use crate::vendor_table::{Cloud, Vendor, VendorTable, is_data_endpoint};
use crate::{Authentication, Credential, ImageReference, RegistryHost};

/// A container registry that a user has registered.
///
/// Construction rejects what can never work; [`findings`](Self::findings) returns what is doubtful.
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry};
///
/// let registry = ContainerRegistry::new(
///     "Team images",
///     "https://GHCR.io/".parse()?,
///     Authentication::basic("alice", "ghp_0123456789")?,
/// )?;
/// assert_eq!(registry.host().as_str(), "ghcr.io");
/// assert!(registry.serves(&"ghcr.io/acme/app:1".parse()?));
/// assert!(!registry.serves(&"quay.io/acme/app:1".parse()?));
/// assert!(registry.findings().is_empty());
///
/// let error = ContainerRegistry::new(
///     "Team images",
///     "ghcr.io".parse()?,
///     Authentication::basic("alice", "github_pat_0123456789")?,
/// )
/// .unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "GHCR accepts no fine-grained token (github_pat_…): create a classic personal access \
///      token with the scope read:packages",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does not do
///
/// It does not contact the registry; the client does. It is not `Serialize`: store the display
/// name, the host and the [`AuthenticationType`], and seal the secret separately.
pub struct ContainerRegistry {
    display_name: String,
    host: RegistryHost,
    authentication: Authentication,
    findings: Vec<Finding>,
    vendor: Arc<Vendor>,
    vendors: VendorTable,
}

impl ContainerRegistry {
    /// Creates a registry from its three parts. The display name is trimmed.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError`] if the display name is empty, longer than 128 characters or contains
    /// control characters; if the docker config is for another host; if `Vendor` is chosen for a
    /// registry without node identity; if the host is a data endpoint of ACR; if the vendor is
    /// known to reject this kind of credential.
    pub fn new(
        display_name: impl Into<String>,
        host: RegistryHost,
        authentication: Authentication,
    ) -> Result<Self, RegistryError> {
        Self::with_vendors(&VendorTable::built_in(), display_name, host, authentication)
    }

    /// Creates a registry with the operator's own table of vendors.
    ///
    /// ```
    /// use choreo_registry::authentication::AuthenticationType;
    /// use choreo_registry::vendor_table::{Vendor, VendorTable};
    /// use choreo_registry::{Authentication, ContainerRegistry};
    ///
    /// // Nodes are given access to this registry by their machines' identity.
    /// let acme = Vendor::new("acme", "Acme Registry")?
    ///     .with_host("registry.acme.example".parse()?)
    ///     .with_recommended([AuthenticationType::Vendor]);
    /// let vendors = VendorTable::built_in().with(acme);
    /// let host = "registry.acme.example".parse()?;
    /// ContainerRegistry::with_vendors(&vendors, "Images", host, Authentication::Vendor)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new).
    pub fn with_vendors(
        vendors: &VendorTable,
        display_name: impl Into<String>,
        host: RegistryHost,
        authentication: Authentication,
    ) -> Result<Self, RegistryError> {
        MovedRegistry {
            display_name: check_display_name(display_name.into())?,
            host,
            vendors: vendors.clone(),
        }
        .authenticate(authentication)
    }

    /// Returns the display name.
    #[must_use]
    pub fn display_name(&self) -> &str {
        &self.display_name
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// Returns the authentication, with its secret.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// Returns the authentication type, without its secret.
    ///
    /// ```
    /// use choreo_registry::authentication::AuthenticationType;
    /// use choreo_registry::{Authentication, ContainerRegistry};
    ///
    /// let registry = ContainerRegistry::new("Images", "ghcr.io".parse()?,
    ///     Authentication::basic("alice", "ghp_0123456789")?)?;
    /// assert_eq!(registry.authentication_type(), AuthenticationType::Basic);
    /// assert_eq!(registry.credential().unwrap().username(), "alice");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn authentication_type(&self) -> AuthenticationType {
        self.authentication.authentication_type()
    }

    /// Returns the credential, if the authentication type has one.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.authentication.credential()
    }

    /// Returns the vendor of the registry, detected from the host and the user name.
    ///
    /// ```
    /// # use choreo_registry::{Authentication, ContainerRegistry};
    /// let host = "ghcr.io".parse()?;
    /// let registry = ContainerRegistry::new("Images", host, Authentication::Public)?;
    /// assert_eq!(registry.vendor().id(), "ghcr");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn vendor(&self) -> &Vendor {
        &self.vendor
    }

    /// Returns the findings, in the order in which to read them.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns a finding if pulling from it on a data plane of this cloud is doubtful; `None` for
    /// any authentication type but `Vendor`, the only one that depends on the cloud.
    ///
    /// ```
    /// use choreo_registry::vendor_table::Cloud;
    /// use choreo_registry::{Authentication, ContainerRegistry};
    ///
    /// let host = "eu-docker.pkg.dev".parse()?;
    /// let registry = ContainerRegistry::new("Images", host, Authentication::Vendor)?;
    /// assert!(registry.misfit(Cloud::Gcp).is_none());
    /// assert_eq!(
    ///     registry.misfit(Cloud::Aws).unwrap().help(),
    ///     "choose basic or docker-config, unless its nodes have a credential provider for gcp",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn misfit(&self, data_plane: Cloud) -> Option<Finding> {
        match self.authentication {
            Authentication::Vendor => self.vendor.misfit(data_plane),
            Authentication::Basic(_) | Authentication::DockerConfig(_) | Authentication::Public => {
                None
            }
        }
    }

    /// Returns `true` if the image belongs to this registry.
    ///
    /// The comparison ignores case and the port 443, and treats all names of Docker Hub as one.
    ///
    /// ```
    /// # use choreo_registry::{Authentication, ContainerRegistry};
    /// let hub = ContainerRegistry::new("Hub", "docker.io".parse()?, Authentication::Public)?;
    /// assert!(hub.serves(&"nginx".parse()?));
    /// assert!(hub.serves(&"registry-1.docker.io/library/nginx".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn serves(&self, image: &ImageReference) -> bool {
        self.host.serves(image)
    }

    /// Returns the image with the name for which kubelets find this registry's pull secret; `None`
    /// if the image belongs to another registry.
    ///
    /// Kubelets compare hosts byte by byte, so the pod must contain the canonical spelling of every
    /// image that [`serves`](Self::serves) accepts.
    ///
    /// ```
    /// # use choreo_registry::{Authentication, ContainerRegistry};
    /// let ghcr = ContainerRegistry::new("GHCR", "ghcr.io".parse()?, Authentication::Public)?;
    /// let image = ghcr.canonical_image(&"GHCR.io:443/acme/app:1".parse()?);
    /// assert_eq!(image.unwrap().as_str(), "ghcr.io/acme/app:1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn canonical_image(&self, image: &ImageReference) -> Option<ImageReference> {
        self.host.canonical_image(image)
    }

    /// Returns the same registry with another display name.
    ///
    /// ```
    /// # use choreo_registry::{Authentication, ContainerRegistry};
    /// # let host = "ghcr.io".parse()?;
    /// let registry = ContainerRegistry::new("Images", host, Authentication::Public)?;
    /// assert_eq!(registry.with_display_name(" Team images ")?.display_name(), "Team images");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the display name breaks the rules of [`new`](Self::new).
    pub fn with_display_name(self, display_name: impl Into<String>) -> Result<Self, RegistryError> {
        Ok(Self {
            display_name: check_display_name(display_name.into())?,
            ..self
        })
    }

    /// Moves the registry to another host and drops the secret. The secret was entered for the old
    /// host, and a user who may edit a host must not be able to send it elsewhere.
    ///
    /// ```
    /// # use choreo_registry::{Authentication, ContainerRegistry};
    /// # let registry = ContainerRegistry::new("Images", "ghcr.io".parse()?,
    /// #     Authentication::basic("alice", "ghp_0123456789")?)?;
    /// let moved = registry
    ///     .with_host("registry.example.com".parse()?)
    ///     .authenticate(Authentication::basic("alice", "another password")?)?;
    /// assert_eq!(moved.display_name(), "Images");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_host(self, host: RegistryHost) -> MovedRegistry {
        MovedRegistry {
            display_name: self.display_name,
            host,
            vendors: self.vendors,
        }
    }

    /// Returns the same registry with another authentication; the old secret is dropped.
    ///
    /// ```
    /// # use choreo_registry::{Authentication, ContainerRegistry};
    /// # let host = "ghcr.io".parse()?;
    /// let registry = ContainerRegistry::new("Images", host, Authentication::Public)?;
    /// let private = registry
    ///     .with_authentication(Authentication::basic("alice", "ghp_0123456789")?)?;
    /// assert_eq!(private.credential().unwrap().username(), "alice");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the new authentication cannot work with this host, as in
    /// [`new`](Self::new).
    pub fn with_authentication(
        self,
        authentication: Authentication,
    ) -> Result<Self, RegistryError> {
        MovedRegistry {
            display_name: self.display_name,
            host: self.host,
            vendors: self.vendors,
        }
        .authenticate(authentication)
    }
}

impl fmt::Debug for ContainerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerRegistry")
            .field("display_name", &self.display_name)
            .field("host", &self.host.as_str())
            .field("vendor", &self.vendor.id())
            .field("authentication", &self.authentication)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// A registry whose host has changed and whose authentication must be entered again.
///
/// Returned by [`ContainerRegistry::with_host`]. It keeps the display name and the operator's
/// vendors.
///
/// ```
/// use choreo_registry::{Authentication, ContainerRegistry};
///
/// let registry = ContainerRegistry::new("Images", "ghcr.io".parse()?, Authentication::Public)?;
/// let moved = registry.with_host("quay.io".parse()?).authenticate(Authentication::Public)?;
/// assert_eq!(moved.display_name(), "Images");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MovedRegistry {
    display_name: String,
    host: RegistryHost,
    vendors: VendorTable,
}

impl MovedRegistry {
    /// Completes the registry with an authentication.
    ///
    /// # Errors
    ///
    /// Returns an error if the authentication cannot work with this host, as in
    /// [`ContainerRegistry::new`].
    pub fn authenticate(
        self,
        authentication: Authentication,
    ) -> Result<ContainerRegistry, RegistryError> {
        let Self {
            display_name,
            host,
            vendors,
        } = self;
        let vendor = Arc::clone(vendors.row_of_credential(&host, authentication.credential()));
        let mut findings = check_type(&vendor, &host, &authentication)?;
        findings.extend(doubt::host(&host, &authentication));
        if let Some(credential) = authentication.credential() {
            findings.extend(vendor.judge(credential, &vendors)?);
            findings.extend(doubt::username(credential, &vendor));
            findings.extend(doubt::password(credential));
        }
        Ok(ContainerRegistry {
            display_name,
            host,
            authentication,
            findings,
            vendor,
            vendors,
        })
    }
}

fn check_display_name(display_name: String) -> Result<String, RegistryError> {
    let trimmed = display_name.trim();
    if trimmed.is_empty() {
        return Err(RegistryError::DisplayNameEmpty);
    }
    if trimmed.chars().count() > DISPLAY_NAME_MAX {
        return Err(RegistryError::DisplayNameTooLong);
    }
    if trimmed.chars().any(char::is_control) {
        return Err(RegistryError::DisplayNameControlCharacter);
    }
    Ok(if trimmed.len() == display_name.len() {
        display_name
    } else {
        trimmed.to_owned()
    })
}

/// Checks the authentication type, without the credential.
fn check_type(
    vendor: &Vendor,
    host: &RegistryHost,
    authentication: &Authentication,
) -> Result<Vec<Finding>, RegistryError> {
    if is_data_endpoint(host) {
        return Err(RegistryError::DataEndpoint { host: host.clone() });
    }
    match authentication {
        Authentication::Vendor if !vendor.offers_node_identity() => {
            Err(RegistryError::NoNodeIdentity {
                host: host.clone(),
                vendor: vendor.name().to_owned(),
                recommended: vendor.recommended().to_vec(),
            })
        }
        Authentication::DockerConfig(config) if config.host() != host => {
            Err(RegistryError::DockerConfigHost {
                registry: host.clone(),
                config: config.host().clone(),
            })
        }
        Authentication::DockerConfig(config) => Ok(config.findings()),
        Authentication::Public if host.is_docker_hub() => Ok(vec![Finding::new(
            Code::DockerHubAnonymousLimit,
            "Docker Hub limits anonymous pulls by address, and all pods of a node share one",
            "enter a Docker ID and an access token to raise the limit",
        )]),
        Authentication::Public => Ok(vendor.judge_public().into_iter().collect()),
        Authentication::Basic(_) | Authentication::Vendor => Ok(Vec::new()),
    }
}

const DISPLAY_NAME_MAX: usize = 128;
