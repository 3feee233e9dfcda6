//! Taking a generation back: what ran before it runs again, or nothing does.
//!
//! It is written with a stamp that comes after the generation's own, by the rules of
//! [`apply`](crate::apply), so that a worker that still applies the generation is stale.

use std::collections::BTreeSet;

use choreo_deploy::backend::BackendError;

use crate::anchor::State;
use crate::apply::{Done, Writer, removal_order};
use crate::kind::{Kind, ObjectId};
use crate::manifest::Object;

impl Writer<'_> {
    /// Makes the target consist of these objects, which it did before. Their pods are there, so
    /// nothing waits for them to be ready: what the generation had beyond them goes at once.
    pub(crate) async fn bring_back(&self, objects: &[Object]) -> Result<(), BackendError> {
        let planned: BTreeSet<ObjectId> =
            objects.iter().map(|object| object.id().clone()).collect();
        let held = self.anchors().load().await?;
        let held = self.claim(held, (&planned, "")).await?;
        for object in objects {
            self.write(object, objects).await?;
        }
        let possible = self.possible(held.as_ref());
        for id in removal_order(possible.difference(&planned).cloned()) {
            self.delete(&id).await?;
        }
        self.finish(held, Done::of(State::Applied)).await
    }

    /// Deletes what runs or starts something. What lies around it stays: runs of tasks need it, and
    /// so does the next generation.
    pub(crate) async fn stop(&self) -> Result<(), BackendError> {
        let held = self.anchors().load().await?;
        let held = self.claim(held, (&BTreeSet::new(), "")).await?;
        for id in removal_order(self.possible(held.as_ref())) {
            match id.kind {
                Kind::CronJob | Kind::Deployment | Kind::HorizontalPodAutoscaler => {
                    self.delete(&id).await?;
                }
                _ => _ = self.supersede(&id).await?,
            }
        }
        self.finish(held, Done::of(State::Stopped)).await
    }
}
