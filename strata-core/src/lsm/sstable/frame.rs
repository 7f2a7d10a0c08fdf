//! Frames: the checksummed, maybe compressed pieces that a table's payload consists of.
//!
//! A frame is its stored bytes, one byte naming the compression, and a CRC-32 of its offset, the stored bytes and
//! that byte. The offset in the sum makes a frame that was read from the wrong place an error.

use crate::block::BlockStore;
use crate::error::{Error, Result};
use crate::ids::BlockId;
use crate::lsm::sstable::PAYLOAD_OFFSET;
use crate::lsm::sstable::codec::{Input, Malformed};

/// Bytes behind the stored ones: the compression and the checksum.
pub(crate) const TRAILER_BYTES: usize = 5;
/// Stored as they are.
const PLAIN: u8 = 0;
/// `u32 LE` length, then LZ4 block format.
const LZ4: u8 = 1;
/// LZ4 can not shrink by more.
const LZ4_MAX_RATIO: usize = 255;

/// Where a frame is in the payload, trailer included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameRef {
    pub offset: u64,
    pub len: u32,
}

/// Appends `raw` to the payload as a frame.
///
/// # Errors
/// `TooLarge` where the frame is longer than its 32-bit length can say.
pub(crate) fn append(payload: &mut Vec<u8>, raw: &[u8], compress: bool) -> Result<FrameRef> {
    let start = payload.len();
    let offset = start as u64;
    let compressed = if compress { lz4(raw) } else { None };
    let kind = if compressed.is_some() { LZ4 } else { PLAIN };
    let stored = compressed.as_deref().unwrap_or(raw);
    let len = u32::try_from(stored.len() + TRAILER_BYTES).map_err(|_| Error::TooLarge {
        what: "a block of an index",
        size: stored.len() as u64,
        limit: u64::from(u32::MAX),
    })?;
    payload.extend_from_slice(stored);
    payload.push(kind);
    let crc = checksum(offset, &payload[start..]);
    payload.extend_from_slice(&crc.to_le_bytes());
    Ok(FrameRef { offset, len })
}

/// Reads and verifies a frame.
pub(crate) fn read(store: &dyn BlockStore, block: BlockId, frame: FrameRef) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(frame.len).unwrap_or(usize::MAX)];
    store.read(block, frame.offset, &mut bytes)?;
    open(frame.offset, bytes).map_err(|malformed| damaged(block, frame.offset, malformed))
}

/// The error of a malformed piece of a table that starts at `offset` of the payload.
pub(crate) fn damaged(block: BlockId, offset: u64, Malformed(detail): Malformed) -> Error {
    Error::CorruptBlock { block, offset: PAYLOAD_OFFSET.saturating_add(offset), detail: detail.to_owned() }
}

/// Checks a frame's trailer and gives the raw bytes back.
pub(super) fn open(offset: u64, mut frame: Vec<u8>) -> std::result::Result<Vec<u8>, Malformed> {
    let cut = Malformed("a frame shorter than its trailer");
    let crc_at = frame.len().checked_sub(4).ok_or(cut)?;
    let found = Input::new(&frame, crc_at).u32()?;
    frame.truncate(crc_at);
    if checksum(offset, &frame) != found {
        return Err(Malformed("the checksum does not match"));
    }
    match frame.pop().ok_or(cut)? {
        PLAIN => Ok(frame),
        LZ4 => {
            let mut input = Input::new(&frame, 0);
            let len = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
            let compressed = input.take(frame.len() - input.at())?;
            if len > compressed.len().saturating_mul(LZ4_MAX_RATIO) {
                return Err(Malformed("a length that its compressed bytes can not have"));
            }
            let mut raw = vec![0; len];
            match lz4_flex::block::decompress_into(compressed, &mut raw) {
                Ok(written) if written == len => Ok(raw),
                _ => Err(Malformed("the compressed bytes do not decode")),
            }
        }
        _ => Err(Malformed("an unknown compression")),
    }
}

/// The compressed form where it saves at least an eighth.
fn lz4(raw: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(raw.len()).ok()?;
    let mut stored = vec![0; 4 + lz4_flex::block::get_maximum_output_size(raw.len())];
    stored[..4].copy_from_slice(&len.to_le_bytes());
    let written = lz4_flex::block::compress_into(raw, &mut stored[4..]).ok()?;
    stored.truncate(4 + written);
    (stored.len() <= raw.len() - raw.len() / 8).then_some(stored)
}

pub(super) fn checksum(offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_plain_and_compressed() {
        let mut payload = vec![9; 3];
        let random: Vec<u8> = (0..200u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for raw in [&b""[..], b"abc", &[7; 4000], &random] {
            for compress in [false, true] {
                let frame = append(&mut payload, raw, compress).expect("small");
                let start = usize::try_from(frame.offset).expect("small");
                let bytes = payload[start..].to_vec();
                assert_eq!(bytes.len(), frame.len as usize);
                assert_eq!(open(frame.offset, bytes.clone()).as_deref(), Ok(raw));
                assert!(open(frame.offset + 1, bytes).is_err(), "read from the wrong place");
            }
        }
        assert!(payload.len() < 5000, "the long one was compressed once");
    }

    #[test]
    fn golden_bytes() {
        let mut payload = Vec::new();
        append(&mut payload, b"ab", true).expect("small");
        assert_eq!(payload, [b'a', b'b', PLAIN, 0xde, 0x19, 0x59, 0x75]);
    }

    #[test]
    fn a_length_beyond_what_is_there_is_refused_before_it_is_allocated() {
        let mut payload = vec![0xff, 0xff, 0xff, 0xff, 0x10, b'a', LZ4];
        let crc = checksum(0, &payload);
        payload.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(open(0, payload), Err(Malformed("a length that its compressed bytes can not have")));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let mut payload = Vec::new();
        append(&mut payload, &[7; 300], true).expect("small");
        for at in 0..payload.len() * 8 {
            let mut bytes = payload.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(open(0, bytes).is_err(), "bit {at}");
        }
    }
}
