//! Runs of tasks.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{InMemoryStore, Lease, State, expect, taken};
use crate::Target;
use crate::id::{OrganizationId, RunId};
use crate::run::Run;
use crate::store::{
    AcceptError, ClaimRequest, ClaimedRun, NewRun, RunClaim, RunOutcome, RunProgress, RunStore,
    StoreError, StoreErrorKind,
};

#[derive(Debug)]
pub(super) struct RunRow {
    pub(super) run: Run,
    pub(super) started: bool,
    attempt: u32,
    pub(super) lease: Lease,
    /// Whether its cancellation was requested since the last claim.
    cancelled_since_claim: bool,
}

impl State {
    fn claimed_run(&mut self, claim: &RunClaim) -> Result<&mut RunRow, StoreError> {
        let row = self.runs.get_mut(&claim.id).ok_or_else(StoreError::stale)?;
        let holds = row.lease.fence == claim.fence
            && row.lease.until.is_some()
            && !row.run.phase.is_final();
        if holds {
            Ok(row)
        } else {
            Err(StoreError::stale())
        }
    }

    fn run_of(&self, organization: &OrganizationId, id: &RunId) -> Option<&Run> {
        let found = &self.runs.get(id)?.run;
        (found.target.organization == *organization).then_some(found)
    }

    pub(super) fn take_run(&mut self, id: &RunId, request: &ClaimRequest) -> Option<ClaimedRun> {
        let row = self.runs.get_mut(id)?;
        row.cancelled_since_claim = false;
        let claim = RunClaim::new(row.run.id.clone(), row.lease.take(request.lease_until));
        let run = row.run.clone();
        let release = self.releases[&run.target.component_key()][&run.release].clone();
        let settings = self.settings[&run.target][(run.settings_version - 1) as usize].clone();
        Some(ClaimedRun {
            started: row.started,
            attempt: row.attempt,
            claims: row.lease.claims,
            ..ClaimedRun::new(claim, run, release, settings)
        })
    }
}

#[async_trait]
impl RunStore for InMemoryStore {
    async fn accept_run(&self, new: NewRun) -> Result<Run, AcceptError> {
        let mut state = self.lock();
        if state.runs.contains_key(&new.id) {
            return Err(taken(&format!("run id {}", new.id)).into());
        }
        let target = state.targets.get(&new.target);
        let ready = target.and_then(|row| row.state.ready.clone());
        let ready = ready.ok_or(AcceptError::NothingReady)?;
        let run = new.run(&ready);
        let lease = Lease::due(new.accepted_at);
        state.run_order.push(new.id.clone());
        state.runs.insert(
            new.id,
            RunRow {
                run: run.clone(),
                started: false,
                attempt: 0,
                lease,
                cancelled_since_claim: false,
            },
        );
        drop(state);
        self.tell();
        Ok(run)
    }

    async fn put_back_run(
        &self,
        claim: &RunClaim,
        progress: RunProgress,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        let row = state.claimed_run(claim)?;
        expect(!progress.phase.is_final(), "a final run is not put back")?;
        row.started = progress.started;
        row.attempt = progress.attempt;
        if row.run.phase != progress.phase || row.run.reasons != progress.reasons {
            row.run.phase = progress.phase;
            row.run.reasons = progress.reasons;
            row.run.changed_at = progress.at;
            row.run.revision += 1;
        }
        // The worker that releases the claim has not seen the request to cancel yet.
        let next = if row.cancelled_since_claim {
            progress.at
        } else {
            progress.next_attempt_at
        };
        row.lease.give_back(next);
        drop(state);
        self.tell();
        Ok(())
    }

    async fn finish_run(&self, claim: &RunClaim, outcome: RunOutcome) -> Result<Run, StoreError> {
        let mut state = self.lock();
        let row = state.claimed_run(claim)?;
        expect(outcome.phase.is_final(), "a run ends in a final phase")?;
        row.run.phase = outcome.phase;
        row.run.exit_code = outcome.exit_code;
        row.run.reasons = outcome.reasons;
        row.run.changed_at = outcome.at;
        row.run.revision += 1;
        row.lease.give_back(outcome.at);
        let run = row.run.clone();
        drop(state);
        self.tell();
        Ok(run)
    }

    async fn request_cancel(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        at: Timestamp,
    ) -> Result<Run, StoreError> {
        let mut state = self.lock();
        let row = state.runs.get_mut(id);
        let row = row.filter(|row| row.run.target.organization == *organization);
        let row = row.ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotFound, format!("run {id} does not exist"))
        })?;
        if !row.run.phase.is_final() && !row.run.cancel_requested {
            row.run.cancel_requested = true;
            row.cancelled_since_claim = true;
            row.run.changed_at = at;
            row.run.revision += 1;
            row.lease.next_attempt_at = row.lease.next_attempt_at.min(at);
        }
        let run = row.run.clone();
        drop(state);
        self.tell();
        Ok(run)
    }

    async fn run(
        &self,
        organization: &OrganizationId,
        id: &RunId,
    ) -> Result<Option<Run>, StoreError> {
        Ok(self.lock().run_of(organization, id).cloned())
    }

    async fn runs(&self, target: &Target, limit: usize) -> Result<Vec<Run>, StoreError> {
        let state = self.lock();
        let newest_first = state.run_order.iter().rev().map(|id| &state.runs[id].run);
        Ok(newest_first
            .filter(|run| run.target == *target)
            .take(limit)
            .cloned()
            .collect())
    }

    async fn run_changed(
        &self,
        organization: &OrganizationId,
        id: &RunId,
        since: u64,
    ) -> Result<Option<Run>, StoreError> {
        let look = |state: &State| match state.run_of(organization, id) {
            None => Some(None),
            Some(run) => (run.revision > since).then(|| Some(run.clone())),
        };
        Ok(self.until(look).await)
    }
}
