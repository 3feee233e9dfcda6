//! Taking a generation back: what ran before it runs again, or nothing does.
//!
//! It is written with a stamp that comes after the generation's own, by the rules of
//! [`apply`](crate::apply), so that a worker that still applies the generation is stale.

use std::collections::BTreeSet;

use choreo_deploy::backend::BackendError;

use crate::anchor::State;
use crate::apply::{Done, Planned, Writer, removal_order};
use crate::held_back;
use crate::kind::{Kind, ObjectId};
use crate::manifest::Object;
use crate::name;

impl Writer<'_> {
    /// Makes the target consist of these objects, which it did before. Their pods are there, so
    /// nothing waits for them to be ready: what the generation had beyond them goes at once.
    ///
    /// A pull secret of the target that the pods name and that is not among the objects stays as it is.
    pub(crate) async fn bring_back(
        &self,
        objects: &[Object],
        pull_secret: &str,
    ) -> Result<(), BackendError> {
        let mut planned: BTreeSet<ObjectId> =
            objects.iter().map(|object| object.id().clone()).collect();
        let own = ObjectId::new(Kind::Secret, name::pull_secret(self.target));
        let kept = Some(own).filter(|own| own.name == pull_secret && !planned.contains(own));
        planned.extend(kept.clone());
        let plan = Planned {
            ids: &planned,
            digest: "",
            pull_secret,
        };
        let held = self.anchors().load().await?;
        let held = self.claim(held, plan).await?;
        if let Some(kept) = &kept {
            self.touch(kept).await?;
        }
        for object in objects {
            let reached = self.reached(object).await?;
            self.write(reached.as_ref().unwrap_or(object), objects)
                .await?;
        }
        let possible = self.possible(held.as_ref());
        for id in removal_order(possible.difference(&planned).cloned()) {
            self.delete(&id).await?;
        }
        self.finish(held, Done::of(State::Applied)).await
    }

    /// The Service as it leads to each pod at the number that the pod serves, where not all serve the one
    /// of before: the pods of the generation are behind it until those of before have taken their place.
    async fn reached(&self, object: &Object) -> Result<Option<Object>, BackendError> {
        if object.id().kind != Kind::Service {
            return Ok(None);
        }
        let mut manifest = object.manifest().clone();
        let live = self.judged(object.id()).await?;
        let live = live.filter(|live| !live.is_pending());
        let Some(ports) = live.and_then(|live| held_back::ports(&manifest, &live.0)) else {
            return Ok(None);
        };
        manifest["spec"]["ports"] = ports;
        Ok(Object::of_manifest(&manifest))
    }

    /// Deletes what runs or starts something. What lies around it stays: runs of tasks need it, and
    /// so does the next generation.
    pub(crate) async fn stop(&self) -> Result<(), BackendError> {
        let held = self.anchors().load().await?;
        let held = self.claim(held, Planned::nothing()).await?;
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
