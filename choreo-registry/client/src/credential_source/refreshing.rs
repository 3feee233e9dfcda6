//! A cache of one credential for many callers, which is renewed before it expires.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::credential_source::{Clock, CredentialSource, SourceError, SourceErrorKind};
use choreo_registry::{Credential, RegistryHost};

/// Caches the credential of another source, and renews it before it expires, once for all callers.
///
/// - **While the credential is valid**, every call returns it immediately.
/// - **In the last minutes** ([`with_margin`](Self::with_margin), 5 minutes and up to a tenth more,
///   but at most half of the remaining lifetime at its arrival), the first call starts a renewal in
///   the background, and calls return the old credential.
/// - **Without a credential**, or if it expires within 10 seconds, all callers wait for one renewal.
/// - **After a failed renewal**, the next one waits: 1 second, then twice as long each time, up to a
///   minute, or as long as the service requests, up to ten minutes. Meanwhile, calls return the old
///   credential while it is valid, and then the error.
///
/// A renewal is a separate task, so a caller that is cancelled does not affect the others. It is
/// limited to a minute ([`with_timeout`](Self::with_timeout)). A credential that expires within 10
/// seconds is never returned.
///
/// Calls need a Tokio runtime with time enabled.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use choreo_registry::Credential;
/// use choreo_registry_client::credential_source::Refreshing;
/// use choreo_registry_client::credential_source::{Clock, CredentialSource, StaticCredential};
///
/// let slow = StaticCredential::new(
///     "registry.example.com".parse()?,
///     Credential::new("AWS", "hunter2")?,
/// );
/// let source = Refreshing::new(slow)
///     .with_margin(Duration::from_secs(600))
///     .with_timeout(Duration::from_secs(20))
///     .with_clock(Clock::system());
///
/// let first = source.credential().await?;
/// assert!(Arc::ptr_eq(&first, &source.credential().await?), "kept");
///
/// // A registry has rejected it, because it was revoked early.
/// source.forget(&first);
/// assert_eq!(source.credential().await?.username(), "AWS");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **What it does not do**: it does not renew a credential without a call.
#[derive(Debug)]
pub struct Refreshing<S> {
    source: Arc<S>,
    plan: Plan,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
struct Plan {
    clock: Clock,
    margin: Duration,
    timeout: Duration,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    flight: Option<watch::Receiver<Option<Outcome>>>,
    failures: u32,
    failed: Option<(SourceError, Timestamp)>,
}

struct Held {
    credential: Arc<Credential>,
    renew_at: Option<Timestamp>,
}

type Outcome = Result<Arc<Credential>, SourceError>;

impl<S: CredentialSource + 'static> Refreshing<S> {
    /// Creates a cache for this source.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self {
            source: Arc::new(source),
            plan: Plan {
                clock: Clock::system(),
                margin: Duration::from_secs(5 * 60),
                timeout: Duration::from_secs(60),
            },
            state: Arc::default(),
        }
    }

    /// Sets the time before the expiry at which a renewal starts. The default is 5 minutes.
    #[must_use]
    pub fn with_margin(mut self, margin: Duration) -> Self {
        self.plan.margin = margin.min(MAX_MARGIN);
        self
    }

    /// Sets the limit of a renewal. The default is a minute.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = timeout;
        self
    }

    /// Sets another clock than the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.plan.clock = clock;
        self
    }

    /// Removes this credential from the cache, if it is still there, because the registry has rejected
    /// it. The next call gets a new one.
    pub fn forget(&self, refused: &Arc<Credential>) {
        let mut state = locked(&self.state);
        if state
            .held
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.credential, refused))
        {
            state.held = None;
        }
    }

    /// Returns the action of a call, and starts a renewal if one is due.
    fn step(&self) -> Step {
        let now = self.plan.clock.now();
        let mut state = locked(&self.state);
        let good = state.good(now);
        if let (Some(credential), false) = (&good, state.renewal_is_due(now)) {
            return Step::Done(Ok(Arc::clone(credential)));
        }
        if let (None, Some(flight)) = (&good, &state.flight) {
            return Step::Wait(flight.clone());
        }
        let started = match (&state.flight, state.resting(now)) {
            (None, None) => self.start(&mut state),
            (Some(flight), _) => Ok(flight.clone()),
            (None, Some(error)) => Err(error),
        };
        match (good, started) {
            (Some(credential), _) => Step::Done(Ok(credential)),
            (None, Ok(flight)) => Step::Wait(flight),
            (None, Err(error)) => Step::Done(Err(error)),
        }
    }

    fn start(&self, state: &mut State) -> Result<watch::Receiver<Option<Outcome>>, SourceError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            SourceError::new(SourceErrorKind::Unavailable, SUBJECT)
                .with_detail("no Tokio runtime is running here")
        })?;
        let (sender, receiver) = watch::channel(None);
        state.flight = Some(receiver.clone());
        let landing = Landing {
            state: Arc::clone(&self.state),
            sender,
        };
        let (source, plan) = (Arc::clone(&self.source), self.plan.clone());
        runtime.spawn(async move {
            let fetched = tokio::time::timeout(plan.timeout, source.credential()).await;
            let late = |_| Err(SourceError::new(SourceErrorKind::Timeout, SUBJECT));
            landing.land(fetched.unwrap_or_else(late), &plan);
        });
        Ok(receiver)
    }
}

enum Step {
    Done(Outcome),
    Wait(watch::Receiver<Option<Outcome>>),
}

#[async_trait]
impl<S: CredentialSource + 'static> CredentialSource for Refreshing<S> {
    fn registry(&self) -> &RegistryHost {
        self.source.registry()
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        let mut flight = match self.step() {
            Step::Done(outcome) => return outcome,
            Step::Wait(flight) => flight,
        };
        let outcome = match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let aborted = || {
            SourceError::new(SourceErrorKind::Unavailable, SUBJECT)
                .with_detail("it ended without an outcome")
        };
        let credential = outcome.unwrap_or_else(|| Err(aborted()))?;
        // This caller may have waited since the renewal finished.
        if is_good(&credential, self.plan.clock.now()) {
            Ok(credential)
        } else {
            Err(ended())
        }
    }
}

impl State {
    fn good(&self, now: Timestamp) -> Option<Arc<Credential>> {
        let held = self.held.as_ref()?;
        is_good(&held.credential, now).then(|| Arc::clone(&held.credential))
    }

    fn renewal_is_due(&self, now: Timestamp) -> bool {
        let renew_at = self.held.as_ref().and_then(|held| held.renew_at);
        renew_at.is_some_and(|at| at <= now)
    }

    /// Returns the last failure while the next attempt has to wait. Setting the clock back ends the wait.
    fn resting(&self, now: Timestamp) -> Option<SourceError> {
        let (error, until) = self.failed.as_ref()?;
        let rests = now < *until && *until <= later(now, MAX_REST);
        rests.then(|| error.clone())
    }

    fn keep(&mut self, credential: &Arc<Credential>, plan: &Plan, now: Timestamp) {
        let renew_at = credential.expires_at().map(|end| {
            let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
            let early = plan.margin + plan.margin.mul_f64(chance() / 10.0);
            later(now, left - early.min(left / 2))
        });
        self.held = Some(Held {
            credential: Arc::clone(credential),
            renew_at,
        });
        self.failures = 0;
        self.failed = None;
    }

    fn fail(&mut self, error: &SourceError, now: Timestamp) {
        let doubled = FIRST_REST.saturating_mul(1 << self.failures.min(10));
        let rest = doubled.min(LONGEST_REST).mul_f64(0.5 + chance() / 2.0);
        let asked = error.retry_after().unwrap_or_default().min(MAX_REST);
        self.failures = self.failures.saturating_add(1);
        self.failed = Some((error.clone(), later(now, rest.max(asked))));
    }
}

/// A running renewal. If its task ends without a result, by a panic or with its runtime, the next call
/// starts another one.
struct Landing {
    state: Arc<Mutex<State>>,
    sender: watch::Sender<Option<Outcome>>,
}

impl Landing {
    fn land(self, fetched: Outcome, plan: &Plan) {
        let now = plan.clock.now();
        let outcome = fetched.and_then(|credential| {
            if is_good(&credential, now) {
                Ok(credential)
            } else {
                Err(ended())
            }
        });
        {
            let mut state = locked(&self.state);
            match &outcome {
                Ok(credential) => state.keep(credential, plan, now),
                Err(error) => state.fail(error, now),
            }
            state.flight = None;
        }
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let ours = self.sender.subscribe();
        let mut state = locked(&self.state);
        if state
            .flight
            .as_ref()
            .is_some_and(|flight| flight.same_channel(&ours))
        {
            state.flight = None;
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expires_at = self
            .held
            .as_ref()
            .and_then(|held| held.credential.expires_at());
        f.debug_struct("State")
            .field("holds", &self.held.is_some())
            .field("expires_at", &expires_at.map(|end| end.to_string()))
            .field("renewing", &self.flight.is_some())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_good(credential: &Credential, now: Timestamp) -> bool {
    credential
        .expires_at()
        .is_none_or(|end| later(now, GUARD) < end)
}

fn ended() -> SourceError {
    SourceError::new(SourceErrorKind::Expired, "the credential of this source")
}

/// Returns the sum, at most the maximum.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Returns a number from 0 to 1, to spread concurrent clients. It need not be unpredictable.
fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

const SUBJECT: &str = "the renewal of a credential";

/// A credential this close to its expiry is not returned, because it could expire in transit.
const GUARD: Duration = Duration::from_secs(10);

const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The limit of the wait that a service requests.
const MAX_REST: Duration = Duration::from_secs(10 * 60);

const MAX_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[path = "refreshing/tests.rs"]
mod tests;
