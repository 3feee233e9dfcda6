//! The lock that limits which processes can open a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

/// A lock on a database that is released when the value is dropped or its process ends.
///
/// The lock is on a separate file next to the database. SQLite uses POSIX locks on the database,
/// and a process loses those when it closes *any* handle of that file
/// (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
/// So only SQLite may open the database itself.
#[derive(Debug)]
pub(crate) struct Lock {
    /// `None` for a read-only store without a lock file.
    file: Option<File>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // To close the file alone is not enough: while the process starts a child process, the
        // child briefly has a copy of the file and thereby of the lock. If unlocking fails, closing
        // still releases the lock.
        let _ = self.file.as_ref().map(File::unlock);
    }
}

/// The way in which a file is shared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sharing {
    Alone,
    Shared,
    /// Shared, for a process that changes nothing.
    ReadOnly,
}

impl Lock {
    /// Takes the lock. Returns [`OpenError::InUse`] if another holder excludes this one.
    ///
    /// A read-only process creates no lock file, because the server might not be able to open a
    /// file that an operator created. Without a lock file, no process has the database open
    /// exclusively, and a process that opens it for writing later works beside readers.
    pub(crate) fn take(database: &Path, sharing: Sharing) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: database.to_owned(),
            source,
        };
        let mut name = database.as_os_str().to_owned();
        name.push("-lock");
        let name = PathBuf::from(name);
        let opened = match sharing {
            Sharing::ReadOnly => File::open(name),
            Sharing::Alone | Sharing::Shared => private().open(name),
        };
        let file = match (sharing, opened) {
            (Sharing::ReadOnly, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { file: None });
            }
            (_, opened) => opened.map_err(io)?,
        };
        let taken = match sharing {
            Sharing::Alone => file.try_lock(),
            Sharing::Shared | Sharing::ReadOnly => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => Ok(Self { file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(database.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// Returns the canonical path of a file, so that its lock has only one name.
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            Ok(parent.unwrap_or(Path::new(".")).canonicalize()?.join(name))
        }
        found => found,
    }
}

/// Creates an empty file that only its owner can read; SQLite gives its log the same mode. Does
/// nothing if the file exists.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    match private().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
