//! The Job of a run, and the template from which a CronJob creates its Jobs.

use choreo_deploy::backend::{BackendError, RunIntent};
use choreo_deploy::workload::{Container, RunLimits, Value as Variable, Workload};
use serde_json::{Value, json};

use super::object::Object;
use super::plan::Plan;
use super::pod::{self, Shape};
use crate::kind::Kind;
use crate::labels::{ROLE_RUN, RUN};
use crate::name;

pub(super) fn render(plan: &Plan<'_>, run: &RunIntent<'_>) -> Result<Object, BackendError> {
    let mut container = plan.workload.container().clone();
    if !run.overrides.args.is_empty() {
        container.args.clone_from(&run.overrides.args);
    }
    for (name, value) in &run.overrides.variables {
        container
            .variables
            .insert(name.clone(), Variable::Literal(value.clone()));
    }
    let limits = match &*plan.workload {
        Workload::ScheduledTask(task) => task.limits,
        Workload::ManualTask(task) => task.limits,
        Workload::Service(_) | Workload::WebApplication(_) => RunLimits::default(),
    };
    let mut spec = spec(plan, (&container, limits), ROLE_RUN)?;
    spec["template"]["metadata"]["labels"][RUN] = run.run.as_str().into();
    spec["ttlSecondsAfterFinished"] = plan.policy.timing.keep_runs().into();
    let name = name::run(plan.intent.target, run.run);
    let mut job = plan.released(Kind::Job, json!({ "spec": spec }));
    let mut json = job.json_mut().take();
    json["metadata"]["name"] = name.as_str().into();
    json["metadata"]["labels"][RUN] = run.run.as_str().into();
    Ok(Object::new(Kind::Job, &name, Some(&plan.namespace), json))
}

/// The deadline is always set, because a Job that cannot pull its image never fails otherwise.
///
/// A pod that is evicted or preempted does not count as a failure of the program.
pub(super) fn spec(
    plan: &Plan<'_>,
    (container, limits): (&Container, RunLimits),
    role: &'static str,
) -> Result<Value, BackendError> {
    Ok(json!({
        "activeDeadlineSeconds": limits.deadline_seconds,
        "backoffLimit": limits.retries,
        "completions": 1,
        "parallelism": 1,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [{
                "action": "Ignore",
                "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
            }],
        },
        "template": pod::template(plan, container, &Shape::task(role))?,
    }))
}
