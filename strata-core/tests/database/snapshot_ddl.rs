//! DDL above READ COMMITTED: what an older snapshot has to do with it.

use crate::common::*;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::{ColumnId, TableId};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Error, Options};

fn commit(txn: Transaction) {
    txn.commit().expect("commits").wait().expect("durable");
}

/// A table of a tag and a value that may be NULL, with one row, in which it is.
fn with_null(db: &Database) -> TableId {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![column("tag", ColumnType::Int64, false), column("value", ColumnType::Int64, true)];
    let made = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", columns)));
    let table = made.expect("new");
    let def = txn.newest_catalog().table(table).expect("its own").clone();
    block_on(txn.insert(&def, &[Datum::Int64(1), Datum::Null])).expect("inserts");
    commit(txn);
    table
}

/// Deletes all rows.
fn empty(db: &Database, table: TableId) {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("free");
    let view = txn.view().table(table).expect("is there");
    for segment in view.segments().expect("reads") {
        for slot in view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads") {
            let row = segment.segment().first_row().offset(slot.into());
            block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("free");
            txn.delete(&view, row).expect("deletes");
        }
    }
    drop(view);
    commit(txn);
}

fn primary_key() -> NewIndex {
    let columns = vec![IndexColumn { column: ColumnId::new(1), order: KeyOrder::default() }];
    NewIndex { name: "t_pkey".into(), primary: true, unique: true, constraint: true, columns }
}

/// The transaction goes on reading its snapshot, by a definition that says that there is no NULL.
#[test]
fn a_primary_key_has_no_null_in_the_rows_of_the_snapshot_either() {
    for (level, is_made) in [
        (Isolation::ReadCommitted, true),
        (Isolation::RepeatableRead, false),
        (Isolation::Serializable, false),
    ] {
        let db = Database::in_memory(Options::default()).expect("opens");
        let table = with_null(&db);
        let mut txn = db.begin(level).expect("begins");
        assert_eq!(txn.view().table(table).expect("is there").row_count(), 1);
        empty(&db, table);
        let made = block_on(txn.create_index(table, primary_key()));
        match is_made {
            true => drop(made.expect("nobody has NULL")),
            false => assert!(matches!(made, Err(Error::NotNull { .. })), "{level:?}: {made:?}"),
        }
        let def = txn.view().table(table).expect("is there").def().clone();
        assert_eq!((def.indexes.len(), def.schema.columns[1].nullable), (usize::from(is_made), !is_made));
    }
}

#[test]
fn rows_are_looked_at_by_the_newest_definition_before_it_gets_a_constraint() {
    let db = Database::in_memory(Options::default()).expect("opens");
    let old = with_null(&db);
    let txn = db.begin(Isolation::RepeatableRead).expect("begins");
    assert_eq!(txn.view().table(old).expect("is there").row_count(), 1);

    let mut other = db.begin(Isolation::ReadCommitted).expect("begins");
    let added = NewColumn { missing: Datum::Int64(7), ..NewColumn::new("added", ColumnType::Int64) };
    block_on(other.change_catalog(|catalog| catalog.add_column(old, added))).expect("new");
    let columns = vec![column("tag", ColumnType::Int64, false)];
    let made = block_on(other.change_catalog(|catalog| catalog.create_table("public", "new", columns)));
    let new = made.expect("new");
    let def = other.newest_catalog().table(new).expect("its own").clone();
    block_on(other.insert(&def, &[Datum::Int64(2)])).expect("inserts");
    commit(other);

    assert!(txn.view().table(new).is_err(), "the snapshot is older");
    let view = txn.view_to_define().table(new).expect("is there");
    assert_eq!(view.row_count(), 0, "the row is newer than the snapshot");
    let view = txn.view_to_define().table(old).expect("is there");
    assert_eq!(view.row_count(), 1);
    let segment = view.segments().expect("reads").remove(0);
    let row = view.row(segment.segment().first_row()).expect("is there");
    let values = row.to_datums(&view.def().schema).expect("decodes");
    assert_eq!(values, [Datum::Int64(1), Datum::Null, Datum::Int64(7)]);
}

/// What changed since a read may have columns that came since, too.
#[test]
fn a_read_is_checked_against_rows_with_more_columns() {
    for (key, is_made) in [(8, true), (5, false)] {
        let db = Database::in_memory(Options::default()).expect("opens");
        let (table, elsewhere) = (create_accounts(&db, "read"), create_accounts(&db, "elsewhere"));
        let reader = db.begin(Isolation::Serializable).expect("begins");
        let view = reader.view().table(table).expect("is there");
        let index = view.def().indexes[0].clone();
        let mut sought = Vec::new();
        encode_index_key(view.def(), &index, &account(5, 0), &mut sought).expect("encodes");
        assert_eq!(view.first(index.id, &sought).expect("reads"), None);

        let mut other = db.begin(Isolation::ReadCommitted).expect("begins");
        let added = NewColumn::new("added", ColumnType::Int64);
        block_on(other.change_catalog(|catalog| catalog.add_column(table, added))).expect("new");
        let def = other.newest_catalog().table(table).expect("is there").clone();
        let mut values = account(key, 0);
        values.push(Datum::Int64(7));
        block_on(other.insert(&def, &values)).expect("inserts");
        commit(other);

        let def = reader.newest_catalog().table(elsewhere).expect("is there").clone();
        block_on(reader.lock_table(elsewhere, TableLockMode::RowExclusive)).expect("free");
        block_on(reader.insert(&def, &account(1, 0))).expect("inserts");
        match reader.commit() {
            Ok(ticket) => assert!(ticket.wait().is_ok() && is_made),
            Err(error) => assert!(matches!(error, Error::ReadConflict) && !is_made, "key {key}: {error}"),
        }
    }
}
