//! Whole blocks: what is written is what is read, through every way of reading; damage is found.

mod damage;
mod filter;
mod generate;
mod golden;
mod round_trip;
mod strips;

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::*;
use crate::block::{BlockKind, BlockStore, MemBlockStore};
use crate::cache::{Access, CacheOptions, PageCache};
use crate::error::Result;
use crate::ids::ColumnId;
use crate::memory::MemoryPool;
use crate::row::{Column, ColumnBuilder, ColumnType, Datum, SqlType, datum_at};

/// A small generator of numbers (xorshift64*), seeded.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub(super) fn column(id: u32, column_type: &ColumnType) -> Column {
    Column {
        id: ColumnId::new(id),
        name: format!("c{id}"),
        column_type: column_type.clone(),
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing: Datum::Null,
        dropped: false,
    }
}

pub(super) fn array(column_type: &ColumnType, values: &[Datum]) -> ArrayRef {
    let mut builder = ColumnBuilder::new(column_type, values.len());
    values.iter().for_each(|value| builder.push_datum(value).expect("of the type"));
    builder.finish()
}

pub(super) fn open(payload: &[u8]) -> Result<ColumnBlock> {
    let store = Arc::new(MemBlockStore::new());
    let id = store.write(BlockKind::ColumnBlock, FORMAT, payload)?;
    let cache = PageCache::new(store, MemoryPool::new(256 << 20), CacheOptions::default());
    let handle = cache.handle(id);
    ColumnBlock::open(cache, handle)
}

/// Encodes one column of dense rows and opens the block.
pub(super) fn block_of(column_type: &ColumnType, values: &[Datum], page_bytes: usize) -> ColumnBlock {
    let slots = u32::try_from(values.len()).expect("a segment");
    let columns = [(ColumnId::new(0), column_type.clone(), array(column_type, values))];
    let options = EncodeOptions { page_bytes, ..EncodeOptions::default() };
    open(&encode_block(&columns, None, slots, &options).expect("encodes")).expect("opens")
}

/// Compares so that NaN equals itself and -0 differs from 0.
pub(super) fn same(left: &Datum, right: &Datum) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

pub(super) fn assert_array(array: &ArrayRef, column_type: &ColumnType, expected: &[&Datum], what: &str) {
    assert_eq!(array.len(), expected.len(), "{what}");
    for (at, expected) in expected.iter().enumerate() {
        let found = datum_at(array, at, column_type).expect("of the type");
        assert!(same(&found, expected), "{what}: value {at} is {found:?}, not {expected:?}");
    }
}

/// Reads the column in every way and compares.
pub(super) fn check(block: &ColumnBlock, column: &Column, slots: &[u32], values: &[Datum], what: &str) {
    let dense = block.presence().is_none();
    let all: Vec<&Datum> = values.iter().collect();
    let read = |selection: &Selection| block.read(column, selection, Access::Scan).expect("reads");
    if dense {
        let range = Selection::Range(0..block.slots());
        assert_array(&read(&range), &column.column_type, &all, what);
        let (start, end) = (values.len() / 3, values.len() - values.len() / 4);
        let range = Selection::Range(slots[start]..slots[start] + (end - start) as u32);
        assert_array(&read(&range), &column.column_type, &all[start..end], what);
    }
    for step in [1, 13, 200] {
        let chosen: Vec<u32> = slots.iter().copied().step_by(step).collect();
        let expected: Vec<&Datum> = values.iter().step_by(step).collect();
        assert_array(&read(&Selection::Slots(chosen)), &column.column_type, &expected, what);
    }
    for at in (0..values.len()).step_by(7) {
        let found = block.get(column, u16::try_from(slots[at]).expect("a slot")).expect("reads");
        assert!(same(&found, &values[at]), "{what}: slot {} is {found:?}, not {:?}", slots[at], values[at]);
    }
    check_zones(block, column, values, what);
}

fn check_zones(block: &ColumnBlock, column: &Column, values: &[Datum], what: &str) {
    let meta = block.column(column.id).expect("the block has it");
    let nulls = |values: &[Datum]| values.iter().filter(|value| value.is_null()).count();
    assert_eq!(meta.null_count as usize, nulls(values), "{what}");
    check_bounds(&meta.bounds, values, &column.column_type, what);
    for group in 0..block.groups() {
        let zone = block.zone(column.id, group).expect("reads").expect("the block has it");
        let rows = &values[group * 1024..values.len().min(group * 1024 + 1024)];
        assert_eq!((zone.rows as usize, zone.null_count as usize), (rows.len(), nulls(rows)), "{what}");
        check_bounds(&zone.bounds, rows, &column.column_type, what);
    }
    assert!(block.zone(column.id, block.groups()).expect("reads").is_none());
}

fn check_bounds(bounds: &Bounds, values: &[Datum], column_type: &ColumnType, what: &str) {
    let order = crate::row::compare;
    let known: Vec<&Datum> = values.iter().filter(|value| !value.is_null()).collect();
    if known.is_empty() || matches!(column_type, ColumnType::Array(_)) {
        assert_eq!(bounds, &Bounds::NONE, "{what}");
        return;
    }
    assert!(!bounds.min.is_null(), "{what}: a minimum is always known");
    for value in &known {
        assert!(order(&bounds.min, value).is_le(), "{what}: {value:?} is below {:?}", bounds.min);
        // NULL, for no upper bound, is above all.
        assert!(order(&bounds.max, value).is_ge(), "{what}: {value:?} is above {:?}", bounds.max);
    }
    let attained = |bound: &Datum| known.iter().any(|value| order(bound, value).is_eq());
    assert!(!bounds.min_exact || attained(&bounds.min), "{what}");
    assert!(!bounds.max_exact || attained(&bounds.max), "{what}");
}
