//! Going back to a savepoint: writes, DDL and bulk loads are undone, and views go on showing what they showed.

use std::collections::BTreeMap;
use std::ops::Bound::Unbounded;
use std::path::Path;
use std::sync::Arc;

use crate::common::*;
use strata_core::ids::{ColumnId, IndexId, RowId, TableId};
use strata_core::row::{ColumnType, Datum};
use strata_core::table::{Isolation, ReadView, Savepoint, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::{MemVfs, Random, SeededRandom};
use strata_core::{Database, Error, Options, Sizes};

fn memory() -> Database {
    Database::in_memory(Options { memory_bytes: 256 << 20, ..Options::default() }).expect("opens")
}

/// A transaction that may do all to the table.
fn owner(db: &Database, table: TableId) -> Transaction {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("locked");
    txn
}

fn add_account(txn: &Transaction, table: TableId, id: i64, balance: i64) -> Result<(), Error> {
    let def = txn.newest_catalog().table(table).expect("is there").clone();
    block_on(txn.insert(&def, &account(id, balance))).map(|_| ())
}

fn load_accounts(txn: &Transaction, table: TableId, ids: std::ops::Range<i64>) {
    block_on(async {
        let mut load = txn.bulk_load(table).await.expect("begins");
        load.append(&batch(ids)).expect("fits");
        load.finish().await.expect("ends");
    });
}

fn index_on(columns: &[u32], name: &str) -> strata_core::catalog::change::NewIndex {
    let mut index = primary_key(name);
    (index.primary, index.unique, index.constraint) = (false, false, false);
    let column = index.columns[0];
    let at = |id: &u32| strata_core::catalog::IndexColumn { column: ColumnId::new(*id), ..column };
    index.columns = columns.iter().map(at).collect();
    index
}

fn number(datum: &Datum) -> i64 {
    match datum {
        Datum::Int64(value) => *value,
        other => panic!("not a number: {other:?}"),
    }
}

fn row_at(table: &TableView, row: RowId) -> (i64, i64) {
    let values = table.row(row).expect("is there").to_datums(&table.def().schema).expect("reads");
    (number(&values[0]), number(&values[1]))
}

/// All rows of a table, read by a scan.
fn rows(table: &TableView) -> BTreeMap<i64, i64> {
    let mut found = Vec::new();
    let schema = &table.def().schema;
    let contents = table.contents().expect("reads");
    for segment in contents.segments {
        let slots = table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
        let selected = strata_core::heap::column::Selection::Slots(slots);
        let columns = segment.read(schema, &[ColumnId::new(0), ColumnId::new(1)], &selected).expect("reads");
        for place in 0..columns[0].len() {
            let value = |column: usize| {
                number(
                    &strata_core::row::datum_at(&columns[column], place, &ColumnType::Int64).expect("fits"),
                )
            };
            found.push((value(0), value(1)));
        }
    }
    found.extend(contents.own_rows.iter().map(|(row, _)| row_at(table, *row)));
    let count = found.len();
    assert_eq!(count as u64, table.row_count(), "the count is exact");
    let found: BTreeMap<i64, i64> = found.into_iter().collect();
    assert_eq!(found.len(), count, "no id twice");
    found
}

fn find_by_key(table: &TableView, id: i64) -> Option<i64> {
    let index = table.def().primary_key().expect("has one");
    let mut key = Vec::new();
    encode_index_key(table.def(), index, &[Datum::Int64(id), Datum::Null, Datum::Null], &mut key)
        .expect("fits");
    let row = table.first(index.id, &key).expect("reads")?;
    let (found, balance) = row_at(table, row);
    assert_eq!(found, id);
    Some(balance)
}

fn by_index(table: &TableView, index: IndexId) -> Vec<(i64, i64)> {
    let scan = table.range(index, Unbounded, Unbounded, false).expect("begins");
    scan.map(|row| row_at(table, row.expect("reads"))).collect()
}

/// What the table must show, and whether it has the second index.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    accounts: BTreeMap<i64, i64>,
    by_balance: bool,
}

const IDS: i64 = 12;

fn assert_shows(db: &Database, view: &ReadView, table: TableId, model: &Model) {
    let committed = def(db, table);
    let table = view.table(table).expect("is there");
    assert_eq!(rows(&table), model.accounts);
    for id in 0..IDS {
        assert_eq!(find_by_key(&table, id), model.accounts.get(&id).copied(), "account {id}");
    }
    assert_eq!(table.def().indexes.len(), 1 + usize::from(model.by_balance));
    // An index that the transaction has made itself finds committed rows once it commits.
    let indexes = table.def().indexes.iter().filter(|index| committed.index(index.id).is_some());
    for (place, index) in indexes.enumerate() {
        let mut expected: Vec<(i64, i64)> =
            model.accounts.iter().map(|(id, balance)| (*id, *balance)).collect();
        let mut found = by_index(&table, index.id);
        if place == 1 {
            assert!(found.is_sorted_by_key(|(_, balance)| *balance), "{found:?}");
            found.sort_unstable();
        }
        expected.sort_unstable();
        assert_eq!(found, expected, "index {}", index.name);
    }
}

/// One random transaction: what it does, step by step, beside the model.
struct Run<'a> {
    db: &'a Database,
    table: TableId,
    txn: Transaction,
    model: Model,
    savepoints: Vec<(Savepoint, Model)>,
    views: Vec<(ReadView, Model)>,
    random: &'a SeededRandom,
}

impl Run<'_> {
    fn step(&mut self) {
        let id = self.random.below(IDS as u64) as i64;
        match self.random.below(20) {
            0..5 => self.insert(id),
            5..8 => self.update(id),
            8..10 => self.delete(id),
            10..13 => self.savepoints.push((self.txn.savepoint(), self.model.clone())),
            13..16 => self.go_back(),
            16 => drop(self.savepoints.pop()),
            17 => self.views.push((self.txn.view(), self.model.clone())),
            18 if self.random.chance(1, 2) => {
                block_on(self.txn.truncate(self.table)).expect("truncates");
                self.model.accounts.clear();
            }
            18 => {
                let at = self.random.below(self.views.len() as u64 + 1) as usize;
                self.views.truncate(at);
            }
            _ => self.toggle_index(),
        }
    }

    fn insert(&mut self, id: i64) {
        let balance = self.random.below(5) as i64;
        let inserted = add_account(&self.txn, self.table, id, balance);
        match self.model.accounts.contains_key(&id) {
            true => assert!(matches!(inserted, Err(Error::DuplicateKey { .. })), "{inserted:?}"),
            false => {
                inserted.expect("the key is free");
                self.model.accounts.insert(id, balance);
            }
        }
    }

    fn locked(&self, id: i64) -> Option<(TableView, RowId)> {
        let view = self.txn.view().table(self.table).expect("is there");
        let (row, _) = find(&self.txn, self.db, self.table, id)?;
        block_on(self.txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
        Some((view, row))
    }

    fn update(&mut self, id: i64) {
        let found = self.locked(id);
        assert_eq!(found.is_some(), self.model.accounts.contains_key(&id));
        let Some((view, row)) = found else { return };
        let balance = self.random.below(5) as i64;
        block_on(self.txn.update(&view, row, &account(id, balance))).expect("updates");
        self.model.accounts.insert(id, balance);
    }

    fn delete(&mut self, id: i64) {
        let found = self.locked(id);
        assert_eq!(found.is_some(), self.model.accounts.remove(&id).is_some());
        if let Some((view, row)) = found {
            self.txn.delete(&view, row).expect("deletes");
        }
    }

    fn go_back(&mut self) {
        if self.savepoints.is_empty() {
            return;
        }
        let at = self.random.below(self.savepoints.len() as u64) as usize;
        self.savepoints.truncate(at + 1);
        let (savepoint, model) = &self.savepoints[at];
        self.txn.rollback_to(savepoint).expect("is there");
        self.model = model.clone();
    }

    fn toggle_index(&mut self) {
        let by_balance = !self.model.by_balance;
        if by_balance {
            block_on(self.txn.create_index(self.table, index_on(&[1], "by_balance"))).expect("indexed");
        } else {
            let index = self.txn.newest_catalog().table(self.table).expect("is there").indexes[1].id;
            block_on(self.txn.change_catalog(|catalog| catalog.drop_index(self.table, index)))
                .expect("dropped");
        }
        self.model.by_balance = by_balance;
    }
}

#[test]
fn random_transactions_with_savepoints_show_what_a_model_shows() {
    random_transactions(usize::MAX, 0..60);
}

/// The same where own rows are written out, a block for every one of them, or for every few.
#[test]
fn random_transactions_show_the_same_when_their_rows_are_not_in_memory() {
    random_transactions(1, 0..20);
    random_transactions(4, 20..50);
}

fn random_transactions(own_rows: usize, seeds: std::ops::Range<u64>) {
    let open = |vfs: &Arc<MemVfs>| {
        let sizes = Sizes { own_rows, ..Sizes::default() };
        Database::open_with_vfs(vfs.clone(), Path::new(DIR), Options { sizes, ..manual() }).expect("opens")
    };
    for seed in seeds {
        let random = SeededRandom::new(seed);
        let vfs = Arc::new(MemVfs::new());
        let db = open(&vfs);
        let table = create_accounts(&db, "accounts");
        let mut committed = Model::default();
        for _ in 0..6 {
            let txn = owner(&db, table);
            let (savepoints, views) = (Vec::new(), Vec::new());
            let model = committed.clone();
            let mut run = Run { db: &db, table, txn, model, savepoints, views, random: &random };
            for step in 0..40 {
                run.step();
                let context = format!("seed {seed}, step {step}");
                let seen = std::panic::AssertUnwindSafe(|| {
                    assert_shows(&db, &run.txn.view(), table, &run.model);
                    for (view, model) in &run.views {
                        assert_shows(&db, view, table, model);
                    }
                });
                if let Err(panic) = std::panic::catch_unwind(seen) {
                    eprintln!("{context}");
                    std::panic::resume_unwind(panic);
                }
            }
            let Run { txn, model, views, .. } = run;
            if random.chance(3, 4) {
                txn.commit().expect("commits").wait().expect("durable");
                committed = model;
            }
            drop(views);
            assert_shows(&db, &db.view(), table, &committed);
            assert_clean(&db);
        }
        drop(db);
        let db = open(&vfs);
        assert_shows(&db, &db.view(), table, &committed);
    }
}

/// Bug: what TRUNCATE and DROP made obsolete was forgotten at once, so that no savepoint could bring it back.
#[test]
fn truncate_and_drop_are_undone_with_the_writes_and_loads_before_them() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = owner(&db, table);
    add_account(&txn, table, 1, 10).expect("inserts");
    load_accounts(&txn, table, 100..20_100);
    let savepoint = txn.savepoint();
    block_on(txn.truncate(table)).expect("truncates");
    assert_eq!(txn.view().table(table).expect("is there").row_count(), 0);
    add_account(&txn, table, 1, 11).expect("the key is free");
    txn.rollback_to(&savepoint).expect("is there");
    assert_eq!(txn.view().table(table).expect("is there").row_count(), 20_001);
    block_on(txn.drop_relation(table)).expect("drops");
    assert!(txn.view().table(table).is_err());
    txn.rollback_to(&savepoint).expect("is there still");
    assert_eq!(rows(&txn.view().table(table).expect("is there")).len(), 20_001);
    txn.commit().expect("commits").wait().expect("durable");
    let view = db.view().table(table).expect("is there");
    assert_eq!(rows(&view).len(), 20_001);
    assert_eq!(find_by_key(&view, 1), Some(10));
    assert_eq!(find_by_key(&view, 10_000), Some(0));
    assert_clean(&db);
}

/// Bug: the blocks of loads that a savepoint undid, and of those that TRUNCATE made obsolete, were never given back.
#[test]
fn loads_that_are_not_committed_give_their_blocks_back() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    load_and_commit(&db, table, 0..20_000);
    let used = db.stats().blocks_used_bytes;

    let mut txn = owner(&db, table);
    let savepoint = txn.savepoint();
    load_accounts(&txn, table, 50_000..70_000);
    assert!(db.stats().blocks_used_bytes > used);
    let view = txn.view().table(table).expect("is there");
    txn.rollback_to(&savepoint).expect("is there");
    assert!(db.stats().blocks_used_bytes > used, "a reader has the blocks");
    assert_eq!(rows(&view).len(), 40_000);
    drop(view);
    assert_eq!(db.stats().blocks_used_bytes, used, "undone");
    block_on(txn.create_index(table, index_on(&[1], "by_balance"))).expect("indexed");
    assert!(db.stats().blocks_used_bytes > used);
    txn.rollback_to(&savepoint).expect("is there still");
    assert_eq!(db.stats().blocks_used_bytes, used, "an index is undone");
    load_accounts(&txn, table, 50_000..70_000);
    drop(txn);
    assert_eq!(db.stats().blocks_used_bytes, used, "rolled back");

    let mut txn = owner(&db, table);
    load_accounts(&txn, table, 50_000..70_000);
    block_on(txn.truncate(table)).expect("truncates");
    add_account(&txn, table, 1, 1).expect("the key is free");
    txn.commit().expect("commits").wait().expect("durable");
    let after = db.stats().blocks_used_bytes;
    assert!(after <= used, "{after} bytes are in use after the commit of a TRUNCATE, {used} were before");
    assert_eq!(scan(&db, table), vec![(1, 1)]);
    assert_clean(&db);
}

fn load_and_commit(db: &Database, table: TableId, ids: std::ops::Range<i64>) {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    load_accounts(&txn, table, ids);
    txn.commit().expect("commits").wait().expect("durable");
}

/// Bug: own rows kept the keys of an index whose creation was undone, and the next index has the same id.
#[test]
fn an_index_that_is_undone_leaves_no_keys_in_the_next_one() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 50)]).expect("inserts");
    let mut txn = owner(&db, table);
    add_account(&txn, table, 2, 40).expect("inserts");
    let savepoint = txn.savepoint();
    let undone = block_on(txn.create_index(table, index_on(&[1], "by_balance"))).expect("indexed");
    txn.rollback_to(&savepoint).expect("is there");
    assert_eq!(txn.newest_catalog().table(table).expect("is there").indexes.len(), 1);
    add_account(&txn, table, 3, 30).expect("inserts");
    let made = block_on(txn.create_index(table, index_on(&[1, 0], "by_both"))).expect("indexed");
    assert_eq!(made, undone, "else this tests nothing");
    let expected = vec![(3, 30), (2, 40), (1, 50)];
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(by_index(&db.view().table(table).expect("is there"), made), expected);
    assert_clean(&db);
}

#[test]
fn ddl_is_undone_to_the_savepoint_and_no_further() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = owner(&db, table);
    let first = txn.savepoint();
    let columns = || vec![column("id", ColumnType::Int64, false)];
    block_on(txn.change_catalog(|catalog| catalog.create_table("public", "a", columns()))).expect("new");
    let second = txn.savepoint();
    block_on(txn.change_catalog(|catalog| catalog.create_table("public", "b", columns()))).expect("new");
    block_on(txn.change_catalog(|catalog| catalog.rename_relation(table, "renamed"))).expect("renamed");
    txn.rollback_to(&second).expect("is there");
    let names = |txn: &Transaction| -> Vec<bool> {
        let catalog = txn.newest_catalog();
        ["a", "b", "accounts"].map(|name| catalog.table_by_name("public", name).is_ok()).to_vec()
    };
    assert_eq!(names(&txn), [true, false, true]);
    txn.rollback_to(&first).expect("is there");
    assert_eq!(names(&txn), [false, false, true]);
    assert!(!txn.has_ddl() && txn.is_read_only());
    block_on(txn.change_catalog(|catalog| catalog.create_table("public", "b", columns()))).expect("new");
    txn.commit().expect("commits").wait().expect("durable");
    assert!(db.catalog().table_by_name("public", "a").is_err());
    assert!(db.catalog().table_by_name("public", "b").is_ok());
}

#[test]
fn views_go_on_showing_what_is_undone() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10), account(2, 20)]).expect("inserts");
    let mut txn = owner(&db, table);
    add_account(&txn, table, 3, 30).expect("inserts");
    let before = txn.view();
    let savepoint = txn.savepoint();
    add(&txn, &db, table, 1, 1).expect("updates");
    add_account(&txn, table, 4, 40).expect("inserts");
    let after = txn.view();
    txn.rollback_to(&savepoint).expect("is there");
    add_account(&txn, table, 5, 50).expect("takes the ordinal of an undone row");
    add(&txn, &db, table, 2, 2).expect("updates");
    let shown = |view: &ReadView| rows(&view.table(table).expect("is there")).into_iter().collect::<Vec<_>>();
    assert_eq!(shown(&before), [(1, 10), (2, 20), (3, 30)]);
    assert_eq!(shown(&after), [(1, 11), (2, 20), (3, 30), (4, 40)]);
    assert_eq!(shown(&txn.view()), [(1, 10), (2, 22), (3, 30), (5, 50)]);
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(shown(&after), [(1, 11), (2, 20), (3, 30), (4, 40)]);
    assert_eq!(scan(&db, table), [(1, 10), (2, 22), (3, 30), (5, 50)]);
}

#[test]
fn what_is_undone_gives_its_memory_back() {
    let db = open(&Arc::new(MemVfs::new()));
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    let mut txn = owner(&db, table);
    add_account(&txn, table, 2, 20).expect("inserts");
    // The first key that is found takes the memory for hints, once and for all.
    find(&txn, &db, table, 1).expect("is there");
    let used = db.pool().used();
    let savepoint = txn.savepoint();
    for round in 0..3 {
        for id in 100..1_100 {
            add_account(&txn, table, id, round).expect("inserts");
        }
        add(&txn, &db, table, 1, 1).expect("updates");
        add(&txn, &db, table, 2, 1).expect("updates");
        let view = (round == 1).then(|| txn.view());
        assert!(db.pool().used() > used + 100_000);
        txn.rollback_to(&savepoint).expect("is there");
        drop(view);
        assert_eq!(db.pool().used(), used, "round {round}");
    }
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), [(1, 10), (2, 20)]);
}

#[test]
fn savepoints_after_the_one_that_was_gone_back_to_are_gone() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = owner(&db, table);
    let first = txn.savepoint();
    add_account(&txn, table, 1, 10).expect("inserts");
    let second = txn.savepoint();
    add_account(&txn, table, 2, 20).expect("inserts");
    let third = txn.savepoint();
    txn.rollback_to(&second).expect("is there");
    add_account(&txn, table, 3, 30).expect("inserts");
    let refused = txn.rollback_to(&third);
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let fourth = txn.savepoint();
    add_account(&txn, table, 4, 40).expect("inserts");
    txn.rollback_to(&fourth).expect("is there");
    txn.rollback_to(&second).expect("is there");
    assert!(txn.rollback_to(&fourth).is_err() && txn.rollback_to(&third).is_err());
    let mut other = db.begin(Isolation::ReadCommitted).expect("begins");
    assert!(matches!(other.rollback_to(&first), Err(Error::Invalid(_))));
    txn.rollback_to(&first).expect("is there");
    assert!(txn.rollback_to(&second).is_err());
    add_account(&txn, table, 1, 11).expect("inserts");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), [(1, 11)]);
}

#[test]
fn the_snapshot_of_repeatable_read_stays() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::RepeatableRead).expect("begins");
    let savepoint = txn.savepoint();
    assert_eq!(txn.view().table(table).expect("is there").row_count(), 0);
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    txn.rollback_to(&savepoint).expect("is there");
    assert_eq!(txn.view().table(table).expect("is there").row_count(), 0);
}

#[test]
fn what_was_locked_since_is_free_again() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10), account(2, 20)]).expect("inserts");
    let mut txn = writer(&db, table);
    add(&txn, &db, table, 1, 1).expect("updates");
    let savepoint = txn.savepoint();
    add(&txn, &db, table, 2, 2).expect("updates");
    add_account(&txn, table, 3, 30).expect("inserts");
    block_on(txn.change_catalog(|catalog| catalog.create_schema("undone"))).expect("new");
    txn.rollback_to(&savepoint).expect("is there");
    let mut other = writer(&db, table);
    add(&other, &db, table, 2, 5).expect("is free");
    add_account(&other, table, 3, 31).expect("is free");
    block_on(other.change_catalog(|catalog| catalog.create_schema("made"))).expect("is free");
    other.commit().expect("commits").wait().expect("durable");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let other = writer(&db, table);
            add(&other, &db, table, 1, 100).expect("goes on");
            other.commit().expect("commits").wait().expect("durable");
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiting.is_finished(), "held since before the savepoint");
        txn.commit().expect("commits").wait().expect("durable");
        waiting.join()
    });
    waiting.expect("no panic");
    assert_eq!(scan(&db, table), [(1, 111), (2, 25), (3, 31)]);
    assert_clean(&db);
}

#[test]
fn a_load_that_was_begun_before_going_back_is_not_adopted() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let savepoint = txn.savepoint();
    let used = db.stats().blocks_used_bytes;
    let mut load = block_on(txn.bulk_writer(table)).expect("begins");
    load.append(&batch(0..20_000)).expect("fits");
    txn.rollback_to(&savepoint).expect("is there");
    let refused = block_on(load.seal().expect("seals").adopt(&txn));
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(db.stats().blocks_used_bytes, used);
}
