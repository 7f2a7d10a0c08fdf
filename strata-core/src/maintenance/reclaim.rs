//! Freezing cooled segments, rewriting sparse ones, moving the last rows out of nearly empty ones, dropping dead ones, and
//! giving dropped tables' space back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::failures::Failures;
use super::flush::load_adopted;
use super::pass::Pass;
use super::unnamed::Unnamed;
use super::{Maintainer, Step};
use crate::catalog::TableDef;
use crate::catalog::system::SystemTable;
use crate::error::{Error, Result};
use crate::heap::{Heap, Horizon, SegmentChange, SegmentStatus};
use crate::ids::{ColumnId, HeapId, RowId, SLOTS_PER_SEGMENT, SegmentId, TableId};
use crate::manifest::Edit;
use crate::row::{Column, Schema};
use crate::table::relocate;
use crate::txn::PendingLoad;

/// What to do with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SegmentWork {
    /// Nobody sees a row of it: its space goes.
    Drop(SegmentId),
    /// Move their last rows to the end of the heap, so that they can be dropped.
    Move(Vec<SegmentId>),
    /// Encode it into columns, without what nobody sees.
    Freeze(SegmentId),
}

impl SegmentWork {
    fn segments(&self) -> Vec<SegmentId> {
        match self {
            Self::Drop(segment) | Self::Freeze(segment) => vec![*segment],
            Self::Move(segments) => segments.clone(),
        }
    }
}

/// A heap, and its segments.
type HeapStatus = (Arc<Heap>, Vec<SegmentStatus>);

/// The schema of each heap, and the table that it is of unless that is one of the catalog's own.
type Tables = HashMap<HeapId, (Option<TableId>, Schema)>;

/// Rows that are moved at once; one segment's at least.
const MOVE_ROWS: u32 = SLOTS_PER_SEGMENT / 16;

/// The most useful thing to do with the segments of one heap, if anything: a pure function of their state.
///
/// Moving rows pays where they are all that keeps a segment: what is dead in it must be garbage. It comes before
/// freezing and rewriting, which it makes unnecessary. The rows of the catalog's own tables are not moved: they have no `move_share`.
///
/// A hot segment whose rows are dying anyway is not encoded: once more than half is garbage it waits to be
/// dropped, unless `all`. A frozen one is rewritten when half of what it holds is garbage.
fn plan(statuses: &[SegmentStatus], move_share: Option<u32>, freeze: bool, all: bool) -> Option<SegmentWork> {
    let sealed = || statuses.iter().filter(|status| status.sealed);
    // Rows that are in the image and garbage; `rows` already leaves out what an earlier rewrite reclaimed.
    if let Some(dead) = sealed().find(|status| status.garbage >= status.rows) {
        return Some(SegmentWork::Drop(dead.segment));
    }
    let mut rows = 0;
    let nearly_empty = sealed().filter(|status| {
        status.live > 0
            && move_share.is_some_and(|share| status.live <= status.slots / share.max(2))
            && status.live + status.garbage >= status.rows
    });
    let moving = nearly_empty.take_while(|status| {
        let is_first = rows == 0;
        rows += status.live;
        is_first || rows <= MOVE_ROWS
    });
    let moving: Vec<SegmentId> = moving.map(|status| status.segment).collect();
    if !moving.is_empty() {
        return Some(SegmentWork::Move(moving));
    }
    let hot = sealed().find(|status| !status.frozen && freeze && (all || status.garbage * 2 <= status.rows));
    if let Some(hot) = hot {
        return Some(SegmentWork::Freeze(hot.segment));
    }
    let sparse = |status: &&SegmentStatus| {
        status.frozen && status.garbage > 0 && (status.garbage * 2 >= status.rows || all)
    };
    sealed().find(sparse).map(|status| SegmentWork::Freeze(status.segment))
}

impl Maintainer {
    /// Does one piece of reclamation that is due. What has failed is tried again once there is nothing else.
    pub(super) fn reclaim_due(&self) -> Result<Option<Step>> {
        let freeze = self.options.freeze_idle_segments;
        let done = self.reclaim_once(freeze, None)?;
        if done.is_none() && !std::mem::take(&mut *self.failed.lock()).is_empty() {
            return self.reclaim_once(freeze, None);
        }
        Ok(done)
    }

    /// Does one piece of reclamation if there is one: all there is within a pass, else what pays by itself.
    pub(super) fn reclaim_once(&self, freeze: bool, pass: Option<&mut Pass>) -> Result<Option<Step>> {
        let mut failures = Failures::default();
        if failures.note(self, self.drop_unused_heap())? == Some(true) {
            return Ok(Some(Step::Reclaim));
        }
        let all = pass.is_some();
        let plan = |statuses: &[SegmentStatus], move_share| plan(statuses, move_share, freeze, all);
        let done = failures.note(self, self.reclaim_segments(pass, plan))?.flatten();
        done.map_or_else(|| failures.outcome().map(|()| None), |step| Ok(Some(step)))
    }

    /// Gives back what takes no room to give back: a heap that nobody sees, or a segment that nobody sees a row of. What cannot be
    /// given back now is passed over.
    pub(super) fn free_once(&self) -> Result<bool> {
        let mut failures = Failures::default();
        if failures.note(self, self.drop_unused_heap())? == Some(true) {
            return Ok(true);
        }
        let is_drop = |work: &SegmentWork| matches!(work, SegmentWork::Drop(_));
        let plan = |statuses: &[SegmentStatus], _| plan(statuses, None, false, false).filter(is_drop);
        loop {
            // One that failed is passed over from here on.
            if let Some(done) = failures.note(self, self.reclaim_segments(None, plan))? {
                return Ok(done.is_some());
            }
        }
    }

    /// Does what `plan` says of the first heap that it says anything of, given its segments and the share to move at.
    fn reclaim_segments(
        &self,
        pass: Option<&mut Pass>,
        plan: impl Fn(&[SegmentStatus], Option<u32>) -> Option<SegmentWork>,
    ) -> Result<Option<Step>> {
        let horizon = self.shared.store.snapshots.horizon();
        let (heaps, tables) = self.segments_and_tables(&horizon, || ());
        let passed_over = &*self.skipped.lock() | &*self.failed.lock();
        for (heap, statuses) in heaps {
            let Some((table, schema)) = tables.get(&heap.id()) else { continue };
            let named = |segments: Vec<SegmentId>| segments.into_iter().map(|segment| (heap.id(), segment));
            let is_free = |status: &SegmentStatus| {
                !passed_over.contains(&(heap.id(), status.segment))
                    && pass.as_ref().is_none_or(|pass| pass.covers(heap.id(), status.segment))
            };
            let statuses: Vec<_> = statuses.into_iter().filter(is_free).collect();
            let move_share = table.is_some().then_some(self.options.move_share);
            let Some(work) = plan(&statuses, move_share) else { continue };
            let (segments, is_once) = (work.segments(), matches!(work, SegmentWork::Freeze(_)));
            let done = match (work, table) {
                (SegmentWork::Move(segments), Some(table)) => self.move_rows(*table, &heap, &segments),
                (work, _) => self.reclaim_segment(&heap, work, schema, &horizon),
            };
            if let Some(pass) = pass.filter(|_| is_once || done.is_err()) {
                pass.leave(heap.id(), &segments);
            }
            // What stood in the way (rows that are locked, or that the manifest does not have yet) may go with a
            // checkpoint. Nor are the others to wait for what takes more memory than there is now.
            let (step, skipped) = match done {
                Err(Error::OutOfMemory { .. }) => (Step::Reclaim, segments),
                Err(error) => {
                    // Or for what has no room on the disk, or cannot be read.
                    self.failed.lock().extend(named(segments));
                    return Err(error);
                }
                Ok(done) => done,
            };
            self.skipped.lock().extend(named(skipped));
            return Ok(Some(step));
        }
        Ok(None)
    }

    /// The segments of each heap, and then the tables: a schema must have all columns that a sealed segment's rows have. `between`
    /// runs in the middle, for tests.
    fn segments_and_tables(&self, horizon: &Horizon, between: impl FnOnce()) -> (Vec<HeapStatus>, Tables) {
        let store = &self.shared.store;
        let heaps = store.heaps.all().into_iter().map(|heap| {
            let statuses = heap.segment_statuses(horizon);
            (heap, statuses)
        });
        let heaps = heaps.collect();
        between();
        // A commit whose rows are applied installs its catalog before it leaves the section.
        store.with_section(|_| ());
        (heaps, self.tables(horizon))
    }

    /// Changes the form of a segment; returns those where that could not be done.
    fn reclaim_segment(
        &self,
        heap: &Arc<Heap>,
        work: SegmentWork,
        schema: &Schema,
        horizon: &Horizon,
    ) -> Result<(Step, Vec<SegmentId>)> {
        // A checkpoint may have met the rows of a load that came after it began.
        self.make_loads_permanent(heap.id())?;
        let (segment, change) = match work {
            SegmentWork::Move(segments) => return Ok((Step::Reclaim, segments)),
            SegmentWork::Drop(segment) => (segment, heap.drop_garbage(segment, horizon)?),
            SegmentWork::Freeze(segment) => (segment, heap.freeze(segment, schema, horizon)?),
        };
        let Some(change) = change else { return Ok((Step::Reclaim, vec![segment])) };
        self.install(change)?;
        Ok((Step::Reclaim, Vec::new()))
    }

    /// Moves the rows of segments of a table; returns those that have rows which could not be moved.
    fn move_rows(
        &self,
        table: TableId,
        heap: &Heap,
        segments: &[SegmentId],
    ) -> Result<(Step, Vec<SegmentId>)> {
        let relocated = relocate(&self.shared, table, heap.id(), segments)?;
        let Some(commit) = relocated.commit else { return Ok((Step::Reclaim, segments.to_vec())) };
        self.moves.fetch_add(1, Ordering::Relaxed);
        let store = &self.shared.store;
        let durable = store.journal.wait_durable(store.journal.end()).map(|()| store.journal.durable());
        // The sync thread does so too, where there is one.
        store.publisher().on_durable(durable);
        commit.wait()?;
        Ok((Step::Move, relocated.passed_over))
    }

    fn install(&self, change: SegmentChange) -> Result<()> {
        // The rows in the new image may have been applied by commits that are not durable yet.
        let contains = self.shared.store.journal.end();
        let unnamed = Unnamed::new(&self.shared.store, change.written);
        self.commit_edits(contains, change.edits, unnamed)?;
        change.install.run();
        Ok(())
    }

    /// Goes before what could free blocks of a heap: those of a load belong to the journal until the manifest has adopted
    /// the load, and the edit that does names them.
    fn make_loads_permanent(&self, heap: HeapId) -> Result<()> {
        if self.pending_loads_of(heap).is_empty() { Ok(()) } else { self.flush() }
    }

    fn pending_loads_of(&self, heap: HeapId) -> Vec<PendingLoad> {
        self.shared.store.with_section(|section| {
            section.pending_loads.iter().filter(|load| load.heap == heap).cloned().collect()
        })
    }

    /// The tables that there are. A column that some snapshot, or whoever comes before the newest commits are published, still sees
    /// is there.
    fn tables(&self, horizon: &Horizon) -> Tables {
        let mut catalogs = self.shared.catalog.in_use(horizon);
        let Some(catalog) = catalogs.pop() else { return HashMap::new() };
        let seen = |table: &TableDef, id: ColumnId| {
            let mut older = catalogs.iter().filter_map(|older| older.table(table.id).ok());
            older.any(|older| {
                older.heap == table.heap && older.schema.column(id).is_some_and(|column| !column.dropped)
            })
        };
        let schema = |table: &TableDef| {
            let columns = table.schema.columns.iter().cloned();
            let columns = columns.map(|column| match column.dropped && seen(table, column.id) {
                true => Column { dropped: false, ..column },
                false => column,
            });
            Schema::new(table.schema.version, columns.collect())
        };
        let system = SystemTable::ALL.iter().map(|table| (table.heap(), (None, table.schema().clone())));
        let tables = catalog.tables().map(|table| (table.heap, (Some(table.id), schema(table))));
        tables.chain(system).collect()
    }

    /// Drops the heap of a table that no snapshot's catalog has. With it replay is told to pass over what was loaded into it (see the
    /// module): no flush, for which there may be no room, has to name that first, since nobody looks for its rows.
    fn drop_unused_heap(&self) -> Result<bool> {
        let store = &self.shared.store;
        let Some(heap) = self.unused_heap(|| ()) else { return Ok(false) };
        let loads = self.pending_loads_of(heap.id());
        let mut edits: Vec<Edit> = loads.iter().map(load_adopted).collect();
        if store.manifest.state().heaps.contains_key(&heap.id()) {
            edits.push(Edit::DropHeap(heap.id()));
        }
        if !edits.is_empty() {
            edits.push(Edit::Counters(self.counters()));
            self.commit_edits(store.journal.end(), edits, Unnamed::new(store, None))?;
            self.loads_are_permanent(&loads);
        }
        store.heaps.remove(heap.id());
        heap.retire();
        Ok(true)
    }

    /// A heap that no catalog in use names, nor any that is to come. The heaps are looked at before the catalogs, between two
    /// commits: one that comes with a commit after that is not among them. `between` runs in the middle, for tests.
    fn unused_heap(&self, between: impl FnOnce()) -> Option<Arc<Heap>> {
        let store = &self.shared.store;
        let mut heaps = store.with_section(|_| store.heaps.all());
        heaps.retain(|heap| !self.may_be_committed_to(heap));
        between();
        let used = self.used_heaps(&store.snapshots.horizon());
        heaps.into_iter().find(|heap| !used.contains(&heap.id()))
    }

    /// Whether the heap is one that a transaction has made (CREATE TABLE, TRUNCATE) and not committed.
    fn may_be_committed_to(&self, heap: &Heap) -> bool {
        heap.next_row() == RowId::ZERO && heap.id().get() >= self.shared.catalog.latest().counters().heap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::rig::{begin_table, in_memory};

    const SHARE: Option<u32> = Some(16);

    fn status(segment: u64, frozen: bool, rows: u32, garbage: u32) -> SegmentStatus {
        let segment = SegmentId::new(segment);
        let live = rows - garbage;
        SegmentStatus { segment, sealed: true, frozen, slots: 65_536, rows, garbage, live, bytes: 1 << 20 }
    }

    #[test]
    fn the_last_rows_of_nearly_empty_segments_are_moved_together() {
        let hot = status(1, false, 65_536, 65_530);
        let frozen = status(2, true, 65_536, 61_440);
        let rewritten = SegmentStatus { garbage: 0, rows: 6, live: 6, ..status(3, true, 6, 0) };
        let moved = |segments: &[u64]| {
            Some(SegmentWork::Move(segments.iter().map(|id| SegmentId::new(*id)).collect()))
        };
        assert_eq!(plan(&[hot, rewritten], SHARE, true, false), moved(&[1, 3]));
        assert_eq!(
            plan(&[frozen, hot], SHARE, true, false),
            moved(&[2]),
            "no more rows than one segment may have"
        );
        assert_eq!(plan(&[hot, frozen], SHARE, true, false), moved(&[1]));
        let fuller = SegmentStatus { live: 4_097, garbage: 61_439, ..frozen };
        assert_eq!(plan(&[fuller], SHARE, true, false), Some(SegmentWork::Freeze(fuller.segment)));
        let pinned = SegmentStatus { garbage: 100, ..hot };
        assert_eq!(plan(&[pinned], SHARE, false, false), None, "a snapshot keeps what is dead in it");
        let dead = status(4, false, 65_536, 65_536);
        assert_eq!(plan(&[hot, dead], SHARE, true, false), Some(SegmentWork::Drop(dead.segment)));
        let of_catalog = plan(&[frozen], None, true, false);
        assert_eq!(of_catalog, Some(SegmentWork::Freeze(frozen.segment)));
        let open = SegmentStatus { sealed: false, ..hot };
        assert_eq!(plan(&[open], SHARE, true, true), None);
    }

    #[test]
    fn the_dead_go_first_and_the_dying_are_not_encoded() {
        let hot = status(1, false, 65_536, 0);
        let dead = status(2, false, 65_536, 65_536);
        assert_eq!(plan(&[hot, dead], SHARE, true, false), Some(SegmentWork::Drop(dead.segment)));
        assert_eq!(plan(&[hot], SHARE, true, false), Some(SegmentWork::Freeze(hot.segment)));
        assert_eq!(plan(&[hot], SHARE, false, false), None);
        let dying = status(3, false, 65_536, 60_000);
        assert_eq!(plan(&[dying], SHARE, true, false), None);
        assert_eq!(plan(&[dying], SHARE, true, true), Some(SegmentWork::Freeze(dying.segment)));
    }

    /// What the soak met: the heaps were looked at after the catalogs, and a table that was committed in between was dropped.
    #[test]
    fn a_table_that_is_committed_while_unused_heaps_are_sought_keeps_its_rows() {
        let db = in_memory();
        let (txn, table) = begin_table(&db, 1);
        // Others have asked for the heap already: an insert's check of its keys does.
        assert_eq!(txn.view().table(table).expect("its own").row_count(), 1);
        let unused = db.maintainer().unused_heap(|| {
            txn.commit().expect("commits").wait().expect("durable");
        });
        assert!(
            unused.is_none(),
            "heap {:?} of a table that was just committed",
            unused.map(|heap| heap.id())
        );
        while db.maintain().expect("works") != crate::maintenance::Step::Idle {}
        assert_eq!(db.view().table(table).expect("is there").row_count(), 1);
    }

    /// A segment that was sealed after the tables were looked at had rows with more columns than its table: freezing it failed, and said
    /// that the rows were damaged.
    #[test]
    fn a_column_that_comes_while_segments_are_sought_is_in_their_schema() {
        use crate::catalog::change::NewColumn;
        use crate::row::ColumnType;
        use crate::table::Isolation;
        use crate::txn::{TableLockMode, block_on};
        use crate::{Database, Options};

        let maintenance = crate::maintenance::MaintenanceMode::Manual;
        let db = Database::in_memory(Options { maintenance, ..Options::default() }).expect("opens");
        let column = |name: &str| NewColumn::new(name, ColumnType::Int64);
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let made =
            block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", vec![column("id")])));
        let table = made.expect("new");
        txn.commit().expect("commits").wait().expect("durable");
        let heap = db.catalog().table(table).expect("is there").heap;
        let alter = || {
            let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
            block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("free");
            block_on(txn.change_catalog(|catalog| catalog.add_column(table, column("late")))).expect("adds");
            txn.commit().expect("commits").wait().expect("durable");
        };
        let maintainer = db.maintainer();
        let horizon = maintainer.shared.store.snapshots.horizon();
        let (_, tables) = maintainer.segments_and_tables(&horizon, alter);
        assert_eq!(tables[&heap].1.columns.len(), 2);
    }

    #[test]
    fn a_frozen_segment_is_rewritten_when_half_of_it_is_garbage() {
        assert_eq!(plan(&[status(1, true, 60_000, 20_000)], SHARE, true, false), None);
        let sparse = status(1, true, 60_000, 30_000);
        assert_eq!(plan(&[sparse], SHARE, true, false), Some(SegmentWork::Freeze(sparse.segment)));
        let open = SegmentStatus { sealed: false, ..sparse };
        assert_eq!(plan(&[open], SHARE, true, true), None);
    }
}
