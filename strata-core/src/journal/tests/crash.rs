//! Random sessions that end in a power cut, a kill or a failing disk: what was durable is there, and what is there
//! is a prefix of what was appended.

use super::*;
use crate::vfs::{Fault, FaultEffect, FaultVfs, Random, SeededRandom};

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
fn random_sessions_with_power_cuts_kills_and_failures() {
    for seed in 0..100 {
        let random = SeededRandom::new(seed);
        let mut vfs = MemVfs::new();
        // Whoever opens the database makes its folder.
        make_dir(&vfs, Path::new(DIR).parent().expect("has one")).expect("made");
        let mut model = Model { records: Vec::new(), start: Lsn::new(0), durable: Lsn::new(0) };
        let segment_bytes = [SMALL, 5 * 4096, 64 * 4096][random.below(3) as usize];
        for session in 0..10 {
            let what = format!("seed {seed}, session {session}");
            let faults = FaultVfs::new(Arc::new(vfs.clone()));
            let failing = random.chance(1, 2);
            if failing {
                faults.arm(Fault::nth(random.below(120), FaultEffect::InputOutput).for_ever());
            }
            match open_from(&faults, model.start, model.durable, segment_bytes) {
                Ok((journal, found)) => {
                    model.recovered(found, &what);
                    for _ in 0..random.below(30) {
                        step(&journal, &mut model, &random, failing);
                    }
                }
                Err(error) => assert!(faults.fired() > 0, "{what}: {error}"),
            }
            match random.below(4) {
                // A kill: what was written is there, synced or not, until a later power cut.
                0 => {}
                1 => vfs = copy(&vfs),
                _ => vfs = vfs.crash_clone(&random),
            }
        }
    }
}

fn step(journal: &Journal, model: &mut Model, random: &SeededRandom, failing: bool) {
    match random.below(9) {
        0..=3 => {
            let size = [10, 100, 3000, 20_000][random.below(4) as usize];
            let payload = vec![random.below(256) as u8; random.below(size) as usize];
            let lsn_start = journal.end();
            let lsn_end = journal.append(&payload);
            model.records.push(Record { lsn_start, lsn_end, payload });
        }
        4..=5 => match journal.flush() {
            Ok(durable) => model.durable = durable,
            Err(error) => assert!(failing, "{error}"),
        },
        6 => {
            let reserved = journal.reserve(random.below(20_000) as usize);
            assert!(failing || reserved.is_ok(), "{reserved:?}");
        }
        choice => {
            let at = random.below(model.records.len() as u64 + 1) as usize;
            let mut durable = model.records.iter().take(at).filter(|record| record.lsn_end <= model.durable);
            if let Some(start) = durable.next_back().map(|record| record.lsn_end) {
                model.start = start;
                model.records.retain(|record| record.lsn_start >= start);
                if choice == 7 {
                    let truncated = journal.truncate_before(start);
                    assert!(failing || truncated.is_ok(), "{truncated:?}");
                } else {
                    let shortened = journal.shorten(start);
                    assert!(failing || shortened.is_ok(), "{shortened:?}");
                }
                model.durable = model.durable.max(journal.durable());
            }
        }
    }
}
