//! The one place that writes to standard output: plain words for people, JSON for machines.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// How a command says its result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// In plain words.
    People,
    /// As one JSON value on one line.
    Machines,
}

impl Output {
    /// Says the result, as text for people or as a value for machines.
    pub(crate) fn say(self, text: impl Display, value: &impl Serialize) {
        let text = match self {
            Self::People => text.to_string(),
            Self::Machines => serde_json::to_string(value)
                .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")),
        };
        // Whoever reads may have had enough; that is no failure of the command.
        let mut out = io::stdout().lock();
        let text = text.trim_end();
        if !text.is_empty() {
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }

    /// Tells people something beside the result, such as progress; machines too, if they look.
    pub(crate) fn note(text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// For something that is text by itself, such as YAML or a script: the same for everyone, but
    /// a JSON string for machines.
    pub(crate) fn text(self, text: &str) {
        self.say(text, &text);
    }
}
