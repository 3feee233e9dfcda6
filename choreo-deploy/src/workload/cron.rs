use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ParseScheduleError;

/// A cron expression with five fields: minute, hour, day of month, month, day of week; or `@hourly`
/// and the like; or an interval, `@every 1h30m`.
///
/// The grammar is that of Kubernetes' CronJob
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>), and
/// this type accepts what its API server accepts, with two exceptions. It rejects a field without
/// any value (`,`), which never matches, and an interval shorter than a second, which the API
/// server changes. It also rejects a time zone (`TZ=` and `CRON_TZ=`):
/// [`Schedule::time_zone`](super::Schedule) contains it.
///
/// ```
/// use choreo_deploy::workload::Cron;
///
/// assert_eq!("0  3 * * mon-fri".parse::<Cron>()?.as_str(), "0 3 * * mon-fri");
/// assert!("@every 1h30m".parse::<Cron>().is_ok());
///
/// let error = "0 24 * * *".parse::<Cron>().unwrap_err();
/// assert!(error.to_string().starts_with("schedule's hour \"24\" is not valid: use 0 to 23"));
/// # Ok::<(), choreo_deploy::workload::ParseScheduleError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron(String);

impl Cron {
    /// Returns the expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cron {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, ParseScheduleError> {
        let shown = || text.chars().take(64).collect();
        // Like the API server, it searches only for the letters.
        if text.contains("TZ") {
            return Err(ParseScheduleError::ZoneInCron(shown()));
        }
        if NICKNAMES.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        if let Some(interval) = text.strip_prefix("@every ") {
            return match nanoseconds(interval) {
                Some(SECOND..) => Ok(Self(text.to_owned())),
                _ => Err(ParseScheduleError::Interval(shown())),
            };
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(ParseScheduleError::Fields {
                cron: shown(),
                count: fields.len(),
            });
        }
        for (text, field) in fields.iter().zip(FIELDS) {
            if !field.takes(text) {
                return Err(ParseScheduleError::Field {
                    field: field.name,
                    text: text.chars().take(64).collect(),
                    low: *field.range.start(),
                    high: *field.range.end(),
                });
            }
        }
        Ok(Self(fields.join(" ")))
    }
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

struct Field {
    name: &'static str,
    range: RangeInclusive<u8>,
    /// Names for the numbers, beginning at the first of the range.
    names: &'static [&'static str],
}

impl Field {
    /// Returns `true` for a valid list of parts. The API server ignores empty parts; one must
    /// remain.
    fn takes(&self, text: &str) -> bool {
        let mut parts = text.split(',').filter(|part| !part.is_empty()).peekable();
        parts.peek().is_some() && parts.all(|part| self.takes_part(part))
    }

    /// Returns `true` for `*`, a value or a range, each with an optional step. A value with a step
    /// is the range from there to the end, and the text after `*-` is ignored.
    fn takes_part(&self, part: &str) -> bool {
        let (span, step) = part
            .split_once('/')
            .map_or((part, None), |(span, step)| (span, Some(step)));
        if step.is_some_and(|step| !matches!(number(step), Some(1..))) {
            return false;
        }
        let (low, high) = span
            .split_once('-')
            .map_or((span, None), |(low, high)| (low, Some(high)));
        if low == "*" || low == "?" {
            return true;
        }
        let low = self.value(low);
        let high = high.map_or(low, |high| self.value(high));
        matches!((low, high), (Some(low), Some(high)) if low <= high)
    }

    fn value(&self, text: &str) -> Option<u8> {
        let mut names = self.range.clone().zip(self.names);
        let named = names.find(|(_, name)| name.eq_ignore_ascii_case(text));
        named
            .map(|(value, _)| value)
            .or_else(|| number(text)?.try_into().ok())
            .filter(|value| self.range.contains(value))
    }
}

/// Reads a number like Go (<https://pkg.go.dev/strconv#Atoi>), except that it rejects negative
/// ones.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Reads a duration like Go (<https://pkg.go.dev/time#ParseDuration>): `1h30m`, `1.5h`. Returns
/// `None` if Go rejects it or it is negative.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total: u128 = 0;
    loop {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        // Go reads as many digits of a fraction as fit.
        let fraction = fraction.get(..18).unwrap_or(fraction);
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = u128::from(value(whole)?) * unit + u128::from(value(fraction)?) * unit / scale;
        total += part;
        if total > i64::MAX as u128 {
            return None;
        }
        if after.is_empty() {
            return u64::try_from(total).ok();
        }
        rest = after;
    }
}

/// Splits a text after its leading digits.
fn digits(text: &str) -> (&str, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.split_at(text.len() - rest.len())
}

fn value(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    }
}

const FIELDS: [Field; 5] = [
    field("minute", 0..=59, &[]),
    field("hour", 0..=23, &[]),
    field("day of month", 1..=31, &[]),
    field("month", 1..=12, &MONTHS),
    field("day of week", 0..=6, &DAYS),
];

const fn field(
    name: &'static str,
    range: RangeInclusive<u8>,
    names: &'static [&'static str],
) -> Field {
    Field { name, range, names }
}

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

const SECOND: u64 = 1_000_000_000;
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

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
            "@every 1.5h",
            "@every 1000ms",
            "0 0 31 12 ?",
            "5/15 * * * *",
            "+1,07, * * * *",
            "*-5 * * * *",
            "0 0 1 jan-MAR/2 *",
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
            (
                "@every 1d",
                "schedule \"@every 1d\" is not an interval: write a second or more, such as @every 1h30m",
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
            "-1 * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "* * 0 * *",
            "@reboot",
            "@hourly ",
            "@every",
            "@every ",
            "@every 0s",
            "@every 1",
            "@every h",
            "@every .s",
            "@every 500ms",
            "@every -1h",
            "@every 99999999999h",
            "@every 4294967295h4294967295h",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<Cron>();
            let _ = format!("@every {text}").parse::<Cron>();
        }
    }
}
