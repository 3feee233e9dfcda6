//! Calls to data planes and registries, limited while one of them does not answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use choreo_registry::RegistryHost;
use tokio::time::Instant;

use super::Deployer;
use super::halt::Halt;
use crate::backend::{BackendError, DeploymentBackend};
use crate::deployment::Subject;
use crate::id::DataPlaneId;
use crate::reason::{Reason, ReasonCode};
use crate::store::ClaimedDeployment;

/// The time after which a call counts as unanswered.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest wait for one of the concurrent calls to a registry.
const PLACE: Duration = Duration::from_secs(2);

impl Deployer {
    /// Works on a data plane, unless it is silent and another step already tries it.
    pub(super) async fn reach<T>(
        &self,
        plane: &DataPlaneId,
        work: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        let Some(pass) = self.planes.pass(plane) else {
            let message =
                format!("data plane {plane} does not answer: it is retried from time to time");
            return Err(later(ReasonCode::BackendUnreachable, message));
        };
        let began = Instant::now();
        let result = work.await;
        pass.tell(self.is_answer(&result, began.elapsed()));
        result
    }

    /// Calls a registry if it has room for another call, unless it is silent and another step
    /// already tries it.
    pub(super) async fn ask<T>(
        &self,
        host: &RegistryHost,
        question: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        let Some(pass) = self.registries.pass(host) else {
            let message =
                format!("registry {host} does not answer: it is retried from time to time");
            return Err(later(ReasonCode::RegistryUnreachable, message));
        };
        let Ok(Some(_place)) = tokio::time::timeout(PLACE, pass.place()).await else {
            let message = format!("registry {host} has no room for another concurrent call");
            return Err(later(ReasonCode::Waiting, message));
        };
        let began = Instant::now();
        let result = question.await;
        pass.tell(self.is_answer(&result, began.elapsed()));
        result
    }

    /// Returns the backend of a data plane.
    pub(super) fn backend(&self, plane: &DataPlaneId) -> Result<Arc<dyn DeploymentBackend>, Halt> {
        self.parts.backends.get(plane).ok_or_else(|| {
            let message = format!("data plane {plane} is not connected");
            let reason = Reason::new(ReasonCode::BackendUnreachable, message)
                .with_help("connect the data plane");
            Halt::later(reason)
        })
    }

    /// Returns the backend of a data plane that a target may be on.
    ///
    /// If it is not connected, the reason says how to continue without it. Otherwise every verdict of
    /// the target would wait for it.
    pub(super) fn backend_of(
        &self,
        plane: &DataPlaneId,
        claimed: &ClaimedDeployment,
    ) -> Result<Arc<dyn DeploymentBackend>, Halt> {
        let deployment = &claimed.deployment;
        let is_needed = *plane == deployment.data_plane && deployment.subject != Subject::Absence;
        self.backend(plane).map_err(|halt| match halt {
            Halt::Later {
                reason,
                retry_after,
            } if !is_needed => Halt::Later {
                reason: reason.with_help(
                    "connect the data plane, or make the control plane forget it \
                     (`Deployer::forget_data_planes`) if it no longer exists",
                ),
                retry_after,
            },
            halt => halt,
        })
    }

    /// Awaits a call to a data plane within the limit for calls.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, Halt> {
        match tokio::time::timeout(self.options.call_timeout, call).await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let within = self.options.call_timeout;
                let message = format!("the data plane did not answer within {within:?}");
                Err(later(ReasonCode::BackendUnreachable, message))
            }
        }
    }

    /// Awaits an observation of a data plane. A refusal is retried, because it contains nothing about the
    /// observed object.
    pub(super) async fn look<T>(
        &self,
        look: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, Halt> {
        self.call(look).await.map_err(|halt| match halt {
            Halt::Failed(reason) => Halt::later(reason),
            halt => halt,
        })
    }

    /// Returns `true` if the other side answered. A call that fails fast counts as answered, because
    /// retrying it is cheap.
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
    Halt::later(Reason::new(code, message))
}
