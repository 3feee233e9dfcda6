mod registries;
mod runs;
mod tokens;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    AcceptError, Accepted, Claim, ClaimRequest, Claimed, ClaimedDeployment, DeploymentQuery,
    DeploymentStore, Idempotency, NewDeployment, Outcome, Progress, ReadyState, RegisteredRegistry,
    SettingsChoice, StoreError, StoreErrorKind, TargetQuery, TargetState, Unreadable, WorkStage,
};
use crate::Target;
use crate::deployment::{Cause, Deployment, Generation, Hold, Phase, Subject};
use crate::id::{
    ComponentKey, DataPlaneId, DeploymentId, OrganizationId, RegistryId, RunId, TokenId,
};
use crate::reason::Reason;
use crate::release::{DigestPin, Release, ReleaseDraft, ReleaseNumber};
use crate::settings::Settings;
use crate::token::TokenRecord;
use crate::workload::Workload;

use self::runs::RunRow;

/// A store in memory without any durability. It is the reference model for durable stores.
///
/// ```
/// use choreo_deploy::store::{DeploymentStore, InMemoryStore};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let store = InMemoryStore::new();
/// assert_eq!(store.next_due().await?, None);
/// # Ok::<(), choreo_deploy::store::StoreError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InMemoryStore {
    state: Mutex<State>,
    /// The number of changes, so that readers can wait for the next one.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    deployments: HashMap<DeploymentId, Row>,
    /// The deployments in the order of acceptance.
    order: Vec<DeploymentId>,
    /// An ordered map, so that work with the same due time is always claimed in the same order.
    targets: BTreeMap<Target, TargetRow>,
    releases: HashMap<ComponentKey, BTreeMap<ReleaseNumber, Release>>,
    settings: HashMap<Target, Vec<Settings>>,
    idempotency: HashMap<(ComponentKey, String), (Idempotency, DeploymentId)>,
    runs: HashMap<RunId, RunRow>,
    run_order: Vec<RunId>,
    tokens: HashMap<TokenId, TokenRecord>,
    registries: BTreeMap<(OrganizationId, RegistryId), RegisteredRegistry>,
    /// The newest assigned revision, including those of removed registries.
    registry_revisions: HashMap<OrganizationId, u64>,
    /// The epoch of new generations.
    epoch: u64,
}

#[derive(Debug)]
struct Row {
    deployment: Deployment,
    workload: Option<Workload>,
    stage: WorkStage,
    attempt: u32,
}

#[derive(Debug)]
struct TargetRow {
    state: TargetState,
    lease: Lease,
}

/// The due time and the lease of some work.
#[derive(Clone, Copy, Debug)]
struct Lease {
    next_attempt_at: Timestamp,
    until: Option<Timestamp>,
    fence: u64,
    /// The number of claims since a worker last wrote something.
    claims: u32,
}

impl Lease {
    fn due(at: Timestamp) -> Self {
        Self {
            next_attempt_at: at,
            until: None,
            fence: 0,
            claims: 0,
        }
    }

    fn due_at(&self) -> Timestamp {
        self.until.unwrap_or(self.next_attempt_at)
    }

    fn take(&mut self, until: Timestamp) -> u64 {
        self.until = Some(until);
        self.claims += 1;
        self.fence += 1;
        self.fence
    }

    fn give_back(&mut self, next_attempt_at: Timestamp) {
        self.until = None;
        self.claims = 0;
        self.next_attempt_at = next_attempt_at;
    }

    /// Makes the work due now, even with a valid lease, because a clock that was ahead has
    /// postponed it.
    fn bring_forward(&mut self, now: Timestamp) {
        self.next_attempt_at = self.next_attempt_at.min(now);
        self.until = self.until.map(|until| until.min(now));
        self.claims = self.claims.min(1);
    }
}

impl InMemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Locks the state. Every value is consistent after each statement, so a poisoned lock is safe
    /// to use.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Calls `look` now and after every change, until it returns a value.
    async fn until<T>(&self, mut look: impl FnMut(&State) -> Option<T> + Send) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Default for InMemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn accept(&mut self, new: NewDeployment) -> Result<Accepted, AcceptError> {
        if self.deployments.contains_key(&new.id) {
            return Err(taken(&format!("deployment id {}", new.id)).into());
        }
        if let Cause::Ci(token) = &new.cause {
            let record = self.tokens.get(token).ok_or(AcceptError::TokenRefused)?;
            let owner = (&record.organization, &record.component);
            if owner != (&new.target.organization, &new.target.component)
                || !record.is_live(new.accepted_at)
            {
                return Err(AcceptError::TokenRefused);
            }
        }
        if let Some(replayed) = self.replayed(&new)? {
            return Ok(replayed);
        }
        let row = self.targets.get(&new.target);
        if let Some(hold) = row.and_then(|row| row.state.hold.as_ref())
            && new.cause.is_automatic()
        {
            return Err(AcceptError::Held(hold.clone()));
        }
        let release = self.named_release(&new)?;
        let before = row.map_or(Generation::new(0, 0), |row| row.state.generation);
        let epoch = self.epoch.max(before.epoch);
        let generation = Generation::new(epoch, before.next().number);
        let settings_version = self.settings_version(&new)?;
        let superseded = self.supersede(&new);

        let deployment = new.deployment(generation, settings_version, release);
        self.order.push(new.id.clone());
        let row = Row {
            deployment: deployment.clone(),
            workload: new.workload,
            stage: WorkStage::ToApply,
            attempt: 0,
        };
        self.deployments.insert(new.id.clone(), row);
        if let Some(idempotency) = new.idempotency {
            let key = (new.target.component_key(), idempotency.key.clone());
            self.idempotency.insert(key, (idempotency, new.id.clone()));
        }
        let target = self
            .targets
            .entry(new.target.clone())
            .or_insert_with(|| TargetRow {
                state: TargetState::new(new.target.clone(), generation, new.id.clone()),
                lease: Lease::due(new.accepted_at),
            });
        target.state.generation = generation;
        target.state.deployment = new.id.clone();
        if deployment.subject != Subject::Absence {
            target.state.planes.insert(new.data_plane.clone());
        }
        // The fence stays the same, so every write with the old claim is stale.
        target.lease.give_back(new.accepted_at);
        if new.hold {
            target.state.hold = Some(Hold::new(new.id, new.accepted_at));
        }
        Ok(Accepted::new(deployment, superseded))
    }

    fn deployment_of(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
    ) -> Option<&Deployment> {
        let found = &self.deployments.get(id)?.deployment;
        (found.target.organization == *organization).then_some(found)
    }

    fn replayed(&self, new: &NewDeployment) -> Result<Option<Accepted>, AcceptError> {
        let Some(idempotency) = &new.idempotency else {
            return Ok(None);
        };
        let key = (new.target.component_key(), idempotency.key.clone());
        let Some((known, id)) = self.idempotency.get(&key) else {
            return Ok(None);
        };
        if known.expires_at <= new.accepted_at {
            return Ok(None);
        }
        let deployment = self.deployments[id].deployment.clone();
        if known.fingerprint != idempotency.fingerprint {
            return Err(AcceptError::KeyReused(Box::new(deployment)));
        }
        Ok(Some(Accepted::replayed(deployment)))
    }

    fn named_release(&self, new: &NewDeployment) -> Result<Option<ReleaseNumber>, AcceptError> {
        let Subject::Release(number) = new.subject else {
            return Ok(None);
        };
        let releases = self.releases.get(&new.target.component_key());
        let release = releases
            .and_then(|releases| releases.get(&number))
            .ok_or(AcceptError::ReleaseMissing(number))?;
        if release.image.pin.is_none() {
            return Err(AcceptError::ReleaseNotPinned(number));
        }
        Ok(Some(number))
    }

    fn settings_version(&mut self, new: &NewDeployment) -> Result<u64, AcceptError> {
        let versions = self.settings.entry(new.target.clone()).or_default();
        match &new.settings {
            SettingsChoice::Version(version) => {
                let exists = (1..=versions.len() as u64).contains(version);
                exists
                    .then_some(*version)
                    .ok_or(AcceptError::SettingsMissing(*version))
            }
            SettingsChoice::Now(settings) => {
                if versions.last() != Some(settings) {
                    versions.push(settings.clone());
                }
                Ok(versions.len() as u64)
            }
        }
    }

    /// Ends the previous deployment unless it has ended. Returns its id if it is superseded.
    fn supersede(&mut self, new: &NewDeployment) -> Option<DeploymentId> {
        let target = &self.targets.get(&new.target)?.state;
        let row = self.deployments.get_mut(&target.deployment)?;
        if row.deployment.phase.is_final() {
            return None;
        }
        let ready = target.ready.as_ref().map(|ready| &ready.deployment);
        let outcome = new.outcome_of(&row.deployment, ready);
        let is_superseded = outcome.phase == Phase::Superseded;
        change(
            &mut row.deployment,
            outcome.phase,
            outcome.reasons,
            outcome.at,
        );
        is_superseded.then(|| row.deployment.id.clone())
    }

    /// Returns the target and the deployment of a claim, or an error if the claim is no longer
    /// valid.
    fn claimed(&mut self, claim: &Claim) -> Result<(&mut TargetRow, &mut Row), StoreError> {
        let target = self
            .targets
            .get_mut(&claim.target)
            .ok_or_else(StoreError::stale)?;
        let row = self.deployments.get_mut(&target.state.deployment);
        let row = row.ok_or_else(StoreError::stale)?;
        let holds = target.state.generation == claim.generation
            && target.lease.fence == claim.fence
            && target.lease.until.is_some()
            && !row.deployment.phase.is_final();
        if holds {
            Ok((target, row))
        } else {
            Err(StoreError::stale())
        }
    }

    fn take(&mut self, target: &Target, request: &ClaimRequest) -> Option<ClaimedDeployment> {
        let row = self.targets.get_mut(target)?;
        let fence = row.lease.take(request.lease_until);
        let stored = &self.deployments[&row.state.deployment];
        let deployment = stored.deployment.clone();
        let settings = self.settings[target][(deployment.settings_version - 1) as usize].clone();
        let claim = Claim::new(target.clone(), row.state.generation, fence);
        let release = deployment
            .release
            .map(|number| self.releases[&target.component_key()][&number].clone());
        Some(ClaimedDeployment {
            workload: stored.workload.clone(),
            release,
            stage: stored.stage,
            attempt: stored.attempt,
            planes: row.state.planes.clone(),
            claims: row.lease.claims,
            ..ClaimedDeployment::new(claim, deployment, settings)
        })
    }
}

fn change(deployment: &mut Deployment, phase: Phase, reasons: Vec<Reason>, at: Timestamp) {
    // A new revision without a change would wake every reader that waits for one.
    if deployment.phase != phase || deployment.reasons != reasons {
        deployment.phase = phase;
        deployment.reasons = reasons;
        deployment.changed_at = at;
        deployment.revision += 1;
    }
}

#[async_trait]
impl DeploymentStore for InMemoryStore {
    async fn accept(&self, new: NewDeployment) -> Result<Accepted, AcceptError> {
        let accepted = self.lock().accept(new)?;
        self.tell();
        Ok(accepted)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        Ok(self.lock().claim(request))
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<(), StoreError> {
        self.lock().claimed(claim)?.0.lease.until = Some(until);
        Ok(())
    }

    async fn record_release(
        &self,
        claim: &Claim,
        draft: ReleaseDraft,
        at: Timestamp,
    ) -> Result<Release, StoreError> {
        let mut state = self.lock();
        let known = state.claimed(claim)?.1.deployment.release;
        let component = claim.target.component_key();
        let releases = state.releases.entry(component.clone()).or_default();
        if let Some(release) = known.and_then(|number| releases.get(&number)) {
            return Ok(release.clone());
        }
        let number = releases
            .last_key_value()
            .map_or(ReleaseNumber::FIRST, |(number, _)| number.next());
        let release = Release::new(component, number, draft, at);
        releases.insert(number, release.clone());
        let row = state.claimed(claim)?.1;
        row.deployment.release = Some(number);
        row.deployment.changed_at = at;
        row.deployment.revision += 1;
        drop(state);
        self.tell();
        Ok(release)
    }

    async fn record_pin(&self, claim: &Claim, pin: DigestPin) -> Result<Release, StoreError> {
        let mut state = self.lock();
        let number = state.claimed(claim)?.1.deployment.release;
        let missing = || StoreError::new(StoreErrorKind::NotFound, "deployment has no release yet");
        let number = number.ok_or_else(missing)?;
        let releases = state
            .releases
            .get_mut(&claim.target.component_key())
            .ok_or_else(missing)?;
        let release = releases.get_mut(&number).ok_or_else(missing)?;
        let is_new = release.image.pin.is_none();
        release.image.pin.get_or_insert(pin);
        let release = release.clone();
        if is_new {
            state.claimed(claim)?.1.stage = WorkStage::ToApply;
        }
        Ok(release)
    }

    async fn put_back(&self, claim: &Claim, progress: Progress) -> Result<(), StoreError> {
        let mut state = self.lock();
        let (target, row) = state.claimed(claim)?;
        expect(
            !progress.phase.is_final(),
            "a final deployment is not put back",
        )?;
        row.stage = progress.stage;
        row.attempt = progress.attempt;
        change(
            &mut row.deployment,
            progress.phase,
            progress.reasons,
            progress.at,
        );
        target.lease.give_back(progress.next_attempt_at);
        if progress.stage == WorkStage::Leaving {
            target.state.ready = ReadyState::after(&row.deployment);
        }
        drop(state);
        self.tell();
        Ok(())
    }

    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<Deployment, StoreError> {
        let mut state = self.lock();
        let (target, row) = state.claimed(claim)?;
        expect(
            outcome.phase.is_final(),
            "a deployment ends in a final phase",
        )?;
        change(
            &mut row.deployment,
            outcome.phase,
            outcome.reasons,
            outcome.at,
        );
        target.lease.give_back(outcome.at);
        let deployment = row.deployment.clone();
        if deployment.phase == Phase::Ready {
            target
                .state
                .planes
                .retain(|plane| !outcome.left.contains(plane));
            target.state.ready = ReadyState::after(&deployment);
        }
        drop(state);
        self.tell();
        Ok(deployment)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let state = self.lock();
        let targets = state
            .targets
            .values()
            .filter(|row| {
                !state.deployments[&row.state.deployment]
                    .deployment
                    .phase
                    .is_final()
            })
            .map(|row| row.lease.due_at());
        let runs = state
            .runs
            .values()
            .filter(|row| !row.run.phase.is_final())
            .map(|row| row.lease.due_at());
        Ok(targets.chain(runs).min())
    }

    async fn new_work(&self) {
        if self.changes.subscribe().changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn deployment(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, StoreError> {
        Ok(self.lock().deployment_of(organization, id).cloned())
    }

    async fn deployments(&self, query: &DeploymentQuery) -> Result<Vec<Deployment>, StoreError> {
        let state = self.lock();
        let fits = |deployment: &&Deployment| {
            let target = &deployment.target;
            query
                .organization
                .as_ref()
                .is_none_or(|id| *id == target.organization)
                && query
                    .component
                    .as_ref()
                    .is_none_or(|component| *component == target.component_key())
                && query.target.as_ref().is_none_or(|wanted| wanted == target)
        };
        let newest_first = state
            .order
            .iter()
            .rev()
            .map(|id| &state.deployments[id].deployment);
        let limit = if query.limit == 0 { 50 } else { query.limit };
        Ok(newest_first.filter(fits).take(limit).cloned().collect())
    }

    async fn changed(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        since: u64,
    ) -> Result<Option<Deployment>, StoreError> {
        let look = |state: &State| match state.deployment_of(organization, id) {
            None => Some(None),
            Some(found) => (found.revision > since).then(|| Some(found.clone())),
        };
        Ok(self.until(look).await)
    }

    async fn target(&self, target: &Target) -> Result<Option<TargetState>, StoreError> {
        Ok(self.lock().targets.get(target).map(|row| row.state.clone()))
    }

    async fn targets(&self, query: &TargetQuery) -> Result<Vec<TargetState>, StoreError> {
        let state = self.lock();
        let fits = |found: &&TargetState| {
            let (organization, component) = (&query.organization, &query.component);
            let target = &found.target;
            organization
                .as_ref()
                .is_none_or(|id| *id == target.organization)
                && component
                    .as_ref()
                    .is_none_or(|key| *key == target.component_key())
        };
        let is_left = |found: &&TargetState| {
            let after = query.after.as_ref();
            after.is_none_or(|after| place(&found.target) > place(after))
                && !(query.placed && found.planes.is_empty())
        };
        let all = state.targets.values().map(|row| &row.state);
        let mut found: Vec<_> = all.filter(fits).filter(is_left).cloned().collect();
        found.sort_by(|one, other| place(&one.target).cmp(&place(&other.target)));
        if query.limit > 0 {
            found.truncate(query.limit);
        }
        Ok(found)
    }

    async fn forget_planes(
        &self,
        target: &Target,
        planes: &BTreeSet<DataPlaneId>,
        _at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let Some(row) = state.targets.get_mut(target) else {
            return Ok(false);
        };
        let before = row.state.planes.len();
        row.state.planes.retain(|plane| !planes.contains(plane));
        let is_forgotten = row.state.planes.len() < before;
        if is_forgotten && row.state.planes.is_empty() {
            row.state.ready = None;
        }
        Ok(is_forgotten)
    }

    async fn release(
        &self,
        component: &ComponentKey,
        number: ReleaseNumber,
    ) -> Result<Option<Release>, StoreError> {
        let state = self.lock();
        Ok(state
            .releases
            .get(component)
            .and_then(|releases| releases.get(&number))
            .cloned())
    }

    async fn releases(
        &self,
        component: &ComponentKey,
        limit: usize,
    ) -> Result<Vec<Release>, StoreError> {
        let state = self.lock();
        let releases = state
            .releases
            .get(component)
            .into_iter()
            .flat_map(BTreeMap::values);
        Ok(releases.rev().take(limit).cloned().collect())
    }

    async fn settings(
        &self,
        target: &Target,
        version: u64,
    ) -> Result<Option<Settings>, StoreError> {
        let index = version
            .checked_sub(1)
            .and_then(|index| usize::try_from(index).ok());
        let state = self.lock();
        Ok(state
            .settings
            .get(target)
            .zip(index)
            .and_then(|(all, index)| all.get(index))
            .cloned())
    }

    async fn release_hold(&self, target: &Target, _at: Timestamp) -> Result<bool, StoreError> {
        let mut state = self.lock();
        Ok(state
            .targets
            .get_mut(target)
            .is_some_and(|row| row.state.hold.take().is_some()))
    }

    async fn raise_epoch(&self, at: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let now = u64::try_from(at.as_second()).unwrap_or(0);
        state.epoch = now.max(state.epoch + 1);
        Ok(state.epoch)
    }

    async fn unreadable(&self) -> Result<Vec<Unreadable>, StoreError> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Returns the sort key of lists of targets.
fn place(target: &Target) -> [&str; 4] {
    let Target {
        organization,
        project,
        component,
        environment,
    } = target;
    [
        organization.as_str(),
        component.as_str(),
        project.as_str(),
        environment.as_str(),
    ]
}

/// Returns an error for a mistake of the caller unless the rule is kept.
fn expect(holds: bool, rule: &'static str) -> Result<(), StoreError> {
    if holds {
        Ok(())
    } else {
        Err(StoreError::new(StoreErrorKind::Conflict, rule))
    }
}

fn taken(what: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Conflict, format!("{what} is taken"))
}
