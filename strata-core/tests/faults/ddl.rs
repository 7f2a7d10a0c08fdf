//! Changes of the catalog, and building an index.

use std::sync::Arc;

use strata_core::Database;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::ColumnId;
use strata_core::row::{ColumnType, Datum};
use strata_core::txn::TableLockMode;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs};

use crate::image::{image, system_of};
use crate::rig::{Outcome, begin, commit, contents, create, def, index, insert, load, now, open, writer};
use crate::sweep::{Operation, sweep};

#[test]
fn create_table_with_rows() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let table = create(&mut txn, "new")?;
        let table = txn.newest_catalog().table(table)?.clone();
        for id in 0..5 {
            now(txn.insert(&table, &crate::rig::row(id)))?;
        }
        now(txn.change_catalog(|catalog| {
            catalog.create_view("public", "seen", "SELECT 1", vec!["one".into()])
        }))?;
        commit(db, txn)
    };
    sweep(&Operation::change("CREATE TABLE", run));
}

#[test]
fn create_index() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        now(txn.lock_table(def(db, "hot").id, TableLockMode::ShareRowExclusive))?;
        insert(db, &txn, "hot", 700..703)?;
        for name in ["cold", "hot"] {
            let id = def(db, name).id;
            now(txn.create_index(id, index(&format!("{name}_again"), 1, false)))?;
        }
        commit(db, txn)
    };
    sweep(&Operation::change("CREATE INDEX", run));
}

/// A restored dump; a unique index, too, and one that is undone.
#[test]
fn create_index_after_a_load() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let id = def(db, "cold").id;
        load(&txn, id, 1_000..1_250)?;
        now(txn.create_index(id, index("cold_again", 1, false)))?;
        let savepoint = txn.savepoint();
        now(txn.create_index(id, index("cold_undone", 1, false)))?;
        txn.rollback_to(&savepoint)?;
        now(txn.create_index(id, NewIndex { unique: true, ..index("cold_unique", 0, false) }))?;
        commit(db, txn)
    };
    sweep(&Operation::change("a load, then CREATE INDEX", run));
}

/// Over rows in column blocks; another index goes.
#[test]
fn change_the_indexes_of_frozen_rows() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let table = def(db, "cold");
        now(txn.lock_table(table.id, TableLockMode::AccessExclusive))?;
        crate::rest::squeeze(db);
        now(txn.create_index(table.id, NewIndex { unique: true, ..index("cold_both", 1, false) }))?;
        let note = table.indexes.iter().find(|index| !index.primary).expect("of the notes").id;
        now(txn.change_catalog(|catalog| catalog.drop_index(table.id, note)))?;
        commit(db, txn)
    };
    sweep(&Operation::change("CREATE and DROP INDEX", run).at_least(15));
}

#[test]
fn alter_column() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let id = def(db, "cold").id;
        now(txn.lock_table(id, TableLockMode::AccessExclusive))?;
        now(txn.change_catalog(|catalog| {
            catalog.alter_column(id, ColumnId::new(1), |column| {
                (column.name, column.default) = ("remark".into(), Some("'none'".into()));
            })
        }))?;
        let table = txn.newest_catalog().table(id)?.clone();
        now(txn.insert(&table, &crate::rig::row(7)))?;
        commit(db, txn)
    };
    sweep(&Operation::change("ALTER COLUMN", run).at_least(2));
}

/// Those that the next two tests drop.
fn make_schema_and_view(db: &Database) {
    let mut txn = begin(db).expect("begins");
    now(txn.change_catalog(|catalog| {
        catalog.create_schema("old")?;
        catalog.create_view("public", "seen", "SELECT 1", vec!["one".into()])
    }))
    .expect("made");
    commit(db, txn).expect("commits");
    db.checkpoint().expect("checkpoints");
    crate::rest::squeeze(db);
}

#[test]
fn schemas() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        now(txn.change_catalog(|catalog| {
            catalog.drop_schema("old")?;
            catalog.create_schema("new")?;
            catalog.create_table("new", "empty", vec![NewColumn::new("id", ColumnType::Int64)])
        }))?;
        commit(db, txn)
    };
    let operation = Operation::change("CREATE and DROP SCHEMA", run).at_least(3);
    sweep(&Operation { prepare: make_schema_and_view, ..operation });
}

#[test]
fn views() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let seen = txn.newest_catalog().relation("public", "seen").expect("is there").id();
        now(txn.lock_table(seen, TableLockMode::AccessExclusive))?;
        now(txn.drop_relation(seen))?;
        now(txn.change_catalog(|catalog| {
            catalog.create_view("public", "seen", "SELECT 2", vec!["two".into()])
        }))?;
        commit(db, txn)
    };
    let operation = Operation::change("CREATE and DROP VIEW", run).at_least(3);
    sweep(&Operation { prepare: make_schema_and_view, ..operation });
}

#[test]
fn drop_table() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let id = def(db, "cold").id;
        now(txn.lock_table(id, TableLockMode::AccessExclusive))?;
        now(txn.drop_relation(id))?;
        commit(db, txn)
    };
    sweep(&Operation::change("DROP TABLE", run));
}

#[test]
fn truncate() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let id = def(db, "cold").id;
        now(txn.lock_table(id, TableLockMode::AccessExclusive))?;
        now(txn.truncate(id))?;
        let table = txn.newest_catalog().table(id)?.clone();
        now(txn.insert(&table, &crate::rig::row(7)))?;
        commit(db, txn)
    };
    sweep(&Operation::change("TRUNCATE", run));
}

#[test]
fn alter_table() {
    let run = |db: &Database| -> Outcome {
        let mut txn = begin(db)?;
        let table = def(db, "cold");
        now(txn.lock_table(table.id, TableLockMode::AccessExclusive))?;
        let mut added = NewColumn::new("amount", ColumnType::Int64);
        (added.missing, added.default) = (Datum::Int64(4), Some("4".into()));
        now(txn.change_catalog(|catalog| {
            catalog.add_column(table.id, added)?;
            let note = table.indexes.iter().find(|index| !index.primary).expect("of the notes");
            catalog.drop_index(table.id, note.id)?;
            catalog.drop_column(table.id, ColumnId::new(1))?;
            catalog.rename_relation(table.id, "colder")
        }))?;
        commit(db, txn)
    };
    sweep(&Operation::change("ALTER TABLE", run));
}

/// Whoever goes on after a build that failed must not commit an index without its entries.
#[test]
fn an_index_whose_build_failed_is_not_there() {
    for at in 0.. {
        let memory = system_of(image());
        let faults = FaultVfs::new(memory.clone());
        let db = open(Arc::new(faults.clone())).expect("opens");
        let mut txn = writer(&db, "hot").expect("begins");
        insert(&db, &txn, "hot", 700..703).expect("inserts");
        faults.arm(Fault::nth(at, FaultEffect::InputOutput));
        let built = now(txn.create_index(def(&db, "cold").id, index("again", 0, false)));
        faults.disarm();
        commit(&db, txn).expect("commits");
        let indexes = if built.is_ok() { 3 } else { 2 };
        assert_eq!(def(&db, "cold").indexes.len(), indexes, "call {at}");
        assert_eq!(
            contents(&db).expect("reads")["hot"].iter().filter(|row| row.contains("Int64(70")).count(),
            3
        );
        let report = db.check();
        assert!(report.is_clean(), "call {at}: {:?}", report.problems);
        if faults.fired() == 0 {
            break;
        }
    }
}
