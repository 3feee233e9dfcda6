//! Documents of users: JSON of workloads and settings. Reading reports every problem at once.
//!
//! [`Workload::from_json`](crate::Workload::from_json),
//! [`Settings::from_json`](crate::settings::Settings::from_json) and
//! [`RunOverrides::from_json`](crate::run::RunOverrides::from_json) report every problem with its
//! path. An unknown member is a problem, because a typo would otherwise select a default.
//! `Deserialize` of these types is equally strict, and puts all problems into one message.
//!
//! [`Stored`] reads stored documents. It ignores unknown members, so that a row of a later version
//! stays readable. It also rejects invalid values, except unknown time zones, which a later version
//! may know.
//!
//! `null` is equivalent to a missing member.

mod read;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::code::codes;

pub(crate) use self::read::{Fields, Node, Read, distance, instead, parse, read_by_parsing};

/// A problem of a document.
///
/// ```
/// use choreo_deploy::Workload;
/// use choreo_deploy::document::DocumentProblemCode;
///
/// let text = r#"{"type": "manual-task", "contianer": {"args": ["x"]}, "limits": {"retries": -1}}"#;
/// let problems = Workload::from_json(text).unwrap_err();
/// let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
/// assert_eq!(shown, [
///     "limits.retries: -1 is not valid: use a whole number from 0 to 255",
///     "contianer: is not known: did you mean \"container\"?",
/// ]);
/// assert_eq!(problems[1].code, DocumentProblemCode::UnknownMember);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentProblem {
    /// The path: the names of members joined by `.`, and positions in lists in brackets, such as
    /// `endpoints[0].port`. It is empty for the document itself.
    pub path: String,
    /// The kind of the problem.
    pub code: DocumentProblemCode,
    /// The problem and its solution, without the path.
    pub message: String,
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// The kind of a problem. It is stable, for programs.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum DocumentProblemCode {
    /// A member is a duplicate.
    DuplicateMember,
    /// A value of the right type is invalid.
    InvalidValue,
    /// A required member is missing.
    MissingMember,
    /// The text is not JSON.
    Syntax,
    /// The text is longer than [`LIMIT`].
    TooLarge,
    /// A member is unknown.
    UnknownMember,
    /// A value has another type.
    WrongType,
}

codes!(DocumentProblemCode, "code of a problem", {
    DuplicateMember = "duplicate-member",
    InvalidValue = "invalid-value",
    MissingMember = "missing-member",
    Syntax = "syntax",
    TooLarge = "too-large",
    UnknownMember = "unknown-member",
    WrongType = "wrong-type",
});

/// The maximum length of a document in bytes: 256 KiB. Kubernetes accepts objects of about 1.5 MiB,
/// including the fields that the cluster adds.
pub const LIMIT: usize = 256 << 10;

/// A stored document, read without its unknown members.
///
/// ```
/// use choreo_deploy::document::Stored;
/// use choreo_deploy::settings::Settings;
///
/// let row = r#"{"suspended": true, "of_a_later_version": 1}"#;
/// let Stored(settings) = serde_json::from_str::<Stored<Settings>>(row)?;
/// assert!(settings.suspended);
/// assert!(serde_json::from_str::<Settings>(row).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a wrapper")]
pub struct Stored<T>(pub T);

impl<'de, T: Document> Deserialize<'de> for Stored<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_with(deserializer, true).map(Self)
    }
}

/// A type whose documents are read with every problem at once. The trait is sealed.
#[expect(private_bounds, reason = "sealed")]
pub trait Document: Read + DeserializeOwned {}

/// Reads a document strictly. The error contains all problems.
pub(crate) fn deserialize<'de, T: Read, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    read_with(deserializer, false)
}

/// Reads a field of a record, for `#[serde(deserialize_with)]`.
pub(crate) fn stored<'de, T: Read, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read_with(deserializer, true)
}

fn read_with<'de, T: Read, D: Deserializer<'de>>(
    deserializer: D,
    is_lenient: bool,
) -> Result<T, D::Error> {
    let (value, noted) = tree::read(deserializer)?;
    read::read(value, noted, is_lenient).map_err(|problems| {
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        D::Error::custom(shown.join("; "))
    })
}

/// Implements `Deserialize` strictly by [`Read`].
macro_rules! deserialize_strictly {
    ($($type:ty),* $(,)?) => {
        $(
            impl<'de> serde::Deserialize<'de> for $type {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    crate::document::deserialize(deserializer)
                }
            }
        )*
    };
}

/// Implements the functions that read a document of a user.
macro_rules! document {
    ($type:ty) => {
        impl crate::document::Document for $type {}

        impl $type {
            /// Reads JSON strictly.
            ///
            /// # Errors
            ///
            /// Returns all problems with their paths: unknown, missing or duplicate members, values
            /// of a wrong type or that are invalid, and a text that is not JSON or is longer than
            /// [`LIMIT`](crate::document::LIMIT).
            pub fn from_json(text: &str) -> Result<Self, Vec<crate::document::DocumentProblem>> {
                crate::document::parse(text)
            }
        }
    };
}

pub(crate) use {deserialize_strictly, document};
