//! Strata's engine: a table of ten columns with a primary key. Commits are durable; concurrent ones share a sync.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray};
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::heap::column::Selection;
use strata_core::ids::{ColumnId, IndexId, RowId, TableId};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, Locked, TableRow, TableView, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Options};

use super::{Client, Engine, Outcome};
use crate::row::Row;

const COLUMNS: [(&str, ColumnType); 10] = [
    ("id", ColumnType::Int64),
    ("customer", ColumnType::Int64),
    ("product", ColumnType::Int64),
    ("price", ColumnType::Int64),
    ("discount", ColumnType::Int64),
    ("quantity", ColumnType::Int32),
    ("day", ColumnType::Int32),
    ("state", ColumnType::Text),
    ("city", ColumnType::Text),
    ("note", ColumnType::Text),
];
const PRICE: ColumnId = ColumnId::new(3);
const QUANTITY: ColumnId = ColumnId::new(5);
const LOAD_ROWS: usize = 8_192;
/// Slots read at a time by a scan.
const SCAN_SLOTS: u32 = 8_192;

pub struct Strata {
    database: Database,
    table: TableId,
    index: IndexId,
    def: Arc<TableDef>,
}

impl Strata {
    pub fn open(dir: &Path, memory_bytes: usize) -> Outcome<Self> {
        let database = Database::open(dir, Options { memory_bytes, ..Options::default() })?;
        if database.catalog().table_by_name("public", "rows").is_err() {
            let mut txn = database.begin(Isolation::ReadCommitted)?;
            let columns = COLUMNS
                .iter()
                .map(|(name, column_type)| NewColumn::new(*name, column_type.clone()).not_null())
                .collect();
            let table =
                block_on(txn.change_catalog(|catalog| catalog.create_table("public", "rows", columns)))?;
            let key = IndexColumn { column: ColumnId::new(0), order: KeyOrder::default() };
            let primary = NewIndex {
                name: "rows_pkey".into(),
                primary: true,
                unique: true,
                constraint: true,
                columns: vec![key],
            };
            block_on(txn.create_index(table, primary))?;
            txn.commit()?.wait()?;
        }
        let def = database.catalog().table_by_name("public", "rows")?.clone();
        let index = def.primary_key().ok_or("no primary key")?.id;
        Ok(Self { database, table: def.id, index, def })
    }

    fn view(&self) -> Outcome<TableView> {
        Ok(self.database.view().into_table(self.table)?)
    }

    fn key(&self, id: i64) -> Outcome<Vec<u8>> {
        let mut key = Vec::with_capacity(9);
        let mut values = [const { Datum::Null }; COLUMNS.len()];
        values[0] = Datum::Int64(id);
        let index = self.def.index(self.index).ok_or("no primary key")?;
        encode_index_key(&self.def, index, &values, &mut key)?;
        Ok(key)
    }

    fn find(&self, view: &TableView, id: i64) -> Outcome<Option<RowId>> {
        Ok(view.first(self.index, &self.key(id)?)?)
    }
}

fn values(row: &Row) -> Vec<Datum> {
    vec![
        Datum::Int64(row.id),
        Datum::Int64(row.customer),
        Datum::Int64(row.product),
        Datum::Int64(row.price),
        Datum::Int64(row.discount),
        Datum::Int32(row.quantity),
        Datum::Int32(row.day),
        Datum::Text(row.state.clone()),
        Datum::Text(row.city.clone()),
        Datum::Text(row.note.clone()),
    ]
}

fn decode(stored: &TableRow, def: &TableDef) -> Outcome<Row> {
    let mut values = stored.to_datums(&def.schema)?.into_iter();
    let mut next = || values.next().ok_or("too few columns");
    Ok(Row {
        id: wide(next()?)?,
        customer: wide(next()?)?,
        product: wide(next()?)?,
        price: wide(next()?)?,
        discount: wide(next()?)?,
        quantity: narrow(next()?)?,
        day: narrow(next()?)?,
        state: text(next()?)?,
        city: text(next()?)?,
        note: text(next()?)?,
    })
}

fn wide(value: Datum) -> Outcome<i64> {
    if let Datum::Int64(value) = value { Ok(value) } else { Err(format!("{value:?} is no int8").into()) }
}

fn narrow(value: Datum) -> Outcome<i32> {
    if let Datum::Int32(value) = value { Ok(value) } else { Err(format!("{value:?} is no int4").into()) }
}

fn text(value: Datum) -> Outcome<String> {
    if let Datum::Text(value) = value { Ok(value) } else { Err(format!("{value:?} is no text").into()) }
}

/// The rows as Arrow columns.
fn columns(rows: &[Row]) -> Outcome<RecordBatch> {
    let wide = |of: fn(&Row) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let narrow =
        |of: fn(&Row) -> i32| Arc::new(Int32Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let text =
        |of: fn(&Row) -> &str| Arc::new(StringViewArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let arrays = [
        wide(|row| row.id),
        wide(|row| row.customer),
        wide(|row| row.product),
        wide(|row| row.price),
        wide(|row| row.discount),
        narrow(|row| row.quantity),
        narrow(|row| row.day),
        text(|row| &row.state),
        text(|row| &row.city),
        text(|row| &row.note),
    ];
    Ok(RecordBatch::try_from_iter(COLUMNS.iter().map(|(name, _)| *name).zip(arrays))?)
}

impl Engine for Strata {
    fn load(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
        let txn = self.database.begin(Isolation::ReadCommitted)?;
        let mut load = block_on(txn.bulk_load(self.table))?;
        let mut batch = Vec::with_capacity(LOAD_ROWS);
        loop {
            batch.extend((&mut *rows).take(LOAD_ROWS));
            if batch.is_empty() {
                break;
            }
            load.append(&columns(&batch)?)?;
            batch.clear();
        }
        block_on(load.finish())?;
        txn.commit()?.wait()?;
        Ok(())
    }

    fn settle(&self) -> Outcome<()> {
        Ok(self.database.vacuum()?)
    }

    fn client(&self) -> Outcome<Box<dyn Client + '_>> {
        Ok(Box::new(Handle(self)))
    }

    fn sums(&self) -> Outcome<(i64, i64)> {
        let view = self.view()?;
        let mut sums = (0, 0);
        for segment in view.segments()? {
            let mut start = 0;
            while start < segment.slots() {
                let end = segment.slots().min(start + SCAN_SLOTS);
                let selection = if segment.has_no_marks() {
                    Selection::Range(start..end)
                } else {
                    Selection::Slots(view.visible_slots(&segment, start..end.next_multiple_of(64))?)
                };
                start = end;
                let arrays = segment.read(&self.def.schema, &[PRICE, QUANTITY], &selection)?;
                sums.0 += arrays[0].as_primitive::<Int64Type>().values().iter().sum::<i64>();
                let quantities = arrays[1].as_primitive::<Int32Type>().values();
                sums.1 += quantities.iter().map(|quantity| i64::from(*quantity)).sum::<i64>();
            }
        }
        Ok(sums)
    }

    fn cache(&self) -> Option<(u64, u64)> {
        let cache = self.database.stats().cache;
        Some((cache.hits, cache.misses))
    }
}

struct Handle<'a>(&'a Strata);

impl Client for Handle<'_> {
    fn get(&mut self, id: i64) -> Outcome<Option<Row>> {
        let found = self.0.view()?.first_row(self.0.index, &self.0.key(id)?)?;
        found.map(|(_, row)| decode(&row, &self.0.def)).transpose()
    }

    fn range(&mut self, from: i64, count: usize) -> Outcome<(i64, usize)> {
        let view = self.0.view()?;
        let (mut sum, mut found) = (0, 0);
        let lower = Bound::Included(self.0.key(from)?);
        for row in view.range(self.0.index, lower, Bound::Unbounded, false)?.take(count) {
            sum += wide(view.row(row?)?.datum(&self.0.def.schema, PRICE)?)?;
            found += 1;
        }
        Ok((sum, found))
    }

    fn insert(&mut self, rows: &[Row]) -> Outcome<()> {
        let txn = self.0.database.begin(Isolation::ReadCommitted)?;
        block_on(txn.lock_table(self.0.table, TableLockMode::RowExclusive))?;
        for row in rows {
            block_on(txn.insert(&self.0.def, &values(row)))?;
        }
        txn.commit()?.wait()?;
        Ok(())
    }

    fn update(&mut self, rows: &[Row]) -> Outcome<()> {
        let txn = self.0.database.begin(Isolation::ReadCommitted)?;
        block_on(txn.lock_table(self.0.table, TableLockMode::RowExclusive))?;
        let view = txn.view().table(self.0.table)?;
        for row in rows {
            let found = self.0.find(&view, row.id)?.ok_or("a row is gone")?;
            let newest = match block_on(txn.lock_row(&view, found, RowLockMode::NoKeyUpdate))? {
                Locked::Current => found,
                Locked::Moved(newest) => newest,
                Locked::Gone => return Err("a row is gone".into()),
            };
            block_on(txn.update(&view, newest, &values(row)))?;
        }
        txn.commit()?.wait()?;
        Ok(())
    }
}
