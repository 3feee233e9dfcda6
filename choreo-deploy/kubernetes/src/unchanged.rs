//! A generation that changes nothing: it is written to the anchor, and touches at most its pull secret.
//!
//! This keeps the fence of [`apply`](crate::apply). An older worker that still runs writes the
//! content of its own generation, over objects that have not changed since it read them. An applied
//! generation has touched all objects that it changed. While the anchor says that a generation is
//! applied, a worker of that generation or of an older one can therefore only write content that is
//! there already. A generation with the same content loses nothing if it does not write the
//! objects. It must be written to the anchor nevertheless: otherwise a generation that was accepted
//! before it and claims after it would not be rejected.
//!
//! The Jobs of a schedule contain the generation and release that wrote it, so the content does not
//! include them either.
//!
//! The content is remembered as a digest without the data of the pull secret, because a digest of a
//! password could be guessed at. Instead the pull secret is touched.

use choreo_deploy::backend::BackendError;

use crate::anchor::{Anchor, Held, State};
use crate::apply::{Done, Writer};
use crate::cluster::Live;
use crate::kind::Kind;
use crate::manifest::Object;
use crate::shape::{covers, filled, steady};

impl Writer<'_> {
    /// Returns `true` if the anchor's generation has the content of these objects, all of it is
    /// live, and nothing of it is deferred.
    pub(crate) async fn is_there(
        &self,
        anchor: &Anchor,
        (objects, digest): (&[Object], &str),
    ) -> Result<bool, BackendError> {
        let is_same = anchor.stamp() < self.stamp
            && anchor.state == State::Applied
            && anchor.digest == digest
            && anchor.deferred.is_empty()
            && anchor.inventory == anchor.current;
        if !is_same {
            return Ok(false);
        }
        // The Secret comes last, so that its data is read only if nothing else differs.
        let is_secret = |object: &&Object| object.id().kind == Kind::Secret;
        let others = objects.iter().filter(|object| !is_secret(object));
        for object in others.chain(objects.iter().filter(is_secret)) {
            let id = object.id();
            let (live, data) = match is_secret(&object) {
                true => self.cluster.get_with_data(id).await?.unzip(),
                false => (self.cluster.get(id).await?, None),
            };
            let is_there = self.judge(id, live)?.is_some_and(|live| {
                let mut wanted = filled(object, objects, (&live, self.stamp));
                steady(&mut wanted.json);
                !live.is_ending()
                    && !live.is_pending()
                    && covers(&live.0, &wanted.json)
                    && (wanted.data())
                        .is_none_or(|wanted| data.is_some_and(|data| data.as_str() == wanted))
                    && (object.id().kind != Kind::Deployment || is_at_rest(&live))
            });
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the generation to the anchor; returns `false` if the anchor has changed since it was
    /// read.
    pub(crate) async fn keep(
        &self,
        there: &Held,
        objects: &[Object],
    ) -> Result<bool, BackendError> {
        let secrets = { objects.iter() }.filter(|object| object.id().kind == Kind::Secret);
        let secrets: Vec<&Object> = secrets.collect();
        let anchor = Anchor {
            generation: self.stamp.generation,
            rank: self.stamp.rank,
            state: match secrets.is_empty() {
                true => State::Applied,
                false => State::Applying,
            },
            ..there.anchor.clone()
        };
        let Some(held) = self.anchors().put(anchor, Some(there)).await? else {
            return Ok(false);
        };
        for secret in secrets {
            self.touch(secret.id()).await?;
        }
        self.finish(Some(held), Done::of(State::Applied)).await?;
        Ok(true)
    }
}

/// Returns `true` if the rollout of a Deployment has succeeded. Otherwise it is worth another
/// apply.
fn is_at_rest(deployment: &Live) -> bool {
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    let observed = deployment.number("/status/observedGeneration");
    observed >= deployment.number("/metadata/generation")
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|count| deployment.number(&format!("/status/{count}")).unwrap_or(0) == wanted)
}
