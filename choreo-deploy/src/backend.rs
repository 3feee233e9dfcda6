//! The interface to data planes.
//!
//! Implementers write [`DeploymentBackend`], a few idempotent calls. Callers use
//! [`DeploymentBackendExt`], which every backend has. Optional capabilities are separate traits, which
//! [`DeploymentBackend::tasks`] and [`DeploymentBackend::logs`] return.
//!
//! [`InMemoryBackend`](crate::InMemoryBackend) is a small implementation. The
//! [`conformance`](crate::conformance) suite has a clause for each sentence under *Contract*.

mod error;
mod ext;
mod reserved;

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use async_trait::async_trait;
use choreo_registry::PullSecret;

use crate::Target;
use crate::deployment::Generation;
use crate::id::{DataPlaneId, RunId};
use crate::reason::printable;
use crate::release::Release;
use crate::rollout::{Rollout, RunStatus};
use crate::run::RunOverrides;
use crate::settings::Settings;

pub use self::error::{BackendError, BackendErrorKind};
pub use self::ext::DeploymentBackendExt;
pub use self::reserved::is_pull_secret;
pub(crate) use self::reserved::{named_pull_secret, refusal};

/// Brings the targets on one data plane to their desired state, and observes them.
///
/// Call a backend through [`DeploymentBackendExt`] and [`Deployer`](crate::Deployer).
///
/// # Contract
/// - *Idempotent*: a repeated call with the same arguments changes nothing and succeeds.
/// - *Stale calls are rejected*: a call with a generation older than the newest one that was applied
///   or removed on the target fails with [`Stale`](BackendErrorKind::Stale) and changes nothing.
/// - *Latest wins*: a newer generation replaces the older one in any state.
/// - *Targets are independent*: a call for one target changes no other.
/// - *Observing is not failing*: a rollout that failed is a [`Rollout`], not an error.
/// - *Repeatable*: after a call was cancelled or failed, the same call brings the target to the
///   requested state.
///
/// # For implementers
/// Put `#[deny(clippy::missing_trait_methods)]` on wrappers. No method has a default implementation,
/// so that a wrapper cannot silently bypass the wrapped backend. A new capability is a new trait.
#[async_trait]
pub trait DeploymentBackend: fmt::Debug + Send + Sync + 'static {
    /// Applies an intent to its target.
    ///
    /// # Contract
    /// - Returns after the data plane accepted the desired state. The rollout continues by itself.
    /// - Applying the same generation again gives the same state.
    /// - Within a generation, a release by digest comes after a release by tag: an apply by tag after
    ///   an apply by digest fails with [`Stale`](BackendErrorKind::Stale) and changes nothing.
    /// - The release runs with the settings, and is pulled according to [`Intent::pull`].
    /// - [`Pull::AsBefore`] fails with [`Unsupported`](BackendErrorKind::Unsupported) and changes
    ///   nothing.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](BackendErrorKind::Stale), [`Refused`](BackendErrorKind::Refused) if the data
    /// plane rejects the objects, and the errors of any call.
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError>;

    /// Observes the target, without changes.
    ///
    /// # Contract
    /// - A target to which nothing was applied is [`Absent`](crate::rollout::RolloutPhase::Absent).
    /// - [`Rollout::generation`] is the newest generation that was applied or removed.
    /// - An applied generation whose objects were deleted is
    ///   [`Missing`](crate::rollout::RolloutPhase::Missing) until it is applied again.
    ///
    /// # Errors
    ///
    /// Returns an error only if it cannot observe the target.
    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError>;

    /// Completes a generation that is ready: changes that wait for its pods, such as the ports of a
    /// Service, take effect, and the leftovers of older generations are removed.
    ///
    /// # Contract
    /// - The objects of the generation itself stay.
    /// - All waiting changes take effect before anything is removed.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](BackendErrorKind::Stale) and the errors of any call. A deployment is not ready
    /// before this succeeds, unless the error [is about
    /// leftovers](BackendError::is_about_leftovers): then all waiting changes took effect, and only the
    /// leftovers could not be removed.
    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError>;

    /// Takes a failed generation back, so that no object of it becomes live later.
    ///
    /// With an intent, that one runs afterwards: it contains the release that was ready before and the
    /// generation that is taken back. Without an intent, nothing runs.
    ///
    /// # Contract
    /// - The release that was ready before continues without a restart, with its objects as they were.
    /// - Without an intent, the target is [`Absent`](crate::rollout::RolloutPhase::Absent) at the
    ///   generation.
    /// - Applying or settling a generation that was taken back is
    ///   [`Stale`](BackendErrorKind::Stale), also if it was taken back before it was applied.
    /// - A newer generation can be applied.
    /// - With [`Pull::AsBefore`] the restored pods name the pull secret of the generation that was ready
    ///   last, or was restored since. Its content is not restored.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](Self::apply).
    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError>;

    /// Replaces the credential of the pull secret, without a restart.
    ///
    /// # Contract
    /// - The release and the settings are unchanged.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](BackendErrorKind::Stale), [`NotFound`](BackendErrorKind::NotFound) if nothing
    /// is applied, and the errors of any call.
    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError>;

    /// Removes all objects of the target.
    ///
    /// # Contract
    /// - Afterwards the target is [`Absent`](crate::rollout::RolloutPhase::Absent) and remembers the
    ///   generation: an older one is still rejected.
    /// - Removing a target without objects succeeds.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](BackendErrorKind::Stale) and the errors of any call.
    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError>;

    /// Returns the capability to run tasks, or `None` if this backend cannot.
    fn tasks(&self) -> Option<&dyn TaskRunner>;

    /// Returns the capability to read logs, or `None` if this backend cannot.
    fn logs(&self) -> Option<&dyn LogReader>;
}

/// Runs tasks: an optional capability of a backend.
#[async_trait]
pub trait TaskRunner: Send + Sync {
    /// Starts a run.
    ///
    /// # Contract
    /// - A duplicate run id starts nothing and succeeds, in any phase of the run.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`](BackendErrorKind::Refused), [`Stale`](BackendErrorKind::Stale) if the target
    /// was removed since, [`NotFound`](BackendErrorKind::NotFound) if nothing was ever applied to it,
    /// and the errors of any call. A backend that needs no applied target need not reject the run.
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError>;

    /// Observes a run, without changes.
    ///
    /// # Contract
    /// - A run that was never started is [`RunStatus::unknown`].
    /// - A run that cannot start yet is [`Pending`](crate::run::RunPhase::Pending), with reasons.
    /// - A final status never changes.
    ///
    /// # Errors
    ///
    /// Returns an error only if it cannot observe the run.
    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError>;

    /// Stops a run.
    ///
    /// # Contract
    /// - A run that ended keeps its status, and an unknown run stays unknown.
    ///
    /// # Errors
    ///
    /// Returns the errors of any call.
    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError>;
}

/// Reads the logs of a target's containers: an optional capability of a backend.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// Returns the last lines that the containers wrote, oldest first.
    ///
    /// # Contract
    /// - Returns at most [`LogQuery::lines`] lines of at most 4 KiB each.
    /// - Returns no lines if nothing runs or nothing was written.
    ///
    /// # Errors
    ///
    /// Returns an error only if it cannot read the logs.
    async fn tail(&self, target: &Target, query: &LogQuery) -> Result<Vec<LogLine>, BackendError>;
}

/// The desired state of a target.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Intent<'a> {
    /// The target.
    pub target: &'a Target,
    /// The position of this state in the order of the target's states.
    pub generation: Generation,
    /// The release to run.
    pub release: &'a Release,
    /// The settings in this environment.
    pub settings: &'a Settings,
    /// The way to pull the image.
    pub pull: Pull<'a>,
}

impl<'a> Intent<'a> {
    /// Creates an intent for a release on a target, with default settings and without a credential.
    #[must_use]
    pub fn new(target: &'a Target, generation: Generation, release: &'a Release) -> Self {
        const DEFAULT: &Settings = &Settings::DEFAULT;
        Self {
            target,
            generation,
            release,
            settings: DEFAULT,
            pull: Pull::Anonymous,
        }
    }

    /// Sets the settings in this environment.
    #[must_use]
    pub fn with_settings(self, settings: &'a Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets the way to pull the image.
    #[must_use]
    pub fn with_pull(self, pull: Pull<'a>) -> Self {
        Self { pull, ..self }
    }
}

/// A run to start.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunIntent<'a> {
    /// The id of the run. Its name on the data plane is derived from it.
    pub run: &'a RunId,
    /// The release, the target, and the way to pull the image.
    pub intent: Intent<'a>,
    /// The changes of this run to the workload.
    pub overrides: &'a RunOverrides,
}

impl<'a> RunIntent<'a> {
    /// Creates a run of an intent.
    #[must_use]
    pub fn new(run: &'a RunId, intent: Intent<'a>, overrides: &'a RunOverrides) -> Self {
        Self {
            run,
            intent,
            overrides,
        }
    }
}

/// The way in which a data plane pulls an image.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Pull<'a> {
    /// Without a credential, from a public registry.
    Anonymous,
    /// With the identity of the nodes, as on ACR, GAR and ECR.
    NodeIdentity,
    /// With this pull secret, which the backend puts on the data plane.
    Secret(&'a PullSecret),
    /// With a Secret of this name that exists on the data plane.
    Existing(&'a str),
    /// With a Secret that External Secrets creates from this key of its store.
    External(&'a str),
    /// With the pull secret that the generation named that was ready last on the target, or was restored
    /// since. The backend neither writes nor removes that pull secret. It may be missing, or contain the
    /// credential of a later generation.
    ///
    /// For [`take_back`](DeploymentBackend::take_back), if the credential is not available. Other calls
    /// fail with [`Unsupported`](BackendErrorKind::Unsupported).
    AsBefore,
}

impl Pull<'_> {
    /// Rejects [`AsBefore`](Self::AsBefore) in a call that does not take a generation back.
    ///
    /// ```
    /// use choreo_deploy::backend::{BackendErrorKind, Pull};
    ///
    /// assert!(Pull::Anonymous.unless_as_before("apply").is_ok());
    /// let error = Pull::AsBefore.unless_as_before("apply").unwrap_err();
    /// assert_eq!(error.kind(), BackendErrorKind::Unsupported);
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Unsupported`](BackendErrorKind::Unsupported) if this is `AsBefore`.
    pub fn unless_as_before(&self, operation: &'static str) -> Result<(), BackendError> {
        if !matches!(self, Self::AsBefore) {
            return Ok(());
        }
        let kind = BackendErrorKind::Unsupported;
        let message = "pulling as before is only possible when a generation is taken back: name the credential";
        Err(BackendError::new(kind, operation, message))
    }
}

/// The log lines to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogQuery {
    /// The largest number of lines.
    pub lines: u32,
    /// The run, or `None` for the component's containers.
    pub run: Option<RunId>,
    /// `true` for the containers before their last restart.
    pub previous: bool,
}

impl LogQuery {
    /// Creates a query for the last lines of the component's containers.
    #[must_use]
    pub fn last(lines: u32) -> Self {
        Self {
            lines,
            run: None,
            previous: false,
        }
    }

    /// Selects the containers of a run.
    #[must_use]
    pub fn of_run(self, run: RunId) -> Self {
        Self {
            run: Some(run),
            ..self
        }
    }

    /// Selects the containers before their last restart.
    #[must_use]
    pub fn previous(self) -> Self {
        Self {
            previous: true,
            ..self
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogLine {
    /// The instance that wrote the line: a pod's name on Kubernetes.
    pub instance: String,
    /// The line, without line ends and control characters.
    pub text: String,
}

impl LogLine {
    /// Creates a line of an instance.
    ///
    /// Escape sequences, control characters and invisible characters are removed ([`printable`]), so
    /// that a program cannot forge the output of a terminal. Secrets are not redacted: a person who may
    /// read logs reads the program's own output.
    ///
    /// ```
    /// use choreo_deploy::backend::LogLine;
    ///
    /// let line = LogLine::new("orders-1", "\u{1b}[1;1H\u{1b}[2Jorders is ready\r");
    /// assert_eq!(line.text, "orders is ready");
    /// ```
    #[must_use]
    pub fn new(instance: impl AsRef<str>, text: impl AsRef<str>) -> Self {
        Self {
            instance: printable(instance.as_ref()).into_owned(),
            text: printable(text.as_ref()).into_owned(),
        }
    }
}

/// The connected data planes. They may change while a deployer runs.
pub trait Backends: fmt::Debug + Send + Sync + 'static {
    /// Returns the backend of a data plane, or `None` if it is not connected now.
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>>;
}

impl<S: BuildHasher + Send + Sync + 'static> Backends
    for HashMap<DataPlaneId, Arc<dyn DeploymentBackend>, S>
{
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>> {
        HashMap::get(self, data_plane).map(Arc::clone)
    }
}

/// Forwards every call. A method that is missing here would bypass the inner backend.
macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: DeploymentBackend + ?Sized> DeploymentBackend for $pointer<T> {
            async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
                (**self).apply(intent).await
            }

            async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
                (**self).observe(target).await
            }

            async fn settle(
                &self,
                target: &Target,
                generation: Generation,
            ) -> Result<(), BackendError> {
                (**self).settle(target, generation).await
            }

            async fn take_back(
                &self,
                target: &Target,
                generation: Generation,
                before: Option<&Intent<'_>>,
            ) -> Result<(), BackendError> {
                (**self).take_back(target, generation, before).await
            }

            async fn update_pull_secret(
                &self,
                target: &Target,
                generation: Generation,
                pull: &Pull<'_>,
            ) -> Result<(), BackendError> {
                (**self).update_pull_secret(target, generation, pull).await
            }

            async fn remove(
                &self,
                target: &Target,
                generation: Generation,
            ) -> Result<(), BackendError> {
                (**self).remove(target, generation).await
            }

            fn tasks(&self) -> Option<&dyn TaskRunner> {
                (**self).tasks()
            }

            fn logs(&self) -> Option<&dyn LogReader> {
                (**self).logs()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
