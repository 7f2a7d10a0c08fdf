//! Blocks in each other's place: of one table and of several, of one kind and of different ones.

use std::ops::Range;
use std::path::Path;

use crate::files::BLOCKS;
use crate::judge::{Damage, assert_intact, judge};
use crate::sample::{Kept, every_form};

#[test]
fn two_swapped_blocks_change_no_answer() {
    let kept = every_form();
    assert_intact("every form", &kept);
    let mut swapped = 0;
    for (place, one) in kept.blocks.iter().enumerate() {
        for other in kept.blocks[place + 1..].iter().filter(|other| other.range.len() == one.range.len()) {
            let what = format!("{one:?} and {other:?} swapped");
            assert!(
                swap(&kept, Path::new(BLOCKS), &one.range, &other.range, what.clone()),
                "{what}: not noticed"
            );
            swapped += 1;
        }
        // As a write that never came: what was there before stays.
        let mut files = kept.files.clone();
        files.get_mut(Path::new(BLOCKS)).expect("is there")[one.range.clone()].fill(0);
        let what = format!("{one:?} is zeros");
        let ranges = vec![one.range.clone()];
        let damage = Damage { what, file: Path::new(BLOCKS), ranges, torn: None, is_checked: true };
        assert!(judge(&files, &kept, &damage).is_noticed, "{one:?}: zeros were not noticed");
    }
    println!("{swapped} pairs of blocks swapped");
    assert!(swapped > 40, "only {swapped} pairs");
}

/// Whether it is noticed that two pieces of a file, of one length, are in each other's place.
fn swap(kept: &Kept, file: &Path, one: &Range<usize>, other: &Range<usize>, what: String) -> bool {
    let mut files = kept.files.clone();
    let bytes = files.get_mut(file).expect("is there");
    let (first, second) = (bytes[one.clone()].to_vec(), bytes[other.clone()].to_vec());
    bytes[one.clone()].copy_from_slice(&second);
    bytes[other.clone()].copy_from_slice(&first);
    let torn = kept.may_be_torn(file, one).or_else(|| kept.may_be_torn(file, other));
    let ranges = vec![one.clone(), other.clone()];
    judge(&files, kept, &Damage { what, file, ranges, torn, is_checked: true }).is_noticed
}
