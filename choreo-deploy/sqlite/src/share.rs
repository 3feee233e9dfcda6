//! How much of the writer's time acceptances have while there is work.

use std::time::Duration;

use crate::queue::Lane;

/// They have the time of the work and of the disk, divided by this.
const PART: u32 = 16;
/// How many groups' part they may save up.
const SAVED: u32 = 4;
/// How many groups' part they may owe.
const OWED: u32 = 32;

/// All from outside that waited when a group began goes into it, unless there is work in it. Then
/// those from outside take a small part of the time that the work and the disk take, over all groups
/// with work together: so a worker is hardly slower under load than alone, and they go on too.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// What they may take yet.
    left: Duration,
    /// What they have taken too much.
    owed: Duration,
    group: Group,
}

/// What is in the group.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// How many from outside waited when it began.
    waited: usize,
    /// How many of them are in it.
    taken: usize,
    /// How long these took.
    spent: Duration,
    has_work: bool,
}

impl Share {
    /// A group begins, while so many from outside wait.
    pub(crate) fn begin(&mut self, waiting: usize) {
        self.group = Group {
            waited: waiting,
            ..Group::default()
        };
    }

    /// Whether one more from outside goes into the group.
    pub(crate) fn has_room(&self) -> bool {
        let group = &self.group;
        group.taken < group.waited && (!group.has_work || group.spent < self.left)
    }

    /// A command is in the group and took so long.
    pub(crate) fn took(&mut self, lane: Lane, time: Duration) {
        match lane {
            Lane::Work => self.group.has_work = true,
            Lane::Outside => {
                self.group.taken += 1;
                self.group.spent += time;
            }
        }
    }

    /// The group is committed, and took so long in all.
    pub(crate) fn end(&mut self, time: Duration) {
        if !self.group.has_work {
            return;
        }
        let spent = self.group.spent;
        let gained = time.saturating_sub(spent) / PART;
        let left = (self.left + gained).min(gained * SAVED);
        let owed = (self.owed + spent).min(left + gained * OWED);
        self.left = left.saturating_sub(owed);
        self.owed = owed.saturating_sub(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A group into which as many from outside go as have room, of a millisecond each, and how many.
    fn group(share: &mut Share, waiting: usize, work: Option<Duration>) -> usize {
        share.begin(waiting);
        if let Some(time) = work {
            share.took(Lane::Work, time);
        }
        let mut taken = 0;
        while share.has_room() {
            share.took(Lane::Outside, MILLISECOND);
            taken += 1;
        }
        let outside = MILLISECOND * u32::try_from(taken).unwrap();
        share.end(work.unwrap_or_default() + outside + MILLISECOND);
        taken
    }

    #[test]
    fn without_work_all_that_waited_go() {
        let mut share = Share::default();
        assert_eq!(group(&mut share, 300, None), 300);
        assert_eq!(group(&mut share, 7, None), 7);
    }

    #[test]
    fn with_work_they_take_a_part_and_go_on() {
        for work in [MILLISECOND, 3 * MILLISECOND, 15 * MILLISECOND] {
            let mut share = Share::default();
            let groups = 800;
            let taken: usize = (0..groups).map(|_| group(&mut share, 64, Some(work))).sum();
            let all = (work + MILLISECOND) * groups;
            let part = MILLISECOND * u32::try_from(taken).unwrap();
            assert!(part <= all / PART + 4 * MILLISECOND, "{part:?} of {all:?}");
            assert!(part >= all / PART / 2, "{part:?} of {all:?}");
        }
    }

    /// Work that comes while a large group is done waits for one command, and they pay it back.
    #[test]
    fn work_that_joins_ends_the_group() {
        let mut share = Share::default();
        share.begin(256);
        for _ in 0..100 {
            share.took(Lane::Outside, MILLISECOND);
        }
        assert!(share.has_room());
        share.took(Lane::Work, MILLISECOND);
        assert!(!share.has_room());
        share.end(102 * MILLISECOND);
        let until = (0..100).take_while(|_| group(&mut share, 64, Some(7 * MILLISECOND)) == 0);
        let paying = until.count();
        assert!((1..40).contains(&paying), "{paying} groups");
    }
}
