//! The health of data planes and registries: one that does not answer gets one call at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of consecutive unanswered calls after which only one call at a time passes.
const SILENT: u32 = 3;

/// The health of data planes or registries.
#[derive(Debug)]
pub(super) struct Health<K> {
    known: Mutex<HashMap<K, Known>>,
    /// The number of concurrent calls to each of them.
    at_once: usize,
}

#[derive(Debug)]
struct Known {
    /// The number of consecutive unanswered calls.
    unanswered: u32,
    /// `true` if a call tries it at this moment, while it is silent.
    tried: bool,
    calls: usize,
    places: Arc<Semaphore>,
}

impl<K: Clone + Eq + Hash> Health<K> {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            known: Mutex::default(),
            at_once: at_once.min(Semaphore::MAX_PERMITS),
        }
    }

    /// Lets a call pass. Returns `None` if the other side is silent and another call already tries it.
    pub(super) fn pass(self: &Arc<Self>, key: &K) -> Option<Pass<K>> {
        let mut known = self.lock();
        let entry = known.entry(key.clone()).or_insert_with(|| Known {
            unanswered: 0,
            tried: false,
            calls: 0,
            places: Arc::new(Semaphore::new(self.at_once)),
        });
        let silent = entry.unanswered >= SILENT;
        if silent && entry.tried {
            return None;
        }
        entry.tried |= silent;
        entry.calls += 1;
        Some(Pass {
            health: Arc::clone(self),
            key: key.clone(),
            places: Arc::clone(&entry.places),
            tries: silent,
            answered: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that passes. If it is dropped without [`tell`](Self::tell), the health is unchanged.
#[derive(Debug)]
pub(super) struct Pass<K: Clone + Eq + Hash> {
    health: Arc<Health<K>>,
    key: K,
    places: Arc<Semaphore>,
    tries: bool,
    answered: Option<bool>,
}

impl<K: Clone + Eq + Hash> Pass<K> {
    /// Waits for one of the places for concurrent calls.
    pub(super) fn place(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<K> {
        let places = Arc::clone(&self.places);
        async move { places.acquire_owned().await.ok() }
    }

    /// Records whether there was an answer, including an error.
    pub(super) fn tell(mut self, answered: bool) {
        self.answered = Some(answered);
    }
}

impl<K: Clone + Eq + Hash> Drop for Pass<K> {
    fn drop(&mut self) {
        let mut known = self.health.lock();
        let Some(entry) = known.get_mut(&self.key) else {
            return;
        };
        entry.calls -= 1;
        if self.tries {
            entry.tried = false;
        }
        match self.answered {
            Some(true) => entry.unanswered = 0,
            Some(false) => entry.unanswered = entry.unanswered.saturating_add(1),
            None => {}
        }
        // A peer that answers needs no entry.
        if entry.calls == 0 && entry.unanswered == 0 {
            known.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Arc<Health<&'static str>> {
        let health = Arc::new(Health::new(1));
        for _ in 0..SILENT {
            health.pass(&"eu-1").unwrap().tell(false);
        }
        health
    }

    #[test]
    fn what_is_silent_is_tried_by_one_at_a_time() {
        let health = silent();
        let first = health.pass(&"eu-1").unwrap();
        assert!(health.pass(&"eu-1").is_none());
        assert!(health.pass(&"us-1").is_some(), "others are not");
        first.tell(false);
        let second = health.pass(&"eu-1").unwrap();
        second.tell(true);
        let (_one, _two) = (health.pass(&"eu-1").unwrap(), health.pass(&"eu-1").unwrap());
    }

    #[test]
    fn an_answer_in_between_begins_anew() {
        let health = Arc::new(Health::new(1));
        for answered in [false, false, true, false, false] {
            health.pass(&"eu-1").unwrap().tell(answered);
        }
        let (_one, _two) = (health.pass(&"eu-1").unwrap(), health.pass(&"eu-1").unwrap());
    }

    #[test]
    fn a_try_that_is_dropped_lets_another_through() {
        let health = silent();
        drop(health.pass(&"eu-1").unwrap());
        assert!(health.pass(&"eu-1").is_some());
    }

    #[test]
    fn what_answers_is_forgotten() {
        let health = Arc::new(Health::new(1));
        health.pass(&"eu-1").unwrap().tell(true);
        assert!(health.lock().is_empty());
    }
}
