//! Image references that lie in somebody else's text.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::error::{ParseReferenceError, Subject};
use super::name::TagRef;
use super::walk::{self, HUB, Implied, LIBRARY, Parts};
use super::{ImageReference, diagnose};
use crate::digest::DigestRef;

/// An [`ImageReference`] borrowed from a string: parsing it allocates nothing.
///
/// Normalisation only ever puts something in front of what was written (`docker.io/`, `library/`)
/// or replaces the host `index.docker.io`. So a normalised reference is a constant and a piece of
/// the input, and the two are put together only when they are written.
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
/// Two references are equal when their normalised forms are.
#[derive(Clone, Copy)]
pub struct ImageReferenceRef<'a> {
    implied: Implied,
    /// What follows it in the normalised form; the parts lie in here.
    rest: &'a str,
    parts: Parts,
}

impl<'a> ImageReferenceRef<'a> {
    /// Checks a reference without copying it.
    ///
    /// # Errors
    ///
    /// When the input breaks a rule of [`ImageReference`]; only then is something allocated.
    pub fn parse(input: &'a str) -> Result<Self, ParseReferenceError> {
        match walk::reference(input.as_bytes()) {
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

    /// The registry's host and port; `docker.io` when none is written.
    ///
    /// Empty for one oddity of the grammar, see [`ImageReference::domain`].
    #[must_use]
    pub fn domain(self) -> &'a str {
        match self.implied {
            Implied::Nothing => &self.rest[..self.parts.path_start.saturating_sub(1)],
            Implied::Hub | Implied::Library => &HUB[..HUB.len() - 1],
        }
    }

    /// The repository, without the domain.
    #[must_use]
    pub fn repository(self) -> Normalized<'a> {
        let written = &self.rest[self.parts.path_start..self.parts.path_end];
        match self.implied {
            Implied::Nothing | Implied::Hub => Normalized::new("", written),
            Implied::Library => Normalized::new(LIBRARY, written),
        }
    }

    /// The domain and the repository, without tag and digest.
    #[must_use]
    pub fn name(self) -> Normalized<'a> {
        Normalized::new(self.implied.as_str(), &self.rest[..self.parts.path_end])
    }

    /// The tag, if the reference has one. `latest` is never implied.
    #[must_use]
    pub fn tag(self) -> Option<TagRef<'a>> {
        let Parts {
            path_end, tag_end, ..
        } = self.parts;
        (tag_end > path_end).then(|| TagRef::checked(&self.rest[path_end + 1..tag_end]))
    }

    /// The digest, if the reference has one.
    #[must_use]
    pub fn digest(self) -> Option<DigestRef<'a>> {
        let algorithm = self.parts.algorithm?;
        let text = &self.rest[self.parts.tag_end + 1..];
        Some(DigestRef::checked(text, algorithm))
    }

    /// The short form that people write: without `docker.io/`, and without `library/` where that
    /// is implied.
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

    /// The whole normalised reference, as `Display` writes it.
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

    /// Whether the reference was written in its normalised form.
    #[must_use]
    pub fn is_normalized(self) -> bool {
        self.implied == Implied::Nothing
    }

    /// A copy that owns its text, in normalised form: one allocation.
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
        // The same for every spelling, and different for different normalised forms.
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

/// A normalised text as the two pieces of which it consists: what is implied, and what was
/// written.
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
    /// What is implied, which may be nothing, and what was written.
    #[must_use]
    pub fn parts(self) -> (&'static str, &'a str) {
        (self.implied, self.written)
    }

    /// The text, where nothing is implied.
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
        // Compares the longer piece that is implied with what the other one has there.
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
