//! What may come of reading damaged files.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use strata_core::vfs::SeededRandom;

use crate::allocator::{ALLOCATOR, MOST_BYTES};
use crate::answers::{Answer, Answers, Reading, read};
use crate::blocks::PlacedBlock;
use crate::files::{BLOCKS, Files};
use crate::named::place_in;
use crate::sample::Kept;

/// Some hundred times what reading takes: a bound, not a measure.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What was done to the files.
pub struct Damage<'a> {
    /// In words.
    pub what: String,
    /// The file that it was done to.
    pub file: &'a Path,
    /// The bytes of it that are not what was written.
    pub ranges: Vec<Range<usize>>,
    /// The answers of a journal without its last batch, if the damage may pass for a torn one.
    pub torn: Option<&'a Answers>,
    /// Whether the check is to say something too: that of a large database takes its time.
    pub is_checked: bool,
}

/// The seed of this run, printed; `STRATA_SEED` repeats another.
pub fn random() -> SeededRandom {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let any = now.map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("STRATA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(any);
    println!("STRATA_SEED={seed}");
    SeededRandom::new(seed)
}

/// Fails unless the undamaged files answer as they should, and their check is clean.
pub fn assert_intact(name: &str, kept: &Kept) {
    let intact = read(&kept.files, true).unwrap_or_else(|error| panic!("{name}, undamaged: {error}"));
    assert_eq!(wrong_answer(&intact.answers, &kept.answers), None, "{name}, undamaged");
    assert_eq!(intact.check, Some(vec![]), "{name}, undamaged");
}

/// What came of damage, if it was borne as it should be.
pub struct Verdict {
    /// Whether an answer was refused, or the check found something: else all is as it was, or as without a torn batch.
    pub is_noticed: bool,
    /// What was answered; `None` where opening was refused.
    pub answers: Option<Answers>,
}

/// Reads damaged files, and fails where what comes of it is not as `main.rs` says.
pub fn judge(files: &Files, kept: &Kept, damage: &Damage<'_>) -> Verdict {
    let what = &damage.what;
    let begun = Instant::now();
    ALLOCATOR.take_largest();
    let outcome = catch_unwind(AssertUnwindSafe(|| read(files, damage.is_checked)));
    let largest = ALLOCATOR.take_largest();
    let outcome = outcome.unwrap_or_else(|_| panic!("{what}: panicked"));
    assert!(begun.elapsed() < TIME_MAX, "{what}: took {:?}", begun.elapsed());
    assert!(largest <= MOST_BYTES, "{what}: an allocation of {largest} bytes");
    match outcome {
        Ok(reading) => {
            let is_noticed = judge_reading(&reading, files, kept, damage);
            Verdict { is_noticed, answers: Some(reading.answers) }
        }
        Err(error) => {
            assert!(damage.is_named_in(&error, files), "{what}: opening does not say where: {error}");
            Verdict { is_noticed: true, answers: None }
        }
    }
}

/// Each answer is right or says where the damage is, and the check agrees with them.
fn judge_reading(reading: &Reading, files: &Files, kept: &Kept, damage: &Damage<'_>) -> bool {
    let what = &damage.what;
    let wrong = wrong_answer(&reading.answers, &kept.answers);
    let is_torn =
        wrong.is_some() && damage.torn.is_some_and(|torn| wrong_answer(&reading.answers, torn).is_none());
    assert!(wrong.is_none() || is_torn, "{what}: {}", wrong.unwrap_or_default());
    let mut is_refused = false;
    for (question, answer) in &reading.answers {
        if let Err(error) = answer {
            assert!(damage.is_of_block_in(error), "{what}: {question:?} does not say where: {error}");
            is_refused = true;
        }
    }
    let Some(problems) = &reading.check else { return is_refused };
    assert!(!is_refused || !problems.is_empty(), "{what}: an answer was refused and the check is clean");
    let is_found = kept.blocks.iter().any(|block| damage.is_of(block, files));
    assert_eq!(!problems.is_empty(), is_found, "{what}: whether the check finds it: {problems:?}");
    judge_problems(problems, damage);
    !problems.is_empty()
}

/// What the check says of places is of damaged ones; the rest follows from it.
fn judge_problems(problems: &[String], damage: &Damage<'_>) {
    let what = &damage.what;
    let (placed, rest): (Vec<_>, Vec<_>) = problems.iter().partition(|problem| place_in(problem).is_some());
    for problem in &placed {
        assert!(damage.is_of_block_in(problem), "{what}: the check names another place: {problem}");
    }
    assert!(rest.is_empty() || !placed.is_empty(), "{what}: the check does not say where: {rest:?}");
}

impl Damage<'_> {
    /// Whether the block is damaged: a byte that its checksums cover, or the file ends within its extent.
    fn is_of(&self, block: &PlacedBlock, files: &Files) -> bool {
        let is_cut = files.get(self.file).is_none_or(|bytes| bytes.len() < block.range.end);
        self.file == Path::new(BLOCKS) && (is_cut || self.touches(&block.covered))
    }

    fn touches(&self, range: &Range<usize>) -> bool {
        self.ranges.iter().any(|damaged| damaged.start < range.end && range.start < damaged.end)
    }

    /// Whether what is read of an open database says which block is damaged, and where in it.
    fn is_of_block_in(&self, error: &str) -> bool {
        self.file == Path::new(BLOCKS) && self.is_placed_in(error)
    }

    /// Whether an error names a damaged place. What it names may begin before the first byte that is wrong.
    fn is_placed_in(&self, error: &str) -> bool {
        let end = self.ranges.iter().map(|range| range.end).max();
        place_in(error).is_some_and(|place| {
            let is_within = match &place.extent {
                Some(extent) => extent.contains(&place.offset) && self.touches(extent),
                None => Some(place.offset) <= end,
            };
            Path::new(&place.file) == self.file && is_within
        })
    }

    /// Whether opening says what is damaged, and where. Of a file that is gone it can say no more than its name, or its folder.
    fn is_named_in(&self, error: &str, files: &Files) -> bool {
        let folder = self.file.parent().expect("is in a folder").display().to_string();
        let is_gone = !files.contains_key(self.file);
        self.is_placed_in(error) || is_gone && error.contains(&folder)
    }
}

/// A question whose answer is another one than it should be; errors are no answers.
fn wrong_answer(found: &Answers, wanted: &Answers) -> Option<String> {
    let wrong = wanted.iter().find_map(|(question, wanted)| match (wanted, found.get(question)) {
        (_, Some(Err(_))) => None,
        (Ok(wanted), Some(Ok(found))) if wanted == found => None,
        (Ok(wanted), Some(Ok(found))) => {
            Some(format!("{question:?} was {} and is {}", lacking(wanted, found), lacking(found, wanted)))
        }
        (_, _) => Some(format!("{question:?} is asked no more")),
    });
    let new = found.keys().find(|question| !wanted.contains_key(question));
    wrong.or_else(|| new.map(|question| format!("{question:?} is new")))
}

/// What another answer lacks of this one, in short.
fn lacking(answer: &Answer, other: &Answer) -> String {
    let text = match (answer, other) {
        (Answer::Rows(rows), Answer::Rows(other)) => {
            let lacking: Vec<_> = rows.iter().filter(|row| !other.contains(row)).collect();
            format!("{} rows, among them {lacking:?}", rows.len())
        }
        _ => format!("{answer:?}"),
    };
    text.chars().take(300).collect()
}
