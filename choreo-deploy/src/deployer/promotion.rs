//! Promotions and rollbacks: deployments of existing releases.

use super::plans::position;
use super::refusal::{refusal, unavailable};
use super::{Deployer, RollbackRequest};
use crate::Target;
use crate::deployment::{Cause, Phase, Subject};
use crate::id::{ComponentKey, EnvironmentId};
use crate::intake::{IntakeError, IntakeErrorKind};
use crate::release::ReleaseNumber;
use crate::settings::Settings;
use crate::store::{Accepted, DeploymentQuery, NewDeployment, SettingsChoice};

impl Deployer {
    /// Deploys the release that is ready in an environment to the next environment, with the next
    /// environment's settings.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if nothing is ready there, if it is the
    /// last environment, or if the release is not pinned, and the errors of
    /// [`accept`](crate::Intake::accept).
    pub async fn promote(
        &self,
        component: &ComponentKey,
        from: &EnvironmentId,
    ) -> Result<Accepted, IntakeError> {
        let plan = self.plan(component).await?;
        let here = position(&plan, from)?;
        let next = plan.stages.get(here + 1).ok_or_else(|| {
            let message =
                format!("environment {from} is the last one: nothing can be promoted from it");
            IntakeError::new(IntakeErrorKind::NotPossible, message)
        })?;
        let target = plan.component.target(from.clone());
        let ready = self
            .parts
            .store
            .target(&target)
            .await
            .map_err(unavailable)?;
        let ready = ready
            .and_then(|state| state.ready)
            .ok_or_else(|| nothing_ready(&target))?;
        let registry = self.check_release(&plan, (ready.release, &next.settings));
        let registry = registry.await?;
        let findings = registry.map(|registry| self.findings_of_place(&registry, next));
        let new = NewDeployment {
            cause: Cause::Promotion,
            settings: SettingsChoice::Now(next.settings.clone()),
            ..self.new_deployment(&plan, next, Subject::Release(ready.release))
        };
        let accepted = self.parts.store.accept(new).await.map_err(refusal)?;
        Ok(accepted.with_findings(findings.unwrap_or_default()))
    }

    /// Deploys an older release with its settings, and holds the target until
    /// [`release_hold`](Self::release_hold): deployments by CI and push events are rejected, manual
    /// deployments and promotions are not.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if there is no such release, or none before
    /// the present one, and the errors of [`accept`](crate::Intake::accept).
    pub async fn rollback(&self, request: RollbackRequest) -> Result<Accepted, IntakeError> {
        let plan = self.plan(&request.component).await?;
        let stage = &plan.stages[position(&plan, &request.environment)?];
        let target = plan.component.target(request.environment.clone());
        let (release, settings_version) = self.earlier(&target, request.release).await?;
        let settings = self.settings_of(&target, settings_version).await?;
        let registry = self.check_release(&plan, (release, &settings)).await?;
        let findings = registry.map(|registry| self.findings_of_place(&registry, stage));
        let new = NewDeployment {
            cause: Cause::Rollback,
            settings: SettingsChoice::Version(settings_version),
            hold: true,
            ..self.new_deployment(&plan, stage, Subject::Release(release))
        };
        let accepted = self.parts.store.accept(new).await.map_err(refusal)?;
        Ok(accepted.with_findings(findings.unwrap_or_default()))
    }

    /// Allows automatic deployments to a target again. Returns `true` if the target was held.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`accept`](crate::Intake::accept).
    pub async fn release_hold(
        &self,
        component: &ComponentKey,
        environment: &EnvironmentId,
    ) -> Result<bool, IntakeError> {
        let plan = self.plan(component).await?;
        position(&plan, environment)?;
        let target = plan.component.target(environment.clone());
        self.parts
            .store
            .release_hold(&target, self.clock.now())
            .await
            .map_err(unavailable)
    }

    /// Returns the settings of a version. The store rejects a version that does not exist on acceptance.
    pub(super) async fn settings_of(
        &self,
        target: &Target,
        version: u64,
    ) -> Result<Settings, IntakeError> {
        let found = self.parts.store.settings(target, version).await;
        Ok(found.map_err(unavailable)?.unwrap_or_default())
    }

    /// Returns the release for a rollback, and the settings version that it last ran with.
    async fn earlier(
        &self,
        target: &Target,
        wanted: Option<ReleaseNumber>,
    ) -> Result<(ReleaseNumber, u64), IntakeError> {
        let state = self.parts.store.target(target).await.map_err(unavailable)?;
        // After a deployment that did not become ready, the rollback is to the release that is ready.
        let present = state.and_then(|state| {
            let ready = state.ready?;
            (ready.deployment == state.deployment).then_some(ready.release)
        });
        let query = DeploymentQuery::of_target(target.clone()).limit(1000);
        let deployments = self
            .parts
            .store
            .deployments(&query)
            .await
            .map_err(unavailable)?;
        let fits = |release: ReleaseNumber| match wanted {
            Some(wanted) => release == wanted,
            None => Some(release) != present,
        };
        deployments
            .iter()
            .filter(|deployment| deployment.phase == Phase::Ready)
            .find_map(|deployment| {
                let release = deployment.release.filter(|release| fits(*release))?;
                Some((release, deployment.settings_version))
            })
            .ok_or_else(|| {
                let message = match wanted {
                    Some(release) => format!("release {release} was never ready in {target}"),
                    None => format!("no release was ready in {target} before the present one"),
                };
                IntakeError::new(IntakeErrorKind::NotPossible, message)
            })
    }
}

fn nothing_ready(target: &Target) -> IntakeError {
    let message = format!("nothing is ready in {target}: deploy there first");
    IntakeError::new(IntakeErrorKind::NotPossible, message)
}
