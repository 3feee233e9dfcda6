//! One step of a deployment: do what is next, then end it or give it back.

use std::sync::Arc;
use std::time::Duration;

use choreo_registry::authentication::AuthenticationType;
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, ImageReference, PullSecret};
use jiff::Timestamp;

use super::Deployer;
use super::abnormal::{internal, left_too_often};
use super::admission::{NoRegistry, Wanted};
use super::fit::check_fit;
use super::follow::Ending;
use super::places::is_leaving;
use super::slots::Slot;
use crate::backend::{BackendError, BackendErrorKind, DeploymentBackend, Intent, Pull};
use crate::catalog::Plan;
use crate::deployment::{Phase, RequestedImage, Subject};
use crate::id::{DataPlaneId, RegistryId};
use crate::reason::{Evidence, Reason, ReasonCode};
use crate::release::{Pin, Pinning, Release, ReleaseDraft, ReleaseImage};
use crate::resolver::{RegistryAccess, ResolveError};
use crate::sealer::SealingContext;
use crate::store::{
    ClaimedDeployment, Outcome, Progress, RegisteredRegistry, StoreError, StoredCredential,
    WorkStage,
};
use crate::{Target, store};

/// Why a step did not get to its end.
pub(super) enum Halt {
    /// It will not work without a change.
    Failed(Reason),
    /// Worth another try.
    Later {
        reason: Reason,
        retry_after: Option<Duration>,
    },
    /// The target has moved on: somebody else goes on with it.
    Stale,
    /// The store does not answer; the lease runs out and somebody goes on.
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            store::StoreErrorKind::Stale => Self::Stale,
            _ if error.is_retryable() => Self::Store(error),
            // No other try ends differently until somebody does something, so it is counted as one.
            _ => Self::Later {
                reason: internal(&format!("what is stored cannot be used: {error}"))
                    .with_evidence(Evidence::from_untrusted(&chain(&error))),
                retry_after: None,
            },
        }
    }
}

impl From<BackendError> for Halt {
    fn from(error: BackendError) -> Self {
        if error.kind() == BackendErrorKind::Stale {
            return Self::Failed(ahead(&error.to_string()));
        }
        let retryable = error.is_retryable();
        let reason = reason_of(&error);
        if retryable {
            Self::Later {
                reason,
                retry_after: error.retry_after(),
            }
        } else {
            Self::Failed(reason)
        }
    }
}

/// What an error of a backend means to who deploys.
fn reason_of(error: &BackendError) -> Reason {
    let (code, help) = match error.kind() {
        BackendErrorKind::Refused | BackendErrorKind::Unsupported => {
            (ReasonCode::AdmissionRefused, None)
        }
        BackendErrorKind::PermissionDenied => (
            ReasonCode::PermissionMissing,
            Some("ask the operator to grant the control plane this permission on the data plane"),
        ),
        BackendErrorKind::Unauthenticated => (
            ReasonCode::PermissionMissing,
            Some("ask the operator to renew the control plane's credential of the data plane"),
        ),
        BackendErrorKind::NotFound => (ReasonCode::EnvironmentMissing, None),
        _ => (ReasonCode::BackendUnreachable, None),
    };
    let mut reason = Reason::new(code, error.to_string());
    reason.help = help.map(str::to_owned);
    match std::error::Error::source(error) {
        Some(cause) => reason.with_evidence(Evidence::from_untrusted(&chain(cause))),
        None => reason,
    }
}

/// The data plane has seen a newer generation. Where the store gave that out, the claim is stale
/// and so is whatever is written with it; where it did not, no other try would end differently.
pub(super) fn ahead(seen: &str) -> Reason {
    let message = "the data plane has a newer generation of the target";
    Reason::new(ReasonCode::NewerDeployment, message)
        .with_help(
            "try again; if the store was restored or begun anew, raise its epoch before, and let \
             no other control plane deploy here",
        )
        .with_evidence(Evidence::from_untrusted(seen))
}

/// The causes of an error, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What a step reads and pulls an image with. It is looked up and opened once in a step, and the
/// credential is dropped with it.
pub(super) struct Source {
    pub(super) plan: Plan,
    pub(super) registry: RegisteredRegistry,
    access: Access,
}

impl Source {
    /// Returns how the data plane pulls the image.
    pub(super) fn pull(&self) -> Pull<'_> {
        match &self.access {
            Access::Anonymous => Pull::Anonymous,
            Access::NodeIdentity => Pull::NodeIdentity,
            Access::Credential(_, secret) => Pull::Secret(secret),
            Access::Existing(name) => Pull::Existing(name),
            Access::External(reference) => Pull::External(reference),
        }
    }

    /// Returns how the control plane reads the registry, or `None` if it has no credential for it.
    pub(super) fn read(&self) -> Option<RegistryAccess<'_>> {
        let registry = &self.registry;
        let from = RegistryAccess::new(&registry.organization, &registry.id, &registry.host);
        match &self.access {
            Access::Credential(credential, _) => {
                Some(from.with_credential(credential, registry.credential_version))
            }
            Access::Anonymous => Some(from),
            Access::NodeIdentity | Access::Existing(_) | Access::External(_) => None,
        }
    }
}

/// The access to a registry.
enum Access {
    Anonymous,
    NodeIdentity,
    Credential(Credential, PullSecret),
    Existing(String),
    External(String),
}

impl Deployer {
    /// Does what is next for a claimed deployment.
    pub(super) async fn step(&self, mut claimed: ClaimedDeployment, slot: &Slot) {
        if was_left_behind(&claimed) {
            // To give it back counts its claims anew: what they say is kept in its phase.
            claimed.deployment.phase = Phase::Progressing;
        }
        let late = self.is_late(&claimed);
        let halt = match claimed.stage.verdict() {
            Some(verdict) => self.take_back(&claimed, verdict, slot).await,
            None => {
                let came_to = match left_too_often(claimed.claims) {
                    Some(halt) => Err(halt),
                    None => self.advance(&mut claimed, slot).await,
                };
                self.conclude(&claimed, late, came_to).await
            }
        };
        let id = &claimed.deployment.id;
        match halt {
            Err(Halt::Store(error)) => {
                tracing::warn!(deployment = %id, error = %chain(&error), "store failed");
            }
            Err(Halt::Stale) => tracing::debug!(deployment = %id, "target has moved on"),
            Err(Halt::Later { reason, .. } | Halt::Failed(reason)) => {
                tracing::warn!(deployment = %id, %reason, "not written; its lease runs out");
            }
            Ok(()) => {}
        }
    }

    /// Writes down what a step came to.
    async fn conclude(
        &self,
        claimed: &ClaimedDeployment,
        late: bool,
        came_to: Result<Option<Ending>, Halt>,
    ) -> Result<(), Halt> {
        match came_to {
            Ok(None) => Ok(()),
            Ok(Some((Phase::Ready, reasons))) => self.succeed(claimed, reasons).await,
            Ok(Some(verdict)) => self.give_up(claimed, verdict).await,
            Err(Halt::Later { reason, .. }) if is_leaving(claimed) => {
                self.leave_later(claimed, &reason, late).await
            }
            // The workers died before they looked at it, so it may be ready.
            Err(Halt::Later { reason, .. }) if late && was_not_looked_at(claimed) => {
                let reasons = self.timed_out(claimed, vec![reason]);
                self.put_back(claimed, reasons, None).await
            }
            Err(Halt::Later { reason, .. }) if late => {
                let reasons = self.timed_out(claimed, vec![reason]);
                self.give_up(claimed, (Phase::TimedOut, reasons)).await
            }
            Err(Halt::Later {
                reason,
                retry_after,
            }) => self.put_back(claimed, vec![reason], retry_after).await,
            Err(Halt::Failed(reason)) => self.give_up(claimed, (Phase::Failed, vec![reason])).await,
            Err(halt) => Err(halt),
        }
    }

    /// Goes as far as possible. `None`: the rollout is on its way and the claim was given back.
    async fn advance(
        &self,
        claimed: &mut ClaimedDeployment,
        slot: &Slot,
    ) -> Result<Option<Ending>, Halt> {
        if claimed.deployment.subject == Subject::Absence {
            if claimed.stage != WorkStage::Leaving {
                self.begin_to_leave(claimed, Vec::new()).await?;
                return Ok(None);
            }
            if !slot.goes_on() {
                self.put_back_for_room(claimed).await?;
                return Ok(None);
            }
            self.remove_everywhere(claimed).await?;
            return Ok(Some((Phase::Ready, Vec::new())));
        }
        if claimed.stage == WorkStage::Leaving {
            return Ok(Some((Phase::Ready, claimed.deployment.reasons.clone())));
        }
        let plane = claimed.deployment.data_plane.clone();
        let backend = self.backend(&plane)?;
        let is_over = self.is_late(claimed) && claimed.stage == WorkStage::ToApply;
        // A step may have applied it and then died, or got no answer.
        let may_be_applied =
            claimed.release.is_some() && claimed.deployment.phase == Phase::Progressing;
        if is_over && !may_be_applied {
            let reasons = claimed.deployment.reasons.clone();
            return Ok(Some((Phase::TimedOut, self.timed_out(claimed, reasons))));
        }
        let prepared = self.prepare(claimed).await?;
        if !slot.goes_on() {
            self.put_back_for_room(claimed).await?;
            return Ok(None);
        }
        self.reach(&plane, self.roll_out(&*backend, claimed, prepared))
            .await
    }

    /// Returns the deployment's release and, if it is to be applied, the source of its image. Nothing
    /// is applied after the deadline.
    async fn prepare(
        &self,
        claimed: &ClaimedDeployment,
    ) -> Result<(Release, Option<Source>), Halt> {
        let Some(release) = &claimed.release else {
            let (release, source) = self.make_release(claimed).await?;
            return Ok((release, Some(source)));
        };
        let is_applied = claimed.stage != WorkStage::ToApply;
        if is_applied || self.is_late(claimed) {
            return Ok((release.clone(), None));
        }
        let wanted = Wanted::of(release);
        let source = self.source(&claimed.claim.target, &wanted).await?;
        Ok((release.clone(), Some(source)))
    }

    /// Applies a release that has a source, and looks at it.
    async fn roll_out(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &mut ClaimedDeployment,
        (release, source): (Release, Option<Source>),
    ) -> Result<Option<Ending>, Halt> {
        if let Some(source) = source {
            self.apply(backend, claimed, (&release, &source)).await?;
            claimed.stage = WorkStage::Applied;
            claimed.attempt = 0;
        }
        let target = &claimed.claim.target;
        let rollout = self.look(backend.observe(target)).await?;
        self.follow(backend, claimed, (release, rollout)).await
    }

    /// Its data plane has as many changes under way as it may.
    pub(super) async fn put_back_for_room(&self, claimed: &ClaimedDeployment) -> Result<(), Halt> {
        let deployment = &claimed.deployment;
        let now = self.clock.now();
        // To have found out what an image is was no failure.
        let is_resolved_now = claimed.stage == WorkStage::ToApply
            && claimed.release.is_none()
            && deployment.subject != Subject::Absence;
        let progress = Progress {
            reasons: deployment.reasons.clone(),
            stage: claimed.stage,
            attempt: if is_resolved_now { 0 } else { claimed.attempt },
            ..Progress::new(deployment.phase, now, now)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    /// The backend of a data plane.
    pub(super) fn backend(&self, plane: &DataPlaneId) -> Result<Arc<dyn DeploymentBackend>, Halt> {
        self.parts.backends.get(plane).ok_or_else(|| {
            let message = format!("data plane {plane} is not connected");
            let reason = Reason::new(ReasonCode::BackendUnreachable, message)
                .with_help("connect the data plane, or deploy again once it is");
            Halt::Later {
                reason,
                retry_after: None,
            }
        })
    }

    /// Returns the backend of a data plane that a target may be on.
    ///
    /// If it is not connected, the reason says how to continue without it: every verdict of the target
    /// waits for it otherwise.
    pub(super) fn backend_of(
        &self,
        plane: &DataPlaneId,
        claimed: &ClaimedDeployment,
    ) -> Result<Arc<dyn DeploymentBackend>, Halt> {
        let deployment = &claimed.deployment;
        let is_needed = *plane == deployment.data_plane && deployment.subject != Subject::Absence;
        self.backend(plane).map_err(|halt| match halt {
            Halt::Later {
                reason,
                retry_after,
            } if !is_needed => Halt::Later {
                reason: reason.with_help(
                    "connect the data plane, or make the control plane forget it \
                     (`Deployer::forget_data_planes`) if it no longer exists",
                ),
                retry_after,
            },
            halt => halt,
        })
    }

    /// Makes the release of the image that was requested.
    async fn make_release(&self, claimed: &ClaimedDeployment) -> Result<(Release, Source), Halt> {
        let (Subject::Image(image), Some(workload)) =
            (&claimed.deployment.subject, &claimed.workload)
        else {
            let reason = Reason::new(
                ReasonCode::AdmissionRefused,
                "the stored deployment names neither a release nor an image with its workload",
            );
            return Err(Halt::Failed(reason));
        };
        let wanted = Wanted::Image(&image.reference);
        let source = self.source(&claimed.claim.target, &wanted).await?;
        let image = self.pin(claimed, image, &source).await?;
        let registry = source.registry.id.clone();
        let draft = ReleaseDraft::new(workload.clone(), image).from_registry(registry);
        let now = self.clock.now();
        let release = self.parts.store.record_release(&claimed.claim, draft, now);
        Ok((release.await?, source))
    }

    /// Finds out which digest the image stands for, as far as that can be known now.
    async fn pin(
        &self,
        claimed: &ClaimedDeployment,
        image: &RequestedImage,
        source: &Source,
    ) -> Result<ReleaseImage, Halt> {
        let unpinned = ReleaseImage::unpinned(image.reference.clone());
        let not_read = || match image.claimed {
            Some(digest) => unpinned.clone().pinned(Pin::new(digest, Pinning::Claimed)),
            None => unpinned.clone(),
        };
        let Some(from) = source.read() else {
            return Ok(not_read());
        };
        let asked = match image.claimed {
            Some(digest) => image.reference.with_digest(digest),
            None => image.reference.clone(),
        };
        let resolved = self.resolve(&asked, &from);
        match self.ask(from.host, resolved).await? {
            Some(resolved) => {
                check_fit(&source.plan, claimed, &resolved)?;
                Ok(unpinned.pinned(Pin::new(resolved.digest(), Pinning::Resolved)))
            }
            None => Ok(not_read()),
        }
    }

    /// Asks a registry what an image is. `None`: it cannot be asked from here.
    async fn resolve(
        &self,
        image: &ImageReference,
        from: &RegistryAccess<'_>,
    ) -> Result<Option<ResolvedImage>, Halt> {
        let resolved = self.parts.resolver.resolve(image, from);
        match tokio::time::timeout(self.options.call_timeout, resolved).await {
            Ok(Ok(resolved)) => Ok(Some(resolved)),
            Ok(Err(ResolveError::NotCheckable(reason))) => {
                tracing::info!(%image, %reason, "registry is not checkable from here");
                Ok(None)
            }
            Ok(Err(ResolveError::Failed(reason))) => Err(Halt::Failed(reason)),
            Ok(Err(ResolveError::TryLater {
                reason,
                retry_after,
            })) => Err(Halt::Later {
                reason,
                retry_after,
            }),
            Err(_) => Err(Halt::Later {
                reason: Reason::new(
                    ReasonCode::RegistryUnreachable,
                    format!("registry {} did not answer in time", from.host),
                ),
                retry_after: None,
            }),
        }
    }

    /// Returns the source of a target's image.
    pub(super) async fn source(
        &self,
        target: &Target,
        wanted: &Wanted<'_>,
    ) -> Result<Source, Halt> {
        let plan = self.look_up(&target.component_key()).await;
        let plan = plan.map_err(|error| {
            let mut reason = Reason::new(ReasonCode::Waiting, error.to_string());
            if let Some(cause) = std::error::Error::source(&error) {
                reason = reason.with_evidence(Evidence::from_untrusted(&chain(cause)));
            }
            Halt::Later {
                reason,
                retry_after: None,
            }
        })?;
        let Some(plan) = plan else {
            let message = format!("component {} does not exist any more", target.component);
            return Err(Halt::Failed(Reason::new(
                ReasonCode::RegistryMissing,
                message,
            )));
        };
        let found = self.registry_of(&plan.component, wanted).await;
        let (registry, _) = found.map_err(|why| match why {
            NoRegistry::Store(error) => Halt::from(error),
            NoRegistry::NotRegistered(id) => Halt::Failed(missing_registry(&id)),
            refused @ (NoRegistry::Elsewhere(_) | NoRegistry::PullSecret(..)) => {
                Halt::Failed(Reason::new(ReasonCode::RegistryMissing, refused.message()))
            }
        })?;
        let access = self.open(&registry)?;
        Ok(Source {
            plan,
            registry,
            access,
        })
    }

    fn open(&self, registry: &RegisteredRegistry) -> Result<Access, Halt> {
        let sealed = match &registry.credential {
            StoredCredential::Sealed(sealed) => sealed,
            StoredCredential::ExistingSecret(name) => return Ok(Access::Existing(name.clone())),
            StoredCredential::ExternalSecret(key) => return Ok(Access::External(key.clone())),
            StoredCredential::None => {
                return match registry.authentication_type {
                    AuthenticationType::Public => Ok(Access::Anonymous),
                    AuthenticationType::Vendor => Ok(Access::NodeIdentity),
                    // To ask without the credential would deploy what anybody may pull, or fail later
                    // for a reason that is not the real one.
                    other => Err(Halt::Failed(no_credential(registry, other))),
                };
            }
        };
        let context = SealingContext::new(&registry.organization, &registry.id, &registry.host);
        let credential = self.parts.sealer.open(sealed, &context).map_err(|error| {
            let message = format!(
                "the credential of registry {} cannot be opened",
                registry.id
            );
            let reason = Reason::new(ReasonCode::CredentialUnavailable, message)
                .with_help("enter the registry's credential again")
                .with_evidence(Evidence::from_untrusted(&error.to_string()));
            Halt::Failed(reason)
        })?;
        let secret = PullSecret::new(&registry.host, &credential);
        Ok(Access::Credential(credential, secret))
    }

    async fn apply(
        &self,
        backend: &dyn DeploymentBackend,
        claimed: &mut ClaimedDeployment,
        (release, source): (&Release, &Source),
    ) -> Result<(), Halt> {
        // From here on something of it may be on the data plane, whatever the call says.
        claimed.deployment.phase = Phase::Progressing;
        let intent = Intent::new(&claimed.claim.target, claimed.claim.generation, release)
            .with_settings(&claimed.settings)
            .with_pull(source.pull());
        self.call(backend.apply(&intent)).await?;
        tracing::info!(
            deployment = %claimed.deployment.id,
            generation = %claimed.claim.generation,
            image = %release.image.deployed(),
            "applied",
        );
        Ok(())
    }

    pub(super) fn is_late(&self, claimed: &ClaimedDeployment) -> bool {
        let deployment = &claimed.deployment;
        self.deadline_is_over(deployment.accepted_at, deployment.deadline_at)
    }

    /// A call to a data plane that takes no longer than it may.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, Halt> {
        match tokio::time::timeout(self.options.call_timeout, call).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Halt::Later {
                reason: Reason::new(
                    ReasonCode::BackendUnreachable,
                    format!(
                        "the data plane did not answer within {:?}",
                        self.options.call_timeout
                    ),
                ),
                retry_after: None,
            }),
        }
    }

    /// A look at a data plane. It ends nothing: that a look was refused says nothing of what was
    /// looked at.
    pub(super) async fn look<T>(
        &self,
        look: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, Halt> {
        self.call(look).await.map_err(|halt| match halt {
            Halt::Failed(reason) => Halt::Later {
                reason,
                retry_after: None,
            },
            halt => halt,
        })
    }

    pub(super) async fn end(
        &self,
        claimed: &ClaimedDeployment,
        (phase, reasons): Ending,
    ) -> Result<(), Halt> {
        let outcome = Outcome::new(phase, reasons, self.clock.now());
        self.finish(claimed, outcome).await
    }

    /// Stores how a deployment ended.
    pub(super) async fn finish(
        &self,
        claimed: &ClaimedDeployment,
        outcome: Outcome,
    ) -> Result<(), Halt> {
        let ended = self.parts.store.finish(&claimed.claim, outcome).await?;
        let reason = ended.reasons.first().map(|reason| reason.code.as_str());
        tracing::info!(deployment = %ended.id, phase = %ended.phase, reason, "deployment ended");
        Ok(())
    }

    async fn put_back(
        &self,
        claimed: &ClaimedDeployment,
        reasons: Vec<Reason>,
        retry_after: Option<Duration>,
    ) -> Result<(), Halt> {
        let deployment = &claimed.deployment;
        let next = self.next_try(claimed.attempt, retry_after, deployment.deadline_at);
        let reason = reasons.last().map(tracing::field::display);
        tracing::info!(deployment = %deployment.id, reason, next = %next, "will be retried");
        let progress = Progress {
            reasons,
            stage: claimed.stage,
            attempt: claimed.attempt.saturating_add(1),
            ..Progress::new(deployment.phase, self.clock.now(), next)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    /// That time is up, and what was the matter last.
    pub(super) fn timed_out(&self, claimed: &ClaimedDeployment, last: Vec<Reason>) -> Vec<Reason> {
        let deployment = &claimed.deployment;
        let allowed = deployment
            .deadline_at
            .duration_since(deployment.accepted_at);
        let message = format!("it was not ready within {} seconds", allowed.as_secs());
        let mut reasons = vec![Reason::new(ReasonCode::ProgressDeadlineExceeded, message)];
        reasons.extend(last);
        reasons
    }
}

/// Whether somebody worked on it before and wrote nothing: that step may have applied its release.
fn was_left_behind(claimed: &ClaimedDeployment) -> bool {
    let is_removal = claimed.deployment.subject == Subject::Absence;
    claimed.claims > 1 && claimed.release.is_some() && !is_removal
}

/// Returns `true` if all workers that claimed a deployment at its deadline died, and it was not put
/// back for a last look yet.
fn was_not_looked_at(claimed: &ClaimedDeployment) -> bool {
    let mut reasons = claimed.deployment.reasons.iter();
    let is_last_look = reasons.any(|reason| reason.code == ReasonCode::ProgressDeadlineExceeded);
    left_too_often(claimed.claims).is_some() && !is_last_look
}

/// The part of a help text that says when a deployment ends whose data plane does not answer.
pub(super) fn retried(until: Timestamp) -> String {
    format!("this is retried until {until:.0}, and then the deployment ends in any case")
}

fn no_credential(registry: &RegisteredRegistry, chosen: AuthenticationType) -> Reason {
    let message = format!(
        "registry {} has the authentication type {chosen} and no credential",
        registry.id
    );
    Reason::new(ReasonCode::CredentialUnavailable, message)
        .with_help("enter the registry's credential, or choose the authentication type public")
}

fn missing_registry(id: &RegistryId) -> Reason {
    Reason::new(
        ReasonCode::RegistryMissing,
        format!("registry {id} is not registered any more"),
    )
    .with_help("register it again, or bind the component to another registry")
}
