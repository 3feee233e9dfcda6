//! What orchestrators ask.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode};

/// What a [`Server`](super::Server) answers at `/healthz` and `/readyz`.
///
/// `GET /healthz` is `200` while the server runs. `GET /readyz` is `200`, with a
/// [warning](Self::warn) if there is one, or `503` with the reason, as it was last said here: whoever asks, and however often, costs nothing but the answer. So look at
/// stores and the like in a task of its own, every few seconds, and say here what it found.
///
/// All clones are the same. It is not ready at first, because it is `starting`.
///
/// ```
/// use choreo_webhook::server::Health;
///
/// let health = Health::new();
/// assert_eq!(health.is_ready(), Err("starting"));
/// health.set(Ok(()));
/// assert_eq!(health.is_ready(), Ok(()));
/// health.set(Err("the store does not answer"));
/// assert_eq!(health.is_ready(), Err("the store does not answer"));
/// ```
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    ready: Result<(), &'static str>,
    warning: Option<&'static str>,
    stopping: bool,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            ready: Err("starting"),
            warning: None,
            stopping: false,
        })))
    }

    /// Says whether it is ready, or why not. The reason is shown to strangers.
    pub fn set(&self, ready: Result<(), &'static str>) {
        self.state().ready = ready;
    }

    /// Whether it is ready, or why not. A server that is told to stop is not.
    ///
    /// # Errors
    /// The reason that was [set](Self::set), `starting`, or `stopping`.
    pub fn is_ready(&self) -> Result<(), &'static str> {
        let state = self.state();
        match state.stopping {
            true => Err("stopping"),
            false => state.ready,
        }
    }

    /// Says what is wrong and yet leaves it ready, such as a part without which the rest goes on;
    /// `None` when nothing is. While it is ready, `/readyz` answers this in the place of `ok`, to
    /// strangers too.
    ///
    /// ```
    /// use choreo_webhook::server::Health;
    ///
    /// let health = Health::new();
    /// health.set(Ok(()));
    /// health.warn(Some("ok, but one data plane is not connected"));
    /// assert_eq!(health.is_ready(), Ok(()));
    /// ```
    pub fn warn(&self, warning: Option<&'static str>) {
        self.state().warning = warning;
    }

    /// Whatever is set from now on, it is not ready.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
    }

    /// The answer, when it is for this.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<(StatusCode, &'static str)> {
        let ready = match path {
            "/healthz" => Ok("ok"),
            "/readyz" => {
                let ready = self.is_ready();
                ready.map(|()| self.state().warning.unwrap_or("ok"))
            }
            _ => return None,
        };
        Some(match ready {
            _ if method != Method::GET && method != Method::HEAD => {
                (StatusCode::METHOD_NOT_ALLOWED, "only GET")
            }
            Ok(text) => (StatusCode::OK, text),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}
