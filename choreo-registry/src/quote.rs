//! How errors show user input: quoted, escaped and bounded.

use std::fmt::{self, Write as _};

/// The longest excerpt of user input in a message, in characters.
const LIMIT: usize = 64;

/// Displays a string in quotes, with control characters escaped, cut after 64 characters.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

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
        assert_eq!(Quoted("a\n\u{1b}[0m").to_string(), r#""a\n\u{1b}[0m""#);
        assert_eq!(
            Quoted(&"é".repeat(65)).to_string(),
            format!("\"{}…\"", "é".repeat(64))
        );
        assert_eq!(
            Quoted(&"é".repeat(64)).to_string(),
            format!("\"{}\"", "é".repeat(64))
        );
    }
}
