//! The work on deployments: claim, record, put back and finish.

use choreo_deploy::deployment::{Deployment, Phase};
use choreo_deploy::release::{DigestPin, Release, ReleaseDraft};
use choreo_deploy::store::{
    Claim, ClaimRequest, ClaimedDeployment, Lane, Outcome, Progress, ReadyState, StoreError,
    WorkStage,
};
use jiff::Timestamp;
use rusqlite::Connection;

use crate::error::Failure;
use crate::row::{Entry, count, nanoseconds};
use crate::signals::Change;
use crate::targets::Stored;
use crate::writer::Session;
use crate::{audit, deployments, due, releases, settings, targets};

/// Claims a target.
pub(crate) fn take(
    session: &Session<'_>,
    id: i64,
    request: &ClaimRequest,
) -> Result<ClaimedDeployment, Failure> {
    let mut claimed = load(session.connection(), id)?;
    claimed.claim.fence = lease(session, id, request)?;
    claimed.claims += 1;
    Ok(claimed)
}

fn lease(session: &Session<'_>, id: i64, request: &ClaimRequest) -> Result<u64, Failure> {
    let fence = session
        .prepare(
            "UPDATE targets SET lease_owner = ?2, due_at = ?3, fence = fence + 1, claims = claims + 1
             WHERE id = ?1 RETURNING fence",
        )?
        .query_row(
            (id, &request.worker, nanoseconds(request.lease_until)),
            |row| row.get(0),
        )?;
    Ok(count(fence))
}

/// Loads everything that a worker needs. The fence and the count are those of the previous claim.
fn load(connection: &Connection, id: i64) -> Result<ClaimedDeployment, Failure> {
    let mut statement = connection.prepare_cached("SELECT * FROM targets WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let entry = Entry::new(targets::TABLE, id.to_string(), row);
    let target = targets::read(row)?;
    let missing = |what: &str| entry.unreadable(format!("its {what} is missing"));

    let newest = &target.state.deployment;
    let (deployment, workload) =
        deployments::with_workload(connection, newest)?.ok_or_else(|| missing("deployment"))?;
    let version = deployment.settings_version;
    let settings = settings::one(connection, id, version)?.ok_or_else(|| missing("settings"))?;
    let component = &deployment.target.component_key();
    let release = match deployment.release {
        Some(number) => {
            Some(releases::one(connection, component, number)?.ok_or_else(|| missing("release"))?)
        }
        None => None,
    };
    let planes = target.state.planes;
    let claim = Claim::new(target.state.target, target.state.generation, target.fence);
    let mut claimed = ClaimedDeployment::new(claim, deployment, settings);
    (claimed.workload, claimed.release) = (workload, release);
    claimed.planes = planes;
    let stage = WorkStage::from_number(entry.get("applied")?);
    claimed.stage = stage.ok_or_else(|| entry.unreadable("its stage is not known"))?;
    claimed.attempt = entry.get("attempt")?;
    claimed.claims = entry.get("claims")?;
    Ok(claimed)
}

/// Returns the target and the deployment of a claim, or an error if the claim is no longer valid.
fn claimed(session: &Session<'_>, claim: &Claim) -> Result<(Stored, Deployment), Failure> {
    let target = targets::claimed(session, claim)?;
    let id = target.state.deployment.as_str();
    let deployment = deployments::one(session.connection(), id)?;
    let deployment = deployment.filter(|deployment| !deployment.phase.is_final());
    Ok((target, deployment.ok_or_else(StoreError::stale)?))
}

pub(crate) fn record_release(
    session: &mut Session<'_>,
    claim: &Claim,
    draft: ReleaseDraft,
    at: Timestamp,
) -> Result<Release, Failure> {
    let (target, mut deployment) = claimed(session, claim)?;
    let component = &claim.target.component_key();
    if let Some(number) = deployment.release
        && let Some(release) = releases::one(session.connection(), component, number)?
    {
        return Ok(release);
    }
    let release = releases::make(session, component, draft, at)?;
    deployment.release = Some(release.number);
    deployments::update(session, &mut deployment, at)?;
    let lane = due::number(Lane::Change);
    session.execute(
        "UPDATE targets SET lane = ?2 WHERE id = ?1",
        (target.id, lane),
    )?;
    Ok(release)
}

pub(crate) fn record_pin(
    session: &Session<'_>,
    claim: &Claim,
    pin: &DigestPin,
) -> Result<Release, Failure> {
    let (target, deployment) = claimed(session, claim)?;
    let number = deployment
        .release
        .ok_or_else(|| Failure::not_found("deployment has no release yet"))?;
    let component = &claim.target.component_key();
    let before = releases::one(session.connection(), component, number)?;
    if before.is_some_and(|release| release.image.pin.is_none()) {
        let (stage, lane) = (WorkStage::ToApply.as_number(), due::number(Lane::Change));
        session.execute(
            "UPDATE targets SET applied = ?2, lane = ?3 WHERE id = ?1",
            (target.id, stage, lane),
        )?;
    }
    releases::pin(session, component, number, pin)
}

pub(crate) fn put_back(
    session: &mut Session<'_>,
    claim: &Claim,
    progress: Progress,
) -> Result<(), Failure> {
    let (target, mut deployment) = claimed(session, claim)?;
    if progress.phase.is_final() {
        return Err(ends_not("progress", progress.phase, "finish it instead"));
    }
    let step = (progress.phase, progress.reasons);
    deployments::change(session, &mut deployment, step, progress.at)?;
    let lane = due::number(Lane::of_deployment(&deployment, progress.stage));
    session.execute(
        "UPDATE targets SET applied = ?2, attempt = ?3, lane = ?4 WHERE id = ?1",
        (
            target.id,
            progress.stage.as_number(),
            progress.attempt,
            lane,
        ),
    )?;
    targets::give_back(session, &target, Some(progress.next_attempt_at))?;
    if progress.stage == WorkStage::Leaving {
        targets::set_ready(session, &target, ReadyState::after(&deployment).as_ref())?;
    }
    session.changes(Change::Work);
    Ok(())
}

pub(crate) fn finish(
    session: &mut Session<'_>,
    claim: &Claim,
    outcome: Outcome,
) -> Result<Deployment, Failure> {
    let (target, mut deployment) = claimed(session, claim)?;
    if !outcome.phase.is_final() {
        return Err(ends_not(
            "outcome",
            outcome.phase,
            "put the claim back instead",
        ));
    }
    let end = (outcome.phase, outcome.reasons);
    deployments::change(session, &mut deployment, end, outcome.at)?;
    targets::give_back(session, &target, None)?;
    if deployment.phase == Phase::Ready {
        targets::leave(session, &target, &outcome.left)?;
        targets::set_ready(session, &target, ReadyState::after(&deployment).as_ref())?;
    }
    let worker = target.lease_owner.unwrap_or_default();
    audit::Entry::new(
        outcome.at,
        "deployment-finished",
        format!("deployment {}", deployment.id),
    )
    .by(&worker)
    .with(deployment.phase.as_str())
    .write(session)?;
    Ok(deployment)
}

fn ends_not(what: &str, phase: Phase, instead: &str) -> Failure {
    Failure::conflict(format!("{what} cannot be {phase}: {instead}"))
}
