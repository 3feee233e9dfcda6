use tempfile::TempDir;

/// A folder for a store, which is removed when it is dropped. It is in memory if possible, because the
/// tests do not need the disk.
///
/// # Panics
///
/// Panics if the folder cannot be created.
#[must_use]
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder can be created")
}
