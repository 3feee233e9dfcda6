use std::num::NonZeroUsize;
use std::time::Duration;

/// How a [`Deployer`](super::Deployer) works. Every default is here, and every value is taken: what
/// is longer than time goes on, [`Duration::MAX`] say, means never.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeployerOptions {
    /// Steps that run at once, those that are [slow](Self::slow_step) not counted. 16 by default.
    pub steps: NonZeroUsize,
    /// Steps that run at once for one data plane: as many that change something, and as many that
    /// look. 4 by default.
    pub steps_per_data_plane: NonZeroUsize,
    /// Steps that run at once for one organization, so that one that deploys much leaves room for
    /// others. 8 by default.
    pub steps_per_organization: NonZeroUsize,
    /// Calls to one registry at once. 8 by default.
    pub calls_per_registry: NonZeroUsize,
    /// After this long a step counts as slow: it gives its place among [`steps`](Self::steps) and
    /// those of its organization up, and counts only on its data plane or registry. So what does not
    /// answer holds up nothing else, however many of them there are. 500 ms by default.
    pub slow_step: Duration,
    /// How long a claim holds; a worker that dies is replaced after it. Renewed at a third of it.
    /// 30 s by default.
    pub lease: Duration,
    /// How long one call to a data plane or a registry may take. 60 s by default. All calls of one
    /// step of a run together take two thirds of the lease at most.
    pub call_timeout: Duration,
    /// How long a deployment may take until it has timed out. 15 min by default, and always five
    /// minutes more than the progress deadline of the workload, by which a rollout that stands still
    /// fails.
    pub deployment_deadline: Duration,
    /// The time after its deadline in which a failed deployment can still be taken back on its data
    /// plane, or a run that is late can still be stopped there. 5 min by default.
    pub take_back_grace: Duration,
    /// How much longer than its own deadline a run may take before it is given up: time to pull and
    /// to be scheduled. 5 min by default.
    pub run_grace: Duration,
    /// How often a rollout on its way is looked at. 1 s by default in its first half minute, later
    /// up to five times that.
    pub poll: Duration,
    /// The first wait before another try, doubled with each and with full jitter. 1 s by default.
    pub retry_first: Duration,
    /// The longest wait before another try. 60 s by default.
    pub retry_longest: Duration,
    /// The longest wait that the other side may ask for; where it asks for more, it is tried again
    /// after this. 5 min by default.
    pub retry_after_longest: Duration,
    /// How long an idempotency key that a caller sent is remembered. 24 h by default.
    pub key_lifetime: Duration,
    /// How long the same image and commit from CI is the same deployment without a key. 10 min by
    /// default.
    pub repeat_window: Duration,
    /// How often a worker looks for work, and a waiting reader for a change, by the clock, in case
    /// another process made it and no hint came. 5 s by default.
    pub look: Duration,
    /// The name of this worker, shown to people. The process id by default.
    pub worker: String,
}

impl Default for DeployerOptions {
    fn default() -> Self {
        let count = |count: usize| NonZeroUsize::MIN.saturating_add(count - 1);
        Self {
            steps: count(16),
            steps_per_data_plane: count(4),
            steps_per_organization: count(8),
            calls_per_registry: count(8),
            slow_step: Duration::from_millis(500),
            lease: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            deployment_deadline: Duration::from_secs(15 * 60),
            take_back_grace: Duration::from_secs(5 * 60),
            run_grace: Duration::from_secs(5 * 60),
            poll: Duration::from_secs(1),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(60),
            retry_after_longest: Duration::from_secs(5 * 60),
            key_lifetime: Duration::from_secs(24 * 60 * 60),
            repeat_window: Duration::from_secs(10 * 60),
            look: Duration::from_secs(5),
            worker: format!("process {}", std::process::id()),
        }
    }
}

impl DeployerOptions {
    /// Nothing is put off for longer than this.
    pub(super) fn longest_wait(&self) -> Duration {
        [
            self.lease,
            self.retry_longest,
            self.retry_after_longest,
            super::retry::slowest(self.poll),
        ]
        .into_iter()
        .max()
        .unwrap_or_default()
    }
}
