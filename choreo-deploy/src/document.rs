//! Documents that people write: JSON of workloads and settings, read with every problem at once.
//!
//! [`Workload::from_json`](crate::Workload::from_json),
//! [`Settings::from_json`](crate::settings::Settings::from_json) and
//! [`RunOverrides::from_json`](crate::run::RunOverrides::from_json) say everything that is wrong,
//! each problem with its path. A member that is not known is a problem: a typo would otherwise be a
//! default. `Deserialize` of these types is as strict, and puts all problems into one message.
//!
//! What is stored is read by [`Stored`], which leaves out members that it does not know, so that a
//! row of a later version stays readable. Values that are wrong are refused there too, except time
//! zones: a later version may know more.
//!
//! `null` means the same as a member that is missing.

mod read;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::code::codes;

pub(crate) use self::read::{Fields, Node, Read, distance, instead, parse, read_by_parsing};

/// One thing that is wrong in a document.
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
    /// Where: the names of members joined by `.`, and positions in lists in brackets, such as
    /// `endpoints[0].port`. Empty for the document itself.
    pub path: String,
    /// What kind of problem.
    pub code: DocumentProblemCode,
    /// What is wrong and what to write instead, without the path.
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

/// What kind of problem a document has: stable, for machines.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum DocumentProblemCode {
    /// A member is a duplicate.
    DuplicateMember,
    /// A value of the right type is not valid.
    InvalidValue,
    /// A member that must be there is not.
    MissingMember,
    /// The text is no JSON.
    Syntax,
    /// The text is longer than [`LIMIT`].
    TooLarge,
    /// A member is not known.
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

/// The longest document, in bytes: 256 KiB. Kubernetes takes objects of about 1.5 MiB, with what the
/// cluster adds.
pub const LIMIT: usize = 256 << 10;

/// A document as it was stored: members that are not known are left out.
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

/// A type that is read with every problem at once. Sealed: all are in this crate.
#[expect(private_bounds, reason = "sealed")]
pub trait Document: Read + DeserializeOwned {}

/// Reads strictly, with all problems in one message.
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

/// `Deserialize` by [`Read`], strictly.
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

/// The ways into a document that people write.
macro_rules! document {
    ($type:ty) => {
        impl crate::document::Document for $type {}

        impl $type {
            /// Reads JSON, strictly.
            ///
            /// # Errors
            ///
            /// Everything that is wrong, each with its path: members that are not known, missing or
            /// duplicate, values of a wrong type or that are not valid, a text that is no JSON or
            /// longer than [`LIMIT`](crate::document::LIMIT).
            pub fn from_json(text: &str) -> Result<Self, Vec<crate::document::DocumentProblem>> {
                crate::document::parse(text)
            }
        }
    };
}

pub(crate) use {deserialize_strictly, document};
