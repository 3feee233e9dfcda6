//! The deadlines of a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::ServerLimits;
use super::crowd::Guest;

/// The phase of a connection and its deadline.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Arc<ServerLimits>,
    guest: Guest,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    phase: Phase,
    write: Option<Write>,
    requests: u32,
    /// Whether a request was processed since the connection was last polled.
    has_had_its_turn: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No byte of the next request's head has arrived.
    Idle { until: Instant },
    /// The head of a request is incomplete.
    Head { until: Instant },
    /// A request is in progress.
    Busy,
}

/// A response that could not be written at once.
#[derive(Clone, Copy, Debug)]
struct Write {
    since: Instant,
    taken: u64,
}

impl Pace {
    pub(super) fn new(limits: Arc<ServerLimits>, guest: Guest) -> Self {
        let until = Instant::now() + limits.head;
        Self {
            limits,
            guest,
            now: Mutex::new(Now {
                phase: Phase::Idle { until },
                write: None,
                requests: 0,
                has_had_its_turn: false,
            }),
        }
    }

    /// Returns the time after which the connection is too slow; `None` while a request is in progress.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let now = self.now();
        match (now.write, now.phase) {
            (Some(write), _) => Some(write.since + self.limits.write_time(write.taken)),
            (None, Phase::Idle { until } | Phase::Head { until }) => Some(until),
            (None, Phase::Busy) => None,
        }
    }

    /// Returns `true` if the client does not read a response.
    pub(super) fn is_stalled(&self) -> bool {
        self.now().write.is_some()
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Starts a poll of the connection.
    pub(super) fn begin_turn(&self) {
        self.now().has_had_its_turn = false;
    }

    /// Records that bytes have arrived.
    pub(super) fn has_read(&self) {
        let mut now = self.now();
        if let Phase::Idle { until } = now.phase {
            // The time of the first head started with the connection.
            let until = match now.requests {
                0 => until,
                _ => Instant::now() + self.limits.head,
            };
            now.phase = Phase::Head { until };
        }
    }

    /// Records that a head is complete. Returns a guard for the time of the request, or `None` if the
    /// connection is about to end: then the request must not be processed.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Answering> {
        if !self.guest.is_busy() {
            return None;
        }
        let mut now = self.now();
        now.phase = Phase::Busy;
        now.requests += 1;
        let is_last = now.requests >= self.limits.requests || self.guest.places_are_scarce();
        let must_yield = std::mem::replace(&mut now.has_had_its_turn, true);
        drop(now);
        let pace = Arc::clone(self);
        Some(Answering {
            pace,
            is_last,
            must_yield,
        })
    }

    /// Records that the client does not read. Until it does, its connection can be shed, even if the
    /// response is not complete: otherwise clients that do not read could take every place.
    pub(super) fn is_stuck(&self) {
        let mut now = self.now();
        if now.write.is_none() {
            now.write = Some(Write {
                since: Instant::now(),
                taken: 0,
            });
            drop(now);
            self.guest.is_quiet();
        }
    }

    pub(super) fn has_written(&self, bytes: usize) {
        if let Some(write) = &mut self.now().write {
            write.taken = write.taken.saturating_add(bytes as u64);
        }
    }

    /// Records that everything is written.
    pub(super) fn has_flushed(&self) {
        let mut now = self.now();
        let was_stuck = now.write.take().is_some();
        let is_busy = matches!(now.phase, Phase::Busy);
        drop(now);
        if was_stuck && is_busy {
            // If the place is lost, the connection ends anyway.
            self.guest.is_busy();
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct Answering {
    pace: Arc<Pace>,
    /// Whether the connection ends with this response.
    pub(super) is_last: bool,
    /// Whether other connections come first. Otherwise a client that pipelines requests would have
    /// many of them processed in one poll.
    must_yield: bool,
}

impl Answering {
    /// Lets other connections run first if this one has had its turn.
    pub(super) async fn wait_for_turn(&self) {
        if self.must_yield {
            tokio::task::yield_now().await;
            self.pace.now().has_had_its_turn = true;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let until = Instant::now() + self.pace.limits.keep_alive;
        self.pace.now().phase = Phase::Idle { until };
        self.pace.guest.is_quiet();
    }
}
