//! The system tables: the catalog as rows.
//!
//! Six heaps with fixed ids and compiled-in schemas (docs/format/catalog.md). [`rows_of`] and [`catalog_from`]
//! are each other's inverse; a DDL commit writes the rows in which two catalogs differ.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::objects::{IndexColumn, IndexDef, Relation, SchemaDef, TableDef, ViewDef};
use super::{Catalog, Counters};
use crate::error::{Error, Result};
use crate::heap::StoredRow;
use crate::ids::{ColumnId, HeapId, IndexId, SchemaId, SchemaVersion, TableId};
use crate::row::{Column, ColumnType, Datum, KeyOrder, RowView, Schema, SqlType, encode_row};

/// A system table. The number is its heap's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum SystemTable {
    /// One row: the next ids.
    Counters = 1,
    /// A row for each schema.
    Schemas = 2,
    /// A row for each table.
    Tables = 3,
    /// A row for each column of a table, dropped ones too.
    Columns = 4,
    /// A row for each index.
    Indexes = 5,
    /// A row for each view.
    Views = 6,
}

/// The heap that a row of [`SystemTable::Tables`] names, if it can be read.
pub fn heap_of_table(row: &StoredRow) -> Option<HeapId> {
    heap_id(&row.datum(SystemTable::Tables.schema(), HEAP_OF_TABLE).ok()?)
}

/// The same of a row's bytes.
pub fn heap_of_new_table(row: &[u8]) -> Option<HeapId> {
    heap_id(&RowView::new(row, SystemTable::Tables.schema()).ok()?.datum(HEAP_OF_TABLE).ok()?)
}

fn heap_id(datum: &Datum) -> Option<HeapId> {
    match datum {
        Datum::Int64(heap) => u32::try_from(*heap).ok().map(HeapId::new),
        _ => None,
    }
}

/// Where a row of [`SystemTable::Tables`] has its heap.
const HEAP_OF_TABLE: ColumnId = ColumnId::new(3);

/// Names a row of a system table: its one or two leading columns.
pub type RowName = (SystemTable, u32, u32);

impl SystemTable {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Counters, Self::Schemas, Self::Tables, Self::Columns, Self::Indexes, Self::Views];

    /// Its heap.
    pub fn heap(self) -> HeapId {
        HeapId::new(self as u32)
    }

    /// Its name in the schema `strata_catalog`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Schemas => "schemas",
            Self::Tables => "tables",
            Self::Columns => "columns",
            Self::Indexes => "indexes",
            Self::Views => "views",
        }
    }

    /// Its columns.
    pub fn schema(self) -> &'static Schema {
        &SCHEMAS[self as usize - 1]
    }

    /// What names a row of it.
    pub(super) fn row_name(self, row: &[Datum]) -> Option<RowName> {
        let id = |place: usize| match row.get(place) {
            Some(Datum::Int64(id)) => u32::try_from(*id).ok(),
            _ => None,
        };
        Some(match self {
            Self::Counters => (self, 0, 0),
            Self::Columns => (self, id(0)?, id(1)?),
            _ => (self, id(0)?, 0),
        })
    }
}

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    use ColumnType::{Array, Bool, Bytes, Int32, Int64, Text};
    let texts = || Array(Box::new(Text));
    SystemTable::ALL
        .iter()
        .map(|table| {
            schema(match table {
                SystemTable::Counters => vec![("object", Int64), ("heap", Int64), ("index", Int64)],
                SystemTable::Schemas => vec![("id", Int64), ("name", Text)],
                SystemTable::Tables => {
                    vec![
                        ("id", Int64),
                        ("schema", Int64),
                        ("name", Text),
                        ("heap", Int64),
                        ("version", Int64),
                    ]
                }
                SystemTable::Columns => vec![
                    ("relation", Int64),
                    ("id", Int64),
                    ("name", Text),
                    ("type", Text),
                    ("sql_type", Int64),
                    ("sql_modifier", Int32),
                    ("nullable", Bool),
                    ("default", Text),
                    ("missing", Bytes),
                    ("dropped", Bool),
                ],
                SystemTable::Indexes => vec![
                    ("id", Int64),
                    ("relation", Int64),
                    ("place", Int64),
                    ("name", Text),
                    ("primary", Bool),
                    ("unique", Bool),
                    ("constraint", Bool),
                    ("columns", texts()),
                ],
                SystemTable::Views => {
                    vec![
                        ("id", Int64),
                        ("schema", Int64),
                        ("name", Text),
                        ("query", Text),
                        ("columns", texts()),
                    ]
                }
            })
        })
        .collect()
});

fn schema(columns: Vec<(&str, ColumnType)>) -> Schema {
    let columns = columns.into_iter().enumerate().map(|(place, (name, column_type))| Column {
        id: ColumnId::new(place as u32),
        name: name.to_owned(),
        column_type,
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing: Datum::Null,
        dropped: false,
    });
    Schema::new(SchemaVersion::new(1), columns.collect())
}

fn number(value: u32) -> Datum {
    Datum::Int64(i64::from(value))
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

/// The catalog as rows, by name.
pub fn rows_of(catalog: &Catalog) -> Result<BTreeMap<RowName, Vec<Datum>>> {
    let counters = catalog.counters();
    let mut rows = vec![(
        SystemTable::Counters,
        vec![number(counters.object), number(counters.heap), number(counters.index)],
    )];
    for schema in catalog.schemas() {
        rows.push((SystemTable::Schemas, vec![number(schema.id.get()), text(&schema.name)]));
    }
    for relation in catalog.relations() {
        match relation {
            Relation::Table(table) => push_table(&mut rows, table)?,
            Relation::View(view) => rows.push((
                SystemTable::Views,
                vec![
                    number(view.id.get()),
                    number(view.schema_id.get()),
                    text(&view.name),
                    text(&view.query),
                    Datum::Array(view.column_names.iter().map(|name| text(name)).collect()),
                ],
            )),
        }
    }
    let named = rows.into_iter().filter_map(|(table, row)| Some((table.row_name(&row)?, row)));
    Ok(named.collect())
}

fn push_table(rows: &mut Vec<(SystemTable, Vec<Datum>)>, table: &TableDef) -> Result<()> {
    let id = number(table.id.get());
    rows.push((
        SystemTable::Tables,
        vec![
            id.clone(),
            number(table.schema_id.get()),
            text(&table.name),
            number(table.heap.get()),
            number(table.schema.version.get()),
        ],
    ));
    for column in table.schema.columns.iter() {
        rows.push((
            SystemTable::Columns,
            vec![
                id.clone(),
                number(column.id.get()),
                text(&column.name),
                text(&type_name(&column.column_type)),
                number(column.sql_type.oid),
                Datum::Int32(column.sql_type.modifier),
                Datum::Bool(column.nullable),
                column.default.as_deref().map_or(Datum::Null, text),
                missing_to_bytes(column)?,
                Datum::Bool(column.dropped),
            ],
        ));
    }
    for (place, index) in table.indexes.iter().enumerate() {
        let columns = index.columns.iter().map(|column| text(&index_column_name(*column)));
        rows.push((
            SystemTable::Indexes,
            vec![
                number(index.id.get()),
                id.clone(),
                Datum::Int64(place as i64),
                text(&index.name),
                Datum::Bool(index.primary),
                Datum::Bool(index.unique),
                Datum::Bool(index.constraint),
                Datum::Array(columns.collect()),
            ],
        ));
    }
    Ok(())
}

/// Rebuilds the catalog from the rows of the system tables.
///
/// # Errors
/// `Corrupt` where rows contradict each other or miss a value.
pub fn catalog_from(rows: &BTreeMap<RowName, Vec<Datum>>) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    catalog.schemas.clear();
    let mut columns: BTreeMap<u32, Vec<Column>> = BTreeMap::new();
    let mut indexes: BTreeMap<u32, BTreeMap<i64, IndexDef>> = BTreeMap::new();
    for (name, row) in rows {
        let mut fields = RowFields { table: name.0, row, place: 0 };
        match name.0 {
            SystemTable::Counters => {
                catalog.counters = Counters { object: fields.id()?, heap: fields.id()?, index: fields.id()? };
            }
            SystemTable::Schemas => {
                let schema = SchemaDef { id: SchemaId::new(fields.id()?), name: fields.text()? };
                catalog.schemas.insert(schema.id, Arc::new(schema));
            }
            SystemTable::Columns => columns.entry(fields.id()?).or_default().push(take_column(&mut fields)?),
            SystemTable::Indexes => {
                let id = IndexId::new(fields.id()?);
                let table = fields.id()?;
                let place = fields.number()?;
                indexes.entry(table).or_default().insert(place, take_index(id, &mut fields)?);
            }
            SystemTable::Tables | SystemTable::Views => {}
        }
    }
    for (name, row) in rows {
        let mut fields = RowFields { table: name.0, row, place: 0 };
        match name.0 {
            SystemTable::Tables => {
                let id = fields.id()?;
                let (schema_id, name) = (SchemaId::new(fields.id()?), fields.text()?);
                let (heap, version) = (HeapId::new(fields.id()?), SchemaVersion::new(fields.id()?));
                let columns = columns.remove(&id).unwrap_or_default();
                if columns.iter().enumerate().any(|(place, column)| column.id.get() as usize != place) {
                    return Err(damaged(SystemTable::Columns, "column ids are not dense"));
                }
                catalog.put(Relation::Table(Arc::new(TableDef {
                    id: TableId::new(id),
                    schema_id,
                    name,
                    heap,
                    schema: Schema::new(version, columns),
                    indexes: indexes.remove(&id).unwrap_or_default().into_values().collect(),
                })));
            }
            SystemTable::Views => catalog.put(Relation::View(Arc::new(ViewDef {
                id: TableId::new(fields.id()?),
                schema_id: SchemaId::new(fields.id()?),
                name: fields.text()?,
                query: fields.text()?,
                column_names: fields.texts()?,
            }))),
            _ => {}
        }
    }
    Ok(catalog)
}

fn take_column(fields: &mut RowFields<'_>) -> Result<Column> {
    let mut column = Column {
        id: ColumnId::new(fields.id()?),
        name: fields.text()?,
        column_type: type_from_name(&fields.text()?)
            .ok_or_else(|| damaged(SystemTable::Columns, "unknown type name"))?,
        sql_type: SqlType { oid: fields.id()?, modifier: fields.small()? },
        nullable: fields.bool()?,
        default: fields.optional_text()?,
        missing: Datum::Null,
        dropped: false,
    };
    column.missing = missing_from_bytes(&column, fields.next()?)?;
    column.dropped = fields.bool()?;
    Ok(column)
}

fn take_index(id: IndexId, fields: &mut RowFields<'_>) -> Result<IndexDef> {
    Ok(IndexDef {
        id,
        name: fields.text()?,
        primary: fields.bool()?,
        unique: fields.bool()?,
        constraint: fields.bool()?,
        columns: fields
            .texts()?
            .iter()
            .map(|column| {
                index_column_from(column).ok_or_else(|| damaged(SystemTable::Indexes, "bad column"))
            })
            .collect::<Result<_>>()?,
    })
}

/// Reads the columns of a system row in order.
struct RowFields<'a> {
    table: SystemTable,
    row: &'a [Datum],
    place: usize,
}

impl<'a> RowFields<'a> {
    fn next(&mut self) -> Result<&'a Datum> {
        let datum = self.row.get(self.place).ok_or_else(|| damaged(self.table, "too few columns"))?;
        self.place += 1;
        Ok(datum)
    }

    fn number(&mut self) -> Result<i64> {
        match self.next()? {
            Datum::Int64(value) => Ok(*value),
            _ => Err(damaged(self.table, "not a number")),
        }
    }

    fn id(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| damaged(self.table, "an id out of range"))
    }

    fn small(&mut self) -> Result<i32> {
        match self.next()? {
            Datum::Int32(value) => Ok(*value),
            _ => Err(damaged(self.table, "not a 32-bit number")),
        }
    }

    fn bool(&mut self) -> Result<bool> {
        match self.next()? {
            Datum::Bool(value) => Ok(*value),
            _ => Err(damaged(self.table, "not a boolean")),
        }
    }

    fn optional_text(&mut self) -> Result<Option<String>> {
        match self.next()? {
            Datum::Null => Ok(None),
            Datum::Text(value) => Ok(Some(value.clone())),
            _ => Err(damaged(self.table, "not a text")),
        }
    }

    fn text(&mut self) -> Result<String> {
        self.optional_text()?.ok_or_else(|| damaged(self.table, "a text is missing"))
    }

    fn texts(&mut self) -> Result<Vec<String>> {
        let Datum::Array(items) = self.next()? else { return Err(damaged(self.table, "not an array")) };
        let texts = items.iter().map(|item| match item {
            Datum::Text(value) => Ok(value.clone()),
            _ => Err(damaged(self.table, "not an array of texts")),
        });
        texts.collect()
    }
}

fn damaged(table: SystemTable, detail: &str) -> Error {
    Error::Corrupt { file: format!("system table {}", table.name()), offset: 0, detail: detail.to_owned() }
}

fn missing_schema(column: &Column) -> Schema {
    let column = Column {
        id: ColumnId::new(0),
        missing: Datum::Null,
        nullable: true,
        dropped: false,
        ..column.clone()
    };
    Schema::new(SchemaVersion::new(1), vec![column])
}

fn missing_to_bytes(column: &Column) -> Result<Datum> {
    if column.missing == Datum::Null {
        return Ok(Datum::Null);
    }
    let mut bytes = Vec::new();
    encode_row(&missing_schema(column), std::slice::from_ref(&column.missing), &mut bytes)?;
    Ok(Datum::Bytes(bytes))
}

fn missing_from_bytes(column: &Column, stored: &Datum) -> Result<Datum> {
    match stored {
        Datum::Bytes(bytes) => RowView::new(bytes, &missing_schema(column))?.datum(ColumnId::new(0)),
        _ => Ok(Datum::Null),
    }
}

/// The engine's own name of a type, as the system tables hold it.
pub fn type_name(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "bool".into(),
        ColumnType::Int16 => "int16".into(),
        ColumnType::Int32 => "int32".into(),
        ColumnType::Int64 => "int64".into(),
        ColumnType::Float32 => "float32".into(),
        ColumnType::Float64 => "float64".into(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnType::Text => "text".into(),
        ColumnType::Bytes => "bytes".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Time => "time".into(),
        ColumnType::Timestamp => "timestamp".into(),
        ColumnType::TimestampTz => "timestamptz".into(),
        ColumnType::Interval => "interval".into(),
        ColumnType::Uuid => "uuid".into(),
        ColumnType::Array(element) => format!("{}[]", type_name(element)),
    }
}

/// The type of this name.
pub fn type_from_name(name: &str) -> Option<ColumnType> {
    if let Some(element) = name.strip_suffix("[]") {
        return Some(ColumnType::Array(Box::new(type_from_name(element)?)));
    }
    if let Some(digits) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = digits.split_once(',')?;
        return Some(ColumnType::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? });
    }
    use ColumnType::*;
    [
        Bool,
        Int16,
        Int32,
        Int64,
        Float32,
        Float64,
        Text,
        Bytes,
        Date,
        Time,
        Timestamp,
        TimestampTz,
        Interval,
        Uuid,
    ]
    .into_iter()
    .find(|column_type| type_name(column_type) == name)
}

fn index_column_name(column: IndexColumn) -> String {
    let direction = if column.order.descending { "desc" } else { "asc" };
    let nulls = if column.order.nulls_first { "first" } else { "last" };
    format!("{} {direction} {nulls}", column.column.get())
}

fn index_column_from(name: &str) -> Option<IndexColumn> {
    let mut words = name.split(' ');
    let column = ColumnId::new(words.next()?.parse().ok()?);
    let descending = words.next()? == "desc";
    let nulls_first = words.next()? == "first";
    Some(IndexColumn { column, order: KeyOrder { descending, nulls_first } })
}
