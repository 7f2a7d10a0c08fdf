//! Random sessions with power cuts: what was durable is there, what is there is a prefix of what was appended.

use super::*;
use crate::vfs::{Random, SeededRandom};

struct Model {
    /// Records from the start on that may be there.
    records: Vec<Record>,
    start: Lsn,
    durable: Lsn,
}

impl Model {
    /// Checks what an opening found, and goes on from that.
    fn recovered(&mut self, found: Vec<Record>, what: &str) {
        assert!(
            found.len() <= self.records.len(),
            "{what}: {} records more",
            found.len() - self.records.len()
        );
        assert_eq!(found, self.records[..found.len()], "{what}: a prefix");
        let end = found.last().map_or(self.start, |record| record.lsn_end);
        assert!(end >= self.durable, "{what}: durable to {}, found to {end}", self.durable);
        self.records = found;
        self.durable = end;
    }
}

#[test]
fn random_sessions_with_power_cuts() {
    for seed in 0..150 {
        let random = SeededRandom::new(seed);
        let mut vfs = MemVfs::new();
        let mut model = Model { records: Vec::new(), start: Lsn::new(0), durable: Lsn::new(0) };
        let segment_bytes = [SMALL, 5 * 4096, 64 * 4096][random.below(3) as usize];
        for session in 0..8 {
            let what = format!("seed {seed}, session {session}");
            let (journal, found) = open_from(&vfs, model.start, model.durable, segment_bytes)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            model.recovered(found, &what);
            for _ in 0..random.below(30) {
                step(&journal, &mut model, &random);
            }
            vfs = if random.chance(1, 4) { copy(&vfs) } else { vfs.crash_clone(&random) };
        }
    }
}

fn step(journal: &Journal, model: &mut Model, random: &SeededRandom) {
    match random.below(8) {
        0..=3 => {
            let size = [10, 100, 3000, 20_000][random.below(4) as usize];
            let payload = vec![random.below(256) as u8; random.below(size) as usize];
            let lsn_start = journal.end();
            let lsn_end = journal.append(&payload);
            model.records.push(Record { lsn_start, lsn_end, payload });
        }
        4..=5 => model.durable = journal.flush().expect("flushed"),
        6 => drop(journal.reserve(random.below(20_000) as usize).expect("room")),
        _ => {
            let at = random.below(model.records.len() as u64 + 1) as usize;
            let mut durable = model.records.iter().take(at).filter(|record| record.lsn_end <= model.durable);
            if let Some(start) = durable.next_back().map(|record| record.lsn_end) {
                model.start = start;
                model.records.retain(|record| record.lsn_start >= start);
                journal.truncate_before(start).expect("truncated");
            }
        }
    }
}
