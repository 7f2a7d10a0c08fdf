//! Row pages: the slotted form of hot rows in memory and on disk.
//!
//! The payload of a [`BlockKind::RowPage`](crate::block::BlockKind::RowPage) block, format 1; the byte table is in
//! `docs/format/row-page.md`. Rows stand one after the other behind a 24-byte header; the slot directory grows
//! from the payload's end towards them and holds the end offset of each row. A *slotted* page's payload fills, with
//! the block's own header, exactly eight 4 KiB pages. A row that does not fit into an empty slotted page has a *jumbo* page of
//! its own: one row, no directory, as long as it needs to be.
//!
//! **Trust.** The bytes are checksummed by the block store. [`RowPage::parse`] verifies form, length and the bounds of
//! every slot once; later reads of a slot below [`RowPage::count`] cannot fail.

use crate::error::{Error, Result};
use crate::ids::{BlockId, HeapId, SegmentId};

/// The newest format version of the payload.
pub const ROW_PAGE_FORMAT: u16 = 1;
/// Bytes of a slotted page's payload: a 32 KiB extent less the block store's header of 64 bytes.
pub const PAGE_BYTES: usize = 32_768 - 64;
/// Bytes before the first row.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes of one entry of the slot directory.
pub(super) const SLOT_BYTES: usize = 2;
/// The longest row that an empty slotted page takes.
pub const MAX_SLOTTED_ROW: usize = PAGE_BYTES - HEADER_BYTES - SLOT_BYTES;

const FORM_SLOTTED: u8 = 0;
const FORM_JUMBO: u8 = 1;
const _: () = assert!(PAGE_BYTES <= u16::MAX as usize);

/// Where a page's rows belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageAddress {
    /// The heap.
    pub heap: HeapId,
    /// The segment.
    pub segment: SegmentId,
    /// The slot of the page's first row.
    pub first_slot: u16,
}

/// A verified, immutable page.
pub struct RowPage {
    payload: Vec<u8>,
    address: PageAddress,
    count: u32,
    jumbo: bool,
}

/// Writes the header of a page whose rows end at `rows_end` into `payload`.
pub(super) fn write_header(
    payload: &mut [u8],
    address: PageAddress,
    count: u16,
    rows_end: usize,
    jumbo: bool,
) {
    let form = if jumbo { FORM_JUMBO } else { FORM_SLOTTED };
    let rows_end = u32::try_from(rows_end).expect("a row is at most 256 MiB");
    payload[0..4].copy_from_slice(&address.heap.get().to_le_bytes());
    payload[4] = form;
    payload[5..8].fill(0);
    payload[8..16].copy_from_slice(&address.segment.get().to_le_bytes());
    payload[16..18].copy_from_slice(&address.first_slot.to_le_bytes());
    payload[18..20].copy_from_slice(&count.to_le_bytes());
    payload[20..24].copy_from_slice(&rows_end.to_le_bytes());
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

impl RowPage {
    /// The jumbo page of one row.
    pub fn jumbo(address: PageAddress, row: &[u8]) -> Self {
        let mut payload = vec![0; HEADER_BYTES + row.len()];
        payload[HEADER_BYTES..].copy_from_slice(row);
        let rows_end = payload.len();
        write_header(&mut payload, address, 1, rows_end, true);
        Self { payload, address, count: 1, jumbo: true }
    }

    /// Takes over a payload, verifying all of it.
    ///
    /// # Errors
    /// `CorruptBlock` naming `block` and the offset of what is wrong.
    pub fn parse(block: BlockId, payload: Vec<u8>) -> Result<Self> {
        match Self::verify(&payload) {
            Ok((address, count, jumbo)) => Ok(Self { payload, address, count, jumbo }),
            Err((offset, detail)) => Err(Error::CorruptBlock { block, offset: offset as u64, detail }),
        }
    }

    fn verify(payload: &[u8]) -> std::result::Result<(PageAddress, u32, bool), (usize, String)> {
        let short = || (payload.len(), format!("a row page of {} bytes has no header", payload.len()));
        let address = PageAddress {
            heap: HeapId::new(u32::from_le_bytes(array(payload, 0).ok_or_else(short)?)),
            segment: SegmentId::new(u64::from_le_bytes(array(payload, 8).ok_or_else(short)?)),
            first_slot: u16::from_le_bytes(array(payload, 16).ok_or_else(short)?),
        };
        let count = u16::from_le_bytes(array(payload, 18).ok_or_else(short)?);
        let rows_end = u32::from_le_bytes(array(payload, 20).ok_or_else(short)?) as usize;
        if u32::from(address.first_slot) + u32::from(count) > crate::ids::SLOTS_PER_SEGMENT {
            return Err((16, format!("slots {} + {count} exceed a segment", address.first_slot)));
        }
        match payload[4] {
            FORM_JUMBO if count == 1 && rows_end == payload.len() => Ok((address, 1, true)),
            FORM_JUMBO => Err((18, format!("a jumbo page of {count} rows ends at {rows_end}"))),
            FORM_SLOTTED if payload.len() != PAGE_BYTES => {
                Err((0, format!("a slotted page of {} bytes, expected {PAGE_BYTES}", payload.len())))
            }
            FORM_SLOTTED => {
                let directory = PAGE_BYTES.saturating_sub(usize::from(count) * SLOT_BYTES);
                if directory < HEADER_BYTES {
                    return Err((18, format!("the slots of {count} rows are longer than the page")));
                }
                let mut end = HEADER_BYTES;
                for slot in 0..usize::from(count) {
                    let next = slot_end(payload, slot);
                    if next < end || next > directory {
                        let at = PAGE_BYTES - (slot + 1) * SLOT_BYTES;
                        return Err((at, format!("row {slot} spans {end}..{next}, rows end by {directory}")));
                    }
                    end = next;
                }
                if end != rows_end {
                    return Err((20, format!("rows end at {end}, the header says {rows_end}")));
                }
                Ok((address, u32::from(count), false))
            }
            form => Err((4, format!("unknown form {form} of a row page"))),
        }
    }

    /// Where the rows belong.
    pub fn address(&self) -> PageAddress {
        self.address
    }

    /// Rows in the page.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The bytes of the page's `index`-th row; `None` past the last.
    pub fn row(&self, index: u32) -> Option<&[u8]> {
        if index >= self.count {
            return None;
        }
        if self.jumbo {
            return self.payload.get(HEADER_BYTES..);
        }
        let index = index as usize;
        let start = if index == 0 { HEADER_BYTES } else { slot_end(&self.payload, index - 1) };
        self.payload.get(start..slot_end(&self.payload, index))
    }

    /// The payload, as it stands on disk.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Bytes of memory that the page takes.
    pub fn size_bytes(&self) -> usize {
        self.payload.capacity() + size_of::<Self>()
    }
}

/// The end offset of a row of a slotted page whose length has been verified.
fn slot_end(payload: &[u8], index: usize) -> usize {
    let at = PAGE_BYTES - (index + 1) * SLOT_BYTES;
    usize::from(u16::from_le_bytes([payload[at], payload[at + 1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::append_page::AppendPage;

    fn address() -> PageAddress {
        PageAddress { heap: HeapId::new(0x0403_0201), segment: SegmentId::new(0x1122), first_slot: 0x0506 }
    }

    fn block() -> BlockId {
        BlockId::from_extent(1, 8).expect("fits")
    }

    fn slotted(rows: &[&[u8]]) -> Vec<u8> {
        let page = AppendPage::new(address());
        let mut appender = page.appender().expect("one writer");
        for row in rows {
            assert!(appender.append(row));
        }
        page.payload(page.count())
    }

    #[test]
    fn golden_bytes_of_a_slotted_page() {
        let payload = slotted(&[b"abc", b"", b"de"]);
        assert_eq!(payload.len(), PAGE_BYTES);
        assert_eq!(
            payload[..29],
            [
                1, 2, 3, 4, 0, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 6, 5, 3, 0, 29, 0, 0, 0, b'a', b'b',
                b'c', b'd', b'e'
            ]
        );
        assert_eq!(payload[PAGE_BYTES - 6..], [29, 0, 27, 0, 27, 0]);
        assert!(payload[29..PAGE_BYTES - 6].iter().all(|byte| *byte == 0));
        let page = RowPage::parse(block(), payload).expect("valid");
        assert_eq!((page.address(), page.count()), (address(), 3));
        let rows: Vec<_> = (0..4).map(|index| page.row(index)).collect();
        assert_eq!(rows, [Some(&b"abc"[..]), Some(&b""[..]), Some(&b"de"[..]), None]);
    }

    #[test]
    fn golden_bytes_of_a_jumbo_page() {
        let row = vec![7; MAX_SLOTTED_ROW + 1];
        let page = RowPage::jumbo(address(), &row);
        let header = [1, 2, 3, 4, 1, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 6, 5, 1, 0, 0xBF, 0x7F, 0, 0];
        assert_eq!(page.payload()[..24], header);
        let page = RowPage::parse(block(), page.payload().to_vec()).expect("valid");
        assert_eq!((page.row(0), page.row(1)), (Some(&row[..]), None));
    }

    #[test]
    fn every_slot_is_verified() {
        let good = slotted(&[b"abc", b"de"]);
        let refused = |at: usize, byte: u8| {
            let mut payload = good.clone();
            payload[at] = byte;
            matches!(RowPage::parse(block(), payload), Err(Error::CorruptBlock { .. }))
        };
        assert!(refused(4, 9), "form");
        assert!(refused(4, 1), "jumbo of two rows");
        assert!(refused(18, 3), "count");
        assert!(refused(20, 28), "end of rows");
        assert!(refused(PAGE_BYTES - 1, 0xFF), "first end past the directory");
        assert!(refused(PAGE_BYTES - 2, 23), "first end inside the header");
        assert!(refused(PAGE_BYTES - 4, 25), "ends go down");
        for length in [0, 23, 24, PAGE_BYTES - 1] {
            assert!(RowPage::parse(block(), good[..length].to_vec()).is_err());
        }
        for count in [16_353_u16, 32_768, u16::MAX] {
            let mut many = good.clone();
            many[16..18].copy_from_slice(&0_u16.to_le_bytes());
            many[18..20].copy_from_slice(&count.to_le_bytes());
            assert!(
                RowPage::parse(block(), many).is_err(),
                "a directory of {count} rows is longer than the page"
            );
        }
        let mut wide = good.clone();
        wide[16..18].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(RowPage::parse(block(), wide).is_err(), "slots past the segment");
    }
}
