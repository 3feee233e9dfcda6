use std::time::Duration;

use super::admission::check_run;
use super::plans::stage;
use super::refusal::{refusal, unavailable};
use super::retry::after;
use super::{Deployer, RunRequest};
use crate::id::{ComponentKey, RunId};
use crate::intake::{IntakeError, IntakeErrorKind};
use crate::run::Run;
use crate::store::{NewRun, StoreErrorKind};
use crate::workload::Workload;

impl Deployer {
    /// Runs a task with the release that is ready in an environment.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if the component is not a task or nothing
    /// is ready, and the errors of [`accept`](crate::Intake::accept).
    pub async fn run_task(&self, request: RunRequest) -> Result<Run, IntakeError> {
        let plan = self.plan(&request.component).await?;
        let stage = stage(&plan, request.environment.as_ref())?;
        let limits = match &plan.workload {
            Workload::ManualTask(task) => task.limits,
            Workload::ScheduledTask(task) => task.limits,
            Workload::Service(_) | Workload::WebApplication(_) => {
                let message = format!(
                    "component {} is a {}: only tasks can be run",
                    plan.component.id,
                    plan.component.component_type.title()
                );
                return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
            }
        };
        check_run(&request.overrides)?;
        let target = plan.component.target(stage.environment.id.clone());
        let state = self.parts.store.target(&target).await;
        if let Some(ready) = state.map_err(unavailable)?.and_then(|state| state.ready) {
            let settings = self.settings_of(&target, ready.settings_version).await?;
            self.check_release(&plan, (ready.release, &settings))
                .await?;
        }
        let now = self.clock.now();
        let allowed = limits.deadline().saturating_add(self.options.run_grace);
        let deadline = after(now, allowed);
        let place = (target, stage.data_plane.id.clone());
        let new = NewRun::new(self.entropy.run_id(), place, (now, deadline))
            .with_overrides(request.overrides);
        self.parts.store.accept_run(new).await.map_err(refusal)
    }

    /// Waits until a run is final or the time is over, and returns the run. Returns `None` if the
    /// component has no such run.
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    pub async fn wait_run(
        &self,
        component: &ComponentKey,
        id: &RunId,
        at_most: Duration,
    ) -> Result<Option<Run>, IntakeError> {
        let Some(mut run) = self.run_of(component, id).await? else {
            return Ok(None);
        };
        let ended = async {
            while !run.phase.is_final() {
                let (store, organization) = (&self.parts.store, &component.organization);
                let changed = store.run_changed(organization, id, run.revision);
                let look = store.run(organization, id);
                match self.or_look_again(changed, look).await? {
                    Some(changed) => run = changed,
                    None => break,
                }
            }
            Ok(())
        };
        match tokio::time::timeout(at_most, ended).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok(Some(run)),
        }
    }

    /// Stops a run of a component.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if the component has no such run, and
    /// [`Unavailable`](IntakeErrorKind::Unavailable) if the store does not answer.
    pub async fn cancel_run(
        &self,
        component: &ComponentKey,
        id: &RunId,
    ) -> Result<Run, IntakeError> {
        if self.run_of(component, id).await?.is_none() {
            let message = format!("component {} has no run {id}", component.component);
            return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
        }
        let (organization, now) = (&component.organization, self.clock.now());
        let cancelled = self.parts.store.request_cancel(organization, id, now).await;
        cancelled.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound => {
                IntakeError::new(IntakeErrorKind::NotPossible, error.to_string())
            }
            _ => unavailable(error),
        })
    }

    async fn run_of(
        &self,
        component: &ComponentKey,
        id: &RunId,
    ) -> Result<Option<Run>, IntakeError> {
        let found = self.parts.store.run(&component.organization, id).await;
        let found = found.map_err(unavailable)?;
        Ok(found.filter(|run| run.target.component == component.component))
    }
}
