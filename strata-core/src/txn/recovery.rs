//! Replay: what the journal holds beyond the manifest is applied again, by the same code that applied it first.
//!
//! | the record's part | is skipped where |
//! |---|---|
//! | rows | the heap's images in the manifest have them already (the heap tells by RowId) |
//! | marks | the segment is gone |
//! | index entries | the record ends at or before the position to which index entries were flushed |
//! | bulk loads | the manifest names the load; their blocks only where it names another form of the segment, or not the heap |
//! | counts of live rows | never: the manifest has them as of the journal's start, exactly |
//!
//! What maintenance and readers take out of memory while a database is open, replay takes out itself ([`Sweeper`]); so it does with heaps
//! of tables that a record has dropped.

use std::collections::BTreeSet;

use super::record::{Placement, RecordBody};
use super::store::{Loads, Replay, Store};
use super::sweep::Sweeper;
use crate::error::{Error, Result};
use crate::heap::StoredRow;
use crate::ids::{HeapId, LoadId, Lsn, SegmentId, Timestamp};
use crate::journal::Record;
use crate::manifest::UNNAMED_SEGMENTS_MAX;

/// What replay met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replayed {
    /// Records applied.
    pub records: u64,
    /// The largest load that any record names.
    pub last_load: Option<LoadId>,
}

/// What replay is told of the manifest and of the catalog.
#[derive(Debug)]
pub struct Known<'a> {
    /// Index entries up to here have been flushed.
    pub index_flushed: Lsn,
    /// The loads that the manifest names, and the heaps.
    pub loads: &'a dyn Loads,
    /// The heap with a row for each table.
    pub tables: HeapId,
    /// The heap that such a row names.
    pub heap_of_table: fn(&StoredRow) -> Option<HeapId>,
    /// The same of a row's bytes.
    pub heap_of_new_table: fn(&[u8]) -> Option<HeapId>,
}

/// Applies a journal to a store whose manifest state has been loaded.
///
/// # Errors
/// `Corrupt` for a record that cannot be read, though its checksum holds (one of a newer format keeps the journal from being opened);
/// what preparing a record meets.
pub fn replay(
    store: &Store,
    records: impl Iterator<Item = Result<Record>>,
    known: &Known<'_>,
) -> Result<Replayed> {
    let loads = known.loads;
    let mut replayed = Replayed::default();
    let mut sweeper = Sweeper::new(store.pool.cap());
    let mut unnamed = 0;
    for record in records {
        let record = record?;
        let damaged = |detail: String| Error::Corrupt {
            file: "journal".into(),
            offset: record.lsn_start.get(),
            detail: format!("a commit record that cannot be read: {detail}"),
        };
        let (body, placement) = RecordBody::decode(record.payload)
            .map_err(|damage| damaged(format!("{} (byte {})", damage.detail, damage.offset)))?;
        unnamed = unnamed_segments(store, &body, &placement).saturating_add(unnamed);
        if unnamed > UNNAMED_SEGMENTS_MAX {
            return Err(damaged(format!(
                "{unnamed} segments before its rows and those of others are not there"
            )));
        }
        let index_flushed = record.lsn_end <= known.index_flushed;
        let mode = Replay::Yes { index_flushed, loads };
        for load in body.loads() {
            replayed.last_load = replayed.last_load.max(Some(load.load));
            if !loads.has(load.load) {
                let blocks = load.blocks.iter().map(|(block, _)| *block);
                for block in blocks.chain(load.tables.iter().map(|table| table.block)) {
                    store.cache.store().adopt(block)?;
                }
            }
        }
        let mut prepared = match store.prepare(&body, Some(&placement)) {
            Err(Error::OutOfMemory { .. }) => {
                sweeper.make_room(store, last_commit(store));
                store.prepare(&body, Some(&placement))?
            }
            prepared => prepared?,
        };
        store.with_section(|section| {
            if placement.timestamp <= section.last {
                return Err(damaged(format!("its timestamp {} is not new", placement.timestamp)));
            }
            // Crowded keys are swept with all others.
            store.apply(section, &body, &placement, &mut prepared, mode, record.lsn_end);
            Ok(())
        })?;
        store.snapshots.publish(placement.timestamp);
        drop(prepared);
        let bytes = record.lsn_end.get() - record.lsn_start.get();
        forget_dropped(store, &body, known);
        sweeper.applied(store, &body, bytes, !index_flushed, placement.timestamp);
        replayed.records += 1;
    }
    Ok(replayed)
}

/// Lets go of the heaps of tables that a record has dropped, which nobody reads or writes any more. Those that the manifest names, and
/// those with blocks that are the journal's, are for maintenance to give back.
fn forget_dropped(store: &Store, body: &RecordBody, known: &Known<'_>) {
    let Some(section) = body.sections().iter().find(|section| section.heap == known.tables) else { return };
    let Some(tables) = store.heaps.get(known.tables).filter(|_| section.ended() > 0) else { return };
    let many = section.dense.iter().flat_map(|(segment, marks)| {
        marks.iter().map(|(slot, _)| segment.first_row().offset(u64::from(slot)))
    });
    let ended = body.marks(section).map(|(row, ..)| row).chain(many);
    // A row that cannot be read any more lets nothing go.
    let ended = ended.filter_map(|row| (known.heap_of_table)(&tables.row(row).ok()?));
    let mut dropped: BTreeSet<HeapId> = ended.collect();
    // Whatever the record puts in their place is in the record: of that nothing may be missed.
    let kept: Option<Vec<HeapId>> = body.rows(section).map(known.heap_of_new_table).collect();
    let Some(kept) = kept.filter(|_| body.loads().iter().all(|load| load.heap != known.tables)) else {
        return;
    };
    kept.iter().for_each(|heap| _ = dropped.remove(heap));
    dropped.retain(|heap| !known.loads.has_heap(*heap));
    store.with_section(|section| {
        let with_blocks = section.pending_loads.iter().filter(|load| !load.blocks.is_empty());
        with_blocks.for_each(|load| _ = dropped.remove(&load.heap));
    });
    for heap in dropped.into_iter().filter_map(|heap| store.heaps.remove(heap)) {
        heap.retire();
    }
}

/// Segments that a record leaves out before its rows, about; each takes a place in its heap's directory. None but for loads that were
/// dropped since, and for heaps that were.
fn unnamed_segments(store: &Store, body: &RecordBody, placement: &Placement) -> u64 {
    let blocks = body.loads().iter().map(|load| load.blocks.len());
    let own: usize = placement.runs.iter().map(Vec::len).chain(blocks).sum();
    let before = |heap: HeapId, first: SegmentId| {
        let end = store.heaps.get(heap).map_or(0, |heap| heap.next_segment().get());
        first.get().saturating_sub(end + own as u64)
    };
    let inserted = body.sections().iter().zip(&placement.runs).filter_map(|(section, runs)| {
        Some(before(section.heap, runs.iter().map(|run| run.first.segment()).max()?))
    });
    let loads = body.loads().iter().zip(&placement.row_bases).filter(|(load, _)| !load.blocks.is_empty());
    let loaded = loads.map(|(load, base)| before(load.heap, base.segment()));
    inserted.chain(loaded).fold(0, u64::saturating_add)
}

/// The last timestamp applied.
pub fn last_commit(store: &Store) -> Timestamp {
    store.with_section(|section| section.last)
}
