//! What the control plane has promised.

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
    /// By component, cause and key.
    pub(crate) keys: BTreeMap<(ComponentKey, String, String), DeploymentId>,
    /// What was asked for last, acknowledged or not.
    pub(crate) last: Option<Submission>,
    /// Whether a target is held. Without an entry nobody knows, because there was no answer.
    pub(crate) held: BTreeMap<Target, bool>,
    pub(crate) tokens: BTreeMap<ComponentKey, (TokenId, bool)>,
    /// The how-many-th credential each organization has entered.
    pub(crate) credentials: BTreeMap<OrganizationId, u64>,
    pub(crate) jumped_ahead: bool,
    /// The clock was set while a process stood still: it cannot tell when what was accepted meanwhile
    /// was accepted.
    pub(crate) jumped_unseen: bool,
    pub(crate) jumped_back: Duration,
    /// Components whose environment has moved to another data plane.
    pub(crate) moved: Vec<ComponentKey>,
}

/// A deployment or a run.
#[derive(Debug)]
pub(crate) struct Promised<T> {
    pub(crate) accepted: T,
    pub(crate) at: Instant,
    /// Once it has ended.
    pub(crate) ended: Option<T>,
    /// It pulls with this credential or with a later one.
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

    /// How much longer than its deadline says anything may take.
    pub(crate) fn slack(&self) -> Duration {
        let calls = Duration::from_secs(120);
        if self.jumped_ahead || !self.jumped_back.is_zero() {
            // What a clock that was ahead has put off is brought forward after the longest wait.
            calls + Duration::from_secs(120) + self.jumped_back
        } else {
            calls
        }
    }
}
