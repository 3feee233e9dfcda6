//! Writing the objects of a target, so that a paused worker cannot undo a newer deployment.
//!
//! Kubernetes changes one object at a time, so a worker cannot check a target's generation and
//! write its objects in one step. Three rules replace that step:
//!
//! 1. *Claim first.* The [anchor](crate::anchor) takes the generation before the worker touches an
//!    object.
//! 2. *Touch everything.* After its claim a worker changes every object that the target may have,
//!    including those that it does not need. Each change is conditional on the object that was
//!    read. An older worker that has read the object before gets a conflict, reads again and finds
//!    the newer generation.
//! 3. *Reserve, check, activate.* A worker cannot touch an object that does not exist. So it
//!    creates a *pending* object without any effect (a paused rollout, a suspended schedule, an
//!    empty Secret) and reads the anchor. Only if the anchor still has its own generation does it
//!    write the real object, on the condition that the pending object is unchanged.
//!
//! Rule 3 suffices because a worker activates an object that it read *before* it read the anchor.
//! If a newer worker claims before that, the older worker stops. If it claims afterwards, it
//! touches the object, which exists. Either way the newer worker writes last. Pending objects of a
//! worker that stopped for good have no effect, and the removal of the target deletes them.
//!
//! Rules 2 and 3 apply to each object that differs. They take fewer requests if nothing can be
//! lost:
//!
//! - One read of the anchor activates all objects that were reserved before it.
//! - No worker has written an object that the anchor never listed, because each worker claims first
//!   and lists the objects that it plans.
//! - A generation that changes nothing only claims: see [`unchanged`](crate::unchanged).
//!
//! Within a generation a digest comes after a tag, and taking back comes after both: see
//! [`Rank`](crate::stamp::Rank).
//!
//! The ports of the Service and the range of the autoscaler stay as the earlier pods need them
//! until the new pods are ready. The anchor remembers the new ones, and `settle` writes them. Until
//! then the Service resolves a port whose number changes by its name: see
//! [`held_back`](crate::held_back).

use std::collections::BTreeSet;
use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, BackendErrorKind};
use serde_json::Value;

use crate::anchor::{ATTEMPTS, Anchor, Anchors, Held, State};
use crate::cluster::{Cluster, Live, Written, stamp_change};
use crate::held_back;
use crate::kind::{Kind, ObjectId};
use crate::manifest::Object;
use crate::name;
use crate::shape::{digest, filled, is_needed_as_it_is, pending};
use crate::stamp::{Rank, Stamp};

/// Writes the objects of one target with one stamp.
pub(crate) struct Writer<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) target: &'a Target,
    pub(crate) stamp: Stamp,
}

/// The objects of a generation, and the Secret that its pods pull with.
#[derive(Clone, Copy)]
pub(crate) struct Planned<'a> {
    pub(crate) ids: &'a BTreeSet<ObjectId>,
    /// The digest of the objects' contents; empty if it is not compared.
    pub(crate) digest: &'a str,
    /// The name of the Secret that the pods pull with; empty without one.
    pub(crate) pull_secret: &'a str,
}

impl Planned<'_> {
    /// Returns the plan of a target without objects.
    pub(crate) fn nothing() -> Self {
        const NOTHING: &BTreeSet<ObjectId> = &BTreeSet::new();
        Self {
            ids: NOTHING,
            digest: "",
            pull_secret: "",
        }
    }
}

impl Writer<'_> {
    /// Makes these objects the objects of the target; its pods pull with a Secret. Further objects
    /// of the target stay until `settle`.
    pub(crate) async fn apply(
        &self,
        objects: &[Object],
        pull_secret: &str,
    ) -> Result<(), BackendError> {
        let planned: BTreeSet<ObjectId> =
            objects.iter().map(|object| object.id().clone()).collect();
        let digest = digest(objects);
        let mut held = self.anchors().load().await?;
        if let Some(there) = &held
            && self.is_there(&there.anchor, (objects, &digest)).await?
        {
            if self.keep(there, objects).await? {
                return Ok(());
            }
            held = self.anchors().load().await?;
        }
        let is_first = held.is_none();
        let plan = Planned {
            ids: &planned,
            digest: &digest,
            pull_secret,
        };
        let held = self.claim(held, plan).await?;
        let mut done = Done::of(State::Applied);
        let possible = match is_first {
            true => self.possible(held.as_ref()),
            // A worker that wrote an object has claimed before, and listed the object.
            false => inventory(held.as_ref()),
        };
        for id in possible.difference(&planned) {
            if self.supersede(id).await? {
                done.beyond.insert(id.clone());
            }
        }
        let written = self.write_all(objects, is_first).await;
        if written.as_ref().is_err_and(is_stale) {
            for object in objects {
                self.discard(object.id()).await;
            }
        }
        done.deferred = written?;
        self.finish(held, done).await
    }

    /// Writes the objects, and returns those that are written when the generation is ready.
    async fn write_all(
        &self,
        objects: &[Object],
        is_first: bool,
    ) -> Result<Vec<Value>, BackendError> {
        let mut deferred = Vec::new();
        let there = self.reserve(objects, is_first).await?;
        for (object, live) in objects.iter().zip(there) {
            match live {
                None => self.write_new(object, objects).await?,
                Some(live) if is_needed_as_it_is(object, &live) => {
                    // An invalid object is rejected now, while the earlier state is still there.
                    self.cluster.dry_run(object.id(), object).await?;
                    self.hold_back(object, live).await?;
                    deferred.push(object.manifest().clone());
                }
                Some(live) => self.write_over(object, objects, &live).await?,
            }
        }
        Ok(deferred)
    }

    /// Reads each object, and reserves it if it does not exist. The caller may then write over the
    /// returned objects.
    async fn reserve(
        &self,
        objects: &[Object],
        is_first: bool,
    ) -> Result<Vec<Option<Live>>, BackendError> {
        let mut there = Vec::with_capacity(objects.len());
        for object in objects {
            // Kubernetes writes the status of these as soon as they exist. If they were reserved
            // with the others, they would have changed before they are activated.
            let changes_by_itself = matches!(
                object.id().kind,
                Kind::CronJob
                    | Kind::Deployment
                    | Kind::HorizontalPodAutoscaler
                    | Kind::PodDisruptionBudget
            );
            there.push(match (changes_by_itself, is_first) {
                (false, _) => Some(self.reserved(object, is_first).await?),
                (true, true) => None,
                (true, false) => self.judged(object.id()).await?,
            });
        }
        let there: Vec<Option<Live>> = there
            .into_iter()
            .map(|live| live.filter(|live| !live.is_ending()))
            .collect();
        // One read suffices because each object was read before it.
        if there.iter().flatten().any(Live::is_pending) {
            self.anchors().check(self.stamp).await?;
        }
        Ok(there)
    }

    async fn reserved(&self, object: &Object, is_first: bool) -> Result<Live, BackendError> {
        let id = object.id();
        for attempt in 0..ATTEMPTS {
            // Without an anchor, the objects most likely do not exist.
            if !(is_first && attempt == 0) {
                match self.judged(id).await? {
                    Some(live) if live.is_ending() => {
                        pause(attempt).await;
                        continue;
                    }
                    Some(live) => return Ok(live),
                    None => {}
                }
            }
            let pending = pending(object, self.stamp);
            if let Written::Done(live) = self.cluster.apply(id, pending, None).await? {
                return Ok(live);
            }
        }
        Err(self.contended(id))
    }

    /// Returns the anchor for a plan of this writer.
    pub(crate) fn anchor(
        &self,
        state: State,
        plan: Planned<'_>,
        inventory: BTreeSet<ObjectId>,
    ) -> Anchor {
        Anchor {
            generation: self.stamp.generation,
            rank: self.stamp.rank,
            state,
            current: plan.ids.clone(),
            inventory,
            deferred: Vec::new(),
            digest: plan.digest.to_owned(),
            since: self.stamp,
            pull_secret: Some(plan.pull_secret.to_owned()),
            ready_pull_secret: Some(plan.pull_secret.to_owned()),
        }
    }

    pub(crate) fn anchors(&self) -> Anchors<'_> {
        Anchors {
            cluster: self.cluster,
            target: self.target,
        }
    }

    pub(crate) async fn claim(
        &self,
        held: Option<Held>,
        plan: Planned<'_>,
    ) -> Result<Option<Held>, BackendError> {
        let stamp = self.stamp;
        self.anchors()
            .change(stamp, held, |anchor| {
                let same = |anchor: &Anchor| {
                    anchor.stamp() == stamp
                        && anchor.state == State::Applied
                        && anchor.current == *plan.ids
                        && anchor.pull_secret.as_deref() == Some(plan.pull_secret)
                };
                if anchor.as_ref().is_some_and(same) {
                    return anchor;
                }
                let planned = Some(plan.pull_secret.to_owned());
                let (mut inventory, ready) = match anchor {
                    // The restored pods pull with it from now on. A later take-back restores it.
                    Some(anchor) if stamp.rank == Rank::TakenBack => (anchor.inventory, planned),
                    Some(anchor) => (anchor.inventory, anchor.ready_pull_secret),
                    // If nothing was ready before, nothing is restored.
                    None => (BTreeSet::new(), planned),
                };
                inventory.extend(plan.ids.iter().cloned());
                Some(Anchor {
                    ready_pull_secret: ready,
                    ..self.anchor(State::Applying, plan, inventory)
                })
            })
            .await
    }

    pub(crate) async fn finish(&self, held: Option<Held>, done: Done) -> Result<(), BackendError> {
        let (stamp, state) = (self.stamp, done.state);
        let anchors = self.anchors();
        let finished = anchors.change(stamp, held, |anchor| {
            let anchor = anchor?;
            let mine = anchor.stamp() == stamp && anchor.state.is_removal() == state.is_removal();
            if !mine {
                return Some(anchor);
            }
            let mut inventory = match state {
                State::Removed => BTreeSet::new(),
                _ => anchor.inventory.clone(),
            };
            inventory.extend(done.beyond.iter().cloned());
            Some(Anchor {
                state,
                inventory,
                deferred: done.deferred.clone(),
                ..anchor
            })
        });
        finished.await.map(drop)
    }

    /// Returns the objects that the target may have: those that the anchor lists, and every object
    /// with one of its names.
    pub(crate) fn possible(&self, held: Option<&Held>) -> BTreeSet<ObjectId> {
        let mut ids = inventory(held);
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
        ids
    }

    /// Marks an object that this generation does not need, so that no older generation changes it
    /// again. Returns `true` if it exists afterwards.
    ///
    /// An autoscaler is deleted at once, because it would continue to scale a workload that now has
    /// a fixed number of replicas.
    pub(crate) async fn supersede(&self, id: &ObjectId) -> Result<bool, BackendError> {
        match id.kind {
            Kind::HorizontalPodAutoscaler => self.delete(id).await.map(|()| false),
            _ => self.touch(id).await,
        }
    }

    /// Marks an object that stays as it is, so that no older generation changes it again. Returns
    /// `true` if it exists.
    pub(crate) async fn touch(&self, id: &ObjectId) -> Result<bool, BackendError> {
        match self.judged(id).await? {
            Some(live) => self.touch_over(id, live, |_| None).await,
            None => Ok(false),
        }
    }

    /// Marks an object that the earlier pods need as it is. The new pods serve behind a Service as
    /// soon as they are ready, so the Service resolves its ports for each pod.
    async fn hold_back(&self, object: &Object, live: Live) -> Result<(), BackendError> {
        let ports = |live: &Live| match object.id().kind {
            Kind::Service => held_back::ports(&live.0, object.manifest()),
            _ => None,
        };
        self.touch_over(object.id(), live, ports).await.map(drop)
    }

    /// Marks an object, and replaces its ports if there are others.
    async fn touch_over(
        &self,
        id: &ObjectId,
        mut live: Live,
        ports: impl Fn(&Live) -> Option<Value> + Send,
    ) -> Result<bool, BackendError> {
        for attempt in 0..ATTEMPTS {
            let mut change = stamp_change(self.stamp);
            let written = match ports(&live) {
                Some(ports) => {
                    change["spec"]["ports"] = ports;
                    self.cluster.merge_over(id, change, &live).await?
                }
                None if live.stamp() == Some(self.stamp) => return Ok(true),
                None => self.cluster.merge(id, change, &live).await?,
            };
            if let Written::Done(_) = written {
                return Ok(true);
            }
            pause(attempt).await;
            live = match self.judged(id).await? {
                Some(live) => live,
                None => return Ok(false),
            };
        }
        Err(self.contended(id))
    }

    /// Deletes an object, unless the object or the target has a newer generation.
    pub(crate) async fn delete(&self, id: &ObjectId) -> Result<(), BackendError> {
        for attempt in 0..ATTEMPTS {
            let Some(live) = self.judged(id).await? else {
                return Ok(());
            };
            if live.is_ending() {
                return Ok(());
            }
            // The object is read first, then the anchor: see rule 3 of the module.
            self.anchors().check(self.stamp).await?;
            if self.cluster.delete(id, &live).await? {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.contended(id))
    }

    /// Writes an object that most likely does not exist.
    async fn write_new(&self, object: &Object, all: &[Object]) -> Result<(), BackendError> {
        let pending = pending(object, self.stamp);
        let reserved = self.cluster.apply(object.id(), pending, None).await?;
        if let Written::Done(live) = reserved
            && let Written::Done(_) = self.activate(object, all, &live).await?
        {
            return Ok(());
        }
        self.write(object, all).await
    }

    /// Writes an object over the one that was read, or over its newer state.
    async fn write_over(
        &self,
        object: &Object,
        all: &[Object],
        live: &Live,
    ) -> Result<(), BackendError> {
        let json = filled(object, all, (live, self.stamp));
        match self.cluster.apply(object.id(), json, Some(live)).await? {
            Written::Done(_) => Ok(()),
            Written::Conflict => self.write(object, all).await,
        }
    }

    pub(crate) async fn write(&self, object: &Object, all: &[Object]) -> Result<(), BackendError> {
        let id = object.id();
        for attempt in 0..ATTEMPTS {
            let written = match self.judged(id).await? {
                None => {
                    let pending = pending(object, self.stamp);
                    match self.cluster.apply(id, pending, None).await? {
                        Written::Done(live) => self.activate(object, all, &live).await?,
                        Written::Conflict => Written::Conflict,
                    }
                }
                Some(live) if live.is_ending() => Written::Conflict,
                Some(live) if live.is_pending() => self.activate(object, all, &live).await?,
                Some(live) => {
                    self.cluster
                        .apply(id, filled(object, all, (&live, self.stamp)), Some(&live))
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
        if let Err(error) = self.anchors().check(self.stamp).await {
            if is_stale(&error) {
                self.discard(object.id()).await;
            }
            return Err(error);
        }
        self.cluster
            .apply(
                object.id(),
                filled(object, all, (pending, self.stamp)),
                Some(pending),
            )
            .await
    }

    /// Deletes an object that this worker reserved. Errors are ignored, because a pending object
    /// has no effect and the removal of the target deletes it.
    async fn discard(&self, id: &ObjectId) {
        for attempt in 0..ATTEMPTS {
            let Ok(Some(live)) = self.judged(id).await else {
                return;
            };
            let is_mine = live.is_pending() && live.stamp() == Some(self.stamp);
            if !is_mine || !matches!(self.cluster.delete(id, &live).await, Ok(false)) {
                return;
            }
            pause(attempt).await;
        }
    }

    /// Reads an object, and rejects it if it belongs to another owner or has a newer stamp.
    pub(crate) async fn judged(&self, id: &ObjectId) -> Result<Option<Live>, BackendError> {
        self.judge(id, self.cluster.get(id).await?)
    }

    /// Rejects an object that was read if it belongs to another owner or has a newer stamp.
    pub(crate) fn judge(
        &self,
        id: &ObjectId,
        live: Option<Live>,
    ) -> Result<Option<Live>, BackendError> {
        let Some(live) = live else {
            return Ok(None);
        };
        if !live.belongs_to(self.target) {
            let message = format!("{id} exists and belongs to another owner: remove it");
            return Err(self.cluster.failed(BackendErrorKind::Refused, message));
        }
        match live.stamp() {
            Some(newer) if newer > self.stamp => Err(self.cluster.stale(self.stamp, newer)),
            _ => Ok(Some(live)),
        }
    }

    fn contended(&self, id: &ObjectId) -> BackendError {
        let message = format!("{id} keeps changing while it is written: retry the call");
        self.cluster.failed(BackendErrorKind::Conflict, message)
    }
}

/// The result of a write: its state, and the objects that it leaves for later.
#[derive(Debug)]
pub(crate) struct Done {
    state: State,
    /// Objects that exist and that the anchor does not list.
    beyond: BTreeSet<ObjectId>,
    deferred: Vec<Value>,
}

impl Done {
    pub(crate) fn of(state: State) -> Self {
        Self {
            state,
            beyond: BTreeSet::new(),
            deferred: Vec::new(),
        }
    }
}

fn is_stale(error: &BackendError) -> bool {
    error.kind() == BackendErrorKind::Stale
}

fn inventory(held: Option<&Held>) -> BTreeSet<ObjectId> {
    held.map(|held| held.anchor.inventory.clone())
        .unwrap_or_default()
}

/// Orders objects for removal. Objects that start others come first, so that nothing is started
/// again.
pub(crate) fn removal_order(ids: impl IntoIterator<Item = ObjectId>) -> Vec<ObjectId> {
    let mut ids: Vec<ObjectId> = ids.into_iter().collect();
    ids.sort_by_key(|id| match id.kind {
        Kind::HorizontalPodAutoscaler => 0,
        Kind::CronJob | Kind::Deployment | Kind::Job => 1,
        Kind::Service | Kind::PodDisruptionBudget => 2,
        _ => 3,
    });
    ids
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(20 << attempt.min(5))).await;
}
