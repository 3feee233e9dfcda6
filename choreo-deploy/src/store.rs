//! The seam to a database.
//!
//! Traits at the level of domain transactions, not of rows: a method is one transaction, durable
//! when it returns. One type implements them all, so that an idempotency key, a token's check and
//! an acceptance commit together. [`InMemoryStore`] is the model; choreo-deploy-sqlite is the
//! durable one. The [`conformance`](crate::conformance) suite has a clause for each sentence under
//! *Contract*.
//!
//! There is one row of desired state per target, not a queue of jobs: the newest deployment of a
//! target is the one that is worked on, and one worker at a time works on a target. A worker holds
//! a [`Claim`]; every write with it fails [`Stale`](StoreErrorKind::Stale) once the target's
//! deployment or the claim's fence has moved on.
//!
//! These traits may change in any release before 1.0.

mod error;
mod memory;
mod registry;
mod requests;
mod run;
mod token;
mod work;

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Target;
use crate::deployment::Deployment;
use crate::id::{ComponentKey, DataPlaneId, DeploymentId, OrganizationId};
use crate::release::{Pin, Release, ReleaseDraft, ReleaseNumber};
use crate::settings::Settings;

pub use self::error::{AcceptError, StoreError, StoreErrorKind};
pub use self::memory::InMemoryStore;
pub use self::registry::{NewRegistry, RegisteredRegistry, RegistryStore, StoredCredential};
pub use self::requests::{
    Accepted, Claim, ClaimedDeployment, DeploymentQuery, Idempotency, NewDeployment, Outcome,
    Progress, ReadyState, SettingsChoice, TargetQuery, TargetState, Unreadable, WorkStage,
};
pub use self::run::{ClaimedRun, NewRun, RunClaim, RunOutcome, RunProgress, RunStore};
pub use self::token::TokenStore;
pub use self::work::{Choice, ClaimRequest, Claimed, ClaimedWork, Lane, Room, WorkGroup};

/// Everything that a control plane stores.
pub trait Store: DeploymentStore + RunStore + TokenStore + RegistryStore {}

impl<T: DeploymentStore + RunStore + TokenStore + RegistryStore + ?Sized> Store for T {}

/// Stores deployments, releases and the state of targets.
#[async_trait]
pub trait DeploymentStore: fmt::Debug + Send + Sync + 'static {
    /// Accepts a deployment: the one durable step between a request and its answer.
    ///
    /// # Contract
    /// - When it returns `Ok`, the deployment is stored durably and will be worked on.
    /// - The generation is greater than that of every deployment of the target before.
    /// - The target's deployment before, unless final, becomes
    ///   [`Superseded`](crate::deployment::Phase::Superseded), or
    ///   [`Ready`](crate::deployment::Phase::Ready) if it is in the target's [`ReadyState`], with the
    ///   reason [`NewerDeployment`](crate::reason::ReasonCode::NewerDeployment). See
    ///   [`NewDeployment::outcome_of`].
    /// - Work on it begins anew: it is claimed as not applied and without an attempt, whatever was
    ///   put back about the one before.
    /// - Keys, releases, settings and holds are those of the target's organization: another one with a
    ///   component of the same id neither sees nor changes them.
    /// - The same idempotency key and fingerprint within the key's time is the same deployment, with
    ///   [`Accepted::replayed`], and changes nothing. A clock that was ahead for less than
    ///   [`Idempotency::SPARE`] and was set right has ended no key before its time.
    /// - A token that is not live, or not of the component, at `accepted_at` is
    ///   [`TokenRefused`](AcceptError::TokenRefused).
    /// - A held target refuses every [automatic](crate::deployment::Cause::is_automatic) cause.
    /// - [`NewDeployment::hold`] holds the target in the same transaction.
    /// - Settings equal to the newest of the target keep their version; others get the next.
    /// - A release that is named exists and is pinned.
    /// - An id that is taken is a [`Conflict`](StoreErrorKind::Conflict).
    /// - An error changes nothing.
    ///
    /// # Errors
    /// See [`AcceptError`].
    async fn accept(&self, new: NewDeployment) -> Result<Accepted, AcceptError>;

    /// Takes deployments and runs that are due, for one worker, for a time: up to
    /// [`ClaimRequest::limit`] of them in one transaction, chosen as by [`Choice`].
    ///
    /// # Contract
    /// - A target or a run is claimed only when it is not final, its next attempt is due and no lease
    ///   on it holds.
    /// - What the request has no [room](ClaimRequest::room) for is passed over.
    /// - Organizations take turns; within one, what is due the longest comes first, deployments and
    ///   runs alike.
    /// - Each claim of a target or a run has a greater fence than every one before.
    /// - What is due later than [`ClaimRequest::horizon`] is due now, also where a lease holds.
    /// - Claims are counted until something is written with one, or a newer deployment comes. What the
    ///   horizon makes due keeps a count of one at most: whoever had it may live.
    /// - [`Claimed::next_due`] is when more is due that there is room for.
    /// - A row that cannot be read is passed over, and stays as it is.
    ///
    /// # Errors
    /// Those of the database.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError>;

    /// Keeps a claim for longer.
    ///
    /// # Errors
    /// [`Stale`](StoreErrorKind::Stale), and those of the database.
    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<(), StoreError>;

    /// Makes the release of a deployment that asked for an image, and numbers it.
    ///
    /// # Contract
    /// - Numbers of a component's releases count from 1 without a gap.
    /// - A deployment that has a release keeps it: the same one is returned.
    ///
    /// # Errors
    /// [`Stale`](StoreErrorKind::Stale), and those of the database.
    async fn record_release(
        &self,
        claim: &Claim,
        draft: ReleaseDraft,
        at: Timestamp,
    ) -> Result<Release, StoreError>;

    /// Pins the deployment's release to a digest, when it has none.
    ///
    /// # Contract
    /// - A release that is pinned stays as it is.
    /// - What ran was not pinned, so the deployment is to be [applied](WorkStage::ToApply) again.
    ///
    /// # Errors
    /// [`Stale`](StoreErrorKind::Stale), [`NotFound`](StoreErrorKind::NotFound) when the deployment
    /// has no release, and those of the database.
    async fn record_pin(&self, claim: &Claim, pin: Pin) -> Result<Release, StoreError>;

    /// Gives a claim back before the deployment has ended, and says when to go on.
    ///
    /// # Contract
    /// - The deployment is claimed again no earlier than [`Progress::next_attempt_at`], with the same
    ///   [`WorkStage`].
    /// - The claim is over: writing with it again is stale.
    /// - A deployment that is put back as [leaving](WorkStage::Leaving) becomes the target's
    ///   [`ReadyState`], and an absence clears it, as when it [ends](Self::finish) as ready: what comes
    ///   after it, whenever that is, knows what runs.
    ///
    /// # Errors
    /// [`Stale`](StoreErrorKind::Stale), [`Conflict`](StoreErrorKind::Conflict) when the phase is
    /// final, and those of the database.
    async fn put_back(&self, claim: &Claim, progress: Progress) -> Result<(), StoreError>;

    /// Ends the deployment and gives the claim back.
    ///
    /// # Contract
    /// - A deployment that is [`Ready`](crate::deployment::Phase::Ready) becomes the target's
    ///   [`ReadyState`]; an [absence](crate::deployment::Subject::Absence) that is ready clears it.
    /// - A final deployment never changes again and is never claimed.
    ///
    /// # Errors
    /// [`Stale`](StoreErrorKind::Stale), [`Conflict`](StoreErrorKind::Conflict) when the phase is not
    /// final, and those of the database.
    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<Deployment, StoreError>;

    /// When work of any kind, deployments and runs, is due next. A lease that holds counts from its
    /// end.
    ///
    /// # Errors
    /// Those of the database.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns when there may be new work. A hint: it may return too early, and a store that several
    /// processes share may miss what another one accepted, so look by the clock as well.
    async fn new_work(&self);

    /// A deployment of an organization; `None` when it has no such deployment.
    ///
    /// # Contract
    /// - What another organization deployed is `None`, as what does not exist.
    ///
    /// # Errors
    /// Those of the database.
    async fn deployment(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, StoreError>;

    /// Deployments, newest first.
    ///
    /// # Errors
    /// Those of the database.
    async fn deployments(&self, query: &DeploymentQuery) -> Result<Vec<Deployment>, StoreError>;

    /// Waits until the deployment's revision is greater than `since`, and returns it. Returns at once
    /// when it is already, and `None` when the organization has no such deployment. Put a timeout
    /// around it.
    ///
    /// # Errors
    /// Those of the database.
    async fn changed(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        since: u64,
    ) -> Result<Option<Deployment>, StoreError>;

    /// The state of a target; `None` when nothing was ever deployed to it.
    ///
    /// # Errors
    /// Those of the database.
    async fn target(&self, target: &Target) -> Result<Option<TargetState>, StoreError>;

    /// The targets that something was ever deployed to, also those that no catalog knows any more: by
    /// organization, component, project and environment.
    ///
    /// # Contract
    /// - What a query says holds for every target of the list, and no target for which it holds is left
    ///   out. Fewer than [`TargetQuery::limit`] are all that are left.
    /// - [`TargetState::planes`] has the data plane of every deployment that was accepted for the
    ///   target, but for an absence, until an [`Outcome`] that is ready says that the target has
    ///   [left](Outcome::left) it.
    ///
    /// # Errors
    /// Those of the database.
    async fn targets(&self, query: &TargetQuery) -> Result<Vec<TargetState>, StoreError>;

    /// Forgets that a target may be on some data planes, which are no more. Says whether it was on one.
    ///
    /// # Contract
    /// - Where this leaves it on none, nothing is [ready](TargetState::ready) on it any more: there is
    ///   nothing to promote, to run or to remove.
    /// - Nothing else of the target changes.
    ///
    /// # Errors
    /// Those of the database.
    async fn forget_planes(
        &self,
        target: &Target,
        planes: &BTreeSet<DataPlaneId>,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// A release of a component.
    ///
    /// # Errors
    /// Those of the database.
    async fn release(
        &self,
        component: &ComponentKey,
        number: ReleaseNumber,
    ) -> Result<Option<Release>, StoreError>;

    /// The newest releases of a component, newest first.
    ///
    /// # Errors
    /// Those of the database.
    async fn releases(
        &self,
        component: &ComponentKey,
        limit: usize,
    ) -> Result<Vec<Release>, StoreError>;

    /// A version of a target's settings.
    ///
    /// # Errors
    /// Those of the database.
    async fn settings(&self, target: &Target, version: u64)
    -> Result<Option<Settings>, StoreError>;

    /// Lets machines deploy to the target again. Says whether it was held.
    ///
    /// # Errors
    /// Those of the database.
    async fn release_hold(&self, target: &Target, at: Timestamp) -> Result<bool, StoreError>;

    /// Says that the database was restored from a backup, or begun anew: what is numbered from now on
    /// is numbered higher than everything before, also than what the backup does not know. Returns the
    /// new epoch.
    ///
    /// Data planes refuse older generations. Without this they would refuse what a restored control
    /// plane deploys, until it has counted past what they have seen. Deploy again afterwards what
    /// should run: deployments in the backup keep their generations.
    ///
    /// A backup also brings back what was taken away since it was made, and this changes nothing of
    /// that: tokens that were revoked are live again, registries that were removed are there, with
    /// the credentials of then, and idempotency keys are those of then. Revoke and remove again.
    ///
    /// # Contract
    /// - The epoch is greater than before, and at least the seconds of `at` since 1970: a backup that is
    ///   restored twice gets two.
    /// - Generations from now on have it.
    /// - Revisions of registries from now on are at least a thousand times the epoch, in every
    ///   organization, and with them the versions of credentials.
    ///
    /// # Errors
    /// Those of the database.
    async fn raise_epoch(&self, at: Timestamp) -> Result<u64, StoreError>;

    /// Rows that this version cannot read. They stay as they are and are not worked on.
    ///
    /// # Errors
    /// Those of the database.
    async fn unreadable(&self) -> Result<Vec<Unreadable>, StoreError>;

    /// Whether the database answers, for readiness checks.
    ///
    /// # Errors
    /// Those of the database.
    async fn ping(&self) -> Result<(), StoreError>;
}
