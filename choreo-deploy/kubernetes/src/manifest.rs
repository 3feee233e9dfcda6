//! The rendering of an intent into Kubernetes objects, as a pure function.
//!
//! The result depends on the render version of the release, and golden files fix each version: an
//! upgrade of this crate restarts no pods. This module is version 1. A change of a golden file
//! needs a version 2 beside it.

mod check;
mod cron_job;
mod deployment;
mod job;
mod object;
mod plan;
mod pod;
mod secrets;
mod service;
mod support;
mod yaml;

use choreo_deploy::backend::{BackendError, BackendErrorKind, Intent, RunIntent};
use choreo_deploy::workload::Workload;

use self::plan::Plan;
use crate::policy::Policy;

pub use self::object::Object;
pub(crate) use self::plan::namespace_of;
pub(crate) use self::pod::CONTAINER;
pub(crate) use self::support::{namespace_object, pull_secret, pull_secret_name};

/// Renders the objects of an intent, in the order in which they are applied.
///
/// A pure function: the same intent and policy result in the same objects. A Manual Task has no Job
/// here, because each run creates one: see [`render_run`].
///
/// | component type | objects |
/// |---|---|
/// | Service, Web Application | ServiceAccount, pull Secret, Service, PodDisruptionBudget (if more than one replica may run), Kubernetes Deployment, HorizontalPodAutoscaler (for a range of replicas) |
/// | Scheduled Task | ServiceAccount, pull Secret, CronJob |
/// | Manual Task | ServiceAccount, pull Secret |
///
/// ```
/// use choreo_deploy::backend::Intent;
/// use choreo_deploy::conformance::{example_release, example_target};
/// use choreo_deploy_kubernetes::{Policy, render};
///
/// let (target, release) = (example_target("orders"), example_release(1));
/// let objects = render(&Intent::new(&target, Default::default(), &release), &Policy::default())?;
/// let kinds: Vec<&str> = objects.iter().map(|object| object.kind()).collect();
/// assert_eq!(kinds, ["Namespace", "ServiceAccount", "Service", "Deployment"]);
/// # Ok::<(), choreo_deploy::backend::BackendError>(())
/// ```
///
/// # Errors
///
/// Returns [`Refused`](BackendErrorKind::Refused) if this crate does not know the release's render
/// version, if the policy has no namespace for the target, or if the operator's patch changed a
/// fixed part; [`Unsupported`](BackendErrorKind::Unsupported) for values that this backend cannot
/// render.
pub fn render(intent: &Intent<'_>, policy: &Policy) -> Result<Vec<Object>, BackendError> {
    objects_of(&Plan::new(intent, policy)?)
}

/// Renders an intent that pulls [as before](choreo_deploy::backend::Pull::AsBefore): its pods name this
/// Secret, and none if the name is empty.
pub(crate) fn render_as_before(
    intent: &Intent<'_>,
    policy: &Policy,
    pull_secret: &str,
) -> Result<Vec<Object>, BackendError> {
    objects_of(&Plan::pulled_with(intent, policy, pull_secret.into())?)
}

fn objects_of(plan: &Plan<'_>) -> Result<Vec<Object>, BackendError> {
    let (intent, policy) = (plan.intent, plan.policy);
    let mut objects = Vec::new();
    objects.extend(support::namespace(plan));
    objects.push(support::service_account(plan));
    objects.extend(pull_secret(
        policy,
        intent.target,
        (intent.generation, &intent.pull),
    )?);
    match &*plan.workload {
        Workload::Service(_) | Workload::WebApplication(_) => {
            objects.push(service::render(plan)?);
            objects.extend(deployment::disruption_budget(plan));
            objects.push(deployment::render(plan)?);
            objects.extend(deployment::autoscaler(plan));
        }
        Workload::ScheduledTask(task) => objects.push(cron_job::render(plan, task)?),
        Workload::ManualTask(_) => {}
    }
    secrets::checked(check::patched(objects, plan)?, plan)
}

/// Renders the Job of one run.
///
/// Any component can run once: a Scheduled Task ahead of its time, or a Service for a migration.
/// Services and Web Applications have the default limits of a run.
///
/// # Errors
///
/// Those of [`render`].
pub fn render_run(run: &RunIntent<'_>, policy: &Policy) -> Result<Object, BackendError> {
    let plan = Plan::new(&run.intent, policy)?;
    let objects = check::patched(vec![job::render(&plan, run)?], &plan)?;
    let objects = secrets::checked(objects, &plan)?;
    objects.into_iter().next().ok_or_else(|| {
        BackendError::new(
            BackendErrorKind::Internal,
            "render",
            "the job of the run is missing",
        )
    })
}
