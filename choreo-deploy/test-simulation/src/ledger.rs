//! The claims of the processes and the answers that they got. It checks promises that are not visible
//! in a store or on a data plane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use choreo_deploy::Target;
use choreo_deploy::deployment::{Deployment, Generation};
use choreo_deploy::id::{DeploymentId, RunId};
use choreo_deploy::rollout::{Rollout, RolloutPhase};
use choreo_deploy::store::Claim;
use tokio::time::Instant;

use crate::journal::{Journal, broken};
use crate::process::ProcessId;

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    held: BTreeMap<Target, Held>,
    /// The claims of each process, without those that it has returned or knows to be lost.
    open: BTreeMap<(ProcessId, Target, Generation), BTreeSet<u64>>,
    /// The generations that a data plane has confirmed and that are recorded in the store.
    applied: BTreeSet<(Target, Generation)>,
    ended: BTreeSet<DeploymentId>,
    runs: BTreeMap<RunId, Instant>,
}

#[derive(Debug)]
struct Held {
    process: ProcessId,
    generation: Generation,
    fence: u64,
    /// An event occurred that may lose the claim.
    excused: bool,
    /// The data plane has confirmed the apply under this claim.
    confirmed: bool,
    /// It was already known to be applied when it was claimed.
    is_applied: bool,
    newer: Option<Generation>,
}

impl Ledger {
    pub(crate) fn taken(
        &self,
        journal: &Journal,
        (process, takes_all): (ProcessId, bool),
        claim: &Claim,
    ) {
        let mut books = self.books();
        if let Some(held) = books.held.get(&claim.target)
            && held.generation == claim.generation
            && !held.excused
            && !takes_all
        {
            let (target, generation, other) = (&claim.target, claim.generation, held.process);
            broken!(
                journal,
                "{process} got {target} {generation} while {other} works on it and keeps its claim"
            );
        }
        let known = (process, claim.target.clone(), claim.generation);
        books.open.entry(known).or_default().insert(claim.fence);
        let place = (claim.target.clone(), claim.generation);
        let held = Held {
            process,
            generation: claim.generation,
            fence: claim.fence,
            // A claim that was taken at an old time may have ended already.
            excused: takes_all,
            confirmed: false,
            is_applied: books.applied.contains(&place),
            newer: None,
        };
        books.held.insert(claim.target.clone(), held);
    }

    /// Expects that the process loses its claims, because it was paused, has ended, or got no
    /// answer from the store.
    pub(crate) fn excuse(&self, process: ProcessId) {
        for held in self.books().held.values_mut() {
            held.excused |= held.process == process;
        }
    }

    /// Expects that any claim is lost, because the clock was set.
    pub(crate) fn excuse_all(&self) {
        for held in self.books().held.values_mut() {
            held.excused = true;
        }
    }

    /// Records that a claim was returned before the end of its deployment.
    pub(crate) fn put_back(&self, journal: &Journal, process: ProcessId, claim: &Claim) {
        let mut books = self.books();
        let alone = books.is_alone(process, &claim.target, claim.generation);
        let Some(held) = books.ends(process, claim) else {
            return;
        };
        let (target, generation) = (&claim.target, claim.generation);
        if let Some(newer) = held.newer.filter(|_| alone) {
            broken!(
                journal,
                "{process} goes on with {target} {generation} after it has seen {newer} there"
            );
        }
        if held.confirmed && alone {
            books.applied.insert((target.clone(), generation));
        }
    }

    pub(crate) fn finished(
        &self,
        journal: &Journal,
        (process, claim): (ProcessId, &Claim),
        ended: &Deployment,
    ) {
        let mut books = self.books();
        books.ends(process, claim);
        if !books.ended.insert(ended.id.clone()) {
            broken!(journal, "deployment {} ended a second time", ended.id);
        }
    }

    pub(crate) fn run_finished(&self, journal: &Journal, id: &RunId) {
        if self
            .books()
            .runs
            .insert(id.clone(), Instant::now())
            .is_some()
        {
            broken!(journal, "run {id} ended a second time");
        }
    }

    /// Returns the time at which a run ended.
    pub(crate) fn run_ended(&self, id: &RunId) -> Option<Instant> {
        self.books().runs.get(id).copied()
    }

    /// Records that the process knows that a claim is lost.
    pub(crate) fn lost(&self, process: ProcessId, claim: &Claim) {
        self.books().ends(process, claim);
    }

    /// Records a call of the process to a data plane.
    pub(crate) fn calls(
        &self,
        journal: &Journal,
        (process, what): (ProcessId, &str),
        (target, generation): (&Target, Generation),
    ) {
        let books = self.books();
        let known = (process, target.clone(), generation);
        if books.open.get(&known).is_some_and(BTreeSet::is_empty) {
            broken!(
                journal,
                "{process} calls {what} for {target} {generation} without a claim"
            );
        }
        let alone = books.is_alone(process, target, generation);
        let held = books
            .held
            .get(target)
            .filter(|held| held.process == process);
        let is_applied = held.is_some_and(|held| held.generation == generation && held.is_applied)
            && books.applied.contains(&(target.clone(), generation));
        if what == "apply" && alone && is_applied {
            broken!(
                journal,
                "{process} applies {target} {generation} again, which is known to be applied"
            );
        }
    }

    /// Records that the process got the confirmation of an apply.
    pub(crate) fn confirmed(&self, process: ProcessId, target: &Target, generation: Generation) {
        let mut books = self.books();
        let alone = books.is_alone(process, target, generation);
        if let Some(held) = books.of(process, target)
            && held.generation == generation
            && alone
        {
            held.confirmed = true;
        }
    }

    /// Records an observation of the process.
    pub(crate) fn seen(&self, process: ProcessId, target: &Target, rollout: &Rollout) {
        let mut books = self.books();
        let Some(held) = books.of(process, target) else {
            return;
        };
        let generation = held.generation;
        held.newer = rollout.generation.filter(|newer| *newer > generation);
        let gone = rollout.phase == RolloutPhase::Missing;
        if gone || rollout.generation != Some(generation) {
            held.confirmed = false;
            books.applied.remove(&(target.clone(), generation));
        }
    }

    /// Records that the applied objects of a target are lost.
    pub(crate) fn forget(&self, target: &Target) {
        let mut books = self.books();
        books.applied.retain(|(applied, _)| applied != target);
        if let Some(held) = books.held.get_mut(target) {
            held.confirmed = false;
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Returns `true` if the process has exactly one claim of it. If it also has older claims, a
    /// call may belong to one of their steps.
    fn is_alone(&self, process: ProcessId, target: &Target, generation: Generation) -> bool {
        let known = (process, target.clone(), generation);
        self.open.get(&known).is_some_and(|open| open.len() == 1)
    }

    fn of(&mut self, process: ProcessId, target: &Target) -> Option<&mut Held> {
        let held = self.held.get_mut(target)?;
        (held.process == process).then_some(held)
    }

    fn ends(&mut self, process: ProcessId, claim: &Claim) -> Option<Held> {
        let known = (process, claim.target.clone(), claim.generation);
        if let Some(fences) = self.open.get_mut(&known) {
            fences.remove(&claim.fence);
        }
        let held = self.held.get(&claim.target)?;
        let ends = held.process == process && held.fence == claim.fence;
        ends.then(|| self.held.remove(&claim.target)).flatten()
    }
}
