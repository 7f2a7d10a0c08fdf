//! Files cut short, made longer, emptied, gone. `STRATA_FLIPS=all` cuts at every length; else at the ends of what was written, at
//! pages, and at random.

use std::collections::BTreeSet;

use strata_core::vfs::{Random, SeededRandom};

use crate::judge::{assert_intact, judge, random};
use crate::sample::{Kept, closed, every_form, killed};

#[test]
fn a_file_of_another_length_changes_no_answer() {
    let random = random();
    for (name, kept) in [("closed", closed()), ("killed", killed()), ("every form", every_form().kept)] {
        assert_intact(name, &kept);
        sweep(name, &kept, &random);
    }
}

fn sweep(name: &str, kept: &Kept, random: &SeededRandom) {
    let mut refused = 0;
    for (path, bytes) in &kept.files {
        for length in lengths(bytes, random) {
            let mut files = kept.files.clone();
            files.insert(path.clone(), bytes[..length].to_vec());
            let what = format!("{name}: {} cut from {} to {length} bytes", path.display(), bytes.len());
            refused += usize::from(judge(&files, kept, None, &what));
        }
        let mut files = kept.files.clone();
        files.remove(path);
        refused += usize::from(judge(&files, kept, None, &format!("{name}: without {}", path.display())));
        for tail in [vec![0; 5_000], vec![0xa5; 5_000]] {
            let mut files = kept.files.clone();
            files.get_mut(path).expect("of the list").extend_from_slice(&tail);
            let what = format!("{name}: {} and {} more bytes", path.display(), tail.len());
            refused += usize::from(judge(&files, kept, None, &what));
        }
    }
    assert!(refused > 0, "{name}: nothing was noticed");
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
