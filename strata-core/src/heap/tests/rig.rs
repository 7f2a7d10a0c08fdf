//! A heap with all that is below it, a journal in memory and the manifest's state: commits, crashes, opens again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::super::column::Selection;
use super::super::marks::set_slots;
use super::super::{Heap, HeapEnv, Horizon, Install, NewRows, RowRun, Successor};
use crate::block::{BlockStore, MemBlockStore};
use crate::cache::{CacheOptions, PageCache};
use crate::ids::{ColumnId, HeapId, RowId, SchemaVersion, SegmentId, Timestamp};
use crate::manifest::{Edit, ManifestState};
use crate::memory::MemoryPool;
use crate::row::{Column, ColumnType, Datum, Schema, SqlType, encode_row};

pub const HEAP: HeapId = HeapId::new(7);
pub const ID: ColumnId = ColumnId::new(0);
pub const NAME: ColumnId = ColumnId::new(1);

/// What the journal has of one commit.
#[derive(Clone)]
pub struct Record {
    pub ts: Timestamp,
    pub runs: Vec<RowRun>,
    pub rows: Vec<Vec<u8>>,
    pub marks: Vec<(RowId, Option<Successor>)>,
}

pub struct Rig {
    pub store: Arc<dyn BlockStore>,
    pub cache: Arc<PageCache>,
    pub heap: Arc<Heap>,
    pub schema: Schema,
    pub state: ManifestState,
    pub journal: Vec<Record>,
    /// Records that replay does not need.
    pub start: usize,
    pub segment_bytes: u64,
    pool_bytes: usize,
}

fn column(id: u32, name: &str, column_type: ColumnType) -> Column {
    Column {
        id: ColumnId::new(id),
        name: name.to_owned(),
        column_type,
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing: Datum::Null,
        dropped: false,
    }
}

fn env(store: &Arc<dyn BlockStore>, pool_bytes: usize) -> (HeapEnv, Arc<PageCache>) {
    let pool = MemoryPool::new(pool_bytes);
    let cache = PageCache::new(Arc::clone(store), pool.clone(), CacheOptions::default());
    (HeapEnv { cache: Arc::clone(&cache), pool }, cache)
}

pub fn ts(raw: u64) -> Timestamp {
    Timestamp::new(raw)
}

impl Rig {
    pub fn new(segment_bytes: u64, pool_bytes: usize) -> Self {
        Self::on(Arc::new(MemBlockStore::new()), segment_bytes, pool_bytes)
    }

    pub fn on(store: Arc<dyn BlockStore>, segment_bytes: u64, pool_bytes: usize) -> Self {
        store.finish_recovery().expect("in memory");
        let (env, cache) = env(&store, pool_bytes);
        let heap = Arc::new(Heap::create(HEAP, env).with_segment_bytes(segment_bytes));
        let columns = vec![column(0, "id", ColumnType::Int64), column(1, "name", ColumnType::Text)];
        let mut state = ManifestState::default();
        state.apply(&Edit::CreateHeap(HEAP)).expect("fresh");
        let schema = Schema::new(SchemaVersion::new(1), columns);
        Self { store, cache, heap, schema, state, journal: Vec::new(), start: 0, segment_bytes, pool_bytes }
    }

    pub fn values(id: i64, length: usize) -> Vec<Datum> {
        vec![Datum::Int64(id), Datum::Text(format!("{id:>width$}", width = length.max(1)))]
    }

    pub fn encode(&self, id: i64, length: usize) -> Vec<u8> {
        let mut row = Vec::new();
        encode_row(&self.schema, &Self::values(id, length), &mut row).expect("of the schema");
        row
    }

    pub fn last(&self) -> Timestamp {
        self.journal.last().map_or(ts(0), |record| record.ts)
    }

    /// Commits rows and marks; the `n`-th mark with a successor names the `n`-th new row. Returns the rows' ids.
    pub fn commit(&mut self, rows: Vec<Vec<u8>>, marked: &[(RowId, Option<usize>)]) -> Vec<RowId> {
        let lengths: Vec<u32> = rows.iter().map(|row| row.len() as u32).collect();
        let runs = self.heap.place(&lengths);
        let ids: Vec<RowId> =
            runs.iter().flat_map(|run| (0..run.rows).map(|index| run.first.offset(index.into()))).collect();
        assert_eq!(ids.len(), rows.len());
        let marks = marked.iter().map(|(row, new)| (*row, new.map(|index| ids[index].into()))).collect();
        self.record(runs, rows, marks);
        ids
    }

    /// Commits the move of a row, which has these bytes, to the end of the heap. Returns its place there.
    pub fn relocate(&mut self, row: RowId, bytes: Vec<u8>) -> RowId {
        let runs = self.heap.place(&[bytes.len() as u32]);
        let place = runs[0].first;
        self.record(runs, vec![bytes], vec![(row, Some(Successor { row: place, moved: true }))]);
        place
    }

    fn record(&mut self, runs: Vec<RowRun>, rows: Vec<Vec<u8>>, marks: Vec<(RowId, Option<Successor>)>) {
        let record = Record { ts: ts(self.last().get() + 1), runs, rows, marks };
        apply(&self.heap, &record, false);
        self.journal.push(record);
    }

    pub fn edit(&mut self, edits: &[Edit]) {
        for edit in edits {
            self.state.apply(edit).expect("the edit fits");
        }
    }

    /// A checkpoint whose replay starts at the end of the journal as it is now.
    pub fn checkpoint(&mut self) {
        let start = self.journal.len();
        let checkpoint = self.heap.checkpoint().expect("memory does not fail");
        self.edit(&checkpoint.edits);
        self.start = start;
        checkpoint.install.run();
    }

    pub fn install(&mut self, change: Option<(Vec<Edit>, Install)>) -> bool {
        let Some((edits, install)) = change else { return false };
        self.edit(&edits);
        install.run();
        true
    }

    pub fn freeze(&mut self, segment: u64, horizon: &Horizon) -> bool {
        let change =
            self.heap.freeze(SegmentId::new(segment), &self.schema, horizon).expect("fits in memory");
        self.install(change.map(|change| (change.edits, change.install)))
    }

    pub fn drop_garbage(&mut self, segment: u64, horizon: &Horizon) -> bool {
        let change = self.heap.drop_garbage(SegmentId::new(segment), horizon).expect("fits in memory");
        self.install(change.map(|change| (change.edits, change.install)))
    }

    /// Loses memory; opens what the manifest names and replays the journal.
    pub fn reopen(&mut self) {
        self.reopen_with(|_, _| ());
    }

    /// As [`reopen`](Self::reopen) where memory is short: prunes after each record, and lets go of tail pages now and then.
    pub fn reopen_pruning(&mut self) {
        self.reopen_with(|heap, record| {
            heap.prune(&[], record.ts);
            if record.ts.get().is_multiple_of(3) {
                heap.let_go_of_tail_page();
            }
        });
    }

    fn reopen_with(&mut self, after: impl Fn(&Heap, &Record)) {
        let (env, cache) = env(&self.store, self.pool_bytes);
        let heap = Heap::open(HEAP, env, &self.state.heaps[&HEAP]).expect("a heap");
        self.heap = Arc::new(heap.with_segment_bytes(self.segment_bytes));
        self.cache = cache;
        for record in &self.journal[self.start..] {
            apply(&self.heap, record, true);
            after(&self.heap, record);
        }
    }

    /// All ids that a snapshot sees, in RowId order.
    pub fn ids(&self, at: Timestamp) -> Vec<i64> {
        let mut ids = Vec::new();
        for view in self.heap.segments(at) {
            let words = view.visible(0..view.slots()).expect("memory");
            let slots = set_slots(&words).map(u32::from).collect();
            let arrays = view.read(&self.schema, &[ID], &Selection::Slots(slots)).expect("memory");
            ids.extend_from_slice(arrays[0].as_primitive::<Int64Type>().values());
        }
        ids
    }

    /// Bytes of the blocks that the manifest names.
    pub fn named_bytes(&self) -> u64 {
        self.state.blocks().map(|block| block.len_bytes()).sum()
    }

    pub fn horizon(&self, live: &[Timestamp]) -> Horizon {
        Horizon { published: self.last(), live: live.to_vec() }
    }
}

/// What commit and replay do with a record.
pub fn apply(heap: &Heap, record: &Record, replay: bool) {
    let bytes = record.rows.iter().map(Vec::len).sum();
    let marked: Vec<RowId> = record.marks.iter().map(|(row, _)| *row).collect();
    let new = NewRows { rows: record.rows.len(), bytes, segments: record.runs.len() };
    let mut prepared = heap.prepare(new, &marked).expect("memory is there");
    let mut rows = record.rows.iter().map(Vec::as_slice);
    for run in &record.runs {
        if !replay {
            assert_eq!(heap.next_row(), run.first);
        }
        heap.apply_inserts(run, &mut rows.by_ref().take(run.rows as usize), &mut prepared);
    }
    heap.apply_marks(record.ts, &record.marks, &mut prepared);
    heap.seal_commit(record.ts, record.rows.len() as i64 - record.marks.len() as i64);
}
