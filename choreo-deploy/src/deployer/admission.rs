//! The checks that every way to deploy passes.

use choreo_registry::ImageReference;

use super::Deployer;
use super::refusal::unavailable;
use crate::backend::{is_pull_secret, named_pull_secret, refusal};
use crate::catalog::Plan;
use crate::id::RegistryId;
use crate::intake::{IntakeError, IntakeErrorKind};
use crate::release::{Release, ReleaseNumber};
use crate::run::RunOverrides;
use crate::settings::Settings;
use crate::store::{RegisteredRegistry, StoreError, StoredCredential};
use crate::target::Component;
use crate::workload::{Workload, too_large, too_long};

/// The image or release to run, as messages name it.
pub(super) enum Wanted<'a> {
    /// An image, in a new release.
    Image(&'a ImageReference),
    /// The image of a release, and the registry that it was read from.
    Release(ReleaseNumber, &'a ImageReference, Option<&'a RegistryId>),
}

impl<'a> Wanted<'a> {
    pub(super) fn of(release: &'a Release) -> Self {
        let (image, registry) = (&release.image.requested, release.registry.as_ref());
        Self::Release(release.number, image, registry)
    }

    fn image(&self) -> &'a ImageReference {
        match self {
            Self::Image(image) | Self::Release(_, image, _) => image,
        }
    }
}

/// The cause that an image has no registry to be pulled from.
pub(super) enum NoRegistry {
    /// The image is not in a registry that it may come from.
    Elsewhere(String),
    /// The component's registry is not registered.
    NotRegistered(RegistryId),
    /// The registry's Secret is the pull secret of a target.
    PullSecret(RegistryId, String),
    /// The store failed.
    Store(StoreError),
}

impl NoRegistry {
    pub(super) fn message(&self) -> String {
        match self {
            Self::Elsewhere(message) => message.clone(),
            Self::NotRegistered(id) => {
                format!("registry {id} of the component is not registered: register it")
            }
            Self::PullSecret(id, name) => format!("registry {id}: {}", refusal(name)),
            Self::Store(error) => error.to_string(),
        }
    }
}

impl From<NoRegistry> for IntakeError {
    fn from(why: NoRegistry) -> Self {
        let kind = match why {
            NoRegistry::Elsewhere(_) => IntakeErrorKind::ImageNotInRegistry,
            NoRegistry::NotRegistered(_) | NoRegistry::PullSecret(..) => {
                IntakeErrorKind::NotPossible
            }
            NoRegistry::Store(error) => return unavailable(error),
        };
        Self::new(kind, why.message())
    }
}

impl Deployer {
    /// Returns the registry that an image is pulled from, and the image under the name by which kubelets
    /// find the pull secret.
    ///
    /// This is the component's registry if it contains the image. Otherwise it is the registry that the
    /// release was made from, while that is registered, because the credential of that one fits.
    pub(super) async fn registry_of(
        &self,
        component: &Component,
        wanted: &Wanted<'_>,
    ) -> Result<(RegisteredRegistry, ImageReference), NoRegistry> {
        let organization = &component.project.organization;
        let look = async |id: &RegistryId| {
            let found = self.parts.store.registry(organization, id).await;
            found.map_err(NoRegistry::Store)
        };
        let present = look(&component.registry).await?;
        let with_image = |registry: RegisteredRegistry| {
            let image = registry.host.canonical_image(wanted.image())?;
            Some((registry, image))
        };
        if let Some(found) = present.clone().and_then(with_image) {
            return own_secret(found);
        }
        if let Wanted::Release(_, _, Some(made_from)) = wanted
            && **made_from != component.registry
            && let Some(found) = look(made_from).await?.and_then(with_image)
        {
            return own_secret(found);
        }
        Err(match present {
            Some(present) => NoRegistry::Elsewhere(elsewhere(wanted, &present)),
            None => NoRegistry::NotRegistered(component.registry.clone()),
        })
    }

    /// Rejects a release that does not match its component's type or these settings. Returns the
    /// registry that it is pulled from.
    pub(super) async fn check_release(
        &self,
        plan: &Plan,
        (number, settings): (ReleaseNumber, &Settings),
    ) -> Result<Option<RegisteredRegistry>, IntakeError> {
        let component = plan.component.key();
        let found = self.parts.store.release(&component, number).await;
        // The store rejects a release that does not exist on acceptance.
        let Some(release) = found.map_err(unavailable)? else {
            return Ok(None);
        };
        let called = format!("release {number} is");
        check_type(
            &plan.component,
            (&called, &release.workload),
            "deploy a new one",
        )?;
        check_contents(&release.workload, settings)?;
        let wanted = Wanted::of(&release);
        let (registry, _) = self.registry_of(&plan.component, &wanted).await?;
        Ok(Some(registry))
    }
}

/// Rejects a workload that does not have the component's type.
pub(super) fn check_type(
    component: &Component,
    (called, workload): (&str, &Workload),
    instead: &str,
) -> Result<(), IntakeError> {
    if workload.component_type() == component.component_type {
        return Ok(());
    }
    let message = format!(
        "component {} is a {} but {called} for a {}: {instead}",
        component.id,
        component.component_type.title(),
        workload.component_type().title()
    );
    Err(IntakeError::new(IntakeErrorKind::NotPossible, message))
}

/// Rejects a workload that exposes a pull secret to a container or is too large to run.
pub(super) fn check_contents(workload: &Workload, settings: &Settings) -> Result<(), IntakeError> {
    let refused =
        named_pull_secret(workload, settings).or_else(|| too_large(&settings.applied_to(workload)));
    not_possible(refused)
}

/// Rejects a run that cannot start.
pub(super) fn check_run(overrides: &RunOverrides) -> Result<(), IntakeError> {
    let variables = overrides.variables.iter();
    let variables = variables.map(|(name, text)| (name, text.len()));
    not_possible(too_long(&overrides.args, variables))
}

fn not_possible(refused: Option<String>) -> Result<(), IntakeError> {
    match refused {
        Some(message) => Err(IntakeError::new(IntakeErrorKind::NotPossible, message)),
        None => Ok(()),
    }
}

/// Rejects a registry whose Secret was made for another target.
fn own_secret<T>(
    (registry, image): (RegisteredRegistry, T),
) -> Result<(RegisteredRegistry, T), NoRegistry> {
    match &registry.credential {
        StoredCredential::ExistingSecret(name) if is_pull_secret(name) => {
            Err(NoRegistry::PullSecret(registry.id, name.clone()))
        }
        _ => Ok((registry, image)),
    }
}

fn elsewhere(wanted: &Wanted<'_>, present: &RegisteredRegistry) -> String {
    let bounded = |text: &str| text.chars().take(128).collect::<String>();
    let (image, host) = (wanted.image(), &present.host);
    let domain = bounded(image.domain());
    match wanted {
        Wanted::Image(_) => format!(
            "image {:?} is not in the component's registry {host}: push it there, or register \
             {domain:?} and bind the component to it",
            bounded(image.as_str()),
        ),
        Wanted::Release(number, ..) => format!(
            "release {number} is from {domain:?}, but the component's registry is now {host}: deploy \
             an image from {host}, or register {domain:?} again",
        ),
    }
}
