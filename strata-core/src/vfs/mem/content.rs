//! The bytes of one file in memory, and what of them a power cut may lose.
//!
//! The live image is kept in copy-on-write pages. Since the last sync, the old form of each page that was touched
//! is kept aside, and every change is logged: the image at a power cut is the old form plus any part of the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::vfs::Random;

const PAGE_BYTES: u64 = 4096;
/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

type Page = [u8; PAGE_BYTES as usize];

/// A sparse array of bytes.
#[derive(Clone, Debug, Default)]
struct Image {
    pages: BTreeMap<u64, Arc<Page>>,
    len: u64,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Box<[u8]> },
    SetLen(u64),
    Punch { offset: u64, len: u64 },
}

/// One file: its bytes, and how to get back to those of the last sync.
#[derive(Debug, Default)]
pub(super) struct Content {
    image: Image,
    durable_len: u64,
    /// The durable form of the pages touched since the last sync; `None` for a hole.
    durable_pages: BTreeMap<u64, Option<Arc<Page>>>,
    /// What was done since the last sync, in order.
    unsynced: Vec<Change>,
}

/// Splits a byte range at page borders: page number, range in the page, range in the data.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done;
        let within = at % PAGE_BYTES;
        let count = (PAGE_BYTES - within).min(len - done);
        let in_page = within as usize..(within + count) as usize;
        let in_data = done as usize..(done + count) as usize;
        done += count;
        Some((at / PAGE_BYTES, in_page, in_data))
    })
}

impl Image {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(offset).min(buffer.len() as u64);
        for (page, in_page, in_data) in pieces(offset, count) {
            match self.pages.get(&page) {
                Some(bytes) => buffer[in_data].copy_from_slice(&bytes[in_page]),
                None => buffer[in_data].fill(0),
            }
        }
        count as usize
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (page, in_page, in_data) in pieces(offset, data.len() as u64) {
            let bytes = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(bytes)[in_page].copy_from_slice(&data[in_data]);
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    fn zero(&mut self, offset: u64, len: u64) {
        for (page, in_page, _) in pieces(offset, len) {
            if in_page.len() as u64 == PAGE_BYTES {
                self.pages.remove(&page);
            } else if let Some(bytes) = self.pages.get_mut(&page) {
                Arc::make_mut(bytes)[in_page].fill(0);
            }
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            self.zero(len, len.next_multiple_of(PAGE_BYTES) - len);
        }
        self.len = len;
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, data } => self.write(*offset, data),
            Change::SetLen(len) => self.set_len(*len),
            Change::Punch { offset, len } => self.punch(*offset, *len),
        }
    }

    fn punch(&mut self, offset: u64, len: u64) {
        let end = (offset.saturating_add(len)).min(self.len);
        if offset < end {
            self.zero(offset, end - offset);
        }
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.image.len
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        self.image.read(offset, buffer)
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.record(offset, data.len() as u64, Change::Write { offset, data: data.into() });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let cut = self.image.len.saturating_sub(len);
        self.record(len, cut, Change::SetLen(len));
    }

    pub(super) fn punch(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.image.len);
        self.record(offset, end.saturating_sub(offset), Change::Punch { offset, len });
    }

    pub(super) fn sync(&mut self) {
        self.durable_len = self.image.len;
        self.durable_pages.clear();
        self.unsynced.clear();
    }

    fn record(&mut self, touched_from: u64, touched_len: u64, change: Change) {
        for (page, _, _) in pieces(touched_from, touched_len) {
            let pages = &self.image.pages;
            self.durable_pages.entry(page).or_insert_with(|| pages.get(&page).cloned());
        }
        self.image.apply(&change);
        self.unsynced.push(change);
    }

    /// The file as a power cut may leave it: what was synced, and of what was not: nothing, everything, the
    /// first so many changes, or any of them, writes torn at sectors.
    pub(super) fn crashed(&self, random: &dyn Random) -> Self {
        let mut image = self.image.clone();
        for (page, durable) in &self.durable_pages {
            match durable {
                Some(bytes) => image.pages.insert(*page, Arc::clone(bytes)),
                None => image.pages.remove(page),
            };
        }
        image.len = self.durable_len;
        let all = self.unsynced.len();
        match random.below(4) {
            0 => {}
            1 => self.unsynced.iter().for_each(|change| image.apply(change)),
            2 => {
                let kept = random.below(all as u64 + 1) as usize;
                self.unsynced[..kept].iter().for_each(|change| image.apply(change));
                if let Some(last) = self.unsynced.get(kept) {
                    apply_torn(&mut image, last, random);
                }
            }
            _ => {
                for change in &self.unsynced {
                    match random.below(3) {
                        0 => {}
                        1 => image.apply(change),
                        _ => apply_torn(&mut image, change, random),
                    }
                }
            }
        }
        let durable_len = image.len;
        Self { image, durable_len, ..Self::default() }
    }
}

/// Applies some sectors of a write: its first ones, or any. Sectors are those of the disk, not of the write.
fn apply_torn(image: &mut Image, change: &Change, random: &dyn Random) {
    let Change::Write { offset, data } = change else {
        if random.chance(1, 2) {
            image.apply(change);
        }
        return;
    };
    let head = SECTOR_BYTES - (*offset % SECTOR_BYTES as u64) as usize;
    let mut borders = vec![0];
    borders.extend((head..data.len()).step_by(SECTOR_BYTES));
    borders.push(data.len());
    let sectors = borders.len() - 1;
    let prefix = random.chance(1, 2).then(|| random.below(sectors as u64 + 1) as usize);
    for sector in 0..sectors {
        let keep = match prefix {
            Some(count) => sector < count,
            None => random.chance(1, 2),
        };
        if keep {
            let range = borders[sector]..borders[sector + 1];
            image.write(*offset + range.start as u64, &data[range]);
        }
    }
}
