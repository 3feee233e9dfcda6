//! How errors show user input: quoted, escaped and bounded.

use std::fmt::{self, Write as _};

/// The longest excerpt of user input in a message, in characters.
const LIMIT: usize = 64;

/// Displays a string in quotes, with control characters escaped, cut after 64 characters.
///
/// The errors of these crates show user input in this form. Use it for input in errors of your own.
/// It does not know what is secret: never pass it a password.
///
/// ```
/// use choreo_registry::quote::Quoted;
///
/// assert_eq!(Quoted::new("a\nb").to_string(), r#""a\nb""#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a str);

impl<'a> Quoted<'a> {
    /// Creates the display of `text`.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars().take(LIMIT) {
            write!(f, "{}", character.escape_debug())?;
        }
        if self.0.chars().nth(LIMIT).is_some() {
            f.write_char('…')?;
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_input_is_cut() {
        assert_eq!(Quoted::new("a\n\u{1b}[0m").to_string(), r#""a\n\u{1b}[0m""#);
        assert_eq!(
            Quoted::new(&"é".repeat(65)).to_string(),
            format!("\"{}…\"", "é".repeat(64))
        );
        assert_eq!(
            Quoted::new(&"é".repeat(64)).to_string(),
            format!("\"{}\"", "é".repeat(64))
        );
    }
}
