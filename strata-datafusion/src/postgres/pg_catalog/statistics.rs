//! The views over the catalogs, and the statistics of tables.

use strata_core::catalog::{Relation, TableDef};
use strata_core::row::ColumnType;

use super::definition::index_definition;
use super::{Maker, OWNER, PG_CATALOG, Rows, Scan, Value, index_oid, system_relations, table_oid};

pub(super) fn maker(name: &str) -> Option<Maker> {
    Some(match name {
        "pg_tables" => tables,
        "pg_views" => views,
        "pg_indexes" => indexes,
        "pg_stat_user_tables" | "pg_stat_all_tables" => table_statistics,
        "pg_stat_user_indexes" | "pg_stat_all_indexes" => index_statistics,
        _ => return None,
    })
}

/// About how many bytes the rows of a table take.
pub(super) fn table_bytes(table: &TableDef, rows: u64) -> u64 {
    let width: u64 = table.schema.live().map(|column| width(&column.column_type)).sum();
    rows.saturating_mul(width.max(1))
}

/// Bytes of a value, guessed where they vary.
fn width(column_type: &ColumnType) -> u64 {
    match column_type {
        ColumnType::Bool => 1,
        ColumnType::Int16 => 2,
        ColumnType::Int32 | ColumnType::Float32 | ColumnType::Date => 4,
        ColumnType::Int64
        | ColumnType::Float64
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::TimestampTz => 8,
        ColumnType::Decimal { .. } | ColumnType::Interval | ColumnType::Uuid => 16,
        ColumnType::Text | ColumnType::Bytes => 24,
        ColumnType::Array(element) => 4 * width(element),
    }
}

fn tables(scan: &Scan<'_>, rows: &mut Rows) {
    let of_system = system_relations()
        .iter()
        .filter(|relation| relation.kind == "r")
        .map(|relation| (relation.schema_name, relation.name, false));
    let made = scan.tables().map(|(schema, table)| (&*schema.name, &*table.name, !table.indexes.is_empty()));
    for (schema, name, has_indexes) in of_system.chain(made) {
        rows.push(vec![
            ("schemaname", schema.into()),
            ("tablename", name.into()),
            ("tableowner", OWNER.into()),
            ("hasindexes", has_indexes.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    }
}

fn views(scan: &Scan<'_>, rows: &mut Rows) {
    let mut push = |schema: &str, name: &str, query: Option<String>| {
        rows.push(vec![
            ("schemaname", schema.into()),
            ("viewname", name.into()),
            ("viewowner", OWNER.into()),
            ("definition", query.into()),
        ]);
    };
    for relation in system_relations().iter().filter(|relation| relation.kind == "v") {
        push(relation.schema_name, relation.name, None);
    }
    for relation in scan.catalog.relations() {
        if let Relation::View(view) = relation
            && let Some(schema) = scan.catalog.schema_by_id(view.schema_id)
        {
            push(&schema.name, &view.name, Some(format!(" {};", view.query)));
        }
    }
}

fn indexes(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table, index) in scan.indexes() {
        rows.push(vec![
            ("schemaname", schema.name.as_str().into()),
            ("tablename", table.name.as_str().into()),
            ("indexname", index.name.as_str().into()),
            ("indexdef", index_definition(&schema.name, table, index).into()),
        ]);
    }
}

fn table_statistics(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table) in scan.tables() {
        if schema.name == PG_CATALOG {
            continue;
        }
        let live = i64::try_from(scan.row_count(table)).unwrap_or(i64::MAX);
        rows.push(vec![
            ("relid", table_oid(table.id).into()),
            ("schemaname", schema.name.as_str().into()),
            ("relname", table.name.as_str().into()),
            ("n_live_tup", live.into()),
            ("n_dead_tup", Value::Int(0)),
        ]);
    }
}

fn index_statistics(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table, index) in scan.indexes() {
        rows.push(vec![
            ("relid", table_oid(table.id).into()),
            ("indexrelid", index_oid(index.id).into()),
            ("schemaname", schema.name.as_str().into()),
            ("relname", table.name.as_str().into()),
            ("indexrelname", index.name.as_str().into()),
        ]);
    }
}
