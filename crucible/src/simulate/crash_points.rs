//! A crash at every point: one run of a fixed workload, and crash clones right before and after each sync, create, rename
//! and remove of it.
//!
//! Each point is left in four ways: nothing that was not synced has survived, all of it has, and two seeded mixtures of
//! whole, torn and lost writes and names. Every clone must open, hold a prefix of the commits with all that were known
//! at that moment, and be clean; and so it must be after one more commit, after VACUUM, and when it is closed and opened again.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use strata_core::block::FileBlockStoreOptions;
use strata_core::lsm::{LsmOptions, TableOptions};
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::table::Isolation;
use strata_core::vfs::{MemVfs, Random as Chance, SeededRandom};
use strata_core::{Database, Options, Sizes};

use super::action::{Action, Change, Step};
use super::model::{Progress, State};
use super::plan::{Config, Plan};
use super::stop::Stop;
use super::tally::{Did, Tally};
use super::watch::{WatchVfs, Watcher};
use super::world::{DIR, World};
use super::{probe, verify};
use crate::random::Random;

/// What a sweep did.
#[derive(Clone, Debug)]
pub struct Swept {
    /// Moments at which the power could fail.
    pub points: u64,
    /// Clones opened and compared.
    pub clones: u64,
    /// Of those, by how much of the commits in doubt was there: none, some, all.
    pub in_doubt: [u64; 3],
    /// What the workload did.
    pub tally: Tally,
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [none, some, all] = self.in_doubt;
        write!(
            f,
            "{} points, {} clones opened; of the commits in doubt none were there {none} times, some {some}, all {all}; \
             the workload: {}",
            self.points, self.clones, self.tally
        )
    }
}

/// A moment, and what a power cut then leaves.
#[derive(Debug)]
struct Point {
    what: String,
    known: u64,
    last: u64,
    left: Vec<MemVfs>,
}

/// Takes the clones.
#[derive(Debug)]
struct Cloner {
    stride: u64,
    start: u64,
    calls: AtomicU64,
    progress: Arc<Progress>,
    points: Mutex<Vec<Point>>,
}

/// Always the same choice: the first of four keeps nothing, the second all.
#[derive(Debug)]
struct Always(u64);

impl Chance for Always {
    fn next_u64(&self) -> u64 {
        self.0 << 62
    }
}

impl Cloner {
    /// How many points there are.
    fn taken(&self) -> usize {
        self.points.lock().expect("nobody panics here").len()
    }

    /// The points from the `from`-th on may have more commits than was known then: those of maintenance.
    fn may_end_at(&self, from: usize, last: u64) {
        for point in &mut self.points.lock().expect("nobody panics here")[from..] {
            point.last = last;
        }
    }
}

impl Watcher for Cloner {
    fn call(&self, files: &MemVfs, what: &str) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call % self.stride != self.start {
            return;
        }
        let mut left = vec![files.crash_clone(&Always(0)), files.crash_clone(&Always(1))];
        left.extend([2 * call, 2 * call + 1].map(|seed| files.crash_clone(&SeededRandom::new(seed))));
        let (known, last) = (self.progress.known(), self.progress.last());
        self.points.lock().expect("nobody panics here").push(Point {
            what: format!("call {call}, {what}"),
            known,
            last,
            left,
        });
    }
}

/// What must have been under way at some point.
const WORK: [Did; 13] = [
    Did::Load,
    Did::Definition,
    Did::SnapshotDefinition,
    Did::View,
    Did::Schema,
    Did::NotNull,
    Did::IndexBuild,
    Did::Freeze,
    Did::SparseRewrite,
    Did::Move,
    Did::Flush,
    Did::Compaction,
    Did::Checkpoint,
];

/// Runs the workload and opens what is left at every `stride`-th call, from the `start`-th on. A stride should be odd: calls are told
/// of before and after, by turns.
///
/// # Errors
/// In words, the point and what was wrong there; and what the workload did not do.
pub fn sweep(stride: u64, start: u64) -> Result<Swept, String> {
    let plan = workload();
    let progress = Arc::new(Progress::default());
    let cloner = Arc::new(Cloner {
        stride,
        start: start % stride,
        calls: AtomicU64::new(0),
        progress: progress.clone(),
        points: Mutex::default(),
    });
    let files = MemVfs::new();
    let vfs = WatchVfs::new(files.clone(), cloner.clone());
    let mut world = World::watched(&plan.config, files, Arc::new(vfs), progress.clone())?;
    for (number, step) in plan.steps.iter().enumerate() {
        let begun = cloner.taken();
        world.step(step).map_err(|what| format!("the workload's step {number} {step:?}: {what}"))?;
        if matches!(step, Step::Maintain | Step::Vacuum) {
            cloner.may_end_at(begun, progress.last());
        }
    }
    let tally = world.tally();
    if let Some(never) = WORK.into_iter().find(|did| tally.of(*did) == 0) {
        return Err(format!("the workload has no {never:?}: {tally}"));
    }
    let begun = cloner.taken();
    world.end()?;
    // Its last commit, which is noted once it is made.
    cloner.may_end_at(begun, progress.last());
    let points = std::mem::take(&mut *cloner.points.lock().expect("nobody panics here"));
    let calls = cloner.calls.load(Ordering::SeqCst);
    let mut swept = Swept { points: calls, clones: 0, in_doubt: [0; 3], tally };
    for point in &points {
        for (way, left) in point.left.iter().enumerate() {
            let last = reopen(&world, &plan.config, point, left)
                .map_err(|what| format!("{}, way {way}: {what}", point.what))?;
            swept.clones += 1;
            if point.known < point.last {
                let place = if last == point.known { 0 } else { 1 + usize::from(last == point.last) };
                swept.in_doubt[place] += 1;
            }
        }
    }
    Ok(swept)
}

/// Opens what a crash left, and goes on with it; the last commit there.
fn reopen(world: &World, config: &Config, point: &Point, left: &MemVfs) -> Result<u64, String> {
    let open = || {
        let (vfs, options) = (Arc::new(left.clone()), config.options.clone());
        Database::open_with_vfs(vfs, Path::new(DIR), options)
            .map_err(|error| format!("cannot be opened: {error}"))
    };
    let database = open()?;
    let last = database.last_commit().get();
    if last < point.known || last > point.last {
        let (known, made) = (point.known, point.last);
        return Err(format!("commit {known} was known, {made} made, and {last} is the last one there"));
    }
    let mut state = world.state(last)?;
    let holds = |database: &Database, state: &State, how: &str| {
        holds(database, state).map_err(|what| format!("at commit {last}, {how}: {what}"))
    };
    holds(&database, &state, "opened")?;
    // What opening did is only right if the next commit and the next maintenance can build on it.
    if let Some(write) = probe::one_more_row(&database, NEW_TAG)? {
        state.apply(&write, last + 1)?;
    }
    holds(&database, &state, "after one more commit")?;
    database.vacuum().map_err(|error| format!("at commit {last}, vacuum: {error}"))?;
    holds(&database, &state, "after vacuum")?;
    drop(database);
    holds(&open()?, &state, "closed and opened again")?;
    Ok(last)
}

/// A row that no workload has.
const NEW_TAG: i64 = 1 << 40;

/// Fails unless the database shows just this, and is sound.
fn holds(database: &Database, state: &State) -> Result<(), String> {
    verify::all(&database.view(), state).map_err(Stop::into_words)?;
    let report = database.check();
    match report.is_clean() {
        true => Ok(()),
        false => Err(format!("check found: {}", report.problems.join("; "))),
    }
}

fn config() -> Config {
    let table = TableOptions { table_bytes: 4 << 10, block_bytes: 512, ..TableOptions::default() };
    let index = LsmOptions {
        table,
        level_0_runs: 2,
        level_1_bytes: 16 << 10,
        level_growth: 3,
        compaction_bytes: 64 << 10,
    };
    let thresholds = MaintenanceOptions {
        memtable_bytes: 2 << 10,
        journal_bytes: 24 << 10,
        freeze_idle_segments: true,
        tail_slots: 8,
        move_share: 2,
    };
    let options = Options {
        memory_bytes: 64 << 20,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(thresholds),
        sync_thread: false,
        sizes: Sizes {
            segment_bytes: 2 << 10,
            bulk_rows: 32,
            beside_bytes: 1,
            encode_threads: 0,
            own_rows: 4,
            journal_file_bytes: 12 << 10,
            manifest_growth_bytes: 8 << 10,
            blocks: FileBlockStoreOptions { slack_bytes: 0, punch_bytes: 1 },
            index,
        },
    };
    Config { options, clients: 3, keys: 200, usual_level: Isolation::ReadCommitted }
}

/// Transactions of three clients over three tables, loads, DDL, and maintenance of every kind.
fn workload() -> Plan {
    let mut random = Random::new(7);
    // Of its own, so that what was drawn before it was there stays as it was.
    let mut later = Random::new(8);
    let mut steps = Vec::new();
    let client = |steps: &mut Vec<Step>, client: usize, action| steps.push(Step::Client { client, action });
    let define =
        |change, random: &mut Random| Action::Define { table: random.next(), change, seed: random.next() };
    for _ in 0..4 {
        client(&mut steps, 0, define(Change::CreateTable, &mut random));
    }
    client(&mut steps, 0, Action::Commit);
    steps.push(Step::Sync);
    for round in 0..40_u64 {
        for place in 0..3 {
            for _ in 0..5 {
                let (table, pick, seed) = (random.next(), random.next(), random.next());
                let action = match random.within(0..10) {
                    0..5 => Action::Insert { table, seed },
                    5..8 => Action::Update { table, pick, new_key: true, seed },
                    _ => Action::Delete { table, pick },
                };
                client(&mut steps, place, action);
            }
            if round % 5 == place as u64 {
                let (table, rows, seed) = (random.next(), random.next(), random.next());
                client(&mut steps, place, Action::Load { table, rows, seed });
            }
            client(&mut steps, place, Action::Commit);
        }
        let change = match round {
            8 | 30 => Some(Change::CreateIndex),
            12 | 25 => Some(Change::AddColumn),
            16 => Some(Change::DropIndex),
            20 => Some(Change::Truncate),
            28 => Some(Change::DropColumn),
            33 => Some(Change::DropTable),
            35 => Some(Change::CreateTable),
            _ => None,
        };
        if let Some(change) = change {
            take_note(&mut steps, round);
            client(&mut steps, 0, define(change, &mut random));
            client(&mut steps, 0, Action::Commit);
        }
        for change in later_changes(round) {
            take_note(&mut steps, round);
            client(&mut steps, 1, Action::Begin { level: Isolation::RepeatableRead });
            client(&mut steps, 1, define(*change, &mut later));
            client(&mut steps, 1, Action::Commit);
        }
        // Now and then commits are still in doubt while maintenance works.
        if round % 3 != 0 {
            steps.push(Step::Sync);
        }
        steps.extend([Step::Maintain; 3]);
        if round % 9 == 4 {
            steps.push(Step::Checkpoint);
        }
        if round % 15 == 14 {
            steps.extend([Step::Vacuum, Step::Maintain]);
        }
        take_note(&mut steps, round);
    }
    Plan { config: config(), steps }
}

/// The commits that are under way end, and their clients take note of it.
fn take_note(steps: &mut Vec<Step>, table: u64) {
    steps.push(Step::Sync);
    let scan = |client| Step::Client { client, action: Action::Scan { table } };
    steps.extend((0..3).map(scan));
}

/// Changes of names and constraints after a round, above READ COMMITTED. What they pick may not be there: so most come more than once.
fn later_changes(round: u64) -> &'static [Change] {
    match round {
        2 | 17 => &[Change::CreateSchema, Change::CreateView],
        5 | 23 => &[Change::CreateTableInSchema, Change::SetDefault],
        7 | 21 => &[Change::AddColumnNotNull, Change::CreateIndexOfAdded],
        10 | 26 => &[Change::ReplaceView, Change::SetNotNull],
        14 | 32 => &[Change::RenameView, Change::RenameTable],
        18 | 34 => &[Change::DropNotNull, Change::RenameColumn],
        24 | 37 => &[Change::DropSchema, Change::DropView],
        29 => &[Change::CreateView, Change::SetNotNull, Change::DropSchema],
        _ => &[],
    }
}
