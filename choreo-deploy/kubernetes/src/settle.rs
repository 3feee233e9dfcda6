//! Settling: deferred changes of a ready generation take effect, and leftovers are removed.

use choreo_deploy::backend::BackendError;

use crate::anchor::{Anchor, Held, State};
use crate::apply::{Writer, removal_order};
use crate::manifest::Object;

impl Writer<'_> {
    /// Writes the deferred changes, and removes the objects that are not part of the generation.
    pub(crate) async fn settle(&self) -> Result<(), BackendError> {
        let Some(held) = self.anchors().load().await? else {
            return Ok(());
        };
        let anchor = held.anchor.clone();
        if anchor.stamp() > self.stamp {
            return Err(self.cluster.stale(self.stamp, anchor.stamp()));
        }
        if anchor.generation < self.stamp.generation || anchor.state != State::Applied {
            return Ok(());
        }
        // A release that is ready by its tag is settled with that stamp.
        let writer = Writer {
            stamp: anchor.stamp(),
            ..*self
        };
        writer.complete(held, &anchor).await
    }

    /// Settles the generation of the anchor.
    async fn complete(&self, held: Held, anchor: &Anchor) -> Result<(), BackendError> {
        for manifest in &anchor.deferred {
            let object = Object::of_manifest(manifest)
                .ok_or_else(|| self.cluster.unreadable("a deferred object"))?;
            self.write(&object, &[]).await?;
        }
        // Before the leftovers are removed, because the generation is ready even if one of them
        // stays.
        let noted = self.change_own(Some(held), |anchor| Anchor {
            ready_pull_secret: anchor.pull_secret.clone(),
            ..anchor
        });
        let Some(held) = noted.await? else {
            return Ok(());
        };
        let cleared = self.clear(held, anchor).await;
        cleared.map_err(BackendError::about_leftovers)
    }

    /// Removes the objects that are not part of the generation, after all of its own are written.
    async fn clear(&self, held: Held, anchor: &Anchor) -> Result<(), BackendError> {
        for id in removal_order(anchor.inventory.difference(&anchor.current).cloned()) {
            self.delete(&id).await?;
        }
        let settled = self.change_own(Some(held), |anchor| Anchor {
            inventory: anchor.current.clone(),
            deferred: Vec::new(),
            ..anchor
        });
        settled.await.map(drop)
    }

    /// Changes the anchor of this writer's generation.
    async fn change_own(
        &self,
        held: Option<Held>,
        change: impl Fn(Anchor) -> Anchor + Send,
    ) -> Result<Option<Held>, BackendError> {
        let stamp = self.stamp;
        let anchors = self.anchors();
        let changed = anchors.change(stamp, held, move |anchor| {
            anchor.map(|anchor| match anchor.stamp() < stamp {
                true => anchor,
                false => change(anchor),
            })
        });
        changed.await
    }
}
