//! What must hold of any bytes that are read as a commit record.

use super::record::{HeapSection, RecordBody, RowPlaces};
use crate::heap::DenseMarks;
use crate::heap::fuzzing::check_dense;
use crate::ids::SLOTS_PER_SEGMENT;

/// A commit record: what is read has what its counts say, names rows that can be, and is written as the same bytes.
pub(crate) fn record(data: &[u8]) {
    let Ok((mut body, placement)) = RecordBody::decode(data.to_vec()) else { return };
    assert_eq!(placement.runs.len(), body.sections().len());
    assert_eq!(placement.row_bases.len(), body.loads().len());
    for (section, runs) in body.sections().iter().zip(&placement.runs) {
        let rows: Vec<&[u8]> = body.rows(section).collect();
        let row_bytes: usize = rows.iter().map(|row| row.len()).sum();
        assert_eq!((rows.len(), row_bytes as u64), (section.rows as usize, section.row_bytes));
        let marks: Vec<_> = body.marks(section).collect();
        assert_eq!(marks.len(), section.marks as usize);
        let entries: Vec<_> = body.entries(section).collect();
        let key_bytes: usize = entries.iter().map(|(_, _, key)| key.len()).sum();
        assert_eq!((entries.len(), key_bytes as u64), (section.entries as usize, section.key_bytes));
        for run in runs {
            let slots = u32::from(run.first.slot()).saturating_add(run.rows);
            assert!(
                slots <= SLOTS_PER_SEGMENT && !run.first.is_provisional(),
                "a run is of one segment: {run:?}"
            );
        }
        let places = RowPlaces::new(runs, body.loads_of(section.heap, &placement));
        let named = marks.iter().filter_map(|(_, successor, _)| *successor);
        for ordinal in named.chain(entries.iter().map(|(_, ordinal, _)| *ordinal)) {
            assert!(places.find(ordinal).is_some(), "row {ordinal} of {rows:?}");
        }
        assert!(marks.iter().all(|(row, ..)| !row.is_provisional()));
        check_many(section, &places);
    }
    for (load, base) in body.loads().iter().zip(&placement.row_bases) {
        assert_eq!(load.rows, load.blocks.iter().map(|(_, slots)| u64::from(*slots)).sum::<u64>());
        assert!(load.blocks.iter().all(|(_, slots)| *slots <= SLOTS_PER_SEGMENT));
        assert!(!base.is_provisional() && (load.blocks.is_empty() || base.slot() == 0), "{base}");
    }
    assert_eq!(body.finish(&placement), data);
}

/// The sections of those that are records.
#[cfg(test)]
pub(crate) fn sections<'a>(records: impl Iterator<Item = &'a [u8]>) -> Vec<HeapSection> {
    let bodies = records.filter_map(|bytes| RecordBody::decode(bytes.to_vec()).ok());
    bodies.flat_map(|(body, _)| body.sections().to_vec()).collect()
}

/// Many marks stand on segments that ascend and are there, or are loaded; each successor is a row of the record or of a load.
fn check_many(section: &HeapSection, places: &RowPlaces) {
    assert!(section.dense.is_sorted_by(|left, right| left.0 < right.0));
    let mut ended = u64::from(section.marks);
    for (segment, marks) in &section.dense {
        check_dense(marks);
        ended += u64::from(marks.count());
        let found = places.segment(*segment);
        assert!(found.is_some_and(|found| !found.first_row().is_provisional()), "segment {segment}");
        for (first, count) in marks.runs().filter(|(first, _)| *first != DenseMarks::NONE) {
            let last = first + u64::from(count) - 1;
            assert!(places.find(first).is_some() && places.find(last).is_some(), "rows {first} to {last}");
        }
    }
    assert_eq!(section.ended(), ended);
}
