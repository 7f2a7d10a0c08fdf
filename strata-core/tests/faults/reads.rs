//! Reading, with hardly any memory for a cache: every page comes from the file.

use std::ops::Bound::{Included, Unbounded};

use strata_core::heap::column::Selection;
use strata_core::ids::ColumnId;
use strata_core::row::Datum;
use strata_core::table::TableView;
use strata_core::{Database, Result};

use crate::rig::{Outcome, begin, def, find, now};
use crate::sweep::{Operation, sweep};

/// Takes all of the pool for as long as `read` runs, so that no page is kept.
fn without_cache(db: &Database, read: impl FnOnce() -> Outcome) -> Outcome {
    let pool = db.pool();
    let _held = pool.try_reserve("the test", pool.available()).expect("is free");
    read()
}

fn table(db: &Database, name: &str) -> Result<TableView> {
    db.view().table(def(db, name).id)
}

/// So that each form is on disk: what replay brought into memory too.
fn persist(db: &Database) {
    db.checkpoint().expect("checkpoints");
}

#[test]
fn get() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            for (name, present, absent) in [("hot", 20, 31), ("cold", 250, 10), ("loaded", 149, 150)] {
                let table = table(db, name)?;
                let row = find(&table, present)?.expect("is there");
                let values = table.row(row)?.to_datums(&table.def().schema)?;
                assert_eq!(values[0], Datum::Int64(present));
                assert_eq!(find(&table, absent)?, None);
            }
            Ok(())
        })
    };
    sweep(&Operation::read("get", persist, run));
}

#[test]
fn index_ranges() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            for (name, count) in [("hot", 47), ("cold", 220), ("loaded", 150)] {
                let table = table(db, name)?;
                for index in &table.def().indexes {
                    for reverse in [false, true] {
                        let found = table.range(index.id, Unbounded, Unbounded, reverse)?;
                        assert_eq!(found.collect::<Result<Vec<_>>>()?.len(), count, "{}", index.name);
                    }
                    let none = table.range(index.id, Included(vec![255; 9]), Unbounded, false)?;
                    assert_eq!(none.collect::<Result<Vec<_>>>()?, []);
                }
            }
            Ok(())
        })
    };
    sweep(&Operation::read("index ranges", persist, run));
}

#[test]
fn scan() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            for (name, count) in [("hot", 47), ("cold", 220), ("loaded", 150)] {
                let table = table(db, name)?;
                let columns = [ColumnId::new(1), ColumnId::new(0)];
                let mut found = 0;
                for segment in table.segments()? {
                    let slots = table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?;
                    let arrays = segment.read(&table.def().schema, &columns, &Selection::Slots(slots))?;
                    assert_eq!(arrays.len(), 2);
                    assert_eq!(arrays[0].len(), arrays[1].len());
                    found += arrays[0].len();
                    segment.zone(columns[1], 0)?;
                }
                assert_eq!(found, count);
            }
            Ok(())
        })
    };
    sweep(&Operation::read("scan", persist, run));
}

#[test]
fn locking_a_row() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db)?;
        now(txn.lock_table(def(db, "cold").id, strata_core::txn::TableLockMode::RowShare))?;
        let view = txn.view().table(def(db, "cold").id)?;
        let row = find(&view, 205 + 10)?.expect("is there");
        now(txn.lock_row(&view, row, strata_core::txn::RowLockMode::Update))?;
        Ok(())
    };
    sweep(&Operation::read("locking a row", |_| (), run));
}

/// A check lists what it could not read; it fails nothing.
#[test]
fn check() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            let report = db.check();
            let problem = report.problems.first().cloned();
            match problem {
                None => Ok(()),
                Some(problem) => Err(strata_core::Error::Invalid(problem).into()),
            }
        })
    };
    sweep(&Operation::read("check", persist, run));
}
