//! Blocks in each other's place: of one table and of several, of one kind and of different ones. So with what other files
//! are made of.

use std::ops::Range;
use std::path::Path;

use strata_core::vfs::Random;

use crate::files::{BLOCKS, starts_of, u32_at};
use crate::judge::{Damage, assert_intact, judge, random};
use crate::sample::{Kept, closed, every_form, killed};

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

/// Batches of a journal name their place in the stream, and groups of a manifest their place in the file: in another place
/// both are damage, where they are needed at all.
#[test]
fn two_swapped_batches_or_groups_change_no_answer() {
    for (name, kept) in [("closed", closed()), ("killed", killed()), ("every form", every_form())] {
        for (magic, length_at) in [(b"SJBA", 44), (b"SMEG", 28)] {
            let (mut swapped, mut noticed) = (0, 0);
            for (path, bytes) in &kept.files {
                for (one, other) in pairs(&extents_of(bytes, magic, length_at)) {
                    let what = format!("{name}: {one:?} and {other:?} of {} swapped", path.display());
                    noticed += usize::from(swap(&kept, path, &one, &other, what));
                    swapped += 1;
                }
            }
            let magic = String::from_utf8_lossy(magic);
            println!("{name}: {swapped} pairs of {magic} swapped, {noticed} noticed");
            assert!(noticed > 15, "{name}: {noticed} of {swapped} noticed");
        }
    }
}

/// Whatever they hold.
#[test]
fn two_swapped_pages_change_no_answer() {
    const PAGE: usize = 4_096;
    let random = random();
    let page = |at: usize| at * PAGE..(at + 1) * PAGE;
    for (name, kept) in [("closed", closed()), ("killed", killed()), ("every form", every_form())] {
        let (mut swapped, mut noticed) = (0, 0);
        for (path, bytes) in &kept.files {
            let is_full = |at: &usize| bytes[page(*at)].iter().any(|byte| *byte != 0);
            let full: Vec<usize> = (0..bytes.len() / PAGE).filter(is_full).collect();
            for _ in 0..15.min(full.len() * full.len()) {
                let [one, other] = [(); 2].map(|()| page(full[random.below(full.len() as u64) as usize]));
                if bytes[one.clone()] == bytes[other.clone()] {
                    continue;
                }
                let what = format!("{name}: {one:?} and {other:?} of {} swapped", path.display());
                noticed += usize::from(swap(&kept, path, &one, &other, what));
                swapped += 1;
            }
        }
        println!("{name}: {swapped} pairs of pages swapped, {noticed} noticed");
        assert!(noticed > 15, "{name}: {noticed} of {swapped} noticed");
    }
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

/// Whole batches or groups, padding included; their headers have one length.
fn extents_of(bytes: &[u8], magic: &[u8; 4], length_at: usize) -> Vec<Range<usize>> {
    const HEADER_BYTES: usize = 64;
    let starts = starts_of(bytes, magic).into_iter();
    starts.map(|at| at..at + (HEADER_BYTES + u32_at(bytes, at + length_at)).next_multiple_of(4_096)).collect()
}

/// Each with the next two of its length.
fn pairs(extents: &[Range<usize>]) -> Vec<(Range<usize>, Range<usize>)> {
    let pairs = extents.iter().enumerate().flat_map(|(place, one)| {
        extents[place + 1..]
            .iter()
            .filter(|other| other.len() == one.len())
            .take(2)
            .map(|other| (one.clone(), other.clone()))
    });
    pairs.collect()
}
