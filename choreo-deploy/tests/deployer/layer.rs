//! A data plane in memory with overridden methods.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use choreo_deploy::backend::{
    BackendError, DeploymentBackend, Intent, LogReader, Pull, TaskRunner,
};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::rollout::Rollout;
use choreo_deploy::{InMemoryBackend, Target};

use crate::world::id;

/// The overrides of a test. Other calls go to the data plane in memory.
#[async_trait]
pub(crate) trait Layer: fmt::Debug + Send + Sync + 'static {
    fn inner(&self) -> &InMemoryBackend;

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.inner().apply(intent).await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.inner().observe(target).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.inner().settle(target, generation).await
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.inner().take_back(target, generation, before).await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.inner().remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        None
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        None
    }
}

/// The backend of a layer.
#[derive(Debug)]
pub(crate) struct Layered<L>(pub(crate) Arc<L>);

/// Returns a backend for a layer, which the test keeps.
pub(crate) fn backend<L: Layer>(layer: &Arc<L>) -> Arc<dyn DeploymentBackend> {
    Arc::new(Layered(Arc::clone(layer)))
}

/// Returns the data planes `eu-1` and `eu-2`, which the test keeps.
pub(crate) fn two(
    eu_1: &Arc<impl Layer>,
    eu_2: &Arc<impl Layer>,
) -> HashMap<DataPlaneId, Arc<dyn DeploymentBackend>> {
    HashMap::from([(id("eu-1"), backend(eu_1)), (id("eu-2"), backend(eu_2))])
}

#[async_trait]
impl<L: Layer> DeploymentBackend for Layered<L> {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.0.apply(intent).await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.0.observe(target).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.0.settle(target, generation).await
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.0.take_back(target, generation, before).await
    }

    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        let inner = self.0.inner();
        inner.update_pull_secret(target, generation, pull).await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.0.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        self.0.tasks()
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        self.0.logs()
    }
}
