//! Merging sources into one ordered stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::Access;
use crate::error::Result;
use crate::ids::{IndexId, RowId};
use crate::lsm::key::{Limit, Position, PositionBuf, split_prefix};
use crate::lsm::memtable_cursor::MemtableCursor;
use crate::lsm::sstable::cursor::RunCursor;
use crate::lsm::version::Run;

/// A source of entries in order.
pub(crate) enum Source {
    Memtable(MemtableCursor),
    Run(RunCursor),
}

impl Source {
    /// A cursor over all of a run, for compaction.
    pub fn whole_run(run: Arc<Run>) -> Self {
        Self::Run(RunCursor::new(run, false, Access::Scan))
    }

    fn current(&self) -> Option<Position<'_>> {
        match self {
            Self::Memtable(cursor) => cursor.current(),
            Self::Run(cursor) => cursor.current(),
        }
    }

    fn seek(&mut self, start: Option<&Limit>, end: Option<&Limit>) -> Result<()> {
        match (self, start) {
            (Self::Memtable(cursor), start) => {
                cursor.seek(start);
                Ok(())
            }
            (Self::Run(cursor), Some(start)) => cursor.seek(start, end),
            (Self::Run(cursor), None) => cursor.seek_end(),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match self {
            Self::Memtable(cursor) => cursor.advance(),
            Self::Run(cursor) => cursor.advance(),
        }
    }
}

/// The union of sources, each entry once, between two limits.
pub(crate) struct Merge {
    /// Those that have entries left, the one with the next entry *last*: most of the time it stays there.
    sources: Vec<Source>,
    /// Where to start and to stop, in the direction of travel; `None` for the end of the sources.
    start: Option<Limit>,
    end: Option<Limit>,
    reverse: bool,
    below: RowId,
    current: PositionBuf,
    state: State,
    /// Entries stepped over, and where they are counted in the end.
    steps: u64,
    counter: Option<Arc<AtomicU64>>,
}

/// Entries passed one by one before the source is told to seek.
const PASSED_MAX: u32 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No source has been told to seek.
    Fresh,
    /// `current` has been handed out, and the last source is still on it.
    Between,
    /// Nothing is left, or a source failed.
    Ended,
}

impl Merge {
    /// The entries of `sources` with rows below `below`. `start` and `end` are in the direction of travel.
    pub fn new(
        sources: Vec<Source>,
        start: Option<Limit>,
        end: Option<Limit>,
        reverse: bool,
        below: RowId,
    ) -> Self {
        let current = PositionBuf { prefix: Vec::new(), row: RowId::ZERO };
        let state = State::Fresh;
        Self { sources, start, end, reverse, below, current, state, steps: 0, counter: None }
    }

    /// Has the entries that are stepped over counted there when the merge is dropped.
    pub fn counted(mut self, counter: &Arc<AtomicU64>) -> Self {
        self.counter = Some(Arc::clone(counter));
        self
    }

    fn has_leapt(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Run(cursor) if cursor.has_leapt()))
    }

    /// Says that the entry handed out last is garbage, so that later walks leap over many of its kind. True where it
    /// stands in a memtable, from which it can be removed.
    fn note_garbage(&mut self) -> bool {
        match self.sources.last_mut() {
            Some(Source::Run(cursor)) if self.state == State::Between => {
                cursor.note_garbage();
                false
            }
            Some(Source::Memtable(_)) => true,
            _ => false,
        }
    }

    /// The next entry. After an error the stream has ended.
    pub fn next(&mut self) -> Result<Option<Position<'_>>> {
        match self.step() {
            Ok(true) => Ok(Some(self.current.as_position())),
            Ok(false) => {
                self.end();
                Ok(None)
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.sources.clear();
    }

    /// Puts the next entry into `current`; false at the end.
    fn step(&mut self) -> Result<bool> {
        let mut first = false;
        match self.state {
            State::Fresh => {
                self.seek_all()?;
                self.state = State::Between;
                first = true;
            }
            State::Between => self.advance_head()?,
            State::Ended => return Ok(false),
        }
        let mut passed = 0;
        loop {
            let Some(entry) = self.sources.last().and_then(Source::current) else { return Ok(false) };
            let within = match &self.end {
                Some(end) if self.reverse => end.admits_from_below(entry),
                Some(end) => end.admits_from_above(entry),
                None => true,
            };
            if !within {
                return Ok(false);
            }
            let again = !first && entry == self.current.as_position();
            if entry.row < self.below && !again {
                self.current.prefix.clear();
                self.current.prefix.extend_from_slice(entry.prefix);
                self.current.row = entry.row;
                return Ok(true);
            }
            passed += 1;
            if passed % PASSED_MAX == 0 && entry.row >= self.below {
                let key = entry.prefix.to_vec();
                self.leap_head(key)?;
            } else {
                self.advance_head()?;
            }
        }
    }

    /// Takes the source with the next entry past the rows of `prefix` that are too new.
    fn leap_head(&mut self, prefix: Vec<u8>) -> Result<()> {
        let row = if self.reverse { RowId::MAX } else { RowId::new(self.below.get().saturating_sub(1)) };
        let to = Limit { at: PositionBuf { prefix, row }, inclusive: !self.reverse };
        if let Some(head) = self.sources.last_mut() {
            head.seek(Some(&to), self.end.as_ref())?;
        }
        self.settle_head();
        Ok(())
    }

    fn seek_all(&mut self) -> Result<()> {
        for source in &mut self.sources {
            source.seek(self.start.as_ref(), self.end.as_ref())?;
        }
        self.sources.retain(|source| source.current().is_some());
        let reverse = self.reverse;
        self.sources.sort_by(|a, b| comes_before(a, b, reverse).cmp(&comes_before(b, a, reverse)));
        Ok(())
    }

    /// Advances the source with the next entry.
    fn advance_head(&mut self) -> Result<()> {
        self.steps += 1;
        let Some(head) = self.sources.last_mut() else { return Ok(()) };
        head.advance()?;
        self.settle_head();
        Ok(())
    }

    /// Puts the last source, which has moved, where it belongs now.
    fn settle_head(&mut self) {
        if self.sources.last().is_none_or(|head| head.current().is_none()) {
            self.sources.pop();
            return;
        }
        let mut at = self.sources.len() - 1;
        while at > 0 && comes_before(&self.sources[at - 1], &self.sources[at], self.reverse) {
            self.sources.swap(at - 1, at);
            at -= 1;
        }
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        if let Some(counter) = &self.counter {
            counter.fetch_add(self.steps, Ordering::Relaxed);
        }
    }
}

/// Whether the entry of `a` is handed out before that of `b`.
fn comes_before(a: &Source, b: &Source, reverse: bool) -> bool {
    match (a.current(), b.current()) {
        (Some(a), Some(b)) if reverse => a > b,
        (Some(a), Some(b)) => a < b,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// The entries of a key range of one index. Owns what it reads from; holds no lock between calls.
///
/// Forward: keys ascending, rows descending within a key. Reverse: exactly the other way round.
pub struct RangeCursor {
    merge: Merge,
}

impl RangeCursor {
    pub(crate) fn new(merge: Merge) -> Self {
        Self { merge }
    }

    /// The next key and row. The first call seeks; after an error the range has ended.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    // Not an Iterator: the key is lent until the next call.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(&[u8], RowId)>> {
        let entry = self.merge.next()?;
        Ok(entry.and_then(|entry| Some((split_prefix(entry.prefix)?.1, entry.row))))
    }

    /// Whether garbage was leapt over: then what follows it is likely to be garbage too.
    pub fn has_leapt(&self) -> bool {
        self.merge.has_leapt()
    }

    /// Says that the row handed out last is garbage, so that later walks leap over many of its kind. True where its
    /// entry stands in a memtable: then [`IndexTree::remove_garbage`](super::IndexTree::remove_garbage) takes it out.
    pub fn note_garbage(&mut self) -> bool {
        self.merge.note_garbage()
    }
}

/// The rows of one key, descending.
pub struct RowsOfKey {
    merge: Merge,
}

impl RowsOfKey {
    pub(crate) fn new(merge: Merge) -> Self {
        Self { merge }
    }

    /// The next row. The first call seeks; after an error there is none.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<RowId>> {
        Ok(self.merge.next()?.map(|entry| entry.row))
    }
}

/// The limits of a key range, in the direction of travel.
pub(crate) fn limits(
    index: IndexId,
    lower: std::ops::Bound<&[u8]>,
    upper: std::ops::Bound<&[u8]>,
    reverse: bool,
) -> (Option<Limit>, Option<Limit>) {
    let (lower, upper) = (Some(Limit::lower(index, lower)), Limit::upper(index, upper));
    if reverse { (upper, lower) } else { (lower, upper) }
}
