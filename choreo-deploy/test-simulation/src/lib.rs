//! A deterministic simulation of the deployer over any store, for tests.
//!
//! A history is a small control plane that a seed determines: two organizations, six components,
//! three data planes, and up to three processes that start, pause, stop and crash. Calls are slow,
//! are lost, or take effect after the caller has given up. The wall clock is set. Meanwhile, people
//! and machines deploy, promote, roll back, remove, run and cancel, and change the inventory and the
//! registries. Then the faults end, all work must end in time, and the record must match the data
//! planes.
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
//! The time is that of a paused tokio runtime, and each call of the store completes at one moment
//! of it, so a seed always produces the same history, line by line.

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

/// The source of the store of a history.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Opens a connection for one process to the shared data.
    fn open(&self) -> Arc<dyn Store>;
}

/// The result of a simulation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The log.
    pub lines: Vec<String>,
    /// The first broken promise.
    pub broken: Option<String>,
    /// The number of stored deployments.
    pub deployments: usize,
    /// The number of stored runs.
    pub runs: usize,
}

/// Simulates the history of a seed with this number of events and their completion.
#[must_use]
pub fn simulate(seed: u64, events: usize, storage: impl Storage) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing");
    runtime.block_on(history::history(seed, events, Arc::new(storage)))
}

/// The number of events in a history.
pub const EVENTS: usize = 60;

/// Simulates histories on all cores. Their number is `usual` or `CHOREO_TEST_CASES`, and the first
/// seed is `CHOREO_TEST_SEED`.
///
/// # Panics
///
/// Panics if a history breaks a promise. The message contains the seed, the fewest events that
/// break the promise, the end of the log, and the command to repeat the history.
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

/// The number of log lines in a failure, unless a seed was chosen.
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
