//! The settings of one target: the differences between environments.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::document::{Node, Read, deserialize_strictly, document};
use crate::workload::{
    Resources, Scaling, Schedule, Value, VariableName, Workload, of_literal, too_long,
};

/// The settings of one target. Development and production differ in their settings, not in the
/// release.
///
/// All settings are optional; a setting replaces that of the workload. Environment variables are
/// merged by name.
///
/// The JSON has a member for each field, as in a [`Workload`]; other members are rejected.
/// [`Settings::from_json`] reports all problems at once:
///
/// ```
/// use choreo_deploy::settings::Settings;
///
/// let problems = Settings::from_json(r#"{"replicas": 3}"#).unwrap_err();
/// assert_eq!(
///     problems[0].to_string(),
///     "replicas: is not known: use one of scaling, variables, schedule, resources, suspended",
/// );
/// let settings = Settings::from_json(r#"{
///   "scaling": {"replicas": 3},
///   "variables": {"MODE": {"literal": "fast"}},
///   "schedule": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"},
///   "resources": {"memory_limit": "1Gi"},
///   "suspended": false
/// }"#);
/// assert!(settings.is_ok());
/// ```
///
/// # Examples
///
/// ```
/// use choreo_deploy::settings::Settings;
/// use choreo_deploy::workload::{Scaling, Service, Endpoint, Protocol, Workload};
///
/// let endpoint = Endpoint::new("api".parse()?, 8080.try_into()?, Protocol::Http);
/// let workload = Workload::from(Service::new(endpoint.into()));
/// let production = Settings::default().with_scaling(Scaling::fixed(3));
///
/// let Workload::Service(service) = production.applied_to(&workload).into_owned() else { unreachable!() };
/// assert_eq!(service.scaling.minimum(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// The number of copies. For Services and Web Applications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Environment variables, which are added to the workload's or replace them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<VariableName, Value>,
    /// The schedule of a Scheduled Task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// CPU and memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Whether the component is suspended: no copies run and no schedule starts a run. Not
    /// suspended by default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

impl Settings {
    /// Settings that change nothing.
    pub const DEFAULT: Self = Self {
        scaling: None,
        variables: BTreeMap::new(),
        schedule: None,
        resources: None,
        suspended: false,
    };

    /// Sets the number of copies.
    #[must_use]
    pub fn with_scaling(self, scaling: Scaling) -> Self {
        Self {
            scaling: Some(scaling),
            ..self
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: VariableName, value: Value) -> Self {
        self.variables.insert(name, value);
        self
    }

    /// Sets the schedule of a Scheduled Task.
    #[must_use]
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        Self {
            schedule: Some(schedule),
            ..self
        }
    }

    /// Sets CPU and memory.
    #[must_use]
    pub fn with_resources(self, resources: Resources) -> Self {
        Self {
            resources: Some(resources),
            ..self
        }
    }

    /// Suspends the component.
    #[must_use]
    pub fn suspended(self) -> Self {
        Self {
            suspended: true,
            ..self
        }
    }

    /// Returns the workload with these settings applied. Borrowed if they change nothing.
    #[must_use]
    pub fn applied_to<'a>(&self, workload: &'a Workload) -> Cow<'a, Workload> {
        if *self == Self::default() {
            return Cow::Borrowed(workload);
        }
        let mut workload = workload.clone();
        let container = match &mut workload {
            Workload::Service(service) => {
                service.scaling = self.scaling(service.scaling);
                &mut service.container
            }
            Workload::WebApplication(web) => {
                web.scaling = self.scaling(web.scaling);
                &mut web.container
            }
            Workload::ScheduledTask(task) => {
                if let Some(schedule) = &self.schedule {
                    task.schedule = schedule.clone();
                }
                &mut task.container
            }
            Workload::ManualTask(task) => &mut task.container,
        };
        container.variables.extend(self.variables.clone());
        container.resources = self.resources.unwrap_or(container.resources);
        Cow::Owned(workload)
    }

    fn scaling(&self, workloads: Scaling) -> Scaling {
        if self.suspended {
            Scaling::fixed(0)
        } else {
            self.scaling.unwrap_or(workloads)
        }
    }
}

document!(Settings);
deserialize_strictly!(Settings);

impl Read for Settings {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let scaling = fields.maybe("scaling");
        let variables: Option<BTreeMap<VariableName, Value>> = fields.or_default("variables");
        let schedule = fields.maybe("schedule");
        let resources = fields.maybe("resources");
        let suspended = fields.or_default("suspended");
        let literals = variables.iter().flatten().map(of_literal);
        if !fields.is_stored()
            && let Some(message) = too_long([], literals)
        {
            fields.invalid_here::<()>(message);
        }
        fields.finish();
        Some(Self {
            scaling: scaling?,
            variables: variables?,
            schedule: schedule?,
            resources: resources?,
            suspended: suspended?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{ManualTask, ScheduledTask, WebApplication};

    #[test]
    fn nothing_said_changes_nothing() {
        let workload = Workload::from(ManualTask::new());
        assert!(matches!(
            Settings::default().applied_to(&workload),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn variables_are_merged_by_name() {
        let mut task = ManualTask::new();
        let name = |name: &str| name.parse::<VariableName>().unwrap();
        let literal = |value: &str| Value::Literal(value.to_owned());
        task.container
            .variables
            .insert(name("KEPT"), literal("workload"));
        task.container
            .variables
            .insert(name("CHANGED"), literal("workload"));
        let settings = Settings::default()
            .with_variable(name("CHANGED"), literal("settings"))
            .with_variable(name("ADDED"), literal("settings"));
        let workload = Workload::from(task);
        let variables = settings.applied_to(&workload).container().variables.clone();
        let of = |key: &str| variables[&name(key)].clone();
        assert_eq!(
            (of("KEPT"), of("CHANGED"), of("ADDED")),
            (
                literal("workload"),
                literal("settings"),
                literal("settings")
            )
        );
    }

    #[test]
    fn suspended_means_no_copies() {
        let workload = Workload::from(WebApplication::new(8080.try_into().unwrap()));
        let settings = Settings::default()
            .with_scaling(Scaling::fixed(3))
            .suspended();
        let Workload::WebApplication(web) = settings.applied_to(&workload).into_owned() else {
            panic!("settings never change the type")
        };
        assert_eq!(web.scaling, Scaling::fixed(0));
    }

    #[test]
    fn an_environment_has_its_own_schedule() {
        let schedule =
            |cron: &str| Schedule::new(cron.parse().unwrap(), "Etc/UTC".parse().unwrap());
        let workload = Workload::from(ScheduledTask::new(schedule("@daily")));
        let settings = Settings::default().with_schedule(schedule("@hourly"));
        let Workload::ScheduledTask(task) = settings.applied_to(&workload).into_owned() else {
            panic!("settings never change the type")
        };
        assert_eq!(task.schedule, schedule("@hourly"));
    }
}
