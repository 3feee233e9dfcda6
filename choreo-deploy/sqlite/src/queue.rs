//! What waits for the thread that writes, in two lanes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// How many commands from outside wait at most before callers wait to get in.
const OUTSIDE: usize = 1024;

/// Where a command comes from, and so whom it waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lane {
    /// From the worker. Its steps are few and end what others have begun, so it goes first.
    Work,
    /// From outside: as many as there are callers.
    Outside,
}

/// Two lanes. The callers are tasks; the one who takes is a thread.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    room: Semaphore,
}

#[derive(Debug)]
struct State<T> {
    work: VecDeque<T>,
    outside: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                work: VecDeque::new(),
                outside: VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
            room: Semaphore::new(OUTSIDE),
        }
    }

    /// Queues a command. Says whether anybody will take it.
    pub(crate) async fn push(&self, lane: Lane, command: T) -> bool {
        if lane == Lane::Outside {
            match self.room.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return false,
            }
        }
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        match lane {
            Lane::Work => state.work.push_back(command),
            Lane::Outside => state.outside.push_back(command),
        }
        drop(state);
        self.filled.notify_one();
        true
    }

    /// Blocks until something waits, and returns how much of it is from outside. `None`: it is
    /// closed, and nothing is left.
    pub(crate) fn wait(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if !state.work.is_empty() || !state.outside.is_empty() {
                return Some(state.outside.len());
            }
            if state.closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the oldest of a lane.
    pub(crate) fn pop(&self, lane: Lane) -> Option<T> {
        let mut state = self.lock();
        match lane {
            Lane::Work => state.work.pop_front(),
            Lane::Outside => {
                let command = state.outside.pop_front();
                if command.is_some() {
                    self.room.add_permits(1);
                }
                command
            }
        }
    }

    /// Takes no more. What waits is still there to be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
    }

    /// How many wait in a lane.
    #[cfg(test)]
    pub(crate) fn len(&self, lane: Lane) -> usize {
        let state = self.lock();
        match lane {
            Lane::Work => state.work.len(),
            Lane::Outside => state.outside.len(),
        }
    }

    /// Both lanes are whole after every statement, so a panic elsewhere leaves them good.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn callers_from_outside_wait_for_room_and_work_does_not() {
        let queue = Queue::new();
        for number in 0..OUTSIDE {
            assert!(queue.push(Lane::Outside, number).await);
        }
        let moment = Duration::from_millis(20);
        let one_more = tokio::time::timeout(moment, queue.push(Lane::Outside, OUTSIDE));
        one_more.await.unwrap_err();
        assert!(queue.push(Lane::Work, 7).await);
        assert_eq!(queue.wait(), Some(OUTSIDE));
        assert_eq!(queue.pop(Lane::Outside), Some(0));
        assert!(queue.push(Lane::Outside, OUTSIDE).await);
    }

    #[tokio::test]
    async fn what_waits_is_taken_after_it_is_closed() {
        let queue = Queue::new();
        assert!(queue.push(Lane::Outside, 1).await);
        queue.close();
        assert!(!queue.push(Lane::Outside, 2).await);
        assert!(!queue.push(Lane::Work, 3).await);
        assert_eq!(queue.wait(), Some(1));
        assert_eq!(queue.pop(Lane::Outside), Some(1));
        assert_eq!(queue.wait(), None);
    }
}
