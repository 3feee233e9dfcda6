use std::num::NonZeroUsize;
use std::time::Duration;

/// How a [`Deployer`](super::Deployer) works. Every default is here.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeployerOptions {
    /// Steps that run at once. 16 by default.
    pub steps: NonZeroUsize,
    /// Steps that run at once for one data plane, so that one that does not answer holds up no
    /// other. 4 by default.
    pub steps_per_data_plane: NonZeroUsize,
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
            lease: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            deployment_deadline: Duration::from_secs(15 * 60),
            run_grace: Duration::from_secs(5 * 60),
            poll: Duration::from_secs(1),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(60),
            key_lifetime: Duration::from_secs(24 * 60 * 60),
            repeat_window: Duration::from_secs(10 * 60),
            look: Duration::from_secs(5),
            worker: format!("process {}", std::process::id()),
        }
    }
}
