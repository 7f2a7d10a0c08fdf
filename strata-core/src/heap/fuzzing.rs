//! What must hold of any bytes that are read as delete marks or as a row page.

use super::append_page::AppendPage;
use super::marks::codec::{MARKS_FORMAT, MarkGroup, MarksImage, WORDS};
use super::marks::{DenseMarks, Successor, set_slots};
use super::row_page::{HEADER_BYTES, PAGE_BYTES, PageAddress, RowPage};
use crate::codec::choices::Choices;
use crate::codec::{Cursor, put_u64};
use crate::ids::{BlockId, HeapId, RowId, SegmentId, Timestamp};

fn block() -> BlockId {
    BlockId::from_extent(1, 8).expect("fits")
}

/// No row, and no RowId, has a number from here on.
const LIMIT: u64 = 1 << 63;

/// Delete marks, of a block or of a commit record: what is read is written and read again as the same. So are marks that the bytes choose.
pub(crate) fn marks(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(4) {
        0 => check_image(&any_marks(&mut choices)),
        1 => {
            if let Some(image) = image(choices.rest()) {
                check_image(&image);
            }
        }
        2 => check_dense(&any_dense(&mut choices)),
        _ => {
            // A bitmap takes 8 KiB, in which a fuzzer would lose its way: the bytes choose it, and are what follows.
            let mut bytes = Vec::new();
            any_slots(&mut choices).into_iter().for_each(|word| put_u64(&mut bytes, word));
            bytes.extend(choices.rest());
            if let Ok(marks) = DenseMarks::decode(&mut Cursor::new(&bytes), LIMIT) {
                check_dense(&marks);
            }
        }
    }
}

/// The delete marks that these bytes are.
pub(crate) fn image(data: &[u8]) -> Option<MarksImage> {
    MarksImage::decode(block(), MARKS_FORMAT, data).ok()
}

fn check_image(image: &MarksImage) {
    assert_eq!(image.dead.len(), WORDS);
    let read = MarksImage::decode(block(), MARKS_FORMAT, &image.encode());
    assert_eq!(&read.expect("what was encoded is read"), image);
}

/// Many marks on a segment ascend, and are told alike by each way of asking; written, they are read as the same.
pub(crate) fn check_dense(marks: &DenseMarks) {
    let all: Vec<(u16, u64)> = marks.iter().collect();
    assert!(all.is_sorted_by(|left, right| left.0 < right.0));
    let slots = set_slots(marks.words());
    assert!(all.iter().map(|(slot, _)| *slot).eq(slots));
    assert_eq!(all.len(), marks.count() as usize);
    assert_eq!(DenseMarks::collect(all.iter().copied()), *marks);
    assert_eq!(marks.map(|first, _| (first, 1)), *marks);
    assert_eq!(marks.runs().count(), marks.run_count());
    for slot in (0..=u16::MAX).step_by(509) {
        let expected = all.binary_search_by_key(&slot, |mark| mark.0).ok().map(|place| all[place].1);
        assert_eq!(marks.find(slot), expected, "slot {slot}");
    }
    let mut bytes = Vec::new();
    marks.encode(&mut bytes);
    let named = all.iter().filter(|(_, successor)| *successor != DenseMarks::NONE);
    let end = named.map(|(_, successor)| successor + 1).max().unwrap_or(0);
    let read = |limit| {
        let mut fields = Cursor::new(&bytes);
        DenseMarks::decode(&mut fields, limit).map(|marks| (marks, fields.remaining()))
    };
    let (again, left) = read(end).expect("what was encoded is read");
    assert_eq!((&again, left), (marks, 0));
    assert!(end == 0 || read(end - 1).is_err(), "a successor that is not there");
}

fn any_dense(choices: &mut Choices<'_>) -> DenseMarks {
    let slots = any_slots(choices);
    let (mut kind, mut next, mut left) = (0, 0, 0_u32);
    DenseMarks::collect(set_slots(&slots).map(|slot| {
        if left == 0 {
            (kind, left) = (choices.below(4), 1 + u32::from(choices.u16()));
            next = choices.u64() % (LIMIT - (1 << 17));
        }
        left -= 1;
        let successor = match kind {
            0 => DenseMarks::NONE,
            1 => next + u64::from(slot),
            2 => next + u64::from(slot.wrapping_mul(7919)),
            _ => next.wrapping_mul(u64::from(slot) | 1) % LIMIT,
        };
        (slot, successor)
    }))
}

/// Slots as a bitmap: stretches, of which every slot or only some are set.
fn any_slots(choices: &mut Choices<'_>) -> Vec<u64> {
    let mut words = vec![0_u64; WORDS];
    for _ in 0..choices.below(20) {
        let (first, count, step) = (choices.u16(), choices.u8(), 1 + choices.below(4));
        for slot in (first..=first.saturating_add(u16::from(count) * 64)).step_by(step) {
            words[usize::from(slot) / 64] |= 1 << (slot % 64);
        }
    }
    words
}

fn any_marks(choices: &mut Choices<'_>) -> MarksImage {
    let dead = any_slots(choices);
    let slots: Vec<u16> = set_slots(&dead).collect();
    let mut end_ts = 0;
    let groups = (0..choices.below(5))
        .map(|_| {
            end_ts += 1 + u64::from(choices.u8());
            let step = 1 + usize::from(choices.u16());
            let marks = slots
                .iter()
                .skip(choices.below(9))
                .step_by(step)
                .take(50)
                .map(|slot| (*slot, (choices.below(2) == 0).then(|| any_successor(choices.u64()))));
            MarkGroup { end_ts: Timestamp::new(end_ts), marks: marks.collect() }
        })
        .collect();
    let (heap, segment) = (HeapId::new(choices.u32()), SegmentId::new(choices.u64()));
    MarksImage { heap, segment, dead, floor: Timestamp::new(choices.u64()), groups }
}

fn any_successor(bits: u64) -> Successor {
    Successor { row: RowId::new(bits >> 2), moved: bits & 2 != 0 }
}

/// A row page: its rows, written again, are read as the same. The bytes give the page's two ends, or rows to write.
pub(crate) fn row_page(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(3) {
        0 => {
            let address = PageAddress {
                heap: HeapId::new(choices.u32()),
                segment: SegmentId::new(choices.u64()),
                first_slot: choices.u16() >> 1,
            };
            let mut rows = Vec::new();
            while !choices.is_empty() {
                let long = if choices.below(16) == 15 { usize::from(choices.u16()) } else { 0 };
                rows.push([choices.sized(), &vec![7; long]].concat());
            }
            check_rows(address, &rows);
        }
        1 => check_payload(choices.rest().to_vec()),
        _ => {
            let directory = 2 * choices.below(256);
            let rest = choices.rest();
            let mut payload = vec![0; PAGE_BYTES];
            let (rows, slots) = rest.split_at(rest.len().saturating_sub(directory));
            let rows = &rows[..rows.len().min(PAGE_BYTES - slots.len())];
            payload[..rows.len()].copy_from_slice(rows);
            payload[PAGE_BYTES - slots.len()..].copy_from_slice(slots);
            check_payload(payload);
        }
    }
}

fn check_payload(payload: Vec<u8>) {
    let Ok(page) = RowPage::parse(block(), payload) else { return };
    assert_eq!(page.row(page.count()), None);
    let row = |index| page.row(index).expect("a verified page has its rows").to_vec();
    let rows: Vec<Vec<u8>> = (0..page.count()).map(row).collect();
    if page.payload().len() == PAGE_BYTES && page.payload()[4] == 0 {
        assert_eq!(check_rows(page.address(), &rows), rows.len());
    } else {
        let again = RowPage::jumbo(page.address(), &rows[0]);
        assert_eq!(again.payload()[HEADER_BYTES..], page.payload()[HEADER_BYTES..]);
        assert_eq!(
            RowPage::parse(block(), again.payload().to_vec()).expect("a page").row(0),
            Some(&rows[0][..])
        );
    }
}

/// Appends the rows to a hot page, and reads them from it and from what it is on disk. Returns how many fit.
fn check_rows(address: PageAddress, rows: &[Vec<u8>]) -> usize {
    let page = AppendPage::new(address);
    let mut appender = page.appender().expect("one writer");
    let fitting = rows.iter().take_while(|row| appender.append(row)).count();
    for count in [fitting, fitting / 2] {
        let Ok(stored) = RowPage::parse(block(), page.payload(count as u32)) else {
            panic!("{count} rows from slot {} on are a page", address.first_slot)
        };
        assert_eq!((stored.count() as usize, stored.address()), (count, address));
        for (index, row) in rows.iter().take(count).enumerate() {
            assert_eq!((page.row(index as u32), stored.row(index as u32)), (Some(&row[..]), Some(&row[..])));
        }
    }
    fitting
}
