//! Image references that are borrowed from a longer text.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::error::{ParseReferenceError, Subject};
use super::name::TagRef;
use super::scanner::{self, HUB, Implied, LIBRARY, Parts};
use super::{ImageReference, diagnose};
use crate::digest::DigestRef;

/// An [`ImageReference`] borrowed from a string: parsing does not allocate.
///
/// Normalisation only adds a prefix (`docker.io/`, `library/`) or replaces the host
/// `index.docker.io`. So a normalised reference is a constant and a slice of the input, and the two
/// are joined only when they are written.
///
/// ```
/// use choreo_registry::reference::{ImageReferenceRef, TagRef};
///
/// let image = ImageReferenceRef::parse("nginx:1.26")?;
/// assert_eq!(image.to_string(), "docker.io/library/nginx:1.26");
/// assert_eq!(image.domain(), "docker.io");
/// assert_eq!(image.repository(), "library/nginx");
/// assert_eq!(image.name(), "docker.io/library/nginx");
/// assert_eq!(image.tag().map(TagRef::as_str), Some("1.26"));
/// assert_eq!(image.digest(), None);
/// assert_eq!(image.familiar(), "nginx:1.26");
/// assert!(!image.is_normalized());
/// assert_eq!(image.to_owned(), "nginx:1.26".parse()?);
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
///
/// Two references are equal if their normalised forms are.
#[derive(Clone, Copy)]
pub struct ImageReferenceRef<'a> {
    implied: Implied,
    /// The part of the normalised form that the input contains; the parts are slices of it.
    rest: &'a str,
    parts: Parts,
}

impl<'a> ImageReferenceRef<'a> {
    /// Validates a reference without copying it.
    ///
    /// # Errors
    ///
    /// Returns an error if the input is not a valid [`ImageReference`]; only then does it allocate.
    pub fn parse(input: &'a str) -> Result<Self, ParseReferenceError> {
        match scanner::reference(input.as_bytes()) {
            Some(walk) => Ok(Self {
                implied: walk.implied,
                rest: &input[walk.skip..],
                parts: walk.parts,
            }),
            None => Err(ParseReferenceError::new(
                Subject::ImageReference,
                input,
                diagnose::reference(input),
            )),
        }
    }

    /// Returns the registry's host and port; `docker.io` if none is written.
    ///
    /// Empty for one special case of the grammar, see [`ImageReference::domain`].
    #[must_use]
    pub fn domain(self) -> &'a str {
        match self.implied {
            Implied::Nothing => &self.rest[..self.parts.path_start.saturating_sub(1)],
            Implied::Hub | Implied::Library => &HUB[..HUB.len() - 1],
        }
    }

    /// Returns the repository, without the domain.
    #[must_use]
    pub fn repository(self) -> Normalized<'a> {
        let written = &self.rest[self.parts.path_start..self.parts.path_end];
        match self.implied {
            Implied::Nothing | Implied::Hub => Normalized::new("", written),
            Implied::Library => Normalized::new(LIBRARY, written),
        }
    }

    /// Returns the domain and the repository, without tag and digest.
    #[must_use]
    pub fn name(self) -> Normalized<'a> {
        Normalized::new(self.implied.as_str(), &self.rest[..self.parts.path_end])
    }

    /// Returns the tag, if the reference has one. `latest` is never implied.
    #[must_use]
    pub fn tag(self) -> Option<TagRef<'a>> {
        let Parts {
            path_end, tag_end, ..
        } = self.parts;
        (tag_end > path_end).then(|| TagRef::checked(&self.rest[path_end + 1..tag_end]))
    }

    /// Returns the digest, if the reference has one.
    #[must_use]
    pub fn digest(self) -> Option<DigestRef<'a>> {
        let algorithm = self.parts.algorithm?;
        let text = &self.rest[self.parts.tag_end + 1..];
        Some(DigestRef::checked(text, algorithm))
    }

    /// Returns the short form that people write: without `docker.io/`, and without `library/` if
    /// that is implied.
    #[must_use]
    pub fn familiar(self) -> &'a str {
        let rest = match self.implied {
            Implied::Nothing => match self.rest.strip_prefix(HUB) {
                Some(rest) => rest,
                None => return self.rest,
            },
            Implied::Hub | Implied::Library => self.rest,
        };
        match rest.strip_prefix(LIBRARY) {
            Some(short) if !short.contains('/') => short,
            _ => rest,
        }
    }

    /// Returns the whole normalised reference, as `Display` writes it.
    ///
    /// ```
    /// # use choreo_registry::reference::ImageReferenceRef;
    /// let image = ImageReferenceRef::parse("index.docker.io/acme/app:1")?;
    /// assert_eq!(image.normalized().parts(), ("docker.io/", "acme/app:1"));
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    pub fn normalized(self) -> Normalized<'a> {
        Normalized::new(self.implied.as_str(), self.rest)
    }

    /// Returns `true` if the reference was written in its normalised form.
    #[must_use]
    pub fn is_normalized(self) -> bool {
        self.implied == Implied::Nothing
    }

    /// Returns a copy that owns its text, in normalised form; allocates once.
    #[must_use]
    pub fn to_owned(self) -> ImageReference {
        let implied = self.implied.as_str();
        let path_start = match self.implied {
            Implied::Nothing => self.parts.path_start,
            Implied::Hub | Implied::Library => HUB.len(),
        };
        let parts = Parts {
            path_start,
            path_end: implied.len() + self.parts.path_end,
            tag_end: implied.len() + self.parts.tag_end,
            algorithm: self.parts.algorithm,
        };
        ImageReference {
            text: self.normalized().into(),
            parts,
        }
    }

    pub(super) fn checked(normalized: &'a str, parts: Parts) -> Self {
        Self {
            implied: Implied::Nothing,
            rest: normalized,
            parts,
        }
    }
}

impl PartialEq for ImageReferenceRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.normalized() == other.normalized()
    }
}

impl Eq for ImageReferenceRef<'_> {}

impl Hash for ImageReferenceRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The hash is the same for all spellings, and differs for different normalised forms.
        self.domain().hash(state);
        self.familiar().hash(state);
    }
}

impl<'a> TryFrom<&'a str> for ImageReferenceRef<'a> {
    type Error = ParseReferenceError;

    fn try_from(input: &'a str) -> Result<Self, Self::Error> {
        Self::parse(input)
    }
}

impl fmt::Debug for ImageReferenceRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format_args!("\"{}\"", self.normalized());
        f.debug_tuple("ImageReferenceRef").field(&text).finish()
    }
}

impl fmt::Display for ImageReferenceRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.normalized().fmt(f)
    }
}

/// A normalised text in two pieces: the implied prefix and a slice of the input.
///
/// ```
/// use choreo_registry::reference::ImageReferenceRef;
///
/// let name = ImageReferenceRef::parse("nginx:1.26")?.name();
/// assert_eq!(name.parts(), ("docker.io/library/", "nginx"));
/// assert_eq!(name, "docker.io/library/nginx");
/// assert_eq!(name.to_string(), "docker.io/library/nginx");
/// assert_eq!(name.as_str(), None);
/// assert_eq!(String::from(name), "docker.io/library/nginx");
///
/// let name = ImageReferenceRef::parse("ghcr.io/acme/app")?.name();
/// assert_eq!(name.as_str(), Some("ghcr.io/acme/app"));
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Normalized<'a> {
    implied: &'static str,
    written: &'a str,
}

impl<'a> Normalized<'a> {
    /// Returns the implied prefix, which may be empty, and the slice of the input.
    #[must_use]
    pub fn parts(self) -> (&'static str, &'a str) {
        (self.implied, self.written)
    }

    /// Returns the text, if nothing is implied.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        self.implied.is_empty().then_some(self.written)
    }

    fn new(implied: &'static str, written: &'a str) -> Self {
        Self { implied, written }
    }
}

impl PartialEq for Normalized<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Compares the longer implied prefix with the same bytes of the other text.
        let (a, b) = if self.implied.len() >= other.implied.len() {
            (self, other)
        } else {
            (other, self)
        };
        a.implied
            .strip_prefix(b.implied)
            .and_then(|more| b.written.strip_prefix(more))
            == Some(a.written)
    }
}

impl Eq for Normalized<'_> {}

impl PartialEq<str> for Normalized<'_> {
    fn eq(&self, other: &str) -> bool {
        other.strip_prefix(self.implied) == Some(self.written)
    }
}

impl PartialEq<&str> for Normalized<'_> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl From<Normalized<'_>> for String {
    fn from(text: Normalized<'_>) -> Self {
        let mut whole = Self::with_capacity(text.implied.len() + text.written.len());
        whole.push_str(text.implied);
        whole.push_str(text.written);
        whole
    }
}

impl fmt::Debug for Normalized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}{}\"", self.implied, self.written)
    }
}

impl fmt::Display for Normalized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_some() || f.precision().is_some() {
            return f.pad(&String::from(*self));
        }
        f.write_str(self.implied)?;
        f.write_str(self.written)
    }
}
