//! How long a connection may go on as it does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::ServerLimits;
use super::crowd::Guest;

/// What a connection does at the moment, and until when it may.
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
    /// Whether a request was answered since the connection was polled last.
    has_had_its_turn: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The head of a request is to come, and nothing of it has come yet.
    Idle { until: Instant },
    /// The head of a request is coming.
    Head { until: Instant },
    /// A request is being answered.
    Busy,
}

/// Something could not be sent at once.
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

    /// When the connection is too slow unless something happens; `None` while a request is answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let now = self.now();
        match (now.write, now.phase) {
            (Some(write), _) => Some(write.since + self.limits.write_time(write.taken)),
            (None, Phase::Idle { until } | Phase::Head { until }) => Some(until),
            (None, Phase::Busy) => None,
        }
    }

    /// Whether the client does not take what is sent.
    pub(super) fn is_stalled(&self) -> bool {
        self.now().write.is_some()
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// The connection is polled.
    pub(super) fn begin_turn(&self) {
        self.now().has_had_its_turn = false;
    }

    /// Bytes have come.
    pub(super) fn has_read(&self) {
        let mut now = self.now();
        if let Phase::Idle { until } = now.phase {
            // The first head's time began with the connection.
            let until = match now.requests {
                0 => until,
                _ => Instant::now() + self.limits.head,
            };
            now.phase = Phase::Head { until };
        }
    }

    /// A whole head has come. `None` when the connection is about to end: then the request must not
    /// be answered. Otherwise a guard for the time until it is answered.
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

    /// The client does not take more at the moment.
    pub(super) fn is_stuck(&self) {
        self.now().write.get_or_insert_with(|| Write {
            since: Instant::now(),
            taken: 0,
        });
    }

    pub(super) fn has_written(&self, bytes: usize) {
        if let Some(write) = &mut self.now().write {
            write.taken = write.taken.saturating_add(bytes as u64);
        }
    }

    /// Everything is sent.
    pub(super) fn has_flushed(&self) {
        self.now().write = None;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request is being answered until this is dropped.
#[derive(Debug)]
pub(super) struct Answering {
    pace: Arc<Pace>,
    /// Whether the connection is to end with this answer.
    pub(super) is_last: bool,
    /// Whether the others come first: a client that sends one request after the other without waiting
    /// for an answer would otherwise have many answered at a time.
    must_yield: bool,
}

impl Answering {
    /// Lets all others go first, if this connection has had its turn.
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
