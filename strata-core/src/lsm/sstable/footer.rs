//! The footer: the last 32 bytes of a table's payload.

use crate::lsm::sstable::codec::{Input, Malformed};
use crate::lsm::sstable::frame::FrameRef;

pub(crate) const FOOTER_BYTES: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"SsT1");

/// Where the top index is, and how much the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub entries: u64,
    pub top: FrameRef,
}

impl Footer {
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[0..8].copy_from_slice(&self.entries.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.top.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.top.len.to_le_bytes());
        bytes[24..28].copy_from_slice(&MAGIC.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a footer that starts at `offset` of the payload.
    pub fn parse(bytes: &[u8; FOOTER_BYTES], offset: u64) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes, 0);
        let (entries, top_offset, top_len) = (input.u64()?, input.u64()?, input.u32()?);
        let (reserved, magic, crc) = (input.u32()?, input.u32()?, input.u32()?);
        if crc != crc32fast::hash(&bytes[..28]) {
            return Err(Malformed("the footer's checksum does not match"));
        }
        if magic != MAGIC || reserved != 0 {
            return Err(Malformed("this is no footer of an index file"));
        }
        match top_offset.checked_add(u64::from(top_len)) {
            Some(end) if end == offset => {
                Ok(Self { entries, top: FrameRef { offset: top_offset, len: top_len } })
            }
            _ => Err(Malformed("the top index does not end where the footer starts")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_round_trip_and_flips_are_seen() {
        let footer = Footer { entries: 3, top: FrameRef { offset: 258, len: 42 } };
        let bytes = footer.encode();
        assert_eq!(bytes[..28], *b"\x03\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0SsT1");
        assert_eq!(Footer::parse(&bytes, 300), Ok(footer));
        assert!(Footer::parse(&bytes, 301).is_err());
        for at in 0..FOOTER_BYTES {
            let mut bytes = bytes;
            bytes[at] ^= 4;
            assert!(Footer::parse(&bytes, 300).is_err());
        }
    }
}
