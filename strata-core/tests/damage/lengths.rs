//! Files cut short, made longer, emptied, gone. `STRATA_FLIPS=all` cuts at every length; else at the ends of what was written, at
//! pages, and at random.

use std::collections::BTreeSet;
use std::path::Path;

use strata_core::vfs::{Random, SeededRandom};

use crate::judge::{Damage, assert_intact, judge, random};
use crate::sample::{Kept, closed, every_form, killed};

#[test]
fn a_file_of_another_length_changes_no_answer() {
    let random = random();
    for (name, kept) in [("closed", closed()), ("killed", killed()), ("every form", every_form())] {
        assert_intact(name, &kept);
        sweep(name, &kept, &random);
    }
}

fn sweep(name: &str, kept: &Kept, random: &SeededRandom) {
    let mut noticed = 0;
    for (path, bytes) in &kept.files {
        for length in lengths(bytes, random) {
            let what = format!("{name}: {} cut from {} to {length} bytes", path.display(), bytes.len());
            noticed += replaced(kept, path, Some(bytes[..length].to_vec()), what);
        }
        noticed += replaced(kept, path, None, format!("{name}: without {}", path.display()));
        for tail in [0, 0xa5] {
            let longer = [bytes.as_slice(), &[tail; 5_000]].concat();
            let what = format!("{name}: {} and 5000 more bytes of {tail}", path.display());
            noticed += replaced(kept, path, Some(longer), what);
        }
    }
    assert!(noticed > 0, "{name}: nothing was noticed");
}

/// 1 if it is noticed that a file holds something else, or is gone.
fn replaced(kept: &Kept, path: &Path, bytes: Option<Vec<u8>>, what: String) -> usize {
    let (before, after) = (kept.files[path].len(), bytes.as_ref().map_or(0, Vec::len));
    let mut files = kept.files.clone();
    match bytes {
        Some(bytes) => files.insert(path.to_owned(), bytes),
        None => files.remove(path),
    };
    let rest = before.min(after)..before.max(after);
    let ranges = vec![rest];
    let damage = Damage { what, file: path, ranges, torn: None, is_checked: true };
    usize::from(judge(&files, kept, &damage).is_noticed)
}

fn lengths(bytes: &[u8], random: &SeededRandom) -> BTreeSet<usize> {
    if std::env::var("STRATA_FLIPS").is_ok_and(|text| text == "all") && bytes.len() < 300 << 10 {
        return (0..bytes.len()).collect();
    }
    let full = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let pages = bytes.len().div_ceil(4096);
    let mut lengths = BTreeSet::from([0, 1, full.saturating_sub(1), full]);
    lengths.extend(
        (0..pages).step_by(pages.div_ceil(8).max(1)).flat_map(|page| [page * 4096, page * 4096 + 64]),
    );
    lengths.extend((0..6).map(|_| random.below(bytes.len().max(1) as u64) as usize));
    lengths.retain(|length| *length < bytes.len());
    lengths
}
