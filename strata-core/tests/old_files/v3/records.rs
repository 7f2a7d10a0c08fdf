//! What is in the records of a journal, read as docs/format/commit-record.md says.

use std::path::Path;

use strata_core::journal::{Journal, JournalOptions};
use strata_core::manifest::Manifest;

use crate::files::{DIR, Files, system_of};

const NONE: u64 = u64::MAX;
/// Of a successor: the row was only moved.
const MOVED: u64 = 1 << 63;
/// Segments from here on are loaded with the commit.
const LOADED: u64 = 1 << 47;

/// How often each form is there.
#[derive(Default)]
pub struct Forms {
    pub formats: Vec<u8>,
    pub rows: usize,
    pub marks: usize,
    pub moved: usize,
    pub in_runs: usize,
    pub as_offsets: usize,
    pub without_successors: usize,
    pub on_loaded: usize,
    pub loads: usize,
}

impl Forms {
    /// What opening these files has to replay.
    pub fn of(files: &Files) -> Self {
        let vfs = system_of(files);
        let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
        let journal = Path::new(DIR).join("journal");
        let (start, end) = (state.journal_start, state.journal_lsn);
        let (_, records) =
            Journal::open(vfs, &journal, start, end, JournalOptions::default()).expect("opens");
        let mut forms = Self::default();
        for record in records {
            forms.add(&mut Bytes(&record.expect("reads").payload));
        }
        forms
    }

    fn add(&mut self, record: &mut Bytes<'_>) {
        self.formats.push(record.u8());
        for _ in 0..record.u32() {
            self.add_section(record);
        }
        self.loads += record.u32();
    }

    fn add_section(&mut self, record: &mut Bytes<'_>) {
        record.u32();
        let [rows, marks, entries, dense] = [record.u32(), record.u32(), record.u32(), record.u32()];
        for _ in 0..rows {
            record.sized();
        }
        self.rows += rows;
        for _ in 0..marks {
            record.u64();
            let successor = record.u64();
            self.moved += usize::from(successor != NONE && successor & MOVED != 0);
        }
        self.marks += marks;
        for _ in 0..entries {
            record.take(4 + 8);
            record.sized();
        }
        for _ in 0..dense {
            self.add_dense(record);
        }
    }

    fn add_dense(&mut self, record: &mut Bytes<'_>) {
        let segment = record.u64();
        let set: u32 = record.take(8_192).iter().map(|byte| byte.count_ones()).sum();
        self.on_loaded += usize::from(segment >= LOADED);
        if record.u8() == 1 {
            record.take(8 + 4 * set as usize);
            self.as_offsets += 1;
            return;
        }
        let firsts: Vec<u64> = (0..record.u32())
            .map(|_| {
                let first = record.u64();
                record.u32();
                first
            })
            .collect();
        let has_successors = firsts.iter().any(|first| *first != NONE);
        self.in_runs += usize::from(has_successors);
        self.without_successors += usize::from(!has_successors);
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    /// A count.
    fn u32(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes")) as usize
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn sized(&mut self) -> &'a [u8] {
        let length = self.u32();
        self.take(length)
    }
}
