//! The limits for concurrent steps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::DeployerOptions;
use super::halt::Halt;
use crate::id::{DataPlaneId, OrganizationId};
use crate::store::{Lane, Room};

/// The number of slow steps for each other step. It bounds their cost, far above the limits of data
/// planes and registries.
const SLOW: usize = 64;
/// The longest wait of a step for room on a data plane.
const WAIT: Duration = Duration::from_secs(2);

/// The steps of one worker.
///
/// A step that takes long waits for something slow or dead. It gives up its place, and counts only
/// among the steps that wait for the same data plane or registry. So any number of dead ones leave
/// room for the others.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    freed: Notify,
    /// A step has left a data plane.
    left: Notify,
}

#[derive(Debug)]
struct State {
    room: Room,
    /// The room for steps that wait for room on a data plane.
    waiting: Room,
    fresh: usize,
    slow: usize,
    most: usize,
}

impl Slots {
    pub(super) fn new(options: &DeployerOptions) -> Self {
        let per_organization = options.steps_per_organization.get();
        let per_data_plane = options.steps_per_data_plane.get();
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                room: Room::new(per_organization, per_data_plane),
                waiting: Room::new(usize::MAX, per_data_plane),
                fresh: 0,
                slow: 0,
                most: options.steps.get(),
            }),
            freed: Notify::new(),
            left: Notify::new(),
        }))
    }

    /// Returns the number of further steps and their room, or `None` if there is no room.
    pub(super) fn room(&self) -> Option<(usize, Room)> {
        let state = self.0.lock();
        let fresh = state.most.saturating_sub(state.fresh);
        let all = state
            .most
            .saturating_mul(SLOW)
            .saturating_sub(state.fresh + state.slow);
        let most = fresh.min(all);
        (most > 0).then(|| (most, state.room.clone()))
    }

    /// Counts a step until the slot is dropped. If another step took the room for a change meanwhile,
    /// this one is not counted as a change until it [goes on](Slot::goes_on).
    pub(super) fn take(
        &self,
        organization: OrganizationId,
        data_plane: DataPlaneId,
        lane: Lane,
    ) -> Slot {
        let mut state = self.0.lock();
        let lane = match lane {
            Lane::Change if !state.room.has_on(&data_plane, lane) => Lane::Resolve,
            _ => lane,
        };
        state.fresh += 1;
        state.room.enter(&organization, &data_plane, lane);
        drop(state);
        Slot {
            shared: Arc::clone(&self.0),
            organization,
            now: Mutex::new(Now {
                data_plane,
                lane,
                fresh: true,
            }),
        }
    }

    /// Waits until a step gives up its place.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

impl Shared {
    /// Locks the state. It is consistent after every statement, so a poisoned lock is valid.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one step. It counts on one data plane at a time, so two steps never wait for each
/// other.
#[derive(Debug)]
pub(super) struct Slot {
    shared: Arc<Shared>,
    organization: OrganizationId,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    data_plane: DataPlaneId,
    lane: Lane,
    fresh: bool,
}

impl Slot {
    /// Counts the step as a change of its data plane. Returns `false` if there is no room.
    pub(super) fn goes_on(&self) -> bool {
        let mut now = self.now();
        if now.lane != Lane::Resolve {
            return true;
        }
        let mut state = self.shared.lock();
        if !state.room.has_on(&now.data_plane, Lane::Change) {
            return false;
        }
        state.room.leave_on(&now.data_plane, now.lane);
        state.room.enter_on(&now.data_plane, Lane::Change);
        now.lane = Lane::Change;
        true
    }

    /// Counts the step as a change of a data plane, and of no other one. Waits briefly for room.
    ///
    /// # Errors
    ///
    /// Returns [`Halt::NoRoom`] if there is still no room, or if enough other steps wait for it. A
    /// data plane that is slow must not occupy the whole worker with steps that wait.
    pub(super) async fn moves_to(&self, data_plane: &DataPlaneId) -> Result<(), Halt> {
        self.leaves_for(data_plane);
        if self.goes_on() {
            return Ok(());
        }
        let _waits = self.waits_for(data_plane).ok_or(Halt::NoRoom)?;
        let room = tokio::time::timeout(WAIT, self.until_it_goes_on());
        room.await.map_err(|_| Halt::NoRoom)
    }

    /// Waits until the step counts as a change of its data plane.
    async fn until_it_goes_on(&self) {
        loop {
            // It begins before the check, so that no room that is made after it is missed.
            let left = self.shared.left.notified();
            if self.goes_on() {
                return;
            }
            left.await;
        }
    }

    /// Counts the step among those that wait for a data plane. Returns `None` if these are enough.
    fn waits_for<'s>(&'s self, data_plane: &'s DataPlaneId) -> Option<Waits<'s>> {
        let mut state = self.shared.lock();
        if !state.waiting.has_on(data_plane, Lane::Change) {
            return None;
        }
        state.waiting.enter_on(data_plane, Lane::Change);
        drop(state);
        Some(Waits {
            shared: &self.shared,
            data_plane,
        })
    }

    /// Gives up the present room, unless it is for a change of this data plane.
    fn leaves_for(&self, data_plane: &DataPlaneId) {
        let mut now = self.now();
        if now.data_plane == *data_plane && now.lane != Lane::Look {
            return;
        }
        let mut state = self.shared.lock();
        state.room.leave_on(&now.data_plane, now.lane);
        state.room.enter_on(data_plane, Lane::Resolve);
        now.data_plane.clone_from(data_plane);
        now.lane = Lane::Resolve;
        drop(state);
        self.shared.left.notify_waiters();
    }

    /// Locks the position. It is consistent after every statement.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the step as slow, which gives up its place.
    pub(super) fn is_slow(&self) {
        let mut now = self.now();
        let mut state = self.shared.lock();
        if std::mem::take(&mut now.fresh) {
            state.fresh -= 1;
            state.slow += 1;
            state.room.leave(&self.organization);
            self.shared.freed.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.now();
        let mut state = self.shared.lock();
        state.room.leave_on(&now.data_plane, now.lane);
        self.shared.left.notify_waiters();
        if now.fresh {
            state.fresh -= 1;
            state.room.leave(&self.organization);
        } else {
            state.slow -= 1;
        }
    }
}

/// A step that waits for room on a data plane.
#[derive(Debug)]
struct Waits<'s> {
    shared: &'s Shared,
    data_plane: &'s DataPlaneId,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.waiting.leave_on(self.data_plane, Lane::Change);
    }
}
