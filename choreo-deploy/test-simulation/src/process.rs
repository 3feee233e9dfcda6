//! A process of the control plane: it may stand still, and it may be gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// One life of a process; after a restart it is another.
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

    /// When it looked for work the last time that it got an answer.
    pub(crate) fn looked(&self) -> Instant {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It got an answer to a look that began at a moment.
    pub(crate) fn got_answer(&self, began: Instant) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// Whether it stood still a short while ago: then it acts by what it saw before.
    pub(crate) fn stood_still(&self) -> bool {
        let went_on = self.went_on.lock().unwrap_or_else(PoisonError::into_inner);
        went_on.is_some_and(|went_on| went_on.elapsed() < Duration::from_secs(30))
    }

    /// Returns once the process goes on. Time passes meanwhile, and so do the deadlines of its calls.
    pub(crate) async fn thawed(&self) {
        while self.is_frozen.load(Ordering::SeqCst) {
            self.thawed.notified().await;
        }
    }
}
