//! Random choices that a seed determines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use choreo_deploy::clock::Entropy;
use choreo_deploy::id::{DeploymentId, RunId};

/// Pseudo-random numbers from a seed (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Debug)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn millis(&self, below: u64) -> Duration {
        Duration::from_millis(self.below(below.max(1)))
    }

    pub(crate) fn of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64));
        &choices[index.expect("an index of a slice")]
    }
}

impl Entropy for Dice {
    fn deployment_id(&self) -> DeploymentId {
        let id = format!("d-{:016x}", self.next());
        id.parse().expect("letters and digits make an id")
    }

    fn run_id(&self) -> RunId {
        let id = format!("r-{:016x}", self.next());
        id.parse().expect("letters and digits make an id")
    }

    fn jitter(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.below(1_000) as f64 / 1_000.0)
    }
}
