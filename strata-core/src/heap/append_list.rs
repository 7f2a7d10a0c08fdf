//! A list that grows at its end while readers index it without a lock.
//!
//! Elements never move: they stand in chunks of doubling size (8, 16, 32, …) that are allocated once. One
//! writer at a time appends (the commit section, or opening).

use crate::sync::{AtomicUsize, OnceLock, Ordering};

/// Models have small chunks, so that few elements fill some.
const FIRST_CHUNK_BITS: u32 = if cfg!(loom) { 0 } else { 3 };
/// Room for 8 × (2^33 − 1) elements.
const CHUNKS: usize = if cfg!(loom) { 3 } else { 33 };

/// The list.
pub(super) struct AppendList<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    len: AtomicUsize,
}

/// Where an element stands: chunk, and place in it.
fn place(index: usize) -> (usize, usize) {
    let shifted = index + (1 << FIRST_CHUNK_BITS);
    let chunk = shifted.ilog2();
    ((chunk - FIRST_CHUNK_BITS) as usize, shifted - (1 << chunk))
}

impl<T> AppendList<T> {
    pub fn new() -> Self {
        Self { chunks: std::array::from_fn(|_| OnceLock::new()), len: AtomicUsize::new(0) }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        if index >= self.len() {
            return None;
        }
        let (chunk, place) = place(index);
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    pub fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Appends an element (the writer).
    pub fn push(&self, value: T) {
        let len = self.len.load(Ordering::Relaxed);
        let (chunk, place) = place(len);
        let elements = self.chunks[chunk].get_or_init(|| {
            (0..1_usize << (FIRST_CHUNK_BITS as usize + chunk)).map(|_| OnceLock::new()).collect()
        });
        let vacant = elements[place].set(value).is_ok();
        debug_assert!(vacant, "one writer");
        self.len.store(len + 1, Ordering::Release);
    }

    /// The first index whose element does not satisfy `below`, all that do standing first.
    pub fn partition_point(&self, below: impl Fn(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(element) if below(element) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn readers_see_a_prefix_while_the_writer_appends() {
        let count: usize = if cfg!(miri) { 30 } else { 10_000 };
        let list = AppendList::new();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < count {
                        let len = list.len();
                        assert!(len >= seen, "the list never shrinks");
                        for index in seen..len {
                            assert_eq!(list.get(index).map(String::as_str), Some(&*index.to_string()));
                        }
                        seen = len;
                        std::thread::yield_now();
                    }
                });
            }
            (0..count).for_each(|index| list.push(index.to_string()));
        });
    }

    #[test]
    fn elements_stay_where_they_were_put() {
        let list = AppendList::new();
        assert!(list.last().is_none());
        for value in 0..1_000_usize {
            assert_eq!(list.get(value), None);
            list.push(value);
            assert_eq!(list.get(value), Some(&value));
        }
        assert!(list.iter().copied().eq(0..1_000));
        assert_eq!((list.len(), list.last()), (1_000, Some(&999)));
        assert_eq!(list.partition_point(|value| *value < 617), 617);
        assert_eq!(list.partition_point(|_| true), 1_000);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// The list grows into its second chunk; what the length covers is there, and whole. The reader is the thread that
    /// begins last: loom notes one access of an atomic, and the writer's own load would hide the reader's before it.
    #[test]
    fn a_reader_sees_a_prefix_while_the_list_grows() {
        static SEEN: std::sync::Mutex<[bool; 3]> = std::sync::Mutex::new([false; 3]);
        loom::model(|| {
            let list = Arc::new(AppendList::<UnsafeCell<u64>>::new());
            let reader = {
                let list = Arc::clone(&list);
                thread::spawn(move || {
                    let len = list.len();
                    for index in 0..len {
                        let cell = list.get(index).expect("below the length");
                        // Tells the model that the element is read: it must have been written before.
                        cell.with(|value| assert!(!value.is_null()));
                    }
                    SEEN.lock().expect("no panics")[len] = true;
                })
            };
            (0..2_u64).for_each(|value| list.push(UnsafeCell::new(value)));
            reader.join().expect("no panics");
            assert_eq!(list.len(), 2);
        });
        assert_eq!(*SEEN.lock().expect("no panics"), [true; 3], "not every order was run");
    }
}
