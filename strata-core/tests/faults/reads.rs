//! Reading, with hardly any memory for a cache: every page comes from the file.

use std::ops::Bound::{Included, Unbounded};

use strata_core::heap::column::Selection;
use strata_core::ids::ColumnId;
use strata_core::row::Datum;
use strata_core::table::{TableView, encode_index_key};
use strata_core::{Database, Result};

use crate::rig::{Outcome, begin, def, find, now, row};
use crate::sweep::{Operation, sweep};

/// Takes all of the pool for as long as `read` runs, so that no page is kept.
pub fn without_cache(db: &Database, read: impl FnOnce() -> Outcome) -> Outcome {
    let pool = db.pool();
    let _held = pool.try_reserve("the test", pool.available()).expect("is free");
    read()
}

fn table(db: &Database, name: &str) -> Result<TableView> {
    db.view().table(def(db, name).id)
}

/// So that each form is on disk: what replay brought into memory too.
pub fn persist(db: &Database) {
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

/// Lookups that read the row, and by a key that is not unique.
#[test]
fn rows_of_keys() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            for (name, id) in [("hot", 20), ("cold", 250), ("loaded", 149)] {
                let table = table(db, name)?;
                for index in &table.def().indexes {
                    let mut key = Vec::new();
                    encode_index_key(table.def(), index, &row(id), &mut key)?;
                    let mut found = table.rows_of_key(index.id, &key)?;
                    let (found_key, found_row) = found.next_entry()?.expect("is there");
                    assert_eq!(found_key, key);
                    assert_eq!(found.next_entry()?, None);
                    assert_eq!(table.row(found_row)?.to_datums(&table.def().schema)?, row(id));
                    if index.unique {
                        let (first, values) = table.first_row(index.id, &key)?.expect("is there");
                        assert_eq!(first, found_row);
                        assert_eq!(values.datum(&table.def().schema, ColumnId::new(1))?, row(id)[1]);
                        assert!(table.is_visible(first)?);
                    }
                }
            }
            Ok(())
        })
    };
    sweep(&Operation::read("rows of keys", persist, run).at_least(40));
}

/// What a planner asks of frozen segments.
#[test]
fn statistics() {
    let run = |db: &Database| -> Outcome {
        without_cache(db, || {
            let table = table(db, "cold")?;
            let mut distinct = 0;
            for segment in table.segments()? {
                let Some(block) = segment.column_block()? else { continue };
                let sketch = block.sketch(ColumnId::new(0))?.expect("there is one");
                distinct += sketch.estimate();
                assert!(block.zones(ColumnId::new(0))?.is_some());
                assert!(segment.zone(ColumnId::new(1), 0)?.is_some());
            }
            assert!((180..300).contains(&distinct), "{distinct}");
            Ok(())
        })
    };
    sweep(&Operation::read("statistics", persist, run).at_least(6));
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
