//! The notification of readers after a commit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use choreo_deploy::id::{DeploymentId, RunId};
use tokio::sync::{Notify, watch};

use crate::error::Failure;

/// A change of a command.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Change {
    Deployment(DeploymentId),
    Run(RunId),
    /// There may be work to claim, now or earlier than before.
    Work,
}

/// The waiting readers. A change of one deployment does not wake the readers of another.
#[derive(Debug)]
pub(crate) struct Signals {
    work: Notify,
    /// `None` once the store has stopped.
    waiting: Mutex<Option<HashMap<Change, watch::Sender<()>>>>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            work: Notify::new(),
            waiting: Mutex::new(Some(HashMap::new())),
        }
    }

    /// Notifies the readers of committed changes.
    pub(crate) fn tell(&self, changes: &[Change]) {
        let waiting = self.lock();
        for change in changes {
            if *change == Change::Work {
                // `notify_one` keeps a permit if no task waits, so that no work is missed between a
                // claim and the next wait.
                self.work.notify_one();
            } else if let Some(sender) = waiting.as_ref().and_then(|all| all.get(change)) {
                sender.send_replace(());
            }
        }
    }

    /// Stops all waiting: there are no further changes.
    pub(crate) fn close(&self) {
        *self.lock() = None;
        self.work.notify_waiters();
    }

    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// Watches a change from now on.
    pub(crate) fn watch(&self, change: Change) -> Watch<'_> {
        let receiver = match &mut *self.lock() {
            Some(all) => all
                .entry(change.clone())
                .or_insert_with(|| watch::Sender::new(()))
                .subscribe(),
            // Without a sender, the receiver is closed immediately.
            None => watch::Sender::new(()).subscribe(),
        };
        Watch {
            signals: self,
            change,
            receiver: Some(receiver),
        }
    }

    /// Locks the map. It is consistent after each statement, so a poisoned lock is safe to use.
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<Change, watch::Sender<()>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch of one change until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch<'s> {
    signals: &'s Signals,
    change: Change,
    receiver: Option<watch::Receiver<()>>,
}

impl Watch<'_> {
    /// Waits for the next change since the last call. Returns an error if the store has stopped.
    pub(crate) async fn changed(&mut self) -> Result<(), Failure> {
        match &mut self.receiver {
            Some(receiver) => receiver.changed().await.map_err(|_| Failure::stopped()),
            None => Err(Failure::stopped()),
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.signals.lock();
        self.receiver = None;
        if let Some(all) = &mut *waiting
            && all
                .get(&self.change)
                .is_some_and(|sender| sender.receiver_count() == 0)
        {
            all.remove(&self.change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(id: &str) -> Change {
        Change::Deployment(id.parse().unwrap())
    }

    #[tokio::test]
    async fn wakes_only_those_who_wait_for_it() {
        let signals = Signals::new();
        let (mut one, mut other) = (
            signals.watch(deployment("d-1")),
            signals.watch(deployment("d-2")),
        );
        signals.tell(&[deployment("d-1")]);
        one.changed().await.unwrap();
        let moment = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(moment, other.changed()).await.is_err());
    }

    #[tokio::test]
    async fn forgets_those_who_went_away() {
        let signals = Signals::new();
        let (one, other) = (
            signals.watch(deployment("d-1")),
            signals.watch(deployment("d-1")),
        );
        drop(one);
        assert_eq!(signals.lock().as_ref().unwrap().len(), 1);
        drop(other);
        assert_eq!(signals.lock().as_ref().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn tells_when_nothing_will_change_any_more() {
        let signals = Signals::new();
        let mut before = signals.watch(deployment("d-1"));
        signals.close();
        before.changed().await.unwrap_err();
        signals
            .watch(deployment("d-1"))
            .changed()
            .await
            .unwrap_err();
    }

    #[tokio::test]
    async fn remembers_work_that_came_while_nobody_waited() {
        let signals = Signals::new();
        signals.tell(&[Change::Work]);
        signals.work().await;
    }
}
