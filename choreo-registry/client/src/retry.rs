//! The conditions for retries, and the waits before them.
//!
//! Every request of the client only reads, so each may be retried. Only transient failures are
//! retried: a broken connection, a registry that is briefly busy. All other errors are returned to
//! the caller.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use http::StatusCode;

use crate::transport::{TransportError, TransportErrorKind};

/// The policy and the budget for the retries of one client.
///
/// The wait grows and has full jitter, so that many clients do not retry at the same moment.
/// Successful requests refill a budget, which bounds the load that retries add to an outage: at
/// most one request in ten once the first ten are spent.
#[derive(Debug)]
pub(super) struct Retries {
    limit: u8,
    /// In tenths of a retry.
    budget: AtomicU32,
    random: AtomicU64,
}

/// The outcome of one exchange, as far as retries depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Answer {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    Failure(TransportErrorKind),
}

impl Outcome {
    pub(super) fn of<B>(
        result: &Result<http::Response<B>, TransportError>,
        retry_after: impl Fn(&http::HeaderMap) -> Option<Duration>,
    ) -> Self {
        match result {
            Ok(response) => Self::Answer {
                status: response.status(),
                retry_after: retry_after(response.headers()),
            },
            Err(error) => Self::Failure(error.kind()),
        }
    }

    /// Returns whether the failure is transient, and the wait that the registry names.
    fn passes(self) -> Option<Option<Duration>> {
        match self {
            Self::Failure(TransportErrorKind::Connect) => Some(None),
            // A registry that answers 429 counts requests: without a `Retry-After`, another
            // request only makes it worse.
            Self::Answer {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after,
            } => retry_after.map(Some),
            Self::Answer {
                status:
                    StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT,
                retry_after,
            } => Some(retry_after),
            Self::Answer { .. } | Self::Failure(_) => None,
        }
    }
}

impl Retries {
    pub(super) fn new(limit: u8) -> Self {
        // The standard library's only source of randomness.
        Self::seeded(limit, RandomState::new().hash_one(0))
    }

    pub(super) fn seeded(limit: u8, seed: u64) -> Self {
        Self {
            limit,
            budget: AtomicU32::new(BUDGET),
            random: AtomicU64::new(seed),
        }
    }

    /// Returns how long to wait after this attempt (the first is 1) before the next one; `None` if
    /// the outcome is final. `left` is the time to the deadline.
    pub(super) fn wait(&self, attempt: u8, outcome: Outcome, left: Duration) -> Option<Duration> {
        let Some(asked) = outcome.passes() else {
            self.refill();
            return None;
        };
        if attempt > self.limit || asked.is_some_and(|asked| asked > LONGEST) {
            return None;
        }
        let ceiling = FIRST
            .saturating_mul(1 << u32::from(attempt.min(8) - 1))
            .min(LONGEST);
        let wait = asked.unwrap_or_default() + self.jitter(ceiling);
        (wait < left && self.spend()).then_some(wait)
    }

    fn jitter(&self, ceiling: Duration) -> Duration {
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next_random() % nanos.saturating_add(1))
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): enough to spread waits, not for secrets.
    fn next_random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .random
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn spend(&self) -> bool {
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |budget| {
                budget.checked_sub(COST)
            })
            .is_ok()
    }

    fn refill(&self) {
        let full = |budget: u32| (budget < BUDGET).then(|| budget + 1);
        // An error means that the budget is full.
        let _ = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, full);
    }
}

/// The most retries of one request by default.
pub(super) const DEFAULT_RETRIES: u8 = 2;

/// The longest wait before the first retry; it doubles for each further one.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait. If a registry requires a longer one, the request is not retried.
const LONGEST: Duration = Duration::from_secs(2);

const COST: u32 = 10;
const BUDGET: u32 = 10 * COST;

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(30);

    fn answer(status: u16, retry_after: Option<u64>) -> Outcome {
        Outcome::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn only_what_passes_is_repeated() {
        use TransportErrorKind as K;
        let repeated = |outcome| Retries::seeded(2, 7).wait(1, outcome, LEFT).is_some();
        for outcome in [
            answer(502, None),
            answer(503, None),
            answer(503, Some(1)),
            answer(504, Some(2)),
            answer(429, Some(1)),
            answer(429, Some(0)),
            Outcome::Failure(K::Connect),
        ] {
            assert!(repeated(outcome), "{outcome:?}");
        }
        for outcome in [
            answer(200, None),
            answer(401, None),
            answer(404, Some(1)),
            answer(408, None),
            answer(429, None),
            answer(429, Some(3)),
            answer(500, None),
            answer(501, None),
            answer(503, Some(3)),
            Outcome::Failure(K::Blocked),
            Outcome::Failure(K::Protocol),
            Outcome::Failure(K::Resolve),
            Outcome::Failure(K::Timeout),
            Outcome::Failure(K::Tls),
            Outcome::Failure(K::TooLarge),
        ] {
            assert!(!repeated(outcome), "{outcome:?}");
        }
    }

    #[test]
    fn waits_grow_stay_below_their_ceiling_and_differ() {
        let mut longest = [Duration::ZERO; 3];
        for seed in 0..200 {
            let retries = Retries::seeded(3, seed);
            for attempt in 1..=3_u8 {
                let wait = retries.wait(attempt, answer(503, None), LEFT).unwrap();
                let slot = &mut longest[usize::from(attempt) - 1];
                *slot = wait.max(*slot);
            }
        }
        let ceilings = [100, 200, 400].map(Duration::from_millis);
        for (longest, ceiling) in longest.iter().zip(ceilings) {
            assert!(
                *longest <= ceiling && *longest > ceiling * 9 / 10,
                "{longest:?}"
            );
        }
        let asked = Retries::seeded(1, 7).wait(1, answer(503, Some(2)), LEFT);
        assert!(asked.unwrap() >= Duration::from_secs(2));
        // Guards that two clients do not wait for the same time.
        let first = |retries: Retries| retries.wait(1, answer(503, None), LEFT);
        assert_ne!(first(Retries::new(1)), first(Retries::new(1)));
    }

    #[test]
    fn the_limit_and_the_deadline_end_it() {
        let retries = Retries::seeded(2, 7);
        assert!(retries.wait(2, answer(503, None), LEFT).is_some());
        assert!(retries.wait(3, answer(503, None), LEFT).is_none());
        assert!(
            Retries::seeded(0, 7)
                .wait(1, answer(503, None), LEFT)
                .is_none()
        );
        let second = Duration::from_secs(1);
        assert!(retries.wait(1, answer(503, Some(1)), second).is_none());
        // The largest possible attempt does not overflow.
        assert!(
            Retries::seeded(255, 7)
                .wait(255, answer(503, None), LEFT)
                .is_some()
        );
    }

    /// In an outage the first ten requests are repeated, and then one for each ten that succeed.
    #[test]
    fn a_budget_bounds_what_retries_add() {
        let retries = Retries::seeded(2, 7);
        let repeat = || retries.wait(1, answer(503, None), LEFT).is_some();
        assert_eq!((0..1000).filter(|_| repeat()).count(), 10);
        for _ in 0..9 {
            let _ = retries.wait(1, answer(200, None), LEFT);
        }
        assert!(retries.wait(1, answer(503, None), LEFT).is_none());
        let _ = retries.wait(1, answer(200, None), LEFT);
        assert!(retries.wait(1, answer(503, None), LEFT).is_some());
        assert!(retries.wait(1, answer(503, None), LEFT).is_none());
    }
}
