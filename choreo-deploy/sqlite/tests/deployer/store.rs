// The store on SQLite.

use std::sync::Arc;

use choreo_deploy::store::Store;
use choreo_deploy_sqlite::SqliteStore;
pub(crate) use choreo_test_simulation::Timeless as TestStore;
use choreo_test_simulation::{Storage, at_once, folder};
use tempfile::TempDir;

/// A database in a temporary folder.
#[derive(Debug)]
struct Database(TempDir);

impl Storage for Database {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(at_once(SqliteStore::open(self.0.path().join("choreo.db"))).unwrap())
    }
}

/// Returns an empty store.
pub(crate) fn store() -> Arc<TestStore> {
    Arc::new(TestStore::new(Database(folder())))
}
