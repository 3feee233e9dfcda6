//! The interface between a webhook and a control plane that accepts deployments.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::code::codes;
use crate::deployment::{Cause, Deployment, Provenance, RequestedImage};
use crate::id::{ComponentKey, DeploymentId, EnvironmentId};
use crate::release::Release;
use crate::store::Accepted;

/// Accepts deployments and returns their state.
///
/// [`Deployer`](crate::Deployer) implements it. A control plane with its own orchestration can
/// implement it too.
#[async_trait]
pub trait Intake: fmt::Debug + Send + Sync + 'static {
    /// Accepts a deployment. After it returns `Ok`, the deployment survives any crash.
    ///
    /// It checks the component, its registry and a hold, but calls no registry. A missing image leads to
    /// a failed deployment later.
    ///
    /// # Errors
    ///
    /// Returns an error of an [`IntakeErrorKind`].
    async fn accept(&self, submission: Submission) -> Result<Accepted, IntakeError>;

    /// Returns a deployment of a component, or `None` if the component has no such deployment.
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    async fn get(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, IntakeError>;

    /// Waits until a deployment is final or the time is over, and returns it.
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    async fn wait(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
        at_most: Duration,
    ) -> Result<Option<Deployment>, IntakeError>;

    /// Returns the release of a deployment, or `None` while it has no release.
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    async fn release(&self, deployment: &Deployment) -> Result<Option<Release>, IntakeError>;

    /// Returns the deployment that replaced a ready one, which may be a removal. Returns `None` if the
    /// target runs the given deployment, or if that was never ready.
    ///
    /// The phase `ready` is about the past. An answer to a request to deploy must not claim that a
    /// deployment runs after it was replaced.
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    async fn successor(&self, deployment: &Deployment)
    -> Result<Option<DeploymentId>, IntakeError>;
}

/// A request to deploy an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submission {
    /// The component.
    pub component: ComponentKey,
    /// The environment. `None` selects the component's first environment, development.
    pub environment: Option<EnvironmentId>,
    /// The image.
    pub image: RequestedImage,
    /// The cause of the request.
    pub cause: Cause,
    /// The build of the image.
    pub provenance: Provenance,
    /// The key by which a request is a duplicate. Without a key, an automatic request for the same
    /// image, as written, with the same commit or digest is a duplicate within
    /// [`DeployerOptions::repeat_window`](crate::deployer::DeployerOptions::repeat_window), if the
    /// catalog entry has not changed. A manual request is not.
    pub idempotency_key: Option<String>,
}

impl Submission {
    /// Creates a request for a component's first environment.
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

    /// Sets the environment.
    #[must_use]
    pub fn to_environment(self, environment: EnvironmentId) -> Self {
        Self {
            environment: Some(environment),
            ..self
        }
    }

    /// Sets the build of the image.
    #[must_use]
    pub fn with_provenance(self, provenance: Provenance) -> Self {
        Self { provenance, ..self }
    }

    /// Sets the key by which a request is a duplicate.
    #[must_use]
    pub fn with_idempotency_key(self, key: impl Into<String>) -> Self {
        Self {
            idempotency_key: Some(key.into()),
            ..self
        }
    }
}

/// An error that prevents a deployment from being accepted. Nothing was stored.
#[derive(Debug)]
pub struct IntakeError {
    kind: IntakeErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of an [`IntakeError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IntakeErrorKind {
    /// The target rejects automatic deployments until its hold is released.
    Held,
    /// The image is not in the component's registry.
    ImageNotInRegistry,
    /// A stored record cannot be used. A retry fails too, until the operator has corrected it.
    Internal,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The request does not match the component, its environments or its releases.
    NotPossible,
    /// The token is rejected.
    TokenRefused,
    /// A service does not answer. A retry may succeed.
    Unavailable,
    /// The component does not exist.
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
    /// Creates an error. The message is one sentence for the caller in lower case, without a trailing
    /// period and without secrets.
    #[must_use]
    pub fn new(kind: IntakeErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Sets the source, for logs.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Returns the kind of the error.
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
