//! Rows that stay in memory when their segment is frozen.

use std::sync::Arc;

use super::super::column::{ColumnBlock, STRIP_ROWS};
use super::rig::{NAME, Rig, ts};
use crate::ids::{ColumnId, RowId, SchemaVersion, SegmentId};
use crate::row::{Column, Datum, Schema};

const SEGMENT_BYTES: u64 = 64 << 10;
const MEMORY: usize = 64 << 20;

/// Fills the first segment; returns the ids of its rows, by slot.
fn fill(rig: &mut Rig) -> Vec<i64> {
    let mut ids = Vec::new();
    for id in 0.. {
        let row = rig.encode(id, 10 + (id % 50) as usize);
        let place = rig.commit(vec![row], &[]);
        if place[0].segment() > SegmentId::new(0) {
            return ids;
        }
        ids.push(id);
    }
    ids
}

fn frozen(rig: &Rig) -> Arc<ColumnBlock> {
    let view = rig.heap.segment(SegmentId::new(0), rig.last()).expect("has rows");
    view.column_block().expect("opens").expect("is frozen")
}

/// How many of these slots are found in strips at once, if no strip is asked so often that it is made. What is found must
/// be what the columns have.
fn kept(block: &ColumnBlock, schema: &Schema, slots: impl Iterator<Item = usize>) -> usize {
    let is_kept = |slot: usize| {
        let Some(row) = block.strip_row(slot as u16) else { return false };
        let row = row.datums(block, schema).expect("reads");
        let columns: Vec<Datum> = schema
            .columns
            .iter()
            .map(|column| match column.dropped {
                true => Datum::Null,
                false => block.get(column, slot as u16).expect("reads"),
            })
            .collect();
        assert_eq!(row, columns, "slot {slot}");
        true
    };
    slots.filter(|slot| is_kept(*slot)).count()
}

fn columns_with(schema: &Schema, change: impl FnOnce(&mut Vec<Column>)) -> Schema {
    let mut columns = schema.columns.to_vec();
    change(&mut columns);
    Schema::new(SchemaVersion::new(schema.version.get() + 1), columns)
}

#[test]
fn rows_of_a_segment_that_was_just_frozen_are_found_whole() {
    let mut rig = Rig::new(SEGMENT_BYTES, MEMORY);
    let ids = fill(&mut rig);
    let dead = |id: i64| id % 7 == 0 || (200..300).contains(&id);
    let marked: Vec<(RowId, Option<usize>)> =
        ids.iter().filter(|id| dead(**id)).map(|id| (RowId::new(*id as u64), None)).collect();
    rig.commit(Vec::new(), &marked);
    assert!(rig.freeze(0, &rig.horizon(&[])));
    let block = frozen(&rig);
    let live = || ids.iter().filter(|id| !dead(**id));
    for id in live() {
        let row = block.strip_row(*id as u16).expect("is kept");
        let row = row.datums(&block, &rig.schema).expect("reads");
        assert_eq!(row, Rig::values(*id, 10 + (*id % 50) as usize));
    }
    assert_eq!(kept(&block, &rig.schema, live().map(|id| *id as usize)), live().count());
    assert!(live().count() > 500, "{} rows", ids.len());
    assert!(block.strip_row(7).is_none(), "it is gone");
}

#[test]
fn rows_without_the_newest_columns_are_not_kept() {
    let mut rig = Rig::new(SEGMENT_BYTES, MEMORY);
    let older = 5 * STRIP_ROWS as usize + 3;
    (0..older as i64).for_each(|id| drop(rig.commit(vec![rig.encode(id, 20)], &[])));
    let added = rig.schema.columns[0].clone();
    rig.schema = columns_with(&rig.schema, |columns| {
        columns.push(Column { id: ColumnId::new(2), name: "more".into(), missing: Datum::Int64(9), ..added });
    });
    let ids = {
        let mut ids = Vec::new();
        for id in older as i64.. {
            let mut row = Vec::new();
            let mut values = Rig::values(id, 20);
            values.push(Datum::Int64(id));
            crate::row::encode_row(&rig.schema, &values, &mut row).expect("of the schema");
            if rig.commit(vec![row], &[])[0].segment() > SegmentId::new(0) {
                break;
            }
            ids.push(id);
        }
        ids
    };
    assert!(rig.freeze(0, &rig.horizon(&[])));
    let block = frozen(&rig);
    let whole = older.next_multiple_of(STRIP_ROWS as usize);
    assert_eq!(kept(&block, &rig.schema, (0..whole).step_by(STRIP_ROWS as usize)), 0);
    let last = *ids.last().expect("rows fit") as usize;
    assert_eq!(kept(&block, &rig.schema, whole..last + 1), last + 1 - whole);
}

#[test]
fn a_dropped_column_or_little_memory_keeps_none() {
    let mut rig = Rig::new(SEGMENT_BYTES, MEMORY);
    let rows = fill(&mut rig).len();
    rig.schema = columns_with(&rig.schema, |columns| columns[NAME.get() as usize].dropped = true);
    assert!(rig.freeze(0, &rig.horizon(&[])));
    assert_eq!(kept(&frozen(&rig), &rig.schema, (0..rows).step_by(STRIP_ROWS as usize)), 0);

    let mut rig = Rig::new(SEGMENT_BYTES, MEMORY);
    let rows = fill(&mut rig).len();
    let pool = rig.cache.pool().clone();
    let _others = pool.reserve("test", pool.available() - MEMORY / 5).expect("is free");
    assert!(rig.freeze(0, &rig.horizon(&[])));
    assert_eq!(kept(&frozen(&rig), &rig.schema, (0..rows).step_by(STRIP_ROWS as usize)), 0);
    assert_eq!(rig.ids(ts(rows as u64)), (0..rows as i64).collect::<Vec<_>>());
}
