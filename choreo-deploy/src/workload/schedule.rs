use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

impl Concurrency {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Forbid, Self::Replace];

    /// The way as documents have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Forbid => "forbid",
            Self::Replace => "replace",
        }
    }
}

/// Five fields of cron: minute, hour, day of month, month, day of week; or `@hourly` and the like; or
/// an interval, `@every 1h30m`.
///
/// The grammar is that of Kubernetes' CronJob
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>).
/// A zone is not written here (`TZ=` and `CRON_TZ=` are refused): [`Schedule::time_zone`] says it.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron(String);

impl Cron {
    /// The expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const FIELDS: [(&str, RangeInclusive<u8>); 5] = [
    ("minute", 0..=59),
    ("hour", 0..=23),
    ("day of month", 1..=31),
    ("month", 1..=12),
    ("day of week", 0..=6),
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const NICKNAMES: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

impl FromStr for Cron {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, ParseScheduleError> {
        let shown = || text.chars().take(64).collect();
        if text.contains("TZ=") {
            return Err(ParseScheduleError::ZoneInCron(shown()));
        }
        if NICKNAMES.contains(&text) || text.strip_prefix("@every ").is_some_and(is_duration) {
            return Ok(Self(text.to_owned()));
        }
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(ParseScheduleError::Fields {
                cron: shown(),
                count: fields.len(),
            });
        }
        for (field, (name, range)) in fields.iter().zip(FIELDS) {
            if !field.split(',').all(|part| is_part(part, name, &range)) {
                return Err(ParseScheduleError::Field {
                    field: name,
                    text: field.chars().take(64).collect(),
                    low: *range.start(),
                    high: *range.end(),
                });
            }
        }
        Ok(Self(fields.join(" ")))
    }
}

/// A duration as Go reads it, from whole hours, minutes and seconds: `1h30m`
/// (<https://pkg.go.dev/time#ParseDuration>). Fractions and smaller units are not taken: the
/// shortest interval is a second.
fn is_duration(text: &str) -> bool {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = rest.split_at(digits);
        let factor = match unit.as_bytes().first() {
            Some(b'h') => 3600,
            Some(b'm') if !unit.starts_with("ms") => 60,
            Some(b's') => 1,
            _ => return false,
        };
        let Ok(number) = number.parse::<u32>() else {
            return false;
        };
        seconds = seconds.saturating_add(u64::from(number) * factor);
        rest = &unit[1..];
    }
    // Go counts nanoseconds in 63 bits.
    (1..=9_000_000_000).contains(&seconds)
}

/// `*`, a value, a range, each with an optional step.
fn is_part(part: &str, field: &str, range: &RangeInclusive<u8>) -> bool {
    let (span, step) = part
        .split_once('/')
        .map_or((part, None), |(span, step)| (span, Some(step)));
    let step_fits = step.is_none_or(|step| matches!(number(step), Some(1..)));
    let value = |text: &str| value(text, field).filter(|value| range.contains(value));
    let span_fits = match span.split_once('-') {
        Some((low, high)) => {
            matches!((value(low), value(high)), (Some(low), Some(high)) if low <= high)
        }
        None => span == "*" || span == "?" || value(span).is_some(),
    };
    step_fits && span_fits
}

fn value(text: &str, field: &str) -> Option<u8> {
    let named = |names: &[&str]| {
        names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))
    };
    let position = match field {
        "month" => named(&MONTHS).map(|month| month + 1),
        "day of week" => named(&DAYS),
        _ => None,
    };
    position
        .and_then(|position| u8::try_from(position).ok())
        .or_else(|| number(text))
}

fn number(text: &str) -> Option<u8> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

impl TryFrom<String> for Cron {
    type Error = ParseScheduleError;

    fn try_from(text: String) -> Result<Self, ParseScheduleError> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.0
    }
}

impl AsRef<str> for Cron {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a time zone in the IANA database, such as `Europe/Berlin`.
///
/// The spelling is checked here; whether the data plane knows the zone shows when it is applied.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(String);

impl TimeZone {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self("Etc/UTC".to_owned())
    }
}

impl FromStr for TimeZone {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, ParseScheduleError> {
        let part = |part: &str| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
        };
        // "Local" is the cluster's own zone, which is what this type exists to avoid.
        if text.len() <= 64 && text.split('/').all(part) && !text.eq_ignore_ascii_case("local") {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseScheduleError::TimeZone(
                text.chars().take(64).collect(),
            ))
        }
    }
}

impl TryFrom<String> for TimeZone {
    type Error = ParseScheduleError;

    fn try_from(text: String) -> Result<Self, ParseScheduleError> {
        text.parse()
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.0
    }
}

impl AsRef<str> for TimeZone {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    /// Not the name of a zone.
    #[error("time zone {0:?} is not valid: use a name such as Etc/UTC or Europe/Berlin")]
    TimeZone(String),
    /// The expression names a zone itself.
    #[error("schedule {0:?} names a time zone: put it in the time zone field instead")]
    ZoneInCron(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_cron() {
        for good in [
            "* * * * *",
            "*/5 * * * *",
            "0 3 * * 1-5",
            "15,45 0-6/2 1 jan,JUL sun",
            "@daily",
            "@every 1h",
            "@every 1h30m10s",
            "0 0 31 12 ?",
        ] {
            assert!(good.parse::<Cron>().is_ok(), "{good}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_cron() {
        for (text, error) in [
            (
                "* * * *",
                "schedule \"* * * *\" has 4 fields: write five (minute hour day-of-month month day-of-week) or @hourly, @daily, @weekly, @monthly, @yearly",
            ),
            (
                "61 * * * *",
                "schedule's minute \"61\" is not valid: use 0 to 59, a range, a list or '*/step'",
            ),
            (
                "* * * * 7",
                "schedule's day of week \"7\" is not valid: use 0 to 6, a range, a list or '*/step'",
            ),
            (
                "CRON_TZ=UTC 0 3 * * *",
                "schedule \"CRON_TZ=UTC 0 3 * * *\" names a time zone: put it in the time zone field instead",
            ),
        ] {
            assert_eq!(text.parse::<Cron>().unwrap_err().to_string(), error);
        }
        for bad in [
            "",
            "5-1 * * * *",
            "*/0 * * * *",
            "1- * * * *",
            ", * * * *",
            "@reboot",
            "@every",
            "@every ",
            "@every 0s",
            "@every 1",
            "@every h",
            "@every 500ms",
            "@every -1h",
            "@every 99999999999h",
            "@every 4294967295h4294967295h",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_are_named() {
        for good in [
            "Etc/UTC",
            "UTC",
            "America/Argentina/Buenos_Aires",
            "Etc/GMT+5",
        ] {
            assert!(good.parse::<TimeZone>().is_ok(), "{good}");
        }
        for bad in ["", "Local", "local", "+01:00", "Europe/", "../etc/passwd"] {
            assert!(bad.parse::<TimeZone>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<Cron>();
            let _ = text.parse::<TimeZone>();
        }
    }
}
