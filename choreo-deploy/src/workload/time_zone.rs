mod names;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::names::NAMES;
use super::ParseScheduleError;
use crate::document::{Node, Read, distance};

/// The name of a time zone in the IANA database, such as `Europe/Berlin`.
///
/// Names are those of release 2025c, case-sensitive as in Kubernetes. A stored document may contain
/// a name of a later release: any well-formed name is accepted there, and the data plane decides.
///
/// ```
/// use choreo_deploy::workload::TimeZone;
///
/// assert_eq!("Europe/Berlin".parse::<TimeZone>()?.as_str(), "Europe/Berlin");
/// let error = "europe/berlin".parse::<TimeZone>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "time zone \"europe/berlin\" is not in the IANA database: did you mean \"Europe/Berlin\"?"
/// );
/// # Ok::<(), choreo_deploy::workload::ParseScheduleError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(String);

impl TimeZone {
    /// Returns the name.
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
        if NAMES.binary_search(&text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(ParseScheduleError::TimeZone {
            name: text.chars().take(64).collect(),
            suggestion: nearest(text),
        })
    }
}

impl Read for TimeZone {
    fn read(node: Node<'_>) -> Option<Self> {
        let text = node.text("the name of a time zone, such as \"Europe/Berlin\"")?;
        match text.parse() {
            Ok(zone) => Some(zone),
            Err(_) if node.is_stored() && is_spelled_well(text) => Some(Self(text.to_owned())),
            Err(error) => node.invalid(error.to_string()),
        }
    }
}

/// Returns `true` if a later release of the database could contain the name
/// (<https://data.iana.org/time-zones/theory.html#naming>).
fn is_spelled_well(text: &str) -> bool {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    // "Local" is the cluster's own zone, which this type exists to avoid.
    text.len() <= 64 && text.split('/').all(part) && !text.eq_ignore_ascii_case("local")
}

/// Returns the name that was probably meant: the same city, or one or two different letters.
fn nearest(text: &str) -> Option<&'static str> {
    let text: String = text.chars().take(64).collect::<String>().replace(' ', "_");
    let find = |is_meant: &dyn Fn(&str) -> bool| NAMES.iter().find(|name| is_meant(name)).copied();
    let near = || {
        let names = NAMES
            .iter()
            .filter(|name| name.len().abs_diff(text.len()) <= 2);
        let near = names
            .map(|name| (distance(&text, name), *name))
            .filter(|(distance, name)| *distance <= 2 && distance * 4 <= name.len());
        near.min().map(|(_, name)| name)
    };
    find(&|name| name.eq_ignore_ascii_case(&text))
        .or_else(|| find(&|name| city(name).eq_ignore_ascii_case(city(&text))))
        .or_else(near)
}

fn city(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Workload;
    use crate::document::Stored;

    #[test]
    fn names_are_sorted() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn zones_are_named() {
        for good in [
            "Etc/UTC",
            "UTC",
            "America/Argentina/Buenos_Aires",
            "Etc/GMT+5",
            "America/Coyhaique",
        ] {
            assert!(good.parse::<TimeZone>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "Local",
            "local",
            "+01:00",
            "Europe/",
            "../etc/passwd",
            "Mars/Base",
            "posix/UTC",
            "utc",
        ] {
            assert!(bad.parse::<TimeZone>().is_err(), "{bad}");
        }
    }

    #[test]
    fn says_which_name_was_meant() {
        for (text, suggestion) in [
            ("europe/berlin", Some("Europe/Berlin")),
            ("Berlin", Some("Europe/Berlin")),
            ("Germany/Berlin", Some("Europe/Berlin")),
            ("Europe/Belrin", Some("Europe/Berlin")),
            ("America/New York", Some("America/New_York")),
            ("utc", Some("UTC")),
            ("Mars/Base", None),
            ("Local", None),
            ("", None),
        ] {
            assert_eq!(nearest(text), suggestion, "{text}");
        }
        let error = "Mars/Base".parse::<TimeZone>().unwrap_err().to_string();
        assert_eq!(
            error,
            "time zone \"Mars/Base\" is not in the IANA database: use a name such as Etc/UTC or Europe/Berlin"
        );
    }

    /// A name stored by a newer version remains readable after a downgrade.
    #[test]
    fn a_stored_name_of_a_later_release_is_read() {
        let document = |zone: &str| {
            format!(
                r#"{{"type": "scheduled-task", "schedule": {{"cron": "@daily", "time_zone": {zone:?}}}}}"#
            )
        };
        let stored = |zone| serde_json::from_str::<Stored<Workload>>(&document(zone));
        assert!(stored("Mars/Olympus_Mons").is_ok());
        assert!(stored("Local").is_err());
        assert!(stored("../etc/passwd").is_err());
        let problems = Workload::from_json(&document("Mars/Olympus_Mons")).unwrap_err();
        assert_eq!(problems[0].path, "schedule.time_zone");
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<TimeZone>();
        }
    }
}
