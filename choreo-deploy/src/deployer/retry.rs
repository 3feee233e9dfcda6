use std::time::Duration;

use jiff::Timestamp;

use super::Deployer;

/// How much slower the slowest looks are than the first ones.
const SLOWEST: u32 = 5;

/// The longest wait between two looks.
pub(super) fn slowest(poll: Duration) -> Duration {
    poll.saturating_mul(SLOWEST)
}

/// A time so much later, or the last that there is: an operator may turn a limit off by one that never
/// comes.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

impl Deployer {
    /// What is put off further than this was put off by a clock that was ahead; and how often the
    /// clock went back, for [`Jumps::caught_up`](super::jumps::Jumps::caught_up) once work was claimed.
    pub(super) fn horizon(&self, now: Timestamp) -> (Timestamp, Option<u64>) {
        let went_back = self.jumps.went_back(now);
        let longest = if went_back.is_some() {
            slowest(self.options.poll)
        } else {
            self.options.longest_wait()
        };
        (after(now, longest), went_back)
    }

    /// Whether the time for something is over, as far as this process has seen it pass.
    pub(super) fn deadline_is_over(&self, accepted_at: Timestamp, deadline_at: Timestamp) -> bool {
        self.jumps.without(self.clock.now(), accepted_at) >= deadline_at
    }

    /// When to try again after so many failures in a row: full jitter over a doubling wait, never
    /// before the other side said, never after the deadline.
    pub(super) fn next_try(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        deadline: Timestamp,
    ) -> Timestamp {
        let options = &self.options;
        let doubled = options.retry_first.saturating_mul(1 << attempt.min(16));
        let wait = self.chance.jitter(doubled.min(options.retry_longest));
        // A registry that says "in a day" is asked a few times until the deadline, to say so again.
        let asked = retry_after.unwrap_or_default();
        let wait = wait.max(asked.min(options.retry_after_longest));
        self.at_most(wait, deadline)
    }

    /// When to look again at something that is on its way since a moment.
    pub(super) fn next_look(&self, since: Timestamp, deadline: Timestamp) -> Timestamp {
        let age = self.clock.now().duration_since(since);
        let slower = match age.as_secs() {
            ..30 => 1,
            30..120 => 2,
            _ => SLOWEST,
        };
        self.at_most(self.options.poll.saturating_mul(slower), deadline)
    }

    fn at_most(&self, wait: Duration, deadline: Timestamp) -> Timestamp {
        let now = self.clock.now();
        let next = now.checked_add(wait).unwrap_or(deadline);
        // A deadline that a jump of the clock has left behind is no reason to hurry.
        if deadline > now {
            next.min(deadline)
        } else {
            next
        }
    }
}
