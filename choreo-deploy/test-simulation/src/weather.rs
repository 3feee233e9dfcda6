//! The percentages of calls that fail.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct Weather {
    store: AtomicU64,
    plane: AtomicU64,
    registry: AtomicU64,
    catalog: AtomicU64,
    /// The inventory always answers.
    pub(crate) has_sure_catalog: bool,
}

impl Weather {
    pub(crate) fn new(dice: &Dice) -> Self {
        let one_of = |choices: &[u64]| AtomicU64::new(*dice.of(choices));
        let catalog = one_of(&[0, 0, 3]);
        Self {
            has_sure_catalog: catalog.load(Ordering::SeqCst) == 0,
            catalog,
            store: one_of(&[0, 1, 3, 8]),
            plane: one_of(&[0, 4, 10, 25]),
            registry: one_of(&[0, 10, 25]),
        }
    }

    /// Ends all faults except permanent ones.
    pub(crate) fn clears(&self) {
        for faults in [&self.store, &self.plane, &self.registry, &self.catalog] {
            faults.store(0, Ordering::SeqCst);
        }
    }

    pub(crate) fn store(&self) -> u64 {
        self.store.load(Ordering::SeqCst)
    }

    pub(crate) fn plane(&self) -> u64 {
        self.plane.load(Ordering::SeqCst)
    }

    pub(crate) fn registry(&self) -> u64 {
        self.registry.load(Ordering::SeqCst)
    }

    pub(crate) fn catalog(&self) -> u64 {
        self.catalog.load(Ordering::SeqCst)
    }
}
