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
//!    as a *pending* one that does nothing (a paused rollout, a suspended schedule, an empty secret); then
//!    the worker reads the anchor; only if that is still its own generation does it write the real
//!    object, conditional on the pending one being unchanged.
//!
//! Why 3 is enough: a worker activates an object that it read *before* it read the anchor. A newer
//! worker claims either before that reading of the anchor, and the older one stops; or after it, and
//! then touches the object, which is there. Either way the newer worker has the last word. What a
//! worker that stopped for good leaves behind does nothing, and the removal of the target removes it.
//!
//! Rules 2 and 3 are kept object by object where something differs, and with fewer requests where
//! nothing can be lost by it:
//!
//! - One look at the anchor activates all that was reserved before it.
//! - What no anchor ever listed was written by nobody, for all claim first and list what they plan.
//! - A generation that changes nothing only claims: see [`unchanged`](crate::unchanged).
//!
//! Within a generation what is pinned comes after what runs by a tag, and what takes it back after both,
//! in the same way: see [`Rank`](crate::stamp::Rank).
//!
//! What else ran before needs is left as it is until the new pods are ready: the ports of the Service
//! and the range of the autoscaler. They are written down in the anchor and written by `settle`. Until
//! then a port whose number changes leads to it by its name: see [`held_back`](crate::held_back).

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
use crate::shape::{filled, is_needed_as_it_is, pending};
use crate::stamp::Stamp;
use crate::unchanged;

/// Writes the objects of one target at one place in their order.
pub(crate) struct Writer<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) target: &'a Target,
    pub(crate) stamp: Stamp,
}

/// What a generation consists of.
#[derive(Clone, Copy)]
pub(crate) struct Planned<'a> {
    pub(crate) ids: &'a BTreeSet<ObjectId>,
    /// The digest of what the objects say; empty if it is not compared.
    pub(crate) digest: &'a str,
    /// The Secret that its pods pull with; empty without one.
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
    /// Makes the target consist of these objects, whose pods pull with a Secret. What it had beyond them
    /// is left for `settle`.
    pub(crate) async fn apply(
        &self,
        objects: &[Object],
        pull_secret: &str,
    ) -> Result<(), BackendError> {
        let planned: BTreeSet<ObjectId> =
            objects.iter().map(|object| object.id().clone()).collect();
        let digest = unchanged::digest(objects);
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
            // Whoever wrote something has claimed before, and listed it.
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

    /// Writes the objects, and returns what is to be written when the generation is ready.
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
                    // Refused now, while what was there before can still be kept.
                    self.cluster.dry_run(object.id(), object).await?;
                    self.hold_back(object, live).await?;
                    deferred.push(object.manifest().clone());
                }
                Some(live) => self.write_over(object, objects, &live).await?,
            }
        }
        Ok(deferred)
    }

    /// Reads what is there of each object, and reserves others. When this returns, what it returns may
    /// be written over.
    async fn reserve(
        &self,
        objects: &[Object],
        is_first: bool,
    ) -> Result<Vec<Option<Live>>, BackendError> {
        let mut there = Vec::with_capacity(objects.len());
        for object in objects {
            // Kubernetes writes the status of these as soon as they are there: reserved with the others,
            // they would have changed before it is their turn.
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
        // One look is enough for all: it comes after each of them was read.
        if there.iter().flatten().any(Live::is_pending) {
            self.anchors().check(self.stamp).await?;
        }
        Ok(there)
    }

    async fn reserved(&self, object: &Object, is_first: bool) -> Result<Live, BackendError> {
        let id = object.id();
        for attempt in 0..ATTEMPTS {
            // Where there was no anchor, most likely nothing is there to read.
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

    /// The anchor of what this worker writes.
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
            pull_secret: plan.pull_secret.to_owned(),
            ready_pull_secret: plan.pull_secret.to_owned(),
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
                        && anchor.pull_secret == plan.pull_secret
                };
                if anchor.as_ref().is_some_and(same) {
                    return anchor;
                }
                let (mut inventory, ready) = match anchor {
                    Some(anchor) => (anchor.inventory, anchor.ready_pull_secret),
                    // Where nothing was ready before, nothing is brought back.
                    None => (BTreeSet::new(), plan.pull_secret.to_owned()),
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

    /// What the target may have: what the anchor lists, and every object with one of its names.
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

    /// Marks an object that this generation has no use for, so that no older one changes it again.
    /// Whether it is there afterwards.
    ///
    /// An autoscaler goes at once: it would go on scaling what now has a fixed number of copies.
    pub(crate) async fn supersede(&self, id: &ObjectId) -> Result<bool, BackendError> {
        match id.kind {
            Kind::HorizontalPodAutoscaler => self.delete(id).await.map(|()| false),
            _ => self.touch(id).await,
        }
    }

    /// Marks an object that stays as it is, so that no older generation changes it again. Whether it
    /// is there.
    pub(crate) async fn touch(&self, id: &ObjectId) -> Result<bool, BackendError> {
        match self.judged(id).await? {
            Some(live) => self.touch_over(id, live, |_| None).await,
            None => Ok(false),
        }
    }

    /// Marks an object that the pods before need as it is. The new pods serve behind a Service as soon
    /// as they are ready, so its ports lead to the number that each pod serves.
    async fn hold_back(&self, object: &Object, live: Live) -> Result<(), BackendError> {
        let ports = |live: &Live| match object.id().kind {
            Kind::Service => held_back::ports(&live.0, object.manifest()),
            _ => None,
        };
        self.touch_over(object.id(), live, ports).await.map(drop)
    }

    /// Marks an object, and gives it other ports where there are some.
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

    /// Deletes an object, unless it or the target is of a newer generation.
    pub(crate) async fn delete(&self, id: &ObjectId) -> Result<(), BackendError> {
        for attempt in 0..ATTEMPTS {
            let Some(live) = self.judged(id).await? else {
                return Ok(());
            };
            if live.is_ending() {
                return Ok(());
            }
            // Read the object first, then the anchor: see the module's rule 3.
            self.anchors().check(self.stamp).await?;
            if self.cluster.delete(id, &live).await? {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.contended(id))
    }

    /// Writes an object that most likely is not there.
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

    /// Writes an object over what was read of it; or over what has become of that.
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

    /// Takes back what this worker reserved. Tidy, but not needed: it does nothing, and is found when
    /// the target is removed; so no error is worth telling.
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

    /// Reads an object, and refuses it when it is another's or newer.
    pub(crate) async fn judged(&self, id: &ObjectId) -> Result<Option<Live>, BackendError> {
        self.judge(id, self.cluster.get(id).await?)
    }

    /// The same for what was read already.
    pub(crate) fn judge(
        &self,
        id: &ObjectId,
        live: Option<Live>,
    ) -> Result<Option<Live>, BackendError> {
        let Some(live) = live else {
            return Ok(None);
        };
        if !live.belongs_to(self.target) {
            let message = format!("{id} is there and belongs to something else: remove it");
            return Err(self.cluster.failed(BackendErrorKind::Refused, message));
        }
        match live.stamp() {
            Some(newer) if newer > self.stamp => Err(self.cluster.stale(self.stamp, newer)),
            _ => Ok(Some(live)),
        }
    }

    fn contended(&self, id: &ObjectId) -> BackendError {
        let message = format!("{id} keeps changing while it is written: try again");
        self.cluster.failed(BackendErrorKind::Conflict, message)
    }
}

/// What was written, and how far.
#[derive(Debug)]
pub(crate) struct Done {
    state: State,
    /// What is there and listed nowhere.
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

/// What starts others goes first, so that nothing is started again.
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
