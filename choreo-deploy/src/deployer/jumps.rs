//! Jumps of the wall clock, seen beside a clock that only goes forward.
//!
//! What is stored has times of the wall clock, because nothing else outlives a process. An operator,
//! a time server or a machine that wakes up may set that clock; what was under way has not become
//! older by it.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Two clocks that are read one after the other differ by less than this.
const SAME: SignedDuration = SignedDuration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Jumps(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<(Timestamp, Instant)>,
    forward: Vec<Jump>,
    back: Vec<Jump>,
    went_back: bool,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    /// The last time before it.
    from: Timestamp,
    by: SignedDuration,
}

impl Jumps {
    /// Compares the wall clock with the other one. Says whether it went back since this was asked
    /// last.
    pub(super) fn went_back(&self, wall: Timestamp) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(wall, Instant::now());
        std::mem::take(&mut state.went_back)
    }

    /// What the time would be without the jumps since something was accepted.
    pub(super) fn without(&self, wall: Timestamp, accepted_at: Timestamp) -> Timestamp {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(wall, Instant::now());
        let since = |jumps: &[Jump]| {
            let since = jumps.iter().filter(|jump| jump.from >= accepted_at);
            since.fold(SignedDuration::ZERO, |sum, jump| {
                sum.saturating_add(jump.by)
            })
        };
        let ahead = since(&state.forward);
        // What was accepted at a time that is still to come was so before the clock went back.
        let behind = if accepted_at > wall {
            since(&state.back)
        } else {
            SignedDuration::ZERO
        };
        let by = behind.saturating_sub(ahead);
        wall.checked_add(by).unwrap_or(wall)
    }
}

impl State {
    fn look(&mut self, wall: Timestamp, steady: Instant) {
        let Some((from, then)) = self.last.replace((wall, steady)) else {
            return;
        };
        let passed = SignedDuration::try_from(steady.duration_since(then));
        let passed = passed.unwrap_or(SignedDuration::MAX);
        let by = wall.duration_since(from).saturating_sub(passed);
        if by > SAME {
            self.forward.push(Jump { from, by });
        } else if by < -SAME {
            self.went_back = true;
            self.take_back(from, -by);
        }
    }

    /// A clock that was wrong and is set right again has not jumped at all.
    fn take_back(&mut self, from: Timestamp, mut by: SignedDuration) {
        while let Some(jump) = self.forward.last_mut() {
            if jump.by > by {
                jump.by -= by;
                return;
            }
            by -= jump.by;
            self.forward.pop();
        }
        if by > SAME {
            self.back.push(Jump { from, by });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Reads the clock at seconds of the steady clock and of the wall clock.
    fn seen(readings: &[(u64, i64)]) -> State {
        let (mut state, begin) = (State::default(), Instant::now());
        for (steady, wall) in readings {
            state.look(at(*wall), begin + Duration::from_secs(*steady));
        }
        state
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    /// What the time would be at the last reading, for what was accepted at a moment.
    fn without(mut state: State, accepted: i64) -> Timestamp {
        let (wall, _) = state.last.take().unwrap();
        Jumps(Mutex::new(state)).without(wall, at(accepted))
    }

    #[test]
    fn a_clock_that_goes_on_has_not_jumped() {
        let state = seen(&[(0, 0), (100, 101), (5000, 5001)]);
        assert!(state.forward.is_empty() && state.back.is_empty() && !state.went_back);
    }

    #[test]
    fn what_was_accepted_before_a_jump_forward_has_not_become_older() {
        let readings = [(0, 0), (10, 10), (11, 3611)];
        assert_eq!(without(seen(&readings), 5), at(11));
        assert_eq!(without(seen(&readings), 3611), at(3611));
    }

    #[test]
    fn what_was_accepted_before_a_jump_back_gets_no_more_time() {
        let readings = [(0, 4000), (10, 4010), (11, 411)];
        assert!(seen(&readings).went_back);
        assert_eq!(without(seen(&readings), 4005), at(4011));
        assert_eq!(without(seen(&readings), 411), at(411));
    }

    #[test]
    fn forward_and_back_is_no_jump() {
        let readings = [(0, 0), (10, 10), (11, 3611), (12, 3612), (13, 13)];
        assert_eq!(without(seen(&readings), 5), at(13));
        assert!(seen(&readings).forward.is_empty());
        assert!(seen(&readings).back.is_empty());
    }
}
