use std::num::NonZeroUsize;
use std::time::Duration;

/// The options of a [`Deployer`](super::Deployer), with all defaults.
///
/// Every value is valid: a duration that ends after the last timestamp, such as
/// [`Duration::MAX`], means never.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeployerOptions {
    /// The number of concurrent steps, without [slow](Self::slow_step) ones. 16 by default.
    pub steps: NonZeroUsize,
    /// The number of concurrent steps that change a data plane, and of those that observe it. 4 by
    /// default.
    pub steps_per_data_plane: NonZeroUsize,
    /// The number of concurrent steps of one organization, so that a busy organization leaves room for
    /// the others. 8 by default.
    pub steps_per_organization: NonZeroUsize,
    /// The number of concurrent calls to one registry. 8 by default.
    pub calls_per_registry: NonZeroUsize,
    /// The time after which a step is slow: it no longer counts among [`steps`](Self::steps) and the
    /// steps of its organization, only for its data plane or registry. So any number of data planes and
    /// registries that do not answer delay no other work. 500 ms by default.
    pub slow_step: Duration,
    /// The time until a claim expires, after which another worker replaces one that died. A worker
    /// renews a claim after a third of this time. 30 s by default.
    pub lease: Duration,
    /// The longest call to a data plane, a registry or the catalog. 60 s by default. All calls of one
    /// step of a run together take at most two thirds of the lease.
    pub call_timeout: Duration,
    /// The time after which a deployment times out. 15 min by default, and at least five minutes more
    /// than the progress deadline of the workload, after which a rollout without progress fails.
    pub deployment_deadline: Duration,
    /// The time after its deadline in which a failed deployment can still be taken back on its data
    /// plane, a deployment without a response of its data plane is still observed, or a run that is
    /// late can still be stopped there. 5 min by default. A deployment without a response is observed
    /// at least three times, or once if its workers died.
    pub take_back_grace: Duration,
    /// The additional time of a run beyond its own deadline, for scheduling and pulling the image. 5 min
    /// by default.
    pub run_grace: Duration,
    /// The pause between two observations of a rollout in its first half minute. Later it is up to five
    /// times as long. 1 s by default.
    pub poll: Duration,
    /// The longest pause before the first retry. It doubles with each retry and has full jitter. 1 s by
    /// default.
    pub retry_first: Duration,
    /// The longest pause before any retry. 60 s by default.
    pub retry_longest: Duration,
    /// The longest pause that a registry or data plane may request. A longer one is cut to this. 5 min
    /// by default.
    pub retry_after_longest: Duration,
    /// The lifetime of an idempotency key that a caller sent. 24 h by default.
    pub key_lifetime: Duration,
    /// The time in which the same automatic request (an image with a commit or a digest) without a key
    /// gets the same deployment. 10 min by default.
    pub repeat_window: Duration,
    /// The interval at which a worker checks for work, and a waiting reader for a change, if the store
    /// does not notify them about another process. 5 s by default.
    pub look: Duration,
    /// The name of this worker, which operators see. The process id by default.
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
    /// Returns the longest time for which work is postponed.
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
