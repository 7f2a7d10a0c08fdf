//! What to compact next: pure.

use std::ops::Range;
use std::sync::Arc;

use crate::lsm::options::LsmOptions;
use crate::lsm::sstable::table::SsTable;
use crate::lsm::version::{LEVELS, Run, Version};

/// Tables that one compaction takes from one run.
#[derive(Clone, Debug)]
pub struct PlannedInput {
    /// The level that they leave.
    pub level: u8,
    pub(crate) run: Arc<Run>,
}

/// One compaction.
#[derive(Clone, Debug)]
pub struct CompactionPlan {
    /// What is taken, newest first.
    pub inputs: Vec<PlannedInput>,
    /// The level that it goes to.
    pub output_level: u8,
    /// Whether the tables only change their level: nothing overlaps them there.
    pub is_move: bool,
}

impl CompactionPlan {
    /// Payload bytes of the inputs.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.run.bytes()).sum()
    }
}

/// The most urgent compaction, if any is due. Only runs of level 0 with a sequence below `floor` may be taken.
pub fn plan(version: &Version, floor: u64, options: &LsmOptions) -> Option<CompactionPlan> {
    let eligible = eligible_runs(version, floor);
    let mut best = (eligible.len() as f64 / options.level_0_runs.max(1) as f64, 0);
    for level in 1..LEVELS - 1 {
        let bytes = version.level(level).map_or(0, |run| run.bytes());
        let fullness = bytes as f64 / level_limit_bytes(level, options) as f64;
        if fullness > best.0 {
            best = (fullness, level);
        }
    }
    match best {
        (fullness, _) if fullness < 1.0 => None,
        (_, 0) => plan_level_0(version, &eligible, options),
        (_, level) => plan_level(version, level, options),
    }
}

/// A compaction of everything that may be taken into the deepest level in use: what VACUUM does.
pub fn plan_all(version: &Version, floor: u64) -> Option<CompactionPlan> {
    let eligible = eligible_runs(version, floor);
    let deepest =
        (1..LEVELS).rev().find(|level| version.level(*level).is_some_and(|run| !run.tables().is_empty()));
    let mut inputs: Vec<PlannedInput> = eligible.iter().rev().map(|run| whole(0, run)).collect();
    for (level, run) in (1..LEVELS).zip(version.deeper()) {
        if !run.tables().is_empty() {
            inputs.push(whole(level, run));
        }
    }
    let output_level = deepest.unwrap_or(1);
    (!inputs.is_empty()).then_some(CompactionPlan { inputs, output_level, is_move: false })
}

fn level_limit_bytes(level: u8, options: &LsmOptions) -> u64 {
    let growth = options.level_growth.max(2).saturating_pow(u32::from(level.saturating_sub(1)));
    options.level_1_bytes.max(1).saturating_mul(growth)
}

/// The runs of level 0 that may be taken, oldest first.
fn eligible_runs(version: &Version, floor: u64) -> Vec<Arc<Run>> {
    version.level_0().iter().rev().take_while(|run| run.sequence() < floor).cloned().collect()
}

fn whole(level: u8, run: &Arc<Run>) -> PlannedInput {
    PlannedInput { level, run: Arc::clone(run) }
}

fn part(level: u8, run: &Run, tables: Vec<Arc<SsTable>>) -> PlannedInput {
    PlannedInput { level, run: Arc::new(Run::new(run.sequence(), tables)) }
}

/// Takes the oldest runs up to the size of one compaction; a run that is larger by itself goes down in parts.
fn plan_level_0(version: &Version, eligible: &[Arc<Run>], options: &LsmOptions) -> Option<CompactionPlan> {
    let oldest = eligible.first()?;
    let mut chosen = Vec::new();
    if oldest.bytes() > options.compaction_bytes && !fits_between(version, 1, oldest.tables()) {
        let mut tables: Vec<Arc<SsTable>> = Vec::new();
        for cluster in clusters(oldest.tables()) {
            tables.extend(oldest.tables().get(cluster)?.iter().cloned());
            if tables.iter().map(|table| table.payload_bytes()).sum::<u64>() >= options.compaction_bytes {
                break;
            }
        }
        chosen.push(part(0, oldest, tables));
    } else {
        let mut bytes = 0;
        for run in eligible {
            if !chosen.is_empty() && bytes + run.bytes() > options.compaction_bytes {
                break;
            }
            bytes += run.bytes();
            chosen.push(whole(0, run));
        }
    }
    // Where the oldest fits between the tables below it just moves, and the others can wait.
    let fits = fits_between(version, 1, oldest.tables());
    if fits && (chosen.len() == 1 || oldest.bytes() >= options.table.table_bytes as u64) {
        return Some(CompactionPlan { inputs: vec![whole(0, oldest)], output_level: 1, is_move: true });
    }
    chosen.reverse();
    let tables: Vec<Arc<SsTable>> =
        chosen.iter().flat_map(|input| input.run.tables().iter().cloned()).collect();
    chosen.extend(overlapping(version, 1, &tables));
    Some(CompactionPlan { inputs: chosen, output_level: 1, is_move: false })
}

/// Moves the clusters that overlap nothing below, or merges the one that overlaps least for its size.
fn plan_level(version: &Version, level: u8, options: &LsmOptions) -> Option<CompactionPlan> {
    let run = version.level(level)?;
    let excess = run.bytes().saturating_sub(level_limit_bytes(level, options));
    let mut free: Vec<Arc<SsTable>> = Vec::new();
    let mut free_bytes = 0;
    let mut best: Option<(f64, Vec<Arc<SsTable>>, PlannedInput)> = None;
    for cluster in clusters(run.tables()) {
        let tables = run.tables().get(cluster)?.to_vec();
        let bytes: u64 = tables.iter().map(|table| table.payload_bytes()).sum();
        match overlapping(version, level + 1, &tables) {
            None if free_bytes <= excess => {
                free_bytes += bytes;
                free.extend(tables);
            }
            None => {}
            Some(below) => {
                let cost = below.run.bytes() as f64 / bytes.max(1) as f64;
                if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                    best = Some((cost, tables, below));
                }
            }
        }
    }
    if !free.is_empty() {
        return Some(CompactionPlan {
            inputs: vec![part(level, run, free)],
            output_level: level + 1,
            is_move: true,
        });
    }
    let (_, tables, below) = best?;
    Some(CompactionPlan {
        inputs: vec![part(level, run, tables), below],
        output_level: level + 1,
        is_move: false,
    })
}

/// The tables of `level` that share a key with one of `tables`, or lie between two of them that do; `None` for none.
fn overlapping(version: &Version, level: u8, tables: &[Arc<SsTable>]) -> Option<PlannedInput> {
    let run = version.level(level)?;
    let smallest = tables.iter().map(|table| table.smallest().prefix).min()?;
    let largest = tables.iter().map(|table| table.largest().prefix).max()?;
    let chosen: Vec<Arc<SsTable>> = run
        .tables()
        .iter()
        .filter(|table| table.largest().prefix >= smallest && table.smallest().prefix <= largest)
        .cloned()
        .collect();
    (!chosen.is_empty()).then(|| part(level, run, chosen))
}

/// Whether no table of `level` shares a key with one of `tables`: gaps between these do not count.
fn fits_between(version: &Version, level: u8, tables: &[Arc<SsTable>]) -> bool {
    version.level(level).is_none_or(|run| {
        tables.iter().all(|table| {
            let (smallest, largest) = (table.smallest().prefix, table.largest().prefix);
            let at = run.tables().partition_point(|other| other.largest().prefix < smallest);
            run.tables().get(at).is_none_or(|other| other.smallest().prefix > largest)
        })
    })
}

/// Neighbours that share a key, grouped.
fn clusters(tables: &[Arc<SsTable>]) -> Vec<Range<usize>> {
    let mut clusters = Vec::new();
    let mut start = 0;
    for end in 1..=tables.len() {
        let joined = match (tables.get(end - 1), tables.get(end)) {
            (Some(left), Some(right)) => left.largest().prefix == right.smallest().prefix,
            _ => false,
        };
        if !joined {
            clusters.push(start..end);
            start = end;
        }
    }
    clusters
}
