//! Savepoints: places in a transaction that it can go back to.
//!
//! Going back undoes what was written, loaded in bulk and changed in the catalog since, and gives back the locks that were taken since
//! (`txn::lock` tells which few may be kept). The snapshot of REPEATABLE READ stays, what
//! SERIALIZABLE has read stays read, and the savepoint stays; those that were made after it are gone.
//!
//! **Keys.** An insertion that was let through has told that nobody else had its key. What is undone leaves no lock that would keep
//! that true until the commit, so SERIALIZABLE notes it as a read.
//!
//! **Views.** One that was taken before the savepoint is not disturbed: it reads a prefix of the writes that stays. One that was taken
//! after it goes on showing what it showed, undone or not: where there is such a view, the transaction leaves it the write set and
//! goes on with a copy. That holds for rows. The ids that undone DDL has given to columns and heaps are given to others again, so a view
//! over such DDL is not to be read after it was undone (SQL closes such cursors).

use std::ops::Range;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::read_set::ReadPredicate;
use super::transaction::{Isolation, PrivateCatalog, Transaction};
use super::view::TableView;
use crate::error::{Error, Result};
use crate::ids::{HeapId, IndexId, TxnId};

/// A place in a transaction. See the module.
#[derive(Clone, Debug)]
pub struct Savepoint {
    transaction: TxnId,
    serial: u64,
    position: u64,
    ddl: Option<PrivateCatalog>,
}

impl Transaction {
    /// Marks this place, for [`rollback_to`](Self::rollback_to). Dropping it is all that it takes to give it up.
    pub fn savepoint(&mut self) -> Savepoint {
        let serial = self.timeline.mark();
        self.shared().store.locks.mark_savepoint(self.id(), serial);
        Savepoint { transaction: self.id(), serial, position: self.position(), ddl: self.ddl.clone() }
    }

    /// Undoes all that was done since the savepoint was made. It can be gone back to again.
    ///
    /// # Errors
    /// `Invalid` for a savepoint of another transaction, and for one that was made after another that the transaction has gone back
    /// to. Nothing is done then.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        if savepoint.transaction != self.id() {
            return Err(Error::Invalid("a savepoint belongs to another transaction".into()));
        }
        if self.timeline.has_ended(savepoint.serial) {
            return Err(Error::Invalid("the savepoint is gone: one before it was gone back to".into()));
        }
        if self.timeline.go_back(savepoint.serial) {
            let copy = self.writes().write().copy(&self.shared().store.pool);
            self.writes = Arc::new(RwLock::new(copy));
        }
        let loaded = self.heaps_loaded_since(savepoint);
        self.writes().write().rollback_to(savepoint.position);
        self.ddl.clone_from(&savepoint.ddl);
        self.note_undone_keys(savepoint, &loaded);
        // What they protected is gone.
        self.shared().store.locks.release_since(self.id(), savepoint.serial);
        Ok(())
    }

    fn heaps_loaded_since(&self, savepoint: &Savepoint) -> Vec<HeapId> {
        let writes = self.writes().read();
        let since = writes.loads().iter().filter(|load| load.written_at() >= savepoint.position);
        since.map(|load| load.heap).collect()
    }

    /// Notes that nobody else had the keys whose locks are about to be given back.
    fn note_undone_keys(&self, savepoint: &Savepoint, loaded: &[HeapId]) {
        if self.isolation() != Isolation::Serializable {
            return;
        }
        let keys = self.shared().store.locks.keys_since(self.id(), savepoint.serial);
        if keys.as_ref().is_some_and(Vec::is_empty) && loaded.is_empty() {
            return;
        }
        let claimed = self.claimed_tables();
        // A table that is not there any more was made since the savepoint, and is nobody else's.
        let views: Vec<_> =
            claimed.into_iter().filter_map(|table| self.tracked_view(table).ok().flatten()).collect();
        let has_index = |view: &&TableView, index: IndexId| view.def().index(index).is_some();
        let is_whole = |view: &&TableView| keys.is_none() || loaded.contains(&view.def().heap);
        for view in views.iter().filter(is_whole) {
            view.note_newest(|| ReadPredicate::Table);
        }
        for (index, key) in keys.into_iter().flatten() {
            match views.iter().find(|view| has_index(view, index)) {
                Some(view) => view.note_newest(|| ReadPredicate::key(index, &key)),
                // The index too was made since, over rows that others know.
                None => views.iter().for_each(|view| view.note_newest(|| ReadPredicate::Table)),
            }
        }
    }
}

/// Held by a view that reads own writes.
pub(super) type ViewToken = Arc<()>;

/// The savepoints of a transaction, and the views taken between them.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// What the next savepoint is called.
    next: u64,
    /// Savepoints that going back to an earlier one has ended, ascending.
    ended: Vec<Range<u64>>,
    /// How often the transaction has gone back.
    returns: u64,
    /// The last savepoint, and what views taken since hold.
    last: u64,
    views: ViewToken,
    /// The same of earlier savepoints, ascending, as long as a view is left.
    earlier: Vec<(u64, Weak<()>)>,
}

impl Timeline {
    /// What a view holds that is taken now.
    pub(super) fn view(&self) -> ViewToken {
        self.views.clone()
    }

    /// How often the transaction has gone back: what was begun before that is not to be finished.
    pub(super) fn returns(&self) -> u64 {
        self.returns
    }

    fn mark(&mut self) -> u64 {
        let views = Arc::downgrade(&std::mem::take(&mut self.views));
        self.earlier.push((self.last, views));
        self.earlier.retain(|(_, views)| views.strong_count() > 0);
        self.next += 1;
        self.last = self.next;
        self.last
    }

    fn has_ended(&self, serial: u64) -> bool {
        let place = self.ended.partition_point(|ended| ended.end <= serial);
        self.ended.get(place).is_some_and(|ended| ended.contains(&serial))
    }

    /// Ends the savepoints after this one; `true` where a view was taken since it was made, and is still there.
    fn go_back(&mut self, serial: u64) -> bool {
        self.returns += 1;
        let later = self.ended.partition_point(|ended| ended.start <= serial);
        self.ended.truncate(later);
        if serial < self.next {
            self.ended.push(serial + 1..self.next + 1);
        }
        let first = self.earlier.partition_point(|(since, _)| *since < serial);
        let mut later = self.earlier.iter().skip(first);
        let has_views =
            Arc::strong_count(&self.views) > 1 || later.any(|(_, views)| views.strong_count() > 0);
        if has_views {
            // All views there are have the writes as they were to themselves.
            self.views = ViewToken::default();
            self.earlier.clear();
        }
        has_views
    }
}
