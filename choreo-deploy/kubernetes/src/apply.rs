//! Writing: how a worker that was paused at any point cannot undo what came after.
//!
//! Kubernetes changes one object at a time, so a target's generation cannot be checked and its
//! objects written in one step. Three rules make up for it:
//!
//! 1. *Claim first.* The [anchor](crate::anchor) takes the generation before any object is touched.
//! 2. *Touch everything.* After its claim a worker changes every object that the target may have,
//!    also those it has no use for. Each change is conditional on what was read, so an older worker
//!    that has read an object before sees a conflict, reads again and finds the newer generation.
//! 3. *Reserve, check, activate.* What is not there yet cannot be touched. So an object is created
//!    as a *pending* one that does nothing (no copies, a suspended schedule, an empty secret); then
//!    the worker reads the anchor; only if that is still its own generation does it write the real
//!    object, conditional on the pending one being unchanged.
//!
//! Why 3 is enough: a worker activates an object that it read *before* it read the anchor. A newer
//! worker claims either before that reading of the anchor, and the older one stops; or after it, and
//! then touches the object, which is there. Either way the newer worker has the last word. What a
//! worker that stopped for good leaves behind does nothing, and the next `settle` removes it.

use std::collections::BTreeSet;
use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, BackendErrorKind};
use choreo_deploy::deployment::Generation;
use futures_util::stream::{self, TryStreamExt};
use serde_json::{Value, json};

use crate::anchor::{ATTEMPTS, Anchor, Anchors, State};
use crate::cluster::{Cluster, Live, Written, generation_change};
use crate::kind::{Kind, ObjectId};
use crate::labels;
use crate::manifest::Object;
use crate::name;

/// How many Jobs are deleted at once.
const DELETED_AT_ONCE: usize = 8;

/// Writes the objects of one target at one generation.
pub(crate) struct Writer<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) target: &'a Target,
    pub(crate) generation: Generation,
}

impl Writer<'_> {
    /// Makes the target consist of these objects. What it had beyond them is left for `settle`.
    pub(crate) async fn apply(&self, objects: &[Object]) -> Result<(), BackendError> {
        let planned: BTreeSet<ObjectId> =
            objects.iter().map(|object| object.id().clone()).collect();
        self.claim(&planned).await?;
        for id in self.possible().await?.difference(&planned) {
            self.supersede(id).await?;
        }
        for object in objects {
            self.write(object, objects).await?;
        }
        self.finish(State::Applied).await
    }

    /// Removes everything of the target but the anchor.
    pub(crate) async fn remove(&self) -> Result<(), BackendError> {
        let generation = self.generation;
        self.anchors()
            .change(generation, |anchor| {
                let state = match &anchor {
                    Some(Anchor {
                        generation: at,
                        state: State::Removed,
                        ..
                    }) if *at == generation => State::Removed,
                    _ => State::Removing,
                };
                let inventory = anchor.map(|anchor| anchor.inventory).unwrap_or_default();
                Some(Anchor {
                    generation,
                    state,
                    current: BTreeSet::new(),
                    inventory,
                })
            })
            .await?;
        for id in removal_order(self.possible().await?) {
            self.delete(&id).await?;
        }
        self.delete_jobs().await?;
        self.finish(State::Removed).await
    }

    /// Removes what is not part of this generation.
    pub(crate) async fn settle(&self) -> Result<(), BackendError> {
        let Some(anchor) = self.anchors().read().await? else {
            return Ok(());
        };
        if anchor.generation > self.generation {
            return Err(self.cluster.stale(self.generation, anchor.generation));
        }
        if anchor.generation < self.generation || anchor.state != State::Applied {
            return Ok(());
        }
        let possible = self.possible().await?;
        for id in removal_order(possible.difference(&anchor.current).cloned()) {
            self.delete(&id).await?;
        }
        let generation = self.generation;
        self.anchors()
            .change(generation, |anchor| {
                let anchor = anchor?;
                if anchor.generation < generation {
                    return Some(anchor);
                }
                Some(Anchor {
                    inventory: anchor.current.clone(),
                    ..anchor
                })
            })
            .await
    }

    fn anchors(&self) -> Anchors<'_> {
        Anchors {
            cluster: self.cluster,
            target: self.target,
        }
    }

    async fn claim(&self, planned: &BTreeSet<ObjectId>) -> Result<(), BackendError> {
        let generation = self.generation;
        self.anchors()
            .change(generation, |anchor| {
                let same = |anchor: &Anchor| {
                    anchor.generation == generation
                        && anchor.state == State::Applied
                        && anchor.current == *planned
                };
                if anchor.as_ref().is_some_and(same) {
                    return anchor;
                }
                let mut inventory = anchor.map(|anchor| anchor.inventory).unwrap_or_default();
                inventory.extend(planned.iter().cloned());
                let current = planned.clone();
                Some(Anchor {
                    generation,
                    state: State::Applying,
                    current,
                    inventory,
                })
            })
            .await
    }

    async fn finish(&self, state: State) -> Result<(), BackendError> {
        let generation = self.generation;
        self.anchors()
            .change(generation, |anchor| {
                let anchor = anchor?;
                let mine = anchor.generation == generation
                    && anchor.state.is_removal() == state.is_removal();
                let inventory = match state {
                    State::Removed => BTreeSet::new(),
                    _ => anchor.inventory.clone(),
                };
                if mine {
                    Some(Anchor {
                        state,
                        inventory,
                        ..anchor
                    })
                } else {
                    Some(anchor)
                }
            })
            .await
    }

    /// What the target may have: what the anchor lists, and every object with one of its names.
    async fn possible(&self) -> Result<BTreeSet<ObjectId>, BackendError> {
        let anchor = self.anchors().read().await?;
        let mut ids = anchor.map(|anchor| anchor.inventory).unwrap_or_default();
        let name = name::object(self.target);
        ids.extend(
            [
                Kind::CronJob,
                Kind::Deployment,
                Kind::HorizontalPodAutoscaler,
                Kind::PodDisruptionBudget,
                Kind::Service,
                Kind::ServiceAccount,
            ]
            .map(|kind| ObjectId::new(kind, name.clone())),
        );
        ids.insert(ObjectId::new(Kind::Secret, name::pull_secret(self.target)));
        Ok(ids)
    }

    /// Deletes the Jobs of all runs.
    ///
    /// A Job is made once and never written anew, so a look at the anchor after all were read is
    /// enough: a run of a newer generation has another name.
    async fn delete_jobs(&self) -> Result<(), BackendError> {
        let selector = labels::query(&labels::selector(self.target, labels::ROLE_RUN));
        let jobs = self
            .cluster
            .list(Kind::Job, &run_selector(&selector))
            .await?;
        self.anchors().check(self.generation).await?;
        stream::iter(jobs.iter().filter(|job| !job.is_ending()).map(Ok))
            .try_for_each_concurrent(DELETED_AT_ONCE, async |job| {
                let id = ObjectId::new(Kind::Job, job.name());
                // Another of the same name is not what was read.
                self.cluster.delete_uid(&id, job.uid()).await.map(|_| ())
            })
            .await
    }

    /// Marks an object that this generation has no use for, so that no older one changes it again.
    ///
    /// An autoscaler goes at once: it would go on scaling what now has a fixed number of copies.
    async fn supersede(&self, id: &ObjectId) -> Result<(), BackendError> {
        if id.kind == Kind::HorizontalPodAutoscaler {
            return self.delete(id).await;
        }
        for attempt in 0..ATTEMPTS {
            let Some(live) = self.judged(id).await? else {
                return Ok(());
            };
            if live.generation() == Some(self.generation) {
                return Ok(());
            }
            let change = generation_change(self.generation);
            if let Written::Done(_) = self.cluster.merge(id, change, &live).await? {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.contended(id))
    }

    /// Deletes an object, unless it or the target is of a newer generation.
    async fn delete(&self, id: &ObjectId) -> Result<(), BackendError> {
        for attempt in 0..ATTEMPTS {
            let Some(live) = self.judged(id).await? else {
                return Ok(());
            };
            if live.is_ending() {
                return Ok(());
            }
            // Read the object first, then the anchor: see the module's rule 3.
            self.anchors().check(self.generation).await?;
            if self.cluster.delete(id, &live).await? {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.contended(id))
    }

    async fn write(&self, object: &Object, all: &[Object]) -> Result<(), BackendError> {
        let id = object.id();
        for attempt in 0..ATTEMPTS {
            let written = match self.judged(id).await? {
                None => {
                    let pending = pending(object);
                    match self.cluster.apply(id, pending, None).await? {
                        Written::Done(live) => self.activate(object, all, &live).await?,
                        Written::Conflict => Written::Conflict,
                    }
                }
                Some(live) if live.is_ending() => Written::Conflict,
                Some(live) if live.is_pending() => self.activate(object, all, &live).await?,
                Some(live) => {
                    self.cluster
                        .apply(id, filled(object, all, &live), Some(&live))
                        .await?
                }
            };
            if let Written::Done(_) = written {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.contended(id))
    }

    async fn activate(
        &self,
        object: &Object,
        all: &[Object],
        pending: &Live,
    ) -> Result<Written, BackendError> {
        if let Err(error) = self.anchors().check(self.generation).await {
            if error.kind() == BackendErrorKind::Stale {
                self.discard(object.id()).await;
            }
            return Err(error);
        }
        self.cluster
            .apply(object.id(), filled(object, all, pending), Some(pending))
            .await
    }

    /// Takes back what this worker reserved. Tidy, but not needed: it does nothing, and `settle`
    /// finds it; so no error is worth telling.
    async fn discard(&self, id: &ObjectId) {
        for attempt in 0..ATTEMPTS {
            let Ok(Some(live)) = self.judged(id).await else {
                return;
            };
            let is_mine = live.is_pending() && live.generation() == Some(self.generation);
            if !is_mine || !matches!(self.cluster.delete(id, &live).await, Ok(false)) {
                return;
            }
            pause(attempt).await;
        }
    }

    /// Reads an object, and refuses it when it is another's or newer.
    async fn judged(&self, id: &ObjectId) -> Result<Option<Live>, BackendError> {
        let Some(live) = self.cluster.get(id).await? else {
            return Ok(None);
        };
        if !live.belongs_to(self.target) {
            let message = format!("{id} is there and belongs to something else: remove it");
            return Err(self.cluster.failed(BackendErrorKind::Refused, message));
        }
        match live.generation() {
            Some(newer) if newer > self.generation => {
                Err(self.cluster.stale(self.generation, newer))
            }
            _ => Ok(Some(live)),
        }
    }

    fn contended(&self, id: &ObjectId) -> BackendError {
        let message = format!("{id} keeps changing while it is written: try again");
        self.cluster.failed(BackendErrorKind::Conflict, message)
    }
}

/// The Jobs of runs carry the run's label and not the role, which is their pods'.
fn run_selector(selector: &str) -> String {
    let without_role: Vec<&str> = selector
        .split(',')
        .filter(|part| !part.starts_with(labels::ROLE))
        .collect();
    format!("{},{}", without_role.join(","), labels::RUN)
}

/// What starts others goes first, so that nothing is started again.
fn removal_order(ids: impl IntoIterator<Item = ObjectId>) -> Vec<ObjectId> {
    let mut ids: Vec<ObjectId> = ids.into_iter().collect();
    ids.sort_by_key(|id| match id.kind {
        Kind::HorizontalPodAutoscaler => 0,
        Kind::CronJob | Kind::Deployment | Kind::Job => 1,
        Kind::Service | Kind::PodDisruptionBudget => 2,
        _ => 3,
    });
    ids
}

/// The object as a reservation: there, and without any effect.
fn pending(object: &Object) -> Value {
    let mut json = object.expose_manifest().clone();
    json["metadata"]["annotations"][labels::PENDING] = "true".into();
    match object.id().kind {
        Kind::Deployment => json["spec"]["replicas"] = 0.into(),
        Kind::CronJob | Kind::Job => json["spec"]["suspend"] = true.into(),
        Kind::HorizontalPodAutoscaler => {
            json["spec"]["scaleTargetRef"]["name"] = "pending".into();
        }
        Kind::Secret => json["data"] = json!({ ".dockerconfigjson": "eyJhdXRocyI6e319" }),
        Kind::Service | Kind::PodDisruptionBudget => {
            // Without a selector it selects nothing.
            if let Some(spec) = json["spec"].as_object_mut() {
                spec.remove("selector");
            }
        }
        _ => {}
    }
    json
}

/// The object as it is sent over what is there.
///
/// Where an autoscaler owns the number of copies, the number that is there is sent, kept within the
/// range. Leaving it out would fall back to one copy when a range takes the place of a fixed number.
fn filled(object: &Object, all: &[Object], live: &Live) -> Value {
    let mut json = object.expose_manifest().clone();
    let autoscaler = all
        .iter()
        .find(|other| other.id().kind == Kind::HorizontalPodAutoscaler);
    if object.id().kind == Kind::Deployment
        && let Some(spec) = autoscaler.map(|autoscaler| &autoscaler.expose_manifest()["spec"])
    {
        let bound = |field: &str| spec[field].as_i64().unwrap_or(1);
        let there = live.number("/spec/replicas").unwrap_or(0);
        json["spec"]["replicas"] = there
            .max(bound("minReplicas"))
            .min(bound("maxReplicas"))
            .into();
    }
    json
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(20 << attempt.min(5))).await;
}
