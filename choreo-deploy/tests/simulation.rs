//! Simulates histories of several workers over the store in memory.
//!
//! `CHOREO_TEST_CASES` sets the number of histories (default 200), `CHOREO_TEST_SEED` the first
//! seed.

use std::sync::Arc;

use choreo_deploy::store::{InMemoryStore, Store};
use choreo_test_simulation::{EVENTS, Storage, keeps_every_promise, simulate};

#[derive(Debug, Default)]
struct Memory(Arc<InMemoryStore>);

impl Storage for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::<InMemoryStore>::clone(&self.0)
    }
}

#[test]
fn every_history_keeps_every_promise() {
    keeps_every_promise(200, Memory::default);
}

/// Guards that a failure can be repeated with its seed.
#[test]
fn a_seed_makes_the_same_history_again() {
    for seed in 1..=20 {
        let [one, other] = [(); 2].map(|()| simulate(seed, EVENTS, Memory::default()));
        let different = std::iter::zip(&one.lines, &other.lines).find(|(one, other)| one != other);
        assert_eq!(different, None, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
}

/// The control: every kind of fault occurs in the histories.
#[test]
fn histories_are_eventful() {
    let histories = (1..=30).map(|seed| simulate(seed, EVENTS, Memory::default()));
    let histories: Vec<_> = histories.collect();
    let lines = || histories.iter().flat_map(|history| &history.lines);
    for (what, least) in [
        (": ready", 50),
        (": failed", 20),
        (": timed-out", 10),
        ("NewerDeployment", 1),
        ("ImagePlatformMismatch", 1),
        ("cancel", 1),
        (": succeeded", 3),
        ("rollback", 1),
        ("promotion", 3),
        ("stands still", 50),
        ("dies", 20),
        ("is told to stop", 10),
        ("no answer", 100),
        ("claim is stale", 50),
        ("the clock jumps by -", 5),
        ("loses", 5),
        ("somebody else deploys", 1),
        ("is silent: true", 5),
        ("enters another credential", 5),
        ("token is not accepted", 1),
        ("idempotency key was used for another request", 1),
    ] {
        let happened = lines().filter(|line| line.contains(what)).count();
        assert!(happened >= least, "{what}: {happened}");
    }
    let deployments: usize = histories.iter().map(|history| history.deployments).sum();
    let runs: usize = histories.iter().map(|history| history.runs).sum();
    assert!(
        deployments > 300 && runs >= 10,
        "{deployments} deployments, {runs} runs"
    );
}
