// The store in memory.

use std::sync::Arc;

pub(crate) use choreo_deploy::store::InMemoryStore as TestStore;

/// An empty store.
pub(crate) fn store() -> Arc<TestStore> {
    Arc::new(TestStore::new())
}
