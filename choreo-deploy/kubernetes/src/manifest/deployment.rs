//! The Kubernetes Deployment, its autoscaler and its disruption budget.

use choreo_deploy::backend::BackendError;
use choreo_deploy::workload::{Container, Probes, ProgressDeadline, Scaling, Workload};
use serde_json::{Value, json};

use super::object::Object;
use super::plan::{Plan, unsupported, without_nulls};
use super::pod::{self, Shape};
use crate::kind::Kind;
use crate::labels::{self, ROLE_SERVER};

struct Server<'a> {
    container: &'a Container,
    scaling: Scaling,
    probes: &'a Probes,
    progress_deadline: ProgressDeadline,
}

fn server<'a>(plan: &'a Plan<'_>) -> Option<Server<'a>> {
    match &*plan.workload {
        Workload::Service(service) => Some(Server {
            container: &service.container,
            scaling: service.scaling,
            probes: &service.probes,
            progress_deadline: service.progress_deadline,
        }),
        Workload::WebApplication(web) => Some(Server {
            container: &web.container,
            scaling: web.scaling,
            probes: &web.probes,
            progress_deadline: web.progress_deadline,
        }),
        Workload::ScheduledTask(_) | Workload::ManualTask(_) => None,
    }
}

/// Omits `replicas` if an autoscaler owns the number.
///
/// Old pods stay until new ones are ready. Two old ReplicaSets suffice, because the control plane
/// keeps the history of releases.
pub(super) fn render(plan: &Plan<'_>) -> Result<Object, BackendError> {
    let server = server(plan).ok_or_else(|| unsupported("component type"))?;
    let shape = Shape {
        role: ROLE_SERVER,
        endpoints: plan.workload.endpoints(),
        probes: Some(server.probes),
    };
    let min_ready = plan.policy.timing.min_ready_seconds;
    let body = json!({
        "spec": {
            // Set although it is the default, because a user may have paused it.
            "paused": false,
            "replicas": server.scaling.cpu_goal().is_none().then(|| server.scaling.minimum()),
            "minReadySeconds": min_ready,
            "progressDeadlineSeconds": server.progress_deadline.seconds().max(min_ready + 5),
            "revisionHistoryLimit": 2,
            "selector": { "matchLabels": labels::selector(plan.intent.target, ROLE_SERVER) },
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 },
            },
            "template": pod::template(plan, server.container, &shape)?,
        },
    });
    Ok(plan.released(Kind::Deployment, without_nulls(body)))
}

/// Lets a drain evict one pod at a time, and any number of pods that are not ready.
pub(super) fn disruption_budget(plan: &Plan<'_>) -> Option<Object> {
    let scaling = server(plan)?.scaling;
    let body = json!({
        "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": labels::selector(plan.intent.target, ROLE_SERVER) },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    });
    let many = scaling.maximum() >= 2;
    many.then(|| plan.lasting(Kind::PodDisruptionBudget, &plan.name, body))
}

pub(super) fn autoscaler(plan: &Plan<'_>) -> Option<Object> {
    let scaling = server(plan)?.scaling;
    let goal = scaling.cpu_goal()?;
    let cpu: Value = json!({
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": { "type": "Utilization", "averageUtilization": goal },
        },
    });
    let body = json!({
        "spec": {
            "minReplicas": scaling.minimum(),
            "maxReplicas": scaling.maximum(),
            "metrics": [cpu],
            "scaleTargetRef": {
                "apiVersion": Kind::Deployment.api_version(),
                "kind": Kind::Deployment.as_str(),
                "name": plan.name,
            },
        },
    });
    Some(plan.lasting(Kind::HorizontalPodAutoscaler, &plan.name, body))
}
