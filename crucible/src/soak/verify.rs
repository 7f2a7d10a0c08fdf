//! What must hold of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use strata_core::Result;
use strata_core::heap::column::Selection;
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::row::{ColumnReader, Datum};
use strata_core::table::{ReadView, TableView, decode_index_key};

use super::doctors::WARDS;
use super::tables::{ACCOUNTS, BALANCE, Tables, int};

/// How many slots are read at a time: not all of a segment, so that reads begin within one.
const SLOTS: u32 = 192;

impl Tables {
    /// Holds the tables of a view against their invariants. Panics where one does not hold.
    pub fn verify(&self, view: &ReadView) {
        self.verify_accounts(view);
        self.verify_pairs(view);
        self.verify_doctors(view);
    }

    pub fn verify_accounts(&self, view: &ReadView) {
        let rows = rows_of(view, self.accounts);
        let ids: Vec<i64> = rows.values().map(|row| int(row, 0)).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert!(
            sorted.iter().copied().eq(0..ACCOUNTS),
            "accounts at {}: {sorted:?}",
            view.snapshot().timestamp()
        );
        let sum: i64 = rows.values().map(|row| int(row, 1)).sum();
        assert_eq!(sum, ACCOUNTS * BALANCE, "balances at {}", view.snapshot().timestamp());
    }

    pub fn verify_pairs(&self, view: &ReadView) {
        let rows = rows_of(view, self.pairs);
        let by_id: BTreeMap<i64, &Vec<Datum>> = rows.values().map(|row| (int(row, 0), row)).collect();
        let at = view.snapshot().timestamp();
        assert_eq!(by_id.len(), rows.len(), "an id stands twice at {at}");
        for (id, row) in &by_id {
            let twin = by_id.get(&-id).unwrap_or_else(|| panic!("{id} has no twin at {at}"));
            assert_eq!(int(row, 1), id.signum(), "the sign of {id} at {at}");
            assert_eq!(int(row, 2), int(twin, 2), "the words of {id} and its twin at {at}");
        }
    }

    fn verify_doctors(&self, view: &ReadView) {
        let rows = rows_of(view, self.doctors);
        let on_call = rows.values().filter(|row| int(row, 2) == 1).map(|row| int(row, 1));
        let wards: BTreeSet<i64> = on_call.collect();
        assert!(
            wards.iter().copied().eq(0..WARDS),
            "at {} the wards with somebody on call are {wards:?}",
            view.snapshot().timestamp()
        );
        let ids: BTreeSet<i64> = rows.values().map(|row| int(row, 0)).collect();
        assert_eq!(ids.len(), rows.len(), "a doctor stands twice at {}", view.snapshot().timestamp());
    }
}

/// All rows that a view shows of a table, by scan; every index, and the count, agree with that.
pub fn rows_of(view: &ReadView, table: TableId) -> BTreeMap<RowId, Vec<Datum>> {
    let table = view.table(table).expect("the table is there");
    let rows = rows_in(&table).expect("reads");
    assert_eq!(table.row_count(), rows.len() as u64, "the count at {}", view.snapshot().timestamp());
    for index in &table.def().indexes {
        let mut entries = table
            .range(index.id, Bound::Unbounded, Bound::Unbounded, index.id.get() % 2 == 0)
            .expect("reads");
        let mut count = 0;
        while let Some((key, row)) = entries.next_entry().expect("reads") {
            let values = rows
                .get(&row)
                .unwrap_or_else(|| panic!("{} leads to {row}, which no scan finds", index.name));
            let stored = decode_index_key(table.def(), index, &key).expect("a key of the index");
            let expected: Vec<_> =
                index.columns.iter().map(|part| values[part.column.get() as usize].clone()).collect();
            assert_eq!(stored, expected, "the key of {row} in {}", index.name);
            count += 1;
        }
        assert_eq!(count, rows.len(), "entries of {} at {}", index.name, view.snapshot().timestamp());
    }
    rows
}

/// All rows that a view shows of a table, by scan.
pub fn rows_in(table: &TableView) -> Result<BTreeMap<RowId, Vec<Datum>>> {
    let schema = &table.def().schema;
    let columns: Vec<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
    let mut rows = BTreeMap::new();
    let contents = table.contents()?;
    for segment in contents.segments {
        for start in (0..segment.slots()).step_by(SLOTS as usize) {
            let end = segment.slots().min(start + SLOTS);
            let slots = table.visible_slots(&segment, start..end)?;
            if slots.is_empty() {
                continue;
            }
            let arrays = segment.read(schema, &columns, &Selection::Slots(slots.clone()))?;
            let readers: Vec<_> = (arrays.iter().zip(schema.columns.iter()))
                .map(|(array, column)| ColumnReader::new(array, &column.column_type).expect("of the type"))
                .collect();
            for (place, slot) in slots.iter().enumerate() {
                let value = |reader: &ColumnReader<'_>| reader.value(place).expect("in the array").to_datum();
                let row = segment.row_id(u16::try_from(*slot).expect("a slot"));
                rows.insert(row, readers.iter().map(value).collect());
            }
        }
    }
    for (row, _) in contents.own_rows {
        rows.insert(row, table.row(row)?.to_datums(schema)?);
    }
    Ok(rows)
}
