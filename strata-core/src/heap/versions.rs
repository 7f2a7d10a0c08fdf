//! What a heap was at each commit: how far its rows reached, and how many were live.
//!
//! No row carries a begin timestamp: what a snapshot sees of the inserts is the prefix that ends at the `row_end` of
//! the newest commit not after it (rule 1). The list keeps one entry for each live snapshot, and all from the last
//! published one on.

use super::chain::{Chain, link_bytes};
use crate::ids::{RowId, Timestamp};

/// The heap as one commit left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The RowId after the last row.
    pub row_end: RowId,
    /// Rows that are not marked.
    pub live_rows: u64,
}

/// The list, newest first.
pub(super) struct Versions(Chain<Version>);

/// Memory of one entry.
pub(super) const VERSION_BYTES: usize = link_bytes::<Version>();

impl Versions {
    /// The list of a heap that all snapshots see so.
    pub fn new(version: Version) -> Self {
        let chain = Chain::new();
        chain.push(Timestamp::new(0), version);
        Self(chain)
    }

    /// Adds what a commit left (the commit section).
    pub fn push(&self, at: Timestamp, version: Version) {
        if let Some(newest) = self.0.newest() {
            debug_assert!(newest.at < at, "rule 1: commit {at} after {}", newest.at);
            debug_assert!(newest.value.row_end <= version.row_end, "rule 1: the end of the rows goes back");
        }
        self.0.push(at, version);
    }

    /// The newest entry.
    pub fn newest(&self) -> (Timestamp, Version) {
        let newest = self.0.newest().expect("the list is never empty");
        (newest.at, newest.value)
    }

    /// What a live snapshot sees.
    pub fn at(&self, snapshot: Timestamp) -> Version {
        let mut oldest = None;
        for link in self.0.iter() {
            if link.at <= snapshot {
                return link.value;
            }
            oldest = Some(link.value);
        }
        debug_assert!(false, "rule 1: snapshot {snapshot} is not registered");
        oldest.expect("the list is never empty")
    }

    /// What a snapshot saw; of one that has ended meanwhile, what another one that is left saw, or a newer one: nobody can tell.
    pub fn seen_by(&self, snapshot: Timestamp) -> Version {
        let mut seen = self.newest().1;
        for link in self.0.iter() {
            seen = link.value;
            if link.at <= snapshot {
                break;
            }
        }
        seen
    }

    /// Drops the entries that no live snapshot, nor one at `published` or later, needs (the pruner). `live` ascends.
    pub fn prune(&self, live: &[Timestamp], published: Timestamp) {
        let Some(mut anchor) = self.0.iter().find(|link| link.at <= published) else { return };
        let mut newer = anchor.at;
        let mut next = anchor.previous();
        let mut skipped = false;
        while let Some(link) = next {
            next = link.previous();
            let first = live.partition_point(|snapshot| *snapshot < link.at);
            let needed = live.get(first).is_some_and(|snapshot| *snapshot < newer);
            newer = link.at;
            if needed {
                if skipped {
                    self.0.splice(&anchor, None, Some(link.clone()));
                }
                anchor = link;
            }
            skipped = !needed;
        }
        self.0.cut_after(&anchor);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn version(rows: u64) -> Version {
        Version { row_end: RowId::new(rows), live_rows: rows }
    }

    #[test]
    fn pruning_keeps_what_each_live_snapshot_sees() {
        let versions = Versions::new(version(0));
        for at in 1..=20 {
            versions.push(Timestamp::new(at * 10), version(at));
        }
        let live = [5, 31, 39, 100, 155].map(Timestamp::new);
        let seen = live.map(|snapshot| versions.at(snapshot));
        versions.prune(&live, Timestamp::new(185));
        let kept: Vec<_> = versions.0.iter().map(|link| link.at.get()).collect();
        assert_eq!(kept, [200, 190, 180, 150, 100, 30, 0]);
        assert_eq!(live.map(|snapshot| versions.at(snapshot)), seen);
        assert_eq!(versions.at(Timestamp::new(185)), version(18));
        versions.prune(&[], Timestamp::new(1_000));
        assert_eq!(versions.0.iter().count(), 1);
        assert_eq!(versions.newest(), (Timestamp::new(200), version(20)));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn version(rows: u64) -> Version {
        Version { row_end: RowId::new(rows), live_rows: rows }
    }

    /// A commit, a pruner that knows of a reader's snapshot, and the reader.
    #[test]
    fn a_snapshot_sees_its_version_while_commits_come_and_the_list_is_pruned() {
        // Every order is too many: those with at most two preemptions are run.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let versions = Arc::new(Versions::new(version(0)));
            (1..=3).for_each(|at| versions.push(Timestamp::new(at * 10), version(at)));
            let committer = {
                let versions = Arc::clone(&versions);
                thread::spawn(move || versions.push(Timestamp::new(40), version(4)))
            };
            let pruner = {
                let versions = Arc::clone(&versions);
                thread::spawn(move || versions.prune(&[Timestamp::new(15)], Timestamp::new(30)))
            };
            assert_eq!(versions.at(Timestamp::new(15)), version(1));
            assert_eq!(versions.at(Timestamp::new(30)), version(3));
            committer.join().expect("no panics");
            pruner.join().expect("no panics");
            let kept: Vec<u64> = versions.0.iter().map(|link| link.at.get()).collect();
            assert_eq!(kept, [40, 30, 10]);
        });
    }
}
