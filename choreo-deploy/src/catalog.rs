//! The seam to your own inventory: which components and environments there are.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;

use crate::id::ComponentKey;
use crate::settings::Settings;
use crate::target::{Component, DataPlane, Environment};
use crate::workload::Workload;

/// Says what there is to deploy and where. A platform has this already; it stays the owner.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    /// The plan of a component; `None` when the organization has no such component.
    ///
    /// # Errors
    /// When it cannot be looked up.
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError>;
}

/// A component, what it runs, and the environments it goes through.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The component.
    pub component: Component,
    /// What it runs.
    pub workload: Workload,
    /// Where it runs, in the order of promotion: the first is the development environment.
    pub stages: Vec<Stage>,
}

impl Plan {
    /// A component and what it runs, nowhere yet.
    #[must_use]
    pub fn new(component: Component, workload: impl Into<Workload>) -> Self {
        Self {
            component,
            workload: workload.into(),
            stages: Vec::new(),
        }
    }

    /// Adds the next environment in the order of promotion.
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
    /// Its data plane.
    pub data_plane: DataPlane,
    /// The component's settings there.
    pub settings: Settings,
}

impl Stage {
    /// An environment on a data plane, with default settings.
    #[must_use]
    pub fn new(environment: Environment, data_plane: DataPlane) -> Self {
        Self {
            environment,
            data_plane,
            settings: Settings::default(),
        }
    }

    /// Says how the component runs there.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }
}

/// Why the catalog could not be asked. Worth another try.
#[derive(Debug)]
pub struct CatalogError(Box<dyn Error + Send + Sync>);

impl CatalogError {
    /// A failed look-up and its cause.
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
    /// A catalog of these plans. Of two for one component the later one stays.
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
