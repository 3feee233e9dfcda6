//! The fields of a JSON object that contains secrets, for the other crates of the workspace.
//!
//! Not a part of the API: users have a JSON library of their own.

use std::fmt;

use zeroize::Zeroizing;

use crate::secret_json::{Fields, Text};

/// The fields of an object. They stay encoded in the document until they are read, so that no buffer
/// contains a secret that is not overwritten. `Debug` shows nothing.
///
/// ```
/// use choreo_registry::secret_fields::SecretFields;
///
/// let answer = SecretFields::parse(br#"{"token": "hunter\u0032", "expires_in": 300}"#).unwrap();
/// assert_eq!(answer.text("token").unwrap().as_str(), "hunter2");
/// assert_eq!(answer.json("expires_in"), Some("300"));
/// assert!(answer.text("expires_in").is_none());
///
/// assert!(SecretFields::parse(br#"{"token": "a", "token": "b"}"#).is_none());
/// ```
pub struct SecretFields<'d>(Fields<'d>);

impl<'d> SecretFields<'d> {
    /// Parses a document; `None` if it is not an object, or if a name is duplicate.
    #[must_use]
    pub fn parse(document: &'d [u8]) -> Option<Self> {
        let fields = Fields::parse(std::str::from_utf8(document).ok()?).ok()?;
        fields.duplicate().is_none().then_some(Self(fields))
    }

    /// Returns the text of a string; `None` if the field is missing or of another type.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Zeroizing<String>> {
        let text = Text::of(self.0.get(name)?).ok()??;
        Some(Zeroizing::new(text.as_str().to_owned()))
    }

    /// Returns the JSON of a field.
    #[must_use]
    pub fn json(&self, name: &str) -> Option<&'d str> {
        Some(self.0.get(name)?.get())
    }
}

impl fmt::Debug for SecretFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFields").finish_non_exhaustive()
    }
}
