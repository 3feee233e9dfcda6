//! What is wrong with a configuration: everything at once.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// The place in the TOML document, such as `registries[0].host`; empty for the file itself.
    pub(crate) path: String,
    /// What is wrong there and what to do. Never a secret.
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Collects problems while reading goes on.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn add(&self, path: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem::new(path, message));
    }

    /// `Ok` when there was none.
    pub(crate) fn into_result(self) -> Result<(), Vec<Problem>> {
        match self.0.into_inner() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(problems),
        }
    }
}
