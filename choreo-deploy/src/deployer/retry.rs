use std::time::Duration;

use jiff::Timestamp;

use super::Deployer;

/// The factor between the longest and the first pause between observations.
const SLOWEST: u32 = 5;

/// Returns the longest pause between two observations.
pub(super) fn slowest(poll: Duration) -> Duration {
    poll.saturating_mul(SLOWEST)
}

/// Returns a later time, or the last timestamp: an operator may disable a limit with a time that never
/// comes.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

impl Deployer {
    /// Returns the time after which work is due only because of a clock that was ahead, and the number
    /// of jumps back for [`Jumps::caught_up`](super::jumps::Jumps::caught_up) after the claim.
    pub(super) fn horizon(&self, now: Timestamp) -> (Timestamp, Option<u64>) {
        let went_back = self.jumps.went_back(now);
        let longest = if went_back.is_some() {
            slowest(self.options.poll)
        } else {
            self.options.longest_wait()
        };
        (after(now, longest), went_back)
    }

    /// Returns `true` if a deadline is over, as far as this process has seen the time pass.
    pub(super) fn deadline_is_over(&self, accepted_at: Timestamp, deadline_at: Timestamp) -> bool {
        self.jumps.without(self.clock.now(), accepted_at) >= deadline_at
    }

    /// Returns the time of the next retry after consecutive failures. The pause doubles and has full
    /// jitter. The retry is neither before the time that the other side requested nor after the
    /// deadline.
    pub(super) fn next_try(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        deadline: Timestamp,
    ) -> Timestamp {
        let options = &self.options;
        let doubled = options.retry_first.saturating_mul(1 << attempt.min(16));
        let wait = self.entropy.jitter(doubled.min(options.retry_longest));
        // A registry that requests a day gets a few calls until the deadline, so that the reason stays.
        let asked = retry_after.unwrap_or_default();
        let wait = wait.max(asked.min(options.retry_after_longest));
        self.at_most(wait, deadline)
    }

    /// Returns the time at which accepted work tries again to find room on a data plane. The pause has
    /// full jitter. It grows with the age of the work, because many targets that wait for long must
    /// not fill the worker with their retries.
    pub(super) fn next_try_for_room(&self, accepted_at: Timestamp) -> Timestamp {
        let (now, options) = (self.clock.now(), &self.options);
        let age = Duration::try_from(now.duration_since(accepted_at)).unwrap_or_default();
        let longest = age.max(options.retry_first).min(options.retry_longest);
        after(now, self.entropy.jitter(longest))
    }

    /// Returns the time of the next observation of something that progresses since a time.
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
        // A deadline that a jump of the clock has passed must not make the retries immediate.
        if deadline > now {
            next.min(deadline)
        } else {
            next
        }
    }
}
