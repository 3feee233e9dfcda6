//! Runs generated histories of several workers, each with its own connection.
//!
//! `CHOREO_TEST_CASES` sets the number of histories (200 by default), `CHOREO_TEST_SEED` the first
//! one. The threads of the store run in real time, and the simulation waits for each call, so a
//! seed always produces the same history. The tests of concurrent calls are in
//! [`concurrency`](crate::concurrency).

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
