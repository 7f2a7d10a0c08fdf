//! The parts that a commit, a reader and maintenance share, and the commit pipeline over them.
//!
//! **Commit** (ARCHITECTURE.md section 4). *Prepare*, outside any lock: encode the record's body, pin the marks
//! and tail pages, reserve memory, memtable and journal space; whatever can fail fails here. *Commit section*
//! (`section`'s lock), short and serial: take the timestamp and RowIds, append the record, apply. Nothing in it
//! fails or does I/O. The journal's group sync then calls [`Publisher::on_durable`], which publishes in timestamp order,
//! releases locks and settles tickets.
//!
//! **Lock order:** `turn` > `section` > `in_flight` > leaves (lock manager, snapshot registry, journal buffer, heap tails).
//! The sync thread takes `in_flight` without `section`.
//!
//! **Failure.** A sync that fails poisons the store. Where it was the journal's, every commit in flight and every later one
//! is refused with [`Error::Poisoned`]; where it was that of blocks or of the manifest, every later one. Published
//! snapshots stay readable.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};

use super::heaps::HeapSet;
use super::lock::LockManager;
use super::publish::{InFlight, Publisher};
use super::record::{Placement, RecordBody, RowPlaces};
use super::snapshot::SnapshotRegistry;
use super::ticket::{CommitOutcome, CommitTicket};
use super::write_set::{BulkPart, WriteSet};
use crate::cache::PageCache;
use crate::error::{Error, Result};
use crate::heap::{DenseMarks, Heap, Mark, NewRows, Prepared, Successor};
use crate::ids::{HeapId, IndexId, LoadId, Lsn, RowId, SegmentId, Timestamp, TxnId};
use crate::journal::Journal;
use crate::lsm::{IndexEntry, IndexTree};
use crate::manifest::{Manifest, SsTableMeta};
use crate::memory::{MemoryPool, Reservation};

/// Called in the commit section once the commit has its timestamp.
pub type OnApply = Box<dyn FnOnce(Timestamp) + Send>;

/// What must hold of the state that a commit is applied to. Checking may take reads, so it is done outside the
/// commit section, and again for what was applied meanwhile, until nothing was that could matter. Where that does
/// not come to an end by itself, the commit takes a *turn*: the others wait in front of the section while it checks
/// what is left, which is what was applied during the check before.
pub trait Precondition {
    /// Notes how far things are, for the check that follows (in the commit section): `last` was applied last.
    fn note(&mut self, last: Timestamp);

    /// Looks at what was applied from the last check up to what was noted, or later.
    ///
    /// # Errors
    /// What the commit is refused with; those of the block store.
    fn check(&mut self) -> Result<()>;

    /// Whether nothing that could matter was applied after what was checked (in the commit section).
    fn still_holds(&self) -> bool;
}

/// How often preconditions are checked beside other commits. Each check covers what was committed during the one before.
const CHECKS_BEFORE_TURN: u32 = 8;

/// What the commit section guards.
#[derive(Debug)]
pub struct CommitSection {
    /// The last timestamp handed out.
    pub last: Timestamp,
    /// Bulk loads that are applied, with the end of their record, and not yet in the manifest.
    pub pending_loads: Vec<PendingLoad>,
}

/// A bulk load that only the journal names.
#[derive(Clone, Debug)]
pub struct PendingLoad {
    /// The load.
    pub load: LoadId,
    /// Where its record ends.
    pub end: Lsn,
    /// The heap and the first segment of its blocks.
    pub heap: HeapId,
    /// Its column blocks, a segment each from the first on.
    pub blocks: Vec<(SegmentId, crate::ids::BlockId, u32)>,
}

/// Memory and pins that applying a commit uses up.
pub struct PreparedCommit {
    heaps: Vec<Prepared>,
    index: Reservation,
}

/// A database's shared parts.
pub struct Store {
    /// The cap of the process.
    pub pool: MemoryPool,
    /// Pages of blocks, and the block store below.
    pub cache: Arc<PageCache>,
    /// The heaps.
    pub heaps: HeapSet,
    /// The indexes.
    pub tree: IndexTree,
    /// The journal.
    pub journal: Journal,
    /// The manifest.
    pub manifest: Manifest,
    /// What is published, who reads.
    pub snapshots: Arc<SnapshotRegistry>,
    /// The locks.
    pub locks: Arc<LockManager>,
    section: Mutex<CommitSection>,
    /// Passed by every commit on its way into the section; held by the one that has a turn.
    turn: RwLock<()>,
    publisher: Arc<Publisher>,
}

/// The parts that a [`Store`] is put together from.
pub struct StoreParts {
    /// See [`Store::pool`].
    pub pool: MemoryPool,
    /// See [`Store::cache`].
    pub cache: Arc<PageCache>,
    /// See [`Store::heaps`].
    pub heaps: HeapSet,
    /// See [`Store::tree`].
    pub tree: IndexTree,
    /// See [`Store::journal`].
    pub journal: Journal,
    /// See [`Store::manifest`].
    pub manifest: Manifest,
    /// The last commit that the manifest holds.
    pub last_commit: Timestamp,
}

impl Store {
    /// Puts the parts together. Replay comes next, then [`Journal::start_sync_thread`].
    pub fn new(parts: StoreParts) -> Self {
        let publisher = Publisher::new(parts.last_commit);
        Self {
            pool: parts.pool,
            cache: parts.cache,
            heaps: parts.heaps,
            tree: parts.tree,
            journal: parts.journal,
            manifest: parts.manifest,
            snapshots: publisher.snapshots().clone(),
            locks: publisher.locks().clone(),
            section: Mutex::new(CommitSection { last: parts.last_commit, pending_loads: Vec::new() }),
            turn: RwLock::new(()),
            publisher,
        }
    }

    /// Fails once the store has stopped accepting writes.
    pub fn check_writable(&self) -> Result<()> {
        self.publisher.check_writable()
    }

    /// What the journal tells when commits are durable.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// Runs `action` in the commit section: no commit is between its timestamp and its application.
    pub fn with_section<T>(&self, action: impl FnOnce(&mut CommitSection) -> T) -> T {
        action(&mut self.section.lock())
    }

    /// A ticket that is ready once all that is applied now is published. Whoever tells of what a commit did, and has
    /// not waited for its locks, waits here first: a reply never shows what is not durable.
    pub fn when_published(&self) -> CommitTicket {
        self.with_section(|_| self.publisher.when_published(None))
    }

    /// The ticket of a commit that was not made, for what others have committed: it fails once theirs is published.
    pub fn refuse(&self, refusal: Error) -> CommitTicket {
        self.with_section(|_| self.publisher.when_published(Some(refusal))).refused()
    }

    /// Whether a row that is applied is published.
    pub fn is_published(&self, heap: &Heap, row: RowId) -> bool {
        row < heap.visible_end(self.snapshots.take().timestamp())
    }

    /// Commits a write set.
    ///
    /// # Errors
    /// `DiskFull`, `OutOfMemory`, `Poisoned`, I/O errors of what had to be loaded, or those of the preconditions: nothing
    /// was done then. The ticket tells what comes later. The transaction's locks are released when the ticket settles; on an error
    /// here they are the caller's to release.
    pub fn commit(
        &self,
        txn: TxnId,
        writes: &WriteSet,
        preconditions: &mut [&mut dyn Precondition],
        on_apply: Option<OnApply>,
    ) -> Result<CommitTicket> {
        self.check_writable()?;
        let mut body = RecordBody::encode(writes);
        let space =
            self.journal.reserve(body.len_bytes() + body.trailer_bound(self.heaps.segment_bytes()))?;
        if !body.loads().is_empty() {
            self.sync_blocks()?;
        }
        let mut prepared = self.prepare(&body, None)?;
        let replacing = body.sections().iter().filter(|part| part.ended() > 0);
        let heaps = replacing.map(|part| self.heaps.get_or_create(part.heap)).collect();
        let (outcome, ticket) = CommitOutcome::new();

        let (mut section, turn) = self.enter_section(preconditions)?;
        self.check_writable()?;
        let placement = self.place(&section, &body);
        let end = self.journal.append(body.finish(&placement));
        let crowded = self.apply(&mut section, &body, &placement, &mut prepared, Replay::No, end);
        if let Some(on_apply) = on_apply {
            on_apply(placement.timestamp);
        }
        let timestamp = placement.timestamp;
        let told = Vec::new();
        self.publisher.push(InFlight { timestamp, end, txn, heaps, outcome, told, _space: space });
        drop(section);
        drop(turn);
        self.thin_out(&body, &crowded);

        // The sync may have ended before the entry was in the queue, well or not.
        let durable = self.journal.durable();
        if durable >= end || self.publisher.journal_has_failed() {
            self.publisher.catch_up(durable);
        }
        Ok(ticket)
    }

    /// Whether a commit could be made now. Changes nothing.
    ///
    /// # Errors
    /// Those of the preconditions; `Poisoned`.
    pub fn check_preconditions(&self, preconditions: &mut [&mut dyn Precondition]) -> Result<()> {
        let (section, turn) = self.enter_section(preconditions)?;
        drop(section);
        drop(turn);
        self.check_writable()
    }

    /// Enters the commit section in a state for which the preconditions hold. Where that took a turn, the turn ends with
    /// the guard that comes with it.
    fn enter_section(
        &self,
        preconditions: &mut [&mut dyn Precondition],
    ) -> Result<(MutexGuard<'_, CommitSection>, Option<RwLockWriteGuard<'_, ()>>)> {
        let mut turn = None;
        let mut checks = 0;
        loop {
            // Who waits here holds locks of rows and keys, but nothing that whoever has the turn would wait for.
            let pass = turn.is_none().then(|| self.turn.read());
            let section = self.section.lock();
            drop(pass);
            if preconditions.iter().all(|precondition| precondition.still_holds()) {
                return Ok((section, turn));
            }
            if turn.is_none() && checks == CHECKS_BEFORE_TURN {
                drop(section);
                turn = Some(self.turn.write());
                continue;
            }
            preconditions.iter_mut().for_each(|precondition| precondition.note(section.last));
            drop(section);
            for precondition in preconditions.iter_mut() {
                precondition.check()?;
            }
            checks += 1;
        }
    }

    /// Takes the garbage of crowded keys out of the memtables: a row that is updated all day would fill them.
    fn thin_out(&self, body: &RecordBody, crowded: &[usize]) {
        if crowded.is_empty() {
            return;
        }
        let horizon = self.snapshots.horizon();
        let entries = body
            .sections()
            .iter()
            .flat_map(|part| body.entries(part).map(|(index, _, key)| (part.heap, index, key)));
        for (place, (heap, index, key)) in entries.enumerate() {
            if crowded.binary_search(&place).is_ok()
                && let Some(heap) = self.heaps.get(heap)
            {
                self.tree.remove_garbage(index, key, &heap.garbage(&horizon));
            }
        }
    }

    /// Reserves and pins all that applying the record takes. Replay knows its placement: what the record adopts may be there already,
    /// with marks.
    ///
    /// # Errors
    /// `OutOfMemory`; those of the block store where marks must be read.
    pub fn prepare(&self, body: &RecordBody, placement: Option<&Placement>) -> Result<PreparedCommit> {
        let mut heaps = Vec::with_capacity(body.sections().len());
        let (mut entries, mut key_bytes) = (0, 0);
        for (place, section) in body.sections().iter().enumerate() {
            let heap = self.heaps.get_or_create(section.heap);
            let runs = placement.and_then(|placement| placement.runs.get(place));
            let places = placement.zip(runs);
            let places =
                places.map(|(placement, runs)| RowPlaces::new(runs, body.loads_of(section.heap, placement)));
            let run_bound = section.run_bound(self.heaps.segment_bytes());
            // Of the runs to come, the first or the last begins no segment.
            let segments = runs.map_or(run_bound - 1, Vec::len);
            let runs = runs.map_or(run_bound, Vec::len);
            let marked: Vec<RowId> = body.marks(section).map(|(row, ..)| row).collect();
            let bytes = usize::try_from(section.row_bytes)
                .map_err(|_| Error::Invalid("a commit larger than memory".into()))?;
            let new = NewRows { rows: section.rows as usize, bytes, segments };
            let mut prepared = heap.prepare(new, &marked)?;
            // Each break between runs of rows falls into the marks of one segment, or of two.
            let loads = body.loads().iter().filter(|load| load.heap == section.heap);
            let blocks: usize = loads.map(|load| load.blocks.len()).sum();
            let mut breaks = runs + blocks;
            for (segment, marks) in &section.dense {
                let segment = places.as_ref().and_then(|places| places.segment(*segment)).unwrap_or(*segment);
                let bytes = marks.bytes_after_map(1 + std::mem::take(&mut breaks));
                heap.prepare_dense(segment, bytes, &mut prepared)?;
            }
            heaps.push(prepared);
            entries += section.entries as usize;
            key_bytes += section.key_bytes as usize;
        }
        for load in body.loads() {
            self.heaps.get_or_create(load.heap);
        }
        Ok(PreparedCommit { heaps, index: self.tree.reserve(entries, key_bytes)? })
    }

    fn place(&self, section: &CommitSection, body: &RecordBody) -> Placement {
        let mut runs = Vec::with_capacity(body.sections().len());
        let mut ends: Vec<(HeapId, RowId)> = Vec::new();
        for part in body.sections() {
            let lengths: Vec<u32> = body.rows(part).map(|row| row.len() as u32).collect();
            let heap = self.heaps.get_or_create(part.heap);
            let placed = heap.place(&lengths);
            let end =
                placed.last().map_or_else(|| heap.next_row(), |run| run.first.offset(u64::from(run.rows)));
            ends.push((part.heap, end));
            runs.push(placed);
        }
        let mut row_bases = Vec::with_capacity(body.loads().len());
        for load in body.loads() {
            let known = ends.iter().position(|(heap, _)| *heap == load.heap);
            let place = known.unwrap_or_else(|| {
                ends.push((load.heap, self.heaps.get_or_create(load.heap).next_row()));
                ends.len() - 1
            });
            let end = &mut ends[place].1;
            let base = if end.slot() == 0 { *end } else { end.segment().next().first_row() };
            row_bases.push(base);
            if let Some((_, slots)) = load.blocks.last() {
                let last = SegmentId::new(base.segment().get() + load.blocks.len() as u64 - 1);
                *end = RowId::from_parts(last, 0).offset(u64::from(*slots));
            }
        }
        Placement { timestamp: Timestamp::new(section.last.get() + 1), runs, row_bases }
    }

    /// Makes a record's effects: the only code that does, for commits and for recovery (rule 5). Does not fail.
    /// Returns the places, among the record's index entries, of those whose keys are crowded (see [`IndexTree::apply`]).
    ///
    /// Rows come first, then their keys, then the marks on what they replace: who finds by a key a row that is marked,
    /// and looks again, finds what has replaced it ([`newest_row`](Self::newest_row)).
    pub fn apply(
        &self,
        section: &mut CommitSection,
        body: &RecordBody,
        placement: &Placement,
        prepared: &mut PreparedCommit,
        replay: Replay,
        end: Lsn,
    ) -> Vec<usize> {
        debug_assert!(placement.timestamp > section.last, "rule 1: timestamps only grow");
        let mut deltas: Vec<(HeapId, i64)> = Vec::new();
        let mut entries = Vec::new();
        // Rule 3: the files of an index build hold older rows than the entries of this commit, those of a load newer ones.
        let loads =
            || body.loads().iter().zip(&placement.row_bases).filter(|(load, _)| !replay.has_dropped(load));
        for (load, base) in loads().filter(|(load, _)| load.absolute) {
            self.adopt(section, load, *base, end, replay);
        }
        let sections = || body.sections().iter().zip(&placement.runs);
        let places: Vec<RowPlaces> = sections()
            .map(|(part, runs)| RowPlaces::new(runs, body.loads_of(part.heap, placement)))
            .collect();
        for (((part, runs), places), prepared) in sections().zip(&places).zip(&mut prepared.heaps) {
            let heap = self.heaps.get_or_create(part.heap);
            let mut rows = body.rows(part);
            for run in runs {
                heap.apply_inserts(run, &mut rows.by_ref().take(run.rows as usize), prepared);
            }
            deltas.push((part.heap, i64::from(part.rows) - part.ended() as i64));
            if !replay.skips_index() {
                entries.reserve(part.entries as usize);
                entries.extend(body.entries(part).filter_map(|(index, ordinal, key)| {
                    Some(IndexEntry { index, key, row: places.find(ordinal)?.0 })
                }));
            }
        }
        let mut crowded = Vec::new();
        if !entries.is_empty() {
            let held = prepared.index.bytes();
            crowded = self.tree.apply(&entries, prepared.index.split(held));
        }
        for (load, base) in loads().filter(|(load, _)| !load.absolute) {
            self.adopt(section, load, *base, end, replay);
            match deltas.iter_mut().find(|(heap, _)| *heap == load.heap) {
                Some((_, delta)) => *delta += load.rows as i64,
                None => deltas.push((load.heap, load.rows as i64)),
            }
        }
        for ((part, places), prepared) in body.sections().iter().zip(&places).zip(&mut prepared.heaps) {
            let heap = self.heaps.get_or_create(part.heap);
            let successor_of =
                |ordinal: Option<u64>, moved| Some(Successor { row: places.find(ordinal?)?.0, moved });
            let marks: Vec<(RowId, Option<Successor>)> =
                body.marks(part).map(|(row, ordinal, moved)| (row, successor_of(ordinal, moved))).collect();
            heap.apply_marks(placement.timestamp, &marks, prepared);
            for (segment, marks) in &part.dense {
                let marks = marks.map(|first, _| match places.find(first) {
                    Some((row, count)) => (row.get(), count),
                    None => (DenseMarks::NONE, 1),
                });
                if let Some(segment) = places.segment(*segment) {
                    heap.apply_dense(placement.timestamp, segment, marks, prepared);
                }
            }
        }
        for (heap, delta) in deltas {
            self.heaps.get_or_create(heap).seal_commit(placement.timestamp, delta);
        }
        section.last = placement.timestamp;
        crowded
    }

    /// The newest row with this key of a unique index, as commits stand now, published or not; and what has ended it, if it
    /// is not live.
    ///
    /// # Errors
    /// Those of the block store.
    pub fn newest_version(
        &self,
        heap: &Heap,
        index: IndexId,
        key: &[u8],
    ) -> Result<Option<(RowId, Option<Mark>)>> {
        let mut found = self.tree.first(index, key, RowId::MAX)?;
        while let Some(row) = found {
            let Some(mark) = heap.mark(row)? else { return Ok(Some((row, None))) };
            // A commit may have come between: its keys were there before its marks.
            found = self.tree.first(index, key, RowId::MAX)?;
            if found == Some(row) {
                return Ok(Some((row, Some(mark))));
            }
        }
        Ok(None)
    }

    /// The live row with this key of a unique index, as commits stand now, published or not.
    ///
    /// # Errors
    /// Those of the block store.
    pub fn newest_row(&self, heap: &Heap, index: IndexId, key: &[u8]) -> Result<Option<RowId>> {
        let newest = self.newest_version(heap, index, key)?;
        Ok(newest.filter(|(_, mark)| mark.is_none()).map(|(row, _)| row))
    }

    /// Takes a load's blocks and files in. In replay the heap is asked even where the manifest has the load, since
    /// its row end may be that of an older checkpoint; the index is not.
    fn adopt(&self, section: &mut CommitSection, load: &BulkPart, base: RowId, end: Lsn, replay: Replay<'_>) {
        let heap = self.heaps.get_or_create(load.heap);
        let mut blocks = Vec::with_capacity(load.blocks.len());
        for (place, (block, slots)) in load.blocks.iter().enumerate() {
            let segment = SegmentId::new(base.segment().get() + place as u64);
            heap.adopt(segment, *block, *slots, *slots);
            blocks.push((segment, *block, *slots));
        }
        if replay.skips_load(load.load) {
            return;
        }
        let row_base = if load.absolute { 0 } else { base.get() };
        let tables = load.tables.iter().map(|table| SsTableMeta { row_base, ..table.clone() }).collect();
        if let Err(error) = self.tree.adopt(tables) {
            // The bounds of a file that was just written are none: its index is not to be trusted.
            self.poison(&error.to_string());
        }
        if !load.absolute {
            heap.count_adoption();
        }
        section.pending_loads.push(PendingLoad { load: load.load, end, heap: load.heap, blocks });
    }

    /// Makes all blocks written so far durable.
    ///
    /// # Errors
    /// Those of the block store. It takes no more blocks then, so the store takes no more commits.
    pub fn sync_blocks(&self) -> Result<()> {
        self.cache
            .store()
            .sync()
            .inspect_err(|error| self.poison(&format!("a sync of blocks failed: {error}")))
    }

    /// Stops accepting writes.
    pub fn poison(&self, reason: &str) {
        self.publisher.poison(reason);
    }
}

/// What of a record the manifest holds already.
#[derive(Clone, Copy, Debug)]
pub enum Replay<'a> {
    /// Nothing: it is a commit.
    No,
    /// Recovery: whether the index entries are in SSTables, and which loads the manifest has adopted.
    Yes {
        /// All entries of the record are in SSTables.
        index_flushed: bool,
        /// Loads whose blocks and files the manifest names.
        loads: &'a dyn Loads,
    },
}

/// Which loads the manifest has.
pub trait Loads: std::fmt::Debug {
    /// Whether this one is adopted for good.
    fn has(&self, load: LoadId) -> bool;

    /// Whether the manifest names this heap. One with an adopted load was named once.
    fn has_heap(&self, heap: HeapId) -> bool;
}

impl Replay<'_> {
    fn skips_index(&self) -> bool {
        matches!(self, Self::Yes { index_flushed: true, .. })
    }

    /// Whether the load's table was dropped after it: its extents may be somebody else's by now.
    fn has_dropped(&self, load: &BulkPart) -> bool {
        match self {
            Self::No => false,
            Self::Yes { loads, .. } => loads.has(load.load) && !loads.has_heap(load.heap),
        }
    }

    fn skips_load(&self, load: LoadId) -> bool {
        match self {
            Self::No => false,
            Self::Yes { loads, .. } => loads.has(load),
        }
    }
}
