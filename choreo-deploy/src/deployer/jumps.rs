//! Jumps of the wall clock, detected with a steady clock.
//!
//! Stored times are times of the wall clock, because no other clock outlives a process. An operator,
//! a time server or a machine that wakes up may set that clock. This does not age the work.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The largest difference between the readings of the two clocks that is not a jump.
const SAME: SignedDuration = SignedDuration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Jumps(Mutex<State>);

/// The number of jumps that are remembered. The oldest is forgotten first.
const MOST: usize = 100;

#[derive(Debug, Default)]
struct State {
    last: Option<(Timestamp, Instant)>,
    /// The jumps in the order in which they were detected.
    jumps: Vec<Jump>,
    /// The number of jumps back.
    went_back: u64,
    /// The number of jumps back whose postponed work was claimed.
    caught_up: u64,
}

/// A jump of the wall clock between two readings.
#[derive(Clone, Copy, Debug)]
struct Jump {
    from: Timestamp,
    to: Timestamp,
    /// The time between the readings.
    passed: SignedDuration,
    /// The size of the jump, negative if the clock went back.
    by: SignedDuration,
}

impl Jumps {
    /// Compares the wall clock with the steady clock. Returns how often the wall clock went back, or
    /// `None` if a worker has [caught up](Self::caught_up) with all these jumps.
    pub(super) fn went_back(&self, wall: Timestamp) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(wall, Instant::now());
        (state.went_back > state.caught_up).then_some(state.went_back)
    }

    /// Records that the work that the first `times` jumps back had postponed was claimed.
    ///
    /// A total and not a difference: workers that share a deployer report the same jump.
    pub(super) fn caught_up(&self, times: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.caught_up = state.caught_up.max(times);
    }

    /// Returns the time without the jumps since something was accepted.
    pub(super) fn without(&self, wall: Timestamp, accepted_at: Timestamp) -> Timestamp {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(wall, Instant::now());
        let by = state.since(wall, accepted_at);
        wall.checked_sub(by).unwrap_or(wall)
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
        if by.abs() <= SAME {
            return;
        }
        if by.is_negative() {
            self.went_back = self.went_back.saturating_add(1);
        }
        if self.jumps.len() == MOST {
            self.jumps.remove(0);
        }
        self.jumps.push(Jump {
            from,
            to: wall,
            passed,
            by,
        });
    }

    /// Returns the sum of the jumps since something was accepted. After a jump back, the clock shows the
    /// same times again, and the latest of them counts.
    fn since(&self, wall: Timestamp, accepted_at: Timestamp) -> SignedDuration {
        let (mut end, mut since) = (wall, SignedDuration::ZERO);
        for jump in self.jumps.iter().rev() {
            // The clock was set at an unknown time between the readings.
            let margin = jump.passed.saturating_add(SAME);
            let begin = jump.to.checked_sub(margin).unwrap_or(Timestamp::MIN);
            if (begin..=end).contains(&accepted_at) {
                return since;
            }
            end = jump.from.checked_add(margin).unwrap_or(Timestamp::MAX);
            since = since.saturating_add(jump.by);
        }
        if accepted_at <= end {
            since
        } else {
            // This process has never read that time.
            SignedDuration::ZERO
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

    /// Returns the time of the last reading without the jumps since an acceptance.
    fn without(mut state: State, accepted: i64) -> Timestamp {
        let (wall, _) = state.last.take().unwrap();
        Jumps(Mutex::new(state)).without(wall, at(accepted))
    }

    #[test]
    fn a_clock_that_goes_on_has_not_jumped() {
        let state = seen(&[(0, 0), (100, 101), (5000, 5001)]);
        assert_eq!((state.jumps.len(), state.went_back), (0, 0));
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
        assert_eq!(seen(&readings).went_back, 1);
        assert_eq!(without(seen(&readings), 4005), at(4011));
        assert_eq!(without(seen(&readings), 411), at(411));
    }

    /// A claim may fail, and the clock may go back again during a claim.
    #[tokio::test(start_paused = true)]
    async fn a_jump_back_is_known_until_it_is_caught_up_with() {
        let jumps = Jumps::default();
        assert_eq!(jumps.went_back(at(9000)), None);
        assert_eq!(jumps.went_back(at(6000)), Some(1));
        assert_eq!(jumps.went_back(at(6000)), Some(1));
        assert_eq!(jumps.went_back(at(3000)), Some(2));
        jumps.caught_up(1);
        assert_eq!(jumps.went_back(at(3000)), Some(2));
        jumps.caught_up(2);
        assert_eq!(jumps.went_back(at(3000)), None);
    }

    /// Two workers that share a deployer report the same jump. This must not hide a later one.
    #[tokio::test(start_paused = true)]
    async fn a_jump_that_two_workers_caught_up_with_hides_no_other() {
        let jumps = Jumps::default();
        jumps.went_back(at(9000));
        let [one, two] = [(); 2].map(|()| jumps.went_back(at(6000)).unwrap());
        jumps.went_back(at(3000));
        jumps.caught_up(one);
        jumps.caught_up(two);
        assert_eq!(jumps.went_back(at(3000)), Some(2));
    }

    /// A deployment with 15 minutes must not time out in the first minute.
    #[test]
    fn only_jumps_after_it_was_accepted_count() {
        let twice_back = [(0, 9000), (10, 9010), (11, 6011), (20, 6020), (21, 3021)];
        assert_eq!(without(seen(&twice_back), 9005), at(9021));
        assert_eq!(without(seen(&twice_back), 6015), at(6021));
        assert_eq!(without(seen(&twice_back), 3021), at(3021));
        let forward_then_back = [(0, 0), (10, 10), (11, 9011), (20, 9020), (21, 4021)];
        assert_eq!(without(seen(&forward_then_back), 5), at(21));
        assert_eq!(without(seen(&forward_then_back), 9015), at(9021));
    }

    #[test]
    fn forward_and_back_is_no_jump() {
        let readings = [(0, 0), (10, 10), (11, 3611), (12, 3612), (13, 13)];
        assert_eq!(without(seen(&readings), 5), at(13));
    }

    /// A deployment that was accepted while the clock was ahead must not get more time.
    #[test]
    fn what_was_accepted_while_the_clock_was_ahead_gets_no_more_time() {
        let readings = [(0, 0), (10, 10), (11, 3611), (12, 3612), (1013, 1013)];
        assert_eq!(without(seen(&readings), 3611), at(4613));
    }

    #[test]
    fn a_time_that_nobody_has_seen_is_as_it_is() {
        let readings = [(0, 0), (10, 10), (11, 3611)];
        assert_eq!(without(seen(&readings), 100), at(3611));
        assert_eq!(without(seen(&readings), 9000), at(3611));
    }

    #[test]
    fn old_jumps_are_forgotten() {
        let readings: Vec<_> = (0..300)
            .map(|n| (n, i64::try_from(n).unwrap() * 100))
            .collect();
        assert_eq!(seen(&readings).jumps.len(), MOST);
    }
}
