//! The log of a history, and its first broken promise.

use std::fmt::Arguments;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Journal {
    began: Instant,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    lines: Vec<String>,
    broken: Option<String>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            pages: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, what: Arguments<'_>) {
        let line = format!("{:>9.3} {what}", self.began.elapsed().as_secs_f64());
        self.pages().lines.push(line);
    }

    /// Records a broken promise.
    pub(crate) fn broken(&self, what: Arguments<'_>) {
        self.note(format_args!("BROKEN: {what}"));
        self.pages().broken.get_or_insert_with(|| what.to_string());
    }

    pub(crate) fn first_broken(&self) -> Option<String> {
        self.pages().broken.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.pages().lines.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records a line: `note!(journal, "like {}", "this")`.
macro_rules! note {
    ($journal:expr, $($words:tt)*) => { $journal.note(format_args!($($words)*)) };
}

/// Records a broken promise.
macro_rules! broken {
    ($journal:expr, $($words:tt)*) => { $journal.broken(format_args!($($words)*)) };
}

pub(crate) use {broken, note};
