//! The table of runs.

use choreo_deploy::Target;
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::{DataPlaneId, OrganizationId, RunId};
use choreo_deploy::reason::Reason;
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::run::{Run, RunOverrides, RunPhase};
use choreo_deploy::store::{AcceptError, NewRun, ReadyState};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use serde::Serialize;

use crate::error::Failure;
use crate::row::{Entry, FORMAT, json, nanoseconds, readable, stored};
use crate::signals::Change;
use crate::writer::Session;
use crate::{audit, targets};

pub(crate) const TABLE: &str = "runs";

/// The document of an accepted run, with the fields of [`Run`].
#[derive(Serialize)]
struct Document<'a> {
    id: &'a RunId,
    target: &'a Target,
    data_plane: &'a DataPlaneId,
    generation: Generation,
    release: ReleaseNumber,
    settings_version: u64,
    overrides: &'a RunOverrides,
    phase: RunPhase,
    exit_code: Option<i32>,
    reasons: &'a [Reason],
    accepted_at: Timestamp,
    deadline_at: Timestamp,
    cancel_requested: bool,
    changed_at: Timestamp,
    revision: u64,
}

impl<'a> Document<'a> {
    fn new(new: &'a NewRun, ready: &ReadyState) -> Self {
        Self {
            id: &new.id,
            target: &new.target,
            data_plane: &new.data_plane,
            generation: ready.generation,
            release: ready.release,
            settings_version: ready.settings_version,
            overrides: &new.overrides,
            phase: RunPhase::Pending,
            exit_code: None,
            reasons: &[],
            accepted_at: new.accepted_at,
            deadline_at: new.deadline_at,
            cancel_requested: false,
            changed_at: new.accepted_at,
            revision: 1,
        }
    }
}

pub(crate) fn accept(session: &mut Session<'_>, new: &NewRun) -> Result<Run, Failure> {
    let target = targets::find(session.connection(), &new.target)?;
    let ready = target.and_then(|target| Some((target.id, target.state.ready?)));
    let (target, ready) = ready.ok_or(AcceptError::NothingReady)?;
    if session
        .prepare("SELECT 1 FROM runs WHERE id = ?1")?
        .exists([new.id.as_str()])?
    {
        return Err(Failure::conflict(format!("run id {} is taken", new.id)));
    }
    session.execute(
        "INSERT INTO runs (id, target, organization, data_plane, phase, reasons, changed_at,
             revision, due_at, format, document)
         VALUES (:id, :target, :organization, :data_plane, :phase, '[]', :at, 1, :at, :format,
             :document)",
        named_params! {
            ":id": new.id.as_str(),
            ":target": target,
            ":organization": new.target.organization.as_str(),
            ":data_plane": new.data_plane.as_str(),
            ":phase": RunPhase::Pending.as_str(),
            ":at": nanoseconds(new.accepted_at),
            ":format": FORMAT,
            ":document": json(&Document::new(new, &ready))?,
        },
    )?;
    audit::Entry::new(new.accepted_at, "run-accepted", subject(&new.id))
        .with(format!("release {} on {}", ready.release, new.target))
        .write(session)?;
    session.changes(Change::Work);
    existing(session, &new.id)
}

/// Writes the changes of a run with the next revision.
pub(crate) fn update(
    session: &mut Session<'_>,
    run: &mut Run,
    at: Timestamp,
) -> Result<(), Failure> {
    run.changed_at = at;
    run.revision += 1;
    session.execute(
        "UPDATE runs SET phase = :phase, exit_code = :exit_code, reasons = :reasons,
             cancel_requested = :cancel_requested, changed_at = :changed_at, revision = :revision
         WHERE id = :id",
        named_params! {
            ":id": run.id.as_str(),
            ":phase": run.phase.as_str(),
            ":exit_code": run.exit_code,
            ":reasons": json(&run.reasons)?,
            ":cancel_requested": run.cancel_requested,
            ":changed_at": nanoseconds(at),
            ":revision": stored(run.revision),
        },
    )?;
    session.changes(Change::Run(run.id.clone()));
    Ok(())
}

/// Requests the cancellation of a run. A worker sees the request with the next claim, which is due
/// immediately.
pub(crate) fn request_cancel(
    session: &mut Session<'_>,
    organization: &OrganizationId,
    id: &RunId,
    at: Timestamp,
) -> Result<Run, Failure> {
    let run = one(session.connection(), id)?;
    let mut run = run
        .filter(|run| run.target.organization == *organization)
        .ok_or_else(|| missing(id))?;
    if run.phase.is_final() || run.cancel_requested {
        return Ok(run);
    }
    run.cancel_requested = true;
    update(session, &mut run, at)?;
    // While a worker has a lease, `due_at` is the end of the lease and stays unchanged.
    session.execute(
        "UPDATE runs SET cancel_unseen = 1, lane = 1,
             due_at = CASE WHEN lease_owner IS NULL THEN min(due_at, ?2) ELSE due_at END
         WHERE id = ?1",
        (id.as_str(), nanoseconds(at)),
    )?;
    audit::Entry::new(at, "run-cancel-requested", subject(id)).write(session)?;
    session.changes(Change::Work);
    Ok(run)
}

pub(crate) fn one(connection: &Connection, id: &RunId) -> Result<Option<Run>, Failure> {
    let mut statement = connection.prepare_cached("SELECT * FROM runs WHERE id = ?1")?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(read).transpose()
}

/// Returns the newest runs of a target, newest first.
pub(crate) fn newest(
    connection: &Connection,
    target: &Target,
    limit: usize,
) -> Result<Vec<Run>, Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT * FROM runs WHERE target = (SELECT id FROM targets WHERE {})
         ORDER BY seq DESC",
        targets::IS_TARGET
    ))?;
    let mut rows = statement.query(named_params! {
        ":component": target.component.as_str(),
        ":environment": target.environment.as_str(),
        ":project": target.project.as_str(),
        ":organization": target.organization.as_str(),
    })?;
    let mut runs = Vec::new();
    while runs.len() < limit
        && let Some(row) = rows.next()?
    {
        runs.extend(readable(read(row))?);
    }
    Ok(runs)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Run, Failure> {
    let entry = Entry::new(TABLE, row.get::<_, String>("id")?, row).in_format(FORMAT)?;
    let mut run: Run = entry.json("document")?;
    run.phase = entry.word("phase")?;
    run.exit_code = entry.get("exit_code")?;
    run.reasons = entry.json("reasons")?;
    run.cancel_requested = entry.get("cancel_requested")?;
    run.changed_at = entry.moment("changed_at")?;
    run.revision = entry.count("revision")?;
    Ok(run)
}

pub(crate) fn subject(id: &RunId) -> String {
    format!("run {id}")
}

fn existing(session: &Session<'_>, id: &RunId) -> Result<Run, Failure> {
    one(session.connection(), id)?.ok_or_else(|| missing(id))
}

fn missing(id: &RunId) -> Failure {
    Failure::not_found(format!("run {id} does not exist"))
}
