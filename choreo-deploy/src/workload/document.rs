//! Parses workloads from documents.

use std::collections::BTreeMap;

use super::container::key_reference;
use super::size::{of_literal, too_long};
use super::{
    Check, ComponentType, Concurrency, Container, Cpu, Cron, Endpoint, EndpointName, Endpoints,
    KeyReference, ManualTask, Memory, MountPath, Probe, Probes, ProgressDeadline, Protocol,
    Resources, RunAs, RunLimits, Scaling, Schedule, ScheduledTask, Service, Value, VariableName,
    Visibility, WebApplication, Workload,
};
use crate::backend::{is_pull_secret, refusal};
use crate::document::{Fields, Node, Read, deserialize_strictly, document, read_by_parsing};

document!(Workload);

deserialize_strictly!(
    Check,
    Container,
    Endpoint,
    Endpoints,
    KeyReference,
    ManualTask,
    Probe,
    Probes,
    ProgressDeadline,
    Resources,
    RunAs,
    RunLimits,
    Scaling,
    Schedule,
    ScheduledTask,
    Service,
    Value,
    WebApplication,
    Workload,
);

read_by_parsing!(
    Cpu: "an amount of CPU as text, such as \"500m\"",
    Cron: "a text such as \"0 3 * * *\"",
    EndpointName: "a name as text",
    Memory: "an amount of memory as text, such as \"256Mi\"",
    MountPath: "a path as text",
    VariableName: "a name as text",
);

impl Read for Workload {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        match fields.required::<ComponentType>("type")? {
            ComponentType::Service => service(fields).map(Into::into),
            ComponentType::WebApplication => web_application(fields).map(Into::into),
            ComponentType::ScheduledTask => scheduled_task(fields).map(Into::into),
            ComponentType::ManualTask => manual_task(fields).map(Into::into),
        }
    }
}

impl Read for ComponentType {
    fn read(node: Node<'_>) -> Option<Self> {
        node.word(Self::ALL, Self::as_str)
    }
}

macro_rules! read_fields {
    ($($type:ty: $read:ident),*) => {
        $(
            impl Read for $type {
                fn read(node: Node<'_>) -> Option<Self> {
                    $read(node.fields()?)
                }
            }
        )*
    };
}

read_fields!(
    Service: service,
    WebApplication: web_application,
    ScheduledTask: scheduled_task,
    ManualTask: manual_task,
    Container: container,
    RunAs: run_as,
    Resources: resources,
    Endpoint: endpoint,
    Scaling: scaling,
    Probes: probes,
    Probe: probe,
    Schedule: schedule,
    RunLimits: run_limits
);

fn service(mut fields: Fields<'_>) -> Option<Service> {
    let container = fields.or_default("container");
    let endpoints = fields.required("endpoints");
    let scaling = fields.or_default("scaling");
    let probes = fields.or_default("probes");
    let progress_deadline = fields.or_default("progress_deadline");
    fields.finish();
    Some(Service {
        container: container?,
        endpoints: endpoints?,
        scaling: scaling?,
        probes: probes?,
        progress_deadline: progress_deadline?,
    })
}

fn web_application(mut fields: Fields<'_>) -> Option<WebApplication> {
    let container = fields.or_default("container");
    // An early version stored the endpoint.
    let port = if fields.is_stored() && fields.has("endpoint") {
        let endpoint: Option<Endpoint> = fields.required("endpoint");
        endpoint.map(|endpoint| endpoint.port)
    } else {
        fields.required("port")
    };
    let scaling = fields.or_default("scaling");
    let probes = fields.or_default("probes");
    let progress_deadline = fields.or_default("progress_deadline");
    fields.finish();
    Some(WebApplication {
        container: container?,
        scaling: scaling?,
        probes: probes?,
        progress_deadline: progress_deadline?,
        ..WebApplication::new(port?)
    })
}

fn scheduled_task(mut fields: Fields<'_>) -> Option<ScheduledTask> {
    let container = fields.or_default("container");
    let schedule = fields.required("schedule");
    let limits = fields.or_default("limits");
    fields.finish();
    Some(ScheduledTask {
        container: container?,
        schedule: schedule?,
        limits: limits?,
    })
}

fn manual_task(mut fields: Fields<'_>) -> Option<ManualTask> {
    let container = fields.or_default("container");
    let limits = fields.or_default("limits");
    fields.finish();
    Some(ManualTask {
        container: container?,
        limits: limits?,
    })
}

fn container(mut fields: Fields<'_>) -> Option<Container> {
    let command: Option<Vec<String>> = fields.or_default("command");
    let args: Option<Vec<String>> = fields.or_default("args");
    let variables: Option<BTreeMap<VariableName, Value>> = fields.or_default("variables");
    let files = fields.or_default("files");
    let resources = fields.or_default("resources");
    let run_as = fields.maybe("run_as");
    if !fields.is_stored() {
        let words = command.iter().chain(&args).flatten();
        let literals = variables.iter().flatten().map(of_literal);
        if let Some(message) = too_long(words, literals) {
            fields.invalid_here::<()>(message);
        }
    }
    fields.finish();
    Some(Container {
        command: command?,
        args: args?,
        variables: variables?,
        files: files?,
        resources: resources?,
        run_as: run_as?,
    })
}

impl Read for Value {
    fn read(node: Node<'_>) -> Option<Self> {
        let (name, inner) = node.choice(&["literal", "from"])?;
        match name.as_str() {
            "literal" => String::read(inner).map(Self::Literal),
            _ => KeyReference::read(inner).map(Self::From),
        }
    }
}

impl Read for KeyReference {
    fn read(node: Node<'_>) -> Option<Self> {
        let (kind, inner) = node.choice(&["secret", "config-map"])?;
        let mut fields = inner.fields()?;
        let name: Option<String> = fields.required("name");
        let key = fields.required("key");
        let reserved = name.as_deref().filter(|name| {
            // A stored reference stays readable; deploying it is rejected.
            kind == "secret" && !fields.is_stored() && is_pull_secret(name)
        });
        let is_kept = reserved.map(|name| fields.invalid_here::<()>(refusal(name)));
        fields.finish();
        match is_kept {
            Some(_) => None,
            None => Some(key_reference(&kind, name?, key?)),
        }
    }
}

fn run_as(mut fields: Fields<'_>) -> Option<RunAs> {
    let user = fields.required("user");
    let group = fields.maybe("group");
    fields.finish();
    Some(RunAs {
        user: user?,
        group: group?,
    })
}

fn resources(mut fields: Fields<'_>) -> Option<Resources> {
    let default = Resources::default();
    let cpu_request = fields.maybe("cpu_request");
    let cpu_limit = fields.maybe("cpu_limit");
    let memory_request = fields.maybe("memory_request");
    let memory_limit = fields.maybe("memory_limit");
    fields.finish();
    Some(Resources {
        cpu_request: cpu_request?.unwrap_or(default.cpu_request),
        cpu_limit: cpu_limit?,
        memory_request: memory_request?.unwrap_or(default.memory_request),
        memory_limit: memory_limit?.unwrap_or(default.memory_limit),
    })
}

impl Read for Endpoints {
    fn read(node: Node<'_>) -> Option<Self> {
        let place = node.place();
        match Self::new(Vec::read(node)?) {
            Ok(endpoints) => Some(endpoints),
            Err(error) => place.invalid(error.to_string()),
        }
    }
}

fn endpoint(mut fields: Fields<'_>) -> Option<Endpoint> {
    let name = fields.required("name");
    let port = fields.required("port");
    let protocol = fields.required("protocol");
    let visibility = fields.or_default("visibility");
    let base_path = fields.maybe("base_path");
    fields.finish();
    let endpoint = Endpoint::new(name?, port?, protocol?).visible(visibility?);
    Some(Endpoint {
        base_path: base_path?,
        ..endpoint
    })
}

impl Read for Protocol {
    fn read(node: Node<'_>) -> Option<Self> {
        node.word(Self::ALL, Self::as_str)
    }
}

impl Read for Visibility {
    fn read(node: Node<'_>) -> Option<Self> {
        node.word(Self::ALL, Self::as_str)
    }
}

fn scaling(mut fields: Fields<'_>) -> Option<Scaling> {
    let is_range = ["minimum", "maximum", "cpu_percent"]
        .iter()
        .any(|name| fields.has(name));
    if !is_range {
        let replicas = fields.required("replicas");
        fields.finish();
        return replicas.map(Scaling::fixed);
    }
    let minimum = fields.required("minimum");
    let maximum = fields.required("maximum");
    let cpu_percent = fields.required("cpu_percent");
    if fields.has("replicas") {
        let _: Option<()> = fields.invalid_here(
            "has replicas and a range: write replicas alone, or minimum, maximum and cpu_percent",
        );
        let _ = fields.maybe::<u16>("replicas");
    }
    let scaling = match (minimum, maximum, cpu_percent) {
        (Some(minimum), Some(maximum), Some(cpu_percent)) => {
            match Scaling::range(minimum, maximum, cpu_percent) {
                Ok(scaling) => Some(scaling),
                Err(error) => fields.invalid_here(error.to_string()),
            }
        }
        _ => None,
    };
    fields.finish();
    scaling
}

fn probes(mut fields: Fields<'_>) -> Option<Probes> {
    let readiness = fields.maybe("readiness");
    let liveness = fields.maybe("liveness");
    let startup = fields.maybe("startup");
    fields.finish();
    Some(Probes {
        readiness: readiness?,
        liveness: liveness?,
        startup: startup?,
    })
}

fn probe(mut fields: Fields<'_>) -> Option<Probe> {
    let check = check(&mut fields);
    let period = fields.maybe("period_seconds");
    let timeout = fields.maybe("timeout_seconds");
    let threshold = fields.maybe("failure_threshold");
    fields.finish();
    let default = Probe::new(check?);
    Some(Probe {
        period_seconds: period?.unwrap_or(default.period_seconds),
        timeout_seconds: timeout?.unwrap_or(default.timeout_seconds),
        failure_threshold: threshold?.unwrap_or(default.failure_threshold),
        ..default
    })
}

impl Read for Check {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let check = check(&mut fields);
        fields.finish();
        check
    }
}

/// Returns the check, from the member that names its kind.
fn check(fields: &mut Fields<'_>) -> Option<Check> {
    let http = fields.maybe::<Http>("http");
    let tcp = fields.maybe::<Tcp>("tcp");
    let exec = fields.maybe::<Exec>("exec");
    match (http?, tcp?, exec?) {
        (Some(Http { path, port }), None, None) => Some(Check::Http { path, port }),
        (None, Some(Tcp { port }), None) => Some(Check::Tcp { port }),
        (None, None, Some(Exec { command })) => Some(Check::Exec { command }),
        _ => fields.invalid_here("needs exactly one of http, tcp and exec"),
    }
}

struct Http {
    path: String,
    port: std::num::NonZeroU16,
}

struct Tcp {
    port: std::num::NonZeroU16,
}

struct Exec {
    command: Vec<String>,
}

impl Read for Http {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let path: Option<String> = fields.required("path");
        let port = fields.required("port");
        let is_path = |path: &String| {
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let path = match path {
            Some(path) if is_path(&path) => Some(path),
            Some(_) => fields.invalid("path", "is not valid: begin with '/', without blanks"),
            None => None,
        };
        fields.finish();
        Some(Self {
            path: path?,
            port: port?,
        })
    }
}

impl Read for Tcp {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let port = fields.required("port");
        fields.finish();
        port.map(|port| Self { port })
    }
}

impl Read for Exec {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let command: Option<Vec<String>> = fields.required("command");
        let command = match command {
            Some(command) if command.is_empty() => {
                fields.invalid("command", "is empty: write the program and its arguments")
            }
            command => command,
        };
        fields.finish();
        command.map(|command| Self { command })
    }
}

fn schedule(mut fields: Fields<'_>) -> Option<Schedule> {
    let cron = fields.required("cron");
    let time_zone = fields.or_default("time_zone");
    let concurrency = fields.or_default("concurrency");
    let starting_deadline = fields.maybe("starting_deadline_seconds");
    fields.finish();
    let default = Schedule::new(cron?, time_zone?);
    Some(Schedule {
        concurrency: concurrency?,
        starting_deadline_seconds: starting_deadline?.unwrap_or(default.starting_deadline_seconds),
        ..default
    })
}

impl Read for Concurrency {
    fn read(node: Node<'_>) -> Option<Self> {
        node.word(Self::ALL, Self::as_str)
    }
}

fn run_limits(mut fields: Fields<'_>) -> Option<RunLimits> {
    let default = RunLimits::default();
    let deadline_seconds = fields.maybe("deadline_seconds");
    let retries = fields.or_default("retries");
    fields.finish();
    Some(RunLimits {
        deadline_seconds: deadline_seconds?.unwrap_or(default.deadline_seconds),
        retries: retries?,
    })
}

impl Read for ProgressDeadline {
    fn read(node: Node<'_>) -> Option<Self> {
        u32::read(node).map(Self::from_seconds)
    }
}
