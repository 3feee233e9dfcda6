//! Guards that the store in memory passes the conformance suite of stores.

use choreo_deploy::store::InMemoryStore;

choreo_deploy::store_conformance!(async { InMemoryStore::new() });
