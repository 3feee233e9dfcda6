use std::future::Future;
use std::time::Duration;

use super::{BackendError, DeploymentBackend};
use crate::Target;
use crate::deployment::Generation;
use crate::rollout::{Rollout, RolloutPhase};

/// Additional methods for callers of a [`DeploymentBackend`]. Every backend has them.
pub trait DeploymentBackendExt: DeploymentBackend {
    /// Waits until the generation is ready or failed, or another generation replaced it.
    ///
    /// It observes the target at once and then at the interval `every`. Put a timeout around it, because
    /// a rollout may progress forever.
    ///
    /// # Errors
    ///
    /// Returns the first error of [`observe`](DeploymentBackend::observe) that is not transient.
    fn watch_until_settled(
        &self,
        target: &Target,
        generation: Generation,
        every: Duration,
    ) -> impl Future<Output = Result<Rollout, BackendError>> + Send {
        async move {
            loop {
                match self.observe(target).await {
                    Ok(rollout)
                        if rollout.phase != RolloutPhase::Progressing
                            || rollout.generation != Some(generation) =>
                    {
                        return Ok(rollout);
                    }
                    Err(error) if !error.is_retryable() => return Err(error),
                    Ok(_) | Err(_) => tokio::time::sleep(every).await,
                }
            }
        }
    }

    /// Returns `true` if this generation of the target is ready now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`observe`](DeploymentBackend::observe).
    fn is_ready(
        &self,
        target: &Target,
        generation: Generation,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send {
        async move {
            let rollout = self.observe(target).await?;
            Ok(rollout.generation == Some(generation) && rollout.phase == RolloutPhase::Ready)
        }
    }
}

impl<T: DeploymentBackend + ?Sized> DeploymentBackendExt for T {}
