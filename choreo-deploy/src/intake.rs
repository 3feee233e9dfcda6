//! The seam between a webhook and whatever accepts deployments.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::code::codes;
use crate::deployment::{Cause, Deployment, Provenance, RequestedImage};
use crate::id::{ComponentKey, DeploymentId, EnvironmentId};
use crate::release::Release;
use crate::store::Accepted;

/// Accepts deployments and lets them be followed.
///
/// [`Deployer`](crate::Deployer) implements it; so can a team whose control plane has an
/// orchestration of its own.
#[async_trait]
pub trait Intake: fmt::Debug + Send + Sync + 'static {
    /// Accepts a deployment. When it returns `Ok`, the deployment survives any crash.
    ///
    /// What can be judged without asking a registry is judged now: the component, its registry, a
    /// hold. Whether the image exists shows later, as a failed deployment.
    ///
    /// # Errors
    /// See [`IntakeErrorKind`].
    async fn accept(&self, submission: Submission) -> Result<Accepted, IntakeError>;

    /// A deployment of a component; `None` when the component has no such deployment.
    ///
    /// # Errors
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
    async fn get(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, IntakeError>;

    /// The same once it is final, or when the time is over, whichever comes first.
    ///
    /// # Errors
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
    async fn wait(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
        at_most: Duration,
    ) -> Result<Option<Deployment>, IntakeError>;

    /// The release of a deployment: what exactly it deploys. `None` while it has none.
    ///
    /// # Errors
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
    async fn release(&self, deployment: &Deployment) -> Result<Option<Release>, IntakeError>;

    /// The deployment that took the place of one that was ready, a removal too; `None` while the one
    /// that is given is what the target runs, or was never ready.
    ///
    /// A record that says `ready` says what was. Whoever answers a request to deploy must not say that
    /// it runs when it does not.
    ///
    /// # Errors
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
    async fn successor(&self, deployment: &Deployment)
    -> Result<Option<DeploymentId>, IntakeError>;
}

/// A request to deploy an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submission {
    /// The component.
    pub component: ComponentKey,
    /// The environment; the component's first, development, when `None`.
    pub environment: Option<EnvironmentId>,
    /// The image.
    pub image: RequestedImage,
    /// Who asks.
    pub cause: Cause,
    /// Where the image was built.
    pub provenance: Provenance,
    /// What makes a second request the same as the first. `None`: the same image, as written, with
    /// the same commit, within ten minutes.
    pub idempotency_key: Option<String>,
}

impl Submission {
    /// An image for a component's development environment.
    #[must_use]
    pub fn new(component: ComponentKey, image: RequestedImage, cause: Cause) -> Self {
        Self {
            component,
            environment: None,
            image,
            cause,
            provenance: Provenance::default(),
            idempotency_key: None,
        }
    }

    /// For another environment.
    #[must_use]
    pub fn to_environment(self, environment: EnvironmentId) -> Self {
        Self {
            environment: Some(environment),
            ..self
        }
    }

    /// Says where the image was built.
    #[must_use]
    pub fn with_provenance(self, provenance: Provenance) -> Self {
        Self { provenance, ..self }
    }

    /// Says what makes a second request the same as this one.
    #[must_use]
    pub fn with_idempotency_key(self, key: impl Into<String>) -> Self {
        Self {
            idempotency_key: Some(key.into()),
            ..self
        }
    }
}

/// Why a deployment is not accepted. Nothing was stored.
#[derive(Debug)]
pub struct IntakeError {
    kind: IntakeErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of refusal.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IntakeErrorKind {
    /// The target takes no deployments from machines until its hold is released.
    Held,
    /// The image is not of the component's registry.
    ImageNotInRegistry,
    /// What is stored cannot be used. No other try ends differently until the operator has looked.
    Internal,
    /// The idempotency key was used for another request.
    KeyReused,
    /// What was asked for does not fit the component, its environments or its releases.
    NotPossible,
    /// The token is not accepted.
    TokenRefused,
    /// It cannot be stored now. Worth another try.
    Unavailable,
    /// There is no such component.
    UnknownComponent,
    /// The component has no such environment.
    UnknownEnvironment,
}

codes!(IntakeErrorKind, "kind of refusal", {
    Held = "held",
    ImageNotInRegistry = "image-not-in-registry",
    Internal = "internal",
    KeyReused = "key-reused",
    NotPossible = "not-possible",
    TokenRefused = "token-refused",
    Unavailable = "unavailable",
    UnknownComponent = "unknown-component",
    UnknownEnvironment = "unknown-environment",
});

impl IntakeError {
    /// A refusal of a kind. The message is one sentence for the caller, lower case, without a full
    /// stop and without any secret.
    #[must_use]
    pub fn new(kind: IntakeErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause, for logs.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// What kind of refusal.
    #[must_use]
    pub fn kind(&self) -> IntakeErrorKind {
        self.kind
    }
}

impl fmt::Display for IntakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for IntakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
