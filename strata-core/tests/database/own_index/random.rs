//! Random transactions beside a model.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use strata_core::table::Savepoint;
use strata_core::vfs::Random;

#[derive(Clone, Debug, Default)]
struct Model {
    rows: BTreeMap<i64, Row>,
    /// Rows that cannot be changed before the commit.
    loaded: BTreeSet<i64>,
    indexes: BTreeMap<&'static str, IndexId>,
    /// A primary key's column stays so without it.
    is_not_null: bool,
}

const INDEXES: [(&str, &[u32], bool); 4] =
    [("key", &[1], true), ("other", &[2], true), ("others", &[2, 1], false), ("pair", &[1, 2], true)];

fn key_of(row: &Row, columns: &[u32]) -> Option<Vec<i64>> {
    columns.iter().map(|column| [Some(row.0), row.1, row.2][*column as usize]).collect()
}

impl Model {
    /// Whether there would be two rows of a key in an index.
    fn clashes_in(&self, columns: &[u32]) -> bool {
        let mut keys = BTreeSet::new();
        self.rows.values().filter_map(|row| key_of(row, columns)).any(|key| !keys.insert(key))
    }

    /// With other rows, unless they break a rule.
    fn with(&self, rows: &[Row]) -> std::result::Result<Self, &'static str> {
        let mut model = self.clone();
        for row in rows {
            model.rows.insert(row.0, *row);
        }
        let has = |name: &str| self.indexes.contains_key(name);
        if self.is_not_null && rows.iter().any(|row| row.1.is_none()) {
            return Err("null");
        }
        match INDEXES.iter().any(|(name, columns, unique)| *unique && has(name) && model.clashes_in(columns))
        {
            true => Err("twice"),
            false => Ok(model),
        }
    }

    fn sorted(&self) -> Vec<Row> {
        self.rows.values().copied().collect()
    }
}

struct Run<'a> {
    rig: &'a Rig,
    txn: Transaction,
    model: Model,
    savepoints: Vec<(Savepoint, Model)>,
    random: &'a SeededRandom,
    next_tag: &'a mut i64,
    /// What others have committed meanwhile.
    others: BTreeMap<i64, Row>,
    is_alone: bool,
}

impl Run<'_> {
    fn row(&mut self) -> Row {
        *self.next_tag += 1;
        let random = self.random;
        let value = |most: u64| (!random.chance(1, 12)).then(|| random.below(most) as i64);
        (*self.next_tag, value(400), value(400))
    }

    fn outcome<T: std::fmt::Debug>(
        &mut self,
        what: &str,
        outcome: Result<T>,
        expected: std::result::Result<Model, &'static str>,
    ) {
        match (outcome, expected) {
            (Ok(_), Ok(model)) => self.model = model,
            (Err(Error::DuplicateKey { .. }), Err("twice")) | (Err(Error::NotNull { .. }), Err("null")) => {}
            (outcome, expected) => panic!("{what}: {outcome:?}, and not {:?}", expected.map(|_| ())),
        }
    }

    fn step(&mut self) {
        let table = self.rig.table;
        match self.random.below(20) {
            0..5 => {
                for _ in 0..self.random.below(5) {
                    let row = self.row();
                    let expected = self.model.with(&[row]);
                    let outcome = put(&self.txn, table, row);
                    self.outcome("insert", outcome, expected);
                }
            }
            5..8 => {
                let count = 8 + self.random.below(20);
                let rows: Vec<Row> = (0..count).map(|_| self.row()).collect();
                let expected = self.model.with(&rows).map(|mut model| {
                    model.loaded.extend(rows.iter().map(|row| row.0));
                    model
                });
                let outcome = load(&self.txn, table, &rows);
                self.outcome("load", outcome, expected);
            }
            8..11 => {
                let free: Vec<i64> = self.free();
                if free.is_empty() {
                    return;
                }
                let tag = free[self.random.below(free.len() as u64) as usize];
                if self.random.chance(1, 2) {
                    delete(&self.txn, table, tag);
                    self.model.rows.remove(&tag);
                } else {
                    let mut row = self.row();
                    row.0 = tag;
                    if self.random.chance(1, 3) {
                        row = self.model.rows[&tag];
                    }
                    let expected = self.model.with(&[row]);
                    let outcome = update(&self.txn, table, row);
                    self.outcome("update", outcome, expected);
                }
            }
            11..13 => self.savepoints.push((self.txn.savepoint(), self.model.clone())),
            13..15 if !self.savepoints.is_empty() => {
                let at = self.random.below(self.savepoints.len() as u64) as usize;
                self.savepoints.truncate(at + 1);
                let (savepoint, model) = &self.savepoints[at];
                self.txn.rollback_to(savepoint).expect("is there");
                self.model = model.clone();
            }
            15 if !self.is_alone => {
                let mut row = self.row();
                // Nobody is to wait for a key that this transaction has claimed.
                if INDEXES.iter().any(|(name, _, unique)| *unique && self.model.indexes.contains_key(name)) {
                    row = same(10_000 + row.0);
                }
                let Ok(model) = self.model.with(&[row]) else { return };
                self.rig.insert(&[row]);
                self.others.insert(row.0, row);
                self.model = model;
                // Savepoints of before would have to tell what was there.
                self.savepoints.clear();
            }
            16..20 => self.toggle_index(),
            _ => {}
        }
    }

    fn free(&self) -> Vec<i64> {
        self.model.rows.keys().copied().filter(|tag| !self.model.loaded.contains(tag)).collect()
    }

    fn toggle_index(&mut self) {
        let table = self.rig.table;
        let (name, columns, unique) = INDEXES[self.random.below(INDEXES.len() as u64) as usize];
        self.is_alone = true;
        let mut expected = self.model.clone();
        if let Some(index) = expected.indexes.remove(name) {
            block_on(self.txn.lock_table(table, strata_core::txn::TableLockMode::AccessExclusive))
                .expect("locked");
            block_on(self.txn.change_catalog(|catalog| catalog.drop_index(table, index))).expect("dropped");
            self.model = expected;
            return;
        }
        let primary = name == "key";
        let index = NewIndex { primary, constraint: primary, ..index_on(name, columns, unique) };
        match create(&mut self.txn, table, index) {
            Ok(id) => {
                assert!(
                    !(unique && expected.clashes_in(columns)),
                    "{name} was made over a key that is there twice"
                );
                assert!(!(primary && expected.rows.values().any(|row| row.1.is_none())), "a key is NULL");
                expected.indexes.insert(name, id);
                expected.is_not_null |= primary;
                self.model = expected;
            }
            Err(Error::DuplicateKey { .. }) => assert!(unique && expected.clashes_in(columns), "{name}"),
            Err(Error::NotNull { .. }) => {
                assert!(primary && expected.rows.values().any(|row| row.1.is_none()), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn random_transactions_make_indexes_over_what_they_wrote() {
    for seed in 0..24 {
        let random = SeededRandom::new(seed);
        let rig = Rig::new([1, 4, 10, 1_000][seed as usize % 4]);
        let (mut committed, mut next_tag) = (Model::default(), 0);
        for round in 0..4 {
            let context = format!("seed {seed}, transaction {round}");
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let (txn, model) = (rig.writer(), committed.clone());
                let (savepoints, next_tag) = (Vec::new(), &mut next_tag);
                let others = BTreeMap::new();
                let mut run = Run {
                    rig: &rig,
                    txn,
                    model,
                    savepoints,
                    random: &random,
                    next_tag,
                    others,
                    is_alone: false,
                };
                for _ in 0..30 {
                    run.step();
                    assert_shows(&run.txn.view().table(rig.table).expect("is there"), &run.model.sorted());
                }
                let Run { txn, mut model, others, .. } = run;
                if random.chance(3, 4) {
                    commit(txn).expect("commits");
                    model.loaded.clear();
                    committed = model;
                } else {
                    drop(txn);
                    committed.rows.extend(others);
                }
                rig.assert_has(&committed.sorted());
                assert_eq!(rig.committed().def().indexes.len(), committed.indexes.len());
            }));
            if let Err(panic) = ran {
                eprintln!("{context}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
