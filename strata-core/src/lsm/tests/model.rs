//! Random operations on the tree beside a `BTreeSet`.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Bench;
use crate::ids::{IndexId, RowId};
use crate::lsm::{IndexTree, Liveness};
use crate::manifest::SsTableMeta;
use crate::vfs::{Random, SeededRandom};

type Entry = (IndexId, Vec<u8>, u64);

/// What the journal would hold since the last checkpoint.
enum Record {
    Commit(Vec<Entry>),
    Adopt(Vec<SsTableMeta>),
}

struct Model {
    bench: Bench,
    random: SeededRandom,
    entries: BTreeSet<(IndexId, Vec<u8>, Reverse<u64>)>,
    next_row: BTreeMap<IndexId, u64>,
    journal: Vec<Record>,
    /// Whether any walk leapt over garbage.
    leapt: Cell<bool>,
}

const INDEXES: u64 = 3;

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            bench: Bench::small(),
            random: SeededRandom::new(seed),
            entries: BTreeSet::new(),
            next_row: BTreeMap::new(),
            journal: Vec::new(),
            leapt: Cell::new(false),
        }
    }

    fn index(&self) -> IndexId {
        IndexId::new(u32::try_from(self.random.below(INDEXES)).expect("small") + 1)
    }

    /// Keys of which some extend others, a few of them hot.
    fn key(&self) -> Vec<u8> {
        let stem = match self.random.below(3) {
            0 => self.random.below(4),
            _ => self.random.below(120),
        };
        let mut key = format!("key{stem:03}").into_bytes();
        match self.random.below(8) {
            0 => key.push(0),
            1 => key.extend_from_slice(b"\xff\xff"),
            2 => key.truncate(5),
            3 if stem < 2 => key.extend_from_slice(&[b'l'; 70]),
            _ => {}
        }
        key
    }

    fn take_row(&mut self, index: IndexId) -> u64 {
        let next = self.next_row.entry(index).or_insert(0);
        *next += 1 + self.random.below(3);
        *next
    }

    fn commit(&mut self) {
        let mut batch = Vec::new();
        for _ in 0..=self.random.below(12) {
            let index = self.index();
            batch.push((index, self.key(), self.take_row(index)));
        }
        self.apply(&batch);
        self.journal.push(Record::Commit(batch));
    }

    fn apply(&mut self, batch: &[Entry]) {
        let entries: Vec<_> = batch.iter().map(|(index, key, row)| (*index, &key[..], *row)).collect();
        self.bench.apply(&entries);
        let owned = batch.iter().cloned().map(|(index, key, row)| (index, key, Reverse(row)));
        self.entries.extend(owned);
    }

    fn adopt(&mut self) {
        let index = self.index();
        let base = self.take_row(index) + 10;
        let mut ordinals = 0;
        let mut load: BTreeSet<(Vec<u8>, Reverse<u64>)> = BTreeSet::new();
        for _ in 0..=self.random.below(120) {
            load.insert((self.key(), Reverse(ordinals)));
            ordinals += 1;
        }
        self.next_row.insert(index, base + ordinals);
        let entries: Vec<_> = load.iter().map(|(key, row)| (index, &key[..], row.0)).collect();
        let metas = self.bench.bulk_tables(&entries, base);
        let adopted = self.bench.tree.adopt(metas.clone()).expect("sound bounds");
        assert_eq!(adopted.len(), metas.len());
        self.entries.extend(load.into_iter().map(|(key, row)| (index, key, Reverse(row.0 + base))));
        self.journal.push(Record::Adopt(metas));
    }

    /// A checkpoint with commits and adoptions going on while it writes.
    fn checkpoint(&mut self) {
        let boundary = self.bench.tree.seal();
        let replayed_from = self.journal.len();
        if self.random.chance(1, 3) {
            self.adopt();
        }
        let outcome = self.bench.tree.flush(boundary, &self.bench.marked).expect("room");
        if self.random.chance(1, 2) {
            self.commit();
            self.bench.tree.seal();
        }
        self.bench.install_flush(outcome);
        self.journal.drain(..replayed_from);
    }

    /// Opens the tree from the manifest and replays the journal.
    fn reopen(&mut self) {
        let bench = &mut self.bench;
        bench.tree =
            IndexTree::open(Arc::clone(&bench.cache), &bench.manifest.sstables, 0, bench.options.clone())
                .expect("opens");
        let journal = std::mem::take(&mut self.journal);
        for record in &journal {
            match record {
                Record::Commit(batch) => self.apply(batch),
                Record::Adopt(metas) => {
                    self.bench.tree.adopt(metas.clone()).expect("sound bounds");
                }
            }
        }
        self.journal = journal;
    }

    /// Rows that no snapshot sees any more: always the older ones of a key.
    fn mark_garbage(&mut self) {
        let (index, key) = (self.index(), self.key());
        if self.random.chance(1, 2) {
            // All there is of many neighbouring keys.
            let start = (index, key, Reverse(u64::MAX));
            let many = usize::try_from(self.random.below(800)).expect("small");
            let rows = self.entries.range(start..).take_while(|(at, ..)| *at == index).take(many);
            let last = rows.clone().last().map(|(_, key, _)| key.clone());
            // A key whole or not at all: the older ones go first.
            let garbage = rows.filter(|(_, key, _)| Some(key) != last.as_ref());
            self.bench.marked.garbage.lock().extend(garbage.map(|(_, _, row)| (index, RowId::new(row.0))));
            return;
        }
        let rows = self.rows(index, &key, u64::MAX);
        let keep = usize::try_from(self.random.below(3)).expect("small");
        let garbage = rows.iter().skip(keep).map(|row| (index, RowId::new(*row)));
        self.bench.marked.garbage.lock().extend(garbage);
        if self.random.chance(1, 2) {
            self.bench.tree.remove_garbage(index, &key, &self.bench.marked);
        }
    }

    fn lives(&self, index: IndexId, row: u64) -> bool {
        !self.bench.marked.is_garbage(index, RowId::new(row))
    }

    /// The rows of a key below `below`, descending.
    fn rows(&self, index: IndexId, key: &[u8], below: u64) -> Vec<u64> {
        let start = (index, key.to_vec(), Reverse(u64::MAX));
        let end = (index, key.to_vec(), Reverse(0));
        let rows = self.entries.range(start..=end).map(|(_, _, row)| row.0);
        rows.filter(|row| *row < below).collect()
    }

    fn bound(&self) -> Bound<Vec<u8>> {
        match self.random.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }

    /// A lookup, all rows of a key and a range, compared.
    fn compare(&self) {
        let (index, key) = (self.index(), self.key());
        let below = match self.random.below(3) {
            0 => u64::MAX,
            _ => self.random.below(self.next_row.get(&index).copied().unwrap_or(1) + 2),
        };
        let tree = &self.bench.tree;
        let rows = self.rows(index, &key, below);
        let live: Vec<u64> = rows.iter().copied().filter(|row| self.lives(index, *row)).collect();
        let found = tree.first(index, &key, RowId::new(below)).expect("intact").map(RowId::get);
        let expected_or_garbage = match found {
            Some(row) => rows.contains(&row) && live.iter().all(|live| *live <= row),
            None => live.is_empty(),
        };
        assert!(expected_or_garbage, "first of {key:?} below {below} is {found:?}, of {rows:?}");

        let mut cursor = tree.rows_of_key(index, &key, RowId::new(below)).expect("intact");
        let mut found = Vec::new();
        while let Some(row) = cursor.next().expect("intact") {
            found.push(row.get());
        }
        assert!(found.iter().all(|row| rows.contains(row)) && found.windows(2).all(|pair| pair[0] > pair[1]));
        found.retain(|row| self.lives(index, *row));
        assert_eq!(found, live, "rows of {key:?} below {below}");
        self.compare_range(index, below);
    }

    fn compare_range(&self, index: IndexId, below: u64) {
        let (lower, upper) = (self.bound(), self.bound());
        let reverse = self.random.chance(1, 2);
        let within = |key: &[u8]| {
            let from = match &lower {
                Bound::Included(lower) => key >= &lower[..],
                Bound::Excluded(lower) => key > &lower[..],
                Bound::Unbounded => true,
            };
            let to = match &upper {
                Bound::Included(upper) => key <= &upper[..],
                Bound::Excluded(upper) => key < &upper[..],
                Bound::Unbounded => true,
            };
            from && to
        };
        let mut expected: Vec<(Vec<u8>, u64)> = (self.entries.iter())
            .filter(|(at, key, row)| *at == index && row.0 < below && within(key))
            .filter(|(_, _, row)| self.lives(index, row.0))
            .map(|(_, key, row)| (key.clone(), row.0))
            .collect();
        if reverse {
            expected.reverse();
        }
        let mut cursor =
            self.bench.tree.range(index, lower.clone(), upper.clone(), reverse, RowId::new(below));
        let mut found = Vec::new();
        let notes = self.random.chance(1, 2);
        while let Some((key, row)) = cursor.next().expect("intact") {
            let (key, row) = (key.to_vec(), row.get());
            if notes && !self.lives(index, row) && cursor.note_garbage() {
                self.bench.tree.remove_garbage(index, &key, &self.bench.marked);
            }
            found.push((key, row));
            self.leapt.set(self.leapt.get() || cursor.has_leapt());
        }
        found.retain(|(_, row)| self.lives(index, *row));
        assert_eq!(found, expected, "{index} {lower:?} to {upper:?}, reverse {reverse}, below {below}");
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..45 => self.commit(),
            45..50 => {
                self.bench.tree.seal();
            }
            50..58 => self.checkpoint(),
            58..64 => self.adopt(),
            64..80 => {
                self.bench.compact(false);
            }
            80..82 => {
                self.bench.compact(true);
            }
            82..90 => self.mark_garbage(),
            90..93 => self.reopen(),
            _ => {
                self.compare();
            }
        }
    }
}

#[test]
fn random_operations_agree_with_a_set() {
    let (mut deepest, mut leapt) = (0, 0);
    for seed in 0..40 {
        // A failure prints the seed with the captured output.
        println!("seed {seed}");
        let mut model = Model::new(seed);
        for step in 0..400 {
            model.step();
            if step % 50 == 49 {
                model.bench.check();
            }
        }
        for _ in 0..40 {
            model.compare();
        }
        leapt += u32::from(model.leapt.get());
        let metas = model.bench.tree.version().metas();
        deepest = deepest.max(metas.iter().map(|meta| meta.level).max().unwrap_or(0));
    }
    assert!(deepest >= 3, "the trees got only {deepest} levels deep");
    assert!(leapt >= 10, "only {leapt} of 40 runs leapt over garbage");
}
