//! The registry and the credential for the image of a target.

use choreo_registry::authentication::AuthenticationType;
use choreo_registry::{Credential, PullSecret};

use super::Deployer;
use super::admission::{NoRegistry, Wanted};
use super::halt::{Halt, chain};
use crate::Target;
use crate::backend::Pull;
use crate::catalog::Plan;
use crate::id::RegistryId;
use crate::reason::{Evidence, Reason, ReasonCode};
use crate::resolver::RegistryAccess;
use crate::sealer::SealingContext;
use crate::store::{RegisteredRegistry, StoredCredential};

/// The plan, the registry and the opened credential for the image of a target.
///
/// A step looks them up once and drops them at its end.
pub(super) struct Source {
    pub(super) plan: Plan,
    pub(super) registry: RegisteredRegistry,
    access: Access,
}

impl Source {
    /// Returns how the data plane pulls the image.
    pub(super) fn pull(&self) -> Pull<'_> {
        match &self.access {
            Access::Anonymous => Pull::Anonymous,
            Access::NodeIdentity => Pull::NodeIdentity,
            Access::Credential(_, secret) => Pull::Secret(secret),
            Access::Existing(name) => Pull::Existing(name),
            Access::External(reference) => Pull::External(reference),
        }
    }

    /// Returns how the control plane reads the registry, or `None` if it has no credential for it.
    pub(super) fn read(&self) -> Option<RegistryAccess<'_>> {
        let registry = &self.registry;
        let from = RegistryAccess::new(&registry.organization, &registry.id, &registry.host);
        match &self.access {
            Access::Credential(credential, _) => {
                Some(from.with_credential(credential, registry.credential_version))
            }
            Access::Anonymous => Some(from),
            Access::NodeIdentity | Access::Existing(_) | Access::External(_) => None,
        }
    }
}

/// The access to a registry.
enum Access {
    Anonymous,
    NodeIdentity,
    Credential(Credential, PullSecret),
    Existing(String),
    External(String),
}

impl Deployer {
    /// Returns the source of a target's image.
    pub(super) async fn source(
        &self,
        target: &Target,
        wanted: &Wanted<'_>,
    ) -> Result<Source, Halt> {
        let plan = self.look_up(&target.component_key()).await;
        let plan = plan.map_err(|error| {
            let mut reason = Reason::new(ReasonCode::Waiting, error.to_string());
            if let Some(cause) = std::error::Error::source(&error) {
                reason = reason.with_evidence(Evidence::from_untrusted(&chain(cause)));
            }
            Halt::later(reason)
        })?;
        let Some(plan) = plan else {
            let message = format!("component {} no longer exists", target.component);
            return Err(Halt::Failed(Reason::new(
                ReasonCode::RegistryMissing,
                message,
            )));
        };
        let found = self.registry_of(&plan.component, wanted).await;
        let (registry, _) = found.map_err(|why| match why {
            NoRegistry::Store(error) => Halt::from(error),
            NoRegistry::NotRegistered(id) => Halt::Failed(missing_registry(&id)),
            refused @ (NoRegistry::Elsewhere(_) | NoRegistry::PullSecret(..)) => {
                Halt::Failed(Reason::new(ReasonCode::RegistryMissing, refused.message()))
            }
        })?;
        let access = self.open(&registry)?;
        Ok(Source {
            plan,
            registry,
            access,
        })
    }

    fn open(&self, registry: &RegisteredRegistry) -> Result<Access, Halt> {
        let sealed = match &registry.credential {
            StoredCredential::Sealed(sealed) => sealed,
            StoredCredential::ExistingSecret(name) => return Ok(Access::Existing(name.clone())),
            StoredCredential::ExternalSecret(key) => return Ok(Access::External(key.clone())),
            StoredCredential::None => {
                return match registry.authentication_type {
                    AuthenticationType::Public => Ok(Access::Anonymous),
                    AuthenticationType::Vendor => Ok(Access::NodeIdentity),
                    // Without the credential, a public image of the same name could be deployed, or the
                    // deployment could fail later for another reason.
                    other => Err(Halt::Failed(no_credential(registry, other))),
                };
            }
        };
        let context = SealingContext::new(&registry.organization, &registry.id, &registry.host);
        let credential = self.parts.sealer.open(sealed, &context).map_err(|error| {
            let message = format!(
                "the credential of registry {} cannot be opened",
                registry.id
            );
            let reason = Reason::new(ReasonCode::CredentialUnavailable, message)
                .with_help("enter the registry's credential again")
                .with_evidence(Evidence::from_untrusted(&error.to_string()));
            Halt::Failed(reason)
        })?;
        let secret = PullSecret::new(&registry.host, &credential);
        Ok(Access::Credential(credential, secret))
    }
}

fn no_credential(registry: &RegisteredRegistry, chosen: AuthenticationType) -> Reason {
    let message = format!(
        "registry {} has the authentication type {chosen} and no credential",
        registry.id
    );
    Reason::new(ReasonCode::CredentialUnavailable, message)
        .with_help("enter the registry's credential, or choose the authentication type public")
}

fn missing_registry(id: &RegistryId) -> Reason {
    Reason::new(
        ReasonCode::RegistryMissing,
        format!("registry {id} is no longer registered"),
    )
    .with_help("register it again, or bind the component to another registry")
}
