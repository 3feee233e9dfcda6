use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::admission::{Wanted, check_contents, check_run, check_type};
use super::retry::after;
use super::{Deployer, RollbackRequest, RunRequest};
use crate::Target;
use crate::backend::{LogLine, LogQuery};
use crate::catalog::{Plan, Stage};
use crate::deployment::{Cause, Deployment, Phase, Subject};
use crate::id::{ComponentKey, DeploymentId, EnvironmentId, RunId};
use crate::intake::{Intake, IntakeError, IntakeErrorKind, Submission};
use crate::release::{Release, ReleaseNumber};
use crate::run::Run;
use crate::settings::Settings;
use crate::store::{
    AcceptError, Accepted, DeploymentQuery, Idempotency, NewDeployment, NewRun, SettingsChoice,
    StoreError, StoreErrorKind,
};
use crate::workload::Workload;

#[async_trait]
impl Intake for Deployer {
    async fn accept(&self, mut submission: Submission) -> Result<Accepted, IntakeError> {
        let plan = self.plan(&submission.component).await?;
        let stage = stage(&plan, submission.environment.as_ref())?;
        if submission.cause.is_automatic() && !is_first(&plan, stage) {
            let message = format!(
                "environment {} takes promotions only: deploy to {} and promote from there",
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
            // A pipeline that is run again after a failure wants another attempt, not the old answer.
            // After it was superseded, a late retry must not put the older image in the newer's place.
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
            // It runs until a newer one is ready, unless that takes it away.
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
    /// The first removal after a deployment that took effect. What was accepted after it may have
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

    /// Deploys the release that is ready in an environment to the next one, with that one's settings.
    ///
    /// # Errors
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when nothing is ready there, it is the last
    /// environment, or the release is not pinned; and what [`accept`](Intake::accept) may meet.
    pub async fn promote(
        &self,
        component: &ComponentKey,
        from: &EnvironmentId,
    ) -> Result<Accepted, IntakeError> {
        let plan = self.plan(component).await?;
        let here = position(&plan, from)?;
        let next = plan.stages.get(here + 1).ok_or_else(|| {
            let message = format!("environment {from} is the last: there is none to promote to");
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

    /// Brings an older release back with the settings it had, and holds the target against machines
    /// until [`release_hold`](Self::release_hold).
    ///
    /// # Errors
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when there is no such release or none before the
    /// present one; and what [`accept`](Intake::accept) may meet.
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

    /// Lets machines deploy to a target again. Says whether it was held.
    ///
    /// # Errors
    /// What [`accept`](Intake::accept) may meet.
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

    /// Removes a component from an environment: from every data plane that it may be on there, and also
    /// as what it was in another project.
    ///
    /// # Errors
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when nothing was ever deployed there, and what
    /// [`accept`](Intake::accept) may meet.
    pub async fn remove(
        &self,
        component: &ComponentKey,
        environment: &EnvironmentId,
    ) -> Result<Accepted, IntakeError> {
        let plan = self.plan(component).await?;
        let stage = &plan.stages[position(&plan, environment)?];
        let target = plan.component.target(stage.environment.id.clone());
        let elsewhere = self.remove_from_other_projects(&target).await?;
        let state = self.parts.store.target(&target).await;
        if state.map_err(unavailable)?.is_none() && elsewhere.is_empty() {
            let message =
                format!("nothing was ever deployed to {target}: there is nothing to remove");
            return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
        }
        let new = self.new_deployment(&plan, stage, Subject::Absence);
        self.parts.store.accept(new).await.map_err(refusal)
    }

    /// Runs a task with what is ready in an environment.
    ///
    /// # Errors
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when the component is no task or nothing is
    /// ready; and what [`accept`](Intake::accept) may meet.
    pub async fn run_task(&self, request: RunRequest) -> Result<Run, IntakeError> {
        let plan = self.plan(&request.component).await?;
        let stage = stage(&plan, request.environment.as_ref())?;
        let limits = match &plan.workload {
            Workload::ManualTask(task) => task.limits,
            Workload::ScheduledTask(task) => task.limits,
            Workload::Service(_) | Workload::WebApplication(_) => {
                let message = format!(
                    "component {} is a {}: only tasks are run",
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
        let new = NewRun::new(self.chance.run_id(), place, (now, deadline))
            .with_overrides(request.overrides);
        self.parts.store.accept_run(new).await.map_err(refusal)
    }

    /// A run once it is final, or when the time is over, whichever comes first. `None` when the
    /// component has no such run.
    ///
    /// # Errors
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
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
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when the component has no such run; and
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
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

    /// The last lines that a component wrote in an environment.
    ///
    /// # Errors
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when its data plane shows no logs, and
    /// [`Unavailable`](IntakeErrorKind::Unavailable) when it does not answer.
    pub async fn logs(
        &self,
        component: &ComponentKey,
        environment: Option<&EnvironmentId>,
        query: &LogQuery,
    ) -> Result<Vec<LogLine>, IntakeError> {
        let plan = self.plan(component).await?;
        let stage = stage(&plan, environment)?;
        let backend = self.parts.backends.get(&stage.data_plane.id);
        let Some(reader) = backend.as_ref().and_then(|backend| backend.logs()) else {
            let message = format!("data plane {} shows no logs", stage.data_plane.id);
            return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
        };
        let target = plan.component.target(stage.environment.id.clone());
        let unavailable = || {
            let message = format!(
                "data plane {} does not show its logs now",
                stage.data_plane.id
            );
            IntakeError::new(IntakeErrorKind::Unavailable, message)
        };
        match tokio::time::timeout(self.options.call_timeout, reader.tail(&target, query)).await {
            Ok(lines) => lines.map_err(|error| unavailable().with_source(error)),
            Err(_) => Err(unavailable()),
        }
    }

    /// What the store tells of a change; or what it shows by the clock, for a change that another
    /// process made need not be told here.
    async fn or_look_again<T>(
        &self,
        changed: impl Future<Output = Result<T, StoreError>> + Send,
        look: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, IntakeError> {
        match tokio::time::timeout(self.options.look, changed).await {
            Ok(changed) => changed.map_err(unavailable),
            Err(_) => look.await.map_err(unavailable),
        }
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

    /// What the catalog says of a component, if it has it.
    pub(super) async fn look_up(
        &self,
        component: &ComponentKey,
    ) -> Result<Option<Plan>, IntakeError> {
        let unavailable = |message| IntakeError::new(IntakeErrorKind::Unavailable, message);
        let plan = self.parts.catalog.plan(component);
        match tokio::time::timeout(self.options.call_timeout, plan).await {
            Ok(plan) => plan.map_err(|error| {
                unavailable("the catalog does not answer now".to_owned()).with_source(error)
            }),
            Err(_) => {
                let within = self.options.call_timeout;
                let message = format!("the catalog did not answer within {within:?}");
                Err(unavailable(message))
            }
        }
    }

    async fn plan(&self, component: &ComponentKey) -> Result<Plan, IntakeError> {
        let plan = self.look_up(component).await?;
        plan.ok_or_else(|| {
            let message = format!("component {} does not exist", component.component);
            IntakeError::new(IntakeErrorKind::UnknownComponent, message)
        })
    }

    fn new_deployment(&self, plan: &Plan, stage: &Stage, subject: Subject) -> NewDeployment {
        let now = self.clock.now();
        let place = (
            plan.component.target(stage.environment.id.clone()),
            stage.data_plane.id.clone(),
        );
        let deadline = after(now, self.deadline_of(&plan.workload));
        let new = NewDeployment::new(self.chance.deployment_id(), place, subject, (now, deadline));
        NewDeployment {
            settings: SettingsChoice::Now(stage.settings.clone()),
            ..new
        }
    }

    /// Longer than the rollout's own progress deadline, so that a rollout that stands still fails by
    /// that and says why.
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

    /// What makes a second request the same. Without a key: the same image, as written, with the
    /// same commit, from CI. A tag without a commit is never the same: it may have moved.
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
        // What would run, and where, is part of it: after the catalog has changed it is another request.
        // In the form in which it is stored, which another version of this crate writes alike.
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

    /// The settings of a version. One that does not exist is refused where it is accepted.
    pub(super) async fn settings_of(
        &self,
        target: &Target,
        version: u64,
    ) -> Result<Settings, IntakeError> {
        let found = self.parts.store.settings(target, version).await;
        Ok(found.map_err(unavailable)?.unwrap_or_default())
    }

    /// The release to go back to, and the settings it last ran with on the target.
    async fn earlier(
        &self,
        target: &Target,
        wanted: Option<ReleaseNumber>,
    ) -> Result<(ReleaseNumber, u64), IntakeError> {
        let state = self.parts.store.target(target).await.map_err(unavailable)?;
        // After a deployment that did not get ready, what was ready last is what to go back to.
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

fn stage<'a>(plan: &'a Plan, wanted: Option<&EnvironmentId>) -> Result<&'a Stage, IntakeError> {
    match wanted {
        Some(environment) => Ok(&plan.stages[position(plan, environment)?]),
        None => plan.stages.first().ok_or_else(|| {
            let message = format!("component {} has no environment", plan.component.id);
            IntakeError::new(IntakeErrorKind::UnknownEnvironment, message)
        }),
    }
}

fn position(plan: &Plan, environment: &EnvironmentId) -> Result<usize, IntakeError> {
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

fn is_first(plan: &Plan, stage: &Stage) -> bool {
    plan.stages
        .first()
        .is_some_and(|first| first.environment.id == stage.environment.id)
}

/// A digest of everything that a request asks for, each part with its length.
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

fn nothing_ready(target: &Target) -> IntakeError {
    let message = format!("nothing is ready in {target}: deploy there first");
    IntakeError::new(IntakeErrorKind::NotPossible, message)
}

/// What an error of the store is to the caller, who learns nothing of what is in there.
pub(super) fn unavailable(error: StoreError) -> IntakeError {
    let (kind, message) = if error.is_retryable() {
        let message = "the store does not answer now: try again";
        (IntakeErrorKind::Unavailable, message)
    } else {
        let message = "what is stored cannot be used: the operator of the control plane finds why \
            in its log";
        (IntakeErrorKind::Internal, message)
    };
    IntakeError::new(kind, message).with_source(error)
}

pub(super) fn refusal(error: AcceptError) -> IntakeError {
    let kind = match &error {
        AcceptError::Held(_) => IntakeErrorKind::Held,
        AcceptError::KeyReused(_) => IntakeErrorKind::KeyReused,
        AcceptError::NothingReady
        | AcceptError::ReleaseMissing(_)
        | AcceptError::ReleaseNotPinned(_)
        | AcceptError::SettingsMissing(_) => IntakeErrorKind::NotPossible,
        AcceptError::TokenRefused => IntakeErrorKind::TokenRefused,
        AcceptError::Store(_) => IntakeErrorKind::Internal,
    };
    match error {
        AcceptError::Store(error) => unavailable(error),
        refused => IntakeError::new(kind, refused.to_string()),
    }
}
