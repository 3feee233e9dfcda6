//! The connections of a listener, and which of them is shed at the limit.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All connections of a listener.
///
/// A connection is *busy* while it has a request in progress whose client reads the response, and
/// *quiet* otherwise. Only quiet connections are shed, the oldest first.
/// Requests do not make a connection younger. Otherwise the clients with the most requests would
/// stay, and new clients would be shed.
#[derive(Debug)]
pub(super) struct Crowd {
    limit: usize,
    per_address: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// The last number; an older connection has a smaller number.
    last: u64,
    guests: HashMap<u64, Entry>,
    addresses: HashMap<IpAddr, Address>,
    quiet: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    shed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Address {
    count: usize,
    quiet: BTreeSet<u64>,
}

impl Crowd {
    pub(super) fn new(limit: usize, per_address: usize) -> Self {
        Self {
            limit,
            per_address,
            inside: Mutex::default(),
        }
    }

    /// Returns a place for a new connection, which is quiet at first. At the limit, another connection
    /// is shed; returns `None` if all are busy.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let mut inside = self.inside();
        let neighbours = inside.addresses.get(&address);
        if neighbours.map_or(0, |neighbours| neighbours.count) >= self.per_address {
            let oldest = neighbours.and_then(|neighbours| neighbours.quiet.first().copied());
            inside.shed(oldest?);
        } else if inside.guests.len() >= self.limit {
            let oldest = inside.quiet.first().copied();
            inside.shed(oldest?);
        }
        inside.last += 1;
        let id = inside.last;
        let shed = Arc::new(Notify::new());
        let entry = Entry {
            address,
            shed: Arc::clone(&shed),
        };
        inside.guests.insert(id, entry);
        inside.addresses.entry(address).or_default().count += 1;
        inside.set_quiet(id, true);
        drop(inside);
        let crowd = Arc::clone(self);
        Some(Guest { crowd, id, shed })
    }

    /// Sheds connections because the process has exhausted another resource.
    pub(super) fn shed(&self, count: usize) {
        let mut inside = self.inside();
        for _ in 0..count {
            let Some(id) = inside.quiet.first().copied() else {
                return;
            };
            inside.shed(id);
        }
    }

    /// Returns `true` if more than three quarters of the places are taken.
    pub(super) fn is_scarce(&self) -> bool {
        self.inside().guests.len() > self.limit / 4 * 3
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn set_quiet(&mut self, id: u64, is_quiet: bool) -> bool {
        let Some(entry) = self.guests.get(&id) else {
            return false;
        };
        let address = self.addresses.entry(entry.address).or_default();
        for quiet in [&mut self.quiet, &mut address.quiet] {
            if is_quiet {
                quiet.insert(id);
            } else {
                quiet.remove(&id);
            }
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        self.set_quiet(id, false);
        let entry = self.guests.remove(&id)?;
        if let Some(address) = self.addresses.get_mut(&entry.address) {
            address.count -= 1;
            if address.count == 0 {
                self.addresses.remove(&entry.address);
            }
        }
        Some(entry)
    }

    /// Frees the place at once. The connection ends when its task is notified.
    fn shed(&mut self, id: u64) {
        if let Some(entry) = self.remove(id) {
            entry.shed.notify_one();
        }
    }
}

/// The place of a connection.
#[derive(Debug)]
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    id: u64,
    shed: Arc<Notify>,
}

impl Guest {
    /// Marks the connection as busy. Returns `false` if it has lost its place: then its request must
    /// not be processed, because the connection is about to end.
    pub(super) fn is_busy(&self) -> bool {
        self.crowd.inside().set_quiet(self.id, false)
    }

    /// Marks the connection as quiet.
    pub(super) fn is_quiet(&self) {
        self.crowd.inside().set_quiet(self.id, true);
    }

    /// Returns the notification that the connection has lost its place.
    pub(super) fn shed(&self) -> Arc<Notify> {
        Arc::clone(&self.shed)
    }

    pub(super) fn places_are_scarce(&self) -> bool {
        self.crowd.is_scarce()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.crowd.inside().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admit(crowd: &Arc<Crowd>, last: u8) -> Option<Guest> {
        crowd.admit([192, 0, 2, last].into())
    }

    async fn is_shed(guest: &Guest) -> bool {
        let shed = guest.shed();
        tokio::time::timeout(Duration::ZERO, shed.notified())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_is_quiet_makes_room() {
        let crowd = Arc::new(Crowd::new(3, 9));
        let [first, second, third] = [1, 2, 3].map(|last| admit(&crowd, last).unwrap());
        assert!(first.is_busy());
        let _fourth = admit(&crowd, 4).unwrap();
        assert!(!is_shed(&first).await, "it has a request in progress");
        assert!(is_shed(&second).await);
        assert!(!second.is_busy(), "the fourth has its place");
        second.is_quiet();
        first.is_quiet();
        let _fifth = admit(&crowd, 5).unwrap();
        assert!(is_shed(&first).await, "a request does not make it younger");
        assert!(third.is_busy());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_makes_room_among_its_own() {
        let crowd = Arc::new(Crowd::new(9, 2));
        let [other, first, second] = [1, 2, 2].map(|last| admit(&crowd, last).unwrap());
        let _third = admit(&crowd, 2).unwrap();
        assert!(is_shed(&first).await);
        assert!(!is_shed(&other).await, "though it is older");
        assert!(!is_shed(&second).await);
    }

    #[test]
    fn a_connection_is_rejected_when_all_are_busy() {
        let crowd = Arc::new(Crowd::new(2, 2));
        let guests = [1, 2].map(|last| admit(&crowd, last).unwrap());
        assert!(guests.iter().all(Guest::is_busy));
        assert!(admit(&crowd, 3).is_none());
        drop(guests);
        assert!(admit(&crowd, 3).is_some());
    }

    #[test]
    fn a_dropped_connection_is_forgotten() {
        let crowd = Arc::new(Crowd::new(4, 4));
        let guests: Vec<_> = (0..4)
            .map(|last| admit(&crowd, last % 2).unwrap())
            .collect();
        assert!(crowd.is_scarce());
        assert!(guests[0].is_busy());
        crowd.shed(9);
        assert_eq!(crowd.inside().guests.len(), 1, "the busy one");
        drop(guests);
        let inside = crowd.inside();
        assert!(inside.guests.is_empty() && inside.addresses.is_empty() && inside.quiet.is_empty());
    }

    #[test]
    fn places_are_scarce_above_three_quarters() {
        let crowd = Arc::new(Crowd::new(4, 4));
        let _three = [1, 2, 3].map(|last| admit(&crowd, last).unwrap());
        assert!(!crowd.is_scarce());
        let _fourth = admit(&crowd, 4).unwrap();
        assert!(crowd.is_scarce());
    }
}
