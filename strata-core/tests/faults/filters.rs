//! SERIALIZABLE reads with a condition that the engine does not know the terms of. It asks, at the commit, whether the condition lets
//! through any row that came or ended since; to answer, pages are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strata_core::catalog::TableDef;
use strata_core::heap::SegmentView;
use strata_core::heap::column::Selection;
use strata_core::ids::ColumnId;
use strata_core::row::{ColumnReader, Datum};
use strata_core::table::{Isolation, ReadPredicate, RowFilter, Transaction};
use strata_core::{Database, Result};

use crate::isolation::{OTHERS, begin, lets_nothing_through, meanwhile, sweep_beside};
use crate::reads::{persist, without_cache};
use crate::rest::squeeze;
use crate::rig::{Outcome, commit, def, insert, note};
use crate::sweep::{Operation, sweep};

/// How often a filter could not read what it was asked about.
static UNREAD: AtomicU64 = AtomicU64::new(0);

/// The rows with ids of a range. Both columns are looked at: so that more is read, and what stands there is right.
struct Between {
    def: Arc<TableDef>,
    ids: std::ops::Range<i64>,
}

impl Between {
    fn in_rows(&self, segment: &SegmentView, slots: Vec<u32>) -> Result<usize> {
        let columns: Vec<_> = self.def.schema.columns.iter().collect();
        let ids: Vec<ColumnId> = columns.iter().map(|column| column.id).collect();
        let count = slots.len();
        let arrays = segment.read(&self.def.schema, &ids, &Selection::Slots(slots))?;
        let readers = arrays.iter().zip(&columns);
        let readers = readers.map(|(array, column)| ColumnReader::new(array, &column.column_type));
        let readers: Vec<ColumnReader<'_>> = readers.collect::<Result<_>>()?;
        let mut found = 0;
        for place in 0..count {
            let Datum::Int64(id) = readers[0].value(place)?.to_datum() else { panic!("an id is NULL") };
            if self.ids.contains(&id) {
                assert_eq!(readers[1].value(place)?.to_datum(), Datum::Text(note(id)));
                found += 1;
            }
        }
        Ok(found)
    }
}

impl RowFilter for Between {
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool {
        let found = self.in_rows(segment, slots.to_vec());
        if found.is_err() {
            UNREAD.fetch_add(1, Ordering::Relaxed);
        }
        // What cannot be read may match.
        found.map_or(true, |found| found > 0)
    }
}

/// Reads five rows by scanning the table.
fn scan(db: &Database, txn: &Transaction) -> Result<()> {
    let def = def(db, "cold");
    let filter = Arc::new(Between { def: def.clone(), ids: 240..245 });
    let view = txn.view().table(def.id)?.declare(ReadPredicate::Filter(filter.clone()));
    let mut found = 0;
    for segment in view.contents()?.segments {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?;
        found += filter.in_rows(&segment, slots)?;
    }
    assert_eq!(found, 5);
    Ok(())
}

#[test]
fn reading_alone() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            let txn = db.begin(Isolation::Serializable)?;
            scan(db, &txn)?;
            commit(db, txn)
        })
    };
    sweep(&Operation::read("a filter", persist, run).at_least(10));
}

#[test]
fn what_a_filter_let_through_is_looked_at_again() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db, Isolation::Serializable)?;
        scan(db, &txn)?;
        meanwhile(db, OTHERS)?;
        insert(db, &txn, "cold", 900..903)?;
        squeeze(db);
        commit(db, txn)
    };
    let before = UNREAD.load(Ordering::Relaxed);
    sweep_beside(Operation::change("a filter, SERIALIZABLE", run).at_least(25), |db| {
        meanwhile(db, OTHERS).expect("commits")
    });
    assert!(UNREAD.load(Ordering::Relaxed) > before, "the sweep has failed no call of the filter");
}

/// What cannot be read may be what conflicts: the filter is asked of a row that ended, and of no other.
#[test]
fn a_filter_that_cannot_read_lets_nothing_through() {
    lets_nothing_through("a filter, unread", scan, 4);
}
