//! What a thread does: one transaction after another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use strata_core::catalog::TableDef;
use strata_core::ids::IndexId;
use strata_core::row::{ColumnBuilder, Datum, arrow_type};
use strata_core::table::{Isolation, Transaction};
use strata_core::txn::block_on;
use strata_core::{Database, Result};

use super::tables::{ACCOUNTS, PAIRS, Tables, fill, find, int, lock, lock_row, note};
use super::{Counters, ddl};
use crate::random::Random;

/// The accounts that most transfers touch.
const HOT: u64 = 6;

/// One transaction, or one reader.
pub fn step(thread: u64, db: &Database, tables: &Tables, counters: &Counters, random: &mut Random) {
    if thread == 0 && random.chance(1, 4) {
        if counters.outcome(ddl::change(db, tables, random)).is_some() {
            Counters::add(&counters.changes);
            Counters::add(&counters.committed);
        }
        return;
    }
    let isolation = match random.within(0..3) {
        0 => Isolation::RepeatableRead,
        _ => Isolation::ReadCommitted,
    };
    let outcome = match random.within(0..100) {
        0..45 => transfer(db, tables, isolation, random),
        45..75 => pairs(db, tables, isolation, random),
        75..90 => lookups(db, tables, isolation, random),
        90..92 => bulk(db, tables, random).inspect(|committed| {
            counters.loads.fetch_add(u64::from(*committed), Ordering::Relaxed);
        }),
        92..93 => vacuum(db, random),
        _ => {
            reader(db, tables, random);
            Counters::add(&counters.verified);
            return;
        }
    };
    if counters.outcome(outcome) == Some(true) {
        Counters::add(&counters.committed);
    }
}

/// Ends a transaction; true if it was committed.
fn end(txn: Transaction, random: &mut Random) -> Result<bool> {
    if random.chance(1, 10) {
        txn.rollback();
        return Ok(false);
    }
    txn.commit()?.wait().map(|_| true)
}

fn account(random: &mut Random) -> i64 {
    let limit = if random.chance(2, 3) { HOT } else { ACCOUNTS as u64 };
    random.within(0..limit) as i64
}

/// Moves amounts between accounts. What it has read before it is held against what it locks.
fn transfer(db: &Database, tables: &Tables, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let txn = db.begin(isolation)?;
    lock(&txn, tables.accounts)?;
    for _ in 0..random.within(1..4) {
        let (from, to, amount) = (account(random), account(random), random.within(0..100) as i64);
        for (id, amount) in [(from, -amount), (to, amount)] {
            let view = txn.view().table(tables.accounts)?;
            let Some((row, mut values)) = lock_row(&txn, &view, id)? else {
                panic!("account {id} is not there at {}", view.view().snapshot().timestamp());
            };
            values[1] = Datum::Int64(int(&values, 1) + amount);
            if random.chance(1, 4) {
                values[2] = note(random);
            }
            block_on(txn.update(&view, row, &values))?;
        }
        if random.chance(1, 20) {
            tables.verify_accounts(&txn.view());
        }
    }
    end(txn, random)
}

/// Inserts, replaces or deletes a pair.
fn pairs(db: &Database, tables: &Tables, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let txn = db.begin(isolation)?;
    let def = lock(&txn, tables.pairs)?;
    for _ in 0..random.within(1..4) {
        let id = random.within(1..PAIRS as u64) as i64;
        let word = random.within(0..1_000) as i64;
        let view = txn.view().table(tables.pairs)?;
        if find(&view, id)?.is_none() {
            for id in [id, -id] {
                block_on(txn.insert(&def, &pair(&def, id, word, note(random))))?;
            }
            continue;
        }
        let delete = random.chance(1, 2);
        let mut met = 0;
        for id in [id, -id] {
            let Some((row, mut values)) = lock_row(&txn, &view, id)? else { continue };
            met += 1;
            if delete {
                txn.delete(&view, row)?;
            } else {
                values[2] = Datum::Int64(word);
                block_on(txn.update(&view, row, &values))?;
            }
        }
        // Both were seen; whoever deleted the one meanwhile has deleted the other.
        assert_ne!(met, 1, "a twin of {id} went alone");
    }
    end(txn, random)
}

/// The row of a pair.
pub fn pair(def: &TableDef, id: i64, word: i64, note: Datum) -> Vec<Datum> {
    fill(def, &[Datum::Int64(id), Datum::Int64(id.signum()), Datum::Int64(word), note])
}

/// Point reads of pairs and of what their words lead to.
fn lookups(db: &Database, tables: &Tables, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let txn = db.begin(isolation)?;
    for _ in 0..10 {
        let view = txn.view().table(tables.pairs)?;
        let id = random.within(1..PAIRS as u64) as i64;
        let (row, twin) = (find(&view, id)?, find(&view, -id)?);
        assert_eq!(row.is_some(), twin.is_some(), "{id} at {}", view.view().snapshot().timestamp());
        let Some(row) = row else { continue };
        let values = view.row(row)?.to_datums(&view.def().schema)?;
        assert_eq!(int(&values, 0), id);
        let by_word: Option<IndexId> = view
            .def()
            .indexes
            .iter()
            .find(|index| !index.unique && index.name == "pairs_word")
            .map(|index| index.id);
        let Some(index) = by_word else { continue };
        let mut key = Vec::new();
        let index_def = view.def().index(index).expect("just found");
        strata_core::table::encode_index_key(view.def(), index_def, &values, &mut key)?;
        let mut scan = view.rows_of_key(index, &key)?;
        let mut found = false;
        while let Some((_, other)) = scan.next_entry()? {
            found |= other == row;
        }
        assert!(found, "the index of words does not lead to {row}");
    }
    Ok(false)
}

/// Loads pairs in bulk: few, that go in as rows, or enough for a block.
fn bulk(db: &Database, tables: &Tables, random: &mut Random) -> Result<bool> {
    let txn = db.begin(Isolation::ReadCommitted)?;
    let mut load = block_on(txn.bulk_load(tables.pairs))?;
    let def = Arc::clone(load.table());
    let first = random.within(1..PAIRS as u64 - 400) as i64;
    let count = random.within(20..400) as i64;
    let seen = txn.view().table(tables.pairs)?;
    let mut rows = Vec::new();
    for id in first..first + count {
        // Who inserts one of them until the commit has it refused.
        if find(&seen, id)?.is_none() {
            let word = random.within(0..1_000) as i64;
            rows.extend([id, -id].map(|id| pair(&def, id, word, note(random))));
        }
    }
    for part in rows.chunks(300) {
        load.append(&batch(&def, part)?)?;
    }
    let loaded = block_on(load.finish())?;
    assert_eq!(loaded, rows.len() as u64);
    end(txn, random)
}

/// Rows as a batch of the live columns.
pub fn batch(def: &TableDef, rows: &[Vec<Datum>]) -> Result<RecordBatch> {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for column in def.schema.live() {
        let mut builder = ColumnBuilder::new(&column.column_type, rows.len());
        for row in rows {
            builder.push_datum(&row[column.id.get() as usize])?;
        }
        fields.push(Field::new(&column.name, arrow_type(&column.column_type), true));
        arrays.push(builder.finish());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length"))
}

fn vacuum(db: &Database, random: &mut Random) -> Result<bool> {
    match random.within(0..4) {
        0 => db.vacuum()?,
        1 => db.checkpoint()?,
        _ => drop(db.maintain()?),
    }
    Ok(false)
}

/// Holds a snapshot, sometimes for long, and reads the same from it each time.
fn reader(db: &Database, tables: &Tables, random: &mut Random) {
    let view = db.view();
    let accounts = view.table(tables.accounts).expect("is there");
    let ids: Vec<i64> = (0..5).map(|_| account(random)).collect();
    let read = || {
        let row = |id: &i64| {
            let row = find(&accounts, *id).expect("reads").expect("each account is always there");
            accounts.row(row).expect("reads").to_datums(&accounts.def().schema).expect("reads")
        };
        ids.iter().map(row).collect::<Vec<_>>()
    };
    let before = read();
    tables.verify(&view);
    for _ in 0..if random.chance(1, 10) { 20 } else { 1 } {
        std::thread::yield_now();
        assert_eq!(read(), before, "a snapshot has changed");
    }
    if random.chance(1, 10) {
        tables.verify(&view);
    }
}
