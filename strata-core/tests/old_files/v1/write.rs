//! The program that wrote the fixture of version 1, and what goes on with it.

use arrow_array::RecordBatch;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::{ColumnId, TableId};
use strata_core::row::{ColumnBuilder, ColumnType, Datum, KeyOrder, SqlType};
use strata_core::table::{Isolation, Transaction};
use strata_core::txn::{TableLockMode, block_on};
use strata_core::{Database, Result};

use super::rows::{
    DROPPED, ROWS, RUNS, SEGMENT_ROWS, VIEW, altered, everything, is_deleted, long, note, run,
};

/// Fills a fresh database, which is then to be killed.
pub fn write(db: &Database) {
    let mut txn = begin(db);
    create_everything(&mut txn).expect("made");
    create_runs(&mut txn);
    create_notes(&mut txn, "public", "notes").expect("made");
    create_notes(&mut txn, "public", "emptied").expect("made");
    block_on(txn.change_catalog(|catalog| catalog.create_schema("extra"))).expect("made");
    create_notes(&mut txn, "extra", "small").expect("made");
    let (query, columns) = VIEW;
    let columns = columns.map(String::from).to_vec();
    block_on(txn.change_catalog(|catalog| catalog.create_view("public", "shown", query, columns)))
        .expect("made");
    commit(db, txn);
    load(db, "everything", 0..ROWS, &|id| everything(id));
    load(db, "runs", 0..RUNS, &|id| run(id));
    change(db, "public", "everything", &|id| (id < SEGMENT_ROWS && is_deleted(id)).then_some(None));
    insert(db, "public", "emptied", (0..300).map(|id| note(id, "gone")).collect());
    change(db, "public", "emptied", &|_| Some(None));
    db.vacuum().expect("vacuums");

    insert(db, "extra", "small", vec![note(1, "one"), vec![Datum::Int64(2), Datum::Null]]);
    insert(db, "public", "notes", (0..40).map(|id| note(id, "a note")).collect());
    insert(db, "public", "notes", vec![note(100, &long(100))]);
    insert(db, "public", "emptied", (500..520).map(|id| note(id, "more")).collect());
    db.checkpoint().expect("checkpoints");
    change(db, "public", "everything", &|id| is_deleted(id).then_some(None));
    change(db, "public", "notes", &|id| (id == 7).then_some(None));
    db.checkpoint().expect("checkpoints");
    alter(db);
    db.checkpoint().expect("checkpoints");

    // The tail of the journal.
    change(db, "public", "notes", &|id| match id {
        3 => Some(Some(note(3, "changed"))),
        33 => Some(None),
        _ => None,
    });
    insert(db, "public", "notes", vec![note(200, "of the tail")]);
    change(db, "public", "everything", &|id| (id == 1_150).then(|| Some(widened(altered(id, Some(-1))))));
    let rows = (5_000..5_010).map(|id| widened(altered(id, (id % 2 == 0).then_some(id)))).collect();
    insert(db, "public", "everything", rows);
    load(db, "everything", 6_000..6_100, &|id| widened(altered(id, Some(6))));
    empty(db);
    let mut txn = begin(db);
    create_notes(&mut txn, "public", "late").expect("made");
    commit(db, txn);
    insert(db, "public", "late", vec![note(1, "made in the tail")]);
}

/// Goes on with the fixture as a later program may: each form is read, and changed.
pub fn go_on(db: &Database) {
    change(db, "public", "everything", &|id| (1_200..1_250).contains(&id).then_some(None));
    load(db, "everything", 7_000..7_100, &|id| widened(altered(id, Some(7))));
    insert(db, "public", "notes", vec![note(300, "written since")]);
}

/// A row as the altered table takes it: the dropped column has its place still.
fn widened(mut values: Vec<Datum>) -> Vec<Datum> {
    let added = std::mem::replace(&mut values[DROPPED], Datum::Null);
    values.push(added);
    values
}

fn column(name: &str, column_type: ColumnType) -> NewColumn {
    NewColumn { sql_type: SqlType { oid: 25, modifier: -1 }, ..NewColumn::new(name, column_type) }
}

fn index(name: &str, columns: &[(u32, KeyOrder)], primary: bool) -> NewIndex {
    let columns = columns.iter().map(|(id, order)| IndexColumn { column: ColumnId::new(*id), order: *order });
    NewIndex { name: name.into(), primary, unique: primary, constraint: primary, columns: columns.collect() }
}

pub fn create_everything(txn: &mut Transaction) -> Result<TableId> {
    let columns = vec![
        column("id", ColumnType::Int64),
        column("words", ColumnType::Text),
        column("few", ColumnType::Text),
        column("same", ColumnType::Int32),
        column("number", ColumnType::Int64),
        column("hash", ColumnType::Text),
        column("price", ColumnType::Float64),
        column("noise", ColumnType::Float64),
        column("run", ColumnType::Int64),
        column("run_words", ColumnType::Text),
        column("flag", ColumnType::Bool),
        column("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        column("bytes", ColumnType::Bytes),
        column("day", ColumnType::Date),
        column("at", ColumnType::TimestampTz),
        column("key", ColumnType::Uuid),
        column("span", ColumnType::Interval),
        column("list", ColumnType::Array(Box::new(ColumnType::Int32))),
        column("gone", ColumnType::Text),
    ];
    let table =
        block_on(txn.change_catalog(|catalog| catalog.create_table("public", "everything", columns)))?;
    let (up, down) = (KeyOrder::default(), KeyOrder { descending: true, nulls_first: true });
    block_on(txn.create_index(table, index("everything_pkey", &[(0, up)], true)))?;
    block_on(txn.create_index(table, index("everything_words", &[(1, down)], false)))?;
    block_on(txn.create_index(table, index("everything_few", &[(2, up), (11, down)], false)))?;
    Ok(table)
}

pub fn create_runs(txn: &mut Transaction) {
    let columns = vec![
        column("id", ColumnType::Int64),
        column("number", ColumnType::Int64),
        column("word", ColumnType::Text),
    ];
    block_on(txn.change_catalog(|catalog| catalog.create_table("public", "runs", columns))).expect("made");
}

pub fn create_notes(txn: &mut Transaction, schema: &str, name: &str) -> Result<TableId> {
    let columns = vec![column("id", ColumnType::Int64), column("text", ColumnType::Text)];
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table(schema, name, columns)))?;
    block_on(txn.create_index(table, index(&format!("{name}_pkey"), &[(0, KeyOrder::default())], true)))?;
    Ok(table)
}

/// ALTER TABLE everything DROP COLUMN gone, ADD COLUMN added bigint DEFAULT 42.
fn alter(db: &Database) {
    let mut txn = begin(db);
    let id = db.catalog().table_by_name("public", "everything").expect("is there").id;
    block_on(txn.lock_table(id, TableLockMode::AccessExclusive)).expect("locked");
    let added = NewColumn {
        default: Some("42".into()),
        missing: Datum::Int64(42),
        ..column("added", ColumnType::Int64)
    };
    let dropped = ColumnId::new(u32::try_from(DROPPED).expect("small"));
    let altered = txn.change_catalog(|catalog| {
        catalog.drop_column(id, dropped)?;
        catalog.add_column(id, added)
    });
    block_on(altered).expect("altered");
    commit(db, txn);
}

/// TRUNCATE emptied, and a row after it.
fn empty(db: &Database) {
    let mut txn = begin(db);
    let id = db.catalog().table_by_name("public", "emptied").expect("is there").id;
    block_on(txn.lock_table(id, TableLockMode::AccessExclusive)).expect("locked");
    block_on(txn.truncate(id)).expect("emptied");
    let def = txn.newest_catalog().table(id).expect("is there").clone();
    block_on(txn.insert(&def, &note(1, "after"))).expect("inserted");
    commit(db, txn);
}

pub fn begin(db: &Database) -> Transaction {
    db.begin(Isolation::ReadCommitted).expect("begins")
}

pub fn commit(db: &Database, txn: Transaction) {
    let ticket = txn.commit().expect("commits");
    db.sync().expect("synced");
    ticket.wait().expect("durable");
}

pub fn insert(db: &Database, schema: &str, name: &str, rows: Vec<Vec<Datum>>) {
    let txn = begin(db);
    let def = db.catalog().table_by_name(schema, name).expect("is there").clone();
    block_on(txn.lock_table(def.id, TableLockMode::RowExclusive)).expect("locked");
    for row in rows {
        block_on(txn.insert(&def, &row)).expect("inserted");
    }
    commit(db, txn);
}

/// Deletes the rows for which `change` says `Some(None)`, replaces those for which it says by what.
pub fn change(db: &Database, schema: &str, name: &str, change: &dyn Fn(i64) -> Option<Option<Vec<Datum>>>) {
    let txn = begin(db);
    let def = db.catalog().table_by_name(schema, name).expect("is there").clone();
    block_on(txn.lock_table(def.id, TableLockMode::RowExclusive)).expect("locked");
    let view = txn.view().table(def.id).expect("is there");
    for segment in view.segments().expect("reads") {
        for slot in view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads") {
            let row = segment.segment().first_row().offset(u64::from(slot));
            let values = view.row(row).expect("reads").to_datums(&def.schema).expect("reads");
            let Datum::Int64(id) = values[0] else { panic!("an id") };
            match change(id) {
                None => {}
                Some(None) => txn.delete(&view, row).expect("deleted"),
                Some(Some(values)) => drop(block_on(txn.update(&view, row, &values)).expect("updated")),
            }
        }
    }
    commit(db, txn);
}

/// Loads rows in bulk, a segment's worth at a time.
pub fn load(db: &Database, name: &str, ids: std::ops::Range<i64>, row: &dyn Fn(i64) -> Vec<Datum>) {
    let txn = begin(db);
    let def = db.catalog().table_by_name("public", name).expect("is there").clone();
    let mut load = block_on(txn.bulk_load(def.id)).expect("begins");
    let ids: Vec<i64> = ids.collect();
    let part_rows = if name == "runs" { RUNS } else { SEGMENT_ROWS };
    for part in ids.chunks(usize::try_from(part_rows).expect("small")) {
        let rows: Vec<Vec<Datum>> = part.iter().map(|id| row(*id)).collect();
        let columns = def.schema.live().map(|column| {
            let mut builder = ColumnBuilder::new(&column.column_type, rows.len());
            for row in &rows {
                builder.push(&row[column.id.get() as usize].borrowed()).expect("fits");
            }
            (column.name.clone(), builder.finish(), true)
        });
        let batch = RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).expect("fits");
        load.append(&batch).expect("appended");
    }
    block_on(load.finish()).expect("loaded");
    commit(db, txn);
}
