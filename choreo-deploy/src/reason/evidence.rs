//! Reports of programs, kept for people.

mod clean;
mod names;
mod redact;
mod shapes;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A report of a program, kept for people: bounded, without control characters, and with
/// `<redacted>` in place of text that looks like a credential.
///
/// Messages of container runtimes contain URLs, and the last lines of a crashed program contain any
/// output. Both reach CI logs, terminals and databases.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(String);

impl Evidence {
    /// The largest length in bytes. The beginning is cut off, because causes are at the end.
    pub const LIMIT: usize = 2048;

    /// Creates evidence from an untrusted text.
    ///
    /// These parts are replaced by `<redacted>`:
    /// - the values of names that end in `password`, `token`, `secret`, `key`, `auth` and similar words,
    ///   in JSON, YAML, XML, headers, flags, and `name=value`;
    /// - user information in URLs, also without a scheme; queries are removed;
    /// - PEM blocks;
    /// - tokens with a prefix of a known vendor;
    /// - long runs of letters and digits that look random. Digests, UUIDs and names of pods stay.
    ///
    /// A password in a sentence cannot be distinguished from a word, so this is only a second line of
    /// defence: do not log known secrets.
    ///
    /// Terminal escape sequences, control characters and invisible characters are removed. Commands
    /// that a CI system reads from its log (`::set-output`, `##vso[`) are broken.
    ///
    /// ```
    /// use choreo_deploy::reason::Evidence;
    ///
    /// let evidence = Evidence::from_untrusted(
    ///     "GET https://user:pw@r.example/v2/?sig=abc: Authorization: Bearer ey.secret",
    /// );
    /// assert_eq!(evidence.as_str(), "GET https://r.example/v2/: Authorization: Bearer <redacted>");
    /// ```
    #[must_use]
    pub fn from_untrusted(text: &str) -> Self {
        // Far more than is kept, so that the work is bounded for any length.
        let read = end_of(text, 8 * Self::LIMIT);
        let is_cut = read.len() < text.len();
        let lines = clean::without_commands(&clean::lines(read));
        Self(bounded(redact::redact(&lines, is_cut).trim_end()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a text as one line without escape sequences, control characters, line ends, and invisible
/// or direction-changing characters, so that a terminal shows it unchanged. It redacts nothing.
///
/// ```
/// use choreo_deploy::reason::printable;
///
/// assert_eq!(printable("\u{1b}[2Jorders\u{202e} is\tready\n"), "orders is ready");
/// assert_eq!(printable("plain"), "plain");
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    clean::line(text)
}

fn bounded(text: &str) -> String {
    if text.len() <= Evidence::LIMIT {
        return text.to_owned();
    }
    let mark = "… ";
    format!("{mark}{}", end_of(text, Evidence::LIMIT - mark.len()))
}

/// Returns the last characters that fit into a number of bytes.
fn end_of(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
