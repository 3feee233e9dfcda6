//! One credential for many callers, renewed before it ends.

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

/// Keeps the credential of another source, and renews it before it ends: once, for however many
/// callers.
///
/// - **While the credential is good** every call returns it at once.
/// - **In the last minutes** ([`with_margin`](Self::with_margin), 5 minutes and up to a tenth more,
///   but never more than half of what was left when it came) the first call starts the renewal.
///   It runs beside the calls, which go on with the old credential.
/// - **When there is none**, or it ends within 10 seconds, all callers wait for the same renewal.
/// - **When a renewal fails**, the next one waits: 1 second, then twice as long each time, up to a
///   minute, or as long as the service asks, up to ten minutes. Until then callers get the old
///   credential while it is good, and after that the error.
///
/// A renewal is a task of its own: a caller that gives up takes nothing away from the others. It
/// ends after a minute ([`with_timeout`](Self::with_timeout)). A credential that ends within 10
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
/// // A registry refused it: somebody revoked it before its time.
/// source.forget(&first);
/// assert_eq!(source.credential().await?.username(), "AWS");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **What it does not do**: it renews nothing that nobody asks for.
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
    /// Keeps and renews what this source gives.
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

    /// Renews this long before the end. The default is 5 minutes.
    #[must_use]
    pub fn with_margin(mut self, margin: Duration) -> Self {
        self.plan.margin = margin.min(MAX_MARGIN);
        self
    }

    /// Gives a renewal up after this time. The default is a minute.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = timeout;
        self
    }

    /// Tells the time by another clock than the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.plan.clock = clock;
        self
    }

    /// Drops this credential if it is the one that is kept: the registry refused it. The next call
    /// gets a new one.
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

    /// What a call does now; starts a renewal when one is due.
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
        // This caller may have slept since the renewal landed.
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

    /// The last failure, while the next attempt has to wait. A clock that was set back ends that.
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

/// A renewal under way. When its task ends without landing, in a panic or with its runtime, the
/// next call starts another.
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

/// `now` and a while; the end of time when that is beyond it.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A number from 0 up to 1, so that many who wait do not come at once. Nothing secret hangs on it.
fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

const SUBJECT: &str = "the renewal of a credential";

/// A credential this close to its end is not handed out: it would end on its way.
const GUARD: Duration = Duration::from_secs(10);

const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// No service keeps callers away for longer.
const MAX_REST: Duration = Duration::from_secs(10 * 60);

const MAX_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[path = "refreshing/tests.rs"]
mod tests;
