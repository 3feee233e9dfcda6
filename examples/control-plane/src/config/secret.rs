//! The sources of secrets. The configuration itself never contains a secret.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::Problems;
use super::section::Section;
use crate::failure::plain;

/// The source of a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SecretSource {
    /// An environment variable.
    Variable(String),
    /// A file.
    File(PathBuf),
}

/// The secrets of incomplete entries, with their paths. They are read too, so that all problems are
/// reported at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans(RefCell<Vec<(String, SecretSource)>>);

impl Orphans {
    pub(super) fn add(&self, path: String, secret: SecretSource) {
        self.0.borrow_mut().push((path, secret));
    }

    /// Adds a problem for each that cannot be read.
    pub(super) fn check(&self, problems: &Problems) {
        for (path, secret) in &*self.0.borrow() {
            if let Err(message) = secret.read() {
                problems.add(path.as_str(), message);
            }
        }
    }
}

/// The way to write a secret.
const HINT: &str =
    "write { env = \"NAME\" } or { file = \"PATH\" }, because this file must not contain secrets";

impl SecretSource {
    /// Reads a field of a table, such as `password = { env = "IMAGES_PASSWORD" }`.
    pub(super) fn optional(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let mut table = section.table(key, HINT)?;
        let source = Self::of(&mut table);
        table.finish();
        source
    }

    /// Reads the fields `env` and `file` of a table. Exactly one must be present.
    pub(super) fn of(table: &mut Section<'_>) -> Option<Self> {
        let both = (table.has("env"), table.has("file"));
        let variable = table.optional("env").map(Self::Variable);
        let file = table.optional("file").map(Self::File);
        match both {
            (true, false) => variable,
            (false, true) => file,
            (true, true) | (false, false) => {
                table.problem_here(HINT);
                None
            }
        }
    }

    /// Resolves a file relative to a directory.
    pub(super) fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::File(file) => Self::File(directory.join(file)),
            variable @ Self::Variable(_) => variable,
        }
    }

    /// Reads the secret without one line end after it. The error never contains the content.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, String> {
        let (mut secret, what) = match self {
            Self::Variable(name) => (variable(name)?, format!("environment variable {name:?}")),
            Self::File(path) => (file(path)?, format!("file {path:?}")),
        };
        let end = secret.strip_suffix('\n').unwrap_or(&secret);
        let end = end.strip_suffix('\r').unwrap_or(end).len();
        secret.truncate(end);
        if secret.is_empty() {
            return Err(format!("{what} is empty: write the secret to it"));
        }
        Ok(secret)
    }
}

fn variable(name: &str) -> Result<Zeroizing<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Zeroizing::new(value)),
        Err(std::env::VarError::NotPresent) => Err(format!(
            "environment variable {name:?} is not set: set it to the secret"
        )),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!(
            "environment variable {name:?} is not UTF-8: set it to UTF-8 text"
        )),
    }
}

fn file(path: &Path) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: io::Error| {
        format!(
            "file {path:?} cannot be read: {}",
            plain(&error.to_string())
        )
    };
    let mut secret = Zeroizing::new(String::new());
    let file = File::open(path).map_err(unreadable)?;
    file.take(LIMIT + 1)
        .read_to_string(&mut secret)
        .map_err(unreadable)?;
    if secret.len() as u64 > LIMIT {
        return Err(format!(
            "file {path:?} is longer than 1 MiB: choose the file that contains the secret"
        ));
    }
    Ok(secret)
}

const LIMIT: u64 = 1024 * 1024;
