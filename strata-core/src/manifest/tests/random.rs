//! Random edits: the same state after reopening, and after a power cut the last committed one.

use super::*;
use crate::vfs::{Random, SeededRandom};

/// Edits that fit the state one after the other.
pub(super) fn random_group(state: &ManifestState, lsn: Lsn, random: &dyn Random) -> Vec<Edit> {
    let mut scratch = state.clone();
    scratch.journal_lsn = scratch.journal_lsn.max(lsn);
    let mut next_page = state.blocks().map(|block| block.first_page() + block.pages()).max().unwrap_or(1);
    let mut edits = Vec::new();
    for _ in 0..=random.below(6) {
        let edit = random_edit(&scratch, &mut next_page, random);
        if scratch.apply(&edit).is_ok() {
            edits.push(edit);
        }
    }
    edits
}

fn random_edit(state: &ManifestState, next_page: &mut u64, random: &dyn Random) -> Edit {
    let mut new_block = || {
        let pages = 1 + random.below(9);
        *next_page += pages;
        BlockId::from_extent(*next_page - pages, pages).expect("fits")
    };
    let heap = HeapId::new(random.below(4) as u32);
    let segment = SegmentId::new(random.below(5));
    let number = random.below(1000);
    match random.below(10) {
        0 => Edit::AddSsTable(SsTableMeta {
            block: new_block(),
            level: random.below(7) as u8,
            sequence: number,
            row_base: random.below(3),
            entries: random.next_u64(),
            payload_bytes: number,
            smallest: vec![1; random.below(40) as usize],
            largest: vec![2; random.below(40) as usize],
        }),
        1 => {
            let count = state.sstables.len() as u64;
            let found = state.sstables.get(random.below(count) as usize);
            Edit::RemoveSsTable(found.map_or(block(1), |meta| meta.block))
        }
        2 => Edit::CreateHeap(heap),
        3 if random.chance(1, 4) => Edit::DropHeap(heap),
        3 | 4 => {
            let image = match random.below(5) {
                0 => SegmentImage::Dropped,
                1 => SegmentImage::Column { block: new_block(), slots: 65_536, rows: number as u32 },
                _ => {
                    let page = |first_slot| HotPageMeta { block: new_block(), first_slot, rows: 7 };
                    SegmentImage::Hot { pages: (0..random.below(6) as u16).map(page).collect() }
                }
            };
            Edit::PutSegment { heap, segment, image }
        }
        5 | 6 => {
            let block = random.chance(2, 3).then(new_block);
            Edit::PutMarks { heap, segment, block, dead: number as u32 }
        }
        7 => Edit::PutHeap { heap, row_end: RowId::new(number), live_rows: number / 2 },
        8 => Edit::JournalStart(Lsn::new(number)),
        _ => Edit::Counters(Counters {
            last_commit: Timestamp::new(number),
            next_heap: random.below(10) as u32,
            next_table: random.below(10) as u32,
            next_index: random.below(10) as u32,
            next_schema: random.below(10) as u32,
            next_load: random.below(10),
            next_sstable_sequence: random.below(10),
            clock_us: number,
        }),
    }
}

#[test]
fn random_edits_survive_reopening_and_power_cuts() {
    for seed in 0..60 {
        let random = SeededRandom::new(seed);
        let mut vfs = MemVfs::new();
        let mut wanted = ManifestState::default();
        for session in 0..6 {
            let shared = Arc::new(vfs.clone());
            let (manifest, state) = Manifest::open_with(shared, dir(), random.below(40_000)).expect("opens");
            assert_eq!(state, wanted, "seed {seed}, session {session}");
            for _ in 0..random.below(20) {
                let lsn = Lsn::new(random.below(1000));
                let edits = random_group(&wanted, lsn, &random);
                let mut next = wanted.clone();
                crate::manifest::log::apply_group(&mut next, lsn, &edits).expect("they fit");
                manifest.commit(lsn, edits).expect("committed");
                assert_eq!(*manifest.state(), next, "seed {seed}, session {session}");
                wanted = next;
            }
            if random.chance(2, 3) {
                vfs = vfs.crash_clone(&random);
            }
        }
    }
}

#[test]
fn a_snapshot_of_many_groups_makes_the_same_state() {
    let vfs = MemVfs::new();
    let (manifest, _) = open(&vfs);
    let heap = HeapId::new(1);
    let mut edits = vec![Edit::CreateHeap(heap)];
    for number in 0..10_000 {
        let image = SegmentImage::Column { block: block(number + 1), slots: 65_536, rows: 65_536 };
        edits.push(Edit::PutSegment { heap, segment: SegmentId::new(number), image });
    }
    manifest.commit(Lsn::new(1), edits).expect("committed");
    let before = manifest.state();
    drop(manifest);
    assert_eq!(open(&vfs).1, *before);
    assert_eq!(open(&vfs).1, *before, "out of the snapshot");
    let second_group = 4096 + (64 + 4096_u64 * 30).next_multiple_of(4096);
    assert!(manifest_file(&vfs).len().expect("len") > second_group);
}
