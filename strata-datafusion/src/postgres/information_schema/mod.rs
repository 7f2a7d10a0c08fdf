//! The views of the SQL standard. Their columns are in `pg_catalog/relations.tsv`; those without a maker are empty.

use strata_core::catalog::{IndexDef, Relation, TableDef};
use strata_core::row::Column;

use super::pg_catalog::{
    INFORMATION_SCHEMA, Maker, OWNER, PG_CATALOG, Rows, Scan, Value, attnum, is_constraint, system_relations,
};
use super::types::{PgType, oid};
use crate::sql::names::DATABASE;

/// What makes the rows of the view of this name.
pub(crate) fn maker(name: &str) -> Option<Maker> {
    Some(match name {
        "information_schema_catalog_name" => catalog_name,
        "schemata" => schemata,
        "tables" => tables,
        "views" => views,
        "columns" => columns,
        "table_constraints" => table_constraints,
        "key_column_usage" => key_columns,
        "constraint_column_usage" => constraint_columns,
        _ => return None,
    })
}

fn catalog_name(_scan: &Scan<'_>, rows: &mut Rows) {
    rows.push(vec![("catalog_name", DATABASE.into())]);
}

fn schemata(scan: &Scan<'_>, rows: &mut Rows) {
    let made = scan.catalog.schemas().map(|schema| schema.name.as_str());
    for name in [PG_CATALOG, INFORMATION_SCHEMA].into_iter().chain(made) {
        rows.push(vec![
            ("catalog_name", DATABASE.into()),
            ("schema_name", name.into()),
            ("schema_owner", OWNER.into()),
        ]);
    }
}

fn tables(scan: &Scan<'_>, rows: &mut Rows) {
    let mut push = |schema: &str, name: &str, is_view: bool, insertable: bool| {
        rows.push(vec![
            ("table_catalog", DATABASE.into()),
            ("table_schema", schema.into()),
            ("table_name", name.into()),
            ("table_type", (if is_view { "VIEW" } else { "BASE TABLE" }).into()),
            ("is_insertable_into", yes(insertable)),
            ("is_typed", yes(false)),
        ]);
    };
    for relation in system_relations() {
        push(relation.schema_name, relation.name, relation.kind == "v", false);
    }
    for relation in scan.catalog.relations() {
        let Some(schema) = scan.catalog.schema_by_id(relation.schema_id()) else { continue };
        let is_view = matches!(relation, Relation::View(_));
        push(&schema.name, relation.name(), is_view, !is_view);
    }
}

fn yes(value: bool) -> Value {
    (if value { "YES" } else { "NO" }).into()
}

fn views(scan: &Scan<'_>, rows: &mut Rows) {
    for relation in scan.catalog.relations() {
        if let Relation::View(view) = relation
            && let Some(schema) = scan.catalog.schema_by_id(view.schema_id)
        {
            rows.push(vec![
                ("table_catalog", DATABASE.into()),
                ("table_schema", schema.name.as_str().into()),
                ("table_name", view.name.as_str().into()),
                ("view_definition", format!(" {};", view.query).into()),
                ("check_option", "NONE".into()),
                ("is_updatable", yes(false)),
                ("is_insertable_into", yes(false)),
                ("is_trigger_updatable", yes(false)),
                ("is_trigger_deletable", yes(false)),
                ("is_trigger_insertable_into", yes(false)),
            ]);
        }
    }
}

fn columns(scan: &Scan<'_>, rows: &mut Rows) {
    for relation in system_relations() {
        for (number, column) in (1..).zip(&relation.columns) {
            let place = Place { schema: relation.schema_name, table: relation.name, number };
            rows.push(column_row(place, column.name, column.pg_type, !column.required, None));
        }
    }
    for relation in scan.catalog.relations() {
        let Some(schema) = scan.catalog.schema_by_id(relation.schema_id()) else { continue };
        let place = |number: i64| Place { schema: &schema.name, table: relation.name(), number };
        match relation {
            Relation::View(view) => {
                let columns = scan.view_columns.get(&view.id).map_or(&[][..], Vec::as_slice);
                for (number, (name, pg_type)) in (1..).zip(columns) {
                    rows.push(column_row(place(number), name, *pg_type, true, None));
                }
            }
            Relation::Table(table) => {
                for column in table.schema.live() {
                    let pg_type = PgType::from(column.sql_type);
                    let default = column.default.as_deref();
                    rows.push(column_row(
                        place(attnum(column.id)),
                        &column.name,
                        pg_type,
                        column.nullable,
                        default,
                    ));
                }
            }
        }
    }
}

struct Place<'a> {
    schema: &'a str,
    table: &'a str,
    number: i64,
}

fn column_row(
    place: Place<'_>,
    name: &str,
    pg_type: PgType,
    nullable: bool,
    default: Option<&str>,
) -> Vec<(&'static str, Value)> {
    let is_array = pg_type.element().is_some();
    let unmodified = PgType { modifier: -1, ..pg_type };
    let data_type = if is_array { "ARRAY".to_owned() } else { unmodified.sql_name() };
    let udt = super::pg_catalog::type_name(pg_type.oid);
    let length = matches!(pg_type.oid, oid::VARCHAR | oid::BPCHAR).then(|| pg_type.length()).flatten();
    let (precision, radix, scale) = match pg_type.oid {
        oid::INT2 => (Some(16), Some(2), Some(0)),
        oid::INT4 => (Some(32), Some(2), Some(0)),
        oid::INT8 => (Some(64), Some(2), Some(0)),
        oid::FLOAT4 => (Some(24), Some(2), None),
        oid::FLOAT8 => (Some(53), Some(2), None),
        oid::NUMERIC => match pg_type.numeric_parts() {
            Some((precision, scale)) => (Some(i32::from(precision)), Some(10), Some(i32::from(scale))),
            None => (None, Some(10), None),
        },
        _ => (None, None, None),
    };
    let time = match pg_type.oid {
        oid::DATE => Some(0),
        oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL => {
            Some(if pg_type.modifier < 0 { 6 } else { pg_type.modifier })
        }
        _ => None,
    };
    let text = length.is_none() && matches!(pg_type.oid, oid::TEXT | oid::VARCHAR);
    let octets = match length {
        Some(length) => Some(Value::from(length.saturating_mul(4))),
        None => text.then_some(Value::Int(1 << 30)),
    };
    vec![
        ("table_catalog", DATABASE.into()),
        ("table_schema", place.schema.into()),
        ("table_name", place.table.into()),
        ("column_name", name.into()),
        ("ordinal_position", place.number.into()),
        ("column_default", default.into()),
        ("is_nullable", yes(nullable)),
        ("data_type", data_type.into()),
        ("character_maximum_length", length.into()),
        ("character_octet_length", octets.into()),
        ("numeric_precision", precision.into()),
        ("numeric_precision_radix", radix.into()),
        ("numeric_scale", scale.into()),
        ("datetime_precision", time.into()),
        ("udt_catalog", DATABASE.into()),
        ("udt_schema", PG_CATALOG.into()),
        ("udt_name", udt.into()),
        ("dtd_identifier", place.number.to_string().into()),
        ("is_self_referencing", yes(false)),
        ("is_identity", yes(false)),
        ("identity_cycle", yes(false)),
        ("is_generated", "NEVER".into()),
        ("is_updatable", yes(true)),
    ]
}

/// The constraints that indexes enforce, with their schema's name.
fn constraints<'a>(scan: &'a Scan<'a>) -> impl Iterator<Item = (&'a str, &'a TableDef, &'a IndexDef)> {
    scan.indexes()
        .filter(|(_, _, index)| is_constraint(index))
        .map(|(schema, table, index)| (schema.name.as_str(), &**table, index))
}

fn constraint_row(schema: &str, table: &TableDef, index: &IndexDef) -> Vec<(&'static str, Value)> {
    vec![
        ("constraint_catalog", DATABASE.into()),
        ("constraint_schema", schema.into()),
        ("constraint_name", index.name.as_str().into()),
        ("table_catalog", DATABASE.into()),
        ("table_schema", schema.into()),
        ("table_name", table.name.as_str().into()),
    ]
}

fn table_constraints(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table, index) in constraints(scan) {
        let mut row = constraint_row(schema, table, index);
        row.extend([
            ("constraint_type", (if index.primary { "PRIMARY KEY" } else { "UNIQUE" }).into()),
            ("is_deferrable", yes(false)),
            ("initially_deferred", yes(false)),
            ("enforced", yes(true)),
        ]);
        rows.push(row);
    }
}

fn key_column<'a>(table: &'a TableDef, key: &strata_core::catalog::IndexColumn) -> Option<&'a Column> {
    table.schema.column(key.column)
}

fn key_columns(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table, index) in constraints(scan) {
        for (position, key) in (1i64..).zip(&index.columns) {
            let mut row = constraint_row(schema, table, index);
            row.extend([
                ("column_name", key_column(table, key).map(|column| column.name.as_str()).into()),
                ("ordinal_position", position.into()),
            ]);
            rows.push(row);
        }
    }
}

fn constraint_columns(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table, index) in constraints(scan) {
        for key in &index.columns {
            let mut row = constraint_row(schema, table, index);
            row.push(("column_name", key_column(table, key).map(|column| column.name.as_str()).into()));
            rows.push(row);
        }
    }
}
