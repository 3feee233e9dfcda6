//! Opening a file: who may, and what only somebody who is alone with it may do.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{io, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::lock::{Lock, Sharing};
use crate::{OpenError, schema};

/// How long a store that is shared waits for one that is starting beside it, which is alone with
/// the file for a moment.
const STARTING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

/// The lock of a file and the connection that writes to it.
pub(crate) type Opened = (Lock, Connection);

/// Opens a file on a thread of its own, because all of it waits for the disk.
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

/// The first of those who share a file is alone with it for a moment, and prepares it for all.
fn shared(path: &Path) -> Result<Opened, OpenError> {
    let deadline = Instant::now() + STARTING;
    loop {
        match Lock::take(path, Sharing::Alone) {
            Ok(_lock) => drop(prepare(path)?),
            Err(OpenError::InUse(_)) => (),
            Err(other) => return Err(other),
        }
        match join(path) {
            // Somebody is preparing it, or was killed while doing so.
            Err(OpenError::InUse(_) | OpenError::Older { .. }) if Instant::now() < deadline => {
                thread::sleep(AGAIN);
            }
            joined => return joined,
        }
    }
}

/// Opens what is there, and changes nothing of it.
fn read_only(path: &Path) -> Result<Opened, OpenError> {
    let deadline = Instant::now() + STARTING;
    loop {
        if !path.exists() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        match look_in(path) {
            // Somebody is preparing it.
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

/// What nobody may meet half done, and what is only true while nobody else works.
fn prepare(path: &Path) -> Result<Connection, OpenError> {
    let connection = schema::open_writer(path)?;
    schema::take_over(&connection, path)?;
    Ok(connection)
}
