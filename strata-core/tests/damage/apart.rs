//! What is not damaged stays readable: each table stands for itself.

use std::path::Path;

use crate::answers::{Part, Question, read};
use crate::blocks::{Owner, PlacedBlock};
use crate::files::{BLOCKS, Files};
use crate::judge::{Damage, judge};
use crate::sample::{Kept, every_form};

#[test]
fn a_damaged_block_costs_its_own_table_only() {
    let kept = every_form();
    let mut missed = 0;
    for block in &kept.blocks {
        let middle = block.payload().start + block.payload().len() / 2;
        let refused = refused(&kept, middle, format!("{block:?}, damaged"));
        let Some(refused) = refused else {
            assert_eq!(block.owner, Owner::System, "{block:?}, damaged: opening");
            continue;
        };
        for question in &refused {
            assert!(may_need(question, block), "{block:?}, damaged: {question:?}");
        }
        missed += usize::from(!refused.is_empty());
    }
    assert!(missed > 5, "only {missed} blocks were missed");
}

/// The questions that have no answer where a byte of a block is damaged; `None` where opening is refused. The others have the
/// right one.
fn refused(kept: &Kept, at: usize, what: String) -> Option<Vec<Question>> {
    let mut files: Files = kept.files.clone();
    files.get_mut(Path::new(BLOCKS)).expect("is there")[at] ^= 0x55;
    let ranges = vec![at..at + 1];
    let damage = Damage { what, file: Path::new(BLOCKS), ranges, torn: None, is_checked: true };
    assert!(judge(&files, kept, &damage), "{}: not noticed", damage.what);
    let answers = read(&files, false).ok()?.answers;
    Some(answers.into_iter().filter(|(_, answer)| answer.is_err()).map(|(question, _)| question).collect())
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
