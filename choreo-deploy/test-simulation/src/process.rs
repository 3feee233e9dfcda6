//! A process of the control plane, which may be paused or have ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The id of a process. It is different after a restart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ProcessId(pub(crate) u32);

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.0)
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    is_frozen: AtomicBool,
    thawed: Notify,
    looked: Mutex<Instant>,
    went_on: Mutex<Option<Instant>>,
}

impl Process {
    pub(crate) fn new(id: ProcessId) -> Self {
        Self {
            id,
            is_frozen: AtomicBool::new(false),
            thawed: Notify::new(),
            looked: Mutex::new(Instant::now()),
            went_on: Mutex::new(None),
        }
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.is_frozen.store(frozen, Ordering::SeqCst);
        if !frozen {
            *self.went_on.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.thawed.notify_waiters();
        }
    }

    /// Returns the time of the last search for work that got an answer.
    pub(crate) fn looked(&self) -> Instant {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a search that began at this time got an answer.
    pub(crate) fn got_answer(&self, began: Instant) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// Returns `true` if it was paused recently, so that it acts on old observations.
    pub(crate) fn stood_still(&self) -> bool {
        let went_on = self.went_on.lock().unwrap_or_else(PoisonError::into_inner);
        went_on.is_some_and(|went_on| went_on.elapsed() < Duration::from_secs(30))
    }

    /// Returns when the process is not paused. Time passes meanwhile, and the deadlines of its calls
    /// may expire.
    pub(crate) async fn thawed(&self) {
        while self.is_frozen.load(Ordering::SeqCst) {
            self.thawed.notified().await;
        }
    }
}
