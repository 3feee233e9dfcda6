//! The anchor: one ConfigMap per target that remembers its generation and its objects.
//!
//! It is written before the first object and stays after the last, so that an old generation is
//! refused for ever. Each change replaces what was read: the API server takes one of two that race.

use std::collections::BTreeSet;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, BackendErrorKind};
use choreo_deploy::deployment::Generation;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Live, Written};
use crate::kind::{Kind, ObjectId};
use crate::labels;
use crate::name;
use crate::stamp::Stamp;

/// How often a write is tried again after somebody else was faster.
pub(crate) const ATTEMPTS: u32 = 12;

/// What the anchor of a target says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Anchor {
    pub(crate) generation: Generation,
    /// Whether the generation was taken back since.
    pub(crate) is_taken_back: bool,
    pub(crate) state: State,
    /// What the generation consists of.
    pub(crate) current: BTreeSet<ObjectId>,
    /// What may be there, of this generation and of older ones.
    pub(crate) inventory: BTreeSet<ObjectId>,
    /// What is written once the generation is ready, because what ran before needs it otherwise.
    pub(crate) deferred: Vec<Value>,
}

impl Anchor {
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            generation: self.generation,
            is_taken_back: self.is_taken_back,
        }
    }
}

/// How far the generation is written. What becomes of it on the data plane is the rollout's matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Applying,
    Applied,
    /// Taken back, and nothing was there before: nothing runs.
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
        Ok(self.load().await?.map(|(anchor, _)| anchor))
    }

    /// Refuses what is older than what the anchor says.
    pub(crate) async fn check(&self, stamp: Stamp) -> Result<(), BackendError> {
        match self.read().await? {
            Some(anchor) if anchor.stamp() > stamp => {
                Err(self.cluster.stale(stamp, anchor.stamp()))
            }
            _ => Ok(()),
        }
    }

    /// Changes the anchor, unless it is newer than the stamp. The change sees `None` where there
    /// is no anchor, and makes `None` where none is needed.
    pub(crate) async fn change(
        &self,
        stamp: Stamp,
        change: impl Fn(Option<Anchor>) -> Option<Anchor> + Send,
    ) -> Result<(), BackendError> {
        for _ in 0..ATTEMPTS {
            let loaded = self.load().await?;
            if let Some((anchor, _)) = &loaded
                && anchor.stamp() > stamp
            {
                return Err(self.cluster.stale(stamp, anchor.stamp()));
            }
            let before = loaded.as_ref().map(|(anchor, _)| anchor.clone());
            let after = change(before.clone());
            let Some(anchor) = after.filter(|after| Some(after) != before.as_ref()) else {
                return Ok(());
            };
            let mut json = self.manifest(&anchor);
            let written = match &loaded {
                None => self.cluster.create(&self.id(), &json).await?,
                Some((_, live)) => {
                    json["metadata"]["resourceVersion"] = live.resource_version().into();
                    self.cluster.replace(&self.id(), &json).await?
                }
            };
            if let Written::Done(_) = written {
                return Ok(());
            }
        }
        let message = "other workers keep changing the same target: try again";
        Err(self.cluster.failed(BackendErrorKind::Conflict, message))
    }

    async fn load(&self) -> Result<Option<(Anchor, Live)>, BackendError> {
        let Some(live) = self.cluster.get(&self.id()).await? else {
            return Ok(None);
        };
        let id = self.id();
        if !live.belongs_to(self.target) {
            let message = format!("{id} is there and belongs to something else: remove it");
            return Err(self.cluster.failed(BackendErrorKind::Refused, message));
        }
        let anchor = parse(&live).ok_or_else(|| self.cluster.unreadable(&id.to_string()))?;
        Ok(Some((anchor, live)))
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
        json!({
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
            },
        })
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
    let state = live.text("/data/state");
    let deferred = match live.text("/data/deferred") {
        "" => Vec::new(),
        text => serde_json::from_str(text).ok()?,
    };
    let stamp = live.stamp()?;
    Some(Anchor {
        generation: stamp.generation,
        is_taken_back: stamp.is_taken_back,
        state: State::ALL
            .into_iter()
            .find(|known| known.as_str() == state)?,
        current: list("/data/current")?,
        inventory: list("/data/inventory")?,
        deferred,
    })
}
