use std::io;
use std::path::PathBuf;

use choreo_deploy::store::{AcceptError, StoreError, StoreErrorKind, Unreadable};
use rusqlite::ErrorCode;

/// Why a database could not be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file holds something else.
    #[error("file {0:?} is not a database of choreo-deploy: name another file")]
    Foreign(PathBuf),
    /// Another process, or another part of this one, has it open.
    #[error("database {0:?} is open elsewhere: only one control plane may use a file")]
    InUse(PathBuf),
    /// The file system does not do it.
    #[error("file {path:?} cannot be opened")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is none, and it was opened to read only.
    #[error("database {0:?} does not exist")]
    Missing(PathBuf),
    /// A newer version of this crate has written it.
    #[error(
        "database {path:?} has schema {found}, and this version knows none after {known}: \
         use the newer version again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// The file system cannot share memory between connections, so there is no write-ahead log.
    #[error("database {0:?} cannot have a write-ahead log: put it on a local file system")]
    NoWriteAheadLog(PathBuf),
    /// An older version of this crate has it open, so that its schema cannot be brought forward.
    #[error(
        "database {path:?} has schema {found} and is open elsewhere: stop what has it open, so that \
         this version can bring it to schema {known}"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// An older version of this crate has written it, and it was opened to read only.
    #[error(
        "database {path:?} has schema {found}, and this version reads {known}: open it to write once, \
         which brings its schema forward"
    )]
    Outdated {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// SQLite fails.
    #[error("database {path:?} cannot be opened")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
}

/// Why a whole group of commands was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Another program has changed the schema while this one had the file open.
    #[error(
        "database has schema {found} now, and this version writes {known}: restart with the newer \
         version"
    )]
    Schema { found: i64, known: i64 },
    /// SQLite fails.
    #[error("database could not commit: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why a command or a query did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A deployment or a run is refused.
    Refused(AcceptError),
    /// SQLite fails.
    Sqlite(rusqlite::Error),
    /// The store refuses.
    Store(StoreError),
    /// A row cannot be read by this version.
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

/// Statements carry no values, they are bound: what SQLite says is safe to show.
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
