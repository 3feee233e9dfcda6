//! The anchor: one ConfigMap per target that remembers its generation and its objects.
//!
//! It is written before the first object and never deleted, so an old generation is rejected
//! forever. Each write replaces the anchor that was read: of two concurrent writes the API server
//! accepts one.

use std::collections::BTreeSet;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, BackendErrorKind};
use choreo_deploy::deployment::Generation;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Live, Written};
use crate::kind::{Kind, ObjectId};
use crate::labels;
use crate::name;
use crate::stamp::{Rank, Stamp};

/// The number of attempts of a write that conflicts with another writer.
pub(crate) const ATTEMPTS: u32 = 12;

/// The content of a target's anchor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Anchor {
    pub(crate) generation: Generation,
    /// The order within the generation.
    pub(crate) rank: Rank,
    pub(crate) state: State,
    /// The objects of the generation.
    pub(crate) current: BTreeSet<ObjectId>,
    /// The objects that may exist, of this generation and of older ones.
    pub(crate) inventory: BTreeSet<ObjectId>,
    /// The objects that are written when the generation is ready, because the earlier pods need the
    /// live ones.
    pub(crate) deferred: Vec<Value>,
    /// The digest of the objects without parts that change with each generation; empty if it is not
    /// known.
    pub(crate) digest: String,
    /// The stamp of the objects: an older one if later generations changed nothing.
    pub(crate) since: Stamp,
    /// The name of the Secret that the generation's pods pull with; empty without one, and `None` in
    /// an anchor from before it was recorded.
    pub(crate) pull_secret: Option<String>,
    /// The same for the generation that was ready last, or for the state that was restored since.
    pub(crate) ready_pull_secret: Option<String>,
}

/// An anchor as it was last read or written.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) anchor: Anchor,
    live: Live,
}

impl Held {
    /// Returns the time of the last write, by the API server's clock.
    pub(crate) fn written_at(&self) -> Option<Timestamp> {
        self.live.written_at()
    }
}

impl Anchor {
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            generation: self.generation,
            rank: self.rank,
        }
    }

    /// Returns the time at which the anchor took a generation that changed nothing; `written` is
    /// the time of its last write. Events from before do not belong to the generation.
    pub(crate) fn kept(&self, written: Option<Timestamp>) -> Option<Timestamp> {
        written.filter(|_| self.since < self.stamp())
    }
}

/// The progress of writing the generation. The rollout's state is separate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Applying,
    Applied,
    /// The generation was taken back and nothing was ready before, so nothing runs.
    Stopped,
    Removing,
    Removed,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Applying,
        Self::Applied,
        Self::Stopped,
        Self::Removing,
        Self::Removed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Stopped => "stopped",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }

    pub(crate) fn is_removal(self) -> bool {
        matches!(self, Self::Removing | Self::Removed)
    }
}

/// Reads and writes the anchor of one target.
pub(crate) struct Anchors<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) target: &'a Target,
}

impl Anchors<'_> {
    pub(crate) async fn read(&self) -> Result<Option<Anchor>, BackendError> {
        Ok(self.load().await?.map(|held| held.anchor))
    }

    /// Returns an error if the anchor has a newer stamp.
    pub(crate) async fn check(&self, stamp: Stamp) -> Result<(), BackendError> {
        match self.read().await? {
            Some(anchor) if anchor.stamp() > stamp => {
                Err(self.cluster.stale(stamp, anchor.stamp()))
            }
            _ => Ok(()),
        }
    }

    /// Changes the held anchor unless it has a newer stamp, and returns the anchor afterwards. The
    /// change gets `None` if there is no anchor, and returns `None` if none is needed.
    pub(crate) async fn change(
        &self,
        stamp: Stamp,
        mut held: Option<Held>,
        change: impl Fn(Option<Anchor>) -> Option<Anchor> + Send,
    ) -> Result<Option<Held>, BackendError> {
        for _ in 0..ATTEMPTS {
            let before = held.as_ref().map(|held| held.anchor.clone());
            if let Some(anchor) = &before
                && anchor.stamp() > stamp
            {
                return Err(self.cluster.stale(stamp, anchor.stamp()));
            }
            let after = change(before.clone());
            let Some(anchor) = after.filter(|after| Some(after) != before.as_ref()) else {
                return Ok(held);
            };
            match self.put(anchor, held.as_ref()).await? {
                Some(changed) => return Ok(Some(changed)),
                None => held = self.load().await?,
            }
        }
        let message = "other workers keep changing the same target: retry the call";
        Err(self.cluster.failed(BackendErrorKind::Conflict, message))
    }

    /// Writes an anchor over the held one; returns `None` if that has changed.
    pub(crate) async fn put(
        &self,
        anchor: Anchor,
        over: Option<&Held>,
    ) -> Result<Option<Held>, BackendError> {
        let mut json = self.manifest(&anchor);
        let written = match over {
            None => self.cluster.create(&self.id(), &json).await?,
            Some(held) => {
                json["metadata"]["resourceVersion"] = held.live.resource_version().into();
                self.cluster.replace(&self.id(), &json).await?
            }
        };
        Ok(match written {
            Written::Done(live) => Some(Held { anchor, live }),
            Written::Conflict => None,
        })
    }

    pub(crate) async fn load(&self) -> Result<Option<Held>, BackendError> {
        let Some(live) = self.cluster.get(&self.id()).await? else {
            return Ok(None);
        };
        let id = self.id();
        if !live.belongs_to(self.target) {
            let message = format!("{id} exists and belongs to another owner: remove it");
            return Err(self.cluster.failed(BackendErrorKind::Refused, message));
        }
        let anchor = parse(&live).ok_or_else(|| self.cluster.unreadable(&id.to_string()))?;
        Ok(Some(Held { anchor, live }))
    }

    fn id(&self) -> ObjectId {
        ObjectId::new(Kind::ConfigMap, name::anchor(self.target))
    }

    fn manifest(&self, anchor: &Anchor) -> Value {
        let list = |ids: &BTreeSet<ObjectId>| {
            ids.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut manifest = json!({
            "apiVersion": Kind::ConfigMap.api_version(),
            "kind": Kind::ConfigMap.as_str(),
            "metadata": {
                "name": name::anchor(self.target),
                "namespace": self.cluster.namespace,
                "labels": labels::target(self.target),
                "annotations": { labels::GENERATION: anchor.stamp().to_string() },
            },
            "data": {
                "state": anchor.state.as_str(),
                "current": list(&anchor.current),
                "inventory": list(&anchor.inventory),
                "deferred": Value::from(anchor.deferred.clone()).to_string(),
                "digest": anchor.digest,
                "since": anchor.since.to_string(),
            },
        });
        // The API server would store null as an empty text.
        for (key, name) in [
            ("pullSecret", &anchor.pull_secret),
            ("readyPullSecret", &anchor.ready_pull_secret),
        ] {
            if let Some(name) = name {
                manifest["data"][key] = name.as_str().into();
            }
        }
        manifest
    }
}

fn parse(live: &Live) -> Option<Anchor> {
    let list = |pointer| {
        live.text(pointer)
            .lines()
            .map(str::parse)
            .collect::<Result<BTreeSet<ObjectId>, ()>>()
            .ok()
    };
    let name = |pointer| {
        let name = live.0.pointer(pointer)?.as_str()?;
        Some(name.to_owned())
    };
    let state = live.text("/data/state");
    let deferred = match live.text("/data/deferred") {
        "" => Vec::new(),
        text => serde_json::from_str(text).ok()?,
    };
    let stamp = live.stamp()?;
    Some(Anchor {
        generation: stamp.generation,
        rank: stamp.rank,
        state: State::ALL
            .into_iter()
            .find(|known| known.as_str() == state)?,
        current: list("/data/current")?,
        inventory: list("/data/inventory")?,
        deferred,
        digest: live.text("/data/digest").to_owned(),
        since: live.text("/data/since").parse().unwrap_or(stamp),
        pull_secret: name("/data/pullSecret"),
        ready_pull_secret: name("/data/readyPullSecret"),
    })
}
