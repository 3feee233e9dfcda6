//! The table of deployments.

use choreo_deploy::Target;
use choreo_deploy::deployment::{Cause, Deployment, Generation, Phase, Provenance, Subject};
use choreo_deploy::document::Stored;
use choreo_deploy::id::{DataPlaneId, DeploymentId};
use choreo_deploy::reason::Reason;
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::store::{DeploymentQuery, NewDeployment};
use choreo_deploy::workload::Workload;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, ToSql, named_params};
use serde::Serialize;

use crate::error::Failure;
use crate::row::{Entry, FORMAT, json, nanoseconds, readable, stored};
use crate::signals::Change;
use crate::workloads::Written;
use crate::writer::Session;
use crate::{targets, workloads};

pub(crate) const TABLE: &str = "deployments";

/// The default limit of a query.
const LIMIT: usize = 50;

/// The number of rows that one read of a longer list takes.
const PAGE: usize = 256;

/// The document of an accepted deployment, with the fields of [`Deployment`].
#[derive(Serialize)]
struct Document<'a> {
    id: &'a DeploymentId,
    target: &'a Target,
    data_plane: &'a DataPlaneId,
    generation: Generation,
    cause: &'a Cause,
    subject: &'a Subject,
    settings_version: u64,
    release: Option<ReleaseNumber>,
    phase: Phase,
    reasons: &'a [Reason],
    provenance: &'a Provenance,
    accepted_at: Timestamp,
    deadline_at: Timestamp,
    changed_at: Timestamp,
    revision: u64,
}

/// The values that the store assigns to a new deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub(crate) target: i64,
    pub(crate) generation: Generation,
    pub(crate) settings_version: u64,
    pub(crate) release: Option<ReleaseNumber>,
}

/// Stores a new deployment and returns it.
pub(crate) fn insert(
    session: &mut Session<'_>,
    (new, workload): (&NewDeployment, Option<&Written>),
    decided: Decided,
) -> Result<Deployment, Failure> {
    let workload = workload.map(|workload| workload.store(session));
    let workload = workload.transpose()?;
    let inserted = session.execute(
        "INSERT INTO deployments (id, target, component, organization, epoch, number,
             settings_version, phase, reasons, release, changed_at, revision, format, document,
             workload)
         VALUES (:id, :target, :component, :organization, :epoch, :number, :settings_version,
             :phase, '[]', :release, :changed_at, 1, :format, :document, :workload)
         ON CONFLICT (id) DO NOTHING",
        named_params! {
            ":id": new.id.as_str(),
            ":target": decided.target,
            ":component": new.target.component.as_str(),
            ":organization": new.target.organization.as_str(),
            ":epoch": stored(decided.generation.epoch),
            ":number": stored(decided.generation.number),
            ":settings_version": stored(decided.settings_version),
            ":phase": Phase::Accepted.as_str(),
            ":release": decided.release.map(|release| stored(release.get())),
            ":changed_at": nanoseconds(new.accepted_at),
            ":format": FORMAT,
            ":document": document(new, decided)?,
            ":workload": workload,
        },
    )?;
    if inserted == 0 {
        return Err(Failure::conflict(format!(
            "deployment id {} is taken",
            new.id
        )));
    }
    session.changes(Change::Deployment(new.id.clone()));
    let (generation, version) = (decided.generation, decided.settings_version);
    Ok(new.deployment(generation, version, decided.release))
}

fn document(new: &NewDeployment, decided: Decided) -> Result<String, Failure> {
    json(&Document {
        id: &new.id,
        target: &new.target,
        data_plane: &new.data_plane,
        generation: decided.generation,
        cause: &new.cause,
        subject: &new.subject,
        settings_version: decided.settings_version,
        release: decided.release,
        phase: Phase::Accepted,
        reasons: &[],
        provenance: &new.provenance,
        accepted_at: new.accepted_at,
        deadline_at: new.deadline_at,
        changed_at: new.accepted_at,
        revision: 1,
    })
}

/// Sets the phase and the reasons of a deployment. Writes nothing if they are the same, so that no
/// reader is woken without a change.
pub(crate) fn change(
    session: &mut Session<'_>,
    deployment: &mut Deployment,
    (phase, reasons): (Phase, Vec<Reason>),
    at: Timestamp,
) -> Result<(), Failure> {
    if deployment.phase == phase && deployment.reasons == reasons {
        return Ok(());
    }
    (deployment.phase, deployment.reasons) = (phase, reasons);
    update(session, deployment, at)
}

/// Writes the changes of a deployment with the next revision.
pub(crate) fn update(
    session: &mut Session<'_>,
    deployment: &mut Deployment,
    at: Timestamp,
) -> Result<(), Failure> {
    deployment.changed_at = at;
    deployment.revision += 1;
    session.execute(
        "UPDATE deployments SET phase = :phase, reasons = :reasons, release = :release,
             changed_at = :changed_at, revision = :revision
         WHERE id = :id",
        named_params! {
            ":id": deployment.id.as_str(),
            ":phase": deployment.phase.as_str(),
            ":reasons": json(&deployment.reasons)?,
            ":release": deployment.release.map(|release| stored(release.get())),
            ":changed_at": nanoseconds(at),
            ":revision": stored(deployment.revision),
        },
    )?;
    session.changes(Change::Deployment(deployment.id.clone()));
    Ok(())
}

pub(crate) fn one(connection: &Connection, id: &str) -> Result<Option<Deployment>, Failure> {
    let mut statement = connection.prepare_cached("SELECT * FROM deployments WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(read).transpose()
}

/// Returns a deployment that has not ended.
pub(crate) fn open(connection: &Connection, id: &str) -> Result<Option<Deployment>, Failure> {
    let mut statement = connection.prepare_cached("SELECT * FROM deployments WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    // Most deployments have ended, and their documents need not be read.
    match Entry::new(TABLE, id, row).word::<Phase>("phase") {
        Ok(phase) if phase.is_final() => Ok(None),
        _ => read(row).map(Some),
    }
}

/// Returns a deployment with its requested workload.
pub(crate) fn with_workload(
    connection: &Connection,
    id: &DeploymentId,
) -> Result<Option<(Deployment, Option<Workload>)>, Failure> {
    let sql = format!(
        "SELECT *, {} FROM deployments WHERE id = ?1",
        workloads::DOCUMENT
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let workload: Option<Stored<Workload>> =
        Entry::new(TABLE, id.as_str(), row).optional_json("workload_document")?;
    Ok(Some((
        read(row)?,
        workload.map(|Stored(workload)| workload),
    )))
}

/// Returns the limit of a query.
pub(crate) fn limit(query: &DeploymentQuery) -> usize {
    if query.limit == 0 { LIMIT } else { query.limit }
}

/// Returns at most `wanted` readable deployments of the next [`PAGE`] rows before a position in the
/// order of acceptance, newest first. Also returns the position to continue from, unless there are
/// no more rows.
pub(crate) fn page(
    connection: &Connection,
    query: &DeploymentQuery,
    wanted: usize,
    before: Option<i64>,
) -> Result<(Vec<Deployment>, Option<i64>), Failure> {
    let (sql, values) = select(query, before);
    let values: Vec<(&str, &dyn ToSql)> = values
        .iter()
        .map(|(name, value)| (*name, value as &dyn ToSql))
        .collect();
    // The statement has no LIMIT, because unreadable rows do not count.
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(values.as_slice())?;
    let (mut deployments, mut last) = (Vec::new(), before);
    for _ in 0..PAGE {
        if deployments.len() == wanted {
            break;
        }
        let Some(row) = rows.next()? else {
            return Ok((deployments, None));
        };
        last = Some(row.get("seq")?);
        deployments.extend(readable(read(row))?);
    }
    Ok((deployments, last))
}

/// Returns the statement of a query and its values. Only the conditions differ, so there are few
/// statements.
pub(crate) fn select(
    query: &DeploymentQuery,
    before: Option<i64>,
) -> (String, Vec<(&'static str, Value)>) {
    let text = |word: &str| Value::from(word.to_owned());
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    if let Some(target) = &query.target {
        let is_target = targets::IS_TARGET;
        conditions.push(format!(
            "target = (SELECT id FROM targets WHERE {is_target})"
        ));
        values.extend([
            (":component", text(target.component.as_str())),
            (":environment", text(target.environment.as_str())),
            (":project", text(target.project.as_str())),
            (":organization", text(target.organization.as_str())),
        ]);
    }
    if let Some(component) = &query.component {
        conditions.push("organization = :of_owner AND component = :of_component".to_owned());
        values.extend([
            (":of_owner", text(component.organization.as_str())),
            (":of_component", text(component.component.as_str())),
        ]);
    }
    if let Some(organization) = &query.organization {
        conditions.push("organization = :of_organization".to_owned());
        values.push((":of_organization", text(organization.as_str())));
    }
    // The deployments of a target are in the order of their generations: its index is the unique key.
    let (place, order) = match query.target {
        Some(_) => (
            "(epoch, number) < (SELECT +epoch, +number FROM deployments WHERE seq = :before)",
            "epoch DESC, number DESC",
        ),
        None => ("seq < :before", "seq DESC"),
    };
    if let Some(before) = before {
        conditions.push(place.to_owned());
        values.push((":before", before.into()));
    }
    if conditions.is_empty() {
        conditions.push("true".to_owned());
    }
    let conditions = conditions.join(" AND ");
    let sql = format!("SELECT * FROM deployments WHERE {conditions} ORDER BY {order}");
    (sql, values)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Deployment, Failure> {
    let entry = Entry::new(TABLE, row.get::<_, String>("id")?, row).in_format(FORMAT)?;
    let mut deployment: Deployment = entry.json("document")?;
    deployment.phase = entry.word("phase")?;
    deployment.reasons = entry.json("reasons")?;
    deployment.release = match entry.get::<Option<i64>>("release")? {
        Some(_) => ReleaseNumber::new(entry.count("release")?),
        None => None,
    };
    deployment.changed_at = entry.moment("changed_at")?;
    deployment.revision = entry.count("revision")?;
    Ok(deployment)
}

/// Reads all parts of a row, to find unreadable ones.
pub(crate) fn check(row: &Row<'_>) -> Result<(), Failure> {
    read(row)?;
    let entry = Entry::new(TABLE, row.get::<_, String>("id")?, row);
    entry
        .optional_json::<Stored<Workload>>("workload_document")
        .map(drop)
}
