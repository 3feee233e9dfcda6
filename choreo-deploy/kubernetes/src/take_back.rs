//! Taking a generation back: the state before it is restored, or nothing runs.
//!
//! Its stamp comes after the generation's own, by the rules of [`apply`](crate::apply), so a worker
//! that still applies the generation is stale.

use std::collections::BTreeSet;

use choreo_deploy::backend::BackendError;

use crate::anchor::State;
use crate::apply::{Done, Planned, Writer, removal_order};
use crate::held_back;
use crate::kind::{Kind, ObjectId};
use crate::manifest::Object;
use crate::name;

impl Writer<'_> {
    /// Makes these objects the objects of the target again. Their pods run, so nothing waits until
    /// they are ready: further objects of the generation are removed at once.
    ///
    /// If the pods name a pull secret of the target that is not among the objects, it stays as it
    /// is.
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

    /// Returns the name of the Secret that the generation that was ready last pulls with; empty
    /// without one. If the anchor does not know it, the live pods keep the Secret that they name.
    pub(crate) async fn ready_pull_secret(&self) -> Result<String, BackendError> {
        let Some(anchor) = self.anchors().read().await? else {
            return Ok(String::new());
        };
        if let Some(known) = anchor.ready_pull_secret {
            return Ok(known);
        }
        let own = ObjectId::new(Kind::Secret, name::pull_secret(self.target));
        for (kind, pod) in [
            (Kind::Deployment, "/spec/template/spec"),
            (Kind::CronJob, "/spec/jobTemplate/spec/template/spec"),
        ] {
            let id = ObjectId::new(kind, name::object(self.target));
            let Some(live) = self.judged(&id).await?.filter(|live| !live.is_pending()) else {
                continue;
            };
            let secrets = live.items(&format!("{pod}/imagePullSecrets")).iter();
            let names: Vec<&str> = secrets
                .filter_map(|secret| secret["name"].as_str())
                .collect();
            let is_own = names.contains(&own.name.as_str());
            let first = names.first().copied().unwrap_or_default().to_owned();
            return Ok(if is_own { own.name } else { first });
        }
        // Without pods, runs of tasks may still need the Secret of the target.
        let is_there = self.judged(&own).await?.is_some();
        Ok(if is_there { own.name } else { String::new() })
    }

    /// Returns the Service with ports that are resolved for each pod, if not all pods serve the
    /// earlier numbers. The pods of the generation are behind it until the earlier pods have
    /// replaced them.
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

    /// Deletes the objects that run or start something. The others stay, because runs of tasks and
    /// the next generation need them.
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
