//! What must hold of any bytes that are read as a manifest: groups of edits, and whole files of them.

use std::path::Path;
use std::sync::Arc;

use super::current::{file_name, replace};
use super::group::{ALIGNMENT, GroupHeader, HEADER_BYTES, decode_payload, encode_payload};
use super::log::{FileHeader, Log, load};
use super::store::Manifest;
use crate::codec::choices::Choices;
use crate::error::Error;
use crate::ids::Lsn;
use crate::vfs::{MemVfs, OpenMode, Vfs};

const DIR: &str = "/db";
const NUMBER: u64 = 1;

/// A group's payload, a group's header, or a file of groups whose checksums hold.
pub(crate) fn manifest(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(4) {
        0 => {
            let payload = choices.rest();
            let Ok((lsn, edits)) = decode_payload(payload) else { return };
            assert_eq!(encode_payload(lsn, &edits), payload);
        }
        1 => {
            let mut header = choices.array::<HEADER_BYTES>();
            let checksum = crc32fast::hash(&header[..36]);
            header[36..40].copy_from_slice(&checksum.to_le_bytes());
            let Ok(Some((fields, _))) = GroupHeader::decode(&header, NUMBER) else { return };
            let (again, _) = fields.encode(choices.rest());
            let read = GroupHeader::decode(&again, NUMBER).expect("of this version");
            assert_eq!(read.map(|(fields, _)| fields), Some(fields));
        }
        _ => file(&mut choices),
    }
}

/// Groups of a payload each, chained and sealed, with what else stands between them.
fn file(choices: &mut Choices<'_>) {
    let vfs = MemVfs::new();
    let dir = Path::new(DIR);
    vfs.create_dir_all(dir).expect("made");
    let (header, mut previous) =
        FileHeader { number: NUMBER, snapshot_groups: choices.below(4) as u64 }.encode();
    let mut bytes = header.to_vec();
    bytes.resize(ALIGNMENT as usize, 0);
    let (mut sequence, mut has_other_version) = (0, false);
    while !choices.is_empty() {
        let kind = choices.below(16);
        let length = usize::from(choices.u16());
        let payload = choices.take(length);
        let header = GroupHeader {
            number: NUMBER + u64::from(kind == 13),
            sequence: sequence + u64::from(kind == 14),
            previous: previous ^ u32::from(kind == 15),
            payload_bytes: payload.len() as u32,
            room: u16::from(kind == 11),
        };
        let (mut group, checksum) = header.encode(payload);
        match kind {
            10 => {
                group[4] ^= 2;
                let own = crc32fast::hash(&group[..36]);
                group[36..40].copy_from_slice(&own.to_le_bytes());
                has_other_version = true;
            }
            12 => group[8] ^= 1,
            _ => {}
        }
        bytes.extend(group);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        if kind < 12 {
            (sequence, previous) = (sequence + 1, checksum);
        }
    }
    let file = vfs.open(&dir.join(file_name(NUMBER)), OpenMode::CreateNew).expect("created");
    file.write_at(0, &bytes).expect("written");
    let Ok(()) = replace(&vfs, dir, NUMBER) else { panic!("a file system in memory does not fail") };

    let state = match load(&vfs, dir, NUMBER) {
        Ok(state) => state,
        Err(Error::UnsupportedFormat { .. }) => return assert!(has_other_version),
        Err(error) => return assert!(matches!(error, Error::Corrupt { .. }), "{error:?}"),
    };
    assert!(!has_other_version, "a group of another version was passed over");
    Log::create(&vfs, dir, NUMBER + 1, &state).expect("written");
    assert_eq!(load(&vfs, dir, NUMBER + 1).expect("what was written loads"), state);
    // Opening goes on from the file, and what is committed then is there at the next opening.
    let (manifest, opened) = Manifest::open(Arc::new(vfs.clone()), dir).expect("what loads opens");
    assert_eq!(opened, state);
    manifest.commit(Lsn::new(state.journal_lsn.get()), Vec::new()).expect("committed");
    drop(manifest);
    assert_eq!(Manifest::read(&vfs, dir).expect("reads"), state);
}
