//! One step of a run: it starts, observes or stops the run.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Deployer;
use super::abnormal::left_too_often;
use super::admission::Wanted;
use super::halt::Halt;
use super::slots::Slot;
use super::source::Source;
use crate::backend::{Intent, RunIntent, TaskRunner};
use crate::id::DataPlaneId;
use crate::reason::{Reason, ReasonCode};
use crate::rollout::RunStatus;
use crate::run::{Run, RunPhase};
use crate::store::{ClaimedRun, RunOutcome, RunProgress};

/// The action of a step on a run before it observes the run.
///
/// It is decided once: a run that becomes late during the step is stopped by the next step, which
/// has the room of a change for that.
enum Action {
    Start(Box<Source>),
    Stop,
    Observe,
}

impl Deployer {
    /// Advances a claimed run by one step.
    pub(super) async fn run_step(&self, mut claimed: ClaimedRun, slot: &Slot) {
        let advanced = match left_too_often(claimed.claims) {
            _ if !slot.goes_on() => {
                // Stores do not return the work of a data plane without room: no pause is necessary.
                self.put_run_back_until(&claimed, self.clock.now()).await
            }
            Some(halt) => Err(halt),
            None => self.advance_run(&mut claimed, slot).await,
        };
        let result = match advanced {
            Err(Halt::Failed(reason)) => self.fail_run(&claimed, vec![reason]).await,
            Err(Halt::Later {
                reason,
                retry_after,
            }) => self.run_later(&claimed, reason, retry_after).await,
            Err(Halt::NoRoom) => {
                let next = self.next_try_for_room(claimed.run.accepted_at);
                self.put_run_back_until(&claimed, next).await
            }
            advanced => advanced,
        };
        if let Err(Halt::Store(error)) = result {
            tracing::warn!(run = %claimed.run.id, %error, "store failed");
        }
    }

    /// Puts a run back until a time, because its data plane has no room for another change.
    async fn put_run_back_until(&self, claimed: &ClaimedRun, next: Timestamp) -> Result<(), Halt> {
        let progress = RunProgress {
            reasons: claimed.run.reasons.clone(),
            started: claimed.started,
            attempt: claimed.attempt,
            ..RunProgress::new(claimed.run.phase, self.clock.now(), next)
        };
        let store = &self.parts.store;
        Ok(store.put_back_run(&claimed.claim, progress).await?)
    }

    /// Schedules the next attempt, or ends the run if the time for stopping it is over.
    async fn run_later(
        &self,
        claimed: &ClaimedRun,
        reason: Reason,
        retry_after: Option<Duration>,
    ) -> Result<(), Halt> {
        if self.is_beyond_stopping(claimed) {
            let plane = &claimed.run.data_plane;
            let reasons = vec![self.too_long(claimed), reason, may_still_run(plane)];
            return self.fail_run(claimed, reasons).await;
        }
        let until = if self.run_is_late(claimed) {
            self.stops_until(claimed)
        } else {
            claimed.run.deadline_at
        };
        let next = self.next_try(claimed.attempt, retry_after, until);
        let progress = RunProgress {
            reasons: vec![reason],
            started: claimed.started,
            attempt: claimed.attempt.saturating_add(1),
            ..RunProgress::new(claimed.run.phase, self.clock.now(), next)
        };
        let store = &self.parts.store;
        Ok(store.put_back_run(&claimed.claim, progress).await?)
    }

    async fn advance_run(&self, claimed: &mut ClaimedRun, slot: &Slot) -> Result<(), Halt> {
        // A run's claim is not renewed. A step that outlives it cannot write, and neither can the steps
        // after it: on a data plane that does not answer, the run would never end.
        let within = self.options.lease.saturating_mul(2) / 3;
        let began = Instant::now();
        let plane = claimed.run.data_plane.clone();
        let backend = self.backend(&plane)?;
        let Some(tasks) = backend.tasks() else {
            let message = format!("data plane {plane} cannot run tasks");
            return Err(Halt::Failed(Reason::new(
                ReasonCode::AdmissionRefused,
                message,
            )));
        };
        // A late or cancelled run is stopped even if it is not known to be started: the answer may be
        // lost, or another worker may start it at this moment. It is not started just to be stopped.
        let action = if self.ends(claimed) {
            // Stopping it is a change, also if the step was claimed for an observation.
            slot.moves_to(&plane).await?;
            Action::Stop
        } else if claimed.started {
            Action::Observe
        } else {
            // A catalog that does not answer must not consume the time for the data plane.
            Action::Start(Box::new(self.source_for_run(claimed, within / 2).await?))
        };
        let left = within.saturating_sub(began.elapsed());
        let advanced = async {
            let advanced = self.advance_run_on((tasks, slot), claimed, action);
            let advanced = tokio::time::timeout(left, advanced).await;
            advanced.unwrap_or_else(|_| Err(no_answer(left)))
        };
        self.reach(&plane, advanced).await
    }

    /// Starts or stops a run on its data plane, and observes it.
    async fn advance_run_on(
        &self,
        (tasks, slot): (&dyn TaskRunner, &Slot),
        claimed: &mut ClaimedRun,
        action: Action,
    ) -> Result<(), Halt> {
        let run = claimed.run.clone();
        let refused = match action {
            Action::Start(source) => {
                self.start_run(tasks, claimed, &source).await?;
                None
            }
            Action::Stop => self.stop_run(tasks, &run).await?,
            Action::Observe => None,
        };
        let status = self.look(tasks.observe_run(&run.target, &run.id)).await?;
        let is_final = status.phase.is_some_and(RunPhase::is_final);
        match refused {
            // The refusal does not matter to a run that ended. Any other run is stopped by a retry.
            Some(reason) if !is_final => Err(Halt::later(reason)),
            _ if status.phase.is_none() && !claimed.started => self.end_unstarted(claimed).await,
            _ if status.phase.is_some() && !is_final && status.is_stuck => {
                slot.moves_to(&run.data_plane).await?;
                self.end_stuck(tasks, claimed, status.reasons).await
            }
            _ => self.follow_run(claimed, status).await,
        }
    }

    /// Stops a run. Returns the reason if the data plane refuses that.
    async fn stop_run(&self, tasks: &dyn TaskRunner, run: &Run) -> Result<Option<Reason>, Halt> {
        match self.call(tasks.cancel_run(&run.target, &run.id)).await {
            Ok(()) => Ok(None),
            Err(Halt::Failed(reason)) => Ok(Some(reason)),
            Err(halt) => Err(halt),
        }
    }

    /// Ends a run that cannot start without a change. Its container would wait until the deadline.
    async fn end_stuck(
        &self,
        tasks: &dyn TaskRunner,
        claimed: &ClaimedRun,
        mut reasons: Vec<Reason>,
    ) -> Result<(), Halt> {
        if let Some(refused) = self.stop_run(tasks, &claimed.run).await? {
            reasons.extend([refused, may_still_run(&claimed.run.data_plane)]);
        }
        self.fail_run(claimed, reasons).await
    }

    /// Returns the source of the run's image, within its own limit.
    async fn source_for_run(&self, claimed: &ClaimedRun, within: Duration) -> Result<Source, Halt> {
        let wanted = Wanted::of(&claimed.release);
        let source = self.source(&claimed.run.target, &wanted);
        tokio::time::timeout(within, source)
            .await
            .unwrap_or_else(|_| {
                let message = format!("the catalog did not answer within {within:.0?}");
                Err(Halt::later(Reason::new(ReasonCode::Waiting, message)))
            })
    }

    async fn start_run(
        &self,
        tasks: &dyn TaskRunner,
        claimed: &mut ClaimedRun,
        source: &Source,
    ) -> Result<(), Halt> {
        let run = &claimed.run;
        let intent = Intent::new(&run.target, run.generation, &claimed.release)
            .with_settings(&claimed.settings)
            .with_pull(source.pull());
        self.call(tasks.start(&RunIntent::new(&run.id, intent, &run.overrides)))
            .await?;
        tracing::info!(run = %run.id, target = %run.target, "run started");
        claimed.started = true;
        claimed.attempt = 0;
        Ok(())
    }

    async fn follow_run(&self, claimed: &ClaimedRun, status: RunStatus) -> Result<(), Halt> {
        let now = self.clock.now();
        match status.phase {
            Some(phase) if phase.is_final() => {
                let mut reasons = status.reasons;
                if phase == RunPhase::Cancelled && self.run_is_late(claimed) {
                    reasons.insert(0, self.too_long(claimed));
                }
                let outcome = RunOutcome::new(phase, status.exit_code, reasons, now);
                let run = self.parts.store.finish_run(&claimed.claim, outcome).await?;
                tracing::info!(run = %run.id, phase = %run.phase, "run ended");
            }
            Some(_) if self.is_beyond_stopping(claimed) => {
                let mut reasons = vec![self.too_long(claimed)];
                reasons.extend(status.reasons);
                reasons.push(may_still_run(&claimed.run.data_plane));
                self.fail_run(claimed, reasons).await?;
            }
            Some(phase) => {
                let next = self.next_look(claimed.run.accepted_at, claimed.run.deadline_at);
                let progress = RunProgress {
                    reasons: status.reasons,
                    started: true,
                    ..RunProgress::new(phase, now, next)
                };
                self.parts
                    .store
                    .put_back_run(&claimed.claim, progress)
                    .await?;
            }
            None => {
                let message = "the run is no longer on the data plane: its outcome is lost";
                self.fail_run(claimed, vec![Reason::new(ReasonCode::RunFailed, message)])
                    .await?;
            }
        }
        Ok(())
    }

    /// Ends a run that is to stop and was never started.
    async fn end_unstarted(&self, claimed: &ClaimedRun) -> Result<(), Halt> {
        if !claimed.run.cancel_requested {
            let mut reasons = vec![self.too_long(claimed)];
            reasons.extend(claimed.run.reasons.iter().cloned());
            return self.fail_run(claimed, reasons).await;
        }
        let now = self.clock.now();
        let outcome = RunOutcome::new(RunPhase::Cancelled, None, Vec::new(), now);
        self.parts.store.finish_run(&claimed.claim, outcome).await?;
        Ok(())
    }

    async fn fail_run(&self, claimed: &ClaimedRun, reasons: Vec<Reason>) -> Result<(), Halt> {
        let outcome = RunOutcome::new(RunPhase::Failed, None, reasons, self.clock.now());
        self.parts.store.finish_run(&claimed.claim, outcome).await?;
        Ok(())
    }

    /// Returns `true` if the run is late or cancelled.
    fn ends(&self, claimed: &ClaimedRun) -> bool {
        claimed.run.cancel_requested || self.run_is_late(claimed)
    }

    fn run_is_late(&self, claimed: &ClaimedRun) -> bool {
        self.deadline_is_over(claimed.run.accepted_at, claimed.run.deadline_at)
    }

    /// Returns the end of the retries to stop a late run.
    fn stops_until(&self, claimed: &ClaimedRun) -> Timestamp {
        self.takes_back_until(claimed.run.deadline_at)
    }

    fn is_beyond_stopping(&self, claimed: &ClaimedRun) -> bool {
        self.deadline_is_over(claimed.run.accepted_at, self.stops_until(claimed))
    }

    fn too_long(&self, claimed: &ClaimedRun) -> Reason {
        let allowed = claimed
            .run
            .deadline_at
            .duration_since(claimed.run.accepted_at);
        let message = format!("the run did not end within {} seconds", allowed.as_secs());
        Reason::new(ReasonCode::ProgressDeadlineExceeded, message)
    }
}

/// Returns the reason of a run that could not be stopped.
pub(super) fn may_still_run(plane: &DataPlaneId) -> Reason {
    let message =
        format!("the run could not be stopped and may still be running on data plane {plane}");
    Reason::new(ReasonCode::NotTakenBack, message).with_help("stop it on the data plane")
}

fn no_answer(within: Duration) -> Halt {
    let message = format!("the data plane did not answer within {within:.0?}");
    Halt::later(Reason::new(ReasonCode::BackendUnreachable, message))
}
