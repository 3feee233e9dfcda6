use std::time::Duration;

use jiff::Timestamp;

use super::Deployer;

impl Deployer {
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
        // A registry that says "in a day" is asked again at the deadline, to say so once more.
        let wait = wait.max(retry_after.unwrap_or_default());
        self.at_most(wait, deadline)
    }

    /// When to look again at something that is on its way since a moment.
    pub(super) fn next_look(&self, since: Timestamp, deadline: Timestamp) -> Timestamp {
        let age = self.clock.now().duration_since(since);
        let slower = match age.as_secs() {
            ..30 => 1,
            30..120 => 2,
            _ => 5,
        };
        self.at_most(self.options.poll * slower, deadline)
    }

    fn at_most(&self, wait: Duration, deadline: Timestamp) -> Timestamp {
        let now = self.clock.now();
        now.checked_add(wait)
            .unwrap_or(deadline)
            .min(deadline.max(now))
    }
}
