//! A worker, which claims due work and runs its steps concurrently.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::Deployer;
use super::abnormal::Brief;
use super::retry::after;
use super::slots::{Slot, Slots};
use crate::Target;
use crate::id::DataPlaneId;
use crate::store::{Claim, ClaimRequest, ClaimedWork, Lane, StoreError};

/// The pause before the next hint is followed after a claim without work. Under constant load there is
/// always a hint, and most of them are for work without room.
const CALM: Duration = Duration::from_millis(5);

/// Works until `shutdown` is ready, then finishes the current steps.
///
/// Each round polls the branches that stop it and that make room: work that arrives faster than it
/// ends must not starve them.
pub(super) async fn run(deployer: &Deployer, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = pin!(shutdown);
    let mut steps = Steps::new(deployer);
    loop {
        // It begins before the claim, so that work that arrives in between is not missed.
        let mut hint = deployer.parts.store.new_work();
        let hinted = poll_fn(|context| Poll::Ready(hint.as_mut().poll(context).is_ready())).await;
        let before = steps.running.len();
        let pause = match steps.fill().await {
            Ok(next_due) => deployer.until(next_due),
            Err(error) => {
                tracing::warn!(%error, "claim failed");
                deployer.options.look
            }
        };
        let calm = if steps.running.len() > before {
            Duration::ZERO
        } else {
            CALM
        };
        // Without room, only the end of a step makes work possible.
        let room = steps.slots.room().is_some();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = steps.change(), if !steps.is_empty() => {}
            () = tokio::time::sleep(calm), if hinted && room => {}
            // A hint that was ready must not be polled again.
            () = &mut hint, if !hinted && room => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while !steps.is_empty() {
        steps.change().await;
    }
}

/// Works until every deployment and run has ended.
pub(super) async fn run_until_idle(deployer: &Deployer) -> Result<(), StoreError> {
    let mut steps = Steps::new(deployer);
    loop {
        match steps.fill().await? {
            _ if !steps.is_empty() => steps.change().await,
            None => return Ok(()),
            Some(due) => tokio::time::sleep(deployer.until(Some(due))).await,
        }
    }
}

/// The running steps.
struct Steps<'a> {
    deployer: &'a Deployer,
    running: JoinSet<()>,
    slots: Slots,
}

impl<'a> Steps<'a> {
    fn new(deployer: &'a Deployer) -> Self {
        Self {
            deployer,
            running: JoinSet::new(),
            slots: Slots::new(&deployer.options),
        }
    }

    fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts steps while there is room and work. Returns the time when more work is due.
    async fn fill(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let Some((most, room)) = self.slots.room() else {
            return Ok(None);
        };
        let deployer = self.deployer;
        let (now, lease) = (deployer.clock.now(), deployer.options.lease);
        let (horizon, went_back) = deployer.horizon(now);
        let request = ClaimRequest::new(deployer.options.worker.as_str(), now, after(now, lease))
            .with_limit(most)
            .with_room(room)
            .with_horizon(horizon);
        let claimed = deployer.parts.store.claim(&request).await?;
        if let Some(times) = went_back {
            deployer.jumps.caught_up(times);
        }
        for work in claimed.work {
            self.start(work);
        }
        Ok(claimed.next_due)
    }

    fn start(&mut self, work: ClaimedWork) {
        let (target, plane, lane) = place(&work);
        let slot = self
            .slots
            .take(target.organization.clone(), plane.clone(), lane);
        let slot = Arc::new(slot);
        let deployer = self.deployer.clone();
        let brief = Brief::of(&work);
        self.running.spawn(async move {
            // A separate task, so that a panic ends only this step.
            let mut step = JoinSet::new();
            let (worker, place) = (deployer.clone(), Arc::clone(&slot));
            step.spawn(async move { worker.work_on(work, &place).await });
            let slow = tokio::time::sleep(deployer.options.slow_step);
            let ended = tokio::select! {
                biased;
                ended = step.join_next() => ended,
                () = slow => {
                    slot.is_slow();
                    step.join_next().await
                }
            };
            if let Some(Err(error)) = ended {
                tracing::error!(%error, "step ended abnormally");
                deployer.after_panic(brief).await;
            }
        });
    }

    /// Waits until a step ends or gives up its place, and removes the steps that ended.
    async fn change(&mut self) {
        tokio::select! {
            biased;
            _ = self.running.join_next() => {}
            () = self.slots.freed() => {}
        }
        while self.running.try_join_next().is_some() {}
    }
}

/// Returns the target, the data plane and the first lane of a step.
fn place(work: &ClaimedWork) -> (&Target, &DataPlaneId, Lane) {
    match work {
        ClaimedWork::Deployment(claimed) => {
            let deployment = &claimed.deployment;
            let lane = Lane::of_deployment(deployment, claimed.stage);
            (&deployment.target, &deployment.data_plane, lane)
        }
        ClaimedWork::Run(claimed) => {
            let run = &claimed.run;
            let lane = Lane::of_run(claimed.started, run.cancel_requested);
            (&run.target, &run.data_plane, lane)
        }
    }
}

impl Deployer {
    async fn work_on(&self, work: ClaimedWork, slot: &Slot) {
        match work {
            ClaimedWork::Deployment(claimed) => {
                let claim = claimed.claim.clone();
                tokio::select! {
                    biased;
                    () = self.step(*claimed, slot) => {}
                    () = self.keep(&claim) => {
                        tracing::debug!(target = %claim.target, "claim is lost; step is dropped");
                    }
                }
            }
            // A run is started only once for each id, so two workers do no harm.
            ClaimedWork::Run(claimed) => self.run_step(*claimed, slot).await,
        }
    }

    /// Renews a claim until it is lost.
    async fn keep(&self, claim: &Claim) {
        loop {
            tokio::time::sleep(self.options.lease / 3).await;
            let until = after(self.clock.now(), self.options.lease);
            match self.parts.store.renew(claim, until).await {
                Err(error) if !error.is_retryable() => return,
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Returns the pause until work is due.
    fn until(&self, due: Option<Timestamp>) -> Duration {
        let wait = due.map(|due| due.duration_since(self.clock.now()));
        let wait = wait.map_or(self.options.look, |wait| {
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        // Never zero: a store that reports due work and gives no claim would cause a busy loop.
        wait.min(self.options.look).max(Duration::from_millis(5))
    }
}
