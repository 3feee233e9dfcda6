//! Repositories and tags, owned and borrowed.

use std::fmt;
use std::str::FromStr;

use super::error::{ParseReferenceError, Subject};
use super::{diagnose, scanner};
use crate::string_value::string_value;

/// A repository's name within its registry, such as `library/ubuntu`: the path, without a host.
///
/// Lower case, at most 255 bytes, components of letters and digits separated by `.`, `_`, `__` or
/// hyphens: the rule of <https://github.com/distribution/reference>.
///
/// ```
/// use choreo_registry::reference::Repository;
///
/// let repository: Repository = "acme/team/app".parse()?;
/// assert_eq!(repository.as_str(), "acme/team/app");
/// assert!("acme//app".parse::<Repository>().is_err());
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Repository(String);

impl Repository {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = ParseReferenceError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        RepositoryRef::parse(input).map(RepositoryRef::to_owned)
    }
}

string_value!(
    Repository,
    ParseReferenceError,
    "a repository name such as \"acme/app\""
);

/// A [`Repository`] borrowed from a string, most often from an image reference.
///
/// ```
/// use choreo_registry::{ImageReference, reference::RepositoryRef};
///
/// let image: ImageReference = "ghcr.io/acme/app:1".parse()?;
/// assert_eq!(image.repository().as_str(), "acme/app");
/// assert_eq!(image.repository(), RepositoryRef::parse("acme/app")?);
/// assert_eq!(image.repository().to_owned(), "acme/app".parse()?);
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepositoryRef<'a>(&'a str);

impl<'a> RepositoryRef<'a> {
    /// Validates a name without copying it.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a valid [`Repository`].
    pub fn parse(input: &'a str) -> Result<Self, ParseReferenceError> {
        if scanner::is_path(input.as_bytes()) {
            return Ok(Self(input));
        }
        let diagnosis = diagnose::path(input);
        Err(ParseReferenceError::new(
            Subject::Repository,
            input,
            diagnosis,
        ))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns a copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> Repository {
        Repository(self.0.to_owned())
    }

    pub(super) fn checked(path: &'a str) -> Self {
        Self(path)
    }
}

impl fmt::Display for RepositoryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl AsRef<str> for RepositoryRef<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// A tag, such as `1.26` or `latest`: at most 128 letters, digits, `_`, `.` and `-`, not beginning
/// with `.` or `-`.
///
/// The rule is that of the
/// [OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
///
/// ```
/// use choreo_registry::reference::Tag;
///
/// assert_eq!("v1.0_build".parse::<Tag>()?.as_str(), "v1.0_build");
/// assert_eq!(
///     "v1.0+build".parse::<Tag>().unwrap_err().to_string(),
///     "invalid tag \"v1.0+build\": tag may contain only letters, digits, '_', '.' and '-', \
///      found '+' at byte 4",
/// );
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(String);

impl Tag {
    /// Returns the tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ParseReferenceError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        TagRef::parse(input).map(TagRef::to_owned)
    }
}

string_value!(Tag, ParseReferenceError, "a tag such as \"1.26\"");

/// A [`Tag`] borrowed from a string, most often from an image reference.
///
/// ```
/// use choreo_registry::{ImageReference, reference::TagRef};
///
/// let image: ImageReference = "nginx:1.26".parse()?;
/// assert_eq!(image.tag().map(TagRef::as_str), Some("1.26"));
/// assert_eq!(image.tag(), Some(TagRef::parse("1.26")?));
/// assert_eq!(image.tag().map(TagRef::to_owned), Some("1.26".parse()?));
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TagRef<'a>(&'a str);

impl<'a> TagRef<'a> {
    /// Validates a tag without copying it.
    ///
    /// # Errors
    ///
    /// Returns an error if the tag is not a valid [`Tag`].
    pub fn parse(input: &'a str) -> Result<Self, ParseReferenceError> {
        if scanner::is_tag(input.as_bytes()) {
            return Ok(Self(input));
        }
        let diagnosis = diagnose::tag(input);
        Err(ParseReferenceError::new(Subject::Tag, input, diagnosis))
    }

    /// Returns the tag.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns a copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> Tag {
        Tag(self.0.to_owned())
    }

    pub(super) fn checked(tag: &'a str) -> Self {
        Self(tag)
    }
}

impl fmt::Display for TagRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl AsRef<str> for TagRef<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}
