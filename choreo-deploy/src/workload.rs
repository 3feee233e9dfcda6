//! Workloads: a developer's description of a component, without its image.
//!
//! The four component types are Choreo's own. Kubernetes runs them as follows; the mapping belongs
//! to the backend.
//!
//! | component type | on Kubernetes | network |
//! |---|---|---|
//! | [`Service`] | a Kubernetes Deployment and a Service | one or more endpoints |
//! | [`WebApplication`] | the same | exactly one public HTTP endpoint |
//! | [`ScheduledTask`] | a CronJob | none |
//! | [`ManualTask`] | nothing until a run: then a Job | none |
//!
//! A workload is the same in every environment; [`Settings`](crate::settings::Settings) contain the
//! differences. Types enforce the rules across fields ([`Endpoints`] has unique names and ports),
//! so every workload can be rendered.

mod container;
mod cron;
mod document;
mod endpoint;
mod probe;
mod resources;
mod scaling;
mod schedule;
mod size;
mod time_zone;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::code::codes;

pub use self::container::{
    Container, KeyReference, MountPath, ParseContainerError, RunAs, Value, VariableName,
};
pub use self::cron::Cron;
pub use self::endpoint::{
    Endpoint, EndpointName, Endpoints, ParseEndpointError, Protocol, Visibility,
};
pub use self::probe::{Check, Probe, Probes};
pub use self::resources::{Cpu, Memory, ParseQuantityError, Resources};
pub use self::scaling::{Scaling, ScalingError};
pub use self::schedule::{Concurrency, ParseScheduleError, Schedule};
pub use self::size::{LARGEST, LONGEST_TEXT, too_large};
pub(crate) use self::size::{of_literal, too_long};
pub use self::time_zone::TimeZone;

/// The workload of a component, for any image.
///
/// # JSON
///
/// The member `type` is `service`, `web-application`, `scheduled-task` or `manual-task`. Members
/// that are not listed for a type are rejected; all but `endpoints`, `port` and `schedule` have
/// defaults. [`Workload::from_json`] reports all problems at once.
///
/// | member | type | of |
/// |---|---|---|
/// | `container` | [`Container`] | all |
/// | `endpoints` | list of [`Endpoint`] | `service` |
/// | `port` | 1 to 65535 | `web-application` |
/// | `scaling` | [`Scaling`]: `{"replicas": 2}`, or `{"minimum": 1, "maximum": 5, "cpu_percent": 70}` | `service`, `web-application` |
/// | `probes` | [`Probes`] | `service`, `web-application` |
/// | `progress_deadline` | seconds | `service`, `web-application` |
/// | `schedule` | [`Schedule`] | `scheduled-task` |
/// | `limits` | [`RunLimits`] | `scheduled-task`, `manual-task` |
///
/// ```
/// use choreo_deploy::Workload;
///
/// let text = r#"{
///   "type": "service",
///   "container": {
///     "command": ["/app"],
///     "args": ["--quiet"],
///     "variables": {
///       "MODE": {"literal": "fast"},
///       "DATABASE_URL": {"from": {"secret": {"name": "database", "key": "url"}}}
///     },
///     "files": {"/etc/app/config.yaml": {"config-map": {"name": "app", "key": "config"}}},
///     "resources": {"cpu_request": "250m", "memory_request": "256Mi", "memory_limit": "1Gi"},
///     "run_as": {"user": 10001}
///   },
///   "endpoints": [{"name": "api", "port": 8080, "protocol": "http"}],
///   "scaling": {"minimum": 1, "maximum": 5, "cpu_percent": 70},
///   "probes": {"readiness": {"http": {"path": "/ready", "port": 8080}, "period_seconds": 10}},
///   "progress_deadline": 300
/// }"#;
/// let workload = Workload::from_json(text).unwrap();
/// let written = serde_json::to_string(&workload)?;
/// assert_eq!(Workload::from_json(&written).unwrap(), workload);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Examples
///
/// ```
/// use choreo_deploy::Workload;
/// use choreo_deploy::workload::{ComponentType, Endpoint, Protocol, Service};
///
/// let endpoint = Endpoint::new("api".parse()?, 8080.try_into()?, Protocol::Http);
/// let workload = Workload::from(Service::new(endpoint.into()));
/// assert_eq!(workload.component_type(), ComponentType::Service);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a fifth component type must be met by every backend"
)]
pub enum Workload {
    /// Responds to other components or the public.
    Service(Service),
    /// Responds to web browsers.
    WebApplication(WebApplication),
    /// Runs on a schedule.
    ScheduledTask(ScheduledTask),
    /// Runs on request.
    ManualTask(ManualTask),
}

impl Workload {
    /// Returns the component type.
    #[must_use]
    pub fn component_type(&self) -> ComponentType {
        match self {
            Self::Service(_) => ComponentType::Service,
            Self::WebApplication(_) => ComponentType::WebApplication,
            Self::ScheduledTask(_) => ComponentType::ScheduledTask,
            Self::ManualTask(_) => ComponentType::ManualTask,
        }
    }

    /// Returns the one container that every type has.
    #[must_use]
    pub fn container(&self) -> &Container {
        match self {
            Self::Service(service) => &service.container,
            Self::WebApplication(web) => &web.container,
            Self::ScheduledTask(task) => &task.container,
            Self::ManualTask(task) => &task.container,
        }
    }

    /// Returns its endpoints; none for tasks.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::Service(service) => service.endpoints.as_slice(),
            Self::WebApplication(web) => std::slice::from_ref(&web.endpoint),
            Self::ScheduledTask(_) | Self::ManualTask(_) => &[],
        }
    }
}

impl From<Service> for Workload {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl From<WebApplication> for Workload {
    fn from(web: WebApplication) -> Self {
        Self::WebApplication(web)
    }
}

impl From<ScheduledTask> for Workload {
    fn from(task: ScheduledTask) -> Self {
        Self::ScheduledTask(task)
    }
}

impl From<ManualTask> for Workload {
    fn from(task: ManualTask) -> Self {
        Self::ManualTask(task)
    }
}

/// The type of a component, with Choreo's four names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a fifth component type must be met by every backend"
)]
pub enum ComponentType {
    /// A Service.
    Service,
    /// A Web Application.
    WebApplication,
    /// A Scheduled Task.
    ScheduledTask,
    /// A Manual Task.
    ManualTask,
}

codes!(ComponentType, "component type", {
    Service = "service",
    WebApplication = "web-application",
    ScheduledTask = "scheduled-task",
    ManualTask = "manual-task",
});

impl ComponentType {
    /// Returns the type as it is written in a sentence: `Scheduled Task`.
    ///
    /// ```
    /// use choreo_deploy::workload::ComponentType;
    ///
    /// assert_eq!(ComponentType::ScheduledTask.title(), "Scheduled Task");
    /// assert_eq!(ComponentType::ScheduledTask.to_string(), "scheduled-task");
    /// ```
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::WebApplication => "Web Application",
            Self::ScheduledTask => "Scheduled Task",
            Self::ManualTask => "Manual Task",
        }
    }

    /// Returns `true` if it runs to completion rather than forever.
    #[must_use]
    pub fn is_task(self) -> bool {
        matches!(self, Self::ScheduledTask | Self::ManualTask)
    }
}

/// A Service: one or more endpoints for other components or the public.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Service {
    /// The container that runs.
    pub container: Container,
    /// The endpoints at which it listens.
    pub endpoints: Endpoints,
    /// The number of copies. One by default.
    pub scaling: Scaling,
    /// The checks of readiness and health. A TCP check of the first endpoint's port by default.
    pub probes: Probes,
    /// The time without progress after which a rollout fails. 300 s by default.
    pub progress_deadline: ProgressDeadline,
}

impl Service {
    /// Creates a Service with these endpoints and all defaults.
    #[must_use]
    pub fn new(endpoints: Endpoints) -> Self {
        Self {
            container: Container::default(),
            endpoints,
            scaling: Scaling::default(),
            probes: Probes::default(),
            progress_deadline: ProgressDeadline::default(),
        }
    }
}

/// A Web Application: one public HTTP endpoint.
///
/// Its JSON has the member `port`; the endpoint is derived from it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WebApplication {
    /// The container that runs.
    pub container: Container,
    #[serde(rename = "port", serialize_with = "port_alone")]
    endpoint: Endpoint,
    /// The number of copies. One by default.
    pub scaling: Scaling,
    /// The checks of readiness and health. A TCP check of the port by default.
    pub probes: Probes,
    /// The time without progress after which a rollout fails. 300 s by default.
    pub progress_deadline: ProgressDeadline,
}

impl WebApplication {
    /// Creates a Web Application that serves HTTP at a port, with all defaults.
    #[must_use]
    pub fn new(port: std::num::NonZeroU16) -> Self {
        Self {
            container: Container::default(),
            endpoint: Endpoint::new(EndpointName::http(), port, Protocol::Http)
                .visible(Visibility::Public),
            scaling: Scaling::default(),
            probes: Probes::default(),
            progress_deadline: ProgressDeadline::default(),
        }
    }

    /// Returns its one endpoint: always HTTP, always public.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Serialises only the port, because the user can choose nothing else.
fn port_alone<S: Serializer>(endpoint: &Endpoint, serializer: S) -> Result<S::Ok, S::Error> {
    endpoint.port.serialize(serializer)
}

/// A Scheduled Task: runs to completion on a schedule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScheduledTask {
    /// The container that runs.
    pub container: Container,
    /// The schedule. Settings may replace it in one environment.
    pub schedule: Schedule,
    /// The limits after which a run fails.
    pub limits: RunLimits,
}

impl ScheduledTask {
    /// Creates a task with this schedule and all defaults.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        Self {
            container: Container::default(),
            schedule,
            limits: RunLimits::default(),
        }
    }
}

/// A Manual Task: runs to completion on request.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ManualTask {
    /// The container that runs. A run may add arguments and environment variables.
    pub container: Container,
    /// The limits after which a run fails.
    pub limits: RunLimits,
}

impl ManualTask {
    /// Creates a task with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The limits after which a run of a task fails.
///
/// Both are always set: a Kubernetes Job that cannot pull its image never fails by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunLimits {
    /// The maximum duration of a run from its start, including retries. 3600 s by default.
    pub deadline_seconds: NonZeroU32,
    /// The number of retries of a failed run. 0 by default.
    pub retries: u8,
}

impl RunLimits {
    /// Creates the limits of a run.
    #[must_use]
    pub fn new(deadline_seconds: NonZeroU32, retries: u8) -> Self {
        Self {
            deadline_seconds,
            retries,
        }
    }

    /// Returns the deadline as a duration.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds.get().into())
    }
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            deadline_seconds: NonZeroU32::MIN.saturating_add(3599),
            retries: 0,
        }
    }
}

/// The time without progress in seconds after which a rollout fails. 300 by default.
///
/// Kubernetes counts from the last progress, not from the start
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds>),
/// and requires more than the 5 s for which a new pod must stay ready; so the minimum here is 10 s.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct ProgressDeadline(u32);

impl ProgressDeadline {
    /// Creates a deadline. A value below 10 s becomes 10 s, a value above a day becomes a day.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Self {
        Self(seconds.clamp(10, 86_400))
    }

    /// Returns the deadline in seconds, from 10 to 86,400.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0.clamp(10, 86_400)
    }
}

impl Default for ProgressDeadline {
    fn default() -> Self {
        Self(300)
    }
}
