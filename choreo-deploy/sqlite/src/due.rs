//! The choice of the work that is due.

use choreo_deploy::store::{Choice, ClaimRequest, Claimed, ClaimedWork, Lane, WorkGroup};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Failure;
use crate::row::{moment, nanoseconds, readable};
use crate::writer::Session;
use crate::{run_work, work};

/// The tables with work, in the order in which they are read.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Deployments,
    Runs,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Deployments, Self::Runs];

    fn queries(self) -> &'static Queries {
        match self {
            Self::Deployments => &TARGETS,
            Self::Runs => &RUNS,
        }
    }
}

/// The statements for a table. They use partial indexes that contain only work, so their cost does
/// not grow with history; `INDEXED BY` makes SQLite fail rather than scan the table.
#[derive(Debug)]
pub(crate) struct Queries {
    /// Returns the next group and the due time of its first entry. The comparison of a row value
    /// jumps to it in the index, so the entries between are not read.
    pub(crate) group: &'static str,
    /// Returns the first entry of a group.
    pub(crate) first: &'static str,
    /// Makes entries due now that are due later than the horizon. It keeps at most one claim in the
    /// count, because the worker of that claim may be alive.
    pub(crate) forward: &'static str,
    pass_over: &'static str,
}

pub(crate) const TARGETS: Queries = Queries {
    group: "SELECT organization, lane, data_plane, due_at FROM targets INDEXED BY targets_work
        WHERE due_at IS NOT NULL AND unreadable = 0
          AND (organization, lane, data_plane) > (?1, ?2, ?3)
        ORDER BY organization, lane, data_plane, due_at LIMIT 1",
    first: "SELECT id, due_at FROM targets INDEXED BY targets_work
        WHERE due_at IS NOT NULL AND unreadable = 0
          AND organization = ?1 AND lane = ?2 AND data_plane = ?3
        ORDER BY due_at LIMIT 1",
    forward: "UPDATE targets INDEXED BY targets_due SET due_at = ?1, claims = MIN(claims, 1)
        WHERE due_at IS NOT NULL AND unreadable = 0 AND due_at > ?2",
    // Otherwise the entry would stay the first one. It waits until the database is opened again.
    pass_over: "UPDATE targets SET unreadable = 1 WHERE id = ?1",
};

pub(crate) const RUNS: Queries = Queries {
    group: "SELECT organization, lane, data_plane, due_at FROM runs INDEXED BY runs_work
        WHERE due_at IS NOT NULL AND unreadable = 0
          AND (organization, lane, data_plane) > (?1, ?2, ?3)
        ORDER BY organization, lane, data_plane, due_at LIMIT 1",
    first: "SELECT seq, due_at FROM runs INDEXED BY runs_work
        WHERE due_at IS NOT NULL AND unreadable = 0
          AND organization = ?1 AND lane = ?2 AND data_plane = ?3
        ORDER BY due_at LIMIT 1",
    forward: "UPDATE runs INDEXED BY runs_due SET due_at = ?1, claims = MIN(claims, 1)
        WHERE due_at IS NOT NULL AND unreadable = 0 AND due_at > ?2",
    pass_over: "UPDATE runs SET unreadable = 1 WHERE seq = ?1",
};

pub(crate) fn claim(session: &Session<'_>, request: &ClaimRequest) -> Result<Claimed, Failure> {
    let mut kinds = Vec::new();
    let mut groups = Vec::new();
    for kind in Kind::ALL {
        let (now, horizon) = (nanoseconds(request.now), nanoseconds(request.horizon));
        session.execute(kind.queries().forward, (now, horizon))?;
        let found = all(session.connection(), kind)?;
        kinds.resize(kinds.len() + found.len(), kind);
        groups.extend(found);
    }
    let names = groups.clone();
    let mut choice = Choice::new(request, groups);
    let mut claimed = Vec::new();
    while let Some(index) = choice.choose() {
        let (kind, group) = (kinds[index], &names[index]);
        let Some((row, _)) = first(session.connection(), kind, group)? else {
            choice.passed_over(index, None);
            continue;
        };
        let work = take(session, kind, row, request)?;
        let next = first(session.connection(), kind, group)?.map(|(_, due_at)| due_at);
        match work {
            Some(work) => {
                claimed.push(work);
                choice.took(index, next);
            }
            None => choice.passed_over(index, next),
        }
    }
    Ok(Claimed::new(claimed, choice.next_due()))
}

/// Claims a row, or marks it as unreadable.
fn take(
    session: &Session<'_>,
    kind: Kind,
    row: i64,
    request: &ClaimRequest,
) -> Result<Option<ClaimedWork>, Failure> {
    let taken = match kind {
        Kind::Deployments => readable(work::take(session, row, request))?
            .map(|claimed| ClaimedWork::Deployment(Box::new(claimed))),
        Kind::Runs => readable(run_work::take(session, row, request))?
            .map(|claimed| ClaimedWork::Run(Box::new(claimed))),
    };
    if taken.is_none() {
        session.execute(kind.queries().pass_over, [row])?;
    }
    Ok(taken)
}

/// Returns all groups, each found from the previous one.
fn all(connection: &Connection, kind: Kind) -> Result<Vec<WorkGroup>, Failure> {
    let mut statement = connection.prepare_cached(kind.queries().group)?;
    let mut after = (String::new(), -1, String::new());
    let mut groups = Vec::new();
    loop {
        let next = statement
            .query_row((&after.0, after.1, &after.2), |row| {
                let key = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((key, row.get::<_, i64>(3)?))
            })
            .optional()?;
        let Some((key, due_at)) = next else {
            return Ok(groups);
        };
        after = key;
        // Rows with an id that this version cannot parse wait for a version that can.
        if let (Ok(organization), Some(lane), Ok(data_plane)) =
            (after.0.parse(), lane(after.1), after.2.parse())
        {
            let place = (data_plane, lane);
            groups.push(WorkGroup::new(organization, place, moment(due_at)));
        }
    }
}

fn first(
    connection: &Connection,
    kind: Kind,
    group: &WorkGroup,
) -> Result<Option<(i64, Timestamp)>, Failure> {
    let key = (
        group.organization.as_str(),
        number(group.lane),
        group.data_plane.as_str(),
    );
    Ok(connection
        .prepare_cached(kind.queries().first)?
        .query_row(key, |row| Ok((row.get(0)?, moment(row.get(1)?))))
        .optional()?)
}

/// Returns the stored number of a lane.
pub(crate) fn number(lane: Lane) -> i64 {
    match lane {
        Lane::Resolve => 0,
        Lane::Look => 2,
        _ => 1,
    }
}

fn lane(number: i64) -> Option<Lane> {
    Lane::ALL
        .into_iter()
        .find(|lane| self::number(*lane) == number)
}
