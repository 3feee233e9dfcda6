//! The implementation of [`Intake`].

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::Deployer;
use super::admission::{Wanted, check_contents, check_type};
use super::plans::stage;
use super::refusal::{refusal, unavailable};
use super::retry::after;
use crate::catalog::{Plan, Stage};
use crate::deployment::{Deployment, Phase, Subject};
use crate::id::{ComponentKey, DeploymentId};
use crate::intake::{Intake, IntakeError, IntakeErrorKind, Submission};
use crate::release::Release;
use crate::store::{
    Accepted, DeploymentQuery, Idempotency, NewDeployment, SettingsChoice, StoreError,
};

#[async_trait]
impl Intake for Deployer {
    async fn accept(&self, mut submission: Submission) -> Result<Accepted, IntakeError> {
        let plan = self.plan(&submission.component).await?;
        let stage = stage(&plan, submission.environment.as_ref())?;
        if submission.cause.is_automatic() && !is_first(&plan, stage) {
            let message = format!(
                "environment {} accepts only promotions: deploy to {} and promote from there",
                stage.environment.id, plan.stages[0].environment.id
            );
            return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
        }
        let wanted = Wanted::Image(&submission.image.reference);
        let (registry, image) = self.registry_of(&plan.component, &wanted).await?;
        let mut findings = self.findings_of_image(&submission.image, (&registry, stage));
        submission.image.reference = image;
        let workload = ("its workload is", &plan.workload);
        check_type(&plan.component, workload, "correct the catalog")?;
        check_contents(&plan.workload, &stage.settings)?;
        let mut idempotency = self.idempotency(&submission, &plan, stage);
        loop {
            let new = NewDeployment {
                cause: submission.cause.clone(),
                workload: Some(plan.workload.clone()),
                settings: SettingsChoice::Now(stage.settings.clone()),
                provenance: submission.provenance.clone(),
                idempotency: idempotency.clone(),
                ..self.new_deployment(
                    &plan,
                    stage,
                    Subject::Image(Box::new(submission.image.clone())),
                )
            };
            let accepted = self.parts.store.accept(new).await.map_err(refusal)?;
            // A pipeline that is rerun after a failure expects another attempt, not the old answer. A
            // late retry of a superseded deployment must not replace the newer image.
            let ended_badly = accepted.replayed
                && matches!(accepted.deployment.phase, Phase::Failed | Phase::TimedOut);
            match &mut idempotency {
                Some(known) if ended_badly && submission.idempotency_key.is_none() => {
                    known.key = format!("after {}", accepted.deployment.id);
                }
                _ => {
                    if accepted.replayed {
                        let deployment = &accepted.deployment;
                        let changed = self.is_of_another_plan(deployment, (&plan, stage));
                        findings.extend(changed.await?);
                    }
                    return Ok(accepted.with_findings(findings));
                }
            }
        }
    }

    async fn get(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, IntakeError> {
        let found = self
            .parts
            .store
            .deployment(&component.organization, id)
            .await;
        let found = found.map_err(unavailable)?;
        Ok(found.filter(|deployment| deployment.target.component == component.component))
    }

    async fn wait(
        &self,
        component: &ComponentKey,
        id: &DeploymentId,
        at_most: Duration,
    ) -> Result<Option<Deployment>, IntakeError> {
        let Some(mut deployment) = self.get(component, id).await? else {
            return Ok(None);
        };
        let ended = async {
            while !deployment.phase.is_final() {
                let (store, organization) = (&self.parts.store, &component.organization);
                let changed = store.changed(organization, id, deployment.revision);
                let look = store.deployment(organization, id);
                match self.or_look_again(changed, look).await? {
                    Some(changed) => deployment = changed,
                    None => break,
                }
            }
            Ok(())
        };
        match tokio::time::timeout(at_most, ended).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok(Some(deployment)),
        }
    }

    async fn release(&self, deployment: &Deployment) -> Result<Option<Release>, IntakeError> {
        let Some(number) = deployment.release else {
            return Ok(None);
        };
        let component = deployment.target.component_key();
        let release = self.parts.store.release(&component, number).await;
        release.map_err(unavailable)
    }

    async fn successor(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<DeploymentId>, IntakeError> {
        if deployment.phase != Phase::Ready {
            return Ok(None);
        }
        let store = &self.parts.store;
        let state = store.target(&deployment.target).await;
        let Some(state) = state.map_err(unavailable)? else {
            return Ok(None);
        };
        let is_absence = deployment.subject == Subject::Absence;
        match state.ready {
            _ if state.deployment == deployment.id => Ok(None),
            None if is_absence => Ok(None),
            None => {
                let removal = self.removal_after(deployment).await?;
                Ok(Some(removal.unwrap_or(state.deployment)))
            }
            Some(ready) if ready.deployment != deployment.id => Ok(Some(ready.deployment)),
            // It runs until a newer one is ready or removes it.
            Some(_) => {
                let organization = &deployment.target.organization;
                let newest = store.deployment(organization, &state.deployment).await;
                let newest = newest.map_err(unavailable)?;
                let removes = newest.filter(|newest| {
                    newest.subject == Subject::Absence && !newest.phase.is_final()
                });
                Ok(removes.map(|removal| removal.id))
            }
        }
    }
}

impl Deployer {
    /// Returns the first removal that took effect after a deployment. Later deployments may have
    /// failed.
    async fn removal_after(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<DeploymentId>, IntakeError> {
        let query = DeploymentQuery::of_target(deployment.target.clone());
        let newest_first = self.parts.store.deployments(&query).await;
        let mut newest_first = newest_first.map_err(unavailable)?.into_iter();
        let removal = newest_first.rfind(|newer| {
            newer.generation > deployment.generation
                && newer.subject == Subject::Absence
                && newer.phase == Phase::Ready
        });
        Ok(removal.map(|removal| removal.id))
    }

    /// Awaits a notification of a change, or reads the store after a while: a store need not notify
    /// about changes of another process.
    pub(super) async fn or_look_again<T>(
        &self,
        changed: impl Future<Output = Result<T, StoreError>> + Send,
        look: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, IntakeError> {
        match tokio::time::timeout(self.options.look, changed).await {
            Ok(changed) => changed.map_err(unavailable),
            Err(_) => look.await.map_err(unavailable),
        }
    }

    /// Returns the identity by which a request is a duplicate.
    ///
    /// Without a key, this is the same image, as written, with the same commit, from CI or a push event.
    /// A tag with neither a commit nor a digest makes no duplicate, because the tag may have moved.
    fn idempotency(
        &self,
        submission: &Submission,
        plan: &Plan,
        stage: &Stage,
    ) -> Option<Idempotency> {
        let fingerprint = fingerprint(submission, stage);
        let until = |lifetime: Duration| after(self.clock.now(), lifetime);
        if let Some(key) = &submission.idempotency_key {
            let expires_at = until(self.options.key_lifetime);
            return Some(Idempotency::new(
                format!("{} key {key}", submission.cause),
                fingerprint,
                expires_at,
            ));
        }
        let names_content =
            submission.provenance.commit.is_some() || submission.image.claimed.is_some();
        if !submission.cause.is_automatic() || !names_content {
            return None;
        }
        // The workload and its place are part of the identity: a changed catalog makes another request.
        // They are serialized as in the store, which is stable between versions of this crate.
        let place = (&plan.component.project, &stage.data_plane.id);
        let document = serde_json::to_vec(&(&plan.workload, &stage.settings, place)).ok()?;
        let mut same = Sha256::new_with_prefix(fingerprint);
        same.update(document);
        let hex: String = same
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expires_at = until(self.options.repeat_window);
        Some(Idempotency::new(
            format!("same {hex}"),
            fingerprint,
            expires_at,
        ))
    }
}

fn is_first(plan: &Plan, stage: &Stage) -> bool {
    plan.stages
        .first()
        .is_some_and(|first| first.environment.id == stage.environment.id)
}

/// Returns a digest of all parts of a request, each with its length.
fn fingerprint(submission: &Submission, stage: &Stage) -> [u8; 32] {
    let claimed = submission.image.claimed.as_ref().map(ToString::to_string);
    let parts = [
        Some(stage.environment.id.as_str()),
        Some(submission.image.as_written.as_str()),
        claimed.as_deref(),
        submission.provenance.commit.as_deref(),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
