//! Takes work that is due and does a step of each, many at once.

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

/// After looking in vain, the next hint is followed after so long: under acceptances without a pause
/// there is always one, and nearly all of them are of what there is no room for.
const CALM: Duration = Duration::from_millis(5);

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
        let before = steps.running.len();
        let pause = match steps.fill().await {
            Ok(next_due) => deployer.until(next_due),
            Err(error) => {
                tracing::warn!(%error, "store cannot be asked for work");
                deployer.options.look
            }
        };
        let calm = if steps.running.len() > before {
            Duration::ZERO
        } else {
            CALM
        };
        // Without room it is a step that makes work possible, and no hint.
        let room = steps.slots.room().is_some();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = steps.change(), if !steps.is_empty() => {}
            () = tokio::time::sleep(calm), if hinted && room => {}
            // Polled to its end already when it hinted, and never again.
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

/// The steps that are under way.
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

    /// Starts steps while there is room and work. Says when there is more that has room.
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
            // In a task of its own, so that a panic ends this step alone.
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

    /// Waits until a step has ended or given its place up, and takes away all that have ended.
    async fn change(&mut self) {
        tokio::select! {
            biased;
            _ = self.running.join_next() => {}
            () = self.slots.freed() => {}
        }
        while self.running.try_join_next().is_some() {}
    }
}

/// What a step is for, and what it waits for first.
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
            // A run is started by id and only once, so two workers on it do no harm.
            ClaimedWork::Run(claimed) => self.run_step(*claimed, slot).await,
        }
    }

    /// Renews a claim for as long as it holds.
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

    /// How long to wait for work that is due at a moment.
    fn until(&self, due: Option<Timestamp>) -> Duration {
        let wait = due.map(|due| due.duration_since(self.clock.now()));
        let wait = wait.map_or(self.options.look, |wait| {
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        // Never at once: a store that calls something due and gives no claim would be asked for ever.
        wait.min(self.options.look).max(Duration::from_millis(5))
    }
}
