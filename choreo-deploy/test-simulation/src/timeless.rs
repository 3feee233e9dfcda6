//! A store with threads, for the virtual time of a paused runtime.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use choreo_deploy::Target;
use choreo_deploy::deployment::Deployment;
use choreo_deploy::id::{ComponentKey, DataPlaneId, DeploymentId, OrganizationId};
use choreo_deploy::id::{RegistryId, RunId, TokenId};
use choreo_deploy::release::{DigestPin, Release, ReleaseDraft, ReleaseNumber};
use choreo_deploy::run::Run;
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    AcceptError, Accepted, Claim, ClaimRequest, Claimed, DeploymentQuery, DeploymentStore,
    NewDeployment, NewRegistry, NewRun, Outcome, Progress, RegisteredRegistry, RegistryStore,
    RunClaim, RunOutcome, RunProgress, RunStore, Store, StoreError, TargetQuery, TargetState,
    TokenStore, Unreadable,
};
use choreo_deploy::token::TokenRecord;
use jiff::Timestamp;

use crate::Storage;
use crate::at_once::{at_once, at_once_or_later};

/// A store whose calls take no virtual time, also if threads do the work. Otherwise, a paused
/// runtime would advance to its next timer while it waits for them.
#[derive(Debug)]
pub struct Timeless {
    store: Arc<dyn Store>,
    _storage: Box<dyn Storage>,
}

impl Timeless {
    /// Opens the store of a storage, and keeps both.
    #[must_use]
    pub fn new(storage: impl Storage) -> Self {
        Self {
            store: storage.open(),
            _storage: Box::new(storage),
        }
    }
}

/// Implements a trait of the store. Methods in `at once` finish in one moment, those in `later`
/// read and then wait for other calls, and those in `untouched` do not use a thread.
macro_rules! forward {
    (
        $store:ident
        at once { $($call:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }
        later { $($wait:ident($($for:ident: $what:ty),*) -> $change:ty;)* }
        untouched { $($hint:ident();)* }
    ) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl $store for Timeless {
            $(async fn $call(&self, $($arg: $type),*) -> $result {
                at_once(self.store.$call($($arg),*))
            })*
            $(async fn $wait(&self, $($for: $what),*) -> $change {
                at_once_or_later(self.store.$wait($($for),*)).await
            })*
            $(async fn $hint(&self) {
                self.store.$hint().await;
            })*
        }
    };
}

type Found<T> = Result<Option<T>, StoreError>;
type List<T> = Result<Vec<T>, StoreError>;
type Done<T = ()> = Result<T, StoreError>;

forward! {
    DeploymentStore
    at once {
        accept(new: NewDeployment) -> Result<Accepted, AcceptError>;
        claim(request: &ClaimRequest) -> Done<Claimed>;
        renew(claim: &Claim, until: Timestamp) -> Done;
        record_release(claim: &Claim, draft: ReleaseDraft, at: Timestamp) -> Done<Release>;
        record_pin(claim: &Claim, pin: DigestPin) -> Done<Release>;
        put_back(claim: &Claim, progress: Progress) -> Done;
        finish(claim: &Claim, outcome: Outcome) -> Done<Deployment>;
        next_due() -> Found<Timestamp>;
        deployment(organization: &OrganizationId, id: &DeploymentId) -> Found<Deployment>;
        deployments(query: &DeploymentQuery) -> List<Deployment>;
        target(target: &Target) -> Found<TargetState>;
        targets(query: &TargetQuery) -> List<TargetState>;
        forget_planes(target: &Target, planes: &BTreeSet<DataPlaneId>, at: Timestamp) -> Done<bool>;
        release(component: &ComponentKey, number: ReleaseNumber) -> Found<Release>;
        releases(component: &ComponentKey, limit: usize) -> List<Release>;
        settings(target: &Target, version: u64) -> Found<Settings>;
        release_hold(target: &Target, at: Timestamp) -> Done<bool>;
        raise_epoch(at: Timestamp) -> Done<u64>;
        unreadable() -> List<Unreadable>;
        ping() -> Done;
    }
    later {
        changed(organization: &OrganizationId, id: &DeploymentId, since: u64) -> Found<Deployment>;
    }
    untouched { new_work(); }
}

forward! {
    RunStore
    at once {
        accept_run(new: NewRun) -> Result<Run, AcceptError>;
        put_back_run(claim: &RunClaim, progress: RunProgress) -> Done;
        finish_run(claim: &RunClaim, outcome: RunOutcome) -> Done<Run>;
        request_cancel(organization: &OrganizationId, id: &RunId, at: Timestamp) -> Done<Run>;
        run(organization: &OrganizationId, id: &RunId) -> Found<Run>;
        runs(target: &Target, limit: usize) -> List<Run>;
    }
    later { run_changed(organization: &OrganizationId, id: &RunId, since: u64) -> Found<Run>; }
    untouched {}
}

forward! {
    TokenStore
    at once {
        issue_token(token: TokenRecord) -> Done;
        token(id: &TokenId) -> Found<TokenRecord>;
        tokens(component: &ComponentKey) -> List<TokenRecord>;
        revoke_token(component: &ComponentKey, id: &TokenId, at: Timestamp) -> Done<bool>;
        touch_token(id: &TokenId, at: Timestamp) -> Done;
    }
    later {}
    untouched {}
}

forward! {
    RegistryStore
    at once {
        put_registry(registry: NewRegistry, expected: Option<u64>) -> Done<RegisteredRegistry>;
        registry(organization: &OrganizationId, id: &RegistryId) -> Found<RegisteredRegistry>;
        registries(organization: &OrganizationId) -> List<RegisteredRegistry>;
        remove_registry(organization: &OrganizationId, id: &RegistryId) -> Done<bool>;
    }
    later {}
    untouched {}
}
