//! Any byte of a database's files, changed: the answers stay what they were, or an error names what is damaged.
//!
//! Never another answer, never a panic, never memory or time without bound. `STRATA_FLIPS` sets how many bytes are tried in each
//! database; `all` tries every byte that is not zero.

mod sample;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use sample::{Answers, Files, Kept, closed, frozen, killed, read};
use strata_core::vfs::{Random, SeededRandom};

/// What one opening may take beyond what an undamaged one does.
const MEMORY_SLACK_KIB: u64 = 256 << 10;
/// Some hundred times what it takes.
const TIME_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_changed_byte_changes_no_answer() {
    let seed = std::env::var("STRATA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(any_seed);
    println!("STRATA_SEED={seed}");
    let random = SeededRandom::new(seed);
    sweep("closed", &closed(), &random, 350);
    sweep("killed", &killed(), &random, 350);
    sweep("frozen", &frozen(), &random, 25);
}

fn any_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64)
}

fn sweep(name: &str, kept: &Kept, random: &SeededRandom, count: usize) {
    let intact = read(&kept.files).unwrap_or_else(|error| panic!("{name}, undamaged: {error}"));
    assert_eq!(intact, kept.answers, "{name}, undamaged");
    let memory = peak_kib();
    let mut refused = 0;
    let places = places(&kept.files, random, count);
    for (file, offset) in &places {
        let mut files = kept.files.clone();
        let change = 1 + random.below(255) as u8;
        let bytes = files.get_mut(file).expect("a file of the list");
        bytes[*offset] ^= change;
        let what = format!("{name}: byte {offset} of {} ^ {change:#x}", file.display());
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&files)));
        let outcome = outcome.unwrap_or_else(|_| panic!("{what}: panicked"));
        assert!(begun.elapsed() < TIME_MAX, "{what}: took {:?}", begun.elapsed());
        match outcome {
            Ok(answers) if answers == kept.answers => {}
            Ok(answers) => {
                let torn = kept.may_be_torn(file, *offset).is_some_and(|before| answers == *before);
                assert!(torn, "{what}: another answer: {}", difference(&kept.answers, &answers));
            }
            Err(error) => {
                refused += 1;
                assert!(names_a_file(&error), "{what}: the error names no file: {error}");
            }
        }
        if let (Some(before), Some(after)) = (memory, peak_kib()) {
            assert!(after < before + MEMORY_SLACK_KIB, "{what}: {before} KiB grew to {after} KiB");
        }
    }
    println!("{name}: {} bytes changed, {refused} refused", places.len());
    assert!(refused > 0, "{name}: no changed byte was noticed");
}

/// A block's number stands for its place in the one file of blocks.
fn names_a_file(error: &str) -> bool {
    ["MANIFEST-", "CURRENT", ".journal", "blocks.strata", "block "].iter().any(|name| error.contains(name))
}

fn difference(wanted: &Answers, found: &Answers) -> String {
    let lost: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).take(3).collect();
    let new: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).take(3).collect();
    format!("{} rows became {}; lost {lost:?}, new {new:?}", wanted.len(), found.len())
}

/// Bytes to change, as many from each file. Zeros are mostly padding: one in twenty.
fn places(files: &Files, random: &SeededRandom, count: usize) -> Vec<(std::path::PathBuf, usize)> {
    let wanted = std::env::var("STRATA_FLIPS").unwrap_or_else(|_| count.to_string());
    let mut places = Vec::new();
    for (path, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let full: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        if wanted == "all" {
            places.extend(full.into_iter().map(|at| (path.clone(), at)));
            continue;
        }
        let share = wanted.parse::<usize>().expect("a number").div_ceil(files.len());
        for _ in 0..share {
            let at = match full.len() as u64 {
                0 => random.below(bytes.len() as u64) as usize,
                _ if random.chance(1, 20) => random.below(bytes.len() as u64) as usize,
                some => full[random.below(some) as usize],
            };
            places.push((path.clone(), at));
        }
    }
    places
}

/// The most address space this process has had; None where the system does not tell.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
