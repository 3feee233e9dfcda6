//! Taking a failed deployment back on its data planes before it ends, so that "failed" is also true
//! there.
//!
//! The verdict and its reasons are stored first. The next step, also after a restart, takes the
//! deployment back and then ends it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Deployer;
use super::abnormal::left_too_often;
use super::admission::Wanted;
use super::follow::Ending;
use super::halt::{Halt, retried};
use super::places::and_then_on;
use super::slots::Slot;
use super::source::Source;
use crate::Target;
use crate::backend::{Intent, Pull};
use crate::deployment::{Deployment, Phase, Subject};
use crate::id::DataPlaneId;
use crate::reason::{Reason, ReasonCode};
use crate::release::Release;
use crate::settings::Settings;
use crate::store::{ClaimedDeployment, DeploymentQuery, Progress, WorkStage};

/// The number of earlier deployments that are read. If none of them changed anything, the effect of
/// the deployments before them is unknown.
const LOOKED_AT: usize = 50;

/// The release that was ready on the target before.
struct Before {
    release: Release,
    settings: Settings,
    data_plane: DataPlaneId,
}

impl Deployer {
    /// Ends a failed deployment. If its objects may be on a data plane, the next step takes it back
    /// first.
    pub(super) async fn give_up(
        &self,
        claimed: &ClaimedDeployment,
        (phase, reasons): Ending,
    ) -> Result<(), Halt> {
        let stage = match phase {
            Phase::TimedOut => WorkStage::TimedOut,
            _ => WorkStage::Failed,
        };
        // A newer generation on the data plane does not belong to this deployment.
        let is_over = reasons
            .iter()
            .any(|reason| reason.code == ReasonCode::NewerDeployment);
        if is_over || !self.may_be_there(claimed).await? {
            return self.end(claimed, (phase, reasons)).await;
        }
        let now = self.clock.now();
        let progress = Progress {
            reasons,
            stage,
            ..Progress::new(Phase::Progressing, now, now)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    /// Returns `true` if objects that never became ready may be on a data plane: of this deployment or
    /// of one that it superseded.
    async fn may_be_there(&self, claimed: &ClaimedDeployment) -> Result<bool, Halt> {
        let deployment = &claimed.deployment;
        if deployment.subject == Subject::Absence {
            return Ok(false);
        }
        // A worker that does not know that it lost the claim may still apply the release.
        let was_tried = claimed.attempt > 0 && claimed.release.is_some();
        if was_tried || deployment.phase == Phase::Progressing {
            return Ok(true);
        }
        Ok(!self.left_half_way(claimed).await?.is_empty())
    }

    /// Returns the data planes that a superseded deployment or a removal may have left half-way.
    ///
    /// A deployment that became ready removed the target from other data planes, or its reasons say
    /// that it is still there. If a newer deployment ended it before that, it decides on its own data
    /// plane only.
    async fn left_half_way(
        &self,
        claimed: &ClaimedDeployment,
    ) -> Result<BTreeSet<DataPlaneId>, Halt> {
        let (target, own) = (&claimed.claim.target, &claimed.deployment.data_plane);
        let query = DeploymentQuery::of_target(target.clone()).limit(LOOKED_AT);
        let newest = self.parts.store.deployments(&query).await?;
        let generation = claimed.deployment.generation;
        let older = || newest.iter().filter(|older| older.generation < generation);
        let are_more = newest.len() >= LOOKED_AT;
        let mut planes = claimed.planes.clone();
        planes.insert(own.clone());
        planes.retain(|plane| {
            let decides = |older: &Deployment| match leaves(older) {
                // A deployment is taken back on every data plane.
                Some(false) if older.phase != Phase::Ready => Some(false),
                Some(false) if plane != own && has_left(older) => Some(false),
                leaves => leaves.filter(|_| is_about(older, plane)),
            };
            older().find_map(decides).unwrap_or(are_more)
        });
        Ok(planes)
    }

    /// Takes a deployment back and ends it, or schedules a retry.
    pub(super) async fn take_back(
        &self,
        claimed: &ClaimedDeployment,
        verdict: Phase,
        slot: &Slot,
    ) -> Result<(), Halt> {
        let until = self.takes_back_until(claimed.deployment.deadline_at);
        let late = self.deadline_is_over(claimed.deployment.accepted_at, until);
        let result = match left_too_often(claimed.claims) {
            Some(halt) => Err(halt),
            None if !slot.goes_on() => return self.put_back_for_room(claimed).await,
            None => self.try_to_take_back(claimed, slot).await,
        };
        let reasons = claimed.deployment.reasons.clone();
        let (reason, retry_after) = match result {
            Ok(message) => {
                let reasons = taken_back(reasons, message);
                return self.end(claimed, (verdict, reasons)).await;
            }
            Err(Halt::Later {
                reason,
                retry_after,
            }) => (reason, retry_after),
            // The refusal can be corrected, and until then the verdict is not true.
            Err(Halt::Failed(reason)) => (reason, None),
            Err(halt) => return Err(halt),
        };
        // A newer generation stays on the data plane.
        if late || reason.code == ReasonCode::NewerDeployment {
            let reasons = not_taken_back(reasons, &reason, None);
            return self.end(claimed, (verdict, reasons)).await;
        }
        let next = self.next_try(claimed.attempt, retry_after, until);
        let progress = Progress {
            reasons: not_taken_back(reasons, &reason, Some(until)),
            stage: claimed.stage,
            attempt: claimed.attempt.saturating_add(1),
            ..Progress::new(Phase::Progressing, self.clock.now(), next)
        };
        Ok(self.parts.store.put_back(&claimed.claim, progress).await?)
    }

    /// Returns the end of the retries to take back a deployment with this deadline.
    pub(super) fn takes_back_until(&self, deadline_at: Timestamp) -> Timestamp {
        let until = deadline_at.checked_add(self.options.take_back_grace);
        until.unwrap_or(Timestamp::MAX)
    }

    /// Takes a deployment back, and half-way deployments that it superseded. Returns a sentence about
    /// what runs now.
    async fn try_to_take_back(
        &self,
        claimed: &ClaimedDeployment,
        slot: &Slot,
    ) -> Result<String, Halt> {
        let own = &claimed.deployment.data_plane;
        let mut planes = self.left_half_way(claimed).await?;
        // Without a release, nothing was applied.
        if claimed.release.is_some() || planes.is_empty() {
            planes.insert(own.clone());
        }
        let before = self.ready_before(claimed).await?;
        let is_elsewhere = before
            .as_ref()
            .is_some_and(|before| before.data_plane != *own);
        let (mut said, mut result) = (Vec::new(), Ok(()));
        for plane in &planes {
            let taken_back = match slot.moves_to(plane).await {
                Ok(()) => self.take_back_on(plane, claimed, before.as_ref()).await,
                Err(halt) => Err(halt),
            };
            match taken_back {
                Ok(message) if plane == own && !is_elsewhere => said.push(message),
                Ok(message) => said.push(format!("on data plane {plane}, {message}")),
                Err(halt) => result = and_then_on(result, halt),
            }
        }
        result.map(|()| said.join("; "))
    }

    /// Takes a target back on one data plane. Returns a sentence about what runs there now.
    async fn take_back_on(
        &self,
        plane: &DataPlaneId,
        claimed: &ClaimedDeployment,
        before: Option<&Before>,
    ) -> Result<String, Halt> {
        let backend = self.backend_of(plane, claimed)?;
        let (target, generation) = (&claimed.claim.target, claimed.claim.generation);
        let Some(before) = before.filter(|before| before.data_plane == *plane) else {
            let call = self.call(backend.take_back(target, generation, None));
            self.reach(plane, call).await?;
            return Ok(stopped(target, before));
        };
        let wanted = Wanted::of(&before.release);
        // Nothing is pulled, so a missing credential prevents nothing.
        let source = match self.source(target, &wanted).await {
            Ok(source) => Ok(source),
            Err(Halt::Failed(reason)) => Err(reason),
            Err(halt) => return Err(halt),
        };
        let pull = source.as_ref().map_or(Pull::AsBefore, Source::pull);
        let intent = Intent::new(target, generation, &before.release)
            .with_settings(&before.settings)
            .with_pull(pull);
        let call = self.call(backend.take_back(target, generation, Some(&intent)));
        self.reach(plane, call).await?;
        let number = before.release.number;
        let runs = format!("release {number}, which was ready before, runs");
        Ok(match source {
            Ok(_) => runs,
            // An apply of the failed deployment may have written the pull secret, and a backend does
            // not tell whether the pods have one.
            Err(reason) => format!(
                "{runs}, and a pull secret that it uses was not restored: {}; the pull secret may be \
                 missing or contain the credential of the failed deployment: correct the registry \
                 and deploy again",
                reason.message
            ),
        })
    }

    /// Returns the release that was ready last on the target.
    async fn ready_before(&self, claimed: &ClaimedDeployment) -> Result<Option<Before>, Halt> {
        let store = &self.parts.store;
        let target = &claimed.claim.target;
        let Some(ready) = store.target(target).await?.and_then(|state| state.ready) else {
            return Ok(None);
        };
        let deployment = store.deployment(&target.organization, &ready.deployment);
        let component = target.component_key();
        let release = store.release(&component, ready.release);
        let settings = store.settings(target, ready.settings_version);
        let (Some(deployment), Some(release), Some(settings)) =
            (deployment.await?, release.await?, settings.await?)
        else {
            let message = format!("release {}, which was ready, is not stored", ready.release);
            return Err(Halt::Failed(Reason::new(
                ReasonCode::InternalError,
                message,
            )));
        };
        // On other data planes, nothing was ready.
        let data_plane = deployment.data_plane;
        Ok(Some(Before {
            release,
            settings,
            data_plane,
        }))
    }
}

/// Returns the sentence about a data plane where no release was ready before.
fn stopped(target: &Target, elsewhere: Option<&Before>) -> String {
    match elsewhere {
        None => format!("no release of {target} was ready before, so its workload was stopped"),
        Some(before) => format!(
            "no release was ready before, so its workload was stopped; release {} \
             stays on data plane {}",
            before.release.number, before.data_plane
        ),
    }
}

/// Returns `true` if a deployment that ended left objects that never became ready, or `None` if it
/// changed nothing.
fn leaves(ended: &Deployment) -> Option<bool> {
    let has = |code| ended.reasons.iter().any(|reason| reason.code == code);
    match ended.phase {
        Phase::Ready => Some(false),
        // It may have begun, and the remaining objects are to be removed.
        _ if ended.subject == Subject::Absence => Some(true),
        Phase::Superseded if ended.release.is_some() => Some(true),
        _ if has(ReasonCode::TakenBack) => Some(false),
        _ if has(ReasonCode::NotTakenBack) => Some(true),
        _ => None,
    }
}

/// Returns `true` if a deployment that became ready had the time to leave its old places.
fn has_left(ready: &Deployment) -> bool {
    let mut reasons = ready.reasons.iter();
    !reasons.any(|reason| reason.code == ReasonCode::NewerDeployment)
}

/// Returns `true` if a deployment changes a data plane. A removal changes each data plane that the
/// target may be on.
fn is_about(deployment: &Deployment, plane: &DataPlaneId) -> bool {
    deployment.subject == Subject::Absence || deployment.data_plane == *plane
}

/// Adds to the reasons of a verdict that the deployment was taken back.
fn taken_back(reasons: Vec<Reason>, message: String) -> Vec<Reason> {
    with(reasons, Reason::new(ReasonCode::TakenBack, message))
}

/// Adds to the reasons of a verdict why the deployment is not taken back: yet, if there are retries
/// until a time, or ever.
pub(super) fn not_taken_back(
    reasons: Vec<Reason>,
    why: &Reason,
    retried_until: Option<Timestamp>,
) -> Vec<Reason> {
    let message = format!("its changes could not be taken back: {}", why.message);
    let next = match retried_until {
        Some(until) => retried(until),
        None => "deploy again or roll back: until then it may still become live".to_owned(),
    };
    let help = match &why.help {
        Some(help) => format!("{help}; {next}"),
        None => next,
    };
    let mut reason = Reason::new(ReasonCode::NotTakenBack, message).with_help(help);
    reason.evidence.clone_from(&why.evidence);
    with(reasons, reason)
}

/// Replaces the outcome of the last attempt to take a deployment back.
fn with(mut reasons: Vec<Reason>, last: Reason) -> Vec<Reason> {
    reasons.retain(|reason| reason.code != ReasonCode::NotTakenBack);
    reasons.push(last);
    reasons
}
