//! A generation that changes nothing: only the anchor takes it, and no object is written.
//!
//! Why this keeps the fence of [`apply`](crate::apply): what an older worker that is still under way
//! may write is what its own generation says, over objects that nobody has touched since it read them.
//! A generation that was applied has touched all that it changed. So, while the anchor says that a
//! generation is applied, a worker of that one or of an older one can change an object only to what it
//! is already. A generation that says the same therefore loses nothing by leaving the objects alone.
//! The anchor must take it nevertheless: else one between the two, accepted before it and claimed after
//! it, would not be refused.
//!
//! The Jobs of a schedule carry the generation and release that wrote it, so both are left out of what it
//! says too.
//!
//! What a generation says is remembered as a digest. A pull secret is left out of it, for a digest of a
//! password is something to guess at; so a pull secret is touched.

use choreo_deploy::backend::BackendError;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::anchor::{Anchor, Held, State};
use crate::apply::{Done, Writer};
use crate::cluster::Live;
use crate::kind::Kind;
use crate::labels;
use crate::manifest::Object;
use crate::shape::{covers, filled};

impl Writer<'_> {
    /// Whether the anchor's generation says what these objects say, all of it is in place, and nothing
    /// is left to be done for it.
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
        for object in objects {
            let id = object.id();
            let live = self.judge(id, self.cluster.get_whole(id).await?)?;
            let is_there = live.is_some_and(|live| {
                let mut wanted = filled(object, objects, (&live, self.stamp));
                steady(&mut wanted.json);
                let data = live.text("/data/.dockerconfigjson");
                !live.is_ending()
                    && !live.is_pending()
                    && covers(&live.0, &wanted.json)
                    && wanted.data().is_none_or(|wanted| wanted == data)
                    && (object.id().kind != Kind::Deployment || is_at_rest(&live))
            });
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets the anchor take the generation; `false` when it has changed since it was read.
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

/// Whether the rollout of a Deployment has ended well. One that has not is worth another apply.
fn is_at_rest(deployment: &Live) -> bool {
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    let observed = deployment.number("/status/observedGeneration");
    observed >= deployment.number("/metadata/generation")
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|count| deployment.number(&format!("/status/{count}")).unwrap_or(0) == wanted)
}

/// What objects say, but for what changes with each generation and for secrets.
pub(crate) fn digest(objects: &[Object]) -> String {
    let mut hash = Sha256::new();
    for object in objects {
        let mut json = object.manifest().clone();
        steady(&mut json);
        if object.id().kind == Kind::Secret {
            json["data"] = Value::Null;
        }
        hash.update(json.to_string());
        hash.update("\n");
    }
    let digits = hash.finalize();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Leaves out which generation and release an object is of, and what a schedule makes.
fn steady(json: &mut Value) {
    for pointer in [
        "/metadata/annotations",
        "/spec/jobTemplate/metadata/annotations",
    ] {
        let annotations = json.pointer_mut(pointer);
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(labels::GENERATION);
            annotations.remove(labels::RELEASE);
        }
    }
}
