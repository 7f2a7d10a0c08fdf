//! Which bytes to change: those that are read.

use std::ops::Range;
use std::path::{Path, PathBuf};

use strata_core::vfs::{Random, SeededRandom};

use crate::blocks::{HEADER_BYTES, Owner, PlacedBlock};
use crate::column_pages::{directory_of, pages_of};
use crate::files::{BLOCKS, Files};
use crate::sample::Kept;

/// What an SSTable ends with, and about what stands before: the footer and the top index.
const INDEX_END_BYTES: usize = 128;

/// About `count` bytes, half of them of blocks, the others of the other files; all that are not zero, if `STRATA_FLIPS` says so.
pub fn places(kept: &Kept, random: &SeededRandom, count: usize) -> Vec<(PathBuf, usize)> {
    let wanted = std::env::var("STRATA_FLIPS").unwrap_or_else(|_| count.to_string());
    let full = kept.files.iter().map(|(path, bytes)| (path.clone(), full(bytes)));
    let full: Vec<_> = full.filter(|(_, places)| !places.is_empty()).collect();
    if wanted == "all" {
        return full
            .into_iter()
            .flat_map(|(path, places)| places.into_iter().map(move |at| (path.clone(), at)))
            .collect();
    }
    let half = wanted.parse::<usize>().expect("a number").div_ceil(2);
    let share = half.div_ceil(full.len() - 1);
    let mut places = Vec::new();
    for (path, full) in full {
        let bytes = &kept.files[&path];
        if path == Path::new(BLOCKS) {
            places.extend((0..half).map(|_| (path.clone(), byte_of_blocks(kept, random))));
        } else {
            places.extend((0..share).map(|_| (path.clone(), byte_of(bytes, &full, random))));
        }
    }
    places
}

/// The zeros behind what may be a number, in the first bytes of each file and of each page that a block may begin at.
pub fn ends_of_numbers(files: &Files) -> Vec<(PathBuf, usize)> {
    const PAGE: usize = 4_096;
    const HEAD: usize = 192;
    let mut ends = Vec::new();
    for (path, bytes) in files {
        for at in (1..bytes.len()).filter(|at| (1..HEAD).contains(&(at % PAGE))) {
            let before = &bytes[at.saturating_sub(3)..at];
            if bytes[at] == 0 && before.iter().any(|byte| *byte != 0) {
                ends.push((path.clone(), at));
            }
        }
    }
    ends
}

/// Where bytes stand that are not zero.
fn full(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|at| bytes[*at] != 0).collect()
}

/// One of those, or in one of twenty cases any: zeros are mostly padding.
fn byte_of(bytes: &[u8], full: &[usize], random: &SeededRandom) -> usize {
    if random.chance(1, 20) {
        return within(&(0..bytes.len()), random);
    }
    full[within(&(0..full.len()), random)]
}

/// Any byte of the file, or one of a block in use: of its header, its directory or index, or a page. Blocks of the catalog
/// keep the database from opening, which tells little of the others.
fn byte_of_blocks(kept: &Kept, random: &SeededRandom) -> usize {
    let file = &kept.files[Path::new(BLOCKS)];
    if random.chance(1, 20) {
        return within(&(0..file.len()), random);
    }
    let is_wanted = |block: &&PlacedBlock| block.owner != Owner::System || random.chance(1, 10);
    let blocks: Vec<_> = kept.blocks.iter().filter(is_wanted).collect();
    let block = blocks[within(&(0..blocks.len()), random)];
    let piece = match random.below(4) {
        0 => block.covered.start..block.payload().start,
        1 => head_of(file, block),
        _ => page_of(file, block, random),
    };
    within(&piece, random)
}

/// Where a block tells where its parts are.
fn head_of(file: &[u8], block: &PlacedBlock) -> Range<usize> {
    let Range { start, end } = block.payload();
    if block.is_column_block() {
        start..directory_of(file, block).end
    } else if block.owner == Owner::Index {
        end.saturating_sub(INDEX_END_BYTES).max(start)..end
    } else {
        start..end.min(start + HEADER_BYTES)
    }
}

fn page_of(file: &[u8], block: &PlacedBlock, random: &SeededRandom) -> Range<usize> {
    if !block.is_column_block() {
        return block.payload();
    }
    let pages = pages_of(file, block);
    pages[within(&(0..pages.len()), random)].range.clone()
}

fn within(range: &Range<usize>, random: &SeededRandom) -> usize {
    range.start + random.below(range.len() as u64) as usize
}
