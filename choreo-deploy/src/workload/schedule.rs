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
    /// The cron expression.
    pub cron: Cron,
    /// The time zone of the expression. Always explicit, never the cluster's own. `Etc/UTC` by
    /// default.
    pub time_zone: TimeZone,
    /// The behavior if a run is due while another is still running. The new run is skipped by
    /// default.
    pub concurrency: Concurrency,
    /// The number of seconds by which a run may start late. 300 by default, at least 10.
    pub starting_deadline_seconds: u32,
}

impl Schedule {
    /// Creates a schedule in a time zone, with all other defaults.
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

/// The behavior if a run is due while another is still running.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Concurrency {
    /// Both run.
    Allow,
    /// The new run is skipped.
    #[default]
    Forbid,
    /// The old run is stopped.
    Replace,
}

codes!(Concurrency, "concurrency", {
    Allow = "allow",
    Forbid = "forbid",
    Replace = "replace",
});

/// Why a schedule is not valid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseScheduleError {
    /// A field of the expression is not valid.
    #[error(
        "schedule's {field} {text:?} is not valid: use {low} to {high}, a range, a list or '*/step'"
    )]
    Field {
        /// The name of the field.
        field: &'static str,
        /// The text of the field.
        text: String,
        /// The minimum of the field.
        low: u8,
        /// The maximum of the field.
        high: u8,
    },
    /// The expression does not have five fields.
    #[error(
        "schedule {cron:?} has {count} fields: write five (minute hour day-of-month month day-of-week) or @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    Fields {
        /// The expression.
        cron: String,
        /// The number of its fields.
        count: usize,
    },
    /// The interval is not valid, or is shorter than a second.
    #[error("schedule {0:?} is not an interval: write a second or more, such as @every 1h30m")]
    Interval(String),
    /// The text is not the name of a time zone.
    #[error(
        "time zone {name:?} is not in the IANA database: {}",
        suggestion.map_or_else(
            || "use a name such as Etc/UTC or Europe/Berlin".to_owned(),
            |suggestion| format!("did you mean {suggestion:?}?"),
        )
    )]
    TimeZone {
        /// The text.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The expression contains a time zone.
    #[error("schedule {0:?} names a time zone: put it in the time zone field instead")]
    ZoneInCron(String),
}
