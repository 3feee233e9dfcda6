//! The choice of the work that a worker claims next.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{ClaimedDeployment, ClaimedRun, WorkStage};
use crate::deployment::{Deployment, Subject};
use crate::id::{DataPlaneId, OrganizationId};

/// The dependency of the next step. Each lane has separate room, so steps that wait for one
/// dependency do not block the others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Lane {
    /// A dependency other than the data plane of the work: a registry that returns the digest of
    /// the image, or the data planes that the target leaves.
    Resolve,
    /// A data plane that the step changes.
    Change,
    /// A data plane that the step observes.
    Look,
}

impl Lane {
    /// Every lane, in order.
    pub const ALL: [Self; 3] = [Self::Resolve, Self::Change, Self::Look];

    /// Returns the lane of the next step of a deployment.
    #[must_use]
    pub fn of_deployment(deployment: &Deployment, stage: WorkStage) -> Self {
        let unresolved =
            deployment.release.is_none() && matches!(deployment.subject, Subject::Image(_));
        match stage {
            WorkStage::Applied => Self::Look,
            WorkStage::ToApply if unresolved => Self::Resolve,
            // The step changes the data planes that it leaves, and no longer its own.
            WorkStage::Leaving if deployment.subject != Subject::Absence => Self::Resolve,
            // A take-back or a removal changes the data plane like an apply.
            WorkStage::ToApply | WorkStage::Failed | WorkStage::TimedOut | WorkStage::Leaving => {
                Self::Change
            }
        }
    }

    /// Returns the lane of the next step of a run.
    #[must_use]
    pub fn of_run(started: bool, cancel_requested: bool) -> Self {
        if started && !cancel_requested {
            Self::Look
        } else {
            Self::Change
        }
    }
}

/// The work of one organization on one data plane in one lane. Stores keep it together, ordered by
/// due time.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkGroup {
    /// The organization.
    pub organization: OrganizationId,
    /// The data plane.
    pub data_plane: DataPlaneId,
    /// The lane.
    pub lane: Lane,
    /// The time at which the first work of the group is due.
    pub due_at: Timestamp,
}

impl WorkGroup {
    /// Creates a group whose first work is due at `due_at`.
    #[must_use]
    pub fn new(
        organization: OrganizationId,
        (data_plane, lane): (DataPlaneId, Lane),
        due_at: Timestamp,
    ) -> Self {
        Self {
            organization,
            data_plane,
            lane,
            due_at,
        }
    }
}

/// The limits of concurrent steps, and their current numbers.
#[derive(Clone, Debug)]
pub struct Room {
    per_organization: usize,
    per_data_plane: usize,
    organizations: HashMap<OrganizationId, usize>,
    planes: HashMap<(DataPlaneId, Lane), usize>,
}

impl Room {
    /// Creates room for `per_organization` steps of one organization, and for `per_data_plane`
    /// steps on one data plane in one lane. [`Lane::Resolve`] has no limit per data plane.
    #[must_use]
    pub fn new(per_organization: usize, per_data_plane: usize) -> Self {
        Self {
            per_organization,
            per_data_plane,
            organizations: HashMap::new(),
            planes: HashMap::new(),
        }
    }

    /// Creates room without limits.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }

    /// Returns `true` if there is room for one more step.
    #[must_use]
    pub fn has(&self, organization: &OrganizationId, data_plane: &DataPlaneId, lane: Lane) -> bool {
        self.of_organization(organization) < self.per_organization && self.has_on(data_plane, lane)
    }

    /// Returns `true` if there is room for one more step on a data plane.
    #[must_use]
    pub fn has_on(&self, data_plane: &DataPlaneId, lane: Lane) -> bool {
        let key = (data_plane.clone(), lane);
        lane == Lane::Resolve || self.planes.get(&key).copied().unwrap_or(0) < self.per_data_plane
    }

    /// Returns the number of steps of an organization.
    #[must_use]
    pub fn of_organization(&self, organization: &OrganizationId) -> usize {
        self.organizations.get(organization).copied().unwrap_or(0)
    }

    /// Adds a step.
    pub fn enter(&mut self, organization: &OrganizationId, data_plane: &DataPlaneId, lane: Lane) {
        *self.organizations.entry(organization.clone()).or_default() += 1;
        self.enter_on(data_plane, lane);
    }

    /// Adds a step on its data plane only.
    pub fn enter_on(&mut self, data_plane: &DataPlaneId, lane: Lane) {
        *self.planes.entry((data_plane.clone(), lane)).or_default() += 1;
    }

    /// Removes a step of an organization.
    pub fn leave(&mut self, organization: &OrganizationId) {
        give_back(&mut self.organizations, organization);
    }

    /// Removes a step on a data plane.
    pub fn leave_on(&mut self, data_plane: &DataPlaneId, lane: Lane) {
        give_back(&mut self.planes, &(data_plane.clone(), lane));
    }
}

/// Removes an entry at zero, so that the map does not grow with every key that it ever had.
fn give_back<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A request of a worker for work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The name of the worker, which operators see.
    pub worker: String,
    /// The current time.
    pub now: Timestamp,
    /// The time at which each claim expires unless it is renewed.
    pub lease_until: Timestamp,
    /// The maximum number of claims. 1 by default.
    pub limit: usize,
    /// The room. Unlimited by default.
    pub room: Room,
    /// The latest time for which work can be scheduled. Work that is due later was scheduled by a
    /// clock that was ahead, so it is due now. No limit by default.
    pub horizon: Timestamp,
}

impl ClaimRequest {
    /// Creates a request for any work.
    #[must_use]
    pub fn new(worker: impl Into<String>, now: Timestamp, lease_until: Timestamp) -> Self {
        Self {
            worker: worker.into(),
            now,
            lease_until,
            limit: 1,
            room: Room::unlimited(),
            horizon: Timestamp::MAX,
        }
    }

    /// Sets the maximum number of claims.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Sets the room.
    #[must_use]
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Sets the time after which work counts as due now.
    #[must_use]
    pub fn with_horizon(self, horizon: Timestamp) -> Self {
        Self { horizon, ..self }
    }
}

/// Claimed work.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a worker that does not know a kind of work must not claim it"
)]
pub enum ClaimedWork {
    /// A deployment.
    Deployment(Box<ClaimedDeployment>),
    /// A run.
    Run(Box<ClaimedRun>),
}

/// The result of a [`ClaimRequest`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Claimed {
    /// The claimed work, in the order of the choice.
    pub work: Vec<ClaimedWork>,
    /// The time at which more work with room is due. `None` if there is none until something
    /// changes.
    pub next_due: Option<Timestamp>,
}

impl Claimed {
    /// Creates a result.
    #[must_use]
    pub fn new(work: Vec<ClaimedWork>, next_due: Option<Timestamp>) -> Self {
        Self { work, next_due }
    }

    /// Returns the first deployment.
    #[must_use]
    pub fn into_deployment(self) -> Option<ClaimedDeployment> {
        self.work.into_iter().find_map(|work| match work {
            ClaimedWork::Deployment(claimed) => Some(*claimed),
            ClaimedWork::Run(_) => None,
        })
    }

    /// Returns the first run.
    #[must_use]
    pub fn into_run(self) -> Option<ClaimedRun> {
        self.work.into_iter().find_map(|work| match work {
            ClaimedWork::Run(claimed) => Some(*claimed),
            ClaimedWork::Deployment(_) => None,
        })
    }
}

/// A helper for stores that chooses the work to claim. Organizations take turns; within an
/// organization, the work that was due first comes first. An organization with a thousand waiting
/// entries does not delay another one with a single entry.
///
/// A store passes its groups, then takes the first work of each [chosen](Self::choose) group and
/// [reports](Self::took) when the next work of the group is due.
#[derive(Debug)]
pub struct Choice {
    now: Timestamp,
    left: usize,
    room: Room,
    groups: Vec<WorkGroup>,
    /// Whether a group has no more work.
    empty: Vec<bool>,
}

impl Choice {
    /// Creates a choice among groups of work.
    #[must_use]
    pub fn new(request: &ClaimRequest, groups: Vec<WorkGroup>) -> Self {
        Self {
            now: request.now,
            left: request.limit,
            room: request.room.clone(),
            empty: vec![false; groups.len()],
            groups,
        }
    }

    /// Returns the index of the group whose first work is claimed next.
    #[must_use]
    pub fn choose(&self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let due = self
            .with_room()
            .filter(|(_, group)| group.due_at <= self.now);
        let first = due.min_by_key(|(index, group)| {
            let under_way = self.room.of_organization(&group.organization);
            (under_way, group.due_at, *index)
        });
        first.map(|(index, _)| index)
    }

    /// Reports that the first work of a group was claimed, and that the next one is due at `next`.
    pub fn took(&mut self, index: usize, next: Option<Timestamp>) {
        let group = &self.groups[index];
        self.room
            .enter(&group.organization, &group.data_plane, group.lane);
        self.left -= 1;
        self.passed_over(index, next);
    }

    /// Reports that the first work of a group cannot be claimed, and that the next one is due at
    /// `next`.
    pub fn passed_over(&mut self, index: usize, next: Option<Timestamp>) {
        match next {
            Some(next) => self.groups[index].due_at = next,
            None => self.empty[index] = true,
        }
    }

    /// Returns the time at which more work with room is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.with_room().map(|(_, group)| group.due_at).min()
    }

    fn with_room(&self) -> impl Iterator<Item = (usize, &WorkGroup)> {
        let groups = self.groups.iter().enumerate();
        groups.filter(|(index, group)| {
            !self.empty[*index]
                && self
                    .room
                    .has(&group.organization, &group.data_plane, group.lane)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn group(organization: &str, plane: &str, lane: Lane, due: i64) -> WorkGroup {
        let place = (plane.parse().unwrap(), lane);
        WorkGroup::new(organization.parse().unwrap(), place, at(due))
    }

    fn request(limit: usize, room: Room) -> ClaimRequest {
        ClaimRequest::new("w", at(100), at(130))
            .with_limit(limit)
            .with_room(room)
    }

    /// Claims everything that the choice permits, where each group has `each` entries that are due.
    fn all(request: &ClaimRequest, groups: Vec<WorkGroup>, mut each: usize) -> Vec<usize> {
        let due: Vec<_> = groups.iter().map(|group| group.due_at).collect();
        let mut left = vec![each; groups.len()];
        let mut choice = Choice::new(request, groups);
        let mut taken = Vec::new();
        while let Some(index) = choice.choose() {
            left[index] -= 1;
            choice.took(index, (left[index] > 0).then_some(due[index]));
            taken.push(index);
            each = each.max(1);
        }
        taken
    }

    #[test]
    fn organizations_take_turns() {
        let groups = vec![
            group("many", "eu-1", Lane::Change, 1),
            group("few", "eu-1", Lane::Change, 50),
        ];
        let taken = all(&request(5, Room::unlimited()), groups, 100);
        assert_eq!(taken, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn who_has_less_under_way_comes_first() {
        let mut room = Room::unlimited();
        room.enter(
            &"many".parse().unwrap(),
            &"eu-1".parse().unwrap(),
            Lane::Look,
        );
        let groups = vec![
            group("many", "eu-1", Lane::Change, 1),
            group("few", "eu-1", Lane::Change, 50),
        ];
        assert_eq!(all(&request(2, room), groups, 9), [1, 0]);
    }

    #[test]
    fn lanes_of_a_data_plane_have_room_of_their_own() {
        let groups = vec![
            group("one", "eu-1", Lane::Look, 1),
            group("one", "eu-1", Lane::Change, 2),
            group("one", "eu-1", Lane::Resolve, 3),
            group("one", "us-1", Lane::Look, 4),
        ];
        let taken = all(&request(99, Room::new(99, 2)), groups, 5);
        let count = |group| taken.iter().filter(|taken| **taken == group).count();
        assert_eq!([0, 1, 2, 3].map(count), [2, 2, 5, 2]);
    }

    #[test]
    fn what_there_is_no_room_for_is_not_due() {
        let mut room = Room::new(99, 1);
        room.enter(
            &"one".parse().unwrap(),
            &"eu-1".parse().unwrap(),
            Lane::Change,
        );
        let groups = vec![
            group("one", "eu-1", Lane::Change, 1),
            group("one", "us-1", Lane::Change, 107),
        ];
        let choice = Choice::new(&request(9, room), groups);
        assert_eq!(choice.choose(), None);
        assert_eq!(choice.next_due(), Some(at(107)));
    }

    #[test]
    fn an_organization_has_its_share() {
        let groups = vec![group("one", "eu-1", Lane::Resolve, 1)];
        assert_eq!(all(&request(9, Room::new(3, 99)), groups, 9).len(), 3);
    }
}
