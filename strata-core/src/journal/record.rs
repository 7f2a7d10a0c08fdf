//! Records in the stream: `u32 length` (little-endian), then that many bytes.
//!
//! The stream's bytes are checksummed by the batches that carry them; a record may span several. Of a payload the journal
//! knows no more than that its first byte may be the number of its format.

use crate::ids::Lsn;

/// The longest payload of a record.
pub const MAX_RECORD_BYTES: usize = 1 << 30;
/// Bytes that frame a record.
pub(super) const FRAME_BYTES: usize = 4;
/// Memory is taken in steps while a record's bytes arrive.
const STEP_BYTES: usize = 1 << 20;

/// One record, as [`Journal::append`](super::Journal::append) took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The position of its frame.
    pub lsn_start: Lsn,
    /// The position behind it, which `append` returned.
    pub lsn_end: Lsn,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A length in the stream that no writer writes.
#[derive(Debug)]
pub(super) struct BadLength;

/// Finds record boundaries in the stream, from a boundary on, and collects the payloads if asked to.
pub(super) struct Assembler {
    /// The position behind the last whole record.
    boundary: u64,
    /// The position of the next byte that is wanted.
    position: u64,
    collect: bool,
    length: [u8; FRAME_BYTES],
    length_filled: usize,
    payload_left: usize,
    payload: Vec<u8>,
    /// The first byte of the record under assembly.
    format: Option<u8>,
    newest_format: Option<(u8, Lsn)>,
}

impl Assembler {
    pub fn new(start: Lsn, collect: bool) -> Self {
        Self {
            boundary: start.get(),
            position: start.get(),
            collect,
            length: [0; FRAME_BYTES],
            length_filled: 0,
            payload_left: 0,
            payload: Vec::new(),
            format: None,
            newest_format: None,
        }
    }

    /// The position behind the last whole record.
    pub fn boundary(&self) -> Lsn {
        Lsn::new(self.boundary)
    }

    /// The highest first byte of a whole record, and the position of the last one that has it.
    pub fn newest_format(&self) -> Option<(u8, Lsn)> {
        self.newest_format
    }

    /// Takes the stream's bytes at `at`; those below the start are passed over. `done` gets each whole record.
    pub fn feed(&mut self, at: Lsn, bytes: &[u8], mut done: impl FnMut(Record)) -> Result<(), BadLength> {
        let skip = usize::try_from(self.position.saturating_sub(at.get())).unwrap_or(usize::MAX);
        let mut rest = bytes.get(skip..).unwrap_or(&[]);
        while !rest.is_empty() {
            if self.length_filled < FRAME_BYTES {
                rest = self.take_length(rest)?;
            } else {
                rest = self.take_payload(rest);
            }
            if self.length_filled == FRAME_BYTES && self.payload_left == 0 {
                let lsn_start = self.boundary();
                self.boundary = self.position;
                self.length_filled = 0;
                self.newest_format =
                    self.newest_format.max(self.format.take().map(|format| (format, lsn_start)));
                if self.collect {
                    done(Record {
                        lsn_start,
                        lsn_end: self.boundary(),
                        payload: std::mem::take(&mut self.payload),
                    });
                }
            }
        }
        Ok(())
    }

    fn take_length<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], BadLength> {
        let count = bytes.len().min(FRAME_BYTES - self.length_filled);
        let (part, rest) = bytes.split_at(count);
        self.length[self.length_filled..self.length_filled + count].copy_from_slice(part);
        self.length_filled += count;
        self.position += count as u64;
        if self.length_filled == FRAME_BYTES {
            let length = usize::try_from(u32::from_le_bytes(self.length)).map_err(|_| BadLength)?;
            if length > MAX_RECORD_BYTES {
                return Err(BadLength);
            }
            self.payload_left = length;
            if self.collect {
                self.payload.reserve_exact(length.min(STEP_BYTES));
            }
        }
        Ok(rest)
    }

    fn take_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let count = bytes.len().min(self.payload_left);
        let (part, rest) = bytes.split_at(count);
        self.format = self.format.or_else(|| part.first().copied());
        if self.collect {
            self.payload.extend_from_slice(part);
        }
        self.payload_left -= count;
        self.position += count as u64;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            out.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes());
            out.extend_from_slice(payload);
        }
        out
    }

    #[test]
    fn records_are_found_whatever_the_pieces() {
        let bytes = stream(&[b"alpha", b"", b"a longer payload", b"z"]);
        for piece in 1..=bytes.len() {
            let mut assembler = Assembler::new(Lsn::new(100), true);
            let mut found = Vec::new();
            let mut at = 100;
            for part in bytes.chunks(piece) {
                assembler.feed(Lsn::new(at), part, |record| found.push(record)).expect("valid");
                at += part.len() as u64;
            }
            let payloads: Vec<&[u8]> = found.iter().map(|record| record.payload.as_slice()).collect();
            assert_eq!(payloads, [b"alpha".as_slice(), b"", b"a longer payload", b"z"], "pieces of {piece}");
            assert_eq!((found[0].lsn_start, found[0].lsn_end), (Lsn::new(100), Lsn::new(109)));
            assert_eq!(assembler.boundary(), Lsn::new(100 + bytes.len() as u64));
        }
    }

    #[test]
    fn bytes_below_the_start_are_passed_over() {
        let bytes = stream(&[b"old", b"new"]);
        let mut assembler = Assembler::new(Lsn::new(7), true);
        let mut found = Vec::new();
        assembler.feed(Lsn::new(0), &bytes[..3], |record| found.push(record)).expect("valid");
        assembler.feed(Lsn::new(3), &bytes[3..], |record| found.push(record)).expect("valid");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].payload, b"new");
    }

    #[test]
    fn a_length_that_no_writer_writes_is_refused() {
        let mut assembler = Assembler::new(Lsn::new(0), true);
        assert!(assembler.feed(Lsn::new(0), &u32::MAX.to_le_bytes(), |_| ()).is_err());
    }
}
