//! Calls to data planes and registries, as far as those answer.

use std::future::Future;
use std::time::Duration;

use choreo_registry::RegistryHost;
use tokio::time::Instant;

use super::Deployer;
use super::step::Halt;
use crate::id::DataPlaneId;
use crate::reason::{Reason, ReasonCode};

/// After this long without an answer it counts as none, whoever gave up.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a place among the calls to a registry is waited for.
const PLACE: Duration = Duration::from_secs(2);

impl Deployer {
    /// Works on a data plane, unless it is silent and somebody tries it already.
    pub(super) async fn reach<T>(
        &self,
        plane: &DataPlaneId,
        work: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        let Some(pass) = self.planes.pass(plane) else {
            let message =
                format!("data plane {plane} does not answer: it is tried from time to time");
            return Err(later(ReasonCode::BackendUnreachable, message));
        };
        let began = Instant::now();
        let result = work.await;
        pass.tell(self.is_answer(&result, began.elapsed()));
        result
    }

    /// Asks a registry, when there is a place among the calls to it, unless it is silent and
    /// somebody tries it already.
    pub(super) async fn ask<T>(
        &self,
        host: &RegistryHost,
        question: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        let Some(pass) = self.registries.pass(host) else {
            let message = format!("registry {host} does not answer: it is tried from time to time");
            return Err(later(ReasonCode::RegistryUnreachable, message));
        };
        let Ok(Some(_place)) = tokio::time::timeout(PLACE, pass.place()).await else {
            let message = format!("registry {host} is asked for as much at once as it may be");
            return Err(later(ReasonCode::Waiting, message));
        };
        let began = Instant::now();
        let result = question.await;
        pass.tell(self.is_answer(&result, began.elapsed()));
        result
    }

    /// Whether the other side said anything. What is refused at once says that it is there, or that
    /// it costs nothing to ask.
    fn is_answer<T>(&self, result: &Result<T, Halt>, took: Duration) -> bool {
        let Err(Halt::Later { reason, .. }) = result else {
            return true;
        };
        let unreachable = matches!(
            reason.code,
            ReasonCode::BackendUnreachable | ReasonCode::RegistryUnreachable
        );
        !unreachable || took < SILENCE.min(self.options.call_timeout)
    }
}

fn later(code: ReasonCode, message: String) -> Halt {
    Halt::Later {
        reason: Reason::new(code, message),
        retry_after: None,
    }
}
