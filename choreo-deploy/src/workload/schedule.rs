use serde::Serialize;

use super::{Cron, TimeZone};
use crate::code::codes;

/// When a Scheduled Task runs.
///
/// ```
/// use choreo_deploy::workload::{Concurrency, Schedule};
///
/// let schedule = Schedule::new("0 3 * * *".parse()?, "Europe/Berlin".parse()?);
/// assert_eq!(schedule.concurrency, Concurrency::Forbid);
/// # Ok::<(), choreo_deploy::workload::ParseScheduleError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Schedule {
    /// The times.
    pub cron: Cron,
    /// The zone that the times are in. Always said, never the cluster's own. `Etc/UTC` by default.
    pub time_zone: TimeZone,
    /// What happens when a run is due while another still runs. The new one is left out by default.
    pub concurrency: Concurrency,
    /// How many seconds late a run may still start. 300 by default, at least 10.
    pub starting_deadline_seconds: u32,
}

impl Schedule {
    /// A schedule in a zone, with every other default.
    #[must_use]
    pub fn new(cron: Cron, time_zone: TimeZone) -> Self {
        Self {
            cron,
            time_zone,
            concurrency: Concurrency::default(),
            starting_deadline_seconds: five_minutes(),
        }
    }
}

fn five_minutes() -> u32 {
    300
}

/// What happens when a run is due while another still runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Concurrency {
    /// Both run.
    Allow,
    /// The new one is left out.
    #[default]
    Forbid,
    /// The old one is stopped.
    Replace,
}

codes!(Concurrency, "concurrency", {
    Allow = "allow",
    Forbid = "forbid",
    Replace = "replace",
});

/// Why a schedule is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseScheduleError {
    /// One field of the expression is wrong.
    #[error(
        "schedule's {field} {text:?} is not valid: use {low} to {high}, a range, a list or '*/step'"
    )]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says.
        text: String,
        /// The least value of the field.
        low: u8,
        /// The largest value of the field.
        high: u8,
    },
    /// The expression has not five fields.
    #[error(
        "schedule {cron:?} has {count} fields: write five (minute hour day-of-month month day-of-week) or @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    Fields {
        /// The expression.
        cron: String,
        /// How many it has.
        count: usize,
    },
    /// The interval is none, or shorter than a second.
    #[error("schedule {0:?} is not an interval: write a second or more, such as @every 1h30m")]
    Interval(String),
    /// Not the name of a zone.
    #[error(
        "time zone {name:?} is not in the IANA database: {}",
        suggestion.map_or_else(
            || "use a name such as Etc/UTC or Europe/Berlin".to_owned(),
            |suggestion| format!("did you mean {suggestion:?}?"),
        )
    )]
    TimeZone {
        /// What was written instead.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The expression names a zone itself.
    #[error("schedule {0:?} names a time zone: put it in the time zone field instead")]
    ZoneInCron(String),
}
