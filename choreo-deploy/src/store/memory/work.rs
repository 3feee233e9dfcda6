//! The choice of the work that is due.

use std::collections::{BTreeMap, VecDeque};

use super::State;
use crate::Target;
use crate::id::{DataPlaneId, OrganizationId, RunId};
use crate::store::{Choice, ClaimRequest, Claimed, ClaimedWork, Lane, WorkGroup};
use jiff::Timestamp;

/// The key of a group. Stores look at groups in this order: deployments before runs.
type Key = (bool, OrganizationId, Lane, DataPlaneId);

enum Due {
    Target(Target),
    Run(RunId),
}

impl State {
    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Claimed {
        self.bring_forward(request);
        let (keys, mut groups): (Vec<Key>, Vec<VecDeque<(Timestamp, Due)>>) =
            self.groups().into_iter().unzip();
        let heads = keys.into_iter().zip(&groups);
        let heads = heads.map(|((_, organization, lane, plane), due)| {
            WorkGroup::new(organization, (plane, lane), due[0].0)
        });
        let mut choice = Choice::new(request, heads.collect());
        let mut work = Vec::new();
        while let Some(index) = choice.choose() {
            let group = &mut groups[index];
            if let Some((_, due)) = group.pop_front() {
                work.extend(self.take_one(&due, request));
                // Claimed work is due again when its lease expires.
                let later = request.lease_until;
                let place = group.partition_point(|(due_at, _)| *due_at <= later);
                group.insert(place, (later, due));
            }
            choice.took(index, group.front().map(|(due_at, _)| *due_at));
        }
        Claimed::new(work, choice.next_due())
    }

    fn take_one(&mut self, due: &Due, request: &ClaimRequest) -> Option<ClaimedWork> {
        match due {
            Due::Target(target) => {
                let claimed = self.take(target, request)?;
                Some(ClaimedWork::Deployment(Box::new(claimed)))
            }
            Due::Run(id) => {
                let claimed = self.take_run(id, request)?;
                Some(ClaimedWork::Run(Box::new(claimed)))
            }
        }
    }

    fn bring_forward(&mut self, request: &ClaimRequest) {
        let targets = self.targets.values_mut().map(|row| &mut row.lease);
        let runs = self.runs.values_mut().map(|row| &mut row.lease);
        for lease in targets.chain(runs) {
            if lease.due_at() > request.horizon {
                lease.bring_forward(request.now);
            }
        }
    }

    /// Returns all work in groups, each ordered by due time.
    fn groups(&self) -> BTreeMap<Key, VecDeque<(Timestamp, Due)>> {
        let mut groups: BTreeMap<Key, Vec<(Timestamp, Due)>> = BTreeMap::new();
        for (target, row) in &self.targets {
            let stored = &self.deployments[&row.state.deployment];
            let deployment = &stored.deployment;
            if !deployment.phase.is_final() {
                let lane = Lane::of_deployment(deployment, stored.stage);
                let plane = deployment.data_plane.clone();
                let key = (false, target.organization.clone(), lane, plane);
                let due = (row.lease.due_at(), Due::Target(target.clone()));
                groups.entry(key).or_default().push(due);
            }
        }
        let runs = self.run_order.iter().map(|id| &self.runs[id]);
        for row in runs.filter(|row| !row.run.phase.is_final()) {
            let run = &row.run;
            let lane = Lane::of_run(row.started, run.cancel_requested);
            let organization = run.target.organization.clone();
            let key = (true, organization, lane, run.data_plane.clone());
            let due = (row.lease.due_at(), Due::Run(run.id.clone()));
            groups.entry(key).or_default().push(due);
        }
        let sorted = groups.into_iter().map(|(key, mut due)| {
            due.sort_by_key(|(due_at, _)| *due_at);
            (key, due.into())
        });
        sorted.collect()
    }
}
