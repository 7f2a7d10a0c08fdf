//! The bytes of a record.

use super::*;
use crate::memory::MemoryPool;

const HEAP: HeapId = HeapId::new(3);

/// A row that is updated, one that is moved, one that is deleted.
fn body() -> RecordBody {
    let mut writes = WriteSet::new(&MemoryPool::new(1 << 20)).expect("memory");
    let updated = writes.insert(HEAP, [7].as_slice().into(), Vec::new()).expect("memory");
    let key = (IndexId::new(5), [9].as_slice().into());
    let moved = writes.insert(HEAP, [8].as_slice().into(), vec![key]).expect("memory");
    writes.mark(HEAP, RowId::new(10), Some(updated)).expect("memory");
    writes.move_row(HEAP, RowId::new(11), moved).expect("memory");
    writes.mark(HEAP, RowId::new(12), None).expect("memory");
    RecordBody::encode(&writes)
}

fn placement() -> Placement {
    let runs = vec![vec![RowRun { first: RowId::new(20), rows: 2 }]];
    Placement { timestamp: Timestamp::new(4), runs, row_bases: Vec::new() }
}

#[test]
fn golden_bytes() {
    let mut body = body();
    let none = [0xFF; 8];
    let mut expected = vec![2, 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0];
    expected.extend([1, 0, 0, 0, 7, 1, 0, 0, 0, 8]);
    expected.extend([[10, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]].concat());
    expected.extend([[11, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0x80]].concat());
    expected.extend([[12, 0, 0, 0, 0, 0, 0, 0], none].concat());
    expected.extend([5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9]);
    expected.extend([0; 4]);
    let trailer = [
        &[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0][..],
        &[24, 0, 0, 0, 0, 0, 0, 0],
    ];
    expected.extend(trailer.concat());
    assert_eq!(body.finish(&placement()), expected);
}

#[test]
fn marks_come_back_with_what_became_of_the_row() {
    let bytes = body().finish(&placement()).to_vec();
    let (read, placed) = RecordBody::decode(bytes).expect("valid");
    assert_eq!(placed, placement());
    let marks: Vec<_> = read.marks(&read.sections()[0]).collect();
    let row = RowId::new;
    assert_eq!(marks, [(row(10), Some(0), false), (row(11), Some(1), true), (row(12), None, false)]);
}

#[test]
fn the_first_format_is_read_and_has_no_moved_rows() {
    let first = |writes: &WriteSet| {
        let mut bytes = RecordBody::encode(writes).finish(&placement()).to_vec();
        bytes[0] = 1;
        bytes
    };
    let mut writes = WriteSet::new(&MemoryPool::new(1 << 20)).expect("memory");
    let (one, two) = (RowId::new(10), RowId::new(11));
    for row in [one, two] {
        let successor = writes.insert(HEAP, [7].as_slice().into(), Vec::new()).expect("memory");
        writes.mark(HEAP, row, Some(successor)).expect("memory");
    }
    let (read, _) = RecordBody::decode(first(&writes)).expect("valid");
    let marks: Vec<_> = read.marks(&read.sections()[0]).collect();
    assert_eq!(marks, [(one, Some(0), false), (two, Some(1), false)]);

    let mut bytes = body().finish(&placement()).to_vec();
    bytes[0] = 1;
    assert!(RecordBody::decode(bytes.clone()).is_err(), "a flag that the format does not have");
    assert_eq!(RecordBody::newer_format(&bytes), None);
    bytes[0] = 3;
    assert_eq!(RecordBody::newer_format(&bytes), Some(3));
    let damage = RecordBody::decode(bytes).expect_err("newer");
    assert!(damage.detail.contains("format 3"), "{}", damage.detail);
}

/// One heap with a row and a mark, and a load of one block.
fn record(run: RowRun, marked: RowId, block_slots: u32, base: RowId) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    put_u32(&mut bytes, 1);
    for field in [7, 1, 1, 0] {
        put_u32(&mut bytes, field);
    }
    put_sized(&mut bytes, b"row");
    put_u64(&mut bytes, marked.get());
    put_u64(&mut bytes, NO_SUCCESSOR);
    put_u32(&mut bytes, 1);
    let block = crate::ids::BlockId::from_extent(5, 1).expect("fits");
    put_load(
        &mut bytes,
        &BulkPart::new(LoadId::new(3), HeapId::new(7), vec![(block, block_slots)], Vec::new(), false),
    );
    let loads = Vec::new();
    let mut body = RecordBody { bytes, sections: Vec::new(), loads };
    let placement = Placement { timestamp: Timestamp::new(9), runs: vec![vec![run]], row_bases: vec![base] };
    body.finish(&placement).to_vec()
}

fn run(first: u64, rows: u32) -> RowRun {
    RowRun { first: RowId::new(first), rows }
}

#[test]
fn a_record_that_names_rows_that_cannot_be_is_refused() {
    let (row, base) = (RowId::new(4), RowId::new(5 << 16));
    let good = record(run(65_535, 1), row, 65_536, base);
    assert!(RecordBody::decode(good).is_ok());
    let refused = |bytes: Vec<u8>| RecordBody::decode(bytes).err().map(|damage| damage.detail);
    for (bytes, detail) in [
        (record(run(u64::MAX, 1), row, 1, base), "a run"),
        (record(run(4, 1), RowId::provisional(4), 1, base), "a mark"),
        (record(run(4, 1), row, 65_537, base), "a block of 65537 slots"),
        (record(run(4, 1), row, 1, base.next()), "a load"),
        (record(run(4, 1), row, 1, RowId::provisional(0)), "a load"),
    ] {
        let found = refused(bytes);
        assert!(found.as_ref().is_some_and(|found| found.starts_with(detail)), "{detail}: {found:?}");
    }
    // Two runs of a section that has one row.
    let mut long = record(run(65_535, 1), row, 1, base);
    let rows_at = long.len() - 8 - 8 - 4;
    long[rows_at..rows_at + 4].copy_from_slice(&2_u32.to_le_bytes());
    assert!(refused(long).is_some());
}
