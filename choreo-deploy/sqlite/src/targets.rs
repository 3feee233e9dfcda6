//! The table of targets: one row per target with its desired state and its lease.

use std::collections::BTreeSet;

use choreo_deploy::Target;
use choreo_deploy::deployment::{Generation, Hold};
use choreo_deploy::id::{DataPlaneId, DeploymentId, OrganizationId};
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::store::{Claim, ReadyState, StoreError, TargetQuery, TargetState};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};

use crate::audit;
use crate::error::Failure;
use crate::row::{Entry, count, json, moment, nanoseconds, readable, stored};
use crate::signals::Change;
use crate::writer::Session;

pub(crate) const TABLE: &str = "targets";

/// The condition that selects a target.
pub(crate) const IS_TARGET: &str = "component = :component AND environment = :environment
    AND project = :project AND organization = :organization";

/// A stored target.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) state: TargetState,
    /// The fence, which increases with every claim.
    pub(crate) fence: u64,
    /// The worker with the lease.
    pub(crate) lease_owner: Option<String>,
}

pub(crate) fn find(connection: &Connection, target: &Target) -> Result<Option<Stored>, Failure> {
    let sql = format!("SELECT * FROM targets WHERE {IS_TARGET}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(named_params! {
        ":component": target.component.as_str(),
        ":environment": target.environment.as_str(),
        ":project": target.project.as_str(),
        ":organization": target.organization.as_str(),
    })?;
    rows.next()?.map(read).transpose()
}

pub(crate) fn read(row: &Row<'_>) -> Result<Stored, Failure> {
    let id: i64 = row.get("id")?;
    let entry = Entry::new(TABLE, id.to_string(), row);
    let target = Target::new(
        entry.parsed("organization")?,
        entry.parsed("project")?,
        entry.parsed("component")?,
        entry.parsed("environment")?,
    );
    let generation = Generation::new(entry.count("epoch")?, entry.count("number")?);
    let mut state = TargetState::new(target, generation, entry.parsed("deployment")?);
    if entry.get::<Option<String>>("ready_deployment")?.is_some() {
        state.ready = Some(ready(&entry)?);
    }
    state.hold = hold_of(&entry)?;
    state.planes = entry.json("planes")?;
    let (fence, lease_owner) = (entry.count("fence")?, entry.get("lease_owner")?);
    Ok(Stored {
        id,
        state,
        fence,
        lease_owner,
    })
}

fn ready(entry: &Entry<'_>) -> Result<ReadyState, Failure> {
    let generation = Generation::new(entry.count("ready_epoch")?, entry.count("ready_number")?);
    let release = ReleaseNumber::new(entry.count("ready_release")?)
        .ok_or_else(|| entry.unreadable("ready_release is 0"))?;
    let settings_version = entry.count("ready_settings_version")?;
    Ok(ReadyState::new(
        entry.parsed("ready_deployment")?,
        generation,
        release,
        settings_version,
    ))
}

/// The part of a target that an acceptance needs.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) id: i64,
    generation: Generation,
    /// The newest deployment.
    pub(crate) deployment: DeploymentId,
    /// The deployment of the ready state.
    pub(crate) ready: Option<DeploymentId>,
    pub(crate) hold: Option<Hold>,
    pub(crate) planes: BTreeSet<DataPlaneId>,
}

pub(crate) fn before(connection: &Connection, target: &Target) -> Result<Option<Before>, Failure> {
    let sql = format!(
        "SELECT id, epoch, number, deployment, ready_deployment, hold_by, hold_since, planes
         FROM targets WHERE {IS_TARGET}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(named_params! {
        ":component": target.component.as_str(),
        ":environment": target.environment.as_str(),
        ":project": target.project.as_str(),
        ":organization": target.organization.as_str(),
    })?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let id: i64 = row.get("id")?;
    let entry = Entry::new(TABLE, id.to_string(), row);
    let ready = match entry.get::<Option<String>>("ready_deployment")? {
        Some(_) => Some(entry.parsed("ready_deployment")?),
        None => None,
    };
    Ok(Some(Before {
        id,
        generation: Generation::new(entry.count("epoch")?, entry.count("number")?),
        deployment: entry.parsed("deployment")?,
        ready,
        hold: hold_of(&entry)?,
        planes: entry.json("planes")?,
    }))
}

/// The generation after every one that was given out for a target. Only the thread that writes gives
/// them out.
pub(crate) fn next_generation(
    connection: &Connection,
    before: Option<&Before>,
) -> Result<Generation, Failure> {
    let epoch: i64 = connection
        .prepare_cached("SELECT epoch FROM meta")?
        .query_row([], |row| row.get(0))?;
    let (known, number) = before.map_or((0, 0), |before| {
        (before.generation.epoch, before.generation.number)
    });
    Ok(Generation::new(known.max(count(epoch)), number + 1))
}

fn hold_of(entry: &Entry<'_>) -> Result<Option<Hold>, Failure> {
    if entry.get::<Option<String>>("hold_by")?.is_none() {
        return Ok(None);
    }
    let (by, since) = (entry.parsed("hold_by")?, entry.moment("hold_since")?);
    Ok(Some(Hold::new(by, since)))
}

/// Returns the target of a claim, or an error if the claim is no longer valid.
pub(crate) fn claimed(session: &Session<'_>, claim: &Claim) -> Result<Stored, Failure> {
    let target = find(session.connection(), &claim.target)?;
    let holds = |target: &Stored| {
        target.state.generation == claim.generation
            && target.fence == claim.fence
            && target.lease_owner.is_some()
    };
    Ok(target.filter(holds).ok_or_else(StoreError::stale)?)
}

pub(crate) fn renew(session: &Session<'_>, claim: &Claim, until: Timestamp) -> Result<(), Failure> {
    let target = claimed(session, claim)?;
    session.execute(
        "UPDATE targets SET due_at = ?2 WHERE id = ?1",
        (target.id, nanoseconds(until)),
    )?;
    Ok(())
}

/// Releases a claim. `None` means that the target is not due again.
pub(crate) fn give_back(
    session: &Session<'_>,
    target: &Stored,
    due_at: Option<Timestamp>,
) -> Result<(), Failure> {
    session.execute(
        "UPDATE targets SET lease_owner = NULL, due_at = ?2, claims = 0 WHERE id = ?1",
        (target.id, due_at.map(nanoseconds)),
    )?;
    Ok(())
}

/// Removes the data planes that a target has left.
pub(crate) fn leave(
    session: &Session<'_>,
    target: &Stored,
    left: &BTreeSet<DataPlaneId>,
) -> Result<(), Failure> {
    if left.is_empty() {
        return Ok(());
    }
    let planes = target.state.planes.difference(left);
    session.execute(
        "UPDATE targets SET planes = ?2 WHERE id = ?1",
        (target.id, json(&planes.collect::<Vec<_>>())?),
    )?;
    Ok(())
}

/// The maximum number of targets that one read of a list takes.
const PAGE: usize = 500;

/// The sort key of lists: organization, component, project and environment.
pub(crate) type Place = [String; 4];

/// Returns the position at which a query begins.
pub(crate) fn first(query: &TargetQuery) -> Place {
    match &query.after {
        Some(after) => [
            after.organization.to_string(),
            after.component.to_string(),
            after.project.to_string(),
            after.environment.to_string(),
        ],
        None => Place::default(),
    }
}

/// Returns at most `wanted` readable targets after a position. Also returns the position to
/// continue from, unless there are no more rows.
pub(crate) fn page(
    connection: &Connection,
    query: &TargetQuery,
    (after, wanted): (Place, usize),
) -> Result<(Vec<TargetState>, Option<Place>), Failure> {
    let sql = select(query);
    let component = query.component.as_ref();
    let (owner, component) = (
        component.map(|key| key.organization.as_str()),
        component.map(|key| key.component.as_str()),
    );
    let organization = query.organization.as_ref().map(OrganizationId::as_str);
    let limit = if wanted == 0 { PAGE } else { wanted.min(PAGE) };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(named_params! {
        ":organization": organization,
        ":owner": owner,
        ":component": component,
        ":o": after[0],
        ":c": after[1],
        ":p": after[2],
        ":e": after[3],
        ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
    })?;
    let (mut found, mut last, mut count) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        count += 1;
        last = Some([
            row.get("organization")?,
            row.get("component")?,
            row.get("project")?,
            row.get("environment")?,
        ]);
        found.extend(readable(read(row))?.map(|stored| stored.state));
    }
    Ok((found, last.filter(|_| count == limit)))
}

/// Returns the statement of a query. All statements take the same values. They compare the row
/// value of the position, so that a page starts in the index at its first row.
pub(crate) fn select(query: &TargetQuery) -> String {
    let of_organization = match query.organization {
        Some(_) => "organization = :organization",
        None => ":organization IS NULL",
    };
    let of_component = match query.component {
        Some(_) => "organization = :owner AND component = :component",
        None => ":owner IS NULL AND :component IS NULL",
    };
    let placed = match query.placed {
        true => "planes <> '[]'",
        false => "true",
    };
    format!(
        "SELECT * FROM targets
         WHERE {of_organization} AND {of_component} AND {placed}
             AND (organization, component, project, environment) > (:o, :c, :p, :e)
         ORDER BY organization, component, project, environment LIMIT :limit"
    )
}

/// Removes data planes from the places of a target. Returns `true` if it may have been on one.
pub(crate) fn forget_planes(
    session: &Session<'_>,
    target: &Target,
    planes: &BTreeSet<DataPlaneId>,
    at: Timestamp,
) -> Result<bool, Failure> {
    let Some(found) = find(session.connection(), target)? else {
        return Ok(false);
    };
    let gone: Vec<&str> = found
        .state
        .planes
        .intersection(planes)
        .map(DataPlaneId::as_str)
        .collect();
    if gone.is_empty() {
        return Ok(false);
    }
    leave(session, &found, planes)?;
    if gone.len() == found.state.planes.len() {
        set_ready(session, &found, None)?;
    }
    audit::Entry::new(at, "planes-forgotten", format!("target {target}"))
        .with(gone.join(", "))
        .write(session)?;
    Ok(true)
}

pub(crate) fn set_ready(
    session: &Session<'_>,
    target: &Stored,
    ready: Option<&ReadyState>,
) -> Result<(), Failure> {
    session.execute(
        "UPDATE targets SET ready_deployment = :deployment, ready_epoch = :epoch,
             ready_number = :number, ready_release = :release,
             ready_settings_version = :settings_version
         WHERE id = :id",
        named_params! {
            ":id": target.id,
            ":deployment": ready.map(|ready| ready.deployment.as_str()),
            ":epoch": ready.map(|ready| stored(ready.generation.epoch)),
            ":number": ready.map(|ready| stored(ready.generation.number)),
            ":release": ready.map(|ready| stored(ready.release.get())),
            ":settings_version": ready.map(|ready| stored(ready.settings_version)),
        },
    )?;
    Ok(())
}

pub(crate) fn hold(session: &Session<'_>, id: i64, hold: &Hold) -> Result<(), Failure> {
    session.execute(
        "UPDATE targets SET hold_by = ?2, hold_since = ?3 WHERE id = ?1",
        (id, hold.by.as_str(), nanoseconds(hold.since)),
    )?;
    Ok(())
}

pub(crate) fn release_hold(
    session: &Session<'_>,
    target: &Target,
    at: Timestamp,
) -> Result<bool, Failure> {
    let Some(found) = find(session.connection(), target)? else {
        return Ok(false);
    };
    let Some(hold) = found.state.hold else {
        return Ok(false);
    };
    session.execute(
        "UPDATE targets SET hold_by = NULL, hold_since = NULL WHERE id = ?1",
        [found.id],
    )?;
    audit::Entry::new(at, "hold-released", format!("target {target}"))
        .with(format!("held by deployment {}", hold.by))
        .write(session)?;
    Ok(true)
}

/// Raises the epoch to the Unix time in seconds, so that two restores of the same backup get
/// different epochs.
pub(crate) fn raise_epoch(session: &mut Session<'_>, at: Timestamp) -> Result<u64, Failure> {
    let now = at.as_second();
    let epoch: i64 = session
        .prepare("UPDATE meta SET epoch = max(epoch + 1, ?1) RETURNING epoch")?
        .query_row([now], |row| row.get(0))?;
    audit::Entry::new(at, "epoch-raised", format!("epoch {epoch}")).write(session)?;
    session.changes(Change::Work);
    Ok(count(epoch))
}

/// Each half reads the first entry of a partial index that contains only work.
pub(crate) const NEXT_DUE: &str = "SELECT min(due_at) FROM (
    SELECT min(due_at) AS due_at FROM targets WHERE due_at IS NOT NULL AND unreadable = 0
    UNION ALL
    SELECT min(due_at) FROM runs WHERE due_at IS NOT NULL AND unreadable = 0)";

/// Returns the time at which the next target or run is due.
pub(crate) fn next_due(connection: &Connection) -> Result<Option<Timestamp>, Failure> {
    let due: Option<i64> = connection
        .prepare_cached(NEXT_DUE)?
        .query_row([], |row| row.get(0))?;
    Ok(due.map(moment))
}
