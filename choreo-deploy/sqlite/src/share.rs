//! The share of the writer's time for commands from outside while a worker is active.

use std::time::Duration;

use crate::queue::Lane;

/// Commands from outside get the time of the work and of the disk, divided by this number.
const PART: u32 = 16;
/// The number of groups whose share they can save.
const SAVED: u32 = 4;
/// The number of groups whose share they can owe.
const OWED: u32 = 32;

/// A group takes all commands from outside that waited when it began, unless it contains work. With
/// work, they get a small part of the time of the work and of the disk, summed over all groups with
/// work. So a worker is hardly slower under load than alone, and callers from outside still
/// progress.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// The saved time.
    left: Duration,
    /// The time that they owe.
    owed: Duration,
    group: Group,
}

/// The content of the current group.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// The number of commands from outside that waited when the group began.
    waited: usize,
    /// The number of them in the group.
    taken: usize,
    /// Their total time.
    spent: Duration,
    has_work: bool,
}

impl Share {
    /// Starts a group while `waiting` commands from outside wait.
    pub(crate) fn begin(&mut self, waiting: usize) {
        self.group = Group {
            waited: waiting,
            ..Group::default()
        };
    }

    /// Returns `true` if the group can take one more command from outside.
    pub(crate) fn has_room(&self) -> bool {
        let group = &self.group;
        group.taken < group.waited && (!group.has_work || group.spent < self.left)
    }

    /// Adds a command and its time to the group.
    pub(crate) fn took(&mut self, lane: Lane, time: Duration) {
        match lane {
            Lane::Work => self.group.has_work = true,
            Lane::Outside => {
                self.group.taken += 1;
                self.group.spent += time;
            }
        }
    }

    /// Ends the group after its commit, with its total time.
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

    /// Fills a group with commands from outside of one millisecond each, and returns their number.
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

    /// Guards that work that arrives during a large group waits for one command only, and that the
    /// time of the group counts as owed.
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
