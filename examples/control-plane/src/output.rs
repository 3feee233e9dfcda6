//! Standard output, as text for people or as JSON for programs. Nothing else writes to it.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// The form in which a command writes its result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// Text for people.
    People,
    /// One JSON value on one line, for programs.
    Machines,
}

impl Output {
    /// Writes the result, as text for people or as a value for programs.
    pub(crate) fn say(self, text: impl Display, value: &impl Serialize) {
        let text = match self {
            Self::People => text.to_string(),
            Self::Machines => serde_json::to_string(value)
                .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")),
        };
        // The reader may have closed the pipe. That is not a failure of the command.
        let mut out = io::stdout().lock();
        let text = text.trim_end();
        if !text.is_empty() {
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }

    /// Writes something other than the result, such as progress, to standard error.
    pub(crate) fn note(text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Writes a result that is text itself, such as YAML or a script. It is a JSON string for programs.
    pub(crate) fn text(self, text: &str) {
        self.say(text, &text);
    }
}
