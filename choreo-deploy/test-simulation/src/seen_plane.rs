//! A data plane from the view of a process. The network loses requests and answers, and delivers
//! some requests after the caller has given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use choreo_deploy::Target;
use choreo_deploy::backend::{
    BackendError, BackendErrorKind, DeploymentBackend, Intent, LogReader, Pull, RunIntent,
    TaskRunner,
};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::{DataPlaneId, RunId};
use choreo_deploy::rollout::{Rollout, RunStatus};
use tokio::sync::oneshot;

use crate::journal::{broken, note};
use crate::plane::{Plane, Shown};
use crate::process::Process;
use crate::registries::check_password;
use crate::world::{STEPS_PER_DATA_PLANE, World};

#[derive(Debug)]
pub(crate) struct SeenPlane {
    id: DataPlaneId,
    plane: Arc<Plane>,
    process: Arc<Process>,
    world: Arc<World>,
    changes: AtomicUsize,
}

impl SeenPlane {
    pub(crate) fn new(id: DataPlaneId, process: Arc<Process>, world: Arc<World>) -> Self {
        Self {
            plane: Arc::clone(&world.planes[&id]),
            id,
            process,
            world,
            changes: AtomicUsize::new(0),
        }
    }

    /// Sends a request and waits for the answer, which may never arrive.
    async fn send<T: Send + 'static>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&Plane) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        self.process.thawed().await;
        let dice = &self.world.dice;
        let faults = self.world.weather.plane();
        let way = || {
            let longest = if dice.percent(faults / 2) { 7_000 } else { 250 };
            dice.millis(longest)
        };
        let (there, back) = (way(), way());
        let (request_is_lost, answer_is_lost) = (dice.percent(faults / 2), dice.percent(faults));
        let loss_is_told = dice.percent(60);
        let (answer, answered) = oneshot::channel();
        let (plane, world, process) = (
            Arc::clone(&self.plane),
            Arc::clone(&self.world),
            self.process.id,
        );
        tokio::spawn(async move {
            tokio::time::sleep(there).await;
            let result = if plane.is_silent() {
                None
            } else if request_is_lost {
                loss_is_told.then(|| Err(lost(operation, &world)))
            } else {
                let result = effect(&plane);
                let error = result.as_ref().err().map(ToString::to_string);
                note!(
                    world.journal,
                    "{process} {operation} {}",
                    error.unwrap_or_default()
                );
                if answer_is_lost {
                    loss_is_told.then(|| Err(lost(operation, &world)))
                } else {
                    Some(result)
                }
            };
            tokio::time::sleep(back).await;
            if let Some(result) = result {
                // The caller may have given up.
                let _ = answer.send(result);
            }
        });
        let Ok(result) = answered.await else {
            return std::future::pending().await;
        };
        self.process.thawed().await;
        result
    }

    fn calls(&self, what: &str, target: &Target, generation: Generation) {
        let by = (self.process.id, what);
        let journal = &self.world.journal;
        self.world.ledger.calls(journal, by, (target, generation));
    }

    /// Counts a change while its caller waits for it.
    fn changes(&self) -> Change<'_> {
        let under_way = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        if under_way > STEPS_PER_DATA_PLANE {
            let (process, plane) = (self.process.id, &self.id);
            broken!(
                self.world.journal,
                "{process} makes {under_way} changes on {plane} at once"
            );
        }
        Change(&self.changes)
    }

    fn shown(&self, intent: &Intent<'_>) -> Shown {
        let workload = intent.settings.applied_to(&intent.release.workload);
        let password = match &intent.pull {
            Pull::Secret(secret) => {
                let text = secret.expose_docker_config_json();
                let password = text.split("\"password\":\"").nth(1);
                let password = password.and_then(|rest| rest.split('"').next());
                password.map(str::to_owned)
            }
            _ => None,
        };
        if let Some(password) = &password {
            let organization = &intent.target.organization;
            check_password(&self.world.journal, organization, password);
        }
        Shown {
            image: intent.release.image.deployed(),
            workload: workload.into_owned(),
            password,
        }
    }
}

struct Change<'s>(&'s AtomicUsize);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lost(operation: &'static str, world: &World) -> BackendError {
    let kind = *world.dice.of(&[
        BackendErrorKind::Conflict,
        BackendErrorKind::RateLimited,
        BackendErrorKind::Timeout,
        BackendErrorKind::Unreachable,
    ]);
    BackendError::new(kind, operation, "the simulated network lost it")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DeploymentBackend for SeenPlane {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        let (target, generation) = (intent.target.clone(), intent.generation);
        self.calls("apply", &target, generation);
        let _change = self.changes();
        let shown = self.shown(intent);
        let place = (target.clone(), generation);
        self.send("apply", move |plane| {
            plane.apply((&place.0, place.1), shown)
        })
        .await?;
        let (process, ledger) = (self.process.id, &self.world.ledger);
        ledger.confirmed(process, &target, generation);
        Ok(())
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        let of = target.clone();
        let rollout = self.send("observe", move |plane| Ok(plane.observe(&of)));
        let rollout = rollout.await?;
        self.world.ledger.seen(self.process.id, target, &rollout);
        Ok(rollout)
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.calls("settle", target, generation);
        let target = target.clone();
        self.send("settle", move |plane| plane.settle(&target, generation))
            .await
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.calls("take back", target, generation);
        let _change = self.changes();
        let before = before.map(|before| self.shown(before));
        let place = (target.clone(), generation);
        self.send("take back", move |plane| {
            plane.take_back((&place.0, place.1), before)
        })
        .await
    }

    async fn update_pull_secret(
        &self,
        _target: &Target,
        _generation: Generation,
        _pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        let kind = BackendErrorKind::Unsupported;
        Err(BackendError::new(
            kind,
            "update pull secret",
            "not simulated",
        ))
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.calls("remove", target, generation);
        let _change = self.changes();
        let target = target.clone();
        self.send("remove", move |plane| plane.remove(&target, generation))
            .await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        None
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TaskRunner for SeenPlane {
    async fn start(&self, run: &RunIntent<'_>) -> Result<(), BackendError> {
        let _change = self.changes();
        let shown = self.shown(&run.intent);
        let (id, target) = (run.run.clone(), run.intent.target.clone());
        let generation = run.intent.generation;
        self.send("start", move |plane| {
            plane.start(&id, (&target, generation), shown.image)
        })
        .await
    }

    async fn observe_run(&self, _target: &Target, run: &RunId) -> Result<RunStatus, BackendError> {
        let id = run.clone();
        self.send("observe run", move |plane| {
            let run = plane.run(&id);
            Ok(run.map_or_else(RunStatus::unknown, |run| run.status()))
        })
        .await
    }

    async fn cancel_run(&self, _target: &Target, run: &RunId) -> Result<(), BackendError> {
        let _change = self.changes();
        let id = run.clone();
        self.send("cancel", move |plane| {
            plane.cancel(&id);
            Ok(())
        })
        .await
    }
}
