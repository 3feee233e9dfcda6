//! The seam to a data plane.
//!
//! [`DeploymentBackend`] is what an implementer writes: a handful of idempotent calls. Callers use
//! [`DeploymentBackendExt`], which comes with every backend. Powers that not every backend has are
//! traits of their own, reached by [`DeploymentBackend::tasks`] and [`DeploymentBackend::logs`].
//!
//! [`InMemoryBackend`](crate::InMemoryBackend) keeps the promise in a few plain lines; the
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

/// Brings targets on one data plane to a desired state, and says how they are.
///
/// For users of a backend: call it through [`DeploymentBackendExt`] and
/// [`Deployer`](crate::Deployer).
///
/// # Contract
/// - *Idempotent*: a call with the same arguments, again, changes nothing and succeeds.
/// - *Stale is refused*: a call with a generation older than the newest one that was applied or
///   removed on the target fails with [`Stale`](BackendErrorKind::Stale) and changes nothing.
/// - *Latest wins*: a newer generation takes the place of the older, whatever state that is in.
/// - *Targets are apart*: a call for one target changes no other.
/// - *Looking is not failing*: a rollout that failed is a [`Rollout`], not an error.
/// - *Nothing is half forgotten*: after a call was cancelled or failed, the same call again brings
///   the target to the state that was asked for.
///
/// # For implementers
/// Forwarding implementations (wrappers) should stand under
/// `#[deny(clippy::missing_trait_methods)]`. No method has a default, so that a wrapper cannot
/// silently bypass what it wraps. A new power is a new trait.
#[async_trait]
pub trait DeploymentBackend: fmt::Debug + Send + Sync + 'static {
    /// Makes the target what the intent says.
    ///
    /// # Contract
    /// - Returns once the data plane has taken the desired state; the rollout goes on by itself.
    /// - The same generation again is the same state again.
    /// - Within a generation, a release by digest comes after a release by tag: an apply by tag after
    ///   an apply by digest fails with [`Stale`](BackendErrorKind::Stale) and changes nothing.
    /// - The release runs with the settings, and pulls as [`Intent::pull`] says.
    /// - [`Pull::AsBefore`] fails with [`Unsupported`](BackendErrorKind::Unsupported) and changes
    ///   nothing.
    ///
    /// # Errors
    /// [`Stale`](BackendErrorKind::Stale), [`Refused`](BackendErrorKind::Refused) when the data
    /// plane does not accept the objects, and what any call may meet.
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError>;

    /// Looks at the target. Never changes anything.
    ///
    /// # Contract
    /// - A target that nothing was applied to is [`Absent`](crate::rollout::RolloutPhase::Absent).
    /// - [`Rollout::generation`] is the newest generation applied or removed.
    /// - What was applied and is gone since is [`Missing`](crate::rollout::RolloutPhase::Missing),
    ///   until the same generation is applied again.
    ///
    /// # Errors
    /// Only when it cannot look.
    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError>;

    /// Completes a generation that is ready: what waited for its pods, such as the ports of a
    /// Service, takes effect, and what older generations left behind is removed.
    ///
    /// # Contract
    /// - What the generation itself needs stays.
    /// - Everything that waited takes effect before anything is removed.
    ///
    /// # Errors
    /// [`Stale`](BackendErrorKind::Stale), and what any call may meet. A deployment is not ready before
    /// this succeeds, unless the error [is about leftovers](BackendError::is_about_leftovers): then what
    /// waited has taken effect, and only what older generations left behind could not be removed.
    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError>;

    /// Takes a generation back that has failed: nothing of it comes alive any more, whatever happens
    /// on the data plane later.
    ///
    /// With an intent, what that says runs afterwards: it is what was ready before, at the generation
    /// that is taken back. Without one, nothing does.
    ///
    /// # Contract
    /// - What was ready before goes on without a restart, and what lies around it is as it was.
    /// - Without an intent, the target is [`Absent`](crate::rollout::RolloutPhase::Absent) at the
    ///   generation.
    /// - A generation that was taken back cannot be applied or settled: that is
    ///   [`Stale`](BackendErrorKind::Stale), also where the taking back came before the apply.
    /// - A newer generation can be applied.
    /// - With [`Pull::AsBefore`] the restored pods pull as the generation that was ready last.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError>;

    /// Puts another credential in the place of the pull secret, without restarting anything.
    ///
    /// # Contract
    /// - The release and the settings stay as they are.
    ///
    /// # Errors
    /// [`Stale`](BackendErrorKind::Stale), [`NotFound`](BackendErrorKind::NotFound) when nothing is
    /// applied, and what any call may meet.
    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError>;

    /// Removes everything of the target.
    ///
    /// # Contract
    /// - Afterwards the target is [`Absent`](crate::rollout::RolloutPhase::Absent) and remembers the
    ///   generation: an older one stays refused.
    /// - Removing what is not there succeeds.
    ///
    /// # Errors
    /// [`Stale`](BackendErrorKind::Stale), and what any call may meet.
    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError>;

    /// Runs tasks, if this backend can.
    fn tasks(&self) -> Option<&dyn TaskRunner>;

    /// Reads logs, if this backend can.
    fn logs(&self) -> Option<&dyn LogReader>;
}

/// Runs tasks: a power of a backend.
#[async_trait]
pub trait TaskRunner: Send + Sync {
    /// Starts a run.
    ///
    /// # Contract
    /// - The same run id again starts nothing and succeeds, whatever became of the run.
    ///
    /// # Errors
    /// [`Refused`](BackendErrorKind::Refused), [`Stale`](BackendErrorKind::Stale) when the target was
    /// removed since, [`NotFound`](BackendErrorKind::NotFound) when nothing was ever applied to it,
    /// and what any call may meet. A backend that needs nothing applied need not refuse.
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError>;

    /// Looks at a run. Never changes anything.
    ///
    /// # Contract
    /// - A run that was never started is [`RunStatus::unknown`].
    /// - A run that cannot start yet is [`Pending`](crate::run::RunPhase::Pending) and says why.
    /// - Once final, a status never changes.
    ///
    /// # Errors
    /// Only when it cannot look.
    async fn observe_run(&self, target: &Target, run: &RunId) -> Result<RunStatus, BackendError>;

    /// Stops a run.
    ///
    /// # Contract
    /// - A run that has ended stays as it ended; one that is not known stays unknown.
    ///
    /// # Errors
    /// What any call may meet.
    async fn cancel_run(&self, target: &Target, run: &RunId) -> Result<(), BackendError>;
}

/// Reads the logs of a target's containers: a power of a backend.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// The last lines that the containers wrote, oldest first.
    ///
    /// # Contract
    /// - At most [`LogQuery::lines`] lines of at most 4 KiB each.
    /// - Where nothing runs or was written, there are no lines.
    ///
    /// # Errors
    /// Only when it cannot look.
    async fn tail(&self, target: &Target, query: &LogQuery) -> Result<Vec<LogLine>, BackendError>;
}

/// What a target is to become.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Intent<'a> {
    /// Where.
    pub target: &'a Target,
    /// The place of this state in the order of the target's states.
    pub generation: Generation,
    /// What runs.
    pub release: &'a Release,
    /// How it runs in this environment.
    pub settings: &'a Settings,
    /// How its image is pulled.
    pub pull: Pull<'a>,
}

impl<'a> Intent<'a> {
    /// A release at a target, with default settings, pulled without a credential.
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

    /// Says how it runs in this environment.
    #[must_use]
    pub fn with_settings(self, settings: &'a Settings) -> Self {
        Self { settings, ..self }
    }

    /// Says how its image is pulled.
    #[must_use]
    pub fn with_pull(self, pull: Pull<'a>) -> Self {
        Self { pull, ..self }
    }
}

/// One run that is to start.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunIntent<'a> {
    /// The run. Its name on the data plane comes from it.
    pub run: &'a RunId,
    /// What it runs, where, and how its image is pulled.
    pub intent: Intent<'a>,
    /// What this run adds.
    pub overrides: &'a RunOverrides,
}

impl<'a> RunIntent<'a> {
    /// A run of what an intent says.
    #[must_use]
    pub fn new(run: &'a RunId, intent: Intent<'a>, overrides: &'a RunOverrides) -> Self {
        Self {
            run,
            intent,
            overrides,
        }
    }
}

/// How a data plane pulls an image.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Pull<'a> {
    /// Without a credential: the registry is public.
    Anonymous,
    /// With the access that the nodes have by themselves, as on ACR, GAR and ECR.
    NodeIdentity,
    /// With this credential, which the backend puts on the data plane.
    Secret(&'a PullSecret),
    /// With a Secret of this name that is on the data plane already.
    Existing(&'a str),
    /// With a Secret that External Secrets makes of this key of its store.
    External(&'a str),
    /// As the generation that was ready last on the target. Its pull secret stays as it is on the data
    /// plane: the backend neither writes nor removes it.
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

/// Which log lines to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogQuery {
    /// At most this many lines.
    pub lines: u32,
    /// Of this run; of the component's containers when `None`.
    pub run: Option<RunId>,
    /// Of the container that ran before the last restart.
    pub previous: bool,
}

impl LogQuery {
    /// The last lines of the component's containers.
    #[must_use]
    pub fn last(lines: u32) -> Self {
        Self {
            lines,
            run: None,
            previous: false,
        }
    }

    /// Of a run instead.
    #[must_use]
    pub fn of_run(self, run: RunId) -> Self {
        Self {
            run: Some(run),
            ..self
        }
    }

    /// Of the container before the last restart.
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
    /// The instance that wrote it: a pod's name on Kubernetes.
    pub instance: String,
    /// What it wrote, without the line end and control characters.
    pub text: String,
}

impl LogLine {
    /// A line of an instance. Escape sequences, control characters and invisible characters are
    /// removed ([`printable`]), so that a program cannot forge what a terminal shows. Secrets are
    /// not redacted: whoever may read logs reads what the program wrote.
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

/// The data planes there are. They may come and go while everything runs.
pub trait Backends: fmt::Debug + Send + Sync + 'static {
    /// The backend of a data plane, or `None` when there is none of that id now.
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>>;
}

impl<S: BuildHasher + Send + Sync + 'static> Backends
    for HashMap<DataPlaneId, Arc<dyn DeploymentBackend>, S>
{
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>> {
        HashMap::get(self, data_plane).map(Arc::clone)
    }
}

/// Forwards every call; a method that is missed here would bypass the backend inside.
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
