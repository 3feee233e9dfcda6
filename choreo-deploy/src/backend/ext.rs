use std::future::Future;
use std::time::Duration;

use super::{BackendError, DeploymentBackend};
use crate::Target;
use crate::deployment::Generation;
use crate::rollout::{Rollout, RolloutPhase};

/// What callers of a backend have beyond [`DeploymentBackend`]. Every backend has it; nobody
/// implements it.
pub trait DeploymentBackendExt: DeploymentBackend {
    /// Looks again and again until the generation is ready, has failed, or another has come.
    ///
    /// Looks at once and then every `every`. Waits for ever on a rollout that stays on its way: put
    /// a timeout around it.
    ///
    /// # Errors
    /// The first that [`observe`](DeploymentBackend::observe) meets and that is not worth another
    /// try.
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

    /// Whether this generation of the target is ready now.
    ///
    /// # Errors
    /// Those of [`observe`](DeploymentBackend::observe).
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
