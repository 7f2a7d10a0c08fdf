//! What a view shows against what the model says it should.

use std::collections::BTreeMap;
use std::ops::Bound;

use strata_core::catalog::IndexDef;
use strata_core::heap::SegmentView;
use strata_core::heap::column::{Bounds, Selection};
use strata_core::ids::{ColumnId, RowId};
use strata_core::row::{ColumnReader, Datum, compare};
use strata_core::table::{ReadView, TableView, encode_index_key};

use super::catalog;
use super::model::{Row, State, Table};
use super::stop::{Stop, wrong};

/// Everything: what the catalog names, and of each table its rows, counts, indexes and statistics.
pub(super) fn all(view: &ReadView, expected: &State) -> Result<(), Stop> {
    catalog::holds(view.catalog(), expected)?;
    for (id, table) in &expected.tables {
        let view = view.table(*id)?;
        scan(&view, table)?;
        statistics(&view)?;
        for index in table.def.indexes.iter().filter(|index| view.index_is_whole(index.id)) {
            range(&view, table, index, (Bound::Unbounded, Bound::Unbounded), false)?;
        }
    }
    Ok(())
}

/// A table's definition, its rows read column by column, and how many it says there are.
pub(super) fn scan(view: &TableView, expected: &Table) -> Result<(), Stop> {
    let def = &expected.def;
    if **view.def() != **def {
        return Err(wrong(format!("{} is defined as {:?}, not as {def:?}", def.name, view.def())));
    }
    let rows = rows(view)?;
    let mut found = BTreeMap::new();
    for (row, values) in &rows {
        let tag = tag_of(values).ok_or_else(|| wrong(format!("{} row {row} has no tag", def.name)))?;
        if found.insert(tag, values).is_some() {
            return Err(wrong(format!("{} shows row {tag} twice", def.name)));
        }
    }
    for (tag, row) in &expected.rows {
        let Some(values) = found.remove(tag) else {
            return Err(wrong(format!("{} lacks row {tag}, which commit {} left", def.name, row.stamp)));
        };
        same_values(view, *tag, row, values)?;
    }
    if let Some((tag, values)) = found.first_key_value() {
        return Err(wrong(format!("{} has row {tag}, which nobody left there: {values:?}", def.name)));
    }
    let count = view.row_count();
    if count != expected.rows.len() as u64 {
        return Err(wrong(format!("{} counts {count} rows and has {}", def.name, expected.rows.len())));
    }
    Ok(())
}

/// All rows that a view shows.
pub(super) fn rows(view: &TableView) -> Result<Vec<(RowId, Vec<Datum>)>, Stop> {
    let mut rows = Vec::new();
    let contents = view.contents()?;
    for segment in contents.segments {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?;
        let first = segment.segment().first_row();
        let values = columns(view, &segment, slots.clone())?;
        rows.extend(slots.iter().zip(values).map(|(slot, values)| (first.offset(u64::from(*slot)), values)));
    }
    for (row, _) in contents.own_rows {
        rows.push((row, view.row(row)?.to_datums(&view.def().schema)?));
    }
    Ok(rows)
}

/// The values of slots of a segment, through arrays. Dropped columns are NULL.
pub(super) fn columns(
    view: &TableView,
    segment: &SegmentView,
    slots: Vec<u32>,
) -> Result<Vec<Vec<Datum>>, Stop> {
    let schema = &view.def().schema;
    let live: Vec<ColumnId> = schema.live().map(|column| column.id).collect();
    let count = slots.len();
    let mut rows = vec![vec![Datum::Null; schema.columns.len()]; count];
    if count == 0 {
        return Ok(rows);
    }
    let arrays = segment.read(schema, &live, &Selection::Slots(slots))?;
    for (column, array) in schema.live().zip(&arrays) {
        let reader = ColumnReader::new(array.as_ref(), &column.column_type)?;
        for (place, row) in rows.iter_mut().enumerate() {
            row[column.id.get() as usize] = reader.value(place)?.to_datum();
        }
    }
    Ok(rows)
}

/// The tag of a row.
pub(super) fn tag_of(values: &[Datum]) -> Option<i64> {
    match values.first() {
        Some(Datum::Int64(tag)) => Some(*tag),
        _ => None,
    }
}

/// Fails where a row's values are not those that the model has.
pub(super) fn same_values(view: &TableView, tag: i64, row: &Row, values: &[Datum]) -> Result<(), Stop> {
    let def = view.def();
    for column in def.schema.live() {
        let place = column.id.get() as usize;
        let expected = row.value(def, place);
        if values.get(place) != Some(expected) {
            let found = values.get(place);
            let (table, name, stamp) = (&def.name, &column.name, row.stamp);
            return Err(wrong(format!(
                "{table} row {tag}: {name} is {found:?}, and {expected:?} since commit {stamp}"
            )));
        }
    }
    Ok(())
}

/// Whether a key lies between two bounds.
pub(super) fn is_within(key: &[u8], lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> bool {
    let above = match lower {
        Bound::Included(lower) => key >= lower.as_slice(),
        Bound::Excluded(lower) => key > lower.as_slice(),
        Bound::Unbounded => true,
    };
    let below = match upper {
        Bound::Included(upper) => key <= upper.as_slice(),
        Bound::Excluded(upper) => key < upper.as_slice(),
        Bound::Unbounded => true,
    };
    above && below
}

/// Fails where a range of an index finds other rows than a scan of the model, or in another order.
pub(super) fn range(
    view: &TableView,
    expected: &Table,
    index: &IndexDef,
    (lower, upper): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    reverse: bool,
) -> Result<(), Stop> {
    let mut due = expected.entries(index);
    due.retain(|(key, _)| is_within(key, &lower, &upper));
    let mut scan = view.range(index.id, lower.clone(), upper.clone(), reverse)?;
    let mut found = Vec::new();
    while let Some((key, row)) = scan.next_entry()? {
        let values = view.row(row)?.to_datums(&view.def().schema)?;
        found.push((key, tag_of(&values).unwrap_or(i64::MIN)));
    }
    if reverse {
        found.reverse();
    }
    if !found.is_sorted_by(|left, right| left.0 <= right.0) {
        return Err(wrong(format!("{} finds keys out of order", index.name)));
    }
    found.sort();
    if found != due {
        let tags = |entries: &[(Vec<u8>, i64)], others: &[(Vec<u8>, i64)]| {
            let missing = entries.iter().filter(|entry| !others.contains(entry));
            missing.map(|(_, tag)| *tag).take(10).collect::<Vec<_>>()
        };
        let (lacks, has) = (tags(&due, &found), tags(&found, &due));
        return Err(wrong(format!(
            "{} finds {} of {} rows; it lacks {lacks:?}, and has {has:?} too much",
            index.name,
            found.len(),
            due.len()
        )));
    }
    Ok(())
}

/// Fails where a unique index does not find a row with these values. A transaction may see two: an own one, and one that
/// others have ended since its snapshot, or have loaded since.
pub(super) fn first(
    view: &TableView,
    expected: &Table,
    index: &IndexDef,
    values: &[Datum],
) -> Result<(), Stop> {
    let mut key = Vec::new();
    encode_index_key(view.def(), index, values, &mut key)?;
    let found = match view.first(index.id, &key)? {
        Some(row) => tag_of(&view.row(row)?.to_datums(&view.def().schema)?),
        None => None,
    };
    let due: Vec<i64> = expected.holders(index, &key).collect();
    if !found.map_or(due.is_empty(), |found| due.contains(&found)) {
        return Err(wrong(format!("{} finds row {found:?}, not one of {due:?}", index.name)));
    }
    Ok(())
}

/// Rows that share a zone map.
const ZONE_ROWS: usize = 1_024;

fn is_beyond(value: &Datum, bounds: &Bounds) -> bool {
    let low = !bounds.min.is_null() && compare(value, &bounds.min).is_lt();
    let high = !bounds.max.is_null() && compare(value, &bounds.max).is_gt();
    !value.is_null() && (low || high)
}

/// Fails where the statistics of a frozen segment say something else than its values.
pub(super) fn statistics(view: &TableView) -> Result<(), Stop> {
    let def = view.def();
    for segment in view.segments()? {
        let Some(block) = segment.column_block()? else { continue };
        let slots: Vec<u32> = (0..block.slots()).filter(|slot| block.contains(*slot)).collect();
        let place = |what: String| wrong(format!("{} segment {}: {what}", def.name, segment.segment()));
        if slots.len() != block.rows() as usize {
            return Err(place(format!("{} slots are there of {} rows", slots.len(), block.rows())));
        }
        if slots.is_empty() || block.slots() > segment.slots() {
            continue;
        }
        for column in def.schema.live() {
            let Some(meta) = block.column(column.id) else { continue };
            let arrays = segment.read(&def.schema, &[column.id], &Selection::Slots(slots.clone()))?;
            let reader = ColumnReader::new(arrays[0].as_ref(), &column.column_type)?;
            let zones = block.zones(column.id)?;
            let mut nulls = 0;
            for at in 0..slots.len() {
                let value = reader.value(at)?.to_datum();
                nulls += u32::from(value.is_null());
                let zone = zones.as_ref().and_then(|zones| zones.as_slice().get(at / ZONE_ROWS));
                let bounds = [Some(&meta.bounds), zone.map(|zone| &zone.bounds)];
                if let Some(bounds) = bounds.into_iter().flatten().find(|bounds| is_beyond(&value, bounds)) {
                    return Err(place(format!("{} holds {value:?}, beyond {bounds:?}", column.name)));
                }
            }
            if nulls != meta.null_count {
                return Err(place(format!(
                    "{} has {nulls} NULLs and counts {}",
                    column.name, meta.null_count
                )));
            }
        }
    }
    Ok(())
}
