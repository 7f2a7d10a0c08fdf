//! Random transactions that write much and keep little of it in memory, beside a model: all ways to read, views that outlive what they
//! show, savepoints, loads, power cuts.

use std::collections::BTreeMap;
use std::ops::Bound::Unbounded;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use crate::common::*;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::NewIndex;
use strata_core::heap::column::Selection;
use strata_core::ids::{ColumnId, IndexId, RowId, TableId};
use strata_core::row::{Datum, KeyOrder};
use strata_core::table::{Isolation, Locked, Savepoint, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::vfs::{MemVfs, Random, SeededRandom};
use strata_core::{Database, Error, Options, Sizes};

/// What the table shows: balances by id.
#[derive(Clone, Default)]
struct Model {
    accounts: BTreeMap<i64, i64>,
    /// What the transaction has loaded in bulk, which it cannot change, nor find by an index.
    loaded: Vec<Range<i64>>,
}

impl Model {
    /// Every so many of the accounts that may be changed.
    fn changeable(&self, step: usize) -> Vec<i64> {
        let ids = self.accounts.keys().copied();
        ids.filter(|id| !self.loaded.iter().any(|loaded| loaded.contains(id))).step_by(step).collect()
    }
}

/// The tag of RowIds in a load that has not committed: they are read by their segment alone.
const LOADED: u64 = 1 << 62;

fn account_at(view: &TableView, row: RowId) -> (i64, i64) {
    let values = view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads");
    match (&values[0], &values[1]) {
        (Datum::Int64(id), Datum::Int64(balance)) => (*id, *balance),
        other => panic!("not an account: {other:?}"),
    }
}

fn scanned(view: &TableView) -> Vec<(i64, i64)> {
    let mut rows = Vec::new();
    let contents = view.contents().expect("reads");
    for segment in contents.segments {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
        let columns = [ColumnId::new(0), ColumnId::new(1)];
        let selection = Selection::Slots(slots.clone());
        let arrays = segment.read(&view.def().schema, &columns, &selection).expect("reads");
        let [ids, balances] = [0, 1].map(|column| arrays[column].as_primitive::<Int64Type>().values());
        for ((slot, id), balance) in slots.iter().zip(ids).zip(balances) {
            let row = segment.segment().first_row().offset(u64::from(*slot));
            assert!(row.get() & LOADED != 0 || account_at(view, row) == (*id, *balance), "{row}");
            rows.push((*id, *balance));
        }
    }
    rows.extend(contents.own_rows.iter().map(|(row, _)| account_at(view, *row)));
    rows.sort_unstable();
    rows
}

fn by_index(view: &TableView, index: IndexId, reverse: bool) -> Vec<(i64, i64)> {
    let rows = view.range(index, Unbounded, Unbounded, reverse).expect("begins");
    let mut found: Vec<_> = rows.map(|row| account_at(view, row.expect("reads"))).collect();
    if reverse {
        found.reverse();
    }
    found
}

/// Fails with no more than the first account that is not the same.
fn assert_same(found: &[(i64, i64)], expected: &[(i64, i64)], what: &str) {
    let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    assert_eq!(found.get(same), expected.get(same), "{what}: place {same}");
}

fn assert_shows(view: &TableView, model: &Model, what: &str) {
    let expected: Vec<_> = model.accounts.iter().map(|(id, balance)| (*id, *balance)).collect();
    assert_same(&scanned(view), &expected, &format!("{what}: by a scan"));
    assert_eq!(view.row_count(), expected.len() as u64, "{what}: the count");
    if !model.loaded.is_empty() {
        return;
    }
    for reverse in [false, true] {
        let indexes: Vec<_> = view.def().indexes.iter().map(|index| index.id).collect();
        let found = by_index(view, indexes[0], reverse);
        assert_same(&found, &expected, &format!("{what}: by key, reverse {reverse}"));
        let mut found = by_index(view, indexes[1], reverse);
        assert!(found.is_sorted_by_key(|(_, balance)| *balance), "{what}: by balance, reverse {reverse}");
        found.sort_unstable();
        assert_same(&found, &expected, &format!("{what}: by balance, reverse {reverse}"));
    }
    let index = view.def().primary_key().expect("has one");
    for (id, balance) in expected.into_iter().step_by(5) {
        let mut key = Vec::new();
        encode_index_key(view.def(), index, &account(id, 0), &mut key).expect("fits");
        let row = view.first(index.id, &key).expect("reads");
        let row = row.unwrap_or_else(|| panic!("{what}: account {id} is not found"));
        assert_eq!(account_at(view, row), (id, balance), "{what}: by one key");
    }
}

/// One transaction.
struct Run<'a> {
    db: &'a Database,
    table: TableId,
    random: &'a SeededRandom,
    txn: Transaction,
    model: Model,
    savepoints: Vec<(Savepoint, Model)>,
    views: Vec<(TableView, Model)>,
    /// An id that was never given.
    next_id: i64,
}

impl Run<'_> {
    fn below(&self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    fn view(&self) -> TableView {
        self.txn.view().table(self.table).expect("is there")
    }

    fn step(&mut self, what: &str) {
        match self.below(12) {
            0..3 => self.insert(),
            3..6 => self.update(what),
            6..8 => self.delete(),
            8 => self.savepoints.push((self.txn.savepoint(), self.model.clone())),
            9 => self.go_back(),
            10 => self.load(),
            _ => self.insert_again(what),
        }
        let view = self.view();
        assert_shows(&view, &self.model, what);
        if self.random.chance(1, 3) {
            self.views.push((view, self.model.clone()));
        }
        if self.random.chance(1, 4) && !self.views.is_empty() {
            let place = self.below(self.views.len());
            self.views.swap_remove(place);
        }
        if !self.views.is_empty() {
            let (view, model) = &self.views[self.below(self.views.len())];
            assert_shows(view, model, &format!("{what}, an old view"));
        }
    }

    fn insert(&mut self) {
        let def = def(self.db, self.table);
        for _ in 0..self.below(150) {
            let (id, balance) = (self.next_id, self.next_id % 5);
            block_on(self.txn.insert(&def, &account(id, balance))).expect("inserts");
            self.model.accounts.insert(id, balance);
            self.next_id += 1;
        }
    }

    /// Some accounts, mostly in the order of their ids.
    fn some(&self, most: usize) -> Vec<i64> {
        let mut ids = self.model.changeable(1 + self.below(5));
        if self.random.chance(1, 2) && !ids.is_empty() {
            let place = self.below(ids.len());
            ids.rotate_left(place);
            if self.random.chance(1, 2) {
                ids.reverse();
            }
        }
        ids.truncate(self.below(most));
        ids
    }

    fn lock(&self, view: &TableView, id: i64) -> RowId {
        let index = view.def().primary_key().expect("has one").id;
        let row = view.first(index, &key(self.db, self.table, id)).expect("reads").expect("is there");
        let locked = block_on(self.txn.lock_row(view, row, RowLockMode::Update)).expect("locked");
        assert_eq!(locked, Locked::Current);
        row
    }

    fn update(&mut self, what: &str) {
        let (ids, by_one_statement, statement) = (self.some(250), self.random.chance(1, 2), self.view());
        for id in ids {
            let view = if by_one_statement { statement.clone() } else { self.view() };
            let row = self.lock(&view, id);
            assert_eq!(account_at(&view, row), (id, self.model.accounts[&id]), "{what}");
            let balance = self.below(9) as i64;
            let mut to = id;
            if self.random.chance(1, 10) {
                to = self.next_id;
                self.next_id += 1;
            }
            block_on(self.txn.update(&view, row, &account(to, balance))).expect("updates");
            self.model.accounts.remove(&id);
            self.model.accounts.insert(to, balance);
        }
    }

    fn delete(&mut self) {
        let view = self.view();
        for id in self.some(250) {
            let row = self.lock(&view, id);
            self.txn.delete(&view, row).expect("deletes");
            self.model.accounts.remove(&id);
        }
    }

    fn go_back(&mut self) {
        if self.savepoints.is_empty() {
            return;
        }
        let place = self.below(self.savepoints.len());
        self.savepoints.truncate(place + 1);
        let (savepoint, model) = &self.savepoints[place];
        self.txn.rollback_to(savepoint).expect("is there");
        self.model = model.clone();
    }

    fn load(&mut self) {
        let ids = self.next_id..self.next_id + 16 + self.below(60) as i64;
        self.next_id = ids.end;
        block_on(async {
            let mut load = self.txn.bulk_load(self.table).await.expect("begins");
            load.append(&batch(ids.clone())).expect("fits");
            load.finish().await.expect("ends");
        });
        self.model.accounts.extend(ids.clone().map(|id| (id, id % 1_000)));
        self.model.loaded.push(ids);
    }

    fn insert_again(&mut self, what: &str) {
        let ids: Vec<i64> = self.model.accounts.keys().copied().collect();
        if !ids.is_empty() {
            let id = ids[self.below(ids.len())];
            let again = block_on(self.txn.insert(&def(self.db, self.table), &account(id, 0)));
            assert!(matches!(again, Err(Error::DuplicateKey { .. })), "{what}: account {id}: {again:?}");
        }
    }
}

fn one_of<T: Clone>(random: &SeededRandom, values: &[T]) -> T {
    values[random.below(values.len() as u64) as usize].clone()
}

fn check(db: &Database, table: TableId, model: &Model, what: &str) {
    assert_shows(&db.view().table(table).expect("is there"), model, what);
    assert_clean(db);
}

fn run(seed: u64) {
    let random = SeededRandom::new(seed);
    let vfs = Arc::new(MemVfs::new());
    let sizes = Sizes {
        own_rows: one_of(&random, &[3, 20, 60, 150]),
        bulk_rows: 16,
        segment_bytes: one_of(&random, &[4_000, 64 << 20]),
        ..Sizes::default()
    };
    let open = |vfs: &Arc<MemVfs>| {
        let options = Options { sizes: sizes.clone(), ..manual() };
        Database::open_with_vfs(vfs.clone(), Path::new(DIR), options).expect("opens")
    };
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    let mut ddl = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![IndexColumn { column: ColumnId::new(1), order: KeyOrder::default() }];
    let by_balance =
        NewIndex { columns, primary: false, unique: false, constraint: false, ..primary_key("by_balance") };
    block_on(ddl.create_index(table, by_balance)).expect("made");
    ddl.commit().expect("commits").wait().expect("durable");
    let mut committed = Model::default();
    committed.accounts.extend((0..one_of(&random, &[0, 50, 300])).map(|id| (id, id % 7)));
    let rows: Vec<_> = committed.accounts.iter().map(|(id, balance)| account(*id, *balance)).collect();
    insert(&db, table, &rows).expect("inserts");
    for round in 0..3 {
        let mut run = Run {
            db: &db,
            table,
            random: &random,
            txn: writer(&db, table),
            model: committed.clone(),
            savepoints: Vec::new(),
            views: Vec::new(),
            next_id: 100_000 * (round + 1),
        };
        for step in 0..4 + run.below(14) {
            run.step(&format!("seed {seed}, transaction {round}, step {step}"));
        }
        let what = format!("seed {seed}, transaction {round}");
        let before = db.view().table(table).expect("is there");
        let Run { txn, model, savepoints, views, .. } = run;
        drop((savepoints, views));
        if random.chance(3, 4) {
            txn.commit().expect("commits").wait().expect("durable");
            assert_shows(&before, &committed, &format!("{what} before its commit"));
            committed.accounts = model.accounts;
        } else {
            let lost = open(&Arc::new(vfs.crash_clone(&random)));
            check(&lost, table, &committed, &format!("{what} after a power cut in it"));
            drop(txn);
        }
        drop(before);
        check(&db, table, &committed, &what);
        let crashed = open(&Arc::new(vfs.crash_clone(&random)));
        check(&crashed, table, &committed, &format!("{what} after a power cut"));
        crashed.vacuum().expect("vacuums");
        check(&crashed, table, &committed, &format!("{what} after a power cut and maintenance"));
        match random.below(3) {
            0 => db.vacuum().expect("vacuums"),
            1 => db.checkpoint().expect("writes"),
            _ => continue,
        }
        check(&db, table, &committed, &format!("{what} after maintenance"));
    }
}

#[test]
fn random_transactions_that_are_written_out_show_what_a_model_shows() {
    let first = std::env::var("STRATA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    (first..first + 6).for_each(run);
}
