//! What is not damaged stays readable: each table stands for itself, and so does each column of a segment.

use std::path::Path;

use strata_core::ids::{ColumnId, SegmentId};
use strata_core::vfs::Random;

use crate::answers::{Part, Question};
use crate::blocks::{Owner, PlacedBlock};
use crate::column_pages::{ColumnPage, FRAME_BYTES, PageKind, pages_of};
use crate::files::BLOCKS;
use crate::judge::{Damage, judge, random};
use crate::named::place_in;
use crate::sample::{Kept, every_encoding, every_form};

#[test]
fn a_damaged_block_costs_its_own_table_only() {
    let kept = every_form();
    let mut missed = 0;
    for block in &kept.blocks {
        let middle = block.payload().start + block.payload().len() / 2;
        let Some(refused) = refused(&kept, middle, format!("{block:?}, damaged")) else {
            assert_eq!(block.owner, Owner::System, "{block:?}, damaged: opening");
            continue;
        };
        for (question, _) in &refused {
            assert!(may_need(question, block), "{block:?}, damaged: {question:?}");
        }
        missed += usize::from(!refused.is_empty());
    }
    assert!(missed > 5, "only {missed} blocks were missed");
}

#[test]
fn a_damaged_page_costs_its_own_column_only() {
    let kinds = [PageKind::Statistics, PageKind::Auxiliary, PageKind::Data];
    let (random, mut missed) = (random(), kinds.map(|_| 0));
    for (name, kept) in [("every form", every_form()), ("every encoding", every_encoding())] {
        // Of the many pages of the latter some, others each time.
        let is_taken = |page: &ColumnPage| {
            name == "every form" || page.kind == PageKind::Auxiliary || random.chance(1, 8)
        };
        let some = pages_of_tables(&kept).into_iter().filter(|(_, _, page)| is_taken(page));
        for (table, segment, page) in some {
            let what = format!("{name}: {table}, segment {segment}, {page:?}, damaged");
            let middle = page.range.start + FRAME_BYTES + (page.range.len() - FRAME_BYTES) / 2;
            let refused = refused(&kept, middle, what.clone()).unwrap_or_else(|| panic!("{what}: opening"));
            let parts = parts_that_need(&page, segment);
            for (question, error) in &refused {
                assert_eq!(question.table, table, "{what}: {question:?}");
                assert!(parts.contains(&question.part), "{what}: {question:?}");
                let is_placed = place_in(error).is_some_and(|place| page.range.contains(&place.offset));
                assert!(is_placed, "{what}: {question:?} names another place: {error}");
            }
            let is_missed = refused.iter().any(|(question, _)| question.part == parts[0]);
            assert!(is_missed, "{what}: not noticed by {:?}", parts[0]);
            missed[page.kind as usize] += 1;
        }
    }
    println!("{missed:?} pages damaged of {kinds:?}");
    assert!(missed.iter().all(|missed| *missed > 9), "only {missed:?} of {kinds:?}");
}

/// The questions that have no answer where a byte of a block is damaged, with what they have instead; `None` where opening
/// is refused. All others have the right one.
fn refused(kept: &Kept, at: usize, what: String) -> Option<Vec<(Question, String)>> {
    let mut files = kept.files.clone();
    files.get_mut(Path::new(BLOCKS)).expect("is there")[at] ^= 0x55;
    let byte = at..at + 1;
    let ranges = vec![byte];
    let damage =
        Damage { what, file: Path::new(BLOCKS), ranges, torn: None, is_checked: kept.is_checked(at) };
    let verdict = judge(&files, kept, &damage);
    assert!(verdict.is_noticed, "{}: not noticed", damage.what);
    let refused =
        verdict.answers?.into_iter().filter_map(|(question, answer)| Some((question, answer.err()?)));
    Some(refused.collect())
}

/// Whether a question may take a block to answer.
fn may_need(question: &Question, block: &PlacedBlock) -> bool {
    let Question { table, part } = question;
    match &block.owner {
        Owner::System => false,
        Owner::Index => matches!(part, Part::Index(_) | Part::Lookups),
        Owner::Segment(owner, segment) => {
            owner == table && part.segment().is_none_or(|of| of == *segment) && *part != Part::Count
        }
    }
}

/// The pages of all column blocks of tables, with their table and segment.
fn pages_of_tables(kept: &Kept) -> Vec<(&str, SegmentId, ColumnPage)> {
    let mut pages = Vec::new();
    for block in kept.blocks.iter().filter(|block| block.is_column_block()) {
        let Owner::Segment(table, segment) = &block.owner else { continue };
        let of_block = pages_of(&kept.files[Path::new(BLOCKS)], block);
        pages.extend(of_block.into_iter().map(|page| (table.as_str(), *segment, page)));
    }
    pages
}

/// What may take a page of a segment to answer; the first must.
fn parts_that_need(page: &ColumnPage, segment: SegmentId) -> Vec<Part> {
    let column = ColumnId::new(page.column);
    match page.kind {
        PageKind::Statistics => vec![Part::Statistics(segment, column)],
        PageKind::Auxiliary | PageKind::Data => vec![
            Part::Column(segment, column),
            Part::Filter(segment, column),
            Part::Scan(segment),
            Part::Rows(segment),
            Part::Lookups,
        ],
    }
}
