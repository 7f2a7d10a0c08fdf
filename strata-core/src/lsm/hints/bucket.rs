//! A bucket of hints: a few words that threads read and write at once, each whole and by itself.

use crate::ids::RowId;
use crate::sync::{AtomicU64, Ordering};

/// Bits of the tag; the others are the row's. Rows beyond 2^40 have no hints.
const TAG_BITS: u32 = 24;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

/// A row, and what tells its key from others of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint(u64);

/// What tells a key from others of its bucket: never zero, so that no hint is an empty entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    /// From the lower half of a key's hash.
    pub fn new(hash: u64) -> Self {
        Self((hash & TAG_MASK).max(1))
    }
}

impl Hint {
    /// `None` where an entry has no room for the row.
    pub fn new(tag: Tag, row: RowId) -> Option<Self> {
        let has_room = row.get() >> (u64::BITS - TAG_BITS) == 0;
        has_room.then(|| Self(row.get() << TAG_BITS | tag.0))
    }

    fn tag(self) -> Tag {
        Tag(self.0 & TAG_MASK)
    }

    fn row(self) -> RowId {
        RowId::new(self.0 >> TAG_BITS)
    }
}

/// The words of a bucket; zeros are empty entries.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'a>(pub &'a [AtomicU64]);

impl Bucket<'_> {
    /// The row of the first entry with the tag.
    pub fn get(self, tag: Tag) -> Option<RowId> {
        let mut hints = self.0.iter().map(|entry| Hint(entry.load(Ordering::Relaxed)));
        hints.find(|hint| hint.tag() == tag).map(Hint::row)
    }

    /// Tells a hint, unless a newer one of its key is known. Where the bucket is full, it takes the place of the entry that
    /// `displaced` names, if any.
    pub fn put(self, new: Hint, displaced: impl FnOnce() -> Option<usize>) {
        let mut empty = None;
        for entry in self.0 {
            let known = entry.load(Ordering::Relaxed);
            if Hint(known).tag() == new.tag() {
                // The newest row is the largest word. Nothing is written where it is known, for others read the line too.
                if known < new.0 {
                    entry.fetch_max(new.0, Ordering::Relaxed);
                }
                return;
            }
            if known == 0 {
                empty = empty.or(Some(entry));
            }
        }
        if let Some(empty) = empty {
            // Where another thread is first, this hint is lost; most likely theirs is of the same key.
            let _ = empty.compare_exchange(0, new.0, Ordering::Relaxed, Ordering::Relaxed);
        } else if let Some(place) = displaced() {
            self.0[place % self.0.len()].store(new.0, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn hint(tag: u64, row: u64) -> Hint {
        Hint::new(Tag::new(tag), RowId::new(row)).expect("a small row")
    }

    fn bucket(hints: [Option<Hint>; 2]) -> Arc<[AtomicU64; 2]> {
        Arc::new(hints.map(|hint| AtomicU64::new(hint.map_or(0, |hint| hint.0))))
    }

    /// Two threads that tell a hint each, and a reader: that one begins last, since loom notes one access of an atomic, and
    /// a teller's own would hide the reader's before it.
    fn run<T: Send + 'static>(
        bucket: &Arc<[AtomicU64; 2]>,
        told: [(Hint, Option<usize>); 2],
        read: impl FnOnce(&Arc<[AtomicU64; 2]>) -> T + Send + 'static,
    ) -> T {
        let tellers = told.map(|(hint, displaced)| {
            let bucket = Arc::clone(bucket);
            thread::spawn(move || Bucket(&*bucket).put(hint, || displaced))
        });
        let reader = {
            let bucket = Arc::clone(bucket);
            thread::spawn(move || read(&bucket))
        };
        tellers.into_iter().for_each(|teller| teller.join().expect("no panics"));
        reader.join().expect("no panics")
    }

    fn row(bucket: &Arc<[AtomicU64; 2]>, tag: u64) -> Option<u64> {
        Bucket(&**bucket).get(Tag::new(tag)).map(RowId::get)
    }

    #[test]
    fn the_newest_row_of_a_known_key_stays_whoever_tells_it() {
        static SEEN: std::sync::Mutex<[bool; 3]> = std::sync::Mutex::new([false; 3]);
        loom::model(|| {
            let bucket = bucket([Some(hint(1, 5)), None]);
            let (first, then) = run(&bucket, [(hint(1, 6), None), (hint(1, 7), Some(0))], |bucket| {
                (row(bucket, 1).expect("is known"), row(bucket, 1).expect("is known"))
            });
            assert!((5..=then).contains(&first), "{first}, then {then}");
            SEEN.lock().expect("no panics")[first as usize - 5] = true;
            assert_eq!((row(&bucket, 1), row(&bucket, 2)), (Some(7), None));
        });
        assert_eq!(*SEEN.lock().expect("no panics"), [true; 3], "not every order was run");
    }

    #[test]
    fn of_two_keys_that_are_told_at_once_what_was_seen_stays() {
        static SEEN: std::sync::Mutex<[bool; 4]> = std::sync::Mutex::new([false; 4]);
        loom::model(|| {
            let bucket = bucket([None, None]);
            let seen = run(&bucket, [(hint(1, 6), None), (hint(2, 7), None)], |bucket| row(bucket, 1));
            let (one, two) = (row(&bucket, 1), row(&bucket, 2));
            assert!(one.is_none_or(|row| row == 6) && two.is_none_or(|row| row == 7), "{one:?}, {two:?}");
            assert!(seen.is_none() || seen == one, "{seen:?} was seen, then {one:?}");
            SEEN.lock().expect("no panics")[usize::from(one.is_some()) * 2 + usize::from(two.is_some())] =
                true;
        });
        assert_eq!(*SEEN.lock().expect("no panics"), [false, true, true, true], "one of them is always told");
    }

    /// One thread tells a newer row of an entry that the other gives to another key.
    #[test]
    fn no_key_has_the_row_of_one_that_displaced_it() {
        static SEEN: std::sync::Mutex<[bool; 2]> = std::sync::Mutex::new([false; 2]);
        // Every order is too many: those with at most three preemptions are run.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let bucket = bucket([Some(hint(1, 5)), Some(hint(2, 5))]);
            run(&bucket, [(hint(1, 8), None), (hint(3, 6), Some(0))], |bucket| {
                let told = [[None, Some(5), Some(8)], [Some(5); 3], [None, Some(6), None]];
                for (tag, told) in (1..).zip(told) {
                    let row = row(bucket, tag);
                    assert!(told.contains(&row), "{row:?} of {tag}");
                }
            });
            let (kept, new) = (row(&bucket, 1), row(&bucket, 3));
            assert!([(Some(8), None), (None, Some(6))].contains(&(kept, new)), "{kept:?}, {new:?}");
            SEEN.lock().expect("no panics")[usize::from(new.is_some())] = true;
        });
        assert_eq!(*SEEN.lock().expect("no panics"), [true; 2], "not every order was run");
    }
}
