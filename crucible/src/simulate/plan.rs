//! From a seed to a run: how the database is opened, and the steps.
//!
//! Each seed draws its own weights for the kinds of steps, some of them zero, as swarm testing does (Groce and others,
//! "Swarm testing", 2012): a run in which everything happens a little misses what only much of one thing shows.

use strata_core::block::FileBlockStoreOptions;
use strata_core::lsm::{LsmOptions, TableOptions};
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::table::Isolation;
use strata_core::{Options, Sizes};

use super::action::{Action, Change, Effect, Step};
use crate::random::Random;

/// How a run's database is opened and who works on it.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) options: Options,
    pub(super) clients: usize,
    pub(super) keys: u64,
    /// The level of transactions that begin without being told to.
    pub(super) usual_level: Isolation,
}

/// With less memory than this, a run may be short of it.
const LITTLE_MEMORY_BYTES: usize = 16 << 20;

impl Config {
    /// Whether a run may be short of memory.
    pub(super) fn has_little_memory(&self) -> bool {
        self.options.memory_bytes < LITTLE_MEMORY_BYTES
    }
}

/// A run: what a seed stands for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) steps: Vec<Step>,
}

/// What may happen, with how often it does beside the others.
struct Weights {
    actions: Vec<(u64, Kind)>,
    /// The level of transactions that are not READ COMMITTED.
    snapshot_level: Isolation,
    world: Vec<(u64, Event)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Begin,
    Insert,
    Update,
    Delete,
    Lock,
    Get,
    Range,
    Scan,
    Filter,
    ReadAll,
    Hold,
    ReadHeld,
    Save,
    RollBackTo,
    Load,
    Define,
    Commit,
    RollBack,
}

#[derive(Clone, Copy)]
enum Event {
    Sync,
    Maintain,
    Vacuum,
    Checkpoint,
    Fault,
    Reopen,
    Crash,
    Check,
    GiveUp,
}

impl Plan {
    /// The run of this seed, of about so many steps.
    pub(super) fn of_seed(seed: u64, count: usize) -> Self {
        let mut random = Random::new(seed);
        // Of its own, so that what was drawn before it was there stays as it was.
        let mut later = Random::new(seed.rotate_left(32));
        let blocks = blocks(&mut later);
        let mut config = config(&mut random);
        config.options.sizes.blocks = blocks;
        let thresholds = config.options.thresholds.as_mut().expect("drawn");
        thresholds.move_share = [2, 3, 5, 16][later.within(0..4) as usize];
        if later.chance(1, 3) {
            // Segments that are soon full, and soon nearly empty.
            config.options.sizes.segment_bytes = 512;
            thresholds.move_share = 2;
        }
        let level = if later.chance(1, 2) { Isolation::Serializable } else { Isolation::RepeatableRead };
        if later.chance(1, 5) {
            config.options.memory_bytes = [3 << 20, 4 << 20, 6 << 20][later.within(0..3) as usize];
        }
        if later.chance(1, 2) {
            config.usual_level = level;
        }
        let weights = weights(&mut random, level);
        let mut steps = Vec::with_capacity(count);
        let level = Isolation::ReadCommitted;
        steps.push(Step::Client { client: 0, action: Action::Begin { level } });
        for table in 0..3 {
            let (change, seed) = (Change::CreateTable, random.next());
            steps.push(Step::Client { client: 0, action: Action::Define { table, change, seed } });
        }
        steps.push(Step::Client { client: 0, action: Action::Commit });
        steps.push(Step::Sync);
        let first = steps.len();
        while steps.len() < count {
            // Where clients work three times as often as the rest of the world.
            if random.chance(3, 4) {
                let client = random.within(0..config.clients as u64) as usize;
                steps.push(Step::Client { client, action: action(&weights, &mut random) });
            } else {
                event(&weights, &mut random, &mut steps);
            }
        }
        let definitions = with_definitions(steps.split_off(first), &config, &mut later);
        steps.extend(definitions);
        Self { config, steps }
    }
}

/// Steps with more DDL between them, at all levels: in some runs much, in some none.
fn with_definitions(steps: Vec<Step>, config: &Config, random: &mut Random) -> Vec<Step> {
    let one_in = [6, 12, 24, 0][random.within(0..4) as usize];
    let levels = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];
    let mut with_more = Vec::with_capacity(steps.len());
    for step in steps {
        with_more.push(step);
        if one_in == 0 || !random.chance(1, one_in) {
            continue;
        }
        let client = random.within(0..config.clients as u64) as usize;
        let mut push = |action| with_more.push(Step::Client { client, action });
        if random.chance(1, 3) {
            // What the snapshot shows is older than what is changed then, if others come between.
            push(Action::Begin { level: levels[random.within(0..3) as usize] });
            push(Action::ReadAll);
        } else {
            let (table, change, seed) = (random.next(), later_change(random), random.next());
            push(Action::Define { table, change, seed });
            if random.chance(2, 3) {
                push(Action::Commit);
            }
        }
    }
    with_more
}

/// Of all changes, those most often that [`change`] does not draw.
fn later_change(random: &mut Random) -> Change {
    match random.within(0..26) {
        0..4 => Change::CreateView,
        4 => Change::ReplaceView,
        5 => Change::RenameView,
        6 | 7 => Change::DropView,
        8..11 => Change::CreateSchema,
        11 => Change::DropSchema,
        12 => Change::CreateTableInSchema,
        13..16 => Change::SetNotNull,
        16 => Change::DropNotNull,
        17 => Change::SetDefault,
        18 => Change::DropDefault,
        19 | 20 => Change::AddColumnNotNull,
        21 => Change::CreateIndexOfAdded,
        _ => change(random),
    }
}

fn config(random: &mut Random) -> Config {
    let one_of = |random: &mut Random, values: &[u64]| values[random.within(0..values.len() as u64) as usize];
    let table = TableOptions {
        table_bytes: one_of(random, &[2 << 10, 16 << 10, 1 << 20]) as usize,
        block_bytes: one_of(random, &[256, 1 << 10, 8 << 10]) as usize,
        ..TableOptions::default()
    };
    let index = LsmOptions {
        table,
        level_0_runs: random.within(2..5) as usize,
        level_1_bytes: one_of(random, &[4 << 10, 32 << 10]),
        level_growth: random.within(2..5),
        compaction_bytes: one_of(random, &[16 << 10, 1 << 20]),
    };
    let segment_bytes = one_of(random, &[1 << 10, 4 << 10, 20 << 10, 1 << 20]);
    let bulk_rows = one_of(random, &[16, 48, 100]) as usize;
    let own_rows = match bulk_rows {
        16 => 2,
        48 => 5,
        _ => 65_536,
    };
    let sizes = Sizes {
        segment_bytes,
        bulk_rows,
        // Drawn with the rest: another draw would change what each seed does.
        beside_bytes: if bulk_rows == 16 { usize::MAX } else { 1 },
        encode_threads: 0,
        own_rows,
        journal_file_bytes: one_of(random, &[12 << 10, 32 << 10, 1 << 20]),
        manifest_growth_bytes: one_of(random, &[4 << 10, 64 << 10, 4 << 20]),
        blocks: FileBlockStoreOptions::default(),
        index,
    };
    let thresholds = MaintenanceOptions {
        memtable_bytes: one_of(random, &[1 << 10, 8 << 10, 1 << 20]) as usize,
        journal_bytes: one_of(random, &[8 << 10, 64 << 10, 1 << 20]),
        freeze_idle_segments: random.chance(3, 4),
        tail_slots: one_of(random, &[1, 8, 8_192]) as u32,
        move_share: 16,
    };
    let options = Options {
        memory_bytes: one_of(random, &[16 << 20, 64 << 20, 256 << 20]) as usize,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(thresholds),
        sync_thread: false,
        sizes,
    };
    let (clients, keys) = (random.within(1..6) as usize, one_of(random, &[3, 12, 60, 1_000]));
    Config { options, clients, keys, usual_level: Isolation::ReadCommitted }
}

fn blocks(random: &mut Random) -> FileBlockStoreOptions {
    let usual = FileBlockStoreOptions::default();
    let slack_bytes = [0, 8 << 10, usual.slack_bytes][random.within(0..3) as usize];
    let punch_bytes = [1, 16 << 10, usual.punch_bytes][random.within(0..3) as usize];
    FileBlockStoreOptions { slack_bytes, punch_bytes }
}

fn weights(random: &mut Random, snapshot_level: Isolation) -> Weights {
    let mut drawn = |usual: u64, may_miss: bool| {
        if may_miss && random.chance(1, 4) { 0 } else { 1 + random.within(0..2 * usual) }
    };
    Weights {
        snapshot_level,
        actions: vec![
            (drawn(8, false), Kind::Commit),
            (drawn(2, true), Kind::Begin),
            (drawn(12, false), Kind::Insert),
            (drawn(10, true), Kind::Update),
            (drawn(5, true), Kind::Delete),
            (drawn(2, true), Kind::Lock),
            (drawn(3, true), Kind::Get),
            (drawn(3, true), Kind::Range),
            (drawn(3, true), Kind::Scan),
            (drawn(3, true), Kind::Filter),
            (drawn(1, false), Kind::ReadAll),
            (drawn(1, true), Kind::Hold),
            (drawn(2, true), Kind::ReadHeld),
            (drawn(2, true), Kind::Save),
            (drawn(2, true), Kind::RollBackTo),
            (drawn(2, true), Kind::Load),
            (drawn(2, true), Kind::Define),
            (drawn(1, true), Kind::RollBack),
        ],
        world: vec![
            (drawn(40, false), Event::Sync),
            (drawn(20, true), Event::Maintain),
            (drawn(2, true), Event::Vacuum),
            (drawn(4, true), Event::Checkpoint),
            (drawn(2, true), Event::Fault),
            (drawn(1, true), Event::Reopen),
            (drawn(2, true), Event::Crash),
            (drawn(1, true), Event::Check),
            (drawn(3, true), Event::GiveUp),
        ],
    }
}

fn draw<T: Copy>(weights: &[(u64, T)], random: &mut Random) -> T {
    let sum = weights.iter().map(|(weight, _)| weight).sum();
    let mut at = random.within(0..sum);
    for (weight, kind) in weights {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    unreachable!("the place is below the sum of the weights")
}

fn action(weights: &Weights, random: &mut Random) -> Action {
    let (table, pick, seed) = (random.next(), random.next(), random.next());
    let coin = random.chance(1, 2);
    match draw(&weights.actions, random) {
        Kind::Begin => {
            Action::Begin { level: if coin { weights.snapshot_level } else { Isolation::ReadCommitted } }
        }
        Kind::Insert => Action::Insert { table, seed },
        Kind::Update => Action::Update { table, pick, new_key: coin, seed },
        Kind::Delete => Action::Delete { table, pick },
        Kind::Lock => Action::Lock { table, pick, mode: seed },
        Kind::Get => Action::Get { table, pick, seed },
        Kind::Range => Action::Range { table, pick, seed, reverse: coin },
        Kind::Scan => Action::Scan { table },
        Kind::Filter => Action::Filter { table, seed },
        Kind::ReadAll => Action::ReadAll,
        Kind::Hold => Action::Hold,
        Kind::ReadHeld => Action::ReadHeld { keep: coin },
        Kind::Save => Action::Save,
        Kind::RollBackTo => Action::RollBackTo { pick },
        Kind::Load => Action::Load { table, rows: pick, seed },
        Kind::Define => Action::Define { table, change: change(random), seed },
        Kind::Commit => Action::Commit,
        Kind::RollBack => Action::RollBack,
    }
}

fn change(random: &mut Random) -> Change {
    match random.within(0..12) {
        0 | 1 => Change::CreateTable,
        2 => Change::DropTable,
        3 => Change::Truncate,
        4 | 5 => Change::CreateIndex,
        6 => Change::DropIndex,
        7 | 8 => Change::AddColumn,
        9 => Change::RenameColumn,
        10 => Change::RenameTable,
        _ => Change::DropColumn,
    }
}

fn event(weights: &Weights, random: &mut Random, steps: &mut Vec<Step>) {
    let step = match draw(&weights.world, random) {
        Event::Sync => Step::Sync,
        Event::Maintain => Step::Maintain,
        Event::Vacuum => Step::Vacuum,
        Event::Checkpoint => Step::Checkpoint,
        Event::Reopen => Step::Reopen,
        Event::Check => Step::Check,
        Event::GiveUp => Step::GiveUp { client: random.within(0..5) as usize },
        Event::Crash => crash(random),
        Event::Fault => {
            fault(weights, random, steps);
            return;
        }
    };
    steps.push(step);
}

fn crash(random: &mut Random) -> Step {
    let open_fault = random.chance(1, 3).then(|| random.within(0..120));
    Step::Crash { seed: random.next(), open_fault }
}

/// A fault, what meets it, and the way back.
fn fault(weights: &Weights, random: &mut Random, steps: &mut Vec<Step>) {
    let effects = [Effect::InputOutput, Effect::DiskFull, Effect::ShortRead, Effect::ShortWrite];
    let effect = effects[random.within(0..4) as usize];
    let (at, for_ever) = (random.within(0..30), random.chance(1, 3));
    steps.push(Step::Fault { at, effect, for_ever });
    for _ in 0..random.within(0..24) {
        let client = random.within(0..5) as usize;
        steps.push(match random.within(0..6) {
            0 => Step::Sync,
            1 => Step::Maintain,
            2 => [Step::Checkpoint, Step::Vacuum][random.within(0..2) as usize],
            _ => Step::Client { client, action: action(weights, random) },
        });
    }
    let ends = [Step::Heal, Step::Reopen, crash(random)];
    let end = ends[random.within(0..3) as usize];
    if matches!(end, Step::Crash { .. }) || random.chance(1, 2) {
        steps.push(end);
    } else {
        steps.extend([Step::Heal, end]);
    }
}
