//! What may come of reading damaged files.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use strata_core::vfs::SeededRandom;

use crate::allocator::{ALLOCATOR, MOST_BYTES};
use crate::sample::{Answers, Files, Kept, read};

/// Some hundred times what reading takes: a bound, not a measure.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The seed of this run, printed; `STRATA_SEED` repeats another.
pub fn random() -> SeededRandom {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let any = now.map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("STRATA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(any);
    println!("STRATA_SEED={seed}");
    SeededRandom::new(seed)
}

/// Fails unless the undamaged files answer as they should.
pub fn assert_intact(name: &str, kept: &Kept) {
    let intact = read(&kept.files).unwrap_or_else(|error| panic!("{name}, undamaged: {error}"));
    assert_eq!(intact, kept.answers, "{name}, undamaged");
}

/// Reads damaged files. `true` where the damage was refused, `false` where the answers are right, or those of `torn`.
pub fn judge(files: &Files, kept: &Kept, torn: Option<&Answers>, what: &str) -> bool {
    let begun = Instant::now();
    ALLOCATOR.take_largest();
    let outcome = catch_unwind(AssertUnwindSafe(|| read(files)));
    let largest = ALLOCATOR.take_largest();
    let outcome = outcome.unwrap_or_else(|_| panic!("{what}: panicked"));
    assert!(begun.elapsed() < TIME_MAX, "{what}: took {:?}", begun.elapsed());
    assert!(largest <= MOST_BYTES, "{what}: an allocation of {largest} bytes");
    match outcome {
        Ok(answers) => {
            let right = answers == kept.answers || torn.is_some_and(|torn| answers == *torn);
            assert!(right, "{what}: another answer: {}", difference(&kept.answers, &answers));
            false
        }
        Err(error) => {
            assert!(names_a_file(&error), "{what}: the error names no file: {error}");
            true
        }
    }
}

/// A block's number stands for its place in the one file of blocks.
pub fn names_a_file(error: &str) -> bool {
    ["MANIFEST-", "CURRENT", ".journal", "blocks.strata", "block ", "/manifest", "the journal ends at"]
        .iter()
        .any(|name| error.contains(name))
}

fn difference(wanted: &Answers, found: &Answers) -> String {
    let lost: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).take(3).collect();
    let new: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).take(3).collect();
    format!("{} rows became {}; lost {lost:?}, new {new:?}", wanted.len(), found.len())
}
