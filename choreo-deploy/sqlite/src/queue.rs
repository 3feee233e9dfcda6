//! A queue with two lanes, for the writer's thread and for the threads that read.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// The maximum number of queued commands from outside. Further callers wait.
const OUTSIDE: usize = 1024;

/// The origin of a command, which determines its priority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lane {
    /// A command of the worker. It goes first, because the worker has few commands and they finish
    /// what others have started.
    Work,
    /// A command from outside. There can be as many as there are callers.
    Outside,
}

/// A queue with two lanes. Tasks push, and threads pop.
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
    /// The number of threads that wait for a command.
    waiting: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                work: VecDeque::new(),
                outside: VecDeque::new(),
                closed: false,
                waiting: 0,
            }),
            filled: Condvar::new(),
            room: Semaphore::new(OUTSIDE),
        }
    }

    /// Queues a command. Returns `false` if the queue is closed.
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

    /// Blocks until a command is queued, and returns the number of commands from outside. Returns
    /// `None` if the queue is closed and empty.
    pub(crate) fn wait(&self) -> Option<usize> {
        Some(self.filled()?.outside.len())
    }

    /// Blocks until a command is queued, and takes the oldest commands from outside. Leaves half of
    /// them if another thread waits. Returns `None` if the queue is closed and empty.
    pub(crate) fn take(&self, at_most: usize) -> Option<Vec<T>> {
        let mut state = self.filled()?;
        let queued = state.outside.len();
        let share = match state.waiting {
            0 => queued,
            _ => queued.div_ceil(2),
        };
        let taken: Vec<_> = state.outside.drain(..share.min(at_most)).collect();
        self.room.add_permits(taken.len());
        Some(taken)
    }

    /// Blocks until a command is queued. Returns `None` if the queue is closed and empty.
    fn filled(&self) -> Option<MutexGuard<'_, State<T>>> {
        let mut state = self.lock();
        loop {
            if !state.work.is_empty() || !state.outside.is_empty() {
                return Some(state);
            }
            if state.closed {
                return None;
            }
            state.waiting += 1;
            state = { self.filled.wait(state) }.unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Takes the oldest command of a lane.
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

    /// Closes the queue for new commands. Queued commands can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
    }

    /// Returns the number of commands in a lane.
    #[cfg(test)]
    pub(crate) fn len(&self, lane: Lane) -> usize {
        let state = self.lock();
        match lane {
            Lane::Work => state.work.len(),
            Lane::Outside => state.outside.len(),
        }
    }

    /// Returns the number of threads that wait for a command.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Locks the state. It is consistent after each statement, so a poisoned lock is safe to use.
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
