//! What must hold of any bytes that are read as a journal: batches, the stream of records, whole folders of segments.

use std::path::Path;
use std::sync::Arc;

use super::batch::{ALIGNMENT, BatchHeader, HEADER_BYTES, MAX_BATCH_BYTES};
use super::record::Assembler;
use super::segment::{Cut, SegmentHeader, file_name};
use super::{Journal, JournalOptions, Record};
use crate::codec::choices::Choices;
use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::vfs::{MemVfs, OpenMode, Vfs};

const DIR: &str = "/db/journal";
/// Whose batches a header is read for.
const SEGMENT: u64 = 1;

/// A batch's header, a piece of the stream, or a folder of segments whose checksums hold.
pub(crate) fn journal(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(8) {
        0 => {
            let mut header = choices.array::<HEADER_BYTES>();
            let checksum = crc32fast::hash(&header[..52]);
            header[52..56].copy_from_slice(&checksum.to_le_bytes());
            let Ok(Some((fields, _))) = BatchHeader::decode(&header, SEGMENT) else { return };
            assert!(fields.end() > fields.position && fields.total_bytes() <= MAX_BATCH_BYTES as u64);
            let (again, checksum) = fields.encode(choices.rest());
            let read = BatchHeader::decode(&again, SEGMENT).expect("of this version");
            assert_eq!(read, Some((fields, checksum)));
        }
        1 => {
            let mut header = choices.array::<HEADER_BYTES>();
            let checksum = crc32fast::hash(&header[..60]);
            header[60..64].copy_from_slice(&checksum.to_le_bytes());
            let Ok(Some((fields, _))) = SegmentHeader::decode(&header) else { return };
            let (again, checksum) = fields.encode();
            assert_eq!(SegmentHeader::decode(&again).ok().flatten(), Some((fields, checksum)));
        }
        2 => pieces(&mut choices),
        _ => folder(&mut choices),
    }
}

/// The records of a stream do not depend on the pieces that it comes in.
fn pieces(choices: &mut Choices<'_>) {
    let cuts = choices.array::<8>();
    let stream = choices.rest();
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut assembler = Assembler::new(Lsn::new(0), true);
        let (mut found, mut at) = (Vec::new(), 0);
        for piece in pieces {
            if assembler.feed(Lsn::new(at), piece, |record| found.push(record)).is_err() {
                return (found, None);
            }
            at += piece.len() as u64;
        }
        (found, Some(assembler.boundary()))
    };
    let whole = read(&mut std::iter::once(stream));
    let mut rest = stream;
    let mut sizes = cuts.into_iter().cycle();
    let in_pieces = read(&mut std::iter::from_fn(|| {
        let size = 1 + usize::from(sizes.next()?);
        let (piece, left) = rest.split_at(size.min(rest.len()));
        rest = left;
        (!piece.is_empty()).then_some(piece)
    }));
    assert_eq!(whole, in_pieces);
    let (records, _) = whole;
    let mut again = Vec::new();
    for record in &records {
        again.extend((record.payload.len() as u32).to_le_bytes());
        again.extend(&record.payload);
    }
    assert!(stream.starts_with(&again));
}

/// Segments as the bytes say, batches sealed and chained unless they say otherwise.
fn folder(choices: &mut Choices<'_>) {
    let vfs = MemVfs::new();
    vfs.create_dir_all(Path::new(DIR)).expect("made");
    let (mut epoch, mut number) = (1, 1 + choices.below(3) as u64);
    let mut chain = Chain { position: 0, previous: 0, boundary: Cut { position: Lsn::new(0), checksum: 0 } };
    let mut cut = (choices.below(4) > 0).then_some(chain.boundary);
    for _ in 0..1 + choices.below(4) {
        // Files of one page that should have two are cut short.
        let file_bytes = ALIGNMENT * if number % 4 == 3 { 2 } else { 1 };
        let (header, checksum) = SegmentHeader { epoch, segment: number, cut, file_bytes }.encode();
        if cut.is_some() {
            chain.previous = checksum;
        }
        let mut bytes = header.to_vec();
        bytes.resize(ALIGNMENT as usize, 0);
        for _ in 0..choices.below(6) {
            chain.batch(choices, &mut bytes, epoch, number);
        }
        let file =
            vfs.open(&Path::new(DIR).join(file_name(number)), OpenMode::CreateOrOpen).expect("created");
        file.write_at(0, &bytes).expect("written");
        number += 1;
        cut = None;
        match choices.below(6) {
            0 => {
                epoch += 1 + choices.below(2) as u64;
                let torn = choices.below(8) as u64;
                chain.boundary.position = Lsn::new(chain.boundary.position.get().saturating_sub(torn / 7));
                chain.position = chain.boundary.position.get();
                cut = Some(chain.boundary);
            }
            1 => number += choices.below(3) as u64,
            _ => {}
        }
    }
    let needed = Lsn::new(choices.below(4) as u64);
    check_folder(&vfs, needed);
}

/// Where the stream that is written has got to.
struct Chain {
    position: u64,
    previous: u32,
    /// Behind the last whole record, and the checksum of the batch that ends it.
    boundary: Cut,
}

impl Chain {
    fn batch(&mut self, choices: &mut Choices<'_>, bytes: &mut Vec<u8>, epoch: u64, segment: u64) {
        let kind = choices.below(16);
        let whole = kind != 9;
        let mut payload = Vec::new();
        for _ in 0..1 + choices.below(3) {
            let record = choices.sized();
            let long = if choices.below(16) == 15 { usize::from(choices.u16()) } else { 0 };
            payload.extend(((record.len() + long) as u32).to_le_bytes());
            payload.extend(record);
            payload.resize(payload.len() + long, 7);
        }
        if !whole {
            payload.truncate(1 + usize::from(choices.u16()) % payload.len());
        }
        let durable = match kind {
            10 => self.position,
            11 => choices.u64() % 4096,
            _ => 0,
        };
        let header = BatchHeader {
            epoch: epoch + u64::from(kind == 12),
            segment,
            position: Lsn::new(self.position + u64::from(kind == 13)),
            durable: Lsn::new(durable),
            previous: self.previous ^ u32::from(kind == 14),
            payload_bytes: payload.len() as u32,
        };
        let (mut encoded, checksum) = header.encode(&payload);
        if kind == 8 {
            // Of another version.
            encoded[4] ^= 1 + choices.below(255) as u8;
            let own = crc32fast::hash(&encoded[..52]);
            encoded[52..56].copy_from_slice(&own.to_le_bytes());
        }
        if kind == 15 {
            encoded[choices.below(HEADER_BYTES)] ^= 1 + choices.below(255) as u8;
        }
        bytes.extend(encoded);
        bytes.extend(&payload);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        self.position += payload.len() as u64;
        self.previous = checksum;
        if whole {
            self.boundary = Cut { position: Lsn::new(self.position), checksum };
        }
    }
}

fn open(vfs: &MemVfs, min_end: Lsn) -> Result<(Journal, Vec<Record>)> {
    let options =
        JournalOptions { segment_bytes: 3 * ALIGNMENT, recycled_segments: 1, ..JournalOptions::default() };
    let (journal, replay) =
        Journal::open(Arc::new(vfs.clone()), Path::new(DIR), Lsn::new(0), min_end, options)?;
    Ok((journal, replay.collect::<Result<_>>()?))
}

/// What opens is a stream of records from the start on; it opens again as the same, and takes more.
fn check_folder(vfs: &MemVfs, needed: Lsn) {
    let (journal, mut records) = match open(vfs, needed) {
        Ok(opened) => opened,
        Err(error) => {
            let known = matches!(
                error,
                Error::Corrupt { .. } | Error::JournalTruncated { .. } | Error::UnsupportedFormat { .. }
            );
            return assert!(known, "{error:?}");
        }
    };
    assert!(journal.end() >= needed);
    let mut end = Lsn::new(0);
    for record in &records {
        assert_eq!(record.lsn_start, end);
        assert_eq!(record.lsn_end.get(), end.get() + 4 + record.payload.len() as u64);
        end = record.lsn_end;
    }
    assert_eq!(journal.end(), end);
    for payload in [&b"more"[..], &[9; 5000]] {
        let space = journal.reserve(payload.len()).expect("room");
        let (lsn_start, lsn_end) = (journal.end(), journal.append(payload));
        records.push(Record { lsn_start, lsn_end, payload: payload.to_vec() });
        journal.flush().expect("a file system in memory does not fail");
        drop(space);
    }
    drop(journal);
    for _ in 0..2 {
        let (_, found) =
            open(vfs, records.last().map_or(needed, |record| record.lsn_end)).expect("opens again");
        assert_eq!(found, records);
    }
}
