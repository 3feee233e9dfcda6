//! The runs of tasks: one Job each, named after the run.
//!
//! A Job is created once and never applied over, because most of it is immutable. Like every other
//! object it is created *pending* (suspended) and released after a read of the anchor: see
//! [`apply`](crate::apply). So a run that was paused before its start does not start after its
//! target was removed.

use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, BackendErrorKind, RunIntent};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::RunId;
use choreo_deploy::rollout::RunStatus;
use serde_json::{Value, json};

use crate::anchor::{ATTEMPTS, Anchors};
use crate::cluster::{Cluster, Live, Written};
use crate::events;
use crate::kind::{Kind, ObjectId};
use crate::labels;
use crate::log;
use crate::manifest::Object;
use crate::name;
use crate::status::{Seen, judge_run};

/// The runs of one target.
pub(crate) struct Runs<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) target: &'a Target,
}

impl Runs<'_> {
    /// Creates the Job, unless it exists.
    pub(crate) async fn start(
        &self,
        run: &RunIntent<'_>,
        job: &Object,
    ) -> Result<(), BackendError> {
        let generation = run.intent.generation;
        for attempt in 0..ATTEMPTS {
            let live = match self.cluster.get(job.id()).await? {
                Some(live) => live,
                None => {
                    self.check(generation).await?;
                    let mut pending = job.manifest().clone();
                    pending["spec"]["suspend"] = true.into();
                    pending["metadata"]["annotations"][labels::PENDING] = "true".into();
                    match self.cluster.create(job.id(), &pending).await? {
                        Written::Done(live) => live,
                        Written::Conflict => continue,
                    }
                }
            };
            self.owned(&live)?;
            if !live.is_pending() {
                return Ok(());
            }
            if let Err(error) = self.check(generation).await {
                // Errors are ignored, because a suspended Job starts nothing.
                let _ = self.cluster.delete(job.id(), &live).await;
                return Err(error);
            }
            let release = json!({
                "metadata": { "annotations": { labels::PENDING: Value::Null } },
                "spec": { "suspend": false },
            });
            if let Written::Done(_) = self.cluster.merge(job.id(), release, &live).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20 << attempt.min(5))).await;
        }
        let message = format!(
            "{} keeps changing while it is started: retry the call",
            job.id()
        );
        Err(self.cluster.failed(BackendErrorKind::Conflict, message))
    }

    pub(crate) async fn observe(&self, run: &RunId) -> Result<RunStatus, BackendError> {
        let id = self.id(run);
        let (job, now) = self.cluster.get_dated(&id).await?;
        let Some(job) = job else {
            return Ok(RunStatus::unknown());
        };
        self.owned(&job)?;
        let pods = self
            .cluster
            .list(Kind::Pod, &labels::pods_of(&id.name))
            .await?;
        let seen = Seen {
            events: events::read(self.cluster, &pods, now).await,
            pods,
            now,
            ..Seen::default()
        };
        let mut verdict = judge_run(&job, &seen);
        if let Some(crash) = &verdict.crash {
            log::explain(self.cluster, &mut verdict.status.reasons, crash).await;
        }
        Ok(verdict.status)
    }

    /// Marks the Job as stopped and lets its deadline pass. Its pods end, the outcome stays, and
    /// the Job is cleaned up in time. A Job that has ended is never marked.
    pub(crate) async fn cancel(&self, run: &RunId) -> Result<(), BackendError> {
        let id = self.id(run);
        for attempt in 0..ATTEMPTS {
            let Some(job) = self.cluster.get(&id).await? else {
                return Ok(());
            };
            self.owned(&job)?;
            let status = judge_run(&job, &Seen::default()).status;
            if status.phase.is_some_and(|phase| phase.is_final()) {
                return Ok(());
            }
            let stop = json!({
                "metadata": { "annotations": {
                    labels::CANCELLED: "true",
                    labels::PENDING: Value::Null,
                } },
                "spec": { "activeDeadlineSeconds": 1 },
            });
            if let Written::Done(_) = self.cluster.merge(&id, stop, &job).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20 << attempt.min(5))).await;
        }
        let message = format!("{id} keeps changing while it is stopped: retry the call");
        Err(self.cluster.failed(BackendErrorKind::Conflict, message))
    }

    /// Returns an error if the target was removed or nothing was ever applied to it: a run needs
    /// the target's objects.
    async fn check(&self, generation: Generation) -> Result<(), BackendError> {
        let anchors = Anchors {
            cluster: self.cluster,
            target: self.target,
        };
        match anchors.read().await? {
            Some(anchor) if anchor.state.is_removal() && anchor.generation >= generation => {
                Err(self
                    .cluster
                    .failed(BackendErrorKind::Stale, "the target was removed"))
            }
            Some(_) => Ok(()),
            None => Err(self.cluster.failed(
                BackendErrorKind::NotFound,
                "nothing is deployed to the target: deploy it before it is run",
            )),
        }
    }

    fn owned(&self, job: &Live) -> Result<(), BackendError> {
        if job.belongs_to(self.target) {
            return Ok(());
        }
        let message = format!("job {:?} exists and belongs to another owner", job.name());
        Err(self.cluster.failed(BackendErrorKind::Refused, message))
    }

    fn id(&self, run: &RunId) -> ObjectId {
        ObjectId::new(Kind::Job, name::run(self.target, run))
    }
}
