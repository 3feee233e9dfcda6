//! What the developer wrote: the workload of a component, without its image.
//!
//! The four component types are Choreo's own. Kubernetes runs them as follows; the mapping is the
//! backend's.
//!
//! | component type | on Kubernetes | network |
//! |---|---|---|
//! | [`Service`] | a Kubernetes Deployment and a Service | one or more endpoints |
//! | [`WebApplication`] | the same | exactly one public HTTP endpoint |
//! | [`ScheduledTask`] | a CronJob | none |
//! | [`ManualTask`] | nothing until a run: then a Job | none |
//!
//! A workload is the same in every environment; what differs is [`Settings`](crate::settings::Settings).
//! Rules that cross fields live in types ([`Endpoints`] has unique names and ports), so a workload
//! that exists is a workload that can be rendered.

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

/// What a component runs, whichever image it is.
///
/// # JSON
///
/// The member `type` is `service`, `web-application`, `scheduled-task` or `manual-task`. Members
/// that are not listed for a type are refused; all but `endpoints`, `port` and `schedule` have
/// defaults. [`Workload::from_json`] says every problem at once.
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
    /// Answers other components or the world.
    Service(Service),
    /// Serves people's browsers.
    WebApplication(WebApplication),
    /// Runs by the clock.
    ScheduledTask(ScheduledTask),
    /// Runs when somebody asks.
    ManualTask(ManualTask),
}

impl Workload {
    /// Which of the four types this is.
    #[must_use]
    pub fn component_type(&self) -> ComponentType {
        match self {
            Self::Service(_) => ComponentType::Service,
            Self::WebApplication(_) => ComponentType::WebApplication,
            Self::ScheduledTask(_) => ComponentType::ScheduledTask,
            Self::ManualTask(_) => ComponentType::ManualTask,
        }
    }

    /// The one container that every type has.
    #[must_use]
    pub fn container(&self) -> &Container {
        match self {
            Self::Service(service) => &service.container,
            Self::WebApplication(web) => &web.container,
            Self::ScheduledTask(task) => &task.container,
            Self::ManualTask(task) => &task.container,
        }
    }

    /// Its endpoints; none for tasks.
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

/// The type of a component, by Choreo's four names.
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
    /// The type in a sentence: `Scheduled Task`.
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

    /// Whether it runs to an end rather than for ever.
    #[must_use]
    pub fn is_task(self) -> bool {
        matches!(self, Self::ScheduledTask | Self::ManualTask)
    }
}

/// A Service: one or more endpoints for other components or the world.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Service {
    /// What runs.
    pub container: Container,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// How many copies run. One by default.
    pub scaling: Scaling,
    /// How readiness and health are told. A TCP check of the first endpoint's port by default.
    pub probes: Probes,
    /// How long a rollout may stand still before it has failed. 300 s by default.
    pub progress_deadline: ProgressDeadline,
}

impl Service {
    /// A Service that listens there, with every default.
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
/// Its JSON has the member `port`; the endpoint follows from it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WebApplication {
    /// What runs.
    pub container: Container,
    #[serde(rename = "port", serialize_with = "port_alone")]
    endpoint: Endpoint,
    /// How many copies run. One by default.
    pub scaling: Scaling,
    /// How readiness and health are told. A TCP check of the port by default.
    pub probes: Probes,
    /// How long a rollout may stand still before it has failed. 300 s by default.
    pub progress_deadline: ProgressDeadline,
}

impl WebApplication {
    /// A Web Application that serves HTTP at a port, with every default.
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

    /// Its one endpoint: always HTTP, always public.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// The port alone is the user's to choose.
fn port_alone<S: Serializer>(endpoint: &Endpoint, serializer: S) -> Result<S::Ok, S::Error> {
    endpoint.port.serialize(serializer)
}

/// A Scheduled Task: runs to its end, by the clock.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScheduledTask {
    /// What runs.
    pub container: Container,
    /// When it runs. Settings may say otherwise for one environment.
    pub schedule: Schedule,
    /// When a run has failed.
    pub limits: RunLimits,
}

impl ScheduledTask {
    /// A task that runs by this schedule, with every default.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        Self {
            container: Container::default(),
            schedule,
            limits: RunLimits::default(),
        }
    }
}

/// A Manual Task: runs to its end when somebody asks.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ManualTask {
    /// What runs. A run may add arguments and environment variables.
    pub container: Container,
    /// When a run has failed.
    pub limits: RunLimits,
}

impl ManualTask {
    /// A task with every default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// When a run of a task has failed.
///
/// Both are always set: a Kubernetes Job that cannot pull its image never fails by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunLimits {
    /// The longest that a run may take, from its start, retries included. 3600 s by default.
    pub deadline_seconds: NonZeroU32,
    /// How often a failed run is tried again. Never by default.
    pub retries: u8,
}

impl RunLimits {
    /// Limits of a run.
    #[must_use]
    pub fn new(deadline_seconds: NonZeroU32, retries: u8) -> Self {
        Self {
            deadline_seconds,
            retries,
        }
    }

    /// The deadline as a duration.
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

/// How long a rollout may make no progress before it has failed, in seconds. 300 by default.
///
/// Kubernetes counts from the last progress, not from the start
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds>),
/// and wants more than the 5 s that a new pod must stay ready; so the least here is 10 s.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct ProgressDeadline(u32);

impl ProgressDeadline {
    /// A deadline; below 10 s it is 10 s, above a day a day.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Self {
        Self(seconds.clamp(10, 86_400))
    }

    /// In seconds, 10 to 86,400.
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
