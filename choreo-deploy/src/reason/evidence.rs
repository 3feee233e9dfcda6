//! What machines reported, kept for people.

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

/// What a machine reported, kept for people: bounded, without control characters, and with whatever
/// looks like a credential replaced by `<redacted>`.
///
/// Messages of container runtimes hold whole URLs, and the last lines of a crashed program hold
/// whatever it printed. Both reach CI logs, terminals and databases.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(String);

impl Evidence {
    /// The most bytes that are kept. The beginning is cut off, because causes are at the end.
    pub const LIMIT: usize = 2048;

    /// Takes a text from outside.
    ///
    /// These are replaced by `<redacted>`:
    /// - the values of names that end in `password`, `token`, `secret`, `key`, `auth` and the like,
    ///   in JSON, YAML, XML, headers, flags, and `name=value`;
    /// - user information of URLs, also where the scheme is missing; queries are left out;
    /// - PEM blocks;
    /// - tokens with a prefix of a known vendor;
    /// - long runs of letters and digits that look random. Digests, UUIDs and the names of pods stay.
    ///
    /// A password in the middle of a sentence cannot be told from a word, so this is a second line
    /// of defence: what is known to be secret must not be logged in the first place.
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
        // Far more than is kept, so that the work is bounded whatever the length.
        let read = end_of(text, 8 * Self::LIMIT);
        let is_cut = read.len() < text.len();
        let lines = clean::without_commands(&clean::lines(read));
        Self(bounded(redact::redact(&lines, is_cut).trim_end()))
    }

    /// The text.
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

/// One line that a terminal shows as it is: without escape sequences, control characters, line ends
/// and invisible or direction-changing characters. Nothing is redacted.
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

/// The last characters that fit into so many bytes.
fn end_of(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
