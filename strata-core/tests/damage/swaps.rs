//! Blocks in each other's place: of one table and of several, of one kind and of different ones.

use std::path::Path;

use crate::judge::{assert_intact, judge};
use crate::sample::{BLOCKS, every_form};

#[test]
fn two_swapped_blocks_change_no_answer() {
    let sample = every_form();
    assert_intact("every form", &sample.kept);
    let blocks: Vec<_> = sample.blocks.iter().collect();
    let mut swapped = 0;
    for (place, one) in blocks.iter().enumerate() {
        for other in blocks.iter().skip(place + 1).filter(|other| other.range.len() == one.range.len()) {
            let mut files = sample.kept.files.clone();
            let bytes = files.get_mut(Path::new(BLOCKS)).expect("is there");
            let (first, second) = (bytes[one.range.clone()].to_vec(), bytes[other.range.clone()].to_vec());
            bytes[one.range.clone()].copy_from_slice(&second);
            bytes[other.range.clone()].copy_from_slice(&first);
            let what = format!("{one:?} and {other:?} swapped");
            assert!(judge(&files, &sample.kept, None, &what), "{what}: not noticed");
            swapped += 1;
        }
        // As a write that never came: what was there before stays.
        let mut files = sample.kept.files.clone();
        files.get_mut(Path::new(BLOCKS)).expect("is there")[one.range.clone()].fill(0);
        assert!(
            judge(&files, &sample.kept, None, &format!("{one:?} is zeros")),
            "{one:?}: zeros were not noticed"
        );
    }
    println!("{swapped} pairs of blocks swapped");
    assert!(swapped > 40, "only {swapped} pairs");
}
