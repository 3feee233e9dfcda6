//! Takes work that is due and does a step of each, many at once.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::Deployer;
use crate::id::DataPlaneId;
use crate::store::{Claim, ClaimRequest, ClaimedDeployment, ClaimedRun, StoreError};

/// Works until told to stop; then ends the steps that are under way.
///
/// Whatever it finds, each round polls the arms that stop it and that make room: work that comes
/// faster than it is done must not keep it from either.
pub(super) async fn run(deployer: &Deployer, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = pin!(shutdown);
    let mut steps = Steps::new(deployer);
    loop {
        // Begun before looking, so that work that comes in between is not slept over.
        let mut hint = deployer.parts.store.new_work();
        let hinted = poll_fn(|context| Poll::Ready(hint.as_mut().poll(context).is_ready())).await;
        let pause = match steps.fill().await {
            Ok(next_due) => deployer.until(next_due),
            Err(error) => {
                tracing::warn!(%error, "store cannot be asked for work");
                deployer.options.look
            }
        };
        // Without room it is an ended step that makes work possible, and no hint.
        let room = steps.has_room();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = steps.some_ended(), if !steps.is_empty() => {}
            () = std::future::ready(()), if hinted && room => {}
            // Polled to its end already when it hinted, and never again.
            () = &mut hint, if !hinted && room => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while !steps.is_empty() {
        steps.some_ended().await;
    }
}

/// Works until every deployment and run has ended.
pub(super) async fn run_until_idle(deployer: &Deployer) -> Result<(), StoreError> {
    let mut steps = Steps::new(deployer);
    loop {
        match steps.fill().await? {
            _ if !steps.is_empty() => steps.some_ended().await,
            None => return Ok(()),
            Some(due) => tokio::time::sleep(deployer.until(Some(due))).await,
        }
    }
}

/// The steps that are under way.
struct Steps<'a> {
    deployer: &'a Deployer,
    running: JoinSet<DataPlaneId>,
    per_plane: HashMap<DataPlaneId, usize>,
}

enum Work {
    Deployment(Box<ClaimedDeployment>),
    Run(Box<ClaimedRun>),
}

impl Work {
    fn data_plane(&self) -> &DataPlaneId {
        match self {
            Self::Deployment(claimed) => &claimed.deployment.data_plane,
            Self::Run(claimed) => &claimed.run.data_plane,
        }
    }
}

impl<'a> Steps<'a> {
    fn new(deployer: &'a Deployer) -> Self {
        Self {
            deployer,
            running: JoinSet::new(),
            per_plane: HashMap::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    fn has_room(&self) -> bool {
        self.running.len() < self.deployer.options.steps.get()
    }

    /// Starts steps while there is room and work. Says when more is due.
    async fn fill(&mut self) -> Result<Option<Timestamp>, StoreError> {
        while self.has_room() {
            let Some(work) = self.claim().await? else {
                return self.deployer.parts.store.next_due().await;
            };
            let plane = work.data_plane().clone();
            *self.per_plane.entry(plane.clone()).or_default() += 1;
            let deployer = self.deployer.clone();
            self.running.spawn(async move {
                // In a task of its own, so that a panic ends this step alone and is counted.
                let step = tokio::spawn(async move { deployer.work_on(work).await });
                if let Err(error) = step.await {
                    tracing::error!(%error, "step ended abnormally; its lease runs out");
                }
                plane
            });
        }
        Ok(None)
    }

    async fn claim(&self) -> Result<Option<Work>, StoreError> {
        let deployer = self.deployer;
        let most = deployer.options.steps_per_data_plane.get();
        let busy = self.per_plane.iter().filter(|(_, count)| **count >= most);
        let now = deployer.clock.now();
        let request = ClaimRequest::new(
            deployer.options.worker.as_str(),
            now,
            now + deployer.options.lease,
        )
        .without(busy.map(|(plane, _)| plane.clone()).collect());
        let store = &deployer.parts.store;
        if let Some(claimed) = store.claim(&request).await? {
            return Ok(Some(Work::Deployment(Box::new(claimed))));
        }
        Ok(store
            .claim_run(&request)
            .await?
            .map(|claimed| Work::Run(Box::new(claimed))))
    }

    /// Waits until a step has ended, and takes away all that have.
    async fn some_ended(&mut self) {
        let first = self.running.join_next().await;
        let others = std::iter::from_fn(|| self.running.try_join_next());
        let ended: Vec<_> = first.into_iter().chain(others).flatten().collect();
        for plane in ended {
            if let Some(count) = self.per_plane.get_mut(&plane) {
                *count -= 1;
                if *count == 0 {
                    self.per_plane.remove(&plane);
                }
            }
        }
    }
}

impl Deployer {
    async fn work_on(&self, work: Work) {
        match work {
            Work::Deployment(claimed) => {
                let claim = claimed.claim.clone();
                tokio::select! {
                    () = self.step(*claimed) => {}
                    () = self.keep(&claim) => {
                        tracing::debug!(target = %claim.target, "claim is lost; step is dropped");
                    }
                }
            }
            // A run is started by id and only once, so two workers on it do no harm.
            Work::Run(claimed) => self.run_step(*claimed).await,
        }
    }

    /// Renews a claim for as long as it holds.
    async fn keep(&self, claim: &Claim) {
        loop {
            tokio::time::sleep(self.options.lease / 3).await;
            let until = self.clock.now() + self.options.lease;
            match self.parts.store.renew(claim, until).await {
                Err(error) if !error.is_retryable() => return,
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// How long to wait for work that is due at a moment.
    fn until(&self, due: Option<Timestamp>) -> Duration {
        let wait = due.map(|due| due.duration_since(self.clock.now()));
        let wait = wait.map_or(self.options.look, |wait| {
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        // Never at once: a store that calls something due and gives no claim would be asked for ever.
        wait.clamp(Duration::from_millis(5), self.options.look)
    }
}
