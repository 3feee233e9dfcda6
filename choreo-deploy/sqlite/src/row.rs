//! The conversion of columns, and the reading of rows that another version may have written.

use std::str::FromStr;

use choreo_deploy::store::Unreadable;
use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// The format of documents that this version writes.
pub(crate) const FORMAT: i64 = 1;

/// Returns a timestamp as it is stored: nanoseconds since 1970. Timestamps after 2262-04-11 are
/// stored as that day.
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    let bounded = at.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(bounded).expect("clamped to the range of an i64")
}

/// Returns the timestamp of a stored value.
pub(crate) fn moment(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("a timestamp reaches further than an i64")
}

/// Returns a count as it is stored.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns the count of a stored value.
pub(crate) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// Returns a document as it is stored.
pub(crate) fn json<T: Serialize + ?Sized>(document: &T) -> Result<String, Failure> {
    // The source error would quote the document.
    serde_json::to_string(document)
        .map_err(|_| Failure::conflict("document cannot be written as JSON"))
}

/// A row of a table with its key. Errors in its columns become [`Failure::Unreadable`].
pub(crate) struct Entry<'r> {
    table: &'static str,
    key: String,
    row: &'r Row<'r>,
}

impl<'r> Entry<'r> {
    pub(crate) fn new(table: &'static str, key: impl Into<String>, row: &'r Row<'r>) -> Self {
        Self {
            table,
            key: key.into(),
            row,
        }
    }

    /// Returns an error unless the row has the format that this version knows.
    pub(crate) fn in_format(self, known: i64) -> Result<Self, Failure> {
        let format: i64 = self.get("format")?;
        if format == known {
            Ok(self)
        } else {
            Err(self.unreadable(format!("format {format} is not known to this version")))
        }
    }

    pub(crate) fn get<T: FromSql>(&self, column: &str) -> Result<T, Failure> {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        self.row.get(column).map_err(|error| match error {
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..) => self.unreadable(format!("{column} is of another type")),
            other => other.into(),
        })
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, Failure> {
        let text: String = self.get(column)?;
        self.parsed_json(column, &text)
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(
        &self,
        column: &str,
    ) -> Result<Option<T>, Failure> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| self.parsed_json(column, &text)).transpose()
    }

    /// Reads an enum from its name.
    pub(crate) fn word<T: for<'de> Deserialize<'de>>(&self, column: &str) -> Result<T, Failure> {
        let text: String = self.get(column)?;
        let word: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
        T::deserialize(word).map_err(|_| self.unreadable(format!("{column} is not known")))
    }

    pub(crate) fn parsed<T: FromStr>(&self, column: &str) -> Result<T, Failure> {
        let text: String = self.get(column)?;
        text.parse()
            .map_err(|_| self.unreadable(format!("{column} is not valid")))
    }

    pub(crate) fn moment(&self, column: &str) -> Result<Timestamp, Failure> {
        self.get(column).map(moment)
    }

    pub(crate) fn count(&self, column: &str) -> Result<u64, Failure> {
        self.get(column).map(count)
    }

    pub(crate) fn unreadable(&self, why: impl Into<String>) -> Failure {
        Unreadable::new(self.table, self.key.as_str(), why).into()
    }

    /// Reports the position of an error in a document, but never its content: messages of
    /// serde_json quote values.
    fn parsed_json<T: DeserializeOwned>(&self, column: &str, text: &str) -> Result<T, Failure> {
        serde_json::from_str(text).map_err(|error| {
            let (line, at) = (error.line(), error.column());
            self.unreadable(match line {
                // The document is valid JSON with invalid values.
                0 => format!("{column} is not valid"),
                _ => format!("{column} is not valid at line {line} column {at}"),
            })
        })
    }
}

/// Returns `None` instead of an error for an unreadable row.
pub(crate) fn readable<T>(read: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Unreadable(row)) => {
            tracing::warn!(
                table = row.table,
                key = row.key,
                why = row.why,
                "row cannot be read"
            );
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_nanoseconds() {
        for text in [
            "2026-11-23T19:22:33.123456789Z",
            "1969-12-31T23:59:59.999999999Z",
        ] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(moment(nanoseconds(at)), at);
        }
    }

    #[test]
    fn moments_too_far_away_stay_in_order() {
        assert_eq!(nanoseconds(Timestamp::MAX), i64::MAX);
        assert_eq!(nanoseconds(Timestamp::MIN), i64::MIN);
    }
}
