//! The entry points of the fuzz targets in `fuzz/`: there with `cfg(fuzzing)`, which cargo-fuzz sets, and in tests.
//!
//! Each takes any bytes, has a decoder read them, and panics where a rule is broken. A decoder that verifies a checksum
//! is handed bytes whose checksum has been mended, so that what lies behind is reached. The rules: no bytes make a decoder
//! panic or take memory by a length that they claim; what is read, written again, is read as the same; what is written
//! is read back. The kept corpora are replayed by a test of this module, without a fuzzer.

/// A column block.
pub fn column_block(data: &[u8]) {
    crate::heap::column::fuzzing::column_block(data);
}

/// An SSTable: data blocks, index blocks, filters, footers, frames, whole tables.
pub fn sstable(data: &[u8]) {
    crate::lsm::sstable::fuzzing::sstable(data);
}

/// A commit record.
pub fn record(data: &[u8]) {
    crate::txn::fuzzing::record(data);
}

/// A manifest: groups of edits and whole files.
pub fn manifest(data: &[u8]) {
    crate::manifest::fuzzing::manifest(data);
}

/// A journal: batches, the stream, whole folders.
pub fn journal(data: &[u8]) {
    crate::journal::fuzzing::journal(data);
}

/// The delete marks of a segment.
pub fn marks(data: &[u8]) {
    crate::heap::fuzzing::marks(data);
}

/// A row page.
pub fn row_page(data: &[u8]) {
    crate::heap::fuzzing::row_page(data);
}

/// A stored row.
pub fn row(data: &[u8]) {
    crate::row::fuzzing::row(data);
}

/// Index keys.
pub fn key(data: &[u8]) {
    crate::row::fuzzing::key(data);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    type Target = fn(&[u8]);

    fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let inputs = fs::read_dir(corpora.join(name)).expect("a corpus").flatten();
        inputs.map(|input| (input.path(), fs::read(input.path()).expect("reads"))).collect()
    }

    /// Replays what the fuzzer has kept, and what it has found: `fuzz/corpus`, a folder for each target.
    #[test]
    fn kept_corpora_hold() {
        let targets: [(&str, Target); 9] = [
            ("column_block", column_block),
            ("sstable", sstable),
            ("record", record),
            ("manifest", manifest),
            ("journal", journal),
            ("marks", marks),
            ("row_page", row_page),
            ("row", row),
            ("key", key),
        ];
        for (name, target) in targets {
            let inputs = corpus(name);
            assert!(inputs.len() > 2, "the corpus of {name} has {} inputs", inputs.len());
            for (path, bytes) in inputs {
                let outcome = std::panic::catch_unwind(|| target(&bytes));
                assert!(outcome.is_ok(), "{}", path.display());
            }
        }
    }

    /// A fuzzer hardly finds the 8 KiB of a bitmap by itself, nor the counts that must agree with it.
    #[test]
    fn the_corpora_have_what_takes_many_bytes() {
        let records = corpus("record");
        let sections = crate::txn::fuzzing::sections(records.iter().map(|(_, bytes)| &bytes[..]));
        let many: Vec<_> = sections.iter().flat_map(|section| &section.dense).collect();
        assert!(many.iter().any(|(_, marks)| marks.runs().any(|(first, count)| first == 0 && count > 1)));
        assert!(many.iter().any(|(_, marks)| marks.run_count() == marks.count() as usize), "offsets");
        assert!(many.iter().any(|(segment, _)| segment.first_row().is_provisional()), "on loaded rows");
        let is_bitmap =
            |bytes: &[u8]| crate::heap::fuzzing::image(bytes).is_some_and(|image| image.encode()[4] == 0);
        assert!(corpus("marks").iter().any(|(_, bytes)| bytes[0] % 4 == 1 && is_bitmap(&bytes[1..])));
    }
}
