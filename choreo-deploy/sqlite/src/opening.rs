//! The opening of a file, and the preparation that requires exclusive access.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{io, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::lock::{Lock, Sharing};
use crate::{OpenError, schema};

/// The time for which a shared store waits for another one that is starting, which briefly has
/// exclusive access.
const STARTING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

/// The lock of a file and the connection of its writer.
pub(crate) type Opened = (Lock, Connection);

/// Opens a file on a separate thread, because opening waits for the disk.
pub(crate) async fn open(path: PathBuf, sharing: Sharing) -> Result<Opened, OpenError> {
    let (reply, answer) = oneshot::channel();
    let file = path.clone();
    let thread = thread::Builder::new().name("choreo-sqlite-open".to_owned());
    let work = move || {
        let _ = reply.send(match sharing {
            Sharing::Alone => alone(&file),
            Sharing::Shared => shared(&file),
            Sharing::ReadOnly => read_only(&file),
        });
    };
    let io = |source| OpenError::Io { path, source };
    if let Err(source) = thread.spawn(work) {
        return Err(io(source));
    }
    let ended = |_| io(io::Error::other("the thread that opens it has ended"));
    answer.await.map_err(ended)?
}

fn alone(path: &Path) -> Result<Opened, OpenError> {
    let lock = Lock::take(path, Sharing::Alone)?;
    Ok((lock, prepare(path)?))
}

/// Opens a shared file. The first process has exclusive access for a moment and prepares the file
/// for all.
fn shared(path: &Path) -> Result<Opened, OpenError> {
    let deadline = Instant::now() + STARTING;
    loop {
        match Lock::take(path, Sharing::Alone) {
            Ok(_lock) => drop(prepare(path)?),
            Err(OpenError::InUse(_)) => (),
            Err(other) => return Err(other),
        }
        match join(path) {
            // Another process is preparing the file, or was killed while it did.
            Err(OpenError::InUse(_) | OpenError::Older { .. }) if Instant::now() < deadline => {
                thread::sleep(AGAIN);
            }
            joined => return joined,
        }
    }
}

/// Opens an existing file and changes nothing.
fn read_only(path: &Path) -> Result<Opened, OpenError> {
    let deadline = Instant::now() + STARTING;
    loop {
        if !path.exists() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        match look_in(path) {
            // Another process is preparing the file.
            Err(OpenError::InUse(_) | OpenError::Outdated { .. }) if Instant::now() < deadline => {
                thread::sleep(AGAIN);
            }
            opened => return opened,
        }
    }
}

fn look_in(path: &Path) -> Result<Opened, OpenError> {
    let lock = Lock::take(path, Sharing::ReadOnly)?;
    let connection = schema::open_reader(path)?;
    schema::check(&connection, path)?;
    match schema::require_newest(&connection, path) {
        Err(OpenError::Older { path, found, known }) => {
            Err(OpenError::Outdated { path, found, known })
        }
        newest => newest.map(|()| (lock, connection)),
    }
}

fn join(path: &Path) -> Result<Opened, OpenError> {
    let lock = Lock::take(path, Sharing::Shared)?;
    let connection = schema::open_writer(path)?;
    schema::require_newest(&connection, path)?;
    Ok((lock, connection))
}

/// Prepares a file. This requires exclusive access, because other processes must not see a partial
/// migration and must not have leases.
fn prepare(path: &Path) -> Result<Connection, OpenError> {
    let connection = schema::open_writer(path)?;
    schema::take_over(&connection, path)?;
    Ok(connection)
}
