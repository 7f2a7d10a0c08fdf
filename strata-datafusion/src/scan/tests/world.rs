//! A database in memory with one table, and a model of what is in it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::maintenance::MaintenanceMode;
use strata_core::row::{ColumnBuilder, ColumnType, Datum, KeyOrder, arrow_type};
use strata_core::table::{Isolation, ReadView, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode};
use strata_core::{Database, Options};

use crate::provider::{StatementContext, StrataTable};

/// A generator of numbers (Marsaglia's xorshift64*): the same from the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

pub(super) type Row = Vec<Datum>;

const COLUMNS: [(&str, ColumnType, bool); 7] = [
    ("id", ColumnType::Int64, false),
    ("a", ColumnType::Int32, true),
    ("b", ColumnType::Text, true),
    ("c", ColumnType::Float64, true),
    ("d", ColumnType::Date, true),
    ("e", ColumnType::Decimal { precision: 12, scale: 2 }, true),
    ("s", ColumnType::Text, true),
];

/// A row: `a` follows the id, so that zone maps tell something; the others do not.
pub(super) fn row(id: i64, random: &mut Random) -> Row {
    let or_null = |random: &mut Random, value: Datum| if random.below(12) == 0 { Datum::Null } else { value };
    let a = i32::try_from(id / 7).expect("ids are small") + random.below(40) as i32;
    let b = format!("name-{:02}", random.below(30));
    let c = (random.below(2001) as f64 - 1000.0) / 8.0;
    let day = 8000 + (id / 100) as i32 + random.below(5) as i32;
    let cents = i128::from(random.below(1_000_000)) - 500_000;
    let s = "x".repeat(random.below(30) as usize) + &random.below(1000).to_string();
    vec![
        Datum::Int64(id),
        or_null(random, Datum::Int32(a)),
        or_null(random, Datum::Text(b)),
        or_null(random, Datum::Float64(c)),
        or_null(random, Datum::Date(day)),
        or_null(random, Datum::Decimal(cents)),
        or_null(random, Datum::Text(s)),
    ]
}

pub(super) struct World {
    pub(super) db: Database,
    pub(super) table: TableId,
    /// What is committed.
    pub(super) rows: Vec<Row>,
    pub(super) random: Random,
    next_id: i64,
}

impl World {
    pub(super) async fn new(seed: u64) -> Self {
        let options =
            Options { memory_bytes: 256 << 20, maintenance: MaintenanceMode::Manual, ..Options::default() };
        let db = Database::in_memory(options).expect("a database in memory");
        let mut transaction = db.begin(Isolation::ReadCommitted).expect("begins");
        let columns = COLUMNS.iter().map(|(name, column_type, nullable)| NewColumn {
            nullable: *nullable,
            ..NewColumn::new(*name, column_type.clone())
        });
        let columns = columns.collect();
        let table = transaction.change_catalog(|catalog| catalog.create_table("public", "t", columns)).await;
        let table = table.expect("a new table");
        let column = |id, descending| IndexColumn {
            column: ColumnId::new(id),
            order: KeyOrder { descending, nulls_first: descending },
        };
        let index = |name: &str, primary, columns| NewIndex {
            name: name.to_owned(),
            primary,
            unique: primary,
            constraint: primary,
            columns,
        };
        for index in [
            index("t_pkey", true, vec![column(0, false)]),
            index("t_a", false, vec![column(1, false)]),
            index("t_b_d", false, vec![column(2, false), column(4, true)]),
        ] {
            transaction.create_index(table, index).await.expect("a new index");
        }
        transaction.commit().expect("commits").await.expect("is durable");
        Self { db, table, rows: Vec::new(), random: Random(seed | 1), next_id: 0 }
    }

    pub(super) fn def(&self) -> Arc<TableDef> {
        self.db.catalog().table(self.table).expect("the table").clone()
    }

    pub(super) fn begin(&self) -> Transaction {
        self.db.begin(Isolation::ReadCommitted).expect("begins")
    }

    pub(super) fn new_rows(&mut self, count: usize) -> Vec<Row> {
        let first = self.next_id;
        self.next_id += count as i64;
        (first..self.next_id).map(|id| row(id, &mut self.random)).collect()
    }

    /// Inserts rows one by one.
    pub(super) async fn insert(&mut self, transaction: &Transaction, rows: &mut Vec<Row>, count: usize) {
        transaction.lock_table(self.table, TableLockMode::RowExclusive).await.expect("locked");
        for row in self.new_rows(count) {
            transaction.insert(&self.def(), &row).await.expect("inserted");
            rows.push(row);
        }
    }

    /// Loads rows in bulk.
    pub(super) async fn load(&mut self, transaction: &Transaction, rows: &mut Vec<Row>, count: usize) {
        let new = self.new_rows(count);
        let mut load = transaction.bulk_load(self.table).await.expect("a load");
        load.append(&batch(&new, &table_schema())).expect("appended");
        assert_eq!(load.finish().await.expect("loaded"), count as u64);
        rows.extend(new);
    }

    /// Deletes and updates about one in `every` of the rows.
    pub(super) async fn change(&mut self, transaction: &Transaction, rows: &mut Vec<Row>, every: u64) {
        transaction.lock_table(self.table, TableLockMode::RowExclusive).await.expect("locked");
        let view = transaction.view().table(self.table).expect("the table");
        let index = view.def().primary_key().expect("a key").id;
        let mut kept = Vec::new();
        for row in std::mem::take(rows) {
            if self.random.below(every) != 0 {
                kept.push(row);
                continue;
            }
            let mut key = Vec::new();
            let Datum::Int64(id) = &row[0] else { panic!("an id") };
            strata_core::row::encode_key(&mut key, &row[0], &ColumnType::Int64, KeyOrder::default())
                .expect("a key");
            let found = view.first(index, &key).expect("searched").expect("the row is there");
            transaction.lock_row(&view, found, RowLockMode::Update).await.expect("locked");
            if self.random.below(2) == 0 {
                transaction.delete(&view, found).expect("deleted");
            } else {
                let new = super::world::row(*id, &mut self.random);
                transaction.update(&view, found, &new).await.expect("updated");
                kept.push(new);
            }
        }
        *rows = kept;
    }

    /// Runs changes in a transaction of their own.
    pub(super) async fn commit(&self, transaction: Transaction) {
        transaction.commit().expect("commits").await.expect("is durable");
    }

    /// The table `t` at a view, and `m`, the same rows in memory.
    pub(super) fn context(&self, view: ReadView, rows: &[Row]) -> SessionContext {
        self.context_with(SessionConfig::new().with_target_partitions(3), view, rows)
    }

    pub(super) fn context_with(&self, config: SessionConfig, view: ReadView, rows: &[Row]) -> SessionContext {
        let config = config.with_extension(Arc::new(StatementContext::new(view)));
        let context = SessionContext::new_with_config(config);
        let def = self.def();
        context.register_table("t", Arc::new(StrataTable::new(&def))).expect("registered");
        context.register_table("r", Arc::new(StrataTable::with_row_id(&def))).expect("registered");
        let batches = rows.chunks(5000).map(|rows| batch(rows, &table_schema())).collect();
        let memory = MemTable::try_new(table_schema(), vec![batches]).expect("a table in memory");
        context.register_table("m", Arc::new(memory)).expect("registered");
        context
    }
}

fn table_schema() -> SchemaRef {
    let field = |(name, column_type, nullable): &(&str, ColumnType, bool)| {
        Field::new(*name, arrow_type(column_type), *nullable)
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

fn batch(rows: &[Row], schema: &SchemaRef) -> RecordBatch {
    let column = |(place, (_, column_type, _)): (usize, &(&str, ColumnType, bool))| {
        let mut builder = ColumnBuilder::new(column_type, rows.len());
        rows.iter().for_each(|row| builder.push_datum(&row[place]).expect("a value of the type"));
        builder.finish()
    };
    let columns = COLUMNS.iter().enumerate().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of the schema")
}

/// The rows of a query as text.
pub(super) async fn run(context: &SessionContext, sql: &str) -> Vec<String> {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut rows = Vec::new();
    let options = FormatOptions::default().with_null("NULL");
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("printable"))
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
        assert!(batch.num_rows() <= 8192, "{sql}: a batch of {} rows", batch.num_rows());
        assert!(batch.columns().iter().all(|column| column.len() == batch.num_rows()));
    }
    rows
}

/// The physical plan of a query.
pub(super) async fn plan(context: &SessionContext, sql: &str) -> String {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let plan = frame.create_physical_plan().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    displayable(plan.as_ref()).indent(true).to_string()
}

/// That a query, which names the table as `$t`, gives the same rows from both tables.
pub(super) async fn agree(context: &SessionContext, sql: &str) -> usize {
    let mut ours = run(context, &sql.replace("$t", "t")).await;
    let mut theirs = run(context, &sql.replace("$t", "m")).await;
    ours.sort_unstable();
    theirs.sort_unstable();
    if ours != theirs {
        let only = |left: &[String], right: &[String]| {
            left.iter().filter(|row| right.binary_search(row).is_err()).take(3).cloned().collect::<Vec<_>>()
        };
        panic!(
            "{sql}\n{} rows, {} expected\nonly ours: {:?}\nonly theirs: {:?}\n{}",
            ours.len(),
            theirs.len(),
            only(&ours, &theirs),
            only(&theirs, &ours),
            plan(context, &sql.replace("$t", "t")).await,
        );
    }
    ours.len()
}

/// The RowId of each id, as a scan shows them.
pub(super) async fn row_ids(context: &SessionContext) -> Vec<(i64, RowId)> {
    let rows = run(context, "SELECT id, _rowid FROM r").await;
    let parse = |row: &String| {
        let (id, row) = row.split_once('|').expect("two columns");
        (id.parse().expect("an id"), RowId::new(row.parse().expect("a RowId")))
    };
    rows.iter().map(parse).collect()
}
