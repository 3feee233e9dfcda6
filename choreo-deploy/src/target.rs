//! Where a deployment goes: components, environments, data planes, and targets, which combine them.

use std::fmt;

use choreo_registry::image::Platform;
use choreo_registry::vendor_table::Cloud;
use serde::{Deserialize, Serialize};

use crate::id::{
    ComponentId, ComponentKey, DataPlaneId, EnvironmentId, OrganizationId, ProjectId, RegistryId,
};
use crate::workload::ComponentType;

/// One component in one environment: the unit of orchestration.
///
/// Two deployments to one target never roll out at the same time, and targets never wait for each
/// other. Organization and project belong to the component; the target contains them so that a
/// backend can derive the namespace from the target alone.
///
/// ```
/// use choreo_deploy::Target;
///
/// let target = Target::new("acme".parse()?, "shop".parse()?, "orders".parse()?, "dev".parse()?);
/// assert_eq!(target.to_string(), "acme/shop/orders in dev");
/// # Ok::<(), choreo_deploy::id::ParseIdError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Target {
    /// The tenant.
    pub organization: OrganizationId,
    /// The component's project.
    pub project: ProjectId,
    /// The component.
    pub component: ComponentId,
    /// The environment.
    pub environment: EnvironmentId,
}

impl Target {
    /// Returns the key of the target's component.
    #[must_use]
    pub fn component_key(&self) -> ComponentKey {
        ComponentKey::new(self.organization.clone(), self.component.clone())
    }

    /// Creates the target of a component in an environment.
    #[must_use]
    pub fn new(
        organization: OrganizationId,
        project: ProjectId,
        component: ComponentId,
        environment: EnvironmentId,
    ) -> Self {
        Self {
            organization,
            project,
            component,
            environment,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            organization,
            project,
            component,
            environment,
        } = self;
        write!(f, "{organization}/{project}/{component} in {environment}")
    }
}

/// A component: a unit that a developer deploys, with the registry of its images.
///
/// ```
/// use choreo_deploy::target::{Component, Project};
/// use choreo_deploy::workload::ComponentType;
///
/// let shop = Project::new("acme".parse()?, "shop".parse()?);
/// let orders = Component::new("orders".parse()?, shop, ComponentType::Service, "ghcr".parse()?);
/// assert_eq!(orders.name, "orders");
/// # Ok::<(), choreo_deploy::id::ParseIdError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Component {
    /// The id.
    pub id: ComponentId,
    /// The project it belongs to.
    pub project: Project,
    /// The display name.
    pub name: String,
    /// The component type: Service, Web Application, Scheduled Task or Manual Task.
    pub component_type: ComponentType,
    /// The registered container registry of all its images.
    pub registry: RegistryId,
}

impl Component {
    /// Creates a component of a project. Its name is its id until [`with_name`](Self::with_name)
    /// sets one.
    #[must_use]
    pub fn new(
        id: ComponentId,
        project: Project,
        component_type: ComponentType,
        registry: RegistryId,
    ) -> Self {
        Self {
            name: id.to_string(),
            id,
            project,
            component_type,
            registry,
        }
    }

    /// Sets the display name.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Returns the key, which identifies the component within the platform.
    #[must_use]
    pub fn key(&self) -> ComponentKey {
        ComponentKey::new(self.project.organization.clone(), self.id.clone())
    }

    /// Returns the target of this component in an environment.
    #[must_use]
    pub fn target(&self, environment: EnvironmentId) -> Target {
        let Project { organization, id } = self.project.clone();
        Target::new(organization, id, self.id.clone(), environment)
    }
}

/// A project of an organization, to which components belong.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Project {
    /// The tenant.
    pub organization: OrganizationId,
    /// The project.
    pub id: ProjectId,
}

impl Project {
    /// Creates a project of an organization.
    #[must_use]
    pub fn new(organization: OrganizationId, id: ProjectId) -> Self {
        Self { organization, id }
    }
}

/// An environment of a project.
///
/// Lists of environments are in promotion order: the first is the development environment, to which
/// CI deploys.
///
/// ```
/// use choreo_deploy::target::Environment;
///
/// let environment = Environment::new("production".parse()?, "eu-1".parse()?).production();
/// assert!(environment.production);
/// # Ok::<(), choreo_deploy::id::ParseIdError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Environment {
    /// The id.
    pub id: EnvironmentId,
    /// The display name.
    pub name: String,
    /// Whether it is a production environment. For information only; promotion uses the order.
    pub production: bool,
    /// The data plane it runs on.
    pub data_plane: DataPlaneId,
}

impl Environment {
    /// Creates an environment on a data plane: not production, with its id as its name.
    #[must_use]
    pub fn new(id: EnvironmentId, data_plane: DataPlaneId) -> Self {
        Self {
            name: id.to_string(),
            id,
            production: false,
            data_plane,
        }
    }

    /// Marks it as production.
    #[must_use]
    pub fn production(self) -> Self {
        Self {
            production: true,
            ..self
        }
    }
}

/// A private data plane: a Kubernetes cluster on a public cloud or on premises.
///
/// The operator's other decisions for it (namespaces, security profile) belong to its backend. The
/// fields here are checked before anything is applied.
///
/// ```
/// use choreo_deploy::target::DataPlane;
///
/// let plane = DataPlane::new("eu-1".parse()?).with_platform("linux/amd64".parse()?);
/// assert_eq!(plane.platforms.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DataPlane {
    /// The id.
    pub id: DataPlaneId,
    /// The cloud it runs on; `None` on premises.
    pub cloud: Option<Cloud>,
    /// The platforms of its nodes. Empty if they are not known; then they are not checked.
    pub platforms: Vec<Platform>,
    /// Whether it rejects containers whose image runs as root, or as a user whose number is only in
    /// the image, unless the workload names a user. `false` by default.
    #[serde(default)]
    pub forbids_root: bool,
}

impl DataPlane {
    /// Creates a data plane on premises, with unknown platforms.
    #[must_use]
    pub fn new(id: DataPlaneId) -> Self {
        Self {
            id,
            cloud: None,
            platforms: Vec::new(),
            forbids_root: false,
        }
    }

    /// Sets the cloud on which it runs.
    #[must_use]
    pub fn on(self, cloud: Cloud) -> Self {
        Self {
            cloud: Some(cloud),
            ..self
        }
    }

    /// Adds a platform of its nodes, such as `linux/arm64`.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platforms.push(platform);
        self
    }

    /// Makes it reject images that run as root, like namespaces with Kubernetes' standard
    /// `restricted`.
    ///
    /// ```
    /// use choreo_deploy::target::DataPlane;
    ///
    /// let plane = DataPlane::new("eu-1".parse()?).without_root();
    /// assert!(plane.forbids_root);
    /// # Ok::<(), choreo_deploy::id::ParseIdError>(())
    /// ```
    #[must_use]
    pub fn without_root(self) -> Self {
        Self {
            forbids_root: true,
            ..self
        }
    }
}
