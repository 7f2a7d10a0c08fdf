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
    let mut expected = vec![3, 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
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

/// A record of one section as an older format had it: without the count of segments with many marks.
fn older(format: u8, mut body: RecordBody) -> Vec<u8> {
    let mut bytes = body.finish(&placement()).to_vec();
    bytes[0] = format;
    bytes.drain(21..25);
    bytes
}

#[test]
fn older_formats_are_read_and_the_first_has_no_moved_rows() {
    let first = |writes: &WriteSet| older(1, RecordBody::encode(writes));
    let mut writes = WriteSet::new(&MemoryPool::new(1 << 20)).expect("memory");
    let (one, two) = (RowId::new(10), RowId::new(11));
    for row in [one, two] {
        let successor = writes.insert(HEAP, [7].as_slice().into(), Vec::new()).expect("memory");
        writes.mark(HEAP, row, Some(successor)).expect("memory");
    }
    let (read, _) = RecordBody::decode(first(&writes)).expect("valid");
    let marks: Vec<_> = read.marks(&read.sections()[0]).collect();
    assert_eq!(marks, [(one, Some(0), false), (two, Some(1), false)]);

    assert!(RecordBody::decode(older(1, body())).is_err(), "a flag that the format does not have");
    let (read, _) = RecordBody::decode(older(2, body())).expect("valid");
    assert!(read.marks(&read.sections()[0]).eq(body().marks(&body().sections()[0])));

    let mut bytes = body().finish(&placement()).to_vec();
    bytes[0] = 4;
    let damage = RecordBody::decode(bytes).expect_err("newer");
    assert!(damage.detail.contains("format 4"), "{}", damage.detail);
}

/// Of a segment that loses many rows the record has a bitmap, and runs of what replaces them.
#[test]
fn many_marks_on_a_segment_take_a_bit_each() {
    let rows = 5_000_u32;
    for (deletes, own_again) in [(false, false), (false, true), (true, false)] {
        let mut writes = WriteSet::new(&MemoryPool::new(1 << 24)).expect("memory");
        for place in 0..rows {
            let row = RowId::new((7 << 16) + 3 + 2 * u64::from(place));
            let new = || [1].as_slice().into();
            let successor = (!deletes).then(|| writes.insert(HEAP, new(), Vec::new()).expect("memory"));
            writes.mark(HEAP, row, successor).expect("memory");
        }
        if own_again {
            // One is updated twice, one deleted after all: ordinals move up.
            let again = writes.insert(HEAP, [2].as_slice().into(), Vec::new()).expect("memory");
            writes.mark(HEAP, RowId::provisional(10), Some(again)).expect("memory");
            writes.mark(HEAP, RowId::provisional(20), None).expect("memory");
        }
        let mut body = RecordBody::encode(&writes);
        let section = &body.sections()[0];
        assert_eq!((section.marks, section.ended()), (0, u64::from(rows)));
        let placed = section.rows;
        assert!(body.len_bytes() < 8_192 + 200 + 5 * placed as usize, "{} bytes", body.len_bytes());
        let mut runs = vec![vec![
            RowRun { first: RowId::new((8 << 16) + 60_000), rows: 2_000 },
            RowRun { first: RowId::new(9 << 16), rows: placed.saturating_sub(2_000) },
        ]];
        if deletes {
            runs = vec![Vec::new()];
        }
        let placement = Placement { timestamp: Timestamp::new(4), runs, row_bases: Vec::new() };
        let bytes = body.finish(&placement).to_vec();
        let (read, again) = RecordBody::decode(bytes).expect("valid");
        assert_eq!(again, placement);
        let (segment, marks) = &read.sections()[0].dense[0];
        assert_eq!((segment.get(), marks), (7, &body.sections()[0].dense[0].1));
        let expected = (0..rows).map(|place| match place {
            _ if deletes => DenseMarks::NONE,
            10 if own_again => u64::from(rows) - 2,
            20 if own_again => DenseMarks::NONE,
            0..10 => u64::from(place),
            10..20 => u64::from(place) - u64::from(own_again),
            _ => u64::from(place) - 2 * u64::from(own_again),
        });
        let slots = (0..rows).map(|place| 3 + 2 * place as u16);
        assert!(marks.iter().eq(slots.zip(expected)), "deletes {deletes}, again {own_again}");
        let places = RowPlaces::new(&again.runs[0], std::iter::empty());
        assert_eq!(places.find(1_999), (!deletes).then_some((RowId::new((8 << 16) + 61_999), 1)));
        assert_eq!(places.find(2_000).map(|found| found.0), (!deletes).then_some(RowId::new(9 << 16)));
        assert_eq!(places.find(u64::from(placed)), None);
    }
}

/// One heap with a row and a mark, and a load of one block.
fn record(run: RowRun, marked: RowId, block_slots: u32, base: RowId) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    put_u32(&mut bytes, 1);
    for field in [7, 1, 1, 0, 0] {
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
