//! The plans of components, and the deployments that are made from them.

use std::time::Duration;

use super::Deployer;
use super::retry::after;
use crate::catalog::{Plan, Stage};
use crate::deployment::Subject;
use crate::id::{ComponentKey, EnvironmentId};
use crate::intake::{IntakeError, IntakeErrorKind};
use crate::store::{NewDeployment, SettingsChoice};
use crate::workload::Workload;

impl Deployer {
    /// Returns the plan of a component, or `None` if the catalog has no such component.
    pub(super) async fn look_up(
        &self,
        component: &ComponentKey,
    ) -> Result<Option<Plan>, IntakeError> {
        let unavailable = |message| IntakeError::new(IntakeErrorKind::Unavailable, message);
        let plan = self.parts.catalog.plan(component);
        match tokio::time::timeout(self.options.call_timeout, plan).await {
            Ok(plan) => plan.map_err(|error| {
                unavailable("the catalog does not answer".to_owned()).with_source(error)
            }),
            Err(_) => {
                let within = self.options.call_timeout;
                let message = format!("the catalog did not answer within {within:?}");
                Err(unavailable(message))
            }
        }
    }

    pub(super) async fn plan(&self, component: &ComponentKey) -> Result<Plan, IntakeError> {
        let plan = self.look_up(component).await?;
        plan.ok_or_else(|| {
            let message = format!("component {} does not exist", component.component);
            IntakeError::new(IntakeErrorKind::UnknownComponent, message)
        })
    }

    pub(super) fn new_deployment(
        &self,
        plan: &Plan,
        stage: &Stage,
        subject: Subject,
    ) -> NewDeployment {
        let now = self.clock.now();
        let place = (
            plan.component.target(stage.environment.id.clone()),
            stage.data_plane.id.clone(),
        );
        let deadline = after(now, self.deadline_of(&plan.workload));
        let new = NewDeployment::new(
            self.entropy.deployment_id(),
            place,
            subject,
            (now, deadline),
        );
        NewDeployment {
            settings: SettingsChoice::Now(stage.settings.clone()),
            ..new
        }
    }

    /// Returns the time for a deployment. It is longer than the progress deadline of the rollout, so
    /// that a rollout that makes no progress fails first, with its own reasons.
    fn deadline_of(&self, workload: &Workload) -> Duration {
        let progress = match workload {
            Workload::Service(service) => service.progress_deadline.seconds(),
            Workload::WebApplication(web) => web.progress_deadline.seconds(),
            Workload::ScheduledTask(_) | Workload::ManualTask(_) => 0,
        };
        let grace = Duration::from_secs(5 * 60);
        let standing_still = Duration::from_secs(progress.into()) + grace;
        self.options.deployment_deadline.max(standing_still)
    }
}

pub(super) fn stage<'a>(
    plan: &'a Plan,
    wanted: Option<&EnvironmentId>,
) -> Result<&'a Stage, IntakeError> {
    match wanted {
        Some(environment) => Ok(&plan.stages[position(plan, environment)?]),
        None => plan.stages.first().ok_or_else(|| {
            let message = format!("component {} has no environment", plan.component.id);
            IntakeError::new(IntakeErrorKind::UnknownEnvironment, message)
        }),
    }
}

pub(super) fn position(plan: &Plan, environment: &EnvironmentId) -> Result<usize, IntakeError> {
    let found = plan
        .stages
        .iter()
        .position(|stage| stage.environment.id == *environment);
    found.ok_or_else(|| {
        let known: Vec<&str> = plan
            .stages
            .iter()
            .map(|stage| stage.environment.id.as_str())
            .collect();
        let message = format!(
            "component {} has no environment {environment}: it has {}",
            plan.component.id,
            known.join(", ")
        );
        IntakeError::new(IntakeErrorKind::UnknownEnvironment, message)
    })
}
