use std::io;
use std::path::PathBuf;

use choreo_deploy::store::{AcceptError, StoreError, StoreErrorKind, Unreadable};
use rusqlite::ErrorCode;

/// The reason why a database could not be opened. Nothing in it has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file contains something else.
    #[error("file {0:?} is not a database of choreo-deploy: name another file")]
    Foreign(PathBuf),
    /// Another process, or another part of this process, has the database open.
    #[error("database {0:?} is open elsewhere: only one control plane may use a file")]
    InUse(PathBuf),
    /// The file system returns an error.
    #[error("file {path:?} cannot be opened")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The database does not exist and was opened for reading only.
    #[error("database {0:?} does not exist")]
    Missing(PathBuf),
    /// A newer version of this crate has written the database.
    #[error(
        "database {path:?} has schema {found}, and this version knows none after {known}: \
         use the newer version again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the database.
        found: i64,
        /// The newest schema that this version supports.
        known: i64,
    },
    /// The file system cannot share memory between connections, which a write-ahead log requires.
    #[error("database {0:?} cannot have a write-ahead log: put it on a local file system")]
    NoWriteAheadLog(PathBuf),
    /// An older version of this crate has the database open, so its schema cannot be migrated.
    #[error(
        "database {path:?} has schema {found} and is open elsewhere: stop what has it open, so that \
         this version can bring it to schema {known}"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The schema of the database.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// An older version of this crate has written the database, and it was opened for reading only.
    #[error(
        "database {path:?} has schema {found}, and this version reads {known}: open it to write once, \
         which brings its schema forward"
    )]
    Outdated {
        /// The file.
        path: PathBuf,
        /// The schema of the database.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// SQLite returns an error.
    #[error("database {path:?} cannot be opened")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
}

/// The reason why a group of commands was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Another program has changed the schema while this process had the file open.
    #[error(
        "database has schema {found} now, and this version writes {known}: restart with the newer \
         version"
    )]
    Schema { found: i64, known: i64 },
    /// SQLite returns an error.
    #[error("database could not commit: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// The reason why a command or a query failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A deployment or a run is rejected.
    Refused(AcceptError),
    /// SQLite returns an error.
    Sqlite(rusqlite::Error),
    /// The store returns an error.
    Store(StoreError),
    /// This version cannot read a row.
    Unreadable(Unreadable),
}

impl Failure {
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        StoreError::new(StoreErrorKind::Conflict, message).into()
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        StoreError::new(StoreErrorKind::NotFound, message).into()
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        StoreError::new(StoreErrorKind::Unavailable, message).into()
    }

    pub(crate) fn stopped() -> Self {
        Self::unavailable("store has stopped: open it again")
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        Self::Refused(error)
    }
}

impl From<Unreadable> for Failure {
    fn from(row: Unreadable) -> Self {
        Self::Unreadable(row)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(AcceptError::Store(error)) | Failure::Store(error) => error,
            Failure::Refused(error) => Self::new(StoreErrorKind::Conflict, error.to_string()),
            Failure::Sqlite(error) => of_sqlite(error),
            Failure::Unreadable(row) => {
                let Unreadable {
                    table, key, why, ..
                } = row;
                let message = format!("row {key:?} of {table} cannot be read: {why}");
                Self::new(StoreErrorKind::Corrupt, message)
            }
        }
    }
}

impl From<Failure> for AcceptError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            other => Self::Store(other.into()),
        }
    }
}

/// Converts an error of SQLite. Its messages are safe to show, because values are bound and not
/// part of the statements.
fn of_sqlite(error: rusqlite::Error) -> StoreError {
    let (kind, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            StoreErrorKind::Corrupt,
            "database is damaged: stop the control plane and restore a backup",
        ),
        Some(ErrorCode::ConstraintViolation) => (
            StoreErrorKind::Conflict,
            "database refuses the change: it breaks a constraint",
        ),
        Some(ErrorCode::DiskFull) => (
            StoreErrorKind::Unavailable,
            "database cannot grow: the disk is full",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            StoreErrorKind::Unavailable,
            "database is locked by another program",
        ),
        _ => (StoreErrorKind::Unavailable, "database does not answer"),
    };
    StoreError::new(kind, message).with_source(error)
}
