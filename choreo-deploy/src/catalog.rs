//! The interface to your own inventory of components and environments.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;

use crate::id::ComponentKey;
use crate::settings::Settings;
use crate::target::{Component, DataPlane, Environment};
use crate::workload::Workload;

/// Returns what there is to deploy, and where. The platform's existing inventory remains the owner
/// of this data.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    /// Returns the plan of a component; `None` if the organization has no such component.
    ///
    /// # Errors
    ///
    /// Returns [`CatalogError`] if the look-up fails.
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError>;
}

/// A component, its workload, and the environments through which it is promoted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The component.
    pub component: Component,
    /// The workload.
    pub workload: Workload,
    /// The environments in promotion order: the first is the development environment.
    pub stages: Vec<Stage>,
}

impl Plan {
    /// Creates a plan of a component and its workload, without environments.
    #[must_use]
    pub fn new(component: Component, workload: impl Into<Workload>) -> Self {
        Self {
            component,
            workload: workload.into(),
            stages: Vec::new(),
        }
    }

    /// Adds the next environment in promotion order.
    #[must_use]
    pub fn then(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }
}

/// An environment of a component's plan.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stage {
    /// The environment.
    pub environment: Environment,
    /// The data plane of the environment.
    pub data_plane: DataPlane,
    /// The component's settings in the environment.
    pub settings: Settings,
}

impl Stage {
    /// Creates a stage from an environment and its data plane, with default settings.
    #[must_use]
    pub fn new(environment: Environment, data_plane: DataPlane) -> Self {
        Self {
            environment,
            data_plane,
            settings: Settings::default(),
        }
    }

    /// Sets the component's settings in the environment.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }
}

/// A failed look-up in the catalog. Retry it.
#[derive(Debug)]
pub struct CatalogError(Box<dyn Error + Send + Sync>);

impl CatalogError {
    /// Creates the error from its cause.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("catalog could not be asked")
    }
}

impl Error for CatalogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A catalog that never changes: for tests, examples and control planes with a file of components.
#[derive(Clone, Debug, Default)]
pub struct StaticCatalog {
    plans: std::collections::HashMap<ComponentKey, Plan>,
}

impl StaticCatalog {
    /// Creates a catalog from plans. Of two plans for one component the later one is used.
    #[must_use]
    pub fn new(plans: impl IntoIterator<Item = Plan>) -> Self {
        let plans = plans
            .into_iter()
            .map(|plan| (plan.component.key(), plan))
            .collect();
        Self { plans }
    }
}

#[async_trait]
impl Catalog for StaticCatalog {
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        Ok(self.plans.get(component).cloned())
    }
}
