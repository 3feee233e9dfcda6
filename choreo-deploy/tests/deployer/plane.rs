//! A data plane that records its calls and fails selected ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use choreo_deploy::backend::{BackendError, BackendErrorKind, DeploymentBackend, Intent};
use choreo_deploy::deployment::Generation;
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use choreo_deploy::{InMemoryBackend, Target};

use crate::layer::{self, Layer};
use crate::world::{World, id, service};

/// The data plane in memory, which records its calls and fails selected ones.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    pub(crate) inner: Arc<InMemoryBackend>,
    calls: Mutex<Vec<&'static str>>,
    failing: Mutex<Vec<(&'static str, BackendErrorKind)>>,
    loses: Mutex<usize>,
    forgets: Mutex<usize>,
    ahead: Mutex<Option<Generation>>,
    hangs: Mutex<bool>,
    hangs_at_removal: Mutex<bool>,
}

impl Plane {
    /// Fails the next calls of a name.
    pub(crate) fn fail(&self, call: &'static str, kind: BackendErrorKind, times: usize) {
        let failures = std::iter::repeat_n((call, kind), times);
        self.failing.lock().unwrap().extend(failures);
    }

    pub(crate) fn called(&self, call: &'static str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|called| **called == call).count()
    }

    /// Deletes the objects before each of the next observations.
    pub(crate) fn lose(&self, times: usize) {
        *self.loses.lock().unwrap() = times;
    }

    /// Returns an absent target at the next observations, as after a restored backup.
    pub(crate) fn forget(&self, times: usize) {
        *self.forgets.lock().unwrap() = times;
    }

    /// Returns the generation of another control plane at each observation.
    pub(crate) fn be_ahead(&self, generation: Generation) {
        *self.ahead.lock().unwrap() = Some(generation);
    }

    /// Applies the next intent and never answers.
    pub(crate) fn hang(&self) {
        *self.hangs.lock().unwrap() = true;
    }

    /// Never answers the next removal.
    pub(crate) fn hang_at_removal(&self) {
        *self.hangs_at_removal.lock().unwrap() = true;
    }

    fn note(&self, call: &'static str) -> Result<(), BackendError> {
        self.calls.lock().unwrap().push(call);
        let mut failing = self.failing.lock().unwrap();
        match failing.iter().position(|(name, _)| *name == call) {
            Some(at) => {
                let (_, kind) = failing.remove(at);
                Err(BackendError::new(kind, call, "as the test says"))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Layer for Plane {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.note("apply")?;
        self.inner.apply(intent).await?;
        let hangs = std::mem::take(&mut *self.hangs.lock().unwrap());
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.note("observe")?;
        {
            let mut loses = self.loses.lock().unwrap();
            if *loses > 0 {
                *loses -= 1;
                self.inner.lose(target);
            }
        }
        if let Some(generation) = *self.ahead.lock().unwrap() {
            return Ok(Rollout::new(generation, RolloutPhase::Ready));
        }
        let forgets = {
            let mut times = self.forgets.lock().unwrap();
            let forgets = *times > 0;
            *times = times.saturating_sub(1);
            forgets
        };
        if forgets {
            return Ok(Rollout::absent());
        }
        self.inner.observe(target).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.note("settle")?;
        self.inner.settle(target, generation).await?;
        self.note("clear").map_err(BackendError::about_leftovers)
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.note("take back")?;
        self.inner.take_back(target, generation, before).await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.note("remove")?;
        let hangs = std::mem::take(&mut *self.hangs_at_removal.lock().unwrap());
        if hangs {
            std::future::pending::<()>().await;
        }
        self.inner.remove(target, generation).await?;
        self.note("removed")
    }
}

pub(crate) async fn world() -> (World, Arc<Plane>) {
    let plane = Arc::new(Plane::default());
    let backend = layer::backend(&plane);
    let world = World::of(
        plane.inner.clone(),
        HashMap::from([(id("eu-1"), backend)]),
        [service("orders")],
    )
    .await;
    (world, plane)
}
