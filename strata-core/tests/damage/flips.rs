//! Bytes changed. `STRATA_FLIPS` sets how many are tried in each database; `all` tries every byte that is not zero.

use std::path::PathBuf;

use strata_core::vfs::{Random, SeededRandom};

use crate::files::Files;
use crate::judge::{Damage, assert_intact, judge, random};
use crate::sample::{Kept, closed, every_encoding, every_form, frozen, killed};

#[test]
fn a_changed_byte_changes_no_answer() {
    let random = random();
    sweep("closed", &closed(), &random, 200);
    sweep("killed", &killed(), &random, 200);
    sweep("every form", &every_form(), &random, 250);
    sweep("every encoding", &every_encoding(), &random, 40);
    sweep("frozen", &frozen(), &random, 25);
}

/// Where headers, directories and frames are, numbers become vast: none of them may size an allocation.
#[test]
fn a_number_made_vast_asks_for_no_memory() {
    let random = random();
    for (name, kept) in [("every form", &every_form()), ("every encoding", &every_encoding())] {
        let all = ends_of_numbers(&kept.files);
        let some = (0..100).map(|_| all[random.below(all.len() as u64) as usize].clone()).collect();
        change(name, kept, some, || 0x7F);
    }
}

fn sweep(name: &str, kept: &Kept, random: &SeededRandom, count: usize) {
    change(name, kept, places(&kept.files, random, count), || 1 + random.below(255) as u8);
}

fn change(name: &str, kept: &Kept, places: Vec<(PathBuf, usize)>, change: impl Fn() -> u8) {
    assert_intact(name, kept);
    let mut noticed = 0;
    for (file, offset) in &places {
        let mut files = kept.files.clone();
        let change = change();
        let bytes = files.get_mut(file).expect("a file of the list");
        bytes[*offset] ^= change;
        let range = *offset..offset + 1;
        let damage = Damage {
            what: format!("{name}: byte {offset} of {} ^ {change:#x}", file.display()),
            file,
            torn: kept.may_be_torn(file, &range),
            ranges: vec![range],
            is_checked: true,
        };
        noticed += usize::from(judge(&files, kept, &damage).is_noticed);
    }
    println!("{name}: {} bytes changed, {noticed} noticed", places.len());
    assert!(noticed > 0, "{name}: no changed byte was noticed");
}

/// The zeros behind what may be a number, in the first bytes of each file and of each page that a block may begin at.
fn ends_of_numbers(files: &Files) -> Vec<(PathBuf, usize)> {
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

/// Bytes to change, as many from each file. Zeros are mostly padding: one in twenty.
fn places(files: &Files, random: &SeededRandom, count: usize) -> Vec<(PathBuf, usize)> {
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
