//! Segment files: their names, their header page, and how one is made ready for use.
//!
//! A segment is made whole (zero-filled or recycled, header written, file and folder synced) before the first batch
//! goes into it, and one after the other. So a header that is not intact is either an unfinished preparation, which
//! only the highest-numbered file can be and which holds no batch of its number, or damage. And a file that is shorter than
//! its header says has lost batches, which is not what a torn tail looks like.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::batch::{ALIGNMENT, HEADER_BYTES, field};
use crate::vfs::{File, OpenMode, Vfs};

const MAGIC: [u8; 8] = *b"STRAJRNL";
const VERSION: u32 = 1;
const SUFFIX: &str = ".journal";
/// Zeros are written and synced in steps, so that no commit's sync waits long behind them.
const FILL_BYTES: usize = 2 << 20;

/// The fields of a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub epoch: u64,
    pub segment: u64,
    /// Set in the first segment of an epoch.
    pub cut: Option<Cut>,
    /// The length that the file has at least, in whole pages: it was synced before this header was.
    pub file_bytes: u64,
}

/// Where an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The position at which older epochs end and this one begins.
    pub position: Lsn,
    /// The checksum of the batch that carries the byte before the cut; 0 where the epoch before has none.
    pub checksum: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.cut.is_some()).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.segment.to_le_bytes());
        if let Some(cut) = self.cut {
            bytes[32..40].copy_from_slice(&cut.position.get().to_le_bytes());
            bytes[40..44].copy_from_slice(&cut.checksum.to_le_bytes());
        }
        bytes[48..56].copy_from_slice(&self.file_bytes.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// The header and its checksum; `None` where the bytes are no intact header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Option<(Self, u32)>> {
        let checksum = u32::from_le_bytes(field(bytes, 60));
        if field::<8>(bytes, 0) != MAGIC || checksum != crc32fast::hash(&bytes[..60]) {
            return Ok(None);
        }
        let version = u32::from_le_bytes(field(bytes, 8));
        if version != VERSION {
            return Err(Error::UnsupportedFormat {
                what: "the journal".into(),
                found: version,
                supported: VERSION,
            });
        }
        let cut = (u32::from_le_bytes(field(bytes, 12)) != 0).then(|| Cut {
            position: Lsn::new(u64::from_le_bytes(field(bytes, 32))),
            checksum: u32::from_le_bytes(field(bytes, 40)),
        });
        let epoch = u64::from_le_bytes(field(bytes, 16));
        let segment = u64::from_le_bytes(field(bytes, 24));
        let file_bytes = u64::from_le_bytes(field(bytes, 48));
        Ok(Some((Self { epoch, segment, cut, file_bytes }, checksum)))
    }
}

/// The file name of a segment.
pub(super) fn file_name(segment: u64) -> String {
    format!("{segment:016x}{SUFFIX}")
}

/// The segment that a file name names.
pub(super) fn parse_file_name(name: &Path) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    let canonical =
        digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(digits, 16).ok().filter(|_| canonical)
}

/// A segment that batches can be written to.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: u64,
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    /// How far batches may reach: the file's length, in whole pages.
    pub bytes: u64,
    /// The checksum of its header: what an epoch's first batch is chained to.
    pub header_checksum: u32,
}

impl Segment {
    /// Makes a segment of at least `header.file_bytes` ready, out of `recycled` if there is one; durable when this returns.
    pub fn prepare(
        vfs: &dyn Vfs,
        dir: &Path,
        header: SegmentHeader,
        recycled: Option<&Path>,
    ) -> Result<Self> {
        let path = dir.join(file_name(header.segment));
        let made = Self::make(vfs, dir, &path, header, recycled);
        if made.is_err() {
            // Best effort: an unfinished file is also dropped by the next opening.
            let _ = vfs.remove(&path);
        }
        made
    }

    fn make(
        vfs: &dyn Vfs,
        dir: &Path,
        path: &Path,
        mut header: SegmentHeader,
        recycled: Option<&Path>,
    ) -> Result<Self> {
        let segment_bytes = header.file_bytes;
        let failed = |operation| move |source| Error::io(operation, path, source);
        if let Some(old) = recycled {
            // The name is durable before the header says so: the old header under the new name is "unfinished".
            vfs.rename(old, path).map_err(failed("rename journal segment to"))?;
            vfs.sync_dir(dir).map_err(failed("sync the folder of"))?;
        }
        let file = vfs.open(path, OpenMode::CreateOrOpen).map_err(failed("create journal segment"))?;
        if recycled.is_none() {
            file.set_len(0).map_err(failed("empty journal segment"))?;
        }
        let mut filled = file.len().map_err(failed("measure journal segment"))?;
        let zeros = vec![0; usize::try_from(segment_bytes).unwrap_or(FILL_BYTES).min(FILL_BYTES)];
        while filled < segment_bytes {
            let count = usize::try_from(segment_bytes - filled).unwrap_or(FILL_BYTES).min(zeros.len());
            file.write_at(filled, &zeros[..count]).map_err(failed("fill journal segment"))?;
            file.sync().map_err(failed("sync journal segment"))?;
            filled += count as u64;
        }
        // A recycled one may be longer.
        header.file_bytes = filled / ALIGNMENT * ALIGNMENT;
        let mut page = vec![0; ALIGNMENT as usize];
        let (bytes, header_checksum) = header.encode();
        page[..HEADER_BYTES].copy_from_slice(&bytes);
        file.write_at(0, &page).map_err(failed("write journal segment header"))?;
        file.sync().map_err(failed("sync journal segment"))?;
        vfs.sync_dir(dir).map_err(failed("sync the folder of"))?;
        let (number, path) = (header.segment, path.to_owned());
        let bytes = header.file_bytes;
        Ok(Self { number, path, file, bytes, header_checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_segment_header() {
        let cut = Cut { position: Lsn::new(0x0102), checksum: 0x0a0b_0c0d };
        let header = SegmentHeader { epoch: 7, segment: 9, cut: Some(cut), file_bytes: 0x0001_2000 };
        let (bytes, checksum) = header.encode();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"STRAJRNL\x01\0\0\0\x01\0\0\0");
        expected.extend_from_slice(b"\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x02\x01\0\0\0\0\0\0\x0d\x0c\x0b\x0a");
        expected.extend_from_slice(b"\0\0\0\0\0\x20\x01\0\0\0\0\0\0\0\0\0");
        expected.extend_from_slice(GOLDEN_CHECKSUM);
        assert_eq!(bytes.as_slice(), expected.as_slice());
        assert_eq!(SegmentHeader::decode(&bytes).expect("known version"), Some((header, checksum)));
    }

    // Computed with another CRC-32 implementation.
    const GOLDEN_CHECKSUM: &[u8] = b"\x2c\xaf\xd1\xee";

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let (mut bytes, _) = SegmentHeader { epoch: 1, segment: 1, cut: None, file_bytes: 4096 }.encode();
        bytes[8] = 2;
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(SegmentHeader::decode(&bytes), Err(Error::UnsupportedFormat { found: 2, .. })));
    }

    #[test]
    fn file_names_round_trip_and_others_are_passed_over() {
        assert_eq!(parse_file_name(Path::new(&file_name(0xabc))), Some(0xabc));
        for other in ["CURRENT", "1.journal", "000000000000ABCD.journal", "+00000000000abcd.journal"] {
            assert_eq!(parse_file_name(Path::new(other)), None, "{other}");
        }
    }
}
