//! Histories of several workers, each with a connection of its own, as seeds make them.
//!
//! `CHOREO_TEST_CASES` sets how many (default 200), `CHOREO_TEST_SEED` the first. The store's threads
//! have a time of their own; the simulation waits for each call, so that a seed still makes the same
//! history again. What needs calls at once is in [`concurrency`](crate::concurrency).

use std::sync::Arc;

use choreo_deploy::store::Store;
use choreo_deploy_sqlite::SqliteStore;
use choreo_test_simulation::{EVENTS, Storage, at_once, folder, keeps_every_promise, simulate};
use tempfile::TempDir;

#[derive(Debug)]
struct Database(TempDir);

impl Storage for Database {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(at_once(SqliteStore::open_shared(self.0.path().join("choreo.db"))).unwrap())
    }
}

#[test]
fn every_history_keeps_every_promise() {
    keeps_every_promise(200, || Database(folder()));
}

#[test]
fn a_seed_makes_the_same_history_again() {
    for seed in 1..=3 {
        let [one, other] = [(); 2].map(|()| simulate(seed, EVENTS, Database(folder())));
        let different = std::iter::zip(&one.lines, &other.lines).find(|(one, other)| one != other);
        assert_eq!(different, None, "seed {seed}");
    }
}
