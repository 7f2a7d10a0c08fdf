//! Predicate reads by a scan of the heap, and the condition that SERIALIZABLE is to remember of them.

use std::sync::Arc;

use strata_core::Result;
use strata_core::catalog::TableDef;
use strata_core::heap::SegmentView;
use strata_core::heap::column::Selection;
use strata_core::ids::ColumnId;
use strata_core::row::{ColumnReader, Datum};
use strata_core::table::{ReadPredicate, RowFilter, TableView};

use super::client::stored;
use super::history::Group;

/// The rows of some groups, as a condition whose terms the engine does not know: SQL's scans leave such.
pub(super) struct GroupFilter {
    def: Arc<TableDef>,
    column: ColumnId,
    first: Group,
    last: Group,
}

impl GroupFilter {
    /// All rows from one group to another; a group is the column of this index.
    pub(super) fn between(def: &Arc<TableDef>, index: usize, first: Group, last: Group) -> ReadPredicate {
        let column = def.indexes[index].columns[0].column;
        ReadPredicate::Filter(Arc::new(Self { def: Arc::clone(def), column, first, last }))
    }

    fn holds(&self, group: &Datum) -> bool {
        let Datum::Int64(group) = group else { return false };
        u64::try_from(*group).is_ok_and(|group| (self.first.0..=self.last.0).contains(&group))
    }
}

impl RowFilter for GroupFilter {
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool {
        let groups = segment.read(&self.def.schema, &[self.column], &Selection::Slots(slots.to_vec()));
        // What cannot be read may match.
        let Ok(groups) = groups else { return true };
        let Some(column) = self.def.schema.column(self.column) else { return true };
        let Ok(reader) = ColumnReader::new(groups[0].as_ref(), &column.column_type) else { return true };
        (0..slots.len()).any(|place| reader.value(place).map_or(true, |value| self.holds(&value.to_datum())))
    }
}

/// All visible rows, by a scan of the heap. Columns of text are left out.
pub(super) fn heap_rows(table: &TableView) -> Result<Vec<Vec<Datum>>> {
    let schema = &table.def().schema;
    let numbers: Vec<ColumnId> = schema.live().map(|column| column.id).take(3).collect();
    let mut rows = Vec::new();
    let contents = table.contents()?;
    for segment in contents.segments {
        let slots = table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?;
        for slots in slots.chunks(8_192) {
            let arrays = segment.read(schema, &numbers, &Selection::Slots(slots.to_vec()))?;
            let columns =
                numbers.iter().zip(&arrays).filter_map(|(id, array)| Some((schema.column(*id)?, array)));
            let readers =
                columns.map(|(column, array)| ColumnReader::new(array.as_ref(), &column.column_type));
            let readers: Vec<ColumnReader<'_>> = readers.collect::<Result<_>>()?;
            for place in 0..slots.len() {
                let row = readers.iter().map(|reader| Ok(reader.value(place)?.to_datum()));
                rows.push(row.collect::<Result<_>>()?);
            }
        }
    }
    for (row, _) in contents.own_rows {
        rows.push(stored(table, row)?);
    }
    Ok(rows)
}
