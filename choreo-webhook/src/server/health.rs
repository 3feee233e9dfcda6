//! Health checks of orchestrators.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode};

/// The health that a [`Server`](super::Server) reports at `/healthz` and `/readyz`.
///
/// `GET /healthz` returns `200` while the server runs. `GET /readyz` returns `200`, with the
/// [warning](Self::warn) if there is one, or `503` with the reason. The server reports the last value
/// that was set, so a flood of checks costs only responses. Check stores and other dependencies in a
/// separate task, every few seconds, and set the result here.
///
/// All clones share one state. It starts as not ready, with the reason `starting`.
///
/// ```
/// use choreo_webhook::server::Health;
///
/// let health = Health::new();
/// assert_eq!(health.is_ready(), Err("starting"));
/// health.set(Ok(()));
/// assert_eq!(health.is_ready(), Ok(()));
/// health.set(Err("the store does not respond"));
/// assert_eq!(health.is_ready(), Err("the store does not respond"));
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
    /// Creates a health that is not ready yet.
    ///
    /// ```
    /// use choreo_webhook::server::Health;
    ///
    /// let health = Health::new();
    /// assert_eq!(health.is_ready(), Err("starting"));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            ready: Err("starting"),
            warning: None,
            stopping: false,
        })))
    }

    /// Sets whether the server is ready, or the reason why not. Every client can see the reason.
    ///
    /// ```
    /// use choreo_webhook::server::Health;
    ///
    /// let health = Health::new();
    /// health.set(Err("the store does not respond"));
    /// assert_eq!(health.is_ready(), Err("the store does not respond"));
    /// ```
    pub fn set(&self, ready: Result<(), &'static str>) {
        self.state().ready = ready;
    }

    /// Returns `Ok` if the server is ready. A server that is told to stop is not.
    ///
    /// # Errors
    ///
    /// Returns the reason that was [set](Self::set), `starting` or `stopping`.
    ///
    /// ```
    /// use choreo_webhook::server::Health;
    ///
    /// let health = Health::new();
    /// assert!(health.is_ready().is_err());
    /// health.set(Ok(()));
    /// assert!(health.is_ready().is_ok());
    /// ```
    pub fn is_ready(&self) -> Result<(), &'static str> {
        let state = self.state();
        match state.stopping {
            true => Err("stopping"),
            false => state.ready,
        }
    }

    /// Sets a warning that does not affect readiness, such as the loss of an optional dependency;
    /// `None` clears it. While the server is ready, `/readyz` returns the warning instead of `ok`.
    /// Every client can see it.
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

    /// Makes the server not ready for good.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
    }

    /// Returns the response if the path is one of a health check.
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
