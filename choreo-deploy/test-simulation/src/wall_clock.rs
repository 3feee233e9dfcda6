//! A wall clock that can be set, next to the monotonic clock of the paused runtime.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use choreo_deploy::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct WallClock {
    began: Instant,
    ahead: Arc<AtomicI64>,
    jumped: Arc<Mutex<Option<Instant>>>,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            ahead: Arc::default(),
            jumped: Arc::default(),
        }
    }

    pub(crate) fn jump(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
        let mut jumped = self.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        *jumped = Some(Instant::now());
    }

    pub(crate) fn has_jumped_since(&self, when: Instant) -> bool {
        let jumped = self.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        jumped.is_some_and(|jumped| jumped >= when)
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.ahead.load(Ordering::SeqCst));
        Timestamp::from_second(1_800_000_000).expect("in range") + self.began.elapsed() + ahead
    }
}
