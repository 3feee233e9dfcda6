//! Who may have a file open.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Holds the lock on a database until it is dropped, or its process ends in any way.
///
/// The lock is on a file beside the database. SQLite locks bytes of the database itself with POSIX
/// locks, which a process loses when it closes *any* handle of that file
/// (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>),
/// so nobody but SQLite may open it.
#[derive(Debug)]
pub(crate) struct Lock {
    /// None where there is no such file, for who changes nothing and makes none.
    file: Option<File>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: while the process starts another one, that has a copy of the
        // file for a moment, and the lock with it. Closing still frees what this could not.
        let _ = self.file.as_ref().map(File::unlock);
    }
}

/// Whether others may have the file open too.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sharing {
    Alone,
    Shared,
    /// Shared, for who changes nothing.
    ReadOnly,
}

impl Lock {
    /// Takes the lock, or says that somebody has it in a way that forbids this one.
    ///
    /// Who changes nothing makes no file either: made by an operator who looks, it could be one that
    /// the server may not open. Where there is none, nobody has the database open to keep it from
    /// others, and who begins to work on it later bears with readers.
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

/// The one path of a file, whichever way it was written, so that the lock has one name too.
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

/// Makes an empty file that only its owner can read; SQLite gives its log the same mode. Does
/// nothing when there is a file.
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
