use crate::id::{ComponentKey, EnvironmentId};
use crate::release::ReleaseNumber;
use crate::run::RunOverrides;

/// A request to deploy an older release again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RollbackRequest {
    /// The component.
    pub component: ComponentKey,
    /// The environment.
    pub environment: EnvironmentId,
    /// The release. `None` selects the release that was ready before the present one. After a deployment
    /// that did not become ready, it selects the one that was ready before that deployment.
    pub release: Option<ReleaseNumber>,
}

impl RollbackRequest {
    /// Creates a request for the release that was ready before.
    #[must_use]
    pub fn new(component: ComponentKey, environment: EnvironmentId) -> Self {
        Self {
            component,
            environment,
            release: None,
        }
    }

    /// Sets the release.
    #[must_use]
    pub fn to_release(self, release: ReleaseNumber) -> Self {
        Self {
            release: Some(release),
            ..self
        }
    }
}

/// A request to run a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunRequest {
    /// The component: a Manual Task, or a Scheduled Task to run now.
    pub component: ComponentKey,
    /// The environment. `None` selects the component's first environment.
    pub environment: Option<EnvironmentId>,
    /// The changes of this run to the workload.
    pub overrides: RunOverrides,
}

impl RunRequest {
    /// Creates a request for a run in the component's first environment, without changes.
    #[must_use]
    pub fn new(component: ComponentKey) -> Self {
        Self {
            component,
            environment: None,
            overrides: RunOverrides::default(),
        }
    }

    /// Sets the environment.
    #[must_use]
    pub fn in_environment(self, environment: EnvironmentId) -> Self {
        Self {
            environment: Some(environment),
            ..self
        }
    }

    /// Sets the changes to the workload.
    #[must_use]
    pub fn with_overrides(self, overrides: RunOverrides) -> Self {
        Self { overrides, ..self }
    }
}
