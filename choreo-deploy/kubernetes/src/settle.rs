//! Settling: what waited for a generation to be ready takes effect, and what is left over is removed.

use choreo_deploy::backend::BackendError;

use crate::anchor::{Anchor, Held, State};
use crate::apply::{Writer, removal_order};
use crate::manifest::Object;

impl Writer<'_> {
    /// Writes what waited for the generation to be ready, and removes what is not part of it.
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
        // What is ready by its tag is settled as that.
        let writer = Writer {
            stamp: anchor.stamp(),
            ..*self
        };
        writer.complete(held, &anchor).await
    }

    /// Settles the generation as the anchor has it.
    async fn complete(&self, held: Held, anchor: &Anchor) -> Result<(), BackendError> {
        for manifest in &anchor.deferred {
            let object = Object::of_manifest(manifest)
                .ok_or_else(|| self.cluster.unreadable("a deferred object"))?;
            self.write(&object, &[]).await?;
        }
        // Before the leftovers are removed: the generation is ready even if one of them stays.
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

    /// Removes what is not part of the generation, once everything of it is written.
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
