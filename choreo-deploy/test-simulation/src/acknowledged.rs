//! The promises of the control plane.

use std::collections::BTreeMap;
use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::deployment::Deployment;
use choreo_deploy::id::{ComponentKey, DeploymentId, OrganizationId, RunId, TokenId};
use choreo_deploy::intake::Submission;
use choreo_deploy::run::Run;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) deployments: BTreeMap<DeploymentId, Promised<Deployment>>,
    pub(crate) runs: BTreeMap<RunId, Promised<Run>>,
    /// The deployment of each component, cause and key.
    pub(crate) keys: BTreeMap<(ComponentKey, String, String), DeploymentId>,
    /// The last request, acknowledged or not.
    pub(crate) last: Option<Submission>,
    /// Whether a target is held. There is no entry if it is unknown, because a call got no answer.
    pub(crate) held: BTreeMap<Target, bool>,
    pub(crate) tokens: BTreeMap<ComponentKey, (TokenId, bool)>,
    /// The number of credentials that each organization has entered.
    pub(crate) credentials: BTreeMap<OrganizationId, u64>,
    pub(crate) jumped_ahead: bool,
    /// The clock was set while a process was paused, so that process cannot determine when a
    /// deployment was accepted in the meantime.
    pub(crate) jumped_unseen: bool,
    pub(crate) jumped_back: Duration,
    /// The components with an environment that has moved to another data plane.
    pub(crate) moved: Vec<ComponentKey>,
}

/// An acknowledged deployment or run.
#[derive(Debug)]
pub(crate) struct Promised<T> {
    pub(crate) accepted: T,
    pub(crate) at: Instant,
    /// The value at its end.
    pub(crate) ended: Option<T>,
    /// The lowest version of the credential with which it may pull.
    pub(crate) least_credential: u64,
}

impl<T> Promised<T> {
    pub(crate) fn new(accepted: T, least_credential: u64) -> Self {
        Self {
            accepted,
            at: Instant::now(),
            ended: None,
            least_credential,
        }
    }
}

impl Acknowledged {
    pub(crate) fn new() -> Self {
        Self {
            deployments: BTreeMap::new(),
            runs: BTreeMap::new(),
            keys: BTreeMap::new(),
            last: None,
            held: BTreeMap::new(),
            tokens: BTreeMap::new(),
            credentials: BTreeMap::new(),
            jumped_ahead: false,
            jumped_unseen: false,
            jumped_back: Duration::ZERO,
            moved: Vec::new(),
        }
    }

    /// Returns the time by which an end may exceed its deadline.
    pub(crate) fn slack(&self) -> Duration {
        let calls = Duration::from_secs(120);
        if self.jumped_ahead || !self.jumped_back.is_zero() {
            // The longest wait limits the delay by a clock that was ahead.
            calls + Duration::from_secs(120) + self.jumped_back
        } else {
            calls
        }
    }
}
