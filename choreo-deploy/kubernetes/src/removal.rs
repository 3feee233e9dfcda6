//! The removal of a target.

use choreo_deploy::backend::BackendError;
use futures_util::stream::{self, TryStreamExt};

use crate::anchor::State;
use crate::apply::{Done, Planned, Writer, removal_order};
use crate::kind::{Kind, ObjectId};
use crate::labels;

/// The number of Jobs that are deleted concurrently.
const DELETED_AT_ONCE: usize = 8;

impl Writer<'_> {
    /// Removes all objects of the target except the anchor.
    pub(crate) async fn remove(&self) -> Result<(), BackendError> {
        let stamp = self.stamp;
        let held = self.anchors().load().await?;
        let held = self
            .anchors()
            .change(stamp, held, |anchor| {
                let state = match &anchor {
                    Some(anchor) if anchor.stamp() == stamp && anchor.state == State::Removed => {
                        State::Removed
                    }
                    _ => State::Removing,
                };
                let inventory = anchor.map(|anchor| anchor.inventory).unwrap_or_default();
                Some(self.anchor(state, Planned::nothing(), inventory))
            })
            .await?;
        for id in removal_order(self.possible(held.as_ref())) {
            self.delete(&id).await?;
        }
        self.delete_jobs().await?;
        self.finish(held, Done::of(State::Removed)).await
    }

    /// Deletes the Jobs of all runs.
    ///
    /// A Job is created once and never rewritten, so one read of the anchor after the list
    /// suffices: a run of a newer generation has another name.
    async fn delete_jobs(&self) -> Result<(), BackendError> {
        let selector = labels::query(&labels::selector(self.target, labels::ROLE_RUN));
        let jobs = self
            .cluster
            .list(Kind::Job, &run_selector(&selector))
            .await?;
        self.anchors().check(self.stamp).await?;
        stream::iter(jobs.iter().filter(|job| !job.is_ending()).map(Ok))
            .try_for_each_concurrent(DELETED_AT_ONCE, async |job| {
                let id = ObjectId::new(Kind::Job, job.name());
                // A Job of the same name that was created since is another Job.
                self.cluster.delete_uid(&id, job.uid()).await.map(|_| ())
            })
            .await
    }
}

/// Returns the selector of the Jobs of runs. They have the run's label, and not the role, which
/// only their pods have.
fn run_selector(selector: &str) -> String {
    let without_role: Vec<&str> = selector
        .split(',')
        .filter(|part| !part.starts_with(labels::ROLE))
        .collect();
    format!("{},{}", without_role.join(","), labels::RUN)
}
