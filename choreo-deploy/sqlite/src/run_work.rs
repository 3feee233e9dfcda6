//! The work on runs: claim, put back and finish.

use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::store::{
    ClaimRequest, ClaimedRun, Lane, RunClaim, RunOutcome, RunProgress, StoreError,
};
use jiff::Timestamp;
use rusqlite::Connection;

use crate::error::Failure;
use crate::row::{Entry, count, nanoseconds};
use crate::signals::Change;
use crate::writer::Session;
use crate::{audit, due, releases, runs, settings};

/// Claims a run.
pub(crate) fn take(
    session: &Session<'_>,
    seq: i64,
    request: &ClaimRequest,
) -> Result<ClaimedRun, Failure> {
    let mut claimed = load(session.connection(), seq)?;
    claimed.claim.fence = lease(session, seq, request)?;
    claimed.claims += 1;
    Ok(claimed)
}

fn lease(session: &Session<'_>, seq: i64, request: &ClaimRequest) -> Result<u64, Failure> {
    let fence = session
        .prepare(
            "UPDATE runs SET lease_owner = ?2, due_at = ?3, fence = fence + 1, claims = claims + 1,
                 cancel_unseen = 0
             WHERE seq = ?1 RETURNING fence",
        )?
        .query_row(
            (seq, &request.worker, nanoseconds(request.lease_until)),
            |row| row.get(0),
        )?;
    Ok(count(fence))
}

/// Loads everything that a worker needs. The fence and the count are those of the previous claim.
fn load(connection: &Connection, seq: i64) -> Result<ClaimedRun, Failure> {
    let mut statement = connection.prepare_cached("SELECT * FROM runs WHERE seq = ?1")?;
    let mut rows = statement.query([seq])?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let run = runs::read(row)?;
    let entry = Entry::new(runs::TABLE, run.id.as_str(), row);
    let missing = |what: &str| entry.unreadable(format!("its {what} is missing"));

    let (target, version): (i64, u64) = (entry.get("target")?, run.settings_version);
    let settings =
        settings::one(connection, target, version)?.ok_or_else(|| missing("settings"))?;
    let release = releases::one(connection, &run.target.component_key(), run.release)?
        .ok_or_else(|| missing("release"))?;
    let claim = RunClaim::new(run.id.clone(), entry.count("fence")?);
    let mut claimed = ClaimedRun::new(claim, run, release, settings);
    (claimed.started, claimed.attempt) = (entry.get("started")?, entry.get("attempt")?);
    claimed.claims = entry.get("claims")?;
    Ok(claimed)
}

/// A run with a valid claim, and the columns of the claim.
struct Held {
    run: Run,
    worker: String,
    cancel_unseen: bool,
}

fn claimed(session: &Session<'_>, claim: &RunClaim) -> Result<Held, Failure> {
    let mut statement = session.prepare("SELECT * FROM runs WHERE id = ?1")?;
    let mut rows = statement.query([claim.id.as_str()])?;
    let row = rows.next()?.ok_or_else(StoreError::stale)?;
    let entry = Entry::new(runs::TABLE, claim.id.as_str(), row);
    let worker: Option<String> = entry.get("lease_owner")?;
    let worker = worker.ok_or_else(StoreError::stale)?;
    let run = runs::read(row)?;
    if entry.count("fence")? != claim.fence || run.phase.is_final() {
        return Err(StoreError::stale().into());
    }
    Ok(Held {
        run,
        worker,
        cancel_unseen: entry.get("cancel_unseen")?,
    })
}

pub(crate) fn put_back(
    session: &mut Session<'_>,
    claim: &RunClaim,
    progress: RunProgress,
) -> Result<(), Failure> {
    let Held {
        mut run,
        cancel_unseen,
        ..
    } = claimed(session, claim)?;
    if progress.phase.is_final() {
        return Err(ends_not("progress", progress.phase, "finish it instead"));
    }
    if run.phase != progress.phase || run.reasons != progress.reasons {
        (run.phase, run.reasons) = (progress.phase, progress.reasons);
        runs::update(session, &mut run, progress.at)?;
    }
    // The worker that puts it back has not seen the request to cancel yet.
    let due_at = if cancel_unseen {
        progress.at.min(progress.next_attempt_at)
    } else {
        progress.next_attempt_at
    };
    let lane = due::number(Lane::of_run(progress.started, run.cancel_requested));
    session.execute(
        "UPDATE runs SET started = ?2, attempt = ?3, lane = ?4 WHERE id = ?1",
        (claim.id.as_str(), progress.started, progress.attempt, lane),
    )?;
    give_back(session, claim, Some(due_at))?;
    session.changes(Change::Work);
    Ok(())
}

pub(crate) fn finish(
    session: &mut Session<'_>,
    claim: &RunClaim,
    outcome: RunOutcome,
) -> Result<Run, Failure> {
    let Held {
        mut run, worker, ..
    } = claimed(session, claim)?;
    if !outcome.phase.is_final() {
        return Err(ends_not(
            "outcome",
            outcome.phase,
            "put the claim back instead",
        ));
    }
    (run.phase, run.exit_code, run.reasons) = (outcome.phase, outcome.exit_code, outcome.reasons);
    runs::update(session, &mut run, outcome.at)?;
    give_back(session, claim, None)?;
    audit::Entry::new(outcome.at, "run-finished", runs::subject(&run.id))
        .by(&worker)
        .with(run.phase.as_str())
        .write(session)?;
    Ok(run)
}

fn give_back(
    session: &Session<'_>,
    claim: &RunClaim,
    due_at: Option<Timestamp>,
) -> Result<(), Failure> {
    session.execute(
        "UPDATE runs SET lease_owner = NULL, due_at = ?2, claims = 0 WHERE id = ?1",
        (claim.id.as_str(), due_at.map(nanoseconds)),
    )?;
    Ok(())
}

fn ends_not(what: &str, phase: RunPhase, instead: &str) -> Failure {
    Failure::conflict(format!("{what} cannot be {phase}: {instead}"))
}
