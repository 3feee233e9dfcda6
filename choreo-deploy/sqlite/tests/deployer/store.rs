// The store on SQLite.

use std::path::PathBuf;
use std::sync::Arc;

use choreo_deploy::store::Store;
use choreo_deploy_sqlite::SqliteStore;
pub(crate) use choreo_test_simulation::Timeless as TestStore;
use choreo_test_simulation::{Storage, at_once};
use tempfile::TempDir;

/// A database in a folder of its own.
#[derive(Debug)]
struct Database(TempDir);

impl Database {
    /// In memory where there is such a folder: nothing of it has to be on a disk.
    fn new() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap()))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("choreo.db")
    }
}

impl Storage for Database {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(at_once(SqliteStore::open(self.path())).unwrap())
    }
}

/// An empty store.
pub(crate) fn store() -> Arc<TestStore> {
    Arc::new(TestStore::new(Database::new()))
}
