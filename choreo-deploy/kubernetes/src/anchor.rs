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

/// How often a write is tried again after somebody else was faster.
pub(crate) const ATTEMPTS: u32 = 12;

/// What the anchor of a target says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Anchor {
    pub(crate) generation: Generation,
    pub(crate) state: State,
    /// What the generation consists of.
    pub(crate) current: BTreeSet<ObjectId>,
    /// What may be there, of this generation and of older ones.
    pub(crate) inventory: BTreeSet<ObjectId>,
}

/// How far the generation is written. What becomes of it on the data plane is the rollout's matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Applying,
    Applied,
    Removing,
    Removed,
}

impl State {
    const ALL: [Self; 4] = [Self::Applying, Self::Applied, Self::Removing, Self::Removed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
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
    pub(crate) async fn check(&self, generation: Generation) -> Result<(), BackendError> {
        match self.read().await? {
            Some(anchor) if anchor.generation > generation => {
                Err(self.cluster.stale(generation, anchor.generation))
            }
            _ => Ok(()),
        }
    }

    /// Changes the anchor, unless it is newer than the generation. The change sees `None` where there
    /// is no anchor, and makes `None` where none is needed.
    pub(crate) async fn change(
        &self,
        generation: Generation,
        change: impl Fn(Option<Anchor>) -> Option<Anchor> + Send,
    ) -> Result<(), BackendError> {
        for _ in 0..ATTEMPTS {
            let loaded = self.load().await?;
            if let Some((anchor, _)) = &loaded
                && anchor.generation > generation
            {
                return Err(self.cluster.stale(generation, anchor.generation));
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
                "annotations": labels::generation(anchor.generation),
            },
            "data": {
                "state": anchor.state.as_str(),
                "current": list(&anchor.current),
                "inventory": list(&anchor.inventory),
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
    Some(Anchor {
        generation: live.generation()?,
        state: State::ALL
            .into_iter()
            .find(|known| known.as_str() == state)?,
        current: list("/data/current")?,
        inventory: list("/data/inventory")?,
    })
}
