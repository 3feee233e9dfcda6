use crate::id::{ComponentKey, EnvironmentId};
use crate::release::ReleaseNumber;
use crate::run::RunOverrides;

/// A request to bring an older release back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RollbackRequest {
    /// The component.
    pub component: ComponentKey,
    /// The environment.
    pub environment: EnvironmentId,
    /// The release. When `None`: the one that was ready before the present one; after a deployment
    /// that did not get ready, the one that was ready before that.
    pub release: Option<ReleaseNumber>,
}

impl RollbackRequest {
    /// Back to what was ready before.
    #[must_use]
    pub fn new(component: ComponentKey, environment: EnvironmentId) -> Self {
        Self {
            component,
            environment,
            release: None,
        }
    }

    /// Back to a release.
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
    /// The component: a Manual Task, or a Scheduled Task that is to run now.
    pub component: ComponentKey,
    /// The environment; the component's first when `None`.
    pub environment: Option<EnvironmentId>,
    /// What this run adds.
    pub overrides: RunOverrides,
}

impl RunRequest {
    /// A run in the component's development environment that adds nothing.
    #[must_use]
    pub fn new(component: ComponentKey) -> Self {
        Self {
            component,
            environment: None,
            overrides: RunOverrides::default(),
        }
    }

    /// In another environment.
    #[must_use]
    pub fn in_environment(self, environment: EnvironmentId) -> Self {
        Self {
            environment: Some(environment),
            ..self
        }
    }

    /// Says what it adds.
    #[must_use]
    pub fn with_overrides(self, overrides: RunOverrides) -> Self {
        Self { overrides, ..self }
    }
}
