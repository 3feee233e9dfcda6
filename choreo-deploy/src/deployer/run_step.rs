//! One step of a run: start it, look at it, stop it.

use std::time::Duration;

use tokio::time::Instant;

use super::Deployer;
use super::abnormal::left_too_often;
use super::admission::Wanted;
use super::slots::Slot;
use super::step::{Access, Halt};
use crate::backend::{Intent, RunIntent, TaskRunner};
use crate::reason::{Reason, ReasonCode};
use crate::rollout::RunStatus;
use crate::run::RunPhase;
use crate::store::{ClaimedRun, RunOutcome, RunProgress};

impl Deployer {
    /// Does what is next for a claimed run.
    pub(super) async fn run_step(&self, mut claimed: ClaimedRun, slot: &Slot) {
        if !slot.goes_on() {
            return self.put_run_back_for_room(&claimed).await;
        }
        let advanced = match left_too_often(claimed.claims) {
            Some(halt) => Err(halt),
            None => self.advance_run(&mut claimed).await,
        };
        let result = match advanced {
            Ok(()) => Ok(()),
            Err(Halt::Failed(reason)) => self.fail_run(&claimed, vec![reason]).await,
            Err(Halt::Later { reason, .. }) if self.run_is_late(&claimed) => {
                self.fail_run(&claimed, vec![self.too_long(&claimed), reason])
                    .await
            }
            Err(Halt::Later {
                reason,
                retry_after,
            }) => {
                let next = self.next_try(claimed.attempt, retry_after, claimed.run.deadline_at);
                let progress = RunProgress {
                    reasons: vec![reason],
                    started: claimed.started,
                    attempt: claimed.attempt.saturating_add(1),
                    ..RunProgress::new(claimed.run.phase, self.clock.now(), next)
                };
                self.parts
                    .store
                    .put_back_run(&claimed.claim, progress)
                    .await
                    .map_err(Halt::from)
            }
            Err(halt) => Err(halt),
        };
        if let Err(Halt::Store(error)) = result {
            tracing::warn!(run = %claimed.run.id, %error, "store failed");
        }
    }

    /// Its data plane has as many changes under way as it may.
    async fn put_run_back_for_room(&self, claimed: &ClaimedRun) {
        let now = self.clock.now();
        let progress = RunProgress {
            reasons: claimed.run.reasons.clone(),
            started: claimed.started,
            attempt: claimed.attempt,
            ..RunProgress::new(claimed.run.phase, now, now)
        };
        let store = &self.parts.store;
        if let Err(error) = store.put_back_run(&claimed.claim, progress).await {
            tracing::warn!(run = %claimed.run.id, %error, "store failed");
        }
    }

    async fn advance_run(&self, claimed: &mut ClaimedRun) -> Result<(), Halt> {
        // A run's claim is not renewed. A step that outlives it can write nothing, and neither can any
        // step after it: on a data plane that does not answer, the run would never end.
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
        let ends = claimed.run.cancel_requested || self.run_is_late(claimed);
        // A run that is to end is stopped even if it is not known to be started: the answer may be
        // lost, or another worker may start it at this moment. It is never started to be stopped.
        let access = if claimed.started || ends {
            None
        } else {
            // A catalog that does not answer must not use up the time of the data plane.
            Some(self.access_for_run(claimed, within / 2).await?)
        };
        let left = within.saturating_sub(began.elapsed());
        let advanced = async {
            let advanced = self.advance_run_on(tasks, claimed, access);
            let advanced = tokio::time::timeout(left, advanced).await;
            advanced.unwrap_or_else(|_| Err(no_answer(left)))
        };
        self.reach(&plane, advanced).await
    }

    /// Starts or stops a run on its data plane, and looks at it.
    async fn advance_run_on(
        &self,
        tasks: &dyn TaskRunner,
        claimed: &mut ClaimedRun,
        access: Option<Access>,
    ) -> Result<(), Halt> {
        let run = claimed.run.clone();
        let ends = access.is_none() && (claimed.run.cancel_requested || self.run_is_late(claimed));
        if let Some(access) = access {
            self.start_run(tasks, claimed, &access).await?;
        }
        if ends {
            self.call(tasks.cancel_run(&run.target, &run.id)).await?;
        }
        let status = self.look(tasks.observe_run(&run.target, &run.id)).await?;
        if status.phase.is_none() && !claimed.started {
            return self.end_unstarted(claimed).await;
        }
        let open = status.phase.is_some_and(|phase| !phase.is_final());
        if open && status.is_stuck {
            // A container that cannot start waits for ever by itself.
            self.call(tasks.cancel_run(&run.target, &run.id)).await?;
            return self.fail_run(claimed, status.reasons).await;
        }
        self.follow_run(claimed, status).await
    }

    /// Returns what the run is pulled with, within a limit of its own.
    async fn access_for_run(&self, claimed: &ClaimedRun, within: Duration) -> Result<Access, Halt> {
        let wanted = Wanted::of(&claimed.release);
        let access = self.access(&claimed.run.target, &wanted);
        let Ok(access) = tokio::time::timeout(within, access).await else {
            let message = format!("the catalog did not answer within {within:.0?}");
            return Err(Halt::Later {
                reason: Reason::new(ReasonCode::Waiting, message),
                retry_after: None,
            });
        };
        let (_, access) = access?;
        Ok(access)
    }

    async fn start_run(
        &self,
        tasks: &dyn TaskRunner,
        claimed: &mut ClaimedRun,
        access: &Access,
    ) -> Result<(), Halt> {
        let run = &claimed.run;
        let intent = Intent::new(&run.target, run.generation, &claimed.release)
            .with_settings(&claimed.settings)
            .with_pull(access.pull());
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
                let message = "the run is not on the data plane any more: its outcome is lost";
                self.fail_run(claimed, vec![Reason::new(ReasonCode::RunFailed, message)])
                    .await?;
            }
        }
        Ok(())
    }

    /// It was to stop before it began.
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

    fn run_is_late(&self, claimed: &ClaimedRun) -> bool {
        self.deadline_is_over(claimed.run.accepted_at, claimed.run.deadline_at)
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

fn no_answer(within: Duration) -> Halt {
    let message = format!("the data plane did not answer within {within:.0?}");
    Halt::Later {
        reason: Reason::new(ReasonCode::BackendUnreachable, message),
        retry_after: None,
    }
}
