use tempfile::TempDir;

/// A folder for a store, removed when it is dropped. It is in memory if there is such a folder, because
/// nothing of it has to be on a disk.
///
/// # Panics
///
/// If no folder can be created.
#[must_use]
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder can be created")
}
