//! Accepting a deployment: one transaction between a request and its answer.

use choreo_deploy::deployment::Cause;
use choreo_deploy::deployment::{Deployment, Generation, Hold, Phase, Subject};
use choreo_deploy::id::DeploymentId;
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::store::{AcceptError, Accepted, Lane, NewDeployment};
use rusqlite::named_params;

use crate::deployments::Decided;
use crate::error::Failure;
use crate::row::{nanoseconds, readable, stored};
use crate::signals::Change;
use crate::targets::Stored;
use crate::writer::Session;
use crate::{audit, deployments, due, idempotency, releases, settings, targets, tokens};

pub(crate) fn accept(session: &mut Session<'_>, new: &NewDeployment) -> Result<Accepted, Failure> {
    tokens::check(session, new)?;
    if let Some(replayed) = idempotency::replayed(session, new)? {
        return Ok(replayed);
    }
    let before = targets::find(session.connection(), &new.target)?;
    if let Some(hold) = before
        .as_ref()
        .and_then(|target| target.state.hold.as_ref())
        && new.cause.is_automatic()
    {
        return Err(AcceptError::Held(hold.clone()).into());
    }
    refuse_taken_id(session, &new.id)?;
    let release = named_release(session, new)?;
    let generation = targets::next_generation(session, before.as_ref())?;
    let target = point_at(session, new, generation)?;
    let settings_version = settings::choose(session, target, &new.settings)?;
    let superseded = match before {
        Some(before) => supersede(session, &before, new)?,
        None => None,
    };
    let decided = Decided {
        target,
        generation,
        settings_version,
        release,
    };
    let deployment = deployments::insert(session, new, decided)?;
    idempotency::remember(session, new)?;
    if new.hold {
        targets::hold(session, target, &Hold::new(new.id.clone(), new.accepted_at))?;
    }
    tell(session, &deployment, new, superseded.as_ref())?;
    session.changes(Change::Work);
    Ok(Accepted::new(deployment, superseded))
}

fn refuse_taken_id(session: &Session<'_>, id: &DeploymentId) -> Result<(), Failure> {
    let taken = session
        .prepare("SELECT 1 FROM deployments WHERE id = ?1")?
        .exists([id.as_str()])?;
    if taken {
        Err(Failure::conflict(format!("deployment id {id} is taken")))
    } else {
        Ok(())
    }
}

fn named_release(
    session: &Session<'_>,
    new: &NewDeployment,
) -> Result<Option<ReleaseNumber>, Failure> {
    let Subject::Release(number) = new.subject else {
        return Ok(None);
    };
    let release = releases::one(session.connection(), &new.target.component_key(), number)?
        .ok_or(AcceptError::ReleaseMissing(number))?;
    match release.image.pin {
        Some(_) => Ok(Some(number)),
        None => Err(AcceptError::ReleaseNotPinned(number).into()),
    }
}

/// Makes the deployment the newest of its target, due at once. Whoever works on the one before has
/// a claim on an older generation, and so a stale one; the fence stays.
fn point_at(
    session: &Session<'_>,
    new: &NewDeployment,
    generation: Generation,
) -> Result<i64, Failure> {
    let lane = match new.subject {
        Subject::Image(_) => Lane::Resolve,
        _ => Lane::Change,
    };
    let target = session
        .prepare(
            "INSERT INTO targets (component, environment, project, organization, deployment, epoch,
                 number, data_plane, due_at, lane, planes)
             VALUES (:component, :environment, :project, :organization, :deployment, :epoch,
                 :number, :data_plane, :due_at, :lane,
                 iif(:absence, '[]', json_array(:data_plane)))
             ON CONFLICT (component, environment, project, organization) DO UPDATE SET
                 deployment = excluded.deployment, epoch = excluded.epoch,
                 number = excluded.number, data_plane = excluded.data_plane,
                 due_at = excluded.due_at, lane = excluded.lane, applied = 0, attempt = 0,
                 claims = 0, lease_owner = NULL, unreadable = 0,
                 planes = iif(:absence OR :data_plane IN (SELECT value FROM json_each(planes)),
                     planes, json_insert(planes, '$[#]', :data_plane))
             RETURNING id",
        )?
        .query_row(
            named_params! {
                ":component": new.target.component.as_str(),
                ":environment": new.target.environment.as_str(),
                ":project": new.target.project.as_str(),
                ":organization": new.target.organization.as_str(),
                ":deployment": new.id.as_str(),
                ":epoch": stored(generation.epoch),
                ":number": stored(generation.number),
                ":data_plane": new.data_plane.as_str(),
                ":absence": new.subject == Subject::Absence,
                ":due_at": nanoseconds(new.accepted_at),
                ":lane": due::number(lane),
            },
            |row| row.get(0),
        )?;
    Ok(target)
}

/// Ends the deployment before, unless it has ended. One that cannot be read stays as it is.
fn supersede(
    session: &mut Session<'_>,
    before: &Stored,
    new: &NewDeployment,
) -> Result<Option<DeploymentId>, Failure> {
    let id = &before.state.deployment;
    let found = readable(deployments::one(session.connection(), id.as_str()))?.flatten();
    let Some(mut deployment) = found.filter(|found| !found.phase.is_final()) else {
        return Ok(None);
    };
    let message = format!("deployment {} took its place", new.id);
    let reasons = vec![Reason::new(ReasonCode::NewerDeployment, message)];
    let end = (Phase::Superseded, reasons);
    deployments::change(session, &mut deployment, end, new.accepted_at)?;
    audit::Entry::new(
        new.accepted_at,
        "deployment-superseded",
        format!("deployment {id}"),
    )
    .with(format!("by deployment {}", new.id))
    .write(session)?;
    Ok(Some(deployment.id))
}

fn tell(
    session: &Session<'_>,
    deployment: &Deployment,
    new: &NewDeployment,
    superseded: Option<&DeploymentId>,
) -> Result<(), Failure> {
    let actor = match &new.cause {
        Cause::Ci(token) => format!("token {token}"),
        cause => cause.to_string(),
    };
    let subject = format!("deployment {}", deployment.id);
    let mut detail = format!(
        "generation {} of {}",
        deployment.generation, deployment.target
    );
    if let Some(superseded) = superseded {
        detail.push_str(&format!(" in place of deployment {superseded}"));
    }
    audit::Entry::new(new.accepted_at, "deployment-accepted", subject)
        .by(&actor)
        .with(detail)
        .write(session)?;
    if new.hold {
        audit::Entry::new(
            new.accepted_at,
            "hold",
            format!("target {}", deployment.target),
        )
        .by(&actor)
        .with(format!("by deployment {}", deployment.id))
        .write(session)?;
    }
    Ok(())
}
