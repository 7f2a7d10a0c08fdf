//! What a database holds when nobody uses it: what is left over shows there.

use std::path::Path;

use strata_core::Database;
use strata_core::maintenance::Step;
use strata_core::manifest::Manifest;
use strata_core::memory::{MemoryPool, Reservation};
use strata_core::txn::TableLockMode;
use strata_core::vfs::MemVfs;

use crate::rig::{DIR, begin, now};
use crate::sweep::Rig;

/// What it holds with empty caches.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    memory_bytes: usize,
    blocks_bytes: u64,
}

/// After all maintenance.
pub fn rest(rig: &Rig, what: &str) -> Rest {
    rig.db.vacuum().unwrap_or_else(|error| panic!("{what}: vacuum: {error}"));
    while rig.db.maintain().expect("steps") != Step::Idle {}
    let rest = rest_of_reading(rig);
    assert_eq!(
        rest.blocks_bytes,
        named_bytes(&rig.memory),
        "{what}: blocks in use that the manifest does not name"
    );
    rest
}

/// As it is: what only reads leaves nothing to maintain.
pub fn rest_of_reading(rig: &Rig) -> Rest {
    let blocks_bytes = rig.db.stats().blocks_used_bytes;
    Rest { memory_bytes: squeeze(&rig.db), blocks_bytes }
}

/// Makes caches give up what they have. Returns how much they and others keep.
pub fn squeeze(db: &Database) -> usize {
    let held: usize = take_all(db.pool()).iter().map(Reservation::bytes).sum();
    db.pool().cap() - held
}

/// All memory that there is to be had.
pub fn take_all(pool: &MemoryPool) -> Vec<Reservation> {
    let mut held = Vec::new();
    let mut step = pool.cap();
    while step > 0 {
        match pool.reserve("the test", step) {
            Ok(reservation) => held.push(reservation),
            Err(_) => step /= 2,
        }
    }
    held
}

pub fn named_bytes(vfs: &MemVfs) -> u64 {
    let state = Manifest::read(vfs, &Path::new(DIR).join("manifest")).expect("reads");
    state.blocks().map(|block| block.len_bytes()).sum()
}

/// Closes; whoever holds memory then holds it for ever.
pub fn close(db: Database, what: &str) {
    let pool = db.pool().clone();
    drop(db);
    assert_eq!(pool.used(), 0, "{what}: memory that outlives the database");
}

pub fn assert_unlocked(db: &Database, what: &str) {
    let txn = begin(db).expect("begins");
    let tables: Vec<_> = db.catalog().tables().map(|table| table.id).collect();
    for table in tables {
        now(txn.lock_table(table, TableLockMode::AccessExclusive))
            .unwrap_or_else(|error| panic!("{what}: a lock is left: {error}"));
    }
}

/// Those of the catalog too, which a poisoned database gives nobody.
pub fn assert_all_unlocked(db: &Database, what: &str) {
    assert_unlocked(db, what);
    let mut txn = begin(db).expect("begins");
    now(txn.change_catalog(|_| Ok(()))).unwrap_or_else(|error| panic!("{what}: the catalog: {error}"));
}
