//! The hot page: one writer appends rows while any number of readers read those already there.
//!
//! The bytes stand as in a slotted [row page](super::row_page) whose header has not been written yet.
//!
//! **Concurrency.** One [`Appender`] at a time, which [`AppendPage::appender`] sees to. A row's bytes and its slot
//! entry are written first, then `count` is stored with Release. A reader loads `count` with Acquire and touches only
//! rows below it, whose bytes never change again. So neither waits for the other.
//!
//! This is one of the few files with `unsafe`: the buffer is shared between the writer and the readers, which
//! touch disjoint bytes of it. The safe twin in the tests, a page behind a lock, has the same answers; the tests of this file
//! are small enough for Miri.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;

#[cfg(not(loom))]
use super::row_page::PAGE_BYTES;
use super::row_page::{HEADER_BYTES, PageAddress, SLOT_BYTES, write_header};
use crate::sync::{AtomicBool, AtomicU16, Ordering};

/// Room for three rows of two bytes: a model looks at every byte.
#[cfg(loom)]
const PAGE_BYTES: usize = HEADER_BYTES + 3 * (2 + SLOT_BYTES);

/// A page that rows are appended to.
pub struct AppendPage {
    address: PageAddress,
    buffer: Box<[UnsafeCell<u8>]>,
    /// Where a model notes who touches which byte.
    #[cfg(loom)]
    touched: Box<[loom::cell::UnsafeCell<()>]>,
    /// Rows that readers may touch.
    count: AtomicU16,
    /// Whether an [`Appender`] is out.
    taken: AtomicBool,
}

// SAFETY: `buffer` is the only field that is not Sync by itself. Bytes are written only by the one `Appender` (`taken`
// is swapped with Acquire and given back with Release, so successive writers are ordered too), only at offsets that
// belong to rows at or above `count`, and are read only where they belong to rows below a `count` loaded with Acquire.
unsafe impl Sync for AppendPage {}

/// The right to append to a page.
pub struct Appender<'a> {
    page: &'a AppendPage,
}

impl AppendPage {
    /// An empty page.
    pub fn new(address: PageAddress) -> Self {
        let buffer = (0..PAGE_BYTES).map(|_| UnsafeCell::new(0)).collect();
        Self {
            address,
            buffer,
            #[cfg(loom)]
            touched: (0..PAGE_BYTES).map(|_| loom::cell::UnsafeCell::new(())).collect(),
            count: AtomicU16::new(0),
            taken: AtomicBool::new(false),
        }
    }

    /// Rows that may be read.
    pub fn count(&self) -> u32 {
        u32::from(self.count.load(Ordering::Acquire))
    }

    /// The bytes of the page's `index`-th row; `None` past the last.
    pub fn row(&self, index: u32) -> Option<&[u8]> {
        if index >= self.count() {
            return None;
        }
        let index = index as usize;
        let start = if index == 0 { HEADER_BYTES } else { self.end_of(index - 1) };
        Some(self.bytes(start, self.end_of(index)))
    }

    /// The first `count` rows as the payload of a block.
    pub fn payload(&self, count: u32) -> Vec<u8> {
        let count = count.min(self.count());
        let rows = u16::try_from(count).expect("a page's count is 16 bits wide");
        let rows_end = if count == 0 { HEADER_BYTES } else { self.end_of(count as usize - 1) };
        let directory = PAGE_BYTES - count as usize * SLOT_BYTES;
        let mut payload = vec![0; PAGE_BYTES];
        write_header(&mut payload, self.address, rows, rows_end, false);
        payload[HEADER_BYTES..rows_end].copy_from_slice(self.bytes(HEADER_BYTES, rows_end));
        payload[directory..].copy_from_slice(self.bytes(directory, PAGE_BYTES));
        payload
    }

    /// Takes the right to append; `None` while somebody has it.
    pub fn appender(&self) -> Option<Appender<'_>> {
        if self.taken.swap(true, Ordering::Acquire) { None } else { Some(Appender { page: self }) }
    }

    /// The end offset of a row that is known to be below `count`.
    fn end_of(&self, index: usize) -> usize {
        let at = PAGE_BYTES - (index + 1) * SLOT_BYTES;
        let bytes = self.bytes(at, at + SLOT_BYTES);
        usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Published bytes: those of rows, or slot entries, below `count`.
    fn bytes(&self, start: usize, end: usize) -> &[u8] {
        #[cfg(loom)]
        self.touched[start..end].iter().for_each(|byte| byte.with(|_| ()));
        let cells = &self.buffer[start..end];
        // SAFETY: the caller passes only ranges that belong to rows below a `count` that was loaded with Acquire. They
        // were written before the matching Release store and are never written again, so no write aliases this
        // slice. UnsafeCell<u8> has the layout of u8, and the range is inside the buffer (checked above).
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<u8>(), cells.len()) }
    }
}

impl Appender<'_> {
    /// Whether a row of `length` bytes fits.
    pub fn fits(&self, length: usize) -> bool {
        let count = usize::from(self.page.count.load(Ordering::Relaxed));
        self.rows_end(count) + length + (count + 1) * SLOT_BYTES <= PAGE_BYTES
            && count < usize::from(u16::MAX)
    }

    /// Appends a row and publishes it to readers; false, with nothing done, where it does not fit.
    pub fn append(&mut self, row: &[u8]) -> bool {
        if !self.fits(row.len()) {
            return false;
        }
        let count = self.page.count.load(Ordering::Relaxed);
        let start = self.rows_end(usize::from(count));
        let end = start + row.len();
        let encoded = u16::try_from(end).expect("offsets of a page fit 16 bits").to_le_bytes();
        self.write(start, row);
        self.write(PAGE_BYTES - (usize::from(count) + 1) * SLOT_BYTES, &encoded);
        self.page.count.store(count + 1, Ordering::Release);
        true
    }

    fn rows_end(&self, count: usize) -> usize {
        if count == 0 { HEADER_BYTES } else { self.page.end_of(count - 1) }
    }

    /// Writes bytes that no reader may touch yet.
    fn write(&mut self, start: usize, bytes: &[u8]) {
        #[cfg(loom)]
        self.page.touched[start..start + bytes.len()].iter().for_each(|byte| byte.with_mut(|_| ()));
        let cells = &self.page.buffer[start..start + bytes.len()];
        // SAFETY: this is the only writer (`taken`), and the range belongs to the row at `count`, which no reader touches
        // before `count` is stored after this. Going through the cells' own pointer leaves other slices into the
        // buffer, all of them disjoint from the range, valid.
        unsafe {
            let target = UnsafeCell::raw_get(cells.as_ptr());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.page.taken.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ids::{HeapId, SegmentId};
    use std::sync::Mutex;

    fn address() -> PageAddress {
        PageAddress { heap: HeapId::new(1), segment: SegmentId::new(2), first_slot: 3 }
    }

    /// The safe twin: rows in a vector behind a lock, with the page's arithmetic.
    #[derive(Default)]
    struct Twin(Mutex<Vec<Vec<u8>>>);

    impl Twin {
        fn append(&self, row: &[u8]) -> bool {
            let mut rows = self.0.lock().expect("no panics");
            let used: usize = rows.iter().map(|row| row.len() + SLOT_BYTES).sum();
            let fits = HEADER_BYTES + used + row.len() + SLOT_BYTES <= PAGE_BYTES;
            if fits {
                rows.push(row.to_vec());
            }
            fits
        }
    }

    #[test]
    fn answers_as_its_safe_twin_does() {
        let (page, twin) = (AppendPage::new(address()), Twin::default());
        let lengths = [0, 1, 5_000, 17, 20_000, 9_000, 7_000, 300, 300, 200, 100, 50, 8, 4, 2, 1, 0, 0];
        for (index, length) in lengths.into_iter().enumerate() {
            let row = vec![index as u8; length];
            let mut appender = page.appender().expect("one writer");
            assert_eq!(appender.append(&row), twin.append(&row), "row {index}");
        }
        let rows = twin.0.lock().expect("no panics");
        assert_eq!(page.count() as usize, rows.len());
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(page.row(index as u32), Some(&row[..]));
        }
        assert_eq!(page.row(rows.len() as u32), None);
    }

    #[test]
    fn a_second_writer_is_turned_away() {
        let page = AppendPage::new(address());
        let first = page.appender().expect("free");
        assert!(page.appender().is_none());
        drop(first);
        assert!(page.appender().is_some());
    }

    #[test]
    fn readers_see_whole_rows_while_the_writer_appends() {
        let rows: u8 = if cfg!(miri) { 20 } else { 200 };
        let page = AppendPage::new(address());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < u32::from(rows) {
                        let count = page.count();
                        assert!(count >= seen, "the count never shrinks");
                        for index in seen..count {
                            let value = index as u8;
                            assert_eq!(page.row(index), Some(&vec![value; usize::from(value) % 90][..]));
                        }
                        let copy = page.payload(count);
                        assert_eq!(u32::from(u16::from_le_bytes([copy[18], copy[19]])), count);
                        seen = count;
                        std::thread::yield_now();
                    }
                });
            }
            let mut appender = page.appender().expect("one writer");
            for value in 0..rows {
                assert!(appender.append(&vec![value; usize::from(value) % 90]));
            }
        });
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::ids::{HeapId, SegmentId};
    use loom::sync::Arc;
    use loom::thread;

    fn page() -> Arc<AppendPage> {
        let address = PageAddress { heap: HeapId::new(1), segment: SegmentId::new(2), first_slot: 3 };
        Arc::new(AppendPage::new(address))
    }

    /// In every order of their steps, and of what each sees of the other's. The reader is the thread that begins last: loom
    /// notes one access of an atomic, and the writer's own load would hide the reader's before it.
    #[test]
    fn a_reader_sees_a_prefix_of_whole_rows_while_the_writer_appends() {
        static SEEN: std::sync::Mutex<[bool; 3]> = std::sync::Mutex::new([false; 3]);
        loom::model(|| {
            let page = page();
            let reader = {
                let page = Arc::clone(&page);
                thread::spawn(move || {
                    let count = page.count();
                    let rows: Vec<_> =
                        (0..count).map(|index| page.row(index).expect("below the count")).collect();
                    assert_eq!(rows, [b"ab", b"cd"][..count as usize]);
                    assert_eq!(u32::from(page.payload(count)[18]), count);
                    SEEN.lock().expect("no panics")[count as usize] = true;
                })
            };
            let mut appender = page.appender().expect("one writer");
            assert!(appender.append(b"ab") && appender.append(b"cd"));
            reader.join().expect("no panics");
            assert_eq!((page.row(0), page.row(1)), (Some(&b"ab"[..]), Some(&b"cd"[..])));
        });
        assert_eq!(*SEEN.lock().expect("no panics"), [true; 3], "not every order was run");
    }

    #[test]
    fn writers_take_turns_and_the_second_goes_on_behind_the_first() {
        loom::model(|| {
            let page = page();
            let writers: Vec<_> = [b"ab", b"cd"]
                .into_iter()
                .map(|row| {
                    let page = Arc::clone(&page);
                    thread::spawn(move || page.appender().is_some_and(|mut appender| appender.append(row)))
                })
                .collect();
            let wrote: Vec<bool> =
                writers.into_iter().map(|writer| writer.join().expect("no panics")).collect();
            let count = wrote.iter().filter(|wrote| **wrote).count();
            assert!(count > 0, "one of them found the page free");
            assert_eq!(page.count() as usize, count);
            let rows: Vec<_> = (0..page.count()).map(|index| page.row(index).expect("published")).collect();
            assert!(rows.iter().all(|row| [&b"ab"[..], b"cd"].contains(row)), "{rows:?}");
        });
    }
}
