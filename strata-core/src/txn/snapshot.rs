//! Snapshots: one commit timestamp each, registered for as long as somebody reads at it.
//!
//! Loading `published` and registering the snapshot are one step to whoever reclaims (rule 1): both, and the
//! reclaimer's look at the live ones, happen under the registry's lock. A reclaimer that looked first sees a
//! `published` at or before the reader's; one that looks later sees the reader.
//!
//! The registry's lock is a leaf: nothing else is taken while it is held.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::heap::Horizon;
use crate::ids::Timestamp;

/// The published timestamp and the snapshots that are being read.
#[derive(Debug)]
pub struct SnapshotRegistry {
    inner: Mutex<Registered>,
}

#[derive(Debug)]
struct Registered {
    published: Timestamp,
    /// What is read at, ascending, and by how many: a list, since each new one is the last, and most are few.
    live: Vec<(Timestamp, usize)>,
}

impl SnapshotRegistry {
    /// A registry that shows what was committed up to `published`.
    pub fn new(published: Timestamp) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Registered { published, live: Vec::new() }) })
    }

    /// A snapshot of all that is published.
    pub fn take(self: &Arc<Self>) -> Snapshot {
        let mut inner = self.inner.lock();
        let timestamp = inner.published;
        match inner.live.last_mut() {
            Some((last, count)) if *last == timestamp => *count += 1,
            _ => inner.live.push((timestamp, 1)),
        }
        Snapshot { registration: Arc::new(Registration { registry: self.clone(), timestamp }) }
    }

    /// The newest timestamp that readers may see.
    pub fn published(&self) -> Timestamp {
        self.inner.lock().published
    }

    /// Shows commits up to `timestamp` to new snapshots. Timestamps come in order.
    pub fn publish(&self, timestamp: Timestamp) {
        let mut inner = self.inner.lock();
        debug_assert!(inner.published <= timestamp, "publication goes in timestamp order");
        inner.published = timestamp;
    }

    /// How many timestamps somebody reads at.
    pub fn live_count(&self) -> usize {
        self.inner.lock().live.len()
    }

    /// What is published and which snapshots are live, at one instant.
    pub fn horizon(&self) -> Horizon {
        let inner = self.inner.lock();
        Horizon {
            published: inner.published,
            live: inner.live.iter().map(|(timestamp, _)| *timestamp).collect(),
        }
    }
}

#[derive(Debug)]
struct Registration {
    registry: Arc<SnapshotRegistry>,
    timestamp: Timestamp,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        let Ok(place) = inner.live.binary_search_by_key(&self.timestamp, |(timestamp, _)| *timestamp) else {
            debug_assert!(false, "{} is not registered", self.timestamp);
            return;
        };
        inner.live[place].1 -= 1;
        if inner.live[place].1 == 0 {
            inner.live.remove(place);
        }
    }
}

/// One instant of the database. All that a reader needs; cheap to clone, and what it shows stays readable
/// while a clone is alive.
#[derive(Clone, Debug)]
pub struct Snapshot {
    registration: Arc<Registration>,
}

impl Snapshot {
    /// The last commit that the snapshot shows.
    pub fn timestamp(&self) -> Timestamp {
        self.registration.timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_stays_live_until_its_last_clone_is_gone() {
        let registry = SnapshotRegistry::new(Timestamp::new(4));
        let first = registry.take();
        let clone = first.clone();
        registry.publish(Timestamp::new(9));
        let second = registry.take();
        assert_eq!((first.timestamp().get(), second.timestamp().get()), (4, 9));
        drop(first);
        assert_eq!(registry.horizon().live, vec![Timestamp::new(4), Timestamp::new(9)]);
        let third = registry.take();
        drop(second);
        assert_eq!(registry.horizon().live, vec![Timestamp::new(4), Timestamp::new(9)]);
        drop(clone);
        assert_eq!(registry.horizon().live, vec![Timestamp::new(9)]);
        drop(third);
        assert_eq!(registry.live_count(), 0);
        assert_eq!(registry.take().timestamp().get(), 9);
    }
}
