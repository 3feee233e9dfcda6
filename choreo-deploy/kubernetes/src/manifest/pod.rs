//! The pod: one container under the restricted Pod Security Standard.
//!
//! Nothing here may change with the deployment alone, because a changed template restarts pods.

use std::collections::BTreeMap;

use choreo_deploy::backend::BackendError;
use choreo_deploy::workload::{
    Check, Container, Endpoint, KeyReference, MountPath, Probe, Probes, Protocol, Resources, RunAs,
    Value as Variable, VariableName,
};
use serde_json::{Value, json};

use super::plan::{Plan, unsupported, without_nulls};
use super::support;
use crate::labels;
use crate::policy::{PullPolicy, Scratch, SecurityProfile};

/// The name of the container that runs the image.
pub(crate) const CONTAINER: &str = "main";
const TMP: &str = "/tmp";

/// The differences between the pods of servers and of tasks.
pub(super) struct Shape<'a> {
    pub(super) role: &'static str,
    pub(super) endpoints: &'a [Endpoint],
    pub(super) probes: Option<&'a Probes>,
}

impl Shape<'_> {
    pub(super) fn task(role: &'static str) -> Self {
        Self {
            role,
            endpoints: &[],
            probes: None,
        }
    }

    fn serves(&self) -> bool {
        !self.endpoints.is_empty()
    }
}

pub(super) fn template(
    plan: &Plan<'_>,
    container: &Container,
    shape: &Shape<'_>,
) -> Result<Value, BackendError> {
    let component_type = plan.workload.component_type();
    let labels = plan
        .policy
        .labeled(labels::pod(plan.intent.target, component_type, shape.role));
    let mut annotations = plan.policy.annotations.clone();
    if plan.intent.release.image.pin.is_none() {
        // A tag may name another image now, so another release by tag must start new pods.
        let release = plan.intent.release.number.to_string();
        annotations.insert("choreo.dev/release".to_owned(), release);
    }
    let pre_stop = if shape.serves() {
        plan.policy.timing.pre_stop_seconds
    } else {
        0
    };
    Ok(without_nulls(json!({
        "metadata": {
            "labels": labels,
            "annotations": (!annotations.is_empty()).then_some(annotations),
        },
        "spec": {
            "serviceAccountName": plan.name,
            "automountServiceAccountToken": false,
            // By default every Service of the namespace becomes environment variables.
            "enableServiceLinks": false,
            "imagePullSecrets": support::image_pull_secrets(plan)?,
            "securityContext": pod_security(plan, container),
            "terminationGracePeriodSeconds": plan.policy.timing.termination_seconds + pre_stop,
            "restartPolicy": if shape.serves() { "Always" } else { "Never" },
            "topologySpreadConstraints": spread(plan, shape),
            "containers": [main(plan, container, shape)?],
            "volumes": volumes(plan, &container.files)?,
        },
    })))
}

fn main(plan: &Plan<'_>, container: &Container, shape: &Shape<'_>) -> Result<Value, BackendError> {
    let probes = shape.probes.cloned().unwrap_or_default();
    let readiness = probes.readiness.or_else(|| tcp_of_first(shape.endpoints));
    let pre_stop = plan.policy.timing.pre_stop_seconds;
    let sleeps = shape.serves() && pre_stop > 0;
    Ok(without_nulls(json!({
        "name": CONTAINER,
        "image": plan.intent.release.image.deployed().to_string(),
        "imagePullPolicy": pull_policy(plan),
        "command": words(&container.command),
        "args": words(&container.args),
        "env": variables(&container.variables)?,
        "ports": ports(shape.endpoints),
        "resources": resources(container.resources.consistent(), plan.policy.scratch),
        "securityContext": container_security(plan),
        "readinessProbe": readiness.as_ref().map(probe).transpose()?,
        "livenessProbe": probes.liveness.as_ref().map(probe).transpose()?,
        "startupProbe": probes.startup.as_ref().map(probe).transpose()?,
        // The kubelet's own sleep works without a shell in the image.
        "lifecycle": sleeps.then(|| json!({ "preStop": { "sleep": { "seconds": pre_stop } } })),
        // The end of a failed container's log becomes part of the pod's status. It is visible if
        // logs cannot be read, and after the pod's node was removed.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(&container.files),
    })))
}

fn words(words: &[String]) -> Value {
    if words.is_empty() {
        Value::Null
    } else {
        json!(words)
    }
}

fn pull_policy(plan: &Plan<'_>) -> &'static str {
    match plan.policy.pull_policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Auto if plan.intent.release.image.deployed().digest().is_none() => "Always",
        PullPolicy::Auto => "IfNotPresent",
    }
}

fn pod_security(plan: &Plan<'_>, container: &Container) -> Value {
    let profile = plan.policy.security;
    let run_as = container.run_as.or(match profile {
        SecurityProfile::RunAs(run_as) => Some(run_as),
        _ => None,
    });
    let RunAsIds { user, group } = RunAsIds::from(run_as);
    let not_root = match profile {
        SecurityProfile::Restricted | SecurityProfile::RunAs(_) => Some(true),
        SecurityProfile::ImageUser | SecurityProfile::Baseline => run_as.map(|_| true),
    };
    json!({
        "runAsNonRoot": not_root,
        "runAsUser": user,
        "runAsGroup": group,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

#[derive(Default)]
struct RunAsIds {
    user: Option<u32>,
    group: Option<u32>,
}

impl From<Option<RunAs>> for RunAsIds {
    fn from(run_as: Option<RunAs>) -> Self {
        run_as.map_or_else(Self::default, |run_as| Self {
            user: Some(run_as.user.get()),
            group: Some(run_as.group.unwrap_or(run_as.user).get()),
        })
    }
}

fn container_security(plan: &Plan<'_>) -> Value {
    let drop_all = plan.policy.security != SecurityProfile::Baseline;
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": drop_all.then(|| json!({ "drop": ["ALL"] })),
        "readOnlyRootFilesystem": !plan.policy.writable_root,
    })
}

/// A limit without a request would also become the request.
fn resources(resources: Resources, scratch: Scratch) -> Value {
    let request = scratch.request.map(|request| request.to_string());
    json!({
        "requests": {
            "cpu": resources.cpu_request.to_string(),
            "ephemeral-storage": request.unwrap_or_else(|| "0".to_owned()),
            "memory": resources.memory_request.to_string(),
        },
        "limits": {
            "cpu": resources.cpu_limit.map(|limit| limit.to_string()),
            "ephemeral-storage": scratch.limit.to_string(),
            "memory": resources.memory_limit.to_string(),
        },
    })
}

/// Spreads pods over nodes as far as possible, even a single replica, because scaling must not
/// restart pods.
///
/// Only pods of the same template are spread, so that pods that a rollout is about to end do not
/// count.
fn spread(plan: &Plan<'_>, shape: &Shape<'_>) -> Value {
    if !shape.serves() {
        return Value::Null;
    }
    let over = |topology: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": labels::selector(plan.intent.target, shape.role) },
            "matchLabelKeys": ["pod-template-hash"],
        })
    };
    let zones = plan
        .policy
        .zones
        .then(|| over("topology.kubernetes.io/zone"));
    zones
        .into_iter()
        .chain([over("kubernetes.io/hostname")])
        .collect()
}

pub(super) fn variables(
    variables: &BTreeMap<VariableName, Variable>,
) -> Result<Value, BackendError> {
    if variables.is_empty() {
        return Ok(Value::Null);
    }
    variables
        .iter()
        .map(|(name, value)| {
            Ok(match value {
                Variable::Literal(text) => json!({ "name": name.as_str(), "value": literal(text) }),
                Variable::From(KeyReference::Secret { name: secret, key }) => json!({
                    "name": name.as_str(),
                    "valueFrom": { "secretKeyRef": { "name": secret, "key": key } },
                }),
                Variable::From(KeyReference::ConfigMap { name: map, key }) => json!({
                    "name": name.as_str(),
                    "valueFrom": { "configMapKeyRef": { "name": map, "key": key } },
                }),
                _ => return Err(unsupported("source of an environment variable")),
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Value::from)
}

/// Escapes a literal, because Kubernetes would expand `$(NAME)` in it: `$$` stands for `$`
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>).
fn literal(text: &str) -> String {
    if text.contains("$(") || text.contains("$$") {
        text.replace('$', "$$")
    } else {
        text.to_owned()
    }
}

pub(super) fn transport(protocol: Protocol) -> &'static str {
    if protocol.is_udp() { "UDP" } else { "TCP" }
}

fn ports(endpoints: &[Endpoint]) -> Value {
    let ports = endpoints.iter().map(|endpoint| {
        json!({
            "name": endpoint.name.as_str(),
            "containerPort": endpoint.port,
            "protocol": transport(endpoint.protocol),
        })
    });
    if endpoints.is_empty() {
        Value::Null
    } else {
        ports.collect()
    }
}

fn tcp_of_first(endpoints: &[Endpoint]) -> Option<Probe> {
    let first = endpoints
        .iter()
        .find(|endpoint| !endpoint.protocol.is_udp())?;
    Some(Probe::new(Check::Tcp { port: first.port }))
}

fn probe(probe: &Probe) -> Result<Value, BackendError> {
    let mut json = match &probe.check {
        Check::Http { path, port } => json!({ "httpGet": { "path": path, "port": port } }),
        Check::Tcp { port } => json!({ "tcpSocket": { "port": port } }),
        Check::Exec { command } => json!({ "exec": { "command": command } }),
        _ => return Err(unsupported("probe")),
    };
    json["periodSeconds"] = probe.period_seconds.get().into();
    json["timeoutSeconds"] = probe.timeout_seconds.get().into();
    json["failureThreshold"] = probe.failure_threshold.get().into();
    Ok(json)
}

/// `/tmp` is always writable, unless the workload mounts a file there.
fn mounts(files: &BTreeMap<MountPath, KeyReference>) -> Value {
    let files = files.keys().enumerate();
    let tmp_is_free = files.clone().all(|(_, path)| path.as_str() != TMP);
    let tmp = tmp_is_free.then(|| json!({ "name": "tmp", "mountPath": TMP }));
    let files = files.map(|(i, path)| {
        json!({
            "name": format!("file-{i}"),
            "mountPath": path.as_str(),
            "subPath": "file",
            "readOnly": true,
        })
    });
    tmp.into_iter().chain(files).collect()
}

fn volumes(
    plan: &Plan<'_>,
    files: &BTreeMap<MountPath, KeyReference>,
) -> Result<Value, BackendError> {
    let limit = plan.policy.scratch.tmp.to_string();
    let mut volumes = vec![json!({ "name": "tmp", "emptyDir": { "sizeLimit": limit } })];
    for (i, reference) in files.values().enumerate() {
        let name = format!("file-{i}");
        volumes.push(match reference {
            KeyReference::Secret { name: secret, key } => json!({
                "name": name,
                "secret": { "secretName": secret, "items": [{ "key": key, "path": "file" }] },
            }),
            KeyReference::ConfigMap { name: map, key } => json!({
                "name": name,
                "configMap": { "name": map, "items": [{ "key": key, "path": "file" }] },
            }),
            _ => return Err(unsupported("source of a file")),
        });
    }
    Ok(volumes.into())
}
