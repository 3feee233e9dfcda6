//! Digests that are borrowed from a longer text.

use std::fmt;

use super::{Algorithm, Digest, ParseDigestError, check};

/// A [`Digest`] borrowed from a string, most often from an image reference.
///
/// ```
/// use choreo_registry::{ImageReference, digest::{Algorithm, DigestRef}};
///
/// let text = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
/// let digest = DigestRef::parse(text)?;
/// assert_eq!(digest.as_str(), text);
/// assert_eq!(digest.algorithm(), Algorithm::Sha256);
/// assert!(digest.hex().starts_with("2cf24dba"));
/// assert_eq!(digest.to_owned(), text.parse()?);
///
/// let image: ImageReference = format!("ghcr.io/acme/app@{text}").parse()?;
/// assert_eq!(image.digest(), Some(digest));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DigestRef<'a> {
    text: &'a str,
    algorithm: Algorithm,
}

impl<'a> DigestRef<'a> {
    /// Validates a digest without copying it.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not a valid [`Digest`].
    pub fn parse(input: &'a str) -> Result<Self, ParseDigestError> {
        match check(input) {
            Ok(algorithm) => Ok(Self::checked(input, algorithm)),
            Err(rule) => Err(ParseDigestError::new(input, rule)),
        }
    }

    /// Returns the algorithm before the colon.
    #[must_use]
    pub fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hexadecimal digits after the colon, in lower case.
    #[must_use]
    pub fn hex(self) -> &'a str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// Returns the whole digest, `algorithm:hex`.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Returns a copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> Digest {
        Digest::copied(self.text, self.algorithm)
    }

    pub(crate) fn checked(text: &'a str, algorithm: Algorithm) -> Self {
        Self { text, algorithm }
    }
}

impl PartialEq<Digest> for DigestRef<'_> {
    fn eq(&self, other: &Digest) -> bool {
        self.text == other.as_str()
    }
}

impl<'a> TryFrom<&'a str> for DigestRef<'a> {
    type Error = ParseDigestError;

    fn try_from(input: &'a str) -> Result<Self, Self::Error> {
        Self::parse(input)
    }
}

impl AsRef<str> for DigestRef<'_> {
    fn as_ref(&self) -> &str {
        self.text
    }
}

impl fmt::Debug for DigestRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DigestRef").field(&self.text).finish()
    }
}

impl fmt::Display for DigestRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text)
    }
}
