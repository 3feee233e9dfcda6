//! The acceptance of a deployment: one transaction between a request and its response.

use choreo_deploy::deployment::Cause;
use choreo_deploy::deployment::{Deployment, Generation, Hold, Phase, Subject};
use choreo_deploy::id::DeploymentId;
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::store::{AcceptError, Accepted, Lane, NewDeployment};
use rusqlite::named_params;

use crate::deployments::Decided;
use crate::error::Failure;
use crate::row::{json, nanoseconds, readable, stored};
use crate::settings::Choice;
use crate::signals::Change;
use crate::targets::Before;
use crate::workloads::Written;
use crate::writer::Session;
use crate::{audit, deployments, due, idempotency, releases, targets, tokens};

/// A deployment to accept, with everything that can be serialized before the writer's thread.
#[derive(Debug)]
pub(crate) struct Acceptance {
    new: NewDeployment,
    workload: Option<Written>,
    settings: Choice,
}

impl Acceptance {
    pub(crate) fn of(new: NewDeployment) -> Result<Self, Failure> {
        let workload = new.workload.as_ref().map(Written::of).transpose()?;
        let settings = Choice::of(&new.settings)?;
        Ok(Self {
            new,
            workload,
            settings,
        })
    }
}

pub(crate) fn accept(
    session: &mut Session<'_>,
    Acceptance {
        new,
        workload,
        settings,
    }: &Acceptance,
) -> Result<Accepted, Failure> {
    tokens::check(session, new)?;
    if let Some(replayed) = idempotency::replayed(session, new)? {
        return Ok(replayed);
    }
    let before = targets::before(session.connection(), &new.target)?;
    if let Some(hold) = before.as_ref().and_then(|target| target.hold.as_ref())
        && new.cause.is_automatic()
    {
        return Err(AcceptError::Held(hold.clone()).into());
    }
    let release = named_release(session, new)?;
    settings.require(session, before.as_ref().map(|before| before.id))?;
    let generation = targets::next_generation(session.connection(), before.as_ref())?;
    let target = point_at(session, new, (generation, before.as_ref()))?;
    let settings_version = settings.make(session, target)?;
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
    let deployment = deployments::insert(session, (new, workload.as_ref()), decided)?;
    idempotency::remember(session, new)?;
    if new.hold {
        targets::hold(session, target, &Hold::new(new.id.clone(), new.accepted_at))?;
    }
    tell(session, &deployment, new, superseded.as_ref())?;
    session.changes(Change::Work);
    Ok(Accepted::new(deployment, superseded))
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

/// Makes the deployment the newest of its target, due immediately, with the next generation. A
/// worker on the previous deployment has a claim on an older generation, which is now stale. The
/// fence stays the same.
fn point_at(
    session: &Session<'_>,
    new: &NewDeployment,
    (generation, before): (Generation, Option<&Before>),
) -> Result<i64, Failure> {
    let lane = match new.subject {
        Subject::Image(_) => Lane::Resolve,
        _ => Lane::Change,
    };
    let mut planes = before.map(|before| before.planes.clone());
    let planes = planes.get_or_insert_default();
    if new.subject != Subject::Absence {
        planes.insert(new.data_plane.clone());
    }
    let (planes, due_at) = (json(planes)?, nanoseconds(new.accepted_at));
    // It also resets the work of the previous deployment, so that a worker starts from the beginning.
    if let Some(before) = before {
        session.execute(
            "UPDATE targets SET deployment = :deployment, epoch = :epoch, number = :number,
                 data_plane = :data_plane, due_at = :due_at, lane = :lane, applied = 0, attempt = 0,
                 claims = 0, lease_owner = NULL, unreadable = 0, planes = :planes
             WHERE id = :id",
            named_params! {
                ":id": before.id,
                ":deployment": new.id.as_str(),
                ":epoch": stored(generation.epoch),
                ":number": stored(generation.number),
                ":data_plane": new.data_plane.as_str(),
                ":due_at": due_at,
                ":lane": due::number(lane),
                ":planes": planes,
            },
        )?;
        return Ok(before.id);
    }
    session.execute(
        "INSERT INTO targets (component, environment, project, organization, deployment, epoch,
             number, data_plane, due_at, lane, planes)
         VALUES (:component, :environment, :project, :organization, :deployment, :epoch, :number,
             :data_plane, :due_at, :lane, :planes)",
        named_params! {
            ":component": new.target.component.as_str(),
            ":environment": new.target.environment.as_str(),
            ":project": new.target.project.as_str(),
            ":organization": new.target.organization.as_str(),
            ":deployment": new.id.as_str(),
            ":epoch": stored(generation.epoch),
            ":number": stored(generation.number),
            ":data_plane": new.data_plane.as_str(),
            ":due_at": due_at,
            ":lane": due::number(lane),
            ":planes": planes,
        },
    )?;
    Ok(session.connection().last_insert_rowid())
}

/// Ends the previous deployment unless it has ended, and returns its id if it is superseded. A
/// deployment that cannot be read stays unchanged.
fn supersede(
    session: &mut Session<'_>,
    before: &Before,
    new: &NewDeployment,
) -> Result<Option<DeploymentId>, Failure> {
    let id = &before.deployment;
    let open = readable(deployments::open(session.connection(), id.as_str()))?;
    let Some(mut deployment) = open.flatten() else {
        return Ok(None);
    };
    let outcome = new.outcome_of(&deployment, before.ready.as_ref());
    let phase = outcome.phase;
    let (action, detail) = match phase {
        Phase::Superseded => ("deployment-superseded", "by"),
        _ => ("deployment-finished", "ready before"),
    };
    let end = (phase, outcome.reasons);
    deployments::change(session, &mut deployment, end, outcome.at)?;
    audit::Entry::new(outcome.at, action, format!("deployment {id}"))
        .with(format!("{detail} deployment {}", new.id))
        .write(session)?;
    Ok((phase == Phase::Superseded).then_some(deployment.id))
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
