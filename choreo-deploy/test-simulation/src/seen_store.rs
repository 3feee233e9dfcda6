//! The store from the view of a process: it is slow, and sometimes gives no answer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use choreo_deploy::Target;
use choreo_deploy::deployment::{Deployment, Phase, Subject};
use choreo_deploy::id::{
    ComponentKey, DataPlaneId, DeploymentId, OrganizationId, RegistryId, RunId, TokenId,
};
use choreo_deploy::release::{DigestPin, Release, ReleaseDraft, ReleaseNumber};
use choreo_deploy::run::Run;
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    AcceptError, Accepted, Claim, ClaimRequest, Claimed, ClaimedWork, DeploymentQuery,
    DeploymentStore, NewDeployment, NewRegistry, NewRun, Outcome, Progress, RegisteredRegistry,
    RegistryStore, RunClaim, RunOutcome, RunProgress, RunStore, Store, StoreError, StoreErrorKind,
    TargetQuery, TargetState, TokenStore, Unreadable,
};
use choreo_deploy::token::TokenRecord;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::at_once::at_once;
use crate::journal::{broken, note};
use crate::process::Process;
use crate::world::World;

/// The calls that may create work.
const MAKES_WORK: [&str; 5] = [
    "accept",
    "accept run",
    "put back",
    "put back run",
    "request cancel",
];

pub(crate) struct SeenStore {
    store: Arc<dyn Store>,
    process: Arc<Process>,
    world: Arc<World>,
}

impl fmt::Debug for SeenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenStore").finish_non_exhaustive()
    }
}

impl SeenStore {
    pub(crate) fn new(store: Arc<dyn Store>, process: Arc<Process>, world: Arc<World>) -> Self {
        Self {
            store,
            process,
            world,
        }
    }

    /// Executes a call, with delays before and after it. A call without an answer may have taken
    /// effect.
    async fn call<T, E>(
        &self,
        what: &'static str,
        effect: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + fmt::Display + Send,
    {
        self.way(what).await?;
        let (process, journal) = (self.process.id, &self.world.journal);
        let result = effect();
        match &result {
            Ok(_) => note!(journal, "{process} {what}"),
            Err(error) => note!(journal, "{process} {what}: {error}"),
        }
        match &result {
            Ok(_) if MAKES_WORK.contains(&what) => self.world.new_work.notify_waiters(),
            Ok(_) => {}
            Err(_) => self.world.ledger.excuse(process),
        }
        self.way(what).await?;
        result
    }

    async fn way(&self, what: &str) -> Result<(), StoreError> {
        let dice = &self.world.dice;
        self.process.thawed().await;
        if dice.percent(20) {
            let longest = if dice.percent(4) { 1_000 } else { 30 };
            tokio::time::sleep(dice.millis(longest)).await;
            self.process.thawed().await;
        }
        if dice.percent(self.world.weather.store()) {
            let process = self.process.id;
            note!(self.world.journal, "{process} {what}: no answer");
            self.world.ledger.excuse(process);
            let kind = StoreErrorKind::Unavailable;
            return Err(StoreError::new(kind, "the simulated store does not answer"));
        }
        Ok(())
    }

    /// A deployment that ends as ready was ready on its data plane.
    fn check_ready(&self, ended: &Deployment) {
        let was = self.world.planes.get(&ended.data_plane);
        let ready = was.is_some_and(|plane| plane.was_ready(&ended.target, ended.generation));
        if ended.phase == Phase::Ready && ended.subject != Subject::Absence && !ready {
            let (id, generation) = (&ended.id, ended.generation);
            broken!(
                self.world.journal,
                "deployment {id}, {generation}, is ready and its data plane never was"
            );
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DeploymentStore for SeenStore {
    async fn accept(&self, new: NewDeployment) -> Result<Accepted, AcceptError> {
        self.call("accept", || at_once(self.store.accept(new)))
            .await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        let (process, world) = (self.process.id, &self.world);
        // It also claims the work of others if this is its first answer after the clock was set back,
        // or if it uses an old time.
        let (looked, began) = (self.process.looked(), Instant::now());
        let claimed = self.call("claim", || {
            let claimed = at_once(self.store.claim(request))?;
            let takes_all = world.clock.has_jumped_since(looked) || self.process.stood_still();
            if takes_all {
                world.ledger.excuse_all();
            }
            for work in &claimed.work {
                match work {
                    ClaimedWork::Deployment(work) => {
                        let (target, generation) = (&work.claim.target, work.claim.generation);
                        note!(world.journal, "{process} works on {target} {generation}");
                        let by = (process, takes_all);
                        world.ledger.taken(&world.journal, by, &work.claim);
                    }
                    ClaimedWork::Run(work) => {
                        note!(world.journal, "{process} works on run {}", work.run.id);
                    }
                }
            }
            Ok(claimed)
        });
        let claimed = claimed.await;
        if claimed.is_ok() {
            self.process.got_answer(began);
        }
        claimed
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<(), StoreError> {
        let renewed = self.call("renew", || at_once(self.store.renew(claim, until)));
        let renewed = renewed.await;
        if let Err(error) = &renewed
            && error.kind() == StoreErrorKind::Stale
        {
            self.world.ledger.lost(self.process.id, claim);
        }
        renewed
    }

    async fn record_release(
        &self,
        claim: &Claim,
        draft: ReleaseDraft,
        at: Timestamp,
    ) -> Result<Release, StoreError> {
        self.call("record release", || {
            at_once(self.store.record_release(claim, draft, at))
        })
        .await
    }

    async fn record_pin(&self, claim: &Claim, pin: DigestPin) -> Result<Release, StoreError> {
        self.call("record pin", || at_once(self.store.record_pin(claim, pin)))
            .await
    }

    async fn put_back(&self, claim: &Claim, progress: Progress) -> Result<(), StoreError> {
        let (process, world) = (self.process.id, &self.world);
        self.call("put back", || {
            at_once(self.store.put_back(claim, progress))?;
            world.ledger.put_back(&world.journal, process, claim);
            Ok(())
        })
        .await
    }

    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<Deployment, StoreError> {
        let (process, world) = (self.process.id, &self.world);
        self.call("finish", || {
            let ended = at_once(self.store.finish(claim, outcome))?;
            let (id, phase) = (&ended.id, ended.phase);
            note!(
                world.journal,
                "{process} ends deployment {id}: {phase} {:?}",
                ended.reasons
            );
            let by = (process, claim);
            world.ledger.finished(&world.journal, by, &ended);
            self.check_ready(&ended);
            Ok(ended)
        })
        .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.call("next due", || at_once(self.store.next_due()))
            .await
    }

    async fn new_work(&self) {
        // A store wakes its waiters in an order that no seed determines.
        self.world.new_work.notified().await;
    }

    async fn deployment(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, StoreError> {
        self.call("deployment", || {
            at_once(self.store.deployment(organization, id))
        })
        .await
    }

    async fn deployments(&self, query: &DeploymentQuery) -> Result<Vec<Deployment>, StoreError> {
        self.call("deployments", || at_once(self.store.deployments(query)))
            .await
    }

    async fn changed(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        since: u64,
    ) -> Result<Option<Deployment>, StoreError> {
        self.store.changed(organization, id, since).await
    }

    async fn target(&self, target: &Target) -> Result<Option<TargetState>, StoreError> {
        self.call("target", || at_once(self.store.target(target)))
            .await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<Vec<TargetState>, StoreError> {
        self.call("targets", || at_once(self.store.targets(query)))
            .await
    }

    async fn forget_planes(
        &self,
        target: &Target,
        planes: &BTreeSet<DataPlaneId>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.call("forget planes", || {
            at_once(self.store.forget_planes(target, planes, at))
        })
        .await
    }

    async fn release(
        &self,
        component: &ComponentKey,
        number: ReleaseNumber,
    ) -> Result<Option<Release>, StoreError> {
        self.call("release", || at_once(self.store.release(component, number)))
            .await
    }

    async fn releases(
        &self,
        component: &ComponentKey,
        limit: usize,
    ) -> Result<Vec<Release>, StoreError> {
        self.call("releases", || {
            at_once(self.store.releases(component, limit))
        })
        .await
    }

    async fn settings(
        &self,
        target: &Target,
        version: u64,
    ) -> Result<Option<Settings>, StoreError> {
        self.call("settings", || at_once(self.store.settings(target, version)))
            .await
    }

    async fn release_hold(&self, target: &Target, at: Timestamp) -> Result<bool, StoreError> {
        self.call("release hold", || {
            at_once(self.store.release_hold(target, at))
        })
        .await
    }

    async fn raise_epoch(&self, at: Timestamp) -> Result<u64, StoreError> {
        self.call("raise epoch", || at_once(self.store.raise_epoch(at)))
            .await
    }

    async fn unreadable(&self) -> Result<Vec<Unreadable>, StoreError> {
        self.call("unreadable", || at_once(self.store.unreadable()))
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call("ping", || at_once(self.store.ping())).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RunStore for SeenStore {
    async fn accept_run(&self, new: NewRun) -> Result<Run, AcceptError> {
        self.call("accept run", || at_once(self.store.accept_run(new)))
            .await
    }

    async fn put_back_run(
        &self,
        claim: &RunClaim,
        progress: RunProgress,
    ) -> Result<(), StoreError> {
        self.call("put back run", || {
            at_once(self.store.put_back_run(claim, progress))
        })
        .await
    }

    async fn finish_run(&self, claim: &RunClaim, outcome: RunOutcome) -> Result<Run, StoreError> {
        let (process, world) = (self.process.id, &self.world);
        self.call("finish run", || {
            let ended = at_once(self.store.finish_run(claim, outcome))?;
            world.ledger.run_finished(&world.journal, &ended.id);
            let (id, phase) = (&ended.id, ended.phase);
            note!(
                world.journal,
                "{process} ends run {id}: {phase} {:?}",
                ended.reasons
            );
            Ok(ended)
        })
        .await
    }

    async fn request_cancel(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        at: Timestamp,
    ) -> Result<Run, StoreError> {
        self.call("request cancel", || {
            at_once(self.store.request_cancel(organization, id, at))
        })
        .await
    }

    async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        self.call("run", || at_once(self.store.run(organization, id)))
            .await
    }

    async fn runs(&self, target: &Target, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.call("runs", || at_once(self.store.runs(target, limit)))
            .await
    }

    async fn run_changed(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        since: u64,
    ) -> Result<Option<Run>, StoreError> {
        self.store.run_changed(organization, id, since).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TokenStore for SeenStore {
    async fn issue_token(&self, token: TokenRecord) -> Result<(), StoreError> {
        self.call("issue token", || at_once(self.store.issue_token(token)))
            .await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.call("token", || at_once(self.store.token(id))).await
    }

    async fn tokens(&self, component: &ComponentKey) -> Result<Vec<TokenRecord>, StoreError> {
        self.call("tokens", || at_once(self.store.tokens(component)))
            .await
    }

    async fn revoke_token(
        &self,
        component: &ComponentKey,
        id: &TokenId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.call("revoke token", || {
            at_once(self.store.revoke_token(component, id, at))
        })
        .await
    }

    async fn touch_token(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.call("touch token", || at_once(self.store.touch_token(id, at)))
            .await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RegistryStore for SeenStore {
    async fn put_registry(
        &self,
        registry: NewRegistry,
        expected: Option<u64>,
    ) -> Result<RegisteredRegistry, StoreError> {
        self.call("put registry", || {
            at_once(self.store.put_registry(registry, expected))
        })
        .await
    }

    async fn registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<Option<RegisteredRegistry>, StoreError> {
        self.call("registry", || {
            at_once(self.store.registry(organization, id))
        })
        .await
    }

    async fn registries(
        &self,
        organization: &OrganizationId,
    ) -> Result<Vec<RegisteredRegistry>, StoreError> {
        self.call("registries", || {
            at_once(self.store.registries(organization))
        })
        .await
    }

    async fn remove_registry(
        &self,
        organization: &OrganizationId,
        id: &RegistryId,
    ) -> Result<bool, StoreError> {
        self.call("remove registry", || {
            at_once(self.store.remove_registry(organization, id))
        })
        .await
    }
}
