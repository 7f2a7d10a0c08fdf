//! The batch: the unit that is written, checksummed and chained.
//!
//! 64 bytes of header, then the payload, then zeros up to the next 4 KiB boundary. The header has a checksum of its
//! own, so that its length can be trusted before the payload is read. The batch checksum covers header fields and
//! payload, and through `previous` all batches before it.
//!
//! In every version magic, version, segment and the header's checksum keep their places, so that a batch of a newer one is
//! told from bytes that are none: those may be a torn tail, to be cut off.

use std::path::Path;

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::window::Window;

/// Batches begin on multiples of this.
pub(super) const ALIGNMENT: u64 = 4096;
/// Length of the header.
pub(super) const HEADER_BYTES: usize = 64;
/// The longest batch, header included.
pub(super) const MAX_BATCH_BYTES: usize = 1 << 20;
const MAGIC: [u8; 4] = *b"SJBA";
const VERSION: u16 = 1;

/// The fields of a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub epoch: u64,
    pub segment: u64,
    /// The stream position of the first payload byte.
    pub position: Lsn,
    /// What was known to be synced when this was written.
    pub durable: Lsn,
    /// The checksum of the batch before; of the segment header for an epoch's first batch.
    pub previous: u32,
    pub payload_bytes: u32,
}

impl BatchHeader {
    /// The header's bytes and the batch checksum.
    pub fn encode(&self, payload: &[u8]) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.position.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.get().to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.payload_bytes.to_le_bytes());
        let checksum = batch_checksum(&bytes, payload);
        bytes[48..52].copy_from_slice(&checksum.to_le_bytes());
        let own = crc32fast::hash(&bytes[..52]);
        bytes[52..56].copy_from_slice(&own.to_le_bytes());
        (bytes, checksum)
    }

    /// The fields and the batch checksum, if the header is intact.
    ///
    /// # Errors
    /// `UnsupportedFormat` for an intact header that another version wrote in this segment. In others, which a recycled file has
    /// held before, it counts as nothing.
    pub fn decode(bytes: &[u8; HEADER_BYTES], segment: u64) -> Result<Option<(Self, u32)>> {
        let sealed = u32::from_le_bytes(field(bytes, 52)) == crc32fast::hash(&bytes[..52]);
        if field::<4>(bytes, 0) != MAGIC || !sealed {
            return Ok(None);
        }
        let version = u16::from_le_bytes(field(bytes, 4));
        if version != VERSION {
            let is_own = u64::from_le_bytes(field(bytes, 16)) == segment;
            let (found, supported) = (version.into(), VERSION.into());
            let newer = Error::UnsupportedFormat { what: "the journal".into(), found, supported };
            return if is_own { Err(newer) } else { Ok(None) };
        }
        let header = Self {
            epoch: u64::from_le_bytes(field(bytes, 8)),
            segment: u64::from_le_bytes(field(bytes, 16)),
            position: Lsn::new(u64::from_le_bytes(field(bytes, 24))),
            durable: Lsn::new(u64::from_le_bytes(field(bytes, 32))),
            previous: u32::from_le_bytes(field(bytes, 40)),
            payload_bytes: u32::from_le_bytes(field(bytes, 44)),
        };
        let possible = header.payload_bytes > 0
            && header.payload_bytes as usize <= MAX_BATCH_BYTES - HEADER_BYTES
            && header.position.get().checked_add(u64::from(header.payload_bytes)).is_some();
        Ok(possible.then(|| (header, u32::from_le_bytes(field(bytes, 48)))))
    }

    /// The position behind the last payload byte.
    pub fn end(&self) -> Lsn {
        Lsn::new(self.position.get() + u64::from(self.payload_bytes))
    }

    /// Bytes in the file, padding included.
    pub fn total_bytes(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.payload_bytes)).next_multiple_of(ALIGNMENT)
    }
}

fn batch_checksum(header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..48]);
    hasher.update(payload);
    hasher.finalize()
}

/// `N` bytes of a header at a constant offset.
pub(super) fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// What stands at a place where a batch may begin.
pub(super) enum BatchAt<'a> {
    /// A batch of the expected epoch and segment whose checksums agree.
    Intact { header: BatchHeader, checksum: u32, payload: &'a [u8] },
    /// Nothing of this epoch and segment: the end of the file, zeros, or what a recycled file held before.
    Absent,
    /// Bytes that are no intact batch. `bytes` is what a search for later ones may pass over.
    Broken { detail: &'static str, bytes: u64 },
}

/// Reads what stands at `offset` of the file at `path`.
///
/// # Errors
/// `UnsupportedFormat` for a batch of another version; `Io`.
pub(super) fn read_batch<'a>(
    window: &'a mut Window,
    path: &Path,
    offset: u64,
    epoch: u64,
    segment: u64,
) -> Result<BatchAt<'a>> {
    let failed = |source| Error::io("read", path, source);
    let start = window.slice(offset, HEADER_BYTES).map_err(failed)?;
    let Some(bytes) = start.first_chunk::<HEADER_BYTES>() else {
        return Ok(BatchAt::Absent);
    };
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(BatchAt::Absent);
    }
    let bytes = *bytes;
    let Some((header, checksum)) = BatchHeader::decode(&bytes, segment)? else {
        return Ok(BatchAt::Broken { detail: "the batch header fails its checksum", bytes: ALIGNMENT });
    };
    if (header.epoch, header.segment) != (epoch, segment) {
        return Ok(BatchAt::Absent);
    }
    let wanted = HEADER_BYTES + header.payload_bytes as usize;
    let payload = window.slice(offset, wanted).map_err(failed)?.get(HEADER_BYTES..wanted);
    match payload {
        Some(payload) if batch_checksum(&bytes, payload) == checksum => {
            Ok(BatchAt::Intact { header, checksum, payload })
        }
        Some(_) => {
            Ok(BatchAt::Broken { detail: "the batch fails its checksum", bytes: header.total_bytes() })
        }
        None => Ok(BatchAt::Broken { detail: "the batch is cut short", bytes: header.total_bytes() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> BatchHeader {
        BatchHeader {
            epoch: 2,
            segment: 3,
            position: Lsn::new(0x1000),
            durable: Lsn::new(0x0f00),
            previous: 0xaabb_ccdd,
            payload_bytes: 6,
        }
    }

    #[test]
    fn golden_batch_header() {
        let (bytes, checksum) = example().encode(b"\x02\0\0\0hi");
        let mut expected = Vec::new();
        expected.extend_from_slice(b"SJBA\x01\0\0\0");
        expected.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\0\x10\0\0\0\0\0\0\0\x0f\0\0\0\0\0\0");
        expected.extend_from_slice(b"\xdd\xcc\xbb\xaa\x06\0\0\0");
        expected.extend_from_slice(GOLDEN_CHECKSUMS);
        expected.extend_from_slice(&[0; 8]);
        assert_eq!(bytes.as_slice(), expected.as_slice());
        assert_eq!(BatchHeader::decode(&bytes, 3).expect("known"), Some((example(), checksum)));
    }

    // Computed with another CRC-32 implementation.
    const GOLDEN_CHECKSUMS: &[u8] = b"\xac\x00\xa2\xd5\xbd\x18\x68\x34";

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let (bytes, _) = example().encode(b"\x02\0\0\0hi");
        for bit in 0..56 * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&flipped, 3).expect("damaged"), None, "bit {bit}");
        }
    }

    #[test]
    fn a_batch_of_another_epoch_or_segment_counts_as_nothing() {
        use crate::vfs::{MemVfs, OpenMode, Vfs};
        let file = MemVfs::new().open("/batch".as_ref(), OpenMode::CreateNew).expect("created");
        let payload = b"\x02\0\0\0hi";
        file.write_at(0, &[&example().encode(payload).0[..], payload].concat()).expect("written");
        let mut window = Window::new(file);
        let mut at = |epoch, segment| match read_batch(&mut window, "/batch".as_ref(), 0, epoch, segment)
            .expect("read")
        {
            BatchAt::Intact { .. } => "intact",
            BatchAt::Absent => "absent",
            BatchAt::Broken { .. } => "broken",
        };
        assert_eq!([at(2, 3), at(1, 3), at(2, 4)], ["intact", "absent", "absent"]);
    }

    #[test]
    fn zeros_are_no_batch() {
        assert_eq!(BatchHeader::decode(&[0; HEADER_BYTES], 0).expect("nothing"), None);
    }
}
