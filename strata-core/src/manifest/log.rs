//! One manifest file: its header page, reading it, and appending groups.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::manifest::current::file_name;
use crate::manifest::edit::Edit;
use crate::manifest::group::{
    ALIGNMENT, GroupHeader, HEADER_BYTES, MAX_PAYLOAD_BYTES, ROOM_STEP_BYTES, decode_payload, encode_payload,
    field, group_bytes, group_checksum,
};
use crate::manifest::state::ManifestState;
use crate::vfs::{File, OpenMode, Vfs};

const MAGIC: [u8; 8] = *b"STRAMANI";
const VERSION: u32 = 1;
/// Room is made while there is so much left: on a full disk the edits that give space back still find some.
const SPARE_BYTES: u64 = 32 << 10;
/// A snapshot is broken into groups of about this many edits.
const SNAPSHOT_GROUP_EDITS: usize = 4096;

/// The fields of the file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub number: u64,
    /// How many groups make the snapshot.
    pub snapshot_groups: u64,
}

impl FileHeader {
    pub fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.snapshot_groups.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Option<(Self, u32)>> {
        let checksum = u32::from_le_bytes(field(bytes, 60));
        if field::<8>(bytes, 0) != MAGIC || checksum != crc32fast::hash(&bytes[..60]) {
            return Ok(None);
        }
        let found = u32::from_le_bytes(field(bytes, 8));
        if found != VERSION {
            return Err(Error::UnsupportedFormat { what: "the manifest".into(), found, supported: VERSION });
        }
        let number = u64::from_le_bytes(field(bytes, 16));
        let snapshot_groups = u64::from_le_bytes(field(bytes, 24));
        Ok(Some((Self { number, snapshot_groups }, checksum)))
    }
}

/// A manifest file that groups are appended to.
#[derive(Debug)]
pub(super) struct Log {
    pub number: u64,
    pub path: PathBuf,
    file: Arc<dyn File>,
    /// Where the next group goes.
    pub end: u64,
    /// Up to here the file has synced room.
    allocated: u64,
    sequence: u64,
    previous: u32,
}

impl Log {
    /// Writes a file that begins with a snapshot of `state`; durable with its name when this returns.
    pub fn create(vfs: &dyn Vfs, dir: &Path, number: u64, state: &ManifestState) -> Result<Self> {
        let path = dir.join(file_name(number));
        let failed = |source| Error::io("create", &path, source);
        let edits = state.snapshot();
        let snapshot_groups = edits.len().div_ceil(SNAPSHOT_GROUP_EDITS) as u64;
        let (header, checksum) = FileHeader { number, snapshot_groups }.encode();
        let file = vfs.open(&path, OpenMode::CreateOrOpen).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        let mut page = vec![0; ALIGNMENT as usize];
        page[..HEADER_BYTES].copy_from_slice(&header);
        file.write_at(0, &page).map_err(failed)?;
        let payloads = edits.chunks(SNAPSHOT_GROUP_EDITS);
        let payloads: Vec<_> = payloads.map(|part| encode_payload(state.journal_lsn, part)).collect();
        let snapshot_bytes: u64 = payloads.iter().map(|payload| group_bytes(payload.len())).sum();
        let mut log = Self {
            number,
            path: path.clone(),
            file,
            end: ALIGNMENT,
            allocated: ALIGNMENT,
            sequence: 0,
            previous: checksum,
        };
        log.allocated = log.fill(ALIGNMENT + snapshot_bytes + ALIGNMENT)?;
        for payload in &payloads {
            log.write(payload)?;
        }
        log.file.sync().map_err(failed)?;
        vfs.sync_dir(dir).map_err(failed)?;
        Ok(log)
    }

    /// Makes synced room for a payload and its proof, so that writing them can not meet a full disk.
    pub fn make_room(&mut self, payload_bytes: usize) -> Result<()> {
        if payload_bytes > MAX_PAYLOAD_BYTES {
            let (size, limit) = (payload_bytes as u64, MAX_PAYLOAD_BYTES as u64);
            return Err(Error::TooLarge { what: "a manifest edit", size, limit });
        }
        let needed = self.end + group_bytes(payload_bytes) + ALIGNMENT;
        if needed + SPARE_BYTES <= self.allocated {
            return Ok(());
        }
        let before = self.allocated;
        // With the group below.
        let filled = match self.fill(needed + ALIGNMENT + SPARE_BYTES) {
            // So there is spare room for what gives space back.
            Err(Error::DiskFull { .. }) if needed <= self.allocated => return Ok(()),
            filled => filled?,
        };
        self.file.sync().map_err(|source| Error::io("grow", &self.path, source))?;
        self.allocated = filled;
        // A group that tells of the new room, in the room that the ones before it tell of: so no cut behind it goes unnoticed.
        debug_assert!(self.end + ALIGNMENT <= before);
        self.write(&no_edits())
    }

    /// Fills the file with zeros up to the end of the step that `end` is in, and returns that. Not synced.
    fn fill(&self, end: u64) -> Result<u64> {
        let target = end.next_multiple_of(ROOM_STEP_BYTES);
        let zeros = vec![0; ROOM_STEP_BYTES as usize];
        let mut at = self.allocated;
        while at < target {
            let count = usize::try_from(target - at).unwrap_or(zeros.len()).min(zeros.len());
            self.file
                .write_at(at, &zeros[..count])
                .map_err(|source| Error::io("grow", &self.path, source))?;
            at += count as u64;
        }
        Ok(target)
    }

    /// Writes and syncs one group, and leaves a proof of that behind it.
    pub fn append(&mut self, payload: &[u8]) -> Result<()> {
        self.write(payload)?;
        self.file.sync().map_err(|source| Error::io("sync", &self.path, source))?;
        self.prove();
        Ok(())
    }

    /// Writes a group without edits, which stands until the next one takes its place: what is in front of it was synced. Not
    /// synced itself, and best effort: without it, damage to the last group looks like a torn tail.
    fn prove(&self) {
        let (_, whole) = self.group_of(&no_edits());
        if let Err(error) = self.file.write_at(self.end, &whole) {
            tracing::warn!(path = %self.path.display(), %error, "could not write behind the last group");
        }
    }

    fn write(&mut self, payload: &[u8]) -> Result<()> {
        let (checksum, whole) = self.group_of(payload);
        self.file.write_at(self.end, &whole).map_err(|source| Error::io("write", &self.path, source))?;
        self.end += whole.len() as u64;
        self.sequence += 1;
        self.previous = checksum;
        Ok(())
    }

    /// The next group's checksum and bytes, padded.
    fn group_of(&self, payload: &[u8]) -> (u32, Vec<u8>) {
        let payload_bytes = u32::try_from(payload.len()).expect("make_room refuses what is longer");
        let header = GroupHeader {
            number: self.number,
            sequence: self.sequence,
            previous: self.previous,
            payload_bytes,
            room: u16::try_from(self.allocated / ROOM_STEP_BYTES).unwrap_or(u16::MAX),
        };
        let (bytes, checksum) = header.encode(payload);
        let mut whole = Vec::with_capacity(HEADER_BYTES + payload.len() + ALIGNMENT as usize);
        whole.extend_from_slice(&bytes);
        whole.extend_from_slice(payload);
        whole.resize(whole.len().next_multiple_of(ALIGNMENT as usize), 0);
        (checksum, whole)
    }
}

fn no_edits() -> Vec<u8> {
    encode_payload(Lsn::new(0), &[])
}

/// Reads the state that a file holds.
pub(super) fn load(vfs: &dyn Vfs, dir: &Path, number: u64) -> Result<ManifestState> {
    let path = dir.join(file_name(number));
    let failed = |source| Error::io("read", &path, source);
    let file = vfs.open(&path, OpenMode::Read).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let reader = FileReader { path: &path, file: &*file, len, number };
    let bytes = reader.header_at(0)?;
    let header = bytes.map(|bytes| FileHeader::decode(&bytes)).transpose()?.flatten();
    let Some((header, checksum)) = header.filter(|(header, _)| header.number == number) else {
        return Err(reader.damaged(0, "the header fails its checksum or names another file"));
    };
    let mut state = ManifestState::default();
    let (mut offset, mut sequence, mut previous) = (ALIGNMENT, 0, checksum);
    loop {
        let group = reader.group(offset)?;
        let Some(group) =
            group.filter(|group| (group.header.sequence, group.header.previous) == (sequence, previous))
        else {
            break;
        };
        let room = group.header.room_bytes();
        if len < room {
            return Err(reader.damaged(len, format!("the file ends here; a group says {room} bytes")));
        }
        let (lsn, edits) = decode_payload(&group.payload).map_err(|damage| {
            reader.damaged(offset + HEADER_BYTES as u64 + damage.offset as u64, damage.detail)
        })?;
        apply_group(&mut state, lsn, &edits).map_err(|detail| reader.damaged(offset, detail))?;
        offset += group.header.total_bytes();
        sequence += 1;
        previous = group.checksum;
    }
    if sequence < header.snapshot_groups {
        return Err(reader.damaged(offset, "a group of the snapshot fails its checksum"));
    }
    if reader.later_group(offset, sequence)? {
        return Err(reader.damaged(offset, "a group fails its checksum, yet a later one was written"));
    }
    state.check().map_err(|detail| reader.damaged(offset, detail))?;
    Ok(state)
}

/// Applies the edits of one group.
pub(super) fn apply_group(
    state: &mut ManifestState,
    journal_lsn: Lsn,
    edits: &[Edit],
) -> std::result::Result<(), String> {
    state.journal_lsn = state.journal_lsn.max(journal_lsn);
    edits.iter().try_for_each(|edit| state.apply(edit))
}

struct FileReader<'a> {
    path: &'a Path,
    file: &'a dyn File,
    len: u64,
    number: u64,
}

struct Group {
    header: GroupHeader,
    checksum: u32,
    payload: Vec<u8>,
}

impl FileReader<'_> {
    fn damaged(&self, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corrupt { file: self.path.display().to_string(), offset, detail: detail.into() }
    }

    fn header_at(&self, offset: u64) -> Result<Option<[u8; HEADER_BYTES]>> {
        if offset + HEADER_BYTES as u64 > self.len {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_exact_at(offset, &mut bytes).map_err(|source| Error::io("read", self.path, source))?;
        Ok(Some(bytes))
    }

    /// The intact group of this file at `offset`.
    fn group(&self, offset: u64) -> Result<Option<Group>> {
        let Some(bytes) = self.header_at(offset)? else { return Ok(None) };
        let Some((header, checksum)) = GroupHeader::decode(&bytes, self.number)? else { return Ok(None) };
        let begin = offset + HEADER_BYTES as u64;
        // The length is believed only as far as the file reaches.
        if header.number != self.number || u64::from(header.payload_bytes) > self.len - begin {
            return Ok(None);
        }
        let mut payload = vec![0; header.payload_bytes as usize];
        self.file
            .read_exact_at(begin, &mut payload)
            .map_err(|source| Error::io("read", self.path, source))?;
        let intact = group_checksum(&bytes, &payload) == checksum;
        Ok(intact.then_some(Group { header, checksum, payload }))
    }

    /// Whether an intact group that was written after `sequence` stands behind `offset`.
    fn later_group(&self, mut offset: u64, sequence: u64) -> Result<bool> {
        while offset < self.len {
            if self.group(offset)?.is_some_and(|group| group.header.sequence > sequence) {
                return Ok(true);
            }
            offset += ALIGNMENT;
        }
        Ok(false)
    }
}
