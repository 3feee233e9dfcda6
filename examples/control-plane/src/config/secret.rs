//! Secrets: where they are, and how they are read. They never stand in the configuration itself.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::Problems;
use super::section::Section;
use crate::failure::plain;

/// Where a secret is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SecretSource {
    /// In an environment variable.
    Variable(String),
    /// In a file.
    File(PathBuf),
}

/// Secrets of entries that are not complete, with where they stand: they are looked for all the same,
/// so that all that is wrong is said at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans(RefCell<Vec<(String, SecretSource)>>);

impl Orphans {
    pub(super) fn add(&self, path: String, secret: SecretSource) {
        self.0.borrow_mut().push((path, secret));
    }

    /// Says which of them cannot be read.
    pub(super) fn check(&self, problems: &Problems) {
        for (path, secret) in &*self.0.borrow() {
            if let Err(message) = secret.read() {
                problems.add(path.as_str(), message);
            }
        }
    }
}

/// How a secret is named.
const HINT: &str =
    "write { env = \"NAME\" } or { file = \"PATH\" }, for secrets never stand in this file";

impl SecretSource {
    /// The field of a table, such as `password = { env = "IMAGES_PASSWORD" }`.
    pub(super) fn optional(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let mut table = section.table(key, HINT)?;
        let source = Self::of(&mut table);
        table.finish();
        source
    }

    /// The fields `env` and `file` of a table, of which one must be there.
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

    /// The same, with a file that is relative to a directory.
    pub(super) fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::File(file) => Self::File(directory.join(file)),
            variable @ Self::Variable(_) => variable,
        }
    }

    /// Reads the secret. One line end after it is dropped. The error never shows what was read.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, String> {
        let (mut secret, what) = match self {
            Self::Variable(name) => (variable(name)?, format!("environment variable {name:?}")),
            Self::File(path) => (file(path)?, format!("file {path:?}")),
        };
        let end = secret.strip_suffix('\n').unwrap_or(&secret);
        let end = end.strip_suffix('\r').unwrap_or(end).len();
        secret.truncate(end);
        if secret.is_empty() {
            return Err(format!("{what} is empty: put the secret into it"));
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
            "environment variable {name:?} is not UTF-8: set it again"
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
            "file {path:?} is longer than 1 MiB: name the file of the secret"
        ));
    }
    Ok(secret)
}

const LIMIT: u64 = 1024 * 1024;
