//! The problems of a configuration, which are reported together.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// A problem, and its place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// The path in the TOML document, such as `registries[0].host`. It is empty for the file itself.
    pub(crate) path: String,
    /// The problem and its solution. It never contains a secret.
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

/// The problems that are found while reading continues.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    /// The paths of values that could not be read at all.
    unread: RefCell<BTreeSet<String>>,
}

impl Problems {
    pub(crate) fn add(&self, path: impl Into<String>, message: impl Into<String>) {
        let problem = Problem::new(path, message);
        if !self.unread.borrow().contains(&problem.path) {
            self.found.borrow_mut().push(problem);
        }
    }

    /// Adds the problem of a value that cannot be read. Something else is read in its place, so what
    /// is added at the same path later is ignored.
    pub(crate) fn add_unread(&self, problem: Problem) {
        self.unread.borrow_mut().insert(problem.path.clone());
        self.found.borrow_mut().push(problem);
    }

    /// Returns the problems as an error, or `Ok` if there are none.
    pub(crate) fn into_result(self) -> Result<(), Vec<Problem>> {
        match self.found.into_inner() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(problems),
        }
    }
}
