//! The table that the limits are tried on: what a row holds follows from its id and version.

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, Locked, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Result};

use crate::random::Random;

/// `public.rows (id int8 primary key, version int8, class int8, payload text)`.
pub struct Rows {
    pub db: Database,
    pub table: TableId,
    /// Bytes of the payload.
    pub width: usize,
}

/// Rows of one class in a thousand.
const CLASSES: i64 = 1_000;

impl Rows {
    pub fn create(db: &Database, width: usize) -> Result<Self> {
        let mut txn = db.begin(Isolation::ReadCommitted)?;
        let column = |name: &str, column_type| NewColumn::new(name, column_type).not_null();
        let columns = vec![
            column("id", ColumnType::Int64),
            column("version", ColumnType::Int64),
            column("class", ColumnType::Int64),
            column("payload", ColumnType::Text),
        ];
        let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "rows", columns)))?;
        block_on(txn.create_index(table, index("rows_pkey", 0, true)))?;
        txn.commit()?.wait()?;
        Ok(Self { db: db.clone(), table, width })
    }

    /// The table of a database that was opened again.
    pub fn open(db: &Database, width: usize) -> Result<Self> {
        let table = db.catalog().table_by_name("public", "rows")?.id;
        Ok(Self { db: db.clone(), table, width })
    }

    /// An index of the classes.
    pub fn create_class_index(&self) -> Result<()> {
        let mut txn = self.db.begin(Isolation::ReadCommitted)?;
        block_on(txn.create_index(self.table, index("rows_class", 2, false)))?;
        txn.commit()?.wait().map(|_| ())
    }

    pub fn row(&self, id: i64, version: i64) -> Vec<Datum> {
        let payload = Datum::Text(payload(id, version, self.width));
        vec![Datum::Int64(id), Datum::Int64(version), Datum::Int64(id % CLASSES), payload]
    }

    fn writer(&self) -> Result<Transaction> {
        let txn = self.db.begin(Isolation::ReadCommitted)?;
        block_on(txn.lock_table(self.table, TableLockMode::RowExclusive))?;
        Ok(txn)
    }

    /// Inserts rows of version 0 in one transaction.
    pub fn insert(&self, ids: std::ops::Range<i64>) -> Result<()> {
        let txn = self.writer()?;
        let def = self.view()?.def().clone();
        for id in ids {
            block_on(txn.insert(&def, &self.row(id, 0)))?;
        }
        txn.commit()?.wait().map(|_| ())
    }

    /// The same in bulk.
    pub fn load(&self, ids: std::ops::Range<i64>) -> Result<()> {
        let txn = self.db.begin(Isolation::ReadCommitted)?;
        block_on(async {
            let mut load = txn.bulk_load(self.table).await?;
            let mut first = ids.start;
            while first < ids.end {
                let end = ids.end.min(first + self.batch_rows());
                load.append(&self.batch(first..end))?;
                first = end;
            }
            load.finish().await
        })?;
        txn.commit()?.wait().map(|_| ())
    }

    /// Rows that go to the engine, or come from it, at a time: of about a mebibyte.
    fn batch_rows(&self) -> i64 {
        ((1 << 20) / self.width.max(1)).clamp(64, 1_024) as i64
    }

    fn batch(&self, ids: std::ops::Range<i64>) -> RecordBatch {
        let payloads: StringViewArray = ids.clone().map(|id| Some(payload(id, 0, self.width))).collect();
        let versions: Int64Array = ids.clone().map(|_| 0).collect();
        let classes: Int64Array = ids.clone().map(|id| id % CLASSES).collect();
        let columns = [
            ("id", Arc::new(ids.collect::<Int64Array>()) as ArrayRef, true),
            ("version", Arc::new(versions) as ArrayRef, true),
            ("class", Arc::new(classes) as ArrayRef, true),
            ("payload", Arc::new(payloads) as ArrayRef, true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).expect("columns fit")
    }

    /// Gives rows their next version, in one transaction.
    pub fn update(&self, ids: impl Iterator<Item = i64>) -> Result<()> {
        let txn = self.writer()?;
        for id in ids {
            let view = txn.view().table(self.table)?;
            let Some(found) = find(&view, id)? else { continue };
            let row = match block_on(txn.lock_row(&view, found, RowLockMode::NoKeyUpdate))? {
                Locked::Current => found,
                Locked::Moved(row) => row,
                Locked::Gone => continue,
            };
            let Datum::Int64(version) = view.row(row)?.datum(&view.def().schema, ColumnId::new(1))? else {
                continue;
            };
            block_on(txn.update(&view, row, &self.row(id, version + 1)))?;
        }
        txn.commit()?.wait().map(|_| ())
    }

    /// The row of an id that a view shows.
    pub fn find(&self, view: &TableView, id: i64) -> Result<Option<RowId>> {
        find(view, id)
    }

    pub fn view(&self) -> Result<TableView> {
        self.db.view().table(self.table)
    }

    /// The version of a row, its contents checked.
    pub fn version(&self, view: &TableView, id: i64) -> std::result::Result<Option<i64>, String> {
        let Some(row) = find(view, id).map_err(super::words)? else { return Ok(None) };
        let values = view.row(row).and_then(|row| row.to_datums(&view.def().schema)).map_err(super::words)?;
        match values[..] {
            [_, Datum::Int64(version), ..] if values == self.row(id, version) => Ok(Some(version)),
            _ => Err(format!("row {id} reads {values:?}")),
        }
    }

    /// All rows by a scan: how many, and the sum of their versions; contents checked.
    pub fn scan(&self, view: &TableView) -> std::result::Result<(u64, i64), String> {
        let (mut rows, mut versions) = (0, 0);
        let def: Arc<TableDef> = view.def().clone();
        let columns: Vec<ColumnId> = def.schema.live().map(|column| column.id).collect();
        for segment in view.segments().map_err(super::words)? {
            let mut start = 0;
            while start < segment.slots() {
                let end = segment.slots().min(start + (self.batch_rows() as u32).next_multiple_of(64));
                let slots = view.visible_slots(&segment, start..end).map_err(super::words)?;
                start = end;
                if slots.is_empty() {
                    continue;
                }
                let selection = strata_core::heap::column::Selection::Slots(slots);
                let arrays = segment.read(&def.schema, &columns, &selection).map_err(super::words)?;
                let [ids, found, _, payloads] = &arrays[..] else { return Err("four columns".into()) };
                let (Some(ids), Some(found), Some(payloads)) = (
                    ids.as_any().downcast_ref::<Int64Array>(),
                    found.as_any().downcast_ref::<Int64Array>(),
                    payloads.as_any().downcast_ref::<StringViewArray>(),
                ) else {
                    return Err("columns of other types".into());
                };
                for place in 0..ids.len() {
                    let (id, version) = (ids.value(place), found.value(place));
                    // The first bytes tell versions apart; the rest is checked by point reads.
                    let head = self.width.min(32);
                    if payloads.value(place).get(..head) != Some(&payload(id, version, head)) {
                        return Err(format!("row {id} of version {version} has another's payload"));
                    }
                    rows += 1;
                    versions += version;
                }
            }
        }
        Ok((rows, versions))
    }
}

fn index(name: &str, column: u32, primary: bool) -> NewIndex {
    let column = IndexColumn { column: ColumnId::new(column), order: KeyOrder::default() };
    NewIndex { name: name.into(), primary, unique: primary, constraint: primary, columns: vec![column] }
}

fn find(view: &TableView, id: i64) -> Result<Option<RowId>> {
    let def = view.def();
    let index = def.primary_key().expect("was made");
    let mut key = Vec::new();
    let values = [Datum::Int64(id), Datum::Null, Datum::Null, Datum::Null];
    encode_index_key(def, index, &values, &mut key)?;
    view.first(index.id, &key)
}

/// Text that hardly compresses; a longer one begins as a shorter one does.
fn payload(id: i64, version: i64, width: usize) -> String {
    const PIECE: usize = 256;
    let mut random = Random::new((id as u64) << 20 ^ version as u64);
    let mut text = String::with_capacity(width + PIECE);
    while text.len() < width {
        let first = (random.next() % (NOISE_BYTES - PIECE) as u64) as usize;
        text.push_str(&NOISE[first..first + PIECE]);
    }
    text.truncate(width);
    text
}

const NOISE_BYTES: usize = 1 << 20;

/// Random letters that payloads are cut from.
static NOISE: LazyLock<String> = LazyLock::new(|| {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let mut random = Random::new(1);
    let mut text = String::with_capacity(NOISE_BYTES + 10);
    while text.len() < NOISE_BYTES {
        let bits = random.next();
        text.extend((0..10).map(|place| char::from(LETTERS[(bits >> (6 * place) & 63) as usize])));
    }
    text
});
