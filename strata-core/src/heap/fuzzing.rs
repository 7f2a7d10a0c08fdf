//! What must hold of any bytes that are read as delete marks or as a row page.

use super::append_page::AppendPage;
use super::marks::Successor;
use super::marks::codec::{MARKS_FORMAT, MarkGroup, MarksImage, WORDS};
use super::row_page::{HEADER_BYTES, PAGE_BYTES, PageAddress, RowPage};
use crate::codec::choices::Choices;
use crate::ids::{BlockId, HeapId, RowId, SegmentId, Timestamp};

fn block() -> BlockId {
    BlockId::from_extent(1, 8).expect("fits")
}

/// Delete marks: what is read is written and read again as the same. So are marks that the bytes choose.
pub(crate) fn marks(data: &[u8]) {
    let mut choices = Choices::new(data);
    let image = match choices.below(2) {
        0 => any_marks(&mut choices),
        _ => match MarksImage::decode(block(), MARKS_FORMAT, choices.rest()) {
            Ok(image) => image,
            Err(_) => return,
        },
    };
    assert_eq!(image.dead.len(), WORDS);
    assert_eq!(
        MarksImage::decode(block(), MARKS_FORMAT, &image.encode()).expect("what was encoded is read"),
        image
    );
}

fn any_marks(choices: &mut Choices<'_>) -> MarksImage {
    let mut dead = vec![0_u64; WORDS];
    for _ in 0..choices.below(20) {
        let (first, count) = (choices.u16(), choices.u8());
        for slot in first..=first.saturating_add(u16::from(count) * 64) {
            dead[usize::from(slot) / 64] |= 1 << (slot % 64);
        }
    }
    let slots: Vec<u16> = super::marks::set_slots(&dead).collect();
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
