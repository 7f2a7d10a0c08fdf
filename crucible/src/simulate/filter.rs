//! Scans with a condition, as SQL makes them: on encoded data where the encoding allows, and noted as a filter where the level is
//! SERIALIZABLE.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strata_core::catalog::TableDef;
use strata_core::heap::SegmentView;
use strata_core::heap::column::{Comparison, Selection};
use strata_core::row::{Column, ColumnReader, ColumnType, Datum, compare};
use strata_core::table::{ReadPredicate, RowFilter, TableView};

use super::model::{Row, Table};
use super::stop::{Stop, wrong};
use super::verify;
use crate::random::Random;

/// A column compared with a literal. NULL is neither.
#[derive(Clone)]
pub(super) struct Condition {
    def: Arc<TableDef>,
    column: usize,
    comparison: Comparison,
    literal: Datum,
    /// Whether it was asked about rows that could not be read. Of all copies.
    was_blind: Arc<AtomicBool>,
}

impl Condition {
    /// One that some row of the table meets, mostly.
    pub(super) fn of_table(table: &Table, random: &mut Random) -> Option<Self> {
        let row = table.rows.values().nth(random.next().checked_rem(table.rows.len() as u64)? as usize)?;
        let columns: Vec<&Column> = table.def.schema.live().filter(|column| is_ordered(column)).collect();
        let column = columns[random.within(0..columns.len() as u64) as usize].id.get() as usize;
        let literal = row.value(&table.def, column).clone();
        let comparisons = [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Ge];
        let comparison = comparisons[random.within(0..comparisons.len() as u64) as usize];
        (!literal.is_null()).then(|| Self {
            def: table.def.clone(),
            column,
            comparison,
            literal,
            was_blind: Arc::default(),
        })
    }

    /// Whether it was asked about rows that could not be read, and let them through.
    pub(super) fn was_blind(&self) -> bool {
        self.was_blind.load(Ordering::SeqCst)
    }

    /// Whether the table has got columns since.
    pub(super) fn is_older_than(&self, newest: &TableDef) -> bool {
        self.def.schema.columns.len() < newest.schema.columns.len()
    }

    fn column(&self) -> &Column {
        &self.def.schema.columns[self.column]
    }

    fn holds(&self, value: &Datum) -> bool {
        let order = compare(value, &self.literal);
        !value.is_null()
            && match self.comparison {
                Comparison::Eq => order.is_eq(),
                Comparison::Ne => order.is_ne(),
                Comparison::Lt => order.is_lt(),
                Comparison::Le => order.is_le(),
                Comparison::Gt => order.is_gt(),
                Comparison::Ge => order.is_ge(),
            }
    }

    /// Whether the row, of whatever definition the table has by now, meets it.
    pub(super) fn holds_of(&self, row: &Row) -> bool {
        self.holds(row.value(&self.def, self.column))
    }

    /// Fails where a scan lets other rows through than the model, or encoded data others than decoded.
    pub(super) fn scan(&self, view: TableView, expected: &Table) -> Result<usize, Stop> {
        let view = view.declare(ReadPredicate::Filter(Arc::new(self.clone())));
        let contents = view.contents()?;
        let mut found = BTreeSet::new();
        for segment in contents.segments {
            for values in self.matches_in(&view, &segment)? {
                found.extend(verify::tag_of(&values));
            }
        }
        for (row, _) in contents.own_rows {
            let values = view.row(row)?.to_datums(&view.def().schema)?;
            found.extend(verify::tag_of(&values).filter(|_| self.holds(&values[self.column])));
        }
        let due = expected.rows.iter().filter(|(_, row)| self.holds_of(row)).map(|(tag, _)| *tag);
        let due: BTreeSet<i64> = due.collect();
        match found == due {
            true => Ok(due.len()),
            false => Err(self.wrong(&format!("lets {found:?} through, not {due:?}"))),
        }
    }

    fn matches_in(&self, view: &TableView, segment: &SegmentView) -> Result<Vec<Vec<Datum>>, Stop> {
        let slots = view.visible_slots(segment, 0..segment.slots().next_multiple_of(64))?;
        let encoded = match segment.column_block()? {
            Some(block) => block.filter(self.column(), self.comparison, &self.literal, 0..block.slots())?,
            None => None,
        };
        let mut rows = verify::columns(view, segment, slots.clone())?;
        if let Some(words) = encoded {
            let by_encoding = |slot: u32| words[slot as usize / 64] >> (slot % 64) & 1 == 1;
            let mut places = slots.iter().zip(&rows);
            let differs =
                places.find(|(slot, values)| by_encoding(**slot) != self.holds(&values[self.column]));
            if let Some((slot, values)) = differs {
                return Err(self.wrong(&format!("takes slot {slot} for another value: {values:?}")));
            }
        }
        rows.retain(|values| self.holds(&values[self.column]));
        Ok(rows)
    }

    fn wrong(&self, what: &str) -> Stop {
        wrong(format!("{self:?} {what}"))
    }
}

fn is_ordered(column: &Column) -> bool {
    matches!(
        column.column_type,
        ColumnType::Int32 | ColumnType::Int64 | ColumnType::Text | ColumnType::Bool | ColumnType::Float64
    )
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, column) = (&self.def.name, &self.column().name);
        write!(f, "{table}.{column} {:?} {:?}", self.comparison, self.literal)
    }
}

impl RowFilter for Condition {
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool {
        let column = self.column();
        let arrays = segment.read(&self.def.schema, &[column.id], &Selection::Slots(slots.to_vec()));
        // What cannot be read may match: the engine's other reads will tell of the disk.
        let Ok(arrays) = arrays else {
            self.was_blind.store(true, Ordering::SeqCst);
            return true;
        };
        let Ok(reader) = ColumnReader::new(arrays[0].as_ref(), &column.column_type) else { return true };
        (0..slots.len()).any(|place| reader.value(place).is_ok_and(|value| self.holds(&value.to_datum())))
    }
}
