//! Where the pages of a column block stand: its directory, read as `docs/format/column-block.md` has it.

use std::ops::Range;

use crate::blocks::PlacedBlock;
use crate::files::u32_at;

const HEADER_BYTES: usize = 64;

/// Bytes of a page before its body.
pub const FRAME_BYTES: usize = 16;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    Statistics,
    /// A dictionary or a symbol table.
    Auxiliary,
    Data,
}

/// A page of a column block.
#[derive(Clone, Debug)]
pub struct ColumnPage {
    /// The column's id.
    pub column: u32,
    pub kind: PageKind,
    /// Its bytes in the file of blocks.
    pub range: Range<usize>,
}

/// The directory's bytes in the file of blocks.
pub fn directory_of(file: &[u8], block: &PlacedBlock) -> Range<usize> {
    let header = block.payload().start;
    let start = header + HEADER_BYTES;
    start..start + u32_at(file, header + 44)
}

/// All pages of a block.
pub fn pages_of(file: &[u8], block: &PlacedBlock) -> Vec<ColumnPage> {
    let header = block.payload().start;
    let directory = directory_of(file, block);
    let is_sparse = file[header + 8] & 1 != 0;
    let presence_bytes = if is_sparse { u32_at(file, header + 32).div_ceil(64) * 8 } else { 0 };
    let mut reader = Reader { file, at: directory.start + presence_bytes };
    let mut pages = Vec::new();
    for _ in 0..u32_at(file, header + 40) {
        reader.column(directory.end, &mut pages);
    }
    assert_eq!(reader.at, directory.end, "the directory is read whole");
    assert_eq!(pages.last().map(|page| page.range.end), Some(block.covered.end), "so are the pages");
    pages
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> u8 {
        self.at += 1;
        self.file[self.at - 1]
    }

    fn u32(&mut self) -> usize {
        self.at += 4;
        u32_at(self.file, self.at - 4)
    }

    /// The pages of the column that the directory goes on with; offsets count from `start`.
    fn column(&mut self, start: usize, pages: &mut Vec<ColumnPage>) {
        let column = u32::try_from(self.u32()).expect("an id");
        self.at += 5;
        let form = self.u8();
        self.at += 10;
        self.skip_bounds(form);
        for kind in [PageKind::Statistics, PageKind::Auxiliary] {
            let (offset, bytes) = (start + self.u32(), self.u32());
            if bytes > 0 {
                pages.push(ColumnPage { column, kind, range: offset..offset + bytes });
            }
        }
        let count = self.u32();
        let mut starts = Vec::new();
        for _ in 0..count {
            self.at += 4;
            starts.push(start + self.u32());
        }
        starts.push(start + self.u32());
        let ranges = starts.windows(2).map(|pair| pair[0]..pair[1]);
        pages.extend(ranges.map(|range| ColumnPage { column, kind: PageKind::Data, range }));
    }

    fn skip_bounds(&mut self, form: u8) {
        let flags = self.u8();
        for _ in 0..(flags & 3).count_ones() {
            self.at += match form {
                0 => 8,
                255 => 1 + usize::from(self.file[self.at]),
                width => usize::from(width),
            };
        }
    }
}
