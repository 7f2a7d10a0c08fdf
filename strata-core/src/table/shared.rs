//! What all handles of one database share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bulk::BulkSizes;
use super::view::ReadView;
use crate::catalog::CatalogStore;
use crate::ids::{LoadId, TxnId};
use crate::txn::Store;
use crate::vfs::Lock;

/// The engine behind a database's transactions and views.
pub struct Shared {
    /// Heaps, indexes, journal, locks.
    pub store: Store,
    /// The catalogs by snapshot.
    pub catalog: CatalogStore,
    /// When bulk loads take which form.
    pub bulk: BulkSizes,
    next_txn: AtomicU64,
    next_load: AtomicU64,
    /// Held for as long as anything may write to the database's files; dropped after the store.
    _lock: Box<dyn Lock>,
}

impl Shared {
    /// Puts a recovered store and its catalog together.
    pub fn new(
        store: Store,
        catalog: CatalogStore,
        next_load: LoadId,
        bulk: BulkSizes,
        lock: Box<dyn Lock>,
    ) -> Self {
        Self {
            store,
            catalog,
            bulk,
            next_txn: AtomicU64::new(1),
            next_load: AtomicU64::new(next_load.get()),
            _lock: lock,
        }
    }

    /// A transaction's number.
    pub fn next_txn(&self) -> TxnId {
        TxnId::new(self.next_txn.fetch_add(1, Ordering::Relaxed))
    }

    /// A bulk load's number.
    pub fn next_load(&self) -> LoadId {
        LoadId::new(self.next_load.fetch_add(1, Ordering::Relaxed))
    }

    /// The load number that comes next, for the manifest.
    pub fn peek_load(&self) -> LoadId {
        LoadId::new(self.next_load.load(Ordering::Relaxed))
    }

    /// A view of all that is published, without own writes.
    pub fn view(self: &Arc<Self>) -> ReadView {
        ReadView::new(self.clone(), self.store.snapshots.take(), None, None, None)
    }
}
