//! The planner, on versions made of metas alone: nothing is read.

use std::sync::Arc;

use crate::block::{BlockStore, MemBlockStore};
use crate::cache::{CacheOptions, PageCache};
use crate::ids::{BlockId, RowId};
use crate::lsm::compaction::plan::{CompactionPlan, plan, plan_all};
use crate::lsm::key::PositionBuf;
use crate::lsm::options::LsmOptions;
use crate::lsm::sstable::table::SsTable;
use crate::lsm::tree::open_table;
use crate::lsm::version::{PlacedTable, Version};
use crate::manifest::SsTableMeta;
use crate::memory::MemoryPool;
use crate::vfs::{Random, SeededRandom};

/// Makes tables of 100 bytes out of their bounds.
struct Maker {
    cache: Arc<PageCache>,
    next_block: u64,
    placed: Vec<PlacedTable>,
}

impl Maker {
    fn new() -> Self {
        let store: Arc<dyn BlockStore> = Arc::new(MemBlockStore::new());
        let cache = PageCache::new(store, MemoryPool::new(1 << 20), CacheOptions::default());
        Self { cache, next_block: 1, placed: Vec::new() }
    }

    /// A table from (key, row) to (key, row).
    fn table(mut self, level: u8, sequence: u64, smallest: (&str, u64), largest: (&str, u64)) -> Self {
        let bound = |(key, row): (&str, u64)| {
            let prefix = [&[0, 0, 0, 1], key.as_bytes()].concat();
            PositionBuf { prefix, row: RowId::new(row) }.as_position().encode()
        };
        let meta = SsTableMeta {
            block: BlockId::from_extent(self.next_block, 1).expect("small"),
            level,
            sequence,
            row_base: 0,
            entries: 1,
            payload_bytes: 100,
            smallest: bound(smallest),
            largest: bound(largest),
        };
        self.next_block += 1;
        let table = Arc::new(open_table(&self.cache, &meta).expect("sound bounds"));
        self.placed.push(PlacedTable { level, sequence, table });
        self
    }

    fn version(&self) -> Version {
        Version::new(self.placed.clone())
    }
}

fn options() -> LsmOptions {
    LsmOptions {
        level_0_runs: 2,
        level_1_bytes: 200,
        level_growth: 3,
        compaction_bytes: 1000,
        ..LsmOptions::default()
    }
}

/// The blocks of a plan's inputs by level, as (level, first page).
fn inputs(plan: &CompactionPlan) -> Vec<(u8, u64)> {
    let all = plan
        .inputs
        .iter()
        .flat_map(|input| input.run.tables().iter().map(|table| (input.level, table.block().first_page())));
    all.collect()
}

#[test]
fn nothing_is_due_in_a_small_tree() {
    let maker = Maker::new().table(0, 1, ("a", 1), ("z", 2)).table(1, 0, ("a", 0), ("b", 0));
    assert!(plan(&maker.version(), u64::MAX, &options()).is_none());
    assert!(plan_all(&Maker::new().version(), u64::MAX).is_none());
}

#[test]
fn the_oldest_runs_go_first_and_none_above_the_floor() {
    let maker = Maker::new()
        .table(0, 9, ("a", 9), ("z", 9))
        .table(0, 3, ("a", 3), ("z", 3))
        .table(0, 5, ("a", 5), ("z", 5))
        .table(1, 0, ("a", 0), ("b", 0));
    let version = maker.version();
    let all = plan(&version, u64::MAX, &options()).expect("three runs");
    assert_eq!(
        (inputs(&all), all.output_level, all.is_move),
        (vec![(0, 1), (0, 3), (0, 2), (1, 4)], 1, false)
    );
    let below = plan(&version, 9, &options()).expect("two runs below 9");
    assert_eq!(inputs(&below), [(0, 3), (0, 2), (1, 4)]);
    assert!(plan(&version, 5, &options()).is_none(), "one run below 5");
    let few = LsmOptions { compaction_bytes: 150, ..options() };
    assert_eq!(inputs(&plan(&version, 9, &few).expect("due")), [(0, 2), (1, 4)], "the oldest alone");
}

#[test]
fn a_run_that_fits_between_the_tables_below_only_moves() {
    let maker = Maker::new()
        .table(0, 1, ("c", 1), ("d", 1))
        .table(0, 1, ("x", 1), ("y", 1))
        .table(1, 0, ("a", 0), ("b", 0))
        .table(1, 0, ("e", 0), ("f", 0))
        .table(0, 2, ("c", 2), ("d", 2));
    let few = LsmOptions { compaction_bytes: 250, ..options() };
    let plan = plan(&maker.version(), u64::MAX, &few).expect("two runs");
    assert_eq!((inputs(&plan), plan.is_move, plan.output_level), (vec![(0, 1), (0, 2)], true, 1));
}

#[test]
fn a_large_run_goes_down_in_parts_that_share_no_key() {
    let maker = Maker::new()
        .table(0, 1, ("a", 9), ("b", 7))
        .table(0, 1, ("b", 6), ("c", 7))
        .table(0, 1, ("c", 6), ("d", 7))
        .table(0, 1, ("e", 6), ("f", 7))
        .table(0, 2, ("a", 20), ("b", 20))
        .table(1, 0, ("d", 1), ("e", 1))
        .table(1, 0, ("f", 1), ("g", 1));
    let few = LsmOptions { compaction_bytes: 150, ..options() };
    let plan = plan(&maker.version(), u64::MAX, &few).expect("two runs");
    assert_eq!(inputs(&plan), [(0, 1), (0, 2), (0, 3), (1, 6)]);
}

#[test]
fn a_full_level_sends_down_what_overlaps_least() {
    let maker = Maker::new()
        .table(1, 0, ("a", 9), ("c", 9))
        .table(1, 0, ("d", 9), ("e", 9))
        .table(1, 0, ("g", 9), ("h", 9))
        .table(2, 0, ("a", 1), ("b", 1))
        .table(2, 0, ("c", 1), ("d", 1))
        .table(2, 0, ("g", 1), ("h", 5));
    let plan = plan(&maker.version(), u64::MAX, &options()).expect("300 of 200 bytes");
    assert_eq!((inputs(&plan), plan.output_level, plan.is_move), (vec![(1, 2), (2, 5)], 2, false));
}

#[test]
fn what_overlaps_nothing_moves_as_far_as_the_level_is_too_full() {
    let maker = Maker::new()
        .table(1, 0, ("a", 9), ("b", 9))
        .table(1, 0, ("c", 9), ("d", 9))
        .table(1, 0, ("e", 9), ("f", 9))
        .table(1, 0, ("g", 9), ("h", 9));
    let plan = plan(&maker.version(), u64::MAX, &options()).expect("400 of 200 bytes");
    assert_eq!((inputs(&plan), plan.output_level, plan.is_move), (vec![(1, 1), (1, 2), (1, 3)], 2, true));
}

#[test]
fn a_full_compaction_takes_all_below_the_floor_into_the_deepest_level() {
    let maker = Maker::new()
        .table(0, 9, ("a", 9), ("z", 9))
        .table(0, 3, ("a", 3), ("z", 3))
        .table(1, 0, ("a", 2), ("b", 2))
        .table(3, 0, ("a", 1), ("b", 1));
    let plan = plan_all(&maker.version(), 9).expect("tables");
    assert_eq!((inputs(&plan), plan.output_level, plan.is_move), (vec![(0, 2), (1, 3), (3, 4)], 3, false));
}

/// Where a table is searched: level, then (level 0) newest first, then place in its run.
type Place = (u8, u64, usize);

#[test]
fn no_plan_takes_a_table_below_an_older_one_that_shares_a_key() {
    for seed in 0..300 {
        println!("seed {seed}");
        let random = SeededRandom::new(seed);
        let version = random_version(&random);
        let mut all: Vec<(Place, Arc<SsTable>)> = Vec::new();
        for run in version.level_0() {
            let place = |at| (0, u64::MAX - run.sequence(), at);
            all.extend(run.tables().iter().enumerate().map(|(at, table)| (place(at), Arc::clone(table))));
        }
        for (level, run) in (1..).zip(version.deeper()) {
            let tables = run.tables().iter().enumerate();
            all.extend(tables.map(|(at, table)| ((level, 0, at), Arc::clone(table))));
        }
        let floor = if random.chance(1, 2) { u64::MAX } else { random.below(12) };
        let options = LsmOptions { compaction_bytes: 100 + random.below(600), ..options() };
        let plan =
            if random.chance(1, 10) { plan_all(&version, floor) } else { plan(&version, floor, &options) };
        let Some(plan) = plan else { continue };
        let taken = |table: &SsTable| {
            plan.inputs
                .iter()
                .any(|input| input.run.tables().iter().any(|other| other.block() == table.block()))
        };
        for (from, input) in all.iter().filter(|(_, table)| taken(table)) {
            assert!(from.0 > 0 || u64::MAX - from.1 < floor, "seed {seed}: a run above the floor");
            for (place, stays) in all.iter().filter(|(_, table)| !taken(table)) {
                let apart = input.largest().prefix < stays.smallest().prefix
                    || stays.largest().prefix < input.smallest().prefix;
                let sinks_below = place > from && place.0 < plan.output_level;
                let meets = place.0 == plan.output_level && from.0 < plan.output_level;
                assert!(apart || !(sinks_below || meets), "seed {seed}: {input:?} passes {stays:?}");
            }
        }
    }
}

/// Runs of up to four tables on few keys, so that many share one.
fn random_version(random: &SeededRandom) -> Version {
    let mut maker = Maker::new();
    let runs =
        (0..random.below(6)).map(|sequence| (0, sequence * 2 + 1)).chain((1..5).map(|level| (level, 0)));
    for (level, sequence) in runs.collect::<Vec<_>>() {
        let mut at = random.below(10);
        let mut row = 1000;
        for _ in 0..random.below(5) {
            let end = at + random.below(3);
            let name = |number: u64| format!("k{number:03}");
            maker = maker.table(level, sequence, (&name(at), row), (&name(end), row - 1));
            row -= 2;
            at = end + random.below(3);
        }
    }
    maker.version()
}
