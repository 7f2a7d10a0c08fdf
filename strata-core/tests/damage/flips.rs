//! Bytes changed. `STRATA_FLIPS` sets how many are tried in each database; `all` tries every byte that is not zero.

use std::path::PathBuf;

use strata_core::vfs::{Random, SeededRandom};

use crate::judge::{Damage, assert_intact, judge, random};
use crate::places::{ends_of_numbers, places};
use crate::sample::{Kept, closed, every_encoding, every_form, frozen, killed};

#[test]
fn a_changed_byte_changes_no_answer() {
    let random = random();
    sweep("closed", &closed(), &random, 100);
    sweep("killed", &killed(), &random, 100);
    sweep("every form", &every_form(), &random, 150);
    sweep("every encoding", &every_encoding(), &random, 40);
}

#[test]
fn a_changed_byte_of_full_segments_changes_no_answer() {
    sweep("frozen", &frozen(), &random(), 24);
}

/// Where headers, directories and frames are, numbers become vast: none of them may size an allocation.
#[test]
fn a_number_made_vast_asks_for_no_memory() {
    let random = random();
    for (name, kept, count) in [("every form", &every_form(), 60), ("every encoding", &every_encoding(), 30)]
    {
        let all = ends_of_numbers(&kept.files);
        let some = (0..count).map(|_| all[random.below(all.len() as u64) as usize].clone()).collect();
        change(name, kept, some, || 0x7F);
    }
}

fn sweep(name: &str, kept: &Kept, random: &SeededRandom, count: usize) {
    change(name, kept, places(kept, random, count), || 1 + random.below(255) as u8);
}

fn change(name: &str, kept: &Kept, places: Vec<(PathBuf, usize)>, change: impl Fn() -> u8) {
    assert_intact(name, kept);
    let mut noticed = 0;
    for (place, (file, offset)) in places.iter().enumerate() {
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
            is_checked: kept.is_checked(place),
        };
        noticed += usize::from(judge(&files, kept, &damage).is_noticed);
    }
    println!("{name}: {} bytes changed, {noticed} noticed", places.len());
    assert!(noticed * 5 > places.len() * 2, "{name}: too many of the bytes are of no use");
}
