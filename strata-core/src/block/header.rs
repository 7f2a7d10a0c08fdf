//! The 64 bytes at the start of every extent; `docs/format/block.md` has the byte table.
//!
//! The header names its own extent, so a block that was written to, or read from, another place is refused.

use super::{BlockInfo, BlockKind};
use crate::error::{Error, Result};
use crate::ids::BlockId;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"STBK";
const VERSION: u16 = 1;
const CRC_AT: usize = 60;

const _: () = assert!(HEADER_BYTES == CRC_AT + 4);

/// A header: what the extent holds, and which extent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The extent that the block was written to.
    pub id: BlockId,
    /// What it holds.
    pub info: BlockInfo,
}

impl BlockHeader {
    /// The bytes on disk.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6] = self.info.kind as u8;
        bytes[8..10].copy_from_slice(&self.info.format.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.raw().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.info.payload_bytes.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.info.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Verifies the bytes found at the start of extent `id`, in the order magic, checksum, version, address, kind,
    /// length.
    ///
    /// # Errors
    /// `CorruptBlock`; `UnsupportedFormat` for an intact header of a newer version.
    pub fn decode(bytes: &[u8; HEADER_BYTES], id: BlockId, expected: BlockKind) -> Result<Self> {
        let corrupt = |offset: u64, detail: String| Err(Error::CorruptBlock { block: id, offset, detail });
        let magic = field::<4>(bytes, 0);
        if magic != MAGIC {
            return corrupt(0, format!("expected magic {MAGIC:02x?}, found {magic:02x?}"));
        }
        let stored_crc = u32::from_le_bytes(field(bytes, CRC_AT));
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        if crc != stored_crc {
            return corrupt(60, format!("header checksum is {stored_crc:08x}, its bytes give {crc:08x}"));
        }
        let version = u16::from_le_bytes(field(bytes, 4));
        if version != VERSION {
            return Err(Error::UnsupportedFormat {
                what: "block header".to_owned(),
                found: u32::from(version),
                supported: u32::from(VERSION),
            });
        }
        let address = u64::from_le_bytes(field(bytes, 16));
        if address != id.raw() {
            let found =
                BlockId::from_raw(address).map_or_else(|| address.to_string(), |found| found.to_string());
            return corrupt(16, format!("the extent holds block {found}"));
        }
        let [kind] = field(bytes, 6);
        let kind = match BlockKind::from_number(kind) {
            Some(kind) if kind == expected => kind,
            Some(kind) => return corrupt(6, format!("expected kind {expected:?}, found {kind:?}")),
            None => return corrupt(6, format!("expected kind {expected:?}, found unknown kind {kind}")),
        };
        let payload_bytes = u64::from_le_bytes(field(bytes, 24));
        let room = id.len_bytes() - HEADER_BYTES as u64;
        if payload_bytes > room {
            return corrupt(
                24,
                format!("payload of {payload_bytes} bytes in an extent with room for {room}"),
            );
        }
        let format = u16::from_le_bytes(field(bytes, 8));
        let payload_crc = u32::from_le_bytes(field(bytes, 32));
        Ok(Self { id, info: BlockInfo { kind, format, payload_bytes, payload_crc } })
    }
}

/// `N` bytes at a constant offset; the header's length is known, so this cannot fail for the offsets above.
fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[offset + index])
}

/// The pages that a payload of `payload_bytes` takes with its header.
///
/// # Errors
/// `TooLarge` above what a [`BlockId`] can name.
pub fn pages_for(payload_bytes: usize) -> Result<u64> {
    const LIMIT: u64 = ((1 << 24) - 1) * BlockId::PAGE_BYTES - HEADER_BYTES as u64;
    let size = payload_bytes as u64;
    if size > LIMIT {
        return Err(Error::TooLarge { what: "block", size, limit: LIMIT });
    }
    Ok((size + HEADER_BYTES as u64).div_ceil(BlockId::PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BlockHeader {
        let id = BlockId::from_extent(0x0102, 3).expect("fits");
        let info =
            BlockInfo { kind: BlockKind::SsTable, format: 7, payload_bytes: 9_001, payload_crc: 0xa1b2_c3d4 };
        BlockHeader { id, info }
    }

    #[test]
    fn golden_bytes() {
        #[rustfmt::skip]
        let golden: [u8; HEADER_BYTES] = [
            b'S', b'T', b'B', b'K', 1, 0, 4, 0,
            7, 0, 0, 0, 0, 0, 0, 0,
            0x03, 0x00, 0x00, 0x02, 0x01, 0x00, 0x00, 0x00,
            0x29, 0x23, 0, 0, 0, 0, 0, 0,
            0xd4, 0xc3, 0xb2, 0xa1, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0xa6, 0x02, 0xab, 0xd1,
        ];
        assert_eq!(sample().encode(), golden);
        let decoded = BlockHeader::decode(&golden, sample().id, BlockKind::SsTable).expect("intact");
        assert_eq!(decoded, sample());
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let intact = sample().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = intact;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = BlockHeader::decode(&bytes, sample().id, BlockKind::SsTable);
            assert!(matches!(found, Err(Error::CorruptBlock { .. })), "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn another_place_another_kind_and_a_newer_version_are_refused_by_name() {
        let bytes = sample().encode();
        let elsewhere = BlockId::from_extent(0x0103, 3).expect("fits");
        let error = BlockHeader::decode(&bytes, elsewhere, BlockKind::SsTable).expect_err("moved");
        assert!(error.to_string().contains("holds block 258+3"), "{error}");
        let error = BlockHeader::decode(&bytes, sample().id, BlockKind::Marks).expect_err("kind");
        assert!(error.to_string().contains("expected kind Marks, found SsTable"), "{error}");
        let mut newer = bytes;
        newer[4] = 2;
        let crc = crc32fast::hash(&newer[..60]).to_le_bytes();
        newer[60..].copy_from_slice(&crc);
        let error = BlockHeader::decode(&newer, sample().id, BlockKind::SsTable).expect_err("version");
        assert!(matches!(error, Error::UnsupportedFormat { found: 2, supported: 1, .. }), "{error}");
    }

    #[test]
    fn a_length_beyond_the_extent_is_refused_though_its_checksum_holds() {
        let mut header = sample();
        header.info.payload_bytes = 3 * 4096 - 63;
        let error =
            BlockHeader::decode(&header.encode(), header.id, BlockKind::SsTable).expect_err("too long");
        assert!(matches!(error, Error::CorruptBlock { offset: 24, .. }), "{error}");
    }

    #[test]
    fn pages_include_the_header() {
        assert_eq!(pages_for(0).expect("fits"), 1);
        assert_eq!(pages_for(4096 - 64).expect("fits"), 1);
        assert_eq!(pages_for(4096 - 63).expect("fits"), 2);
        assert!(matches!(pages_for(1 << 40), Err(Error::TooLarge { .. })));
    }
}
