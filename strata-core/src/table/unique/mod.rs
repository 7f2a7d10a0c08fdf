//! Unique keys where rows come one by one and in bulk, at the same time.
//!
//! A row writer *claims* a key: it locks the key until its transaction ends, and finds no live row that has it. A load
//! brings too many keys to lock. It is *optimistic*: it looks at what is there, and again at its commit at what came
//! meanwhile; and whoever claimed a key before a load was adopted looks again at its own commit. So both take ROW
//! EXCLUSIVE on the table, neither waits for the other, and of two that bring one key the first to commit has it.
//! A load's keys are not claimed before its transaction commits, however long that goes on.
//!
//! **A load** ([`seal`]). *(1)* In the commit section it notes `e`, the next row of the table. *(2)* Each of its
//! keys is looked up in the index. *(3)* At commit ([`commit`]), the rows from `e` on are read, and their keys looked up in the
//! load's files; then the rows that came meanwhile, until there are none when the commit section is entered. A row is
//! left alone if it is marked or the transaction itself ends it.
//!
//! *Nothing is missed:* let a committed row have a key of the load and be live, at the load's place in the order of
//! commits. Either it is below `e`: then its key was in the index at step 2 (`e` was noted in the commit section, where a commit is
//! applied whole or not at all), as the newest row of that key or below one that would have replaced it. Or it is above: then step 3
//! has read it. It was live then, too, since a mark is for ever.
//!
//! **A row writer.** Before it looks for its first key in a table it notes [`Heap::adoptions`](crate::heap::Heap::adoptions),
//! which a load counts up after its files are in the tree. If the count is another in its commit section, it leaves, and looks
//! for the keys of all rows that it commits again. *Nothing is missed:* a key that it claimed can only be had by a load's row
//! since, as row writers are kept off by the key's lock; that load is counted after the claim, or was found by it.
//! An UPDATE that keeps the key claims nothing: the version that it replaces is live, so no load can have the key.
//!
//! | | against a load |
//! |---|---|
//! | row writer, commits first | the load finds the row at step 2 or 3: `DuplicateKey` |
//! | row writer, commits later | the count has changed, it finds the load's row: `DuplicateKey` |
//! | row writer, rolls back | its rows were never in the heap; neither notices |
//! | row writer, committed but not published | whoever meets it waits until it is, then refuses |
//! | another load | the same as a row writer that commits first; its rows are read at step 3 |
//! | DELETE, or UPDATE of the key, not committed | the load waits for it, as an INSERT does, when it is handed to its transaction ([`Doubt`]); at step 3, in the commit, there is no waiting: the row is live, `DuplicateKey` |
//! | own earlier rows and loads | looked up with step 2 |
//! | own later rows | an INSERT looks into the files of its transaction's loads. One that replaces a committed row with the same key does not: so the commit looks up all own rows in own loads |
//! | CREATE INDEX, ALTER TABLE, TRUNCATE | table locks exclude them, both ways |
//! | own CREATE INDEX | one made before is looked up with step 2, in the files that it has of committed rows; one made after gives the load files, which [`build`] compares with the rest |
//!
//! Between the two commits, a row writer's statements may see the load's row beside its own one of the same key. It cannot
//! commit both: own rows are checked against each other, too, once the count has changed.
//!
//! **Nothing is told that is not durable.** Row writers learn of each other through locks, which go at publication; nobody locks
//! the keys of a load. So an INSERT that finds a row which is applied and not published waits for that before it is refused
//! ([`Store::when_published`](crate::txn::Store::when_published)); a load has a doubt of such a row, and waits, before it
//! is handed over, for all that step 2 has met: then its transaction's next statement sees no dead row beside it. A commit
//! that is refused is rolled back at once, and its ticket tells so when what it is refused for is published. Where that
//! fails instead, all of them are told just that.
//!
//! **No I/O in the commit section, and an end.** Both checks are a [`Precondition`](crate::txn::Precondition): made
//! outside the section, which only compares the next row and the count with what was checked. Each check of a load covers what was
//! committed during the one before; where others commit faster than that ends, it takes a *turn* (`txn/store.rs`).
//! **No deadlock:** a check waits for no lock of the lock manager, and a doubt waits there, where cycles are found.

pub(super) mod build;
pub(super) mod commit;
pub(super) mod seal;

use crate::catalog::TableDef;
use crate::error::Error;
use crate::ids::{IndexId, RowId};

/// A live row with a key of the load that another transaction may be about to delete or to give another key, or that is not
/// published yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub index: IndexId,
    pub row: RowId,
}

/// Memory of a doubt.
const DOUBT_BYTES: usize = size_of::<Doubt>();

pub(super) fn duplicate(table: &TableDef, index: IndexId, key: &[u8]) -> Error {
    Error::DuplicateKey { table: table.id, index, key: key.to_vec() }
}
