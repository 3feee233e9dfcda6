//! A deterministic simulation of the deployer over any store, for tests.
//!
//! A history is what a seed makes of a small control plane: two organizations, six components, three
//! data planes, up to three processes that start, stand still, stop and die; calls that are slow, are
//! lost, or happen after whoever made them has given up; a wall clock that is set; and people and
//! machines that deploy, promote, roll back, remove, run and cancel meanwhile, and change what the
//! inventory and the registries say. Then the weather clears, everything must end in time, and the
//! record must say what the data planes have.
//!
//! ```
//! use std::sync::Arc;
//!
//! use choreo_deploy::store::{InMemoryStore, Store};
//! use choreo_test_simulation::{Storage, simulate};
//!
//! #[derive(Debug)]
//! struct Memory(Arc<InMemoryStore>);
//!
//! impl Storage for Memory {
//!     fn open(&self) -> Arc<dyn Store> {
//!         Arc::<InMemoryStore>::clone(&self.0)
//!     }
//! }
//!
//! let history = simulate(7, 20, Memory(Arc::default()));
//! assert_eq!(history.broken, None);
//! ```
//!
//! Time is that of a paused tokio runtime, and each call of the store takes one moment of it, so a
//! seed makes the same history again, line by line.

mod acknowledged;
mod at_once;
mod checks;
mod control_plane;
mod dice;
mod events;
mod folder;
mod history;
mod inventory;
mod journal;
mod ledger;
mod plane;
mod process;
mod registries;
mod seen_plane;
mod seen_store;
mod timeless;
mod wall_clock;
mod weather;
mod world;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use choreo_deploy::store::Store;

pub use self::at_once::at_once;
pub use self::folder::folder;
pub use self::timeless::Timeless;

/// Where the store of a history comes from.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// A connection for one process, to what all others have stored.
    fn open(&self) -> Arc<dyn Store>;
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// Everything, a line each.
    pub lines: Vec<String>,
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// Deployments that were stored.
    pub deployments: usize,
    /// Runs that were stored.
    pub runs: usize,
}

/// Lets so many events happen, as the seed says, and then everything end.
#[must_use]
pub fn simulate(seed: u64, events: usize, storage: impl Storage) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing");
    runtime.block_on(history::history(seed, events, Arc::new(storage)))
}

/// How many events there are in a history.
pub const EVENTS: usize = 60;

/// Simulates histories on all cores, `usual` of them or as many as `CHOREO_TEST_CASES` says, from the
/// seed that `CHOREO_TEST_SEED` names.
///
/// # Panics
///
/// When a history breaks a promise: with its seed, the fewest events with which it does so, what
/// happened last, and how to run it again.
pub fn keeps_every_promise<S: Storage>(usual: u64, storage: impl Fn() -> S + Sync) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        let number = text.parse::<u64>();
        Some(number.unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let cases = number("CHOREO_TEST_CASES").unwrap_or(usual);
    let first = number("CHOREO_TEST_SEED").unwrap_or(1);
    let (next, broken) = (AtomicU64::new(first), Mutex::new(None));
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    let mut broken = match seed - first < cases {
                        true if simulate(seed, EVENTS, storage()).broken.is_none() => continue,
                        true => broken.lock().unwrap_or_else(PoisonError::into_inner),
                        false => return,
                    };
                    *broken = Some(broken.map_or(seed, |other: u64| other.min(seed)));
                    return next.store(first.saturating_add(cases), Ordering::SeqCst);
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = broken {
        let fewest = (1..=EVENTS).map(|events| (events, simulate(seed, events, storage())));
        let mut fewest = fewest.filter(|(_, history)| history.broken.is_some());
        match fewest.next() {
            Some((events, history)) => fail(seed, events, &history),
            None => panic!("seed {seed} broke a promise, and did not again"),
        }
    }
}

/// How many lines a failure shows, unless a seed was asked for.
const LAST: usize = 200;

fn fail(seed: u64, events: usize, history: &History) -> ! {
    let shown = match std::env::var_os("CHOREO_TEST_SEED") {
        Some(_) => history.lines.len(),
        None => LAST,
    };
    let last = history.lines.len().saturating_sub(shown);
    let broken = history.broken.as_deref().unwrap_or_default();
    panic!(
        "{}\n\nseed {seed}, {events} events: {broken}\nagain: CHOREO_TEST_SEED={seed} CHOREO_TEST_CASES=1",
        history.lines[last..].join("\n")
    );
}
