//! The store in memory keeps every promise of a store.

use choreo_deploy::store::InMemoryStore;

choreo_deploy::store_conformance!(async { InMemoryStore::new() });
