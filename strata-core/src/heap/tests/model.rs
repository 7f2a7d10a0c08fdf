//! Random commits, snapshots, freezes, checkpoints, crashes against a plain vector of versions.

use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::super::GarbageMemory;
use super::super::column::Selection;
use super::super::marks::set_slots;
use super::rig::{HEAP, ID, NAME, Rig};
use crate::ids::{RowId, SegmentId, Timestamp};

struct Version {
    id: i64,
    length: usize,
    birth: Timestamp,
    end: Option<Timestamp>,
    successor: Option<RowId>,
}

struct Model {
    rig: Rig,
    versions: BTreeMap<RowId, Version>,
    live: Vec<Timestamp>,
    random: u64,
    next_id: i64,
}

impl Model {
    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % limit as u64) as usize
    }

    fn row_length(&mut self) -> usize {
        match self.below(40) {
            0 => 33_000 + self.below(30_000),
            1..4 => 5_000 + self.below(15_000),
            _ => self.below(300),
        }
    }

    fn commit(&mut self) {
        let count = self.below(12);
        let lengths: Vec<usize> = (0..count).map(|_| self.row_length()).collect();
        let first = self.next_id;
        self.next_id += count as i64;
        let rows = lengths.iter().zip(first..).map(|(length, id)| self.rig.encode(id, *length)).collect();
        let alive: Vec<RowId> =
            self.versions.iter().filter(|(_, version)| version.end.is_none()).map(|(row, _)| *row).collect();
        let mut marked = Vec::new();
        // Half of the time the oldest rows die, so that whole segments do.
        let oldest = self.below(2) == 0;
        for nth in 0..self.below(14).min(alive.len()) {
            let index = if oldest { nth } else { self.below(alive.len()) };
            if !marked.iter().any(|(row, _)| *row == alive[index]) {
                marked.push((alive[index], (nth < count).then_some(nth)));
            }
        }
        let ids = self.rig.commit(rows, &marked);
        let now = self.rig.last();
        for (row, new) in marked {
            let version = self.versions.get_mut(&row).expect("it was alive");
            version.end = Some(now);
            version.successor = new.map(|index| ids[index]);
        }
        for ((row, length), id) in ids.into_iter().zip(lengths).zip(first..) {
            self.versions.insert(row, Version { id, length, birth: now, end: None, successor: None });
        }
    }

    fn seen(&self, snapshot: Timestamp) -> impl Iterator<Item = (&RowId, &Version)> {
        let sees = move |version: &Version| {
            version.birth <= snapshot && version.end.is_none_or(|end| end > snapshot)
        };
        self.versions.iter().filter(move |(_, version)| sees(version))
    }

    fn check_scan(&self, snapshot: Timestamp) {
        let heap = &self.rig.heap;
        let mut found = Vec::new();
        for view in heap.segments(snapshot) {
            for start in (0..view.slots()).step_by(128) {
                let words = view.visible(start..start + 128).expect("memory");
                let slots: Vec<u32> = set_slots(&words).map(|slot| start + u32::from(slot)).collect();
                let selection = Selection::Slots(slots.clone());
                let arrays = view.read(&self.rig.schema, &[NAME, ID], &selection).expect("memory");
                let ids = arrays[1].as_primitive::<Int64Type>();
                let names = arrays[0].as_string_view();
                assert_eq!((ids.len(), names.len()), (slots.len(), slots.len()));
                for (index, slot) in slots.into_iter().enumerate() {
                    let name = names.value(index);
                    assert_eq!(name.trim_start(), ids.value(index).to_string());
                    found.push((view.row_id(slot as u16), ids.value(index)));
                }
            }
        }
        let expected: Vec<_> = self.seen(snapshot).map(|(row, version)| (*row, version.id)).collect();
        assert_eq!(found, expected, "the rows at {snapshot}");
        assert_eq!(heap.live_rows(snapshot), expected.len() as u64, "the count at {snapshot}");
    }

    fn check(&mut self) {
        let now = self.rig.last();
        for snapshot in self.live.clone().into_iter().chain([now]) {
            self.check_scan(snapshot);
        }
        let oldest = self.live.first().copied().unwrap_or(now);
        let horizon = self.rig.horizon(&self.live);
        let heap = &self.rig.heap;
        let map = heap.clone().garbage_map(horizon.clone(), &GarbageMemory::new(self.rig.cache.pool()));
        for (row, version) in &self.versions {
            for snapshot in self.live.iter().copied().chain([now]) {
                let expected = version.birth <= snapshot && version.end.is_none_or(|end| end > snapshot);
                assert_eq!(heap.is_live(*row, snapshot).expect("memory"), expected, "{row} at {snapshot}");
            }
            let pinned = self
                .live
                .iter()
                .any(|snapshot| version.birth <= *snapshot && version.end.is_none_or(|end| *snapshot < end));
            let is_garbage = heap.garbage(&horizon).is_garbage(*row);
            assert_eq!(map.is_garbage(*row), is_garbage, "{row}");
            if is_garbage {
                assert!(version.end.is_some() && !pinned, "{row} is garbage and somebody sees it");
            }
            if let (Some(end), true) = (version.end, pinned)
                && end > oldest
            {
                let mark = heap.mark(*row).expect("memory").expect("it is marked");
                assert_eq!(mark.successor, version.successor, "the successor of {row}");
                let told_apart =
                    self.live.iter().any(|snapshot| (*snapshot < end) != (*snapshot < mark.end_ts));
                assert!(!told_apart, "{row} ended at {end}, its mark says {}", mark.end_ts);
            }
            if version.end.is_none() || pinned {
                let stored = heap.row(*row).expect("somebody sees it");
                let values = stored.to_datums(&self.rig.schema).expect("memory");
                assert_eq!(values, Rig::values(version.id, version.length));
                assert_eq!(stored.datum(&self.rig.schema, ID).expect("memory"), values[0]);
            }
        }
    }

    /// Freezes, rewrites and drops what a planner might.
    fn maintain(&mut self) {
        let horizon = self.rig.horizon(&self.live);
        for status in self.rig.heap.segment_statuses(&horizon) {
            if !status.sealed {
                continue;
            }
            let segment = status.segment.get();
            if status.garbage == status.rows {
                self.rig.drop_garbage(segment, &horizon);
            } else if status.garbage * 4 > status.rows || (!status.frozen && self.below(2) == 0) {
                assert!(self.rig.freeze(segment, &horizon));
            }
        }
    }

    fn step(&mut self) {
        match self.below(20) {
            0 => {
                let now = self.rig.last();
                if self.live.last() != Some(&now) {
                    self.live.push(now);
                }
            }
            1 if !self.live.is_empty() => {
                let index = self.below(self.live.len());
                self.live.remove(index);
            }
            2 => self.rig.heap.prune(&self.live, self.rig.last()),
            3 => self.rig.checkpoint(),
            4 => self.maintain(),
            5 if self.below(4) == 0 => {
                self.live.clear();
                match self.below(2) {
                    0 => self.rig.reopen(),
                    _ => self.rig.reopen_pruning(),
                }
            }
            6 => self.check(),
            7 if self.below(4) == 0 => {
                let slots = self.below(200) as u32;
                self.rig.heap.seal_tail(slots);
            }
            _ => self.commit(),
        }
    }
}

fn run(seed: u64, pool_bytes: usize, steps: usize) {
    println!("seed {seed}");
    let rig = Rig::new(60_000, pool_bytes);
    let mut model =
        Model { rig, versions: BTreeMap::new(), live: Vec::new(), random: seed * 2 + 1, next_id: 0 };
    for _ in 0..steps {
        model.step();
    }
    model.check();
    model.live.clear();
    model.rig.checkpoint();
    model.rig.reopen();
    model.check();
    assert!(model.rig.state.heaps[&HEAP].row_end >= RowId::from_parts(SegmentId::new(3), 0));
}

#[test]
fn the_heap_is_a_vector_of_versions() {
    for seed in 1..=5 {
        run(seed, 64 << 20, 400);
    }
}

#[test]
fn the_heap_is_a_vector_of_versions_under_memory_pressure() {
    for seed in 101..=103 {
        run(seed, 1_500_000, 400);
    }
}

#[test]
fn blocks_that_nobody_names_are_freed() {
    let rig = Rig::new(20_000, 64 << 20);
    let mut model = Model { rig, versions: BTreeMap::new(), live: Vec::new(), random: 4_711, next_id: 0 };
    for round in 0..60 {
        for _ in 0..5 {
            model.commit();
        }
        if round % 3 == 0 {
            model.rig.checkpoint();
        }
        model.maintain();
    }
    model.rig.checkpoint();
    model.rig.heap.prune(&[], model.rig.last());
    assert_eq!(model.rig.store.used_bytes(), model.rig.named_bytes());
    model.rig.heap.retire();
    let empty = Rig::new(1, 1 << 20);
    model.rig.heap = empty.heap;
    assert_eq!(model.rig.store.used_bytes(), 0, "a heap that was dropped leaves nothing");
}
