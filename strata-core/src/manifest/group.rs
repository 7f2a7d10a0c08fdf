//! A group of edits: 64 bytes of header, then the payload, then zeros up to the next 4 KiB boundary.
//!
//! The payload is the journal position (u64) that the group's blocks build on, the count of edits (u32), the edits.
//!
//! In every version magic, version, file number and the header's checksum keep their places, so that a group of a newer one is
//! told from bytes that are none: those may be a torn tail, which leaves an older state.

use crate::codec::{Cursor, Decoded, put_count, put_u64};
use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::manifest::codec::{self, Reader};
use crate::manifest::edit::Edit;

/// Groups, and the file's header, begin on multiples of this.
pub(super) const ALIGNMENT: u64 = 4096;
/// Length of the headers of file and group.
pub(super) const HEADER_BYTES: usize = 64;
/// The longest payload.
pub(super) const MAX_PAYLOAD_BYTES: usize = 1 << 30;
const MAGIC: [u8; 4] = *b"SMEG";
const VERSION: u16 = 1;

/// Room in a file is made in steps of this.
pub(super) const ROOM_STEP_BYTES: u64 = 64 << 10;

/// The fields of a group header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// The number of the manifest file.
    pub number: u64,
    /// The group's place in the file, from 0.
    pub sequence: u64,
    /// The checksum of the group before; of the file's header for the first.
    pub previous: u32,
    pub payload_bytes: u32,
    /// The length that the file had, synced, before the group was written, in [`ROOM_STEP_BYTES`]; 0 where that is not told.
    pub room: u16,
}

impl GroupHeader {
    /// The header's bytes and the group checksum.
    pub fn encode(&self, payload: &[u8]) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.room.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.previous.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.payload_bytes.to_le_bytes());
        let checksum = group_checksum(&bytes, payload);
        bytes[32..36].copy_from_slice(&checksum.to_le_bytes());
        let own = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&own.to_le_bytes());
        (bytes, checksum)
    }

    /// The fields and the group checksum, if the header is intact.
    ///
    /// # Errors
    /// `UnsupportedFormat` for an intact header that another version wrote in the file of this number.
    pub fn decode(bytes: &[u8; HEADER_BYTES], number: u64) -> Result<Option<(Self, u32)>> {
        let sealed = u32::from_le_bytes(field(bytes, 36)) == crc32fast::hash(&bytes[..36]);
        if field::<4>(bytes, 0) != MAGIC || !sealed {
            return Ok(None);
        }
        let version = u16::from_le_bytes(field(bytes, 4));
        if version != VERSION {
            let is_own = u64::from_le_bytes(field(bytes, 8)) == number;
            let (found, supported) = (version.into(), VERSION.into());
            let newer = Error::UnsupportedFormat { what: "the manifest".into(), found, supported };
            return if is_own { Err(newer) } else { Ok(None) };
        }
        let header = Self {
            number: u64::from_le_bytes(field(bytes, 8)),
            sequence: u64::from_le_bytes(field(bytes, 16)),
            previous: u32::from_le_bytes(field(bytes, 24)),
            payload_bytes: u32::from_le_bytes(field(bytes, 28)),
            room: u16::from_le_bytes(field(bytes, 6)),
        };
        let possible = header.payload_bytes as usize <= MAX_PAYLOAD_BYTES;
        Ok(possible.then(|| (header, u32::from_le_bytes(field(bytes, 32)))))
    }

    /// Bytes in the file, padding included.
    pub fn total_bytes(&self) -> u64 {
        group_bytes(self.payload_bytes as usize)
    }

    /// The least length of the file that the group stands in.
    pub fn room_bytes(&self) -> u64 {
        u64::from(self.room) * ROOM_STEP_BYTES
    }
}

/// Bytes in the file of a group with a payload of so many, padding included.
pub(super) fn group_bytes(payload_bytes: usize) -> u64 {
    ((HEADER_BYTES + payload_bytes) as u64).next_multiple_of(ALIGNMENT)
}

/// The checksum over a header's fields and the payload.
pub(super) fn group_checksum(header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..32]);
    hasher.update(payload);
    hasher.finalize()
}

/// `N` bytes of a header at a constant offset.
pub(super) fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The payload of a group.
pub(super) fn encode_payload(journal_lsn: Lsn, edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, journal_lsn.get());
    put_count(&mut out, edits.len());
    for edit in edits {
        codec::encode(edit, &mut out);
    }
    out
}

/// The journal position and the edits of a payload.
pub(super) fn decode_payload(payload: &[u8]) -> Decoded<(Lsn, Vec<Edit>)> {
    let mut fields = Cursor::new(payload);
    let journal_lsn = Lsn::new(fields.u64()?);
    let count = fields.u32()?;
    let mut reader = Reader::new(fields);
    let mut edits = Vec::new();
    for _ in 0..count {
        edits.push(reader.edit()?);
    }
    reader.finish()?;
    Ok((journal_lsn, edits))
}
