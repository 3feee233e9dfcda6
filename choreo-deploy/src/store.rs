//! The interface to a database.
//!
//! The traits describe domain transactions, not rows: each method is one transaction that is
//! durable when it returns. One type implements all traits, so an idempotency key, the check of a
//! token and an acceptance commit together. [`InMemoryStore`] is the reference model;
//! choreo-deploy-sqlite is the durable implementation. The [`conformance`](crate::conformance)
//! suite has a clause for each sentence under *Contract*.
//!
//! A target has one row with its desired state, instead of a queue of jobs. Workers work on the
//! newest deployment of a target, and one worker at a time works on a target. A worker has a
//! [`Claim`]. A write with a claim fails with [`Stale`](StoreErrorKind::Stale) once the target's
//! newest deployment or the claim's fence has changed.
//!
//! These traits can change in any release before 1.0.

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
use crate::release::{DigestPin, Release, ReleaseDraft, ReleaseNumber};
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

/// A store for everything that a control plane keeps.
pub trait Store: DeploymentStore + RunStore + TokenStore + RegistryStore {}

impl<T: DeploymentStore + RunStore + TokenStore + RegistryStore + ?Sized> Store for T {}

/// A store for deployments, releases and the state of targets.
#[async_trait]
pub trait DeploymentStore: fmt::Debug + Send + Sync + 'static {
    /// Accepts a deployment. This is the only durable step between a request and its response.
    ///
    /// # Contract
    /// - When it returns `Ok`, the deployment is durable and will be processed.
    /// - The generation is greater than the generation of every earlier deployment of the target.
    /// - The previous deployment of the target becomes
    ///   [`Superseded`](crate::deployment::Phase::Superseded) unless it is final. It becomes
    ///   [`Ready`](crate::deployment::Phase::Ready) instead if it is the deployment of the target's
    ///   [`ReadyState`]. Either way it gets the reason
    ///   [`NewerDeployment`](crate::reason::ReasonCode::NewerDeployment). See
    ///   [`NewDeployment::outcome_of`].
    /// - Work on it starts from the beginning: its first claim has the stage
    ///   [`ToApply`](WorkStage::ToApply) and no attempts, whatever was put back for the previous
    ///   deployment.
    /// - Keys, releases, settings and holds belong to the target's organization. An organization
    ///   with a component of the same id neither sees nor changes them.
    /// - A request with a known idempotency key and the same fingerprint returns the same
    ///   deployment with [`Accepted::replayed`] until the key expires, and changes nothing. If a
    ///   clock was ahead by less than [`Idempotency::SPARE`] and is corrected, no key has expired
    ///   early.
    /// - Returns [`TokenRefused`](AcceptError::TokenRefused) if the token is not live at
    ///   `accepted_at` or belongs to another component.
    /// - A held target rejects every [automatic](crate::deployment::Cause::is_automatic) cause.
    /// - [`NewDeployment::hold`] holds the target in the same transaction.
    /// - Settings that are equal to the newest settings of the target keep their version. Other
    ///   settings get the next version.
    /// - A named release exists and is pinned.
    /// - Returns [`Conflict`](StoreErrorKind::Conflict) if the id is already used.
    /// - If it returns an error, nothing has changed.
    ///
    /// # Errors
    ///
    /// Returns an [`AcceptError`].
    async fn accept(&self, new: NewDeployment) -> Result<Accepted, AcceptError>;

    /// Claims deployments and runs that are due, for one worker and a limited time. Claims up to
    /// [`ClaimRequest::limit`] of them in one transaction, in the order of [`Choice`].
    ///
    /// # Contract
    /// - A target or a run is claimed only if it is not final, its next attempt is due and it has
    ///   no valid lease.
    /// - Work without [room](ClaimRequest::room) in the request is skipped.
    /// - Organizations take turns. Within an organization, the work that was due first comes first,
    ///   deployments and runs alike.
    /// - Each claim of a target or a run has a greater fence than every earlier one.
    /// - Work that is due later than [`ClaimRequest::horizon`] is due now, even with a valid lease.
    /// - The count of claims is reset when a worker writes with a claim and when a newer deployment
    ///   arrives. For work that the horizon makes due, the count is at most one, because its worker
    ///   may still be alive.
    /// - [`Claimed::next_due`] is the time at which more work with room is due.
    /// - A row that cannot be read is skipped and stays unchanged.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError>;

    /// Extends a claim.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](StoreErrorKind::Stale) and the errors of the database.
    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<(), StoreError>;

    /// Creates and numbers the release of a deployment that requested an image.
    ///
    /// # Contract
    /// - The numbers of a component's releases start at 1 and have no gaps.
    /// - A deployment that already has a release keeps it; that release is returned.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](StoreErrorKind::Stale) and the errors of the database.
    async fn record_release(
        &self,
        claim: &Claim,
        draft: ReleaseDraft,
        at: Timestamp,
    ) -> Result<Release, StoreError>;

    /// Pins the deployment's release to a digest if it is not pinned yet.
    ///
    /// # Contract
    /// - A pinned release stays unchanged.
    /// - The stage becomes [`ToApply`](WorkStage::ToApply), because the release that runs is not
    ///   pinned.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](StoreErrorKind::Stale), [`NotFound`](StoreErrorKind::NotFound) if the
    /// deployment has no release, and the errors of the database.
    async fn record_pin(&self, claim: &Claim, pin: DigestPin) -> Result<Release, StoreError>;

    /// Releases a claim before the deployment has ended, and sets the time of the next attempt.
    ///
    /// # Contract
    /// - The deployment is claimed no earlier than [`Progress::next_attempt_at`], with the same
    ///   [`WorkStage`].
    /// - The claim is no longer valid: another write with it is stale.
    /// - A deployment that is put back as [`Leaving`](WorkStage::Leaving) becomes the target's
    ///   [`ReadyState`], and an absence clears it, as if it had [finished](Self::finish) as ready.
    ///   So every later deployment knows which release runs.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](StoreErrorKind::Stale), [`Conflict`](StoreErrorKind::Conflict) if the
    /// phase is final, and the errors of the database.
    async fn put_back(&self, claim: &Claim, progress: Progress) -> Result<(), StoreError>;

    /// Ends the deployment and releases the claim.
    ///
    /// # Contract
    /// - A deployment that ends as [`Ready`](crate::deployment::Phase::Ready) becomes the target's
    ///   [`ReadyState`]. An [absence](crate::deployment::Subject::Absence) that ends as ready
    ///   clears it.
    /// - A final deployment never changes and is never claimed.
    ///
    /// # Errors
    ///
    /// Returns [`Stale`](StoreErrorKind::Stale), [`Conflict`](StoreErrorKind::Conflict) if the
    /// phase is not final, and the errors of the database.
    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<Deployment, StoreError>;

    /// Returns the time at which the next deployment or run is due. Work with a valid lease is due
    /// when the lease expires.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Waits until there may be new work. This is a hint: it can return too early, and a store that
    /// several processes share can miss an acceptance of another process. Look at intervals as
    /// well.
    async fn new_work(&self);

    /// Returns a deployment of an organization, or `None` if the organization has no such
    /// deployment.
    ///
    /// # Contract
    /// - Returns `None` for a deployment of another organization, as for one that does not exist.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn deployment(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
    ) -> Result<Option<Deployment>, StoreError>;

    /// Returns deployments, newest first.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn deployments(&self, query: &DeploymentQuery) -> Result<Vec<Deployment>, StoreError>;

    /// Waits until the deployment's revision is greater than `since`, and returns the deployment.
    /// Returns immediately if that is already the case. Returns `None` if the organization has no
    /// such deployment. It has no timeout of its own; use one around it.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn changed(
        &self,
        organization: &OrganizationId,
        id: &DeploymentId,
        since: u64,
    ) -> Result<Option<Deployment>, StoreError>;

    /// Returns the state of a target, or `None` if it never had a deployment.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn target(&self, target: &Target) -> Result<Option<TargetState>, StoreError>;

    /// Returns the targets that ever had a deployment, including those that are no longer in a
    /// catalog, ordered by organization, component, project and environment.
    ///
    /// # Contract
    /// - The list contains every target that matches the query, and no other target. Fewer than
    ///   [`TargetQuery::limit`] targets are the last ones.
    /// - [`TargetState::planes`] contains the data plane of every accepted deployment of the target
    ///   except absences, until an [`Outcome`] that is ready lists the data plane as
    ///   [left](Outcome::left).
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn targets(&self, query: &TargetQuery) -> Result<Vec<TargetState>, StoreError>;

    /// Removes data planes that no longer exist from the places of a target. Returns `true` if the
    /// target may have been on one of them.
    ///
    /// # Contract
    /// - If no data plane remains, the target's [ready state](TargetState::ready) is cleared: there
    ///   is nothing to promote, run or remove.
    /// - Nothing else of the target changes.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn forget_planes(
        &self,
        target: &Target,
        planes: &BTreeSet<DataPlaneId>,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Returns a release of a component.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn release(
        &self,
        component: &ComponentKey,
        number: ReleaseNumber,
    ) -> Result<Option<Release>, StoreError>;

    /// Returns the newest releases of a component, newest first.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn releases(
        &self,
        component: &ComponentKey,
        limit: usize,
    ) -> Result<Vec<Release>, StoreError>;

    /// Returns a version of a target's settings.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn settings(&self, target: &Target, version: u64)
    -> Result<Option<Settings>, StoreError>;

    /// Releases the hold of a target, so that machines can deploy to it again. Returns `true` if it
    /// was held.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn release_hold(&self, target: &Target, at: Timestamp) -> Result<bool, StoreError>;

    /// Raises the epoch after the database was restored from a backup or created again, and returns
    /// it. All new numbers are then higher than all earlier ones, including those that the backup
    /// does not contain.
    ///
    /// Data planes reject older generations. Without a new epoch they reject the deployments of a
    /// restored control plane until its generations have passed those that they have seen.
    /// Afterwards, deploy again whatever should run: deployments in the backup keep their
    /// generations.
    ///
    /// A backup also restores data that was removed after it was made, and this method does not
    /// change that: revoked tokens are live again, removed registries exist with their old
    /// credentials, and idempotency keys are the old ones. Revoke and remove them again.
    ///
    /// # Contract
    /// - The epoch is greater than before and at least the Unix time of `at` in seconds. So a
    ///   backup that is restored twice gets two different epochs.
    /// - New generations have this epoch.
    /// - New revisions of registries, and with them the versions of credentials, are at least a
    ///   thousand times the epoch in every organization.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn raise_epoch(&self, at: Timestamp) -> Result<u64, StoreError>;

    /// Returns the rows that this version cannot read. They stay unchanged and are not processed.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn unreadable(&self) -> Result<Vec<Unreadable>, StoreError>;

    /// Checks that the database responds, for readiness checks.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn ping(&self) -> Result<(), StoreError>;
}
