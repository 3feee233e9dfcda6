//! The progress of the work that a command waits for, on standard error.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use choreo_deploy::reason::Reason;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A spinner on a terminal, lines otherwise.
#[derive(Debug)]
pub(crate) struct Progress {
    spinner: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            spinner: stderr().is_terminal().then(spinner),
            last: String::new(),
        }
    }

    /// Shows the phase, and the reason why it has not advanced. A repetition is not shown.
    pub(crate) fn show(&mut self, phase: &str, reasons: &[Reason]) {
        let text = match reasons.first() {
            Some(reason) => format!("{phase}: {}", reason.message),
            None => phase.to_owned(),
        };
        if text == self.last {
            return;
        }
        match &self.spinner {
            Some(spinner) => spinner.set_message(text.clone()),
            None => Output::note(&text),
        }
        self.last = text;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_style(ProgressStyle::default_spinner());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
