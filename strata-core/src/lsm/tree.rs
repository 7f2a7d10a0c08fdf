//! The tree: memtables over runs of tables, searched newest first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};

use crate::block::BlockHandle;
use crate::cache::{Access, PageCache};
use crate::error::Result;
use crate::ids::{BlockId, IndexId, RowId};
use crate::lsm::Liveness;
use crate::lsm::hints::Hints;
use crate::lsm::key::{IndexEntry, Limit, Position, PositionBuf, Probe, prefix_of};
use crate::lsm::memtable::{BTreeMemtable, ENTRY_OVERHEAD_BYTES, Inserted, Memtable};
use crate::lsm::memtable_cursor::MemtableCursor;
use crate::lsm::merge::{Merge, RangeCursor, RowsOfKey, Source, limits};
use crate::lsm::options::LsmOptions;
use crate::lsm::sstable::cursor::RunCursor;
use crate::lsm::sstable::table::SsTable;
use crate::lsm::version::{PlacedTable, Run, Version, VersionChange};
use crate::manifest::SsTableMeta;
use crate::memory::Reservation;

const MEMTABLE: &str = "memtable";
/// Enough to write a small table.
const FLUSH_RESERVE_BYTES: usize = 1 << 20;

/// All indexes of a database: one ordered set of (index, key, row descending).
///
/// Reads take no lock that a writer holds for longer than one map operation; writes ([`apply`](Self::apply),
/// [`seal`](Self::seal), [`adopt`](Self::adopt), [`install`](Self::install)) are serialised by a lock of the tree,
/// under which nothing does I/O or waits.
pub struct IndexTree {
    cache: Arc<PageCache>,
    options: LsmOptions,
    state: ArcSwap<TreeState>,
    hints: Hints,
    /// Lock order: this, then a memtable's own locks.
    writer: Mutex<Writer>,
    /// Entries that cursors have stepped over.
    steps: Arc<AtomicU64>,
    /// What a flush needs at least, held back so that a pool full of memtables can be emptied; locked by the flush
    /// that uses it, before any other lock. `None` where the pool was short at open.
    flush_reserve: Mutex<Option<Reservation>>,
}

struct Writer {
    next_sequence: u64,
    /// Adopted tables that no manifest edit names yet.
    unrecorded: BTreeSet<BlockId>,
}

/// A memtable and the memory it is charged.
pub(crate) struct MemtableSlot {
    pub memtable: Arc<dyn Memtable>,
    reservation: Mutex<Reservation>,
}

impl MemtableSlot {
    pub fn bytes(&self) -> usize {
        self.reservation.lock().bytes()
    }
}

/// A memtable that takes no more entries, with its place among the runs of level 0.
#[derive(Clone)]
pub(crate) struct SealedMemtable {
    pub sequence: u64,
    pub slot: Arc<MemtableSlot>,
}

/// What is searched between the active memtable and level 1.
enum Upper {
    Memtable(SealedMemtable),
    Run(Arc<Run>),
}

/// The tree at one moment.
struct TreeState {
    active: Arc<MemtableSlot>,
    /// Sealed memtables and the runs of level 0 by sequence, newest first.
    upper: Vec<Upper>,
    version: Arc<Version>,
}

impl TreeState {
    fn new(active: Arc<MemtableSlot>, sealed: Vec<SealedMemtable>, version: Arc<Version>) -> Self {
        let runs = version.level_0().iter().map(|run| (run.sequence(), Upper::Run(Arc::clone(run))));
        let mut upper: BTreeMap<u64, Upper> = runs.collect();
        for memtable in sealed {
            let other = upper.insert(memtable.sequence, Upper::Memtable(memtable));
            debug_assert!(other.is_none(), "two sources have one sequence");
        }
        Self { active, upper: upper.into_values().rev().collect(), version }
    }

    fn sealed(&self) -> impl DoubleEndedIterator<Item = &SealedMemtable> {
        self.upper.iter().filter_map(|upper| match upper {
            Upper::Memtable(memtable) => Some(memtable),
            Upper::Run(_) => None,
        })
    }

    fn memtables(&self) -> impl Iterator<Item = &Arc<MemtableSlot>> {
        std::iter::once(&self.active).chain(self.sealed().map(|memtable| &memtable.slot))
    }

    fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.version.level_0().iter().chain(self.version.deeper()).filter(|run| !run.tables().is_empty())
    }
}

impl IndexTree {
    /// The tree of these tables, as the manifest has them. Reads nothing. `next_sequence` must be above that of any
    /// table that was ever in the manifest, or 0.
    ///
    /// # Errors
    /// `CorruptBlock` where a table's bounds are none.
    pub fn open(
        cache: Arc<PageCache>,
        tables: &[SsTableMeta],
        next_sequence: u64,
        options: LsmOptions,
    ) -> Result<Self> {
        let mut placed = Vec::with_capacity(tables.len());
        for meta in tables {
            placed.push(place(open_table(&cache, meta)?, meta));
        }
        let after = tables.iter().map(|table| table.sequence.saturating_add(1)).max().unwrap_or(0);
        let active = new_memtable(&cache);
        let state = TreeState::new(active, Vec::new(), Arc::new(Version::new(placed)));
        let writer = Writer { next_sequence: next_sequence.max(after).max(1), unrecorded: BTreeSet::new() };
        let flush_reserve = Mutex::new(cache.pool().try_reserve("index flush", FLUSH_RESERVE_BYTES));
        let (state, writer) = (ArcSwap::from_pointee(state), Mutex::new(writer));
        let hints = Hints::new(cache.pool().clone());
        Ok(Self { cache, options, state, hints, writer, steps: Arc::default(), flush_reserve })
    }

    /// The options that the tree was opened with.
    pub fn options(&self) -> &LsmOptions {
        &self.options
    }

    /// The page cache that tables are read through; its store is where they are written.
    pub fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }

    /// Reserves the memory for an [`apply`](Self::apply) of so many entries with so many key bytes in all.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn reserve(&self, entries: usize, key_bytes: usize) -> Result<Reservation> {
        let bytes = entries.saturating_mul(ENTRY_OVERHEAD_BYTES).saturating_add(key_bytes);
        self.cache.pool().reserve(MEMTABLE, bytes)
    }

    /// Adds entries to the set. For the commit section and for replay: no I/O, no failure; adding what is there
    /// changes nothing. Returns the places of those whose keys are crowded by now, so that
    /// [`remove_garbage`](Self::remove_garbage) is worth a call, outside the commit section.
    pub fn apply(&self, entries: &[IndexEntry<'_>], mut reservation: Reservation) -> Vec<usize> {
        let writer = self.writer.lock();
        let state = self.state.load();
        let Inserted { bytes, crowded } = state.active.memtable.insert(entries);
        debug_assert!(bytes <= reservation.bytes(), "{bytes} bytes applied on a smaller reservation");
        reservation.shrink(reservation.bytes().saturating_sub(bytes));
        state.active.reservation.lock().merge(reservation);
        drop(writer);
        crowded
    }

    /// Takes the entries of `key` whose rows are garbage out of the memtables, for who writes that key next or
    /// has met many of them. Returns how many went.
    pub fn remove_garbage(&self, index: IndexId, key: &[u8], liveness: &dyn Liveness) -> usize {
        let state = self.state.load();
        let mut is_garbage = |row| liveness.is_garbage(index, row);
        let mut entries = 0;
        for slot in state.memtables() {
            let removed = slot.memtable.remove(index, key, &mut is_garbage);
            slot.reservation.lock().shrink(removed.bytes);
            entries += removed.entries;
        }
        entries
    }

    /// As [`remove_garbage`](Self::remove_garbage), of all keys: for replay, which makes again in one go what left the
    /// memtables bit by bit.
    pub fn sweep_garbage(&self, liveness: &dyn Liveness) -> usize {
        let mut entries = 0;
        for slot in self.state.load().memtables() {
            for index in slot.memtable.indexes() {
                let removed = slot.memtable.sweep(index, &mut |row| liveness.is_garbage(index, row));
                slot.reservation.lock().shrink(removed.bytes);
                entries += removed.entries;
            }
        }
        entries
    }

    /// A row that [`first`](Self::first) has found for this key, or a flush has met, the newest one if there were several; or,
    /// seldom, one of another key. There may be newer ones. No I/O.
    pub fn hint(&self, index: IndexId, key: &[u8]) -> Option<RowId> {
        self.hints.get(Probe::new(index, key, RowId::MAX).position().prefix)
    }

    /// The row that an entry leads to is worth a hint, where there is room.
    pub(crate) fn hint_at(&self, entry: Position<'_>) {
        self.hints.beside(entry.prefix, entry.row);
    }

    /// Has the hint of a key lead to a row, and those of all others nowhere.
    #[cfg(test)]
    pub fn mislead(&self, index: IndexId, key: &[u8], row: Option<RowId>) {
        self.hints.clear();
        if let Some(row) = row {
            self.hints.found(Probe::new(index, key, RowId::MAX).position().prefix, row);
        }
    }

    /// The largest row below `below` with exactly that key: the newest version of a unique key, for a snapshot
    /// whose rows end at `below`.
    ///
    /// Stops at the first source that has one: those searched later hold only smaller rows (rule 3). A source that
    /// has only rows at or above `below` says nothing.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    pub fn first(&self, index: IndexId, key: &[u8], below: RowId) -> Result<Option<RowId>> {
        let state = self.state.load();
        let Some(last) = below.get().checked_sub(1) else { return Ok(None) };
        let in_memtable = |slot: &MemtableSlot| {
            let row = slot.memtable.first(index, key, below)?;
            self.hints.found(Probe::new(index, key, row).position().prefix, row);
            Some(row)
        };
        if let Some(row) = in_memtable(&state.active) {
            return Ok(Some(row));
        }
        let probe = Probe::new(index, key, RowId::new(last));
        for upper in &state.upper {
            let found = match upper {
                Upper::Memtable(sealed) => in_memtable(&sealed.slot),
                Upper::Run(run) => run.find_and_tell(&probe, &self.hints)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        for run in state.version.deeper() {
            if let Some(row) = run.find_and_tell(&probe, &self.hints)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The rows below `below` with exactly that key, descending.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`: the filters are asked here.
    pub fn rows_of_key(&self, index: IndexId, key: &[u8], below: RowId) -> Result<RowsOfKey> {
        let state = self.state.load();
        let mut sources = memtable_sources(&state, index, false, below);
        // Not from the key's start: a hot key may have many rows that are too new.
        let start =
            PositionBuf { prefix: prefix_of(index, key), row: RowId::new(below.get().saturating_sub(1)) };
        let probe = Probe::new(index, key, start.row);
        for run in state.runs() {
            if run.may_contain(&probe)? {
                sources.push(Source::Run(RunCursor::new(Arc::clone(run), false, Access::Point).leaping()));
            }
        }
        let end = Limit::upper(index, Bound::Included(key));
        let start = Some(Limit { at: start, inclusive: true });
        Ok(RowsOfKey::new(Merge::new(sources, start, end, false, below).counted(&self.steps)))
    }

    /// The entries of a key range with rows below `below`. Nothing is read before the first `next`.
    pub fn range(
        &self,
        index: IndexId,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
        reverse: bool,
        below: RowId,
    ) -> RangeCursor {
        let state = self.state.load();
        let mut sources = memtable_sources(&state, index, reverse, below);
        let runs = state.runs();
        let cursor = |run: &Arc<Run>| RunCursor::new(Arc::clone(run), reverse, Access::Point).leaping();
        sources.extend(runs.map(|run| Source::Run(cursor(run))));
        let (lower, upper) = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        let (start, end) = limits(index, lower, upper, reverse);
        RangeCursor::new(Merge::new(sources, start, end, reverse, below).counted(&self.steps))
    }

    /// Ends the active memtable and starts a new one. Returns the boundary: all that was applied or adopted before
    /// has a sequence below it, all that comes after does not. A checkpoint takes the boundary and its journal
    /// position in one step of the commit section: a commit between the two would be replayed on top of tables.
    pub fn seal(&self) -> u64 {
        let mut writer = self.writer.lock();
        self.seal_locked(&mut writer);
        writer.next_sequence
    }

    fn seal_locked(&self, writer: &mut Writer) {
        let state = self.state.load();
        if state.active.memtable.entries() == 0 {
            return;
        }
        let slot = Arc::clone(&state.active);
        let sealed = SealedMemtable { sequence: writer.take_sequence(), slot };
        let all = state.sealed().cloned().chain([sealed]).collect();
        let version = Arc::clone(&state.version);
        self.state.store(Arc::new(TreeState::new(new_memtable(&self.cache), all, version)));
    }

    /// Puts tables of a bulk load on top of the tree, for the commit section and for replay: seals the memtable,
    /// so that what was applied before is searched later. Each meta has its `row_base`; tables must be in order, and
    /// where one overlaps those before it in the list, it must hold the larger rows. All must hold larger rows
    /// than the tree has for their keys.
    ///
    /// Tables that are in the tree already stay where they are. Returns the metas of the others with their place.
    /// They enter the manifest by the next flush past them, whose edit must also say (`IndexFlushed`, or the journal
    /// start) that replay adds no entry from before: else older ones would stand above them.
    ///
    /// # Errors
    /// `CorruptBlock` where a meta's bounds are none; then nothing is adopted.
    pub fn adopt(&self, tables: Vec<SsTableMeta>) -> Result<Vec<SsTableMeta>> {
        let mut writer = self.writer.lock();
        let mut placed = self.state.load().version.placed();
        let mut opened = Vec::with_capacity(tables.len());
        for meta in &tables {
            if placed.iter().all(|at| at.table.block() != meta.block) {
                opened.push(Arc::new(open_table(&self.cache, meta)?));
            }
        }
        self.seal_locked(&mut writer);
        let state = self.state.load();
        let mut metas = Vec::with_capacity(tables.len());
        let mut last: Option<Arc<SsTable>> = None;
        let mut sequence = 0;
        for table in opened {
            if last.is_none_or(|last| table.smallest() <= last.largest()) {
                sequence = writer.take_sequence();
            }
            writer.unrecorded.insert(table.block());
            metas.push(table.meta(0, sequence));
            placed.push(PlacedTable { level: 0, sequence, table: Arc::clone(&table) });
            last = Some(table);
        }
        self.swap_version(&state, Version::new(placed), &[]);
        Ok(metas)
    }

    /// Makes a change visible whose manifest edit is durable, and gives the removed tables up: their blocks are
    /// freed when the last reader lets go.
    ///
    /// # Errors
    /// `CorruptBlock` where an added meta's bounds are none, which no flush or compaction makes.
    pub fn install(&self, change: VersionChange) -> Result<()> {
        let mut writer = self.writer.lock();
        let state = self.state.load();
        let mut gone: Vec<Arc<BlockHandle>> = Vec::new();
        let mut placed = state.version.placed();
        let mut known: BTreeMap<BlockId, Arc<SsTable>> = BTreeMap::new();
        let touched: BTreeSet<BlockId> =
            change.added.iter().map(|meta| meta.block).chain(change.removed.iter().copied()).collect();
        placed.retain(|at| {
            let stays = !touched.contains(&at.table.block());
            if !stays {
                known.insert(at.table.block(), Arc::clone(&at.table));
            }
            stays
        });
        for meta in &change.added {
            let table = match known.remove(&meta.block) {
                Some(table) => table,
                None => Arc::new(open_table(&self.cache, meta)?),
            };
            placed.push(PlacedTable { level: meta.level, sequence: meta.sequence, table });
        }
        change.added.iter().for_each(|meta| {
            writer.unrecorded.remove(&meta.block);
        });
        gone.extend(known.values().map(|table| Arc::clone(table.handle())));
        self.swap_version(&state, Version::new(placed), &change.flushed);
        gone.iter().for_each(|handle| handle.mark_obsolete());
        drop(writer);
        Ok(()) // the last holder of a removed table may be dropped here, outside the lock
    }

    /// Replaces the version and lets the memtables of these sequences go. Under the writer's lock.
    fn swap_version(&self, state: &TreeState, version: Version, flushed: &[u64]) {
        let sealed =
            state.sealed().filter(|memtable| !flushed.contains(&memtable.sequence)).cloned().collect();
        self.state.store(Arc::new(TreeState::new(Arc::clone(&state.active), sealed, Arc::new(version))));
    }

    /// Bytes of the active memtable.
    pub fn memtable_bytes(&self) -> usize {
        self.state.load().active.bytes()
    }

    /// Sealed memtables that are not in tables yet.
    pub fn sealed_count(&self) -> usize {
        self.state.load().sealed().count()
    }

    /// Bytes of the sealed memtables.
    pub fn sealed_bytes(&self) -> usize {
        self.state.load().sealed().map(|memtable| memtable.slot.bytes()).sum()
    }

    /// Entries that cursors have stepped over since the tree was opened, garbage included.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// The next source's sequence; the manifest keeps it.
    pub fn next_sequence(&self) -> u64 {
        self.writer.lock().next_sequence
    }

    /// The tables as they are now.
    pub fn version(&self) -> Arc<Version> {
        Arc::clone(&self.state.load().version)
    }

    /// The memory held back for a flush; locked until the flush is over.
    pub(crate) fn flush_reserve(&self) -> MutexGuard<'_, Option<Reservation>> {
        self.flush_reserve.lock()
    }

    /// The sealed memtables below `boundary`, oldest first.
    pub(crate) fn sealed_below(&self, boundary: u64) -> Vec<SealedMemtable> {
        let state = self.state.load();
        state.sealed().rev().filter(|memtable| memtable.sequence < boundary).cloned().collect()
    }

    /// The adopted tables below `boundary` that the manifest does not name yet.
    pub(crate) fn unrecorded_below(&self, boundary: u64) -> Vec<SsTableMeta> {
        let writer = self.writer.lock();
        let mut metas = self.state.load().version.metas();
        metas.retain(|meta| writer.unrecorded.contains(&meta.block) && meta.sequence < boundary);
        metas
    }

    /// The tables with the sequence that compaction must stay below: that of the oldest source which is not in the
    /// manifest. What is newer may not sink below it (rule 3), nor an adopted table vanish before it is recorded.
    pub(crate) fn compactable(&self) -> (Arc<Version>, u64) {
        let writer = self.writer.lock();
        let state = self.state.load();
        let sealed = state.sealed().map(|memtable| memtable.sequence);
        let runs = state.version.level_0().iter();
        let unrecorded = runs
            .filter(|run| run.tables().iter().any(|table| writer.unrecorded.contains(&table.block())))
            .map(|run| run.sequence());
        (Arc::clone(&state.version), sealed.chain(unrecorded).min().unwrap_or(u64::MAX))
    }

    /// All sources, in the order in which they are searched.
    pub(crate) fn sources_in_order(&self) -> Vec<SearchedSource> {
        let state = self.state.load();
        let active = SearchedSource::Memtable(Arc::clone(&state.active.memtable));
        let upper = state.upper.iter().map(|upper| match upper {
            Upper::Memtable(sealed) => SearchedSource::Memtable(Arc::clone(&sealed.slot.memtable)),
            Upper::Run(run) => SearchedSource::Run(Arc::clone(run)),
        });
        let deeper = state.version.deeper().iter().map(|run| SearchedSource::Run(Arc::clone(run)));
        std::iter::once(active).chain(upper).chain(deeper).collect()
    }
}

impl fmt::Debug for IndexTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load();
        f.debug_struct("IndexTree")
            .field("memtable_bytes", &state.active.bytes())
            .field("sealed", &state.sealed().count())
            .field("version", &state.version)
            .finish_non_exhaustive()
    }
}

/// A source, for the checker.
pub(crate) enum SearchedSource {
    Memtable(Arc<dyn Memtable>),
    Run(Arc<Run>),
}

impl Writer {
    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }
}

fn new_memtable(cache: &PageCache) -> Arc<MemtableSlot> {
    let reservation = Mutex::new(cache.pool().empty(MEMTABLE));
    Arc::new(MemtableSlot { memtable: Arc::new(BTreeMemtable::default()), reservation })
}

pub(crate) fn open_table(cache: &Arc<PageCache>, meta: &SsTableMeta) -> Result<SsTable> {
    SsTable::open(Arc::clone(cache), cache.handle(meta.block), meta)
}

fn place(table: SsTable, meta: &SsTableMeta) -> PlacedTable {
    PlacedTable { level: meta.level, sequence: meta.sequence, table: Arc::new(table) }
}

fn memtable_sources(state: &TreeState, index: IndexId, reverse: bool, below: RowId) -> Vec<Source> {
    let slots = state.memtables().filter(|slot| slot.memtable.entries() > 0);
    slots
        .map(|slot| Source::Memtable(MemtableCursor::new(Arc::clone(&slot.memtable), index, reverse, below)))
        .collect()
}
