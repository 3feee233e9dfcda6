//! Which work is taken next.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{ClaimedDeployment, ClaimedRun, WorkStage};
use crate::deployment::{Deployment, Subject};
use crate::id::{DataPlaneId, OrganizationId};

/// What the next step of some work waits for. Each lane has room of its own, so that steps that wait
/// for one thing do not hold up those that wait for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Lane {
    /// Something other than the data plane of the work: a registry, which returns the digest of the
    /// image, or the data planes that the target leaves.
    Resolve,
    /// A data plane, which something is to be changed on.
    Change,
    /// A data plane, which is looked at.
    Look,
}

impl Lane {
    /// Every lane, in order.
    pub const ALL: [Self; 3] = [Self::Resolve, Self::Change, Self::Look];

    /// What the next step of a deployment waits for.
    #[must_use]
    pub fn of_deployment(deployment: &Deployment, stage: WorkStage) -> Self {
        let unresolved =
            deployment.release.is_none() && matches!(deployment.subject, Subject::Image(_));
        match stage {
            WorkStage::Applied => Self::Look,
            WorkStage::ToApply if unresolved => Self::Resolve,
            // It is ready on its data plane and changes the ones that it leaves.
            WorkStage::Leaving if deployment.subject != Subject::Absence => Self::Resolve,
            // What is taken back or removed changes the data plane as an apply does.
            WorkStage::ToApply | WorkStage::Failed | WorkStage::TimedOut | WorkStage::Leaving => {
                Self::Change
            }
        }
    }

    /// What the next step of a run waits for.
    #[must_use]
    pub fn of_run(started: bool, cancel_requested: bool) -> Self {
        if started && !cancel_requested {
            Self::Look
        } else {
            Self::Change
        }
    }
}

/// Work of one organization on one data plane in one lane. Stores keep it together, in the order in
/// which it is due.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkGroup {
    /// The tenant.
    pub organization: OrganizationId,
    /// Where.
    pub data_plane: DataPlaneId,
    /// What it waits for.
    pub lane: Lane,
    /// When the first of it is due.
    pub due_at: Timestamp,
}

impl WorkGroup {
    /// Work whose first is due at a moment.
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

/// How many steps there may be at once, and how many there are.
#[derive(Clone, Debug)]
pub struct Room {
    per_organization: usize,
    per_data_plane: usize,
    organizations: HashMap<OrganizationId, usize>,
    planes: HashMap<(DataPlaneId, Lane), usize>,
}

impl Room {
    /// Room for this many steps of one organization, and this many on one data plane in one lane.
    /// [`Lane::Resolve`] counts on no data plane.
    #[must_use]
    pub fn new(per_organization: usize, per_data_plane: usize) -> Self {
        Self {
            per_organization,
            per_data_plane,
            organizations: HashMap::new(),
            planes: HashMap::new(),
        }
    }

    /// Room for everything.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }

    /// Whether one step more has room.
    #[must_use]
    pub fn has(&self, organization: &OrganizationId, data_plane: &DataPlaneId, lane: Lane) -> bool {
        self.of_organization(organization) < self.per_organization && self.has_on(data_plane, lane)
    }

    /// Whether one step more has room on a data plane.
    #[must_use]
    pub fn has_on(&self, data_plane: &DataPlaneId, lane: Lane) -> bool {
        let key = (data_plane.clone(), lane);
        lane == Lane::Resolve || self.planes.get(&key).copied().unwrap_or(0) < self.per_data_plane
    }

    /// How many steps an organization has.
    #[must_use]
    pub fn of_organization(&self, organization: &OrganizationId) -> usize {
        self.organizations.get(organization).copied().unwrap_or(0)
    }

    /// Counts a step.
    pub fn enter(&mut self, organization: &OrganizationId, data_plane: &DataPlaneId, lane: Lane) {
        *self.organizations.entry(organization.clone()).or_default() += 1;
        self.enter_on(data_plane, lane);
    }

    /// Counts a step on its data plane alone.
    pub fn enter_on(&mut self, data_plane: &DataPlaneId, lane: Lane) {
        *self.planes.entry((data_plane.clone(), lane)).or_default() += 1;
    }

    /// Counts a step of an organization no more.
    pub fn leave(&mut self, organization: &OrganizationId) {
        give_back(&mut self.organizations, organization);
    }

    /// Counts a step on a data plane no more.
    pub fn leave_on(&mut self, data_plane: &DataPlaneId, lane: Lane) {
        give_back(&mut self.planes, &(data_plane.clone(), lane));
    }
}

/// Keeps no entry of what is over, so that the map does not grow with all that ever was.
fn give_back<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A worker's wish for work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// Who asks; shown to people.
    pub worker: String,
    /// The time now.
    pub now: Timestamp,
    /// Until when each claim holds unless renewed.
    pub lease_until: Timestamp,
    /// How much to take at most. 1 unless set.
    pub limit: usize,
    /// What there is room for. Everything unless set.
    pub room: Room,
    /// What is due later than this was put off by a clock that was ahead, and is due now: nothing
    /// waits for so long. The end of time unless set.
    pub horizon: Timestamp,
}

impl ClaimRequest {
    /// A wish for any work.
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

    /// Takes up to so much.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Takes only what there is room for.
    #[must_use]
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Takes what is due later than this as due now.
    #[must_use]
    pub fn with_horizon(self, horizon: Timestamp) -> Self {
        Self { horizon, ..self }
    }
}

/// Work that was claimed.
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

/// The answer to a [`ClaimRequest`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Claimed {
    /// What the worker has now, in the order in which it was chosen.
    pub work: Vec<ClaimedWork>,
    /// When there is more that there is room for. `None`: not before something changes.
    pub next_due: Option<Timestamp>,
}

impl Claimed {
    /// Work, and when there is more.
    #[must_use]
    pub fn new(work: Vec<ClaimedWork>, next_due: Option<Timestamp>) -> Self {
        Self { work, next_due }
    }

    /// The first deployment of it.
    #[must_use]
    pub fn into_deployment(self) -> Option<ClaimedDeployment> {
        self.work.into_iter().find_map(|work| match work {
            ClaimedWork::Deployment(claimed) => Some(*claimed),
            ClaimedWork::Run(_) => None,
        })
    }

    /// The first run of it.
    #[must_use]
    pub fn into_run(self) -> Option<ClaimedRun> {
        self.work.into_iter().find_map(|work| match work {
            ClaimedWork::Run(claimed) => Some(*claimed),
            ClaimedWork::Deployment(_) => None,
        })
    }
}

/// Chooses what is claimed, for stores: by turns among organizations, and within one by when it is
/// due. An organization with a thousand entries waiting goes before no other's one.
///
/// A store says what groups it has, then takes the first of each that is [chosen](Self::choose) and
/// says [what comes after it](Self::took).
#[derive(Debug)]
pub struct Choice {
    now: Timestamp,
    left: usize,
    room: Room,
    groups: Vec<WorkGroup>,
    /// Whether nothing is left in a group.
    empty: Vec<bool>,
}

impl Choice {
    /// A choice among groups of work.
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

    /// The group whose first is taken next.
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

    /// The first of a group was taken; `next` is when what comes after it is due.
    pub fn took(&mut self, index: usize, next: Option<Timestamp>) {
        let group = &self.groups[index];
        self.room
            .enter(&group.organization, &group.data_plane, group.lane);
        self.left -= 1;
        self.passed_over(index, next);
    }

    /// The first of a group cannot be taken; `next` is when what comes after it is due.
    pub fn passed_over(&mut self, index: usize, next: Option<Timestamp>) {
        match next {
            Some(next) => self.groups[index].due_at = next,
            None => self.empty[index] = true,
        }
    }

    /// When there is more that there is room for.
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

    /// Takes all that may be, where each group has so many that are due at once.
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
